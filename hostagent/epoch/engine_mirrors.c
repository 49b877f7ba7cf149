/* Begins the mirrors of the guest's disks, notices when they are in step or broken, and ends them.
 * See engine_disks.c and vmm/mirror.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/disks.h"
#include "wire/msg.h"

#define RETRY_MIN_NS    (200 * CLOCK_NS_PER_MS)
#define RETRY_MAX_NS    (10 * CLOCK_NS_PER_S)
#define QMP_NS          (5 * CLOCK_NS_PER_S)
#define SERVER_LOOK_NS  (50 * CLOCK_NS_PER_MS)
#define COPY_LOOK_NS    (20 * CLOCK_NS_PER_MS) /* how often to check whether a copy has ended */
/* Ask for a seal when more than a quarter (1/RING_SEAL_SHARE) of a ring is filled. */
#define RING_SEAL_SHARE 4u

void engine_mirrors_end(struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];
		struct error error;

		/* Stop the server first: the job then ends even if QEMU waits for an answer. */
		disk->server = disk_server_stop(disk->server);
		if (e->guest.condition != GUEST_LOST &&
		    mirror_end(&disk->mirror, e->guest.qmp, &error) < 0)
			log_limited(LOG_LEVEL_WARN, "vm=%s disk=%s mirror: %s", e->config.vm,
				    disk->found.name, error.text);
	}
}

/* ---- in step, or not */

static void retry_later(struct engine_disks *d)
{
	d->wait_ns = d->wait_ns ? 2 * d->wait_ns : RETRY_MIN_NS;
	if (d->wait_ns > RETRY_MAX_NS)
		d->wait_ns = RETRY_MAX_NS;
	d->retry_ns = clock_mono_ns() + d->wait_ns;
}

void engine_disks_fell_apart(struct engine *e, const struct engine_disk *disk, const char *why)
{
	(void)error_set(&e->disks.trouble, 0, "disk %s is not replicated, trying again: %s",
			disk->found.name, why);
	log_limited(LOG_LEVEL_WARN, "vm=%s term=%" PRIu64 " epoch=%" PRIu64 " disk=%s: %s",
		    e->config.vm, e->term, e->epochs.next, disk->found.name, why);
	if (e->disks.condition == DISKS_APART)
		return;
	if (e->disks.condition == DISKS_COPYING)
		engine_copy_ended(e, why);
	engine_set_disks(e, DISKS_APART, why);
	if (engine_throttle_release(e) == 0)
		engine_mirrors_end(e);
	retry_later(&e->disks);
	if (engine_is_holding(e)) {
		engine_lose_sync(e, "a disk fell out of step");
		engine_set_state(e, WIRE_STATE_SYNCING, "%s", e->disks.trouble.text);
	}
}

/* Return what is wrong with the mirror of @disk, or NULL. @room: @size bytes in which the text can
 * be stored. */
static const char *trouble_of(const struct engine_disk *disk, uint64_t ring_bytes, char *room,
			      size_t size)
{
	struct disk_ring_counts counts;

	if (mirror_condition(&disk->mirror) == MIRROR_BROKEN)
		return mirror_error(&disk->mirror);
	if (mirror_condition(&disk->mirror) == MIRROR_OFF)
		return "its mirror was ended";
	disk_ring_get_counts(disk->ring, &counts);
	if (counts.disconnections != disk->counts.disconnections)
		return "QEMU's connection to the replica server has ended";
	if (counts.overflows != disk->counts.overflows) {
		snprintf(room, size,
			 "the guest wrote faster than epochs were committed: its ring of %" PRIu64
			 " MiB was full (disk_ring_bytes)",
			 ring_bytes >> 20);
		return room;
	}
	return NULL;
}

int engine_disks_check(struct engine *e)
{
	char room[160];

	if (e->disks.n == 0 || e->disks.condition == DISKS_APART)
		return 0;
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];
		const char *why = trouble_of(disk, e->config.disk_ring_bytes, room, sizeof(room));

		if (why) {
			if (why == room && e->disks.condition == DISKS_COPYING)
				engine_copy_slow_down(e, disk);
			engine_disks_fell_apart(e, disk, why);
			return -EPIPE;
		}
	}
	return 0;
}

/* Check whether the disks' servers still run. Until the guest writes, QEMU does not notice that a
 * server has ended. */
