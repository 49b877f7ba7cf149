/* The guest's disks: puts what the guest writes into the epochs. While the output is held, no epoch
 * is sent if a mirror is broken (engine_mirrors.c). See engine_private.h and condition.h.
 *
 * Each disk has a ring, which logs the guest's writes (disk/ring.h). An NBD server fills the ring
 * (disk/server.h), and a block job of QEMU writes to that server (vmm/mirror.h):
 *
 *      seal's hook      cut[n] = head of the ring       the guest is stopped, its requests are done
 *	after the seal   is the mirror whole? if not, and the output is held, epoch n is not sent
 *	encode           records up to cut[n] ─► DISK frames of epoch n
 *	commit of n      the ring is released up to cut[n]
 *
 * While output passes, a disk's first copy is made in ordinary epochs, because no standby is
 * promoted with them. While output is held, a disk that fell out of step is copied within one FULL
 * epoch. The standby stores the whole FULL epoch before it changes its image, so the standby's
 * older copy stays usable until then. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/flushes.h"
#include "wire/msg.h"

#define COPY_LOOK_NS   (20 * CLOCK_NS_PER_MS) /* how often to check a copy within an epoch */
#define SERVE_EVERY    64u                    /* call engine_service() each time after this many
					       * records */
/* The hold begins only if fewer bytes than this wait in the rings: the first held epoch must be
 * short. */
#define HOLD_BYTES_MAX (UINT64_C(4) << 20)

/* ---- begin and end */

static int open_disk(struct engine *e, const struct vmm_disk *found, struct engine_disk *disk,
		     struct error *ret_error)
{
	disk->found = *found;
	disk->unproven = calloc(found->size_bytes / BLOCKS_BYTES / 64 + 1, sizeof(uint64_t));
	if (!disk->unproven)
		return error_set(ret_error, -ENOMEM, "no memory for the disk %s", found->name);
	/* no VM's name has a dot, so no two VMs have the same path */
	snprintf(disk->socket, sizeof(disk->socket), "%s/%s.%s.nbd", e->config.run_dir,
		 e->config.vm, found->name);
	return e->config.handed ? engine_ring_resume(e, disk, ret_error)
				: engine_ring_open(e, disk, ret_error);
}

/* Refuse a disk that cannot be mirrored. */
static int judge(const struct vmm_disk *found, struct error *ret_error)
{
	if (found->has_job)
		return error_set(ret_error, -EBUSY,
				 "disk %s (%s) is used by a block job (backup, mirror, commit); "
				 "let it end, then protect the VM",
				 found->name, found->file);
	return 0;
}

int engine_disks_open(struct engine *e, struct error *ret_error)
{
	struct engine_disks *d = &e->disks;
	struct vmm_disks *found;
	int r;

	if (e->config.n_disks == 0)
		return 0; /* the VM's file names no disks: engine_watch_open() has refused a guest
			   * with a writable disk */
	r = flushes_on_again(e->guest.qmp, e->guest.info.pid, ret_error);
	if (r > 0)
		log_warn("vm=%s an earlier agent left %d disks without flushes; they are on again",
			 e->config.vm, r);
	if (r < 0)
		return r;
	found = calloc(1, sizeof(*found));
	d->disk = calloc(e->config.n_disks, sizeof(*d->disk));
	r = found && d->disk ? vmm_disks_list(e->guest.qmp, found, ret_error)
			     : error_set(ret_error, -ENOMEM, "no memory for the disks");
	for (uint32_t i = 0; r == 0 && i < found->n && i < e->config.n_disks; i++) {
		r = judge(&found->disks[i], ret_error);
		if (r == 0)
			r = open_disk(e, &found->disks[i], &d->disk[d->n++], ret_error);
	}
	free(found);
	if (r == 0)
		engine_set_disks(e, e->config.handed ? DISKS_IN_STEP : DISKS_APART, "");
	return r;
}

bool engine_disks_are_direct(const struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		if (e->disks.disk[i].found.is_direct)
			return true;
	}
	return false;
}

void engine_disks_detach(struct engine *e)
{
	engine_mirrors_end(e);
	for (uint32_t i = 0; i < e->disks.n; i++)
		engine_remove_ring(e->config.run_dir, e->config.vm, e->disks.disk[i].found.name);
}

void engine_disks_free(struct engine_disks *d)
{
	for (uint32_t i = 0; i < d->n; i++) {
		disk_server_stop(d->disk[i].server);
		disk_ring_free(d->disk[i].ring);
		ring_early_free(&d->disk[i].early);
		free(d->disk[i].unproven);
	}
	free(d->disk);
	d->disk = NULL;
	d->n = 0;
}

bool engine_disks_may_stream(const struct engine *e)
{
	const uint64_t need = WIRE_FEATURE_DISK | WIRE_FEATURE_UNHELD;

	return e->disks.n == 0 || (e->stream.features & need) == need;
}

bool engine_disks_may_hold(const struct engine *e)
{
	uint64_t waiting = 0;

	for (uint32_t i = 0; i < e->disks.n; i++)
		waiting += disk_ring_waiting(e->disks.disk[i].ring);
	return e->disks.n == 0 ||
	       (e->disks.condition == DISKS_IN_STEP && waiting <= HOLD_BYTES_MAX);
}

/* ---- one epoch */

