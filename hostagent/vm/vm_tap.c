#include "vm/vm_tap_private.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

void vm_tap_init(struct vm_tap *t)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
}

void vm_tap_done(struct vm_tap *t)
{
	pthread_mutex_destroy(&t->lock);
}

/* Check the state of @tap, which is number @i. If @is_new, its state counts as changed. Returns
 * true if the state has changed. */
static bool look(struct vm_tap *t, uint32_t i, const char *vm, const char *tap, bool is_new)
{
	enum tap_state state;
	bool changed;
	int r = tap_state_read(tap, &state);

	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s cannot look at tap %s: %s", vm, tap,
			    strerror(-r));
		state = TAP_UNKNOWN;
	}
	pthread_mutex_lock(&t->lock);
	changed = is_new || t->taps[i].since_ns == 0 || t->taps[i].state != state;
	if (changed) {
		log_info("vm=%s tap %s of the standby is %s", vm, tap, tap_state_name(state));
		t->taps[i].state = state;
		t->taps[i].since_ns = clock_mono_ns();
	}
	pthread_mutex_unlock(&t->lock);
	return changed;
}

bool vm_tap_look(struct vm_tap *t, const char *vm, const struct tap_names *taps)
{
	bool changed = false;

	for (uint32_t i = 0; i < taps->n; i++)
		changed |= look(t, i, vm, taps->name[i], false);
	return changed;
}

void vm_tap_begin(struct vm_tap *t, const char *vm, const struct tap_names *taps)
{
	for (uint32_t i = 0; i < taps->n; i++)
		(void)look(t, i, vm, taps->name[i], true);
}

void vm_tap_report(struct vm_tap *t, const struct tap_names *taps, struct wire_report *report)
{
	char text[WIRE_TEXT_MAX + 1], rest[WIRE_TEXT_MAX + 1];
	uint64_t for_ns = 0;
	enum tap_state state = TAP_UNKNOWN;
	uint32_t i = 0;

	pthread_mutex_lock(&t->lock);
	while (i < taps->n && t->taps[i].since_ns > 0 && t->taps[i].state == TAP_FORWARDING)
		i++;
	if (i < taps->n) {
		if (t->taps[i].since_ns > 0) {
			state = t->taps[i].state;
			for_ns = clock_mono_ns() - t->taps[i].since_ns;
		}
		tap_state_describe(taps->name[i], state, for_ns, text, sizeof(text));
		strcpy(rest, report->text);
		wire_text_format(report->text, "%s%s%s", text, *rest ? "; " : "", rest);
		/* If the statistics are full, the text still gives the state. */
		(void)!wire_stats_add(report->stats, "way", "%s", tap_state_name(state));
	}
	pthread_mutex_unlock(&t->lock);
}
