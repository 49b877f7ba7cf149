#include "fleet/fleet_disk.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fleet/fleet.h"

#define TRIAL_NS (10 * CLOCK_NS_PER_S)
#define AGAIN_NS CLOCK_NS_PER_S

void fleet_disk_ended(struct fleet *fleet, bool is_trial, int result, uint64_t now_ns)
{
	struct fleet_disk *disk = &fleet->disk;
	int error = result < 0 ? -result : 0;

	if (error && !disk->error)
		log_error("state_dir cannot be written: %s", strerror(error));
	else if (!error && disk->error)
		log_info("state_dir can be written again");
	disk->error = error;
	disk->ended_ns = now_ns;
	if (is_trial)
		disk->since_ns = 0;
}

void fleet_disk_tick(struct fleet *fleet, uint64_t now_ns)
{
	struct fleet_disk *disk = &fleet->disk;

	if (!*disk->path || !fleet->config.journal_thread || disk->since_ns ||
	    now_ns - disk->ended_ns < (disk->error ? AGAIN_NS : TRIAL_NS))
		return;
	if (journal_thread_try(fleet->config.journal_thread, disk->path) == 0)
		disk->since_ns = now_ns;
}