void engine_disks_sealing(struct engine *e, bool is_sealing)
{
	for (uint32_t i = 0; i < e->disks.n; i++)
		disk_ring_set_sealing(e->disks.disk[i].ring, is_sealing);
}

void engine_disks_cut(struct engine *e, uint64_t epoch)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		disk->cut[epoch % ENGINE_SEALED_AT_SLOTS] = disk_ring_head(disk->ring);
	}
	engine_verify_cut(e, epoch);
}

static int encode_record(struct engine *e, const char *name, const struct disk_record *record)
{
	const struct wire_disk_record wire = {.op = (uint8_t)record->op,
					      .bytes = record->bytes,
					      .offset = record->offset,
					      .data = record->data};
	uint32_t done = 0;
	int r;

	while ((r = encoder_disk(e->epochs.encoder, name, &wire, &done)) == -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	return r;
}

/* Put the records of @disk up to @end that are not in frames yet into the epoch. */
static int encode_disk(struct engine *e, struct engine_disk *disk, uint64_t end)
{
	struct disk_record record;
	uint64_t at = disk->encoded;
	uint32_t n = 0;
	int r;

	/* The standby makes a system call for each record, so zeros that follow each other are
	 * joined to one record. */
	while ((r = disk_ring_read_run(disk->ring, &at, end, &record)) > 0) {
		engine_verify_saw(e, disk, &record);
		if (e->epochs.sync == SYNC_FULL)
			ring_early_add(&disk->early, &record);
		r = encode_record(e, disk->found.name, &record);
		if (r == 0 && ++n % SERVE_EVERY == 0)
			r = engine_service(e);
		if (r < 0)
			return r;
		disk->encoded = at;
	}
	if (r == -EBADMSG)
		log_error("vm=%s disk=%s its ring is damaged", e->config.vm, disk->found.name);
	return r;
}

int engine_disks_encode(struct engine *e, uint64_t epoch)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		r = encode_disk(e, disk, disk->cut[epoch % ENGINE_SEALED_AT_SLOTS]);
	}
	return r < 0 ? r : engine_verify_encode(e, epoch);
}

void engine_disks_committed(struct engine *e, uint64_t epoch)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		ring_epochs_committed(disk->ring, epoch,
				      disk->cut[epoch % ENGINE_SEALED_AT_SLOTS]);
	}
	engine_copy_arrived(e);
}

/* ---- a FULL epoch */

void engine_disks_full_begins(struct engine *e)
{
	bool has_lost = false;

	for (uint32_t i = 0; i < e->disks.n; i++)
		has_lost |= ring_epochs_has_early(e->disks.disk[i].ring);
	/* If records are lost, copy the disks again, because the copy includes the lost writes.
	 * While output passes, also end a first copy that is being made, so that it does not become
	 * a part of this FULL epoch. It begins again after this epoch. */
	if (e->disks.n > 0 && e->disks.condition != DISKS_APART &&
	    (has_lost || (!engine_is_holding(e) && e->disks.condition == DISKS_COPYING))) {
		engine_set_disks(e, DISKS_APART, has_lost ? "an epoch with their writes is lost"
							  : "all of RAM is copied first");
		engine_mirrors_end(e);
	}
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		/* ignore the result: whether records are lost is already in has_lost */
		(void)!ring_epochs_full_begins(disk->ring, &disk->early, disk->server != NULL);
		disk->encoded = disk_ring_tail(disk->ring);
	}
}

/* While a copy is being made, release the records of a filling ring as soon as they are in frames,
 * because the copy can be larger than the ring. If the epoch does not arrive, the disk is copied
 * again, so the released records are sent again. */
int engine_disks_full_take(struct engine *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		r = encode_disk(e, disk, disk_ring_head(disk->ring));
		if (r == 0 && e->disks.condition == DISKS_COPYING &&
		    engine_disk_is_filling(e, disk))
			ring_epochs_release_early(disk->ring, e->epochs.next, disk->encoded);
	}
	return r;
}

int engine_disks_full_wait(struct engine *e)
{
	int r = 0;

	while (r == 0 && engine_is_holding(e) && e->disks.condition != DISKS_IN_STEP &&
	       e->disks.n > 0) {
		r = qmp_pump(e->guest.qmp);
		if (r == 0) {
			engine_disks_tick(e);
			r = engine_disks_full_take(e);
		}
		if (r == 0)
			r = engine_wait_and_serve(e, qmp_fd(e->guest.qmp), COPY_LOOK_NS);
	}
	return r;
}

void engine_disks_resumed(struct engine *e, uint64_t epoch)
{
	bool is_lost = false;

	for (uint32_t i = 0; i < e->disks.n; i++)
		/* A standby that reports no epoch may even have lost the content that its image had
		 * when we asked for its hashes. The ring does not notice this if nothing was
		 * committed after that. */
		if (ring_epochs_resumed(e->disks.disk[i].ring, epoch) ||
		    (epoch == 0 && e->disks.disk[i].is_base_known))
			is_lost = true;
	if (!is_lost)
		return;
	log_warn("vm=%s the standby's last epoch is %" PRIu64
		 ", before one that was committed: its disks are copied whole",
		 e->config.vm, epoch);
	if (e->disks.condition != DISKS_APART)
		engine_disks_fell_apart(e, &e->disks.disk[0], "the standby has lost its copy");
	for (uint32_t i = 0; i < e->disks.n; i++)
		engine_base_forget(&e->disks.disk[i]);
}
