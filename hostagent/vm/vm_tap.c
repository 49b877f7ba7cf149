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

bool vm_tap_look(struct vm_tap *t, const char *vm, const char *tap)
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
	changed = t->since_ns == 0 || t->state != state;
	if (changed) {
		log_info("vm=%s tap %s of the standby is %s", vm, tap, tap_state_name(state));
		t->state = state;
		t->since_ns = clock_mono_ns();
	}
	pthread_mutex_unlock(&t->lock);
	return changed;
}

void vm_tap_forget(struct vm_tap *t)
{
	pthread_mutex_lock(&t->lock);
	t->since_ns = 0;
	pthread_mutex_unlock(&t->lock);
}

void vm_tap_report(struct vm_tap *t, const char *tap, struct wire_report *report)
{
	char text[WIRE_TEXT_MAX + 1], rest[WIRE_TEXT_MAX + 1];

	pthread_mutex_lock(&t->lock);
	if (t->since_ns != 0 && t->state != TAP_FORWARDING) {
		tap_state_describe(tap, t->state, clock_mono_ns() - t->since_ns, text,
				   sizeof(text));
		strcpy(rest, report->text);
		wire_text_format(report->text, "%s%s%s", text, *rest ? "; " : "", rest);
		/* If the statistics are full, the text still gives the state. */
		(void)!wire_stats_add(report->stats, "way", "%s", tap_state_name(t->state));
	}
	pthread_mutex_unlock(&t->lock);
}
