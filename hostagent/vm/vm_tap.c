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

static bool look(struct vm_tap *t, uint32_t i, const char *vm, const char *tap)
{
	enum tap_state state;
	bool changed;
	int r = tap_state_read(tap, &state);

	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s cannot look at tap %s: %s, ignoring", vm, tap,
			    strerror(-r));
		return false;
	}
	pthread_mutex_lock(&t->lock);
	changed = t->taps[i].since_ns == 0 || t->taps[i].state != state;
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
		changed |= look(t, i, vm, taps->name[i]);
	return changed;
}

void vm_tap_forget(struct vm_tap *t)
{
	pthread_mutex_lock(&t->lock);
	memset(t->taps, 0, sizeof(t->taps));
	pthread_mutex_unlock(&t->lock);
}

void vm_tap_report(struct vm_tap *t, const struct tap_names *taps, struct wire_report *report)
{
	char text[WIRE_TEXT_MAX + 1], rest[WIRE_TEXT_MAX + 1];
	uint32_t i = 0;

	pthread_mutex_lock(&t->lock);
	while (i < taps->n && (t->taps[i].since_ns == 0 || t->taps[i].state == TAP_FORWARDING))
		i++;
	if (i < taps->n) {
		tap_state_describe(taps->name[i], t->taps[i].state,
				   clock_mono_ns() - t->taps[i].since_ns, text, sizeof(text));
		strcpy(rest, report->text);
		wire_text_format(report->text, "%s%s%s", text, *rest ? "; " : "", rest);
		/* If the statistics are full, the text still gives the state. */
		(void)!wire_stats_add(report->stats, "way", "%s",
				      tap_state_name(t->taps[i].state));
	}
	pthread_mutex_unlock(&t->lock);
}
