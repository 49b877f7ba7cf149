#include "witness/shield.h"

#include "base/clock.h"


bool shield_is_due(const struct shield *shield, uint64_t now_ns)
{
	return shield->looked_ns == 0 || now_ns - shield->looked_ns >= SHIELD_LOOK_NS;
}

bool shield_look(struct shield *shield, uint64_t unwanted, uint64_t now_ns)
{
	bool was_up = shield->is_up;

	if (!shield_is_due(shield, now_ns))
		return false;
	if (shield->looked_ns != 0 && (unwanted - shield->unwanted) * CLOCK_NS_PER_S >=
					      SHIELD_UP_PER_S * (now_ns - shield->looked_ns))
		shield->flood_ns = now_ns;
	shield->is_up = shield->flood_ns != 0 && now_ns - shield->flood_ns < SHIELD_HOLD_NS;
	shield->looked_ns = now_ns;
	shield->unwanted = unwanted;
	return shield->is_up != was_up;
}
