/* fleet_health.c - keeps each VM's health word (vm/health.h) up to date, and tells operators when
 * it changes. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet_private.h"

#define JUDGE_NS (50 * CLOCK_NS_PER_MS) /* judge each VM once in this time */

static struct health_view view_of(const struct fleet_vm *vm, uint64_t now_ns)
{
	const struct fleet_pending *p = &vm->pending;
	struct health_view view = {.now_ns = now_ns, .fsm = &vm->fsm, .relay = &vm->relay};

	for (int h = 0; h < VM_HOSTS; h++) {
		view.reported_ns[h] = vm->report[h].at_ns;
		view.signs[h] = &vm->report[h].signs;
		view.text[h] = vm->report[h].text;
	}
	if (p->waiting && now_ns > p->since_ns)
		view.journal_waits_ns = now_ns - p->since_ns;
	else if (vm->disk->since_ns && now_ns > vm->disk->since_ns)
		view.journal_waits_ns = now_ns - vm->disk->since_ns;
	view.journal_error = vm->disk->error;
	view.fence_fault = vm->fence_fault;
	return view;
}

void fleet_health(const struct fleet_vm *vm, uint64_t now_ns, struct health *ret_health)
{
	const struct health_view view = view_of(vm, now_ns);

	health_look(&vm->health, &view, ret_health);
}

static void tell(struct fleet *fleet, const struct fleet_vm *vm, enum health_word from,
		 uint64_t now_ns)
{
	const struct health *health = &vm->health.told;
	const char *to = health_word_name(health->word);
	char text[sizeof(health->missing) + sizeof(health->next) + 2];

	(void)snprintf(text, sizeof(text), "%s%s%s", health->missing,
		       health->missing[0] ? "; " : "", health->next);
	counters_add(&fleet->counters.events, 1);
	if (fleet->sinks.event &&
	    !fleet->sinks.event(fleet->sinks.arg, now_ns, vm->config.name, "health",
				health_word_name(from), to, text)) {
		counters_add(&fleet->counters.events_suppressed, 1);
		return;
	}
	log_info("vm=%s health %s -> %s: %s", vm->config.name, health_word_name(from), to, text);
}

void fleet_health_tick(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	struct health_view view;
	enum health_word from;

	if (vm->health.is_begun && now_ns - vm->health_ns < JUDGE_NS)
		return;
	vm->health_ns = now_ns;
	view = view_of(vm, now_ns);
	if (health_watch(&vm->health, &view, &from))
		tell(fleet, vm, from, now_ns);
}
