#include "incarnating.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* Begin to write @number and @release_ms to the incarnation's file. Returns 0 if the write has
 * begun; recorded() is called when it has ended. Returns -EBUSY if another write is under way, or
 * another -errno. */
static int begin_record(struct incarnating *i, uint64_t number, uint32_t release_ms)
{
	const struct incarnation next = {.number = number, .release_ms = release_ms};
	int r = i->recording ? -EBUSY : journal_thread_store(i->thread, i->state_dir, &next);

	if (r == 0)
		i->recording = number;
	return r;
}

static int take_over(void *arg, uint64_t above)
{
	struct incarnating *i = arg;
	uint64_t number = incarnation_next(above, 0, 0);

	return number ? begin_record(i, number, i->release_ms) : -EOVERFLOW;
}

static uint64_t recorded(void *arg, int result)
{
	struct incarnating *i = arg;
	uint64_t number = i->recording;

	i->recording = 0;
	if (result == 0)
		return number;
	log_warn("%s/incarnation keeps what it said before: %s", i->state_dir, strerror(-result));
	return 0;
}

int incarnating_begin(struct incarnating *i, const char *state_dir, struct fleet_config *config,
		      uint64_t now_ns)
{
	struct error error;
	struct incarnation last;
	int r = incarnation_begin(state_dir, config->release_ms, &last, &config->incarnation,
				  &error);

	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	*i = (struct incarnating){.state_dir = state_dir, .release_ms = config->release_ms};
	config->take_over = take_over;
	config->recorded = recorded;
	config->take_over_arg = i;
	if (last.release_ms > config->release_ms) {
		i->release_ms = last.release_ms;
		i->settle_at_ns = now_ns + 2 * last.release_ms * CLOCK_NS_PER_MS;
		log_info("release_ms was %" PRIu32
			 " until now: nobody is promoted before that is over",
			 last.release_ms);
	}
	log_info("incarnation %" PRIu64, config->incarnation);
	return 0;
}

void incarnating_mute(const struct incarnating *i, struct fleet_vm *vm, uint64_t now_ns)
{
	if (i->release_ms)
		fleet_mute_after(vm, now_ns, i->release_ms * CLOCK_NS_PER_MS);
}

void incarnating_tick(struct incarnating *i, const struct fleet_config *config, uint64_t now_ns)
{
	if (!i->settle_at_ns || now_ns < i->settle_at_ns || i->recording)
		return;
	i->settle_at_ns = 0;
	i->release_ms = config->release_ms;
	if (begin_record(i, config->incarnation, config->release_ms) < 0)
		log_warn(
			"state_dir still has the release_ms of the start before, ignoring: it is "
			"longer");
}