static void look_at_servers(struct engine *e)
{
	uint64_t now_ns = clock_mono_ns();
	char line[DISK_SERVER_LINE_BYTES], why[DISK_SERVER_LINE_BYTES + 64];

	if (now_ns < e->disks.look_ns)
		return;
	e->disks.look_ns = now_ns + SERVER_LOOK_NS;
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];
		struct pollfd ended = {.fd = disk->server ? disk_server_fd(disk->server) : -1,
				       .events = POLLIN};

		if (poll(&ended, 1, 0) <= 0)
			continue;
		disk_server_last_line(disk->server, line, sizeof(line));
		snprintf(why, sizeof(why), "its replica server (nbdkit) has ended: %s",
			 *line ? line : "it said nothing");
		engine_disks_fell_apart(e, disk, why);
		return;
	}
}

void engine_disks_hung(struct engine *e)
{
	if (e->disks.condition == DISKS_COPYING || e->disks.condition == DISKS_IN_STEP)
		engine_disks_fell_apart(e, &e->disks.disk[0],
			   "QEMU did not stop the guest in time; does a replica server hang?");
}

/* ---- begin */

/* Make the next copy send the blocks in which the standby's image differs. Without this, the ring
 * would leave out a block whose content is the same as when it was last put into the ring. No
 * server may run. */
static void forget_bad(struct engine_disk *disk)
{
	if (disk->n_bad > WIRE_DISK_DIFFER_MAX)
		disk_ring_forget_hashes(disk->ring);
	for (uint32_t i = 0; i < disk->n_bad && i < WIRE_DISK_DIFFER_MAX; i++)
		disk_ring_forget_block(disk->ring, disk->bad[i] / DISK_RING_BLOCK_BYTES);
	disk->n_bad = 0;
}

static int begin_mirror(struct engine *e, struct engine_disk *disk, struct error *ret_error)
{
	char label[192];
	struct disk_server_config config = {.label = label,
					    .socket = disk->socket,
					    .qemu_pid = e->guest.info.pid,
					    .ring_fd = disk_ring_fd(disk->ring)};
	int r;

	snprintf(label, sizeof(label), "vm=%s disk=%s", e->config.vm, disk->found.name);
	forget_bad(disk);
	r = disk_server_start(&config, &disk->server, ret_error);
	if (r < 0)
		return r;
	disk_ring_get_counts(disk->ring, &disk->counts);
	return mirror_begin(&disk->mirror, e->guest.qmp, &disk->found, disk->socket,
			    engine_copy_limit(e), ret_error);
}

/* Look at the disks again: while no mirror ran, somebody may have put another node on top of a disk
 * (a snapshot), or changed a disk's size. The new mirror then copies the new node; this is correct,
 * because a mirror begins with a whole copy.
 * Returns 0;
 * -ESTALE: *@ret_disk cannot be mirrored as it is now;
 * or an error of vmm_disks_list(). */
static int look_again(struct engine *e, struct engine_disk **ret_disk, struct error *ret_error)
{
	struct vmm_disks now;
	int r = vmm_disks_list(e->guest.qmp, &now, ret_error);

	*ret_disk = e->disks.disk;
	for (uint32_t i = 0; r == 0 && i < e->disks.n; i++) {
		struct vmm_disk *found = &e->disks.disk[i].found;
		const struct vmm_disk *disk = vmm_disks_find(&now, found->name);

		*ret_disk = &e->disks.disk[i];
		if (!disk)
			return error_set(ret_error, -ESTALE, "the guest has it no more");
		if (disk->size_bytes != found->size_bytes)
			return error_set(ret_error, -ESTALE,
					 "its size was changed from %" PRIu64 " to %" PRIu64
					 " bytes: give the standby's image that size, then "
					 "unprotect and protect the VM",
					 found->size_bytes, disk->size_bytes);
		if (strcmp(disk->node, found->node) != 0)
			log_info("vm=%s disk=%s is now %.200s (%s), by somebody else",
				 e->config.vm, disk->name, disk->file, disk->format);
		*found = *disk;
	}
	return r;
}

static int begin_each(struct engine *e)
{
	struct engine_disk *disk;
	struct error error;

	if (look_again(e, &disk, &error) < 0) {
		engine_disks_fell_apart(e, disk, error.text);
		return -EPIPE;
	}
	for (uint32_t i = 0; i < e->disks.n; i++) {
		disk = &e->disks.disk[i];
		if (begin_mirror(e, disk, &error) < 0) {
			engine_disks_fell_apart(e, disk, error.text);
			return -EPIPE;
		}
	}
	return 0;
}

