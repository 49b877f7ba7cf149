/* Switches QEMU's flushes of the guest's images off, so that no flush makes a pause longer. See
 * vmm/flushes.h, docs/disks.md and docs/decisions/0060-flushes.md.
 *
 * The rule: while flushes of an image are off, no output leaves before its epoch is committed.
 *
 *   when                                                        then
 *   the guest becomes PROTECTED, and all disks are in step      flushes off
 *   a disk falls out of step, or only a FULL epoch can follow   flushes on; output stays held
 *   the protection ends                                         flushes on, then output passes
 *   the agent dies (the hold stays closed)                      the next agent: flushes on */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/flushes.h"

#define RETRY_NS (500 * CLOCK_NS_PER_MS)

static bool is_off(const struct engine_disk *disk)
{
	return disk->flush == FLUSH_IGNORED || disk->flush == FLUSH_BETWEEN;
}

bool engine_flushes_are_off(const struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		if (!is_off(&e->disks.disk[i]))
			return false;
	}
	return e->disks.n > 0;
}

/* Is there a disk for which QEMU ignores only some flushes, because switching them off failed
 * halfway? */
static bool is_any_between(const struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		if (e->disks.disk[i].flush == FLUSH_BETWEEN)
			return true;
	}
	return false;
}

bool engine_flushes_are_any_off(const struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		if (is_off(&e->disks.disk[i]))
			return true;
	}
	return false;
}

/* May QEMU ignore flushes? Only if, from now on, the standby keeps what the guest writes, and no
 * output leaves before the standby has these writes. */
static bool may_be_off(const struct engine *e)
{
	return e->config.skips_flushes && engine_is_holding(e) &&
	       e->disks.condition == DISKS_IN_STEP && e->epochs.sync == SYNC_KEPT;
}

/* Prepare the monitor for the next seal. Called after a command to QEMU, which has used the
 * monitor. */
static void arm(struct engine *e)
{
	if (e->capture.seal)
		seal_arm(e->capture.seal);
}

static void switch_off(struct engine *e, struct engine_disk *disk)
{
	struct error error;
	int r = flushes_off(e->guest.qmp, e->guest.info.pid, &disk->found, &disk->image_fd, &error);

	if (r == 0) {
		engine_set_flush(e, disk, FLUSH_IGNORED);
		return;
	}
	log_warn("vm=%s flushes stay within the pauses: %s", e->config.vm, error.text);
	/* After -EBUSY, perhaps QEMU ignores some flushes now: engine_flushes_tick() makes QEMU
	 * obey them again. */
	if (r == -EBUSY)
		disk->image_fd = -1;
	engine_set_flush(e, disk, r == -EBUSY ? FLUSH_BETWEEN : FLUSH_KEPT);
}

static int switch_on(struct engine *e, struct engine_disk *disk, struct error *ret_error)
{
	int r = 0;

	if (!is_off(disk))
		return 0;
	if (e->guest.condition != GUEST_LOST)
		r = flushes_on(e->guest.qmp, &disk->found, disk->image_fd, ret_error);
	else if (disk->image_fd >= 0 && fdatasync(disk->image_fd) < 0) /* QEMU is gone */
		log_error("vm=%s disk=%s its image cannot be brought to the disk: %m", e->config.vm,
			  disk->found.name);
	if (r < 0)
		return r;
	disk->image_fd = fd_close(disk->image_fd);
	engine_set_flush(e, disk, disk->flush == FLUSH_BETWEEN ? FLUSH_KEPT : FLUSH_OBEYED);
	return 0;
}

int engine_flushes_on(struct engine *e, struct error *ret_error)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->disks.n; i++)
		r = switch_on(e, &e->disks.disk[i], ret_error);
	return r;
}

static void all_off(struct engine *e)
{
	uint64_t start_ns = clock_mono_ns();
	bool is_asked = false;

	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		if (disk->flush != FLUSH_OBEYED)
			continue;
		if (!is_asked && engine_throttle_release(e) < 0)
			return;
		is_asked = true;
		switch_off(e, disk);
	}
	if (!is_asked)
		return;
	arm(e);
	log_info("vm=%s epoch=%" PRIu64 " disk_flushes=%s after %" PRIu64 " us", e->config.vm,
		 e->epochs.next, engine_flushes_are_off(e) ? "outside" : "in-pause",
		 (clock_mono_ns() - start_ns) / 1000);
}

static void all_on(struct engine *e)
{
	uint64_t now_ns = clock_mono_ns();
	struct error error;

	if (now_ns < e->disks.flush_retry_ns || engine_throttle_release(e) < 0)
		return;
	if (engine_flushes_on(e, &error) < 0) {
		e->disks.flush_retry_ns = now_ns + RETRY_NS;
		log_limited(LOG_LEVEL_WARN, "vm=%s trying again: %s", e->config.vm, error.text);
	}
	arm(e);
	log_info("vm=%s epoch=%" PRIu64 " disk_flushes=%s after %" PRIu64 " us", e->config.vm,
		 e->epochs.next, engine_flushes_are_any_off(e) ? "outside" : "in-pause",
		 (clock_mono_ns() - now_ns) / 1000);
}

void engine_flushes_tick(struct engine *e)
{
	bool is_lost = e->guest.condition == GUEST_LOST;

	if (engine_flushes_are_any_off(e) && (is_lost || !may_be_off(e) || is_any_between(e)))
		all_on(e);
	else if (may_be_off(e) && e->status.state == WIRE_STATE_PROTECTED &&
		 e->guest.condition == GUEST_RUNS)
		all_off(e);
}
