#include "port/idler.h"

const struct idler_limits IDLER_LIMITS_DEFAULT = {
	.spin_max_ns = 50 * 1000,
	.spin_floor_ns = 5 * 1000,
	.check_ns = 100 * 1000,
};

static void grow(struct idler *idler)
{
	uint64_t spin_ns = idler->spin_ns * 2;

	if (spin_ns < idler->limits.spin_floor_ns)
		spin_ns = idler->limits.spin_floor_ns;
	if (spin_ns > idler->limits.spin_max_ns)
		spin_ns = idler->limits.spin_max_ns;
	idler->spin_ns = spin_ns;
}

static void shrink(struct idler *idler)
{
	idler->spin_ns /= 2;
	if (idler->spin_ns < idler->limits.spin_floor_ns)
		idler->spin_ns = 0;
}

void idler_init(struct idler *idler, const struct idler_limits *limits, uint64_t now_ns)
{
	*idler = (struct idler){
		.limits = *limits,
		.last_work_ns = now_ns,
		.last_check_ns = now_ns,
	};
}

enum idler_verdict idler_turn(struct idler *idler, uint64_t now_ns, bool worked)
{
	if (worked)
		idler->last_work_ns = now_ns;
	if (!worked && now_ns - idler->last_work_ns >= idler->spin_ns) {
		idler->slept_at_ns = now_ns;
		idler->last_check_ns = now_ns;
		return IDLER_SLEEP;
	}
	if (now_ns - idler->last_check_ns >= idler->limits.check_ns) {
		idler->last_check_ns = now_ns;
		return IDLER_CHECK;
	}
	return IDLER_AGAIN;
}

void idler_woke(struct idler *idler, uint64_t now_ns, bool by_frame)
{
	uint64_t slept_ns = now_ns - idler->slept_at_ns;

	if (by_frame && slept_ns <= idler->limits.spin_max_ns)
		grow(idler);
	else
		shrink(idler);
	idler->last_check_ns = now_ns;
	/* Begin a new spin only after a frame. After a timer, last_work_ns stays as it is, so the
	 * next iteration without work sleeps again. */
	if (by_frame)
		idler->last_work_ns = now_ns;
}
