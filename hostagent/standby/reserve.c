/* Reserves and claims room for what a standby may have to write; see room.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "standby/standby_private.h"

#define MIB (UINT64_C(1) << 20)
/* Limits of the reserve for ordinary epochs, which is a sixteenth of RAM. */
#define LOG_RESERVE_MIN (16 * MIB)
#define LOG_RESERVE_MAX (256 * MIB)

static uint64_t at_most(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

/* Returns the largest size of a FULL epoch: all pages as RAW records, the headers of records and
 * frames (at most 2 %), and the device state. @other_bytes: size of all blocks except main
 * memory. */
static uint64_t full_epoch_bytes(const struct standby *sb, uint64_t other_bytes)
{
	uint64_t ram_bytes = sb->qemu.cmdline.ram_bytes + other_bytes;

	return at_most(ram_bytes + ram_bytes / 32 + 2 * (uint64_t)WIRE_BLOB_MAX, sb->log_bytes_max);
}

static uint64_t everyday_bytes(const struct standby *sb)
{
	uint64_t bytes = sb->qemu.cmdline.ram_bytes / 16;

	if (bytes < LOG_RESERVE_MIN)
		bytes = LOG_RESERVE_MIN;
	return at_most(at_most(bytes, LOG_RESERVE_MAX), sb->log_bytes_max);
}

/* Compute how much space a FULL epoch needs besides the reserve for ordinary epochs. */
static void note_need(struct standby *sb, uint64_t other_bytes)
{
	uint64_t full = full_epoch_bytes(sb, other_bytes), everyday = everyday_bytes(sb);

	sb->room_needed_bytes = full > everyday ? full - everyday : 0;
	sb->is_room_known = true;
}

/* Claim the space that note_need() has computed. */
static int claim(struct standby *sb, uint64_t other_bytes, uint64_t *ret_left)
{
	note_need(sb, other_bytes);
	return room_claim(&sb->room, sb->rf.dir, sb->room_needed_bytes, ret_left);
}

/* Reserve and claim what epochs may need. Returns 0 or -errno with *ret_error. */
static int reserve_room(struct standby *sb, struct error *ret_error)
{
	uint64_t full = full_epoch_bytes(sb, 0), everyday = everyday_bytes(sb), left = 0;
	int r = ramfile_reserve_room(&sb->rf);

	if (r == 0)
		r = epochlog_reserve(&sb->log, everyday);
	if (r == 0)
		r = claim(sb, 0, &left);
	/* If an earlier step has failed, nothing was claimed, and the free space is not known yet.
	 * So claim far too much: this fails too, and `left` is then the free space. */
	if (r == -ENOSPC && left == 0)
		(void)!room_claim(&sb->room, sb->rf.dir, UINT64_MAX, &left);
	if (r < 0)
		return error_set(ret_error, r,
				 "no room for epochs in %s: %s; beside %" PRIu64
				 " MiB of guest RAM a FULL epoch may need %" PRIu64
				 " MiB, and %" PRIu64
				 " MiB are free beside what other standbys claim: enlarge that "
				 "tmpfs (mount -o remount,size=...), set log_bytes_max, or wait: "
				 "a copy that has ended keeps its memory for copy_keep_s",
				 sb->rf.dir, strerror(-r), sb->qemu.cmdline.ram_bytes / MIB,
				 full / MIB, left / MIB);
	return r;
}

static int reserve(struct standby *sb, struct error *ret_error)
{
	int r;

	note_need(sb, 0); /* report the need even if there is too little space for the claim */
	r = ramfile_reserve(&sb->rf, sb->qemu.cmdline.ram_bytes);
	if (r < 0)
		return error_set(ret_error, r,
				 "cannot reserve %" PRIu64 " MiB of guest RAM in %s: %s%s",
				 sb->qemu.cmdline.ram_bytes / MIB, sb->rf.dir, strerror(-r),
				 r == -ENOSPC ? "; enlarge that tmpfs, or wait: another VM's copy "
						"that has ended keeps its memory for copy_keep_s"
					      : "");
	return reserve_room(sb, ret_error);
}

int standby_reserve(struct standby *sb, struct error *ret_error)
{
	bool was_short = sb->is_room_short;
	int r = reserve(sb, ret_error);

	sb->is_room_short = r < 0 && sb->rf.ram && sb->rf.meta.phase == RAMFILE_COPY &&
			    epochlog_complete(&sb->log);
	if (sb->is_room_short) {
		if (!was_short)
			log_warn("vm=%s %s; going on with the copy that is held", sb->config.vm,
				 ret_error->text);
		ret_error->text[0] = '\0';
		standby_backoff_reset(&sb->room_backoff);
		standby_backoff_failed(&sb->room_backoff, clock_mono_ns());
		return 0;
	}
	if (r < 0) {
		standby_give_back(sb);
		/* on the stream, the primary may have been told what the files contain */
		standby_stream_close(sb);
		if (sb->qemu.pid <= 0 && !qemu_is_left(&sb->qemu))
			/* ignore this error: the one in r matters more */
			(void)!ramfile_purge(&sb->rf);
	}
	return r;
}

/* Is enough space free for reserve_room()? Checked before each further try: a try that fails
 * allocates and frees many pages, and epochs wait meanwhile. */
static bool may_suffice(const struct standby *sb)
{
	uint64_t everyday = sb->log.reserve_bytes > 0 ? 0 : everyday_bytes(sb);

	return room_free_bytes(&sb->room, sb->rf.dir) >= sb->room_needed_bytes + everyday;
}

void standby_reserve_again(struct standby *sb, uint64_t now_ns)
{
	struct error error;

	if (!sb->is_room_short || now_ns < sb->room_backoff.next_ns)
		return;
	if (!may_suffice(sb) || reserve_room(sb, &error) < 0) {
		standby_backoff_failed(&sb->room_backoff, now_ns);
		return;
	}
	sb->is_room_short = false;
	sb->dirty = true;
	log_info("vm=%s there is room for a FULL epoch in %s now", sb->config.vm, sb->rf.dir);
}

int standby_reserve_blocks(struct standby *sb, struct error *ret_error)
{
	uint64_t other_bytes = 0, left = 0;
	int r;

	if (epochlog_complete(&sb->log))
		return 0; /* the copy has its layout already */
	for (unsigned i = 0; i < sb->qemu.geometry.n_blocks; i++)
		if (sb->qemu.geometry.blocks[i].kind != WIRE_BLOCK_RAM)
			other_bytes += sb->qemu.geometry.blocks[i].size_bytes;
	r = ramfile_layout(&sb->rf, &sb->qemu.geometry);
	if (r == 0)
		r = claim(sb, other_bytes, &left);
	if (r < 0)
		return error_set(ret_error, r,
				 "no room in %s for %" PRIu64 " MiB of the guest's video RAM and "
				 "other memory, and for an epoch with them: %s; enlarge that tmpfs "
				 "(mount -o remount,size=...)",
				 sb->rf.dir, other_bytes / MIB, strerror(-r));
	return 0;
}

void standby_give_back(struct standby *sb)
{
	room_release(&sb->room);
	sb->is_room_known = sb->is_room_short = false;
	epochlog_give_back(&sb->log);
}