/* Begin all mirrors while the guest is stopped and its requests are done, because QEMU 8.2 to
 * 10.0.8 lose a write that is in flight when a mirror starts. */
static void begin_mirrors(struct engine *e)
{
	enum guest_condition before;
	uint64_t start_ns;
	int r;

	if (engine_throttle_release(e) < 0)
		return;
	before = engine_pause_begins(e);
	guestclock_running(e->guest.clock);
	start_ns = e->disks.begun_ns = clock_mono_ns();
	engine_verify_apart(e); /* before begin_mirror(), which uses the list of differing blocks */
	engine_set_disks(e, DISKS_COPYING, "");
	engine_copy_begun(e);
	engine_disks_sealing(e, true);
	r = qmp_execute(e->guest.qmp, "stop", NULL, QMP_NS, NULL);
	if (r < 0)
		engine_disks_fell_apart(e, &e->disks.disk[0], "QEMU does not stop the guest");
	else
		(void)begin_each(e); /* begin_each() has reported what failed */
	engine_disks_sealing(e, false);
	if (before == GUEST_RUNS && qmp_execute(e->guest.qmp, "cont", NULL, QMP_NS, NULL) < 0)
		log_error("vm=%s the guest does not go on: %s", e->config.vm,
			  qmp_error(e->guest.qmp));
	guestclock_resumed(e->guest.clock, clock_mono_ns() - start_ns);
	if (engine_pause_ended(e, before))
		engine_paused_by_other(e);
	if (e->capture.seal)
		seal_arm(e->capture.seal); /* the commands above have used the monitor: prepare it
					    * for the next seal */
}

/* ---- watch */

/* Has every mirror completed its first copy? */
static bool all_ready(struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		if (mirror_condition(&e->disks.disk[i].mirror) != MIRROR_READY)
			return false;
	}
	return true;
}

bool engine_disk_is_filling(const struct engine *e, const struct engine_disk *disk)
{
	return disk_ring_waiting(disk->ring) > e->config.disk_ring_bytes / RING_SEAL_SHARE;
}

/* Should the running epoch end, because too much was put into the ring of @disk since the last
 * seal? Records of earlier epochs do not count, because a seal does not remove them. */
static bool is_long(const struct engine *e, const struct engine_disk *disk)
{
	uint64_t head = disk_ring_head(disk->ring);

	return head - disk->encoded > e->config.disk_ring_bytes / RING_SEAL_SHARE;
}

/* May the mirrors begin? While output passes, they must wait until the standby has the first copy
 * of RAM: until then no epoch takes records out of the rings. */
static bool may_begin(const struct engine *e)
{
	return engine_stream_is_resumed(&e->stream) && engine_disks_may_stream(e) &&
	       clock_mono_ns() >= e->disks.retry_ns &&
	       (engine_is_holding(e) || (e->epochs.sync == SYNC_KEPT && e->epochs.committed > 0));
}

void engine_disks_tick(struct engine *e)
{
	struct engine_disks *d = &e->disks;
	char why[48];

	if (d->n == 0 || e->guest.condition == GUEST_LOST)
		return;
	if (d->condition == DISKS_APART && may_begin(e) && engine_base_disks(e))
		begin_mirrors(e);
	look_at_servers(e);
	engine_copy_look(e);
	if (engine_disks_check(e) == 0 && d->condition == DISKS_COPYING && all_ready(e)) {
		snprintf(why, sizeof(why), "after %" PRIu64 " ms",
			 (clock_mono_ns() - d->begun_ns) / CLOCK_NS_PER_MS);
		engine_set_disks(e, DISKS_IN_STEP, why);
		engine_copy_ended(e, NULL);
		engine_copy_sent(e);
		d->wait_ns = 0;
		*d->trouble.text = '\0';
	}
	for (uint32_t i = 0; i < d->n; i++) {
		if (is_long(e, &d->disk[i]))
			pacer_demand(&e->epochs.pacer, clock_mono_ns(), true);
	}
}

uint64_t engine_disks_wake_ns(const struct engine *e, uint64_t now_ns)
{
	if (e->disks.condition == DISKS_COPYING)
		return now_ns + COPY_LOOK_NS;
	if (e->disks.condition == DISKS_APART && e->disks.retry_ns > now_ns)
		return e->disks.retry_ns;
	if (e->disks.condition != DISKS_APART || e->guest.condition == GUEST_LOST || !may_begin(e))
		return UINT64_MAX;
	return engine_base_wake_ns(e);
}
