/* Verifies the copies of the guest's disks while the guest runs; see engine_private.h and
 * docs/disks.md.
 *
 * QEMU can miss a write when it copies a disk, and the standby can lose a write. So when the disks
 * are in step, all blocks are compared, in batches of up to BLOCKS_MAX blocks. A batch has these
 * phases:
 *
 *      IDLE      no batch
 *      READING   a thread reads the blocks and hashes them
 *      READ      the hashes are ready; they wait for the next seal, which ends epoch n
 *      SENT      the hashes are HASH records of epoch n; the standby compares them when it applies
 *                epoch n, and answers DISK_CHECKED
 *      REREADING like READING, for one block that differed
 *      REREAD    like READ, for that block; the block itself is sent, not its hash
 *      COPY      no batch; the disk must be copied again
 *      PASSED    the pass has ended
 *
 * If the guest writes a block after the read has begun, the block's hash may not be that of the
 * block at the end of epoch n. QEMU writes the image first, then the ring, and at the seal all
 * writes are done. So such a block has a new record in the ring. Blocks with a new record are left
 * out until the next pass.
 *
 * A block that differs is read once more. The ring has a hash of the content that was last put into
 * it for this block:
 * - If the block has this content, the standby's image was wrong, and the block is sent again.
 * - If the ring does not know the content, because only a part of the block was written, the block
 *   is sent again too.
 * - If the block has other content, QEMU has missed a write, or the image is not what QEMU reads.
 *   Then QEMU copies the disk again, and this copy sends the block even if the ring's hash shows no
 *   change.
 * Afterwards the batch is compared again; after a copy, all blocks are. If the disks fall out of
 * step before the batch is equal, the copy that follows sends the batch's differing blocks.
 *
 * A block that differed is `unproven` until it was compared again and was equal. It cannot be
 * compared while the guest writes it in each epoch, or while its image cannot be read. While a
 * block is unproven, no pass reports the standby's copy as verified, and another pass begins
 * soon. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "wire/msg.h"

#define TELL_NS     CLOCK_NS_PER_S /* `news` keeps a difference for this long, so that it is
				    * reported */
#define ANSWER_NS   (10 * CLOCK_NS_PER_S) /* after this time without an answer, the hashes of the
					   * batch are sent again */
#define TRIES_MAX   3u                     /* the verification fails if blocks of a batch still
					    * differ after this many repairs in a row */
#define AGAIN_NS    (60 * CLOCK_NS_PER_S)  /* the longest time from a pass to the next one while
					    * blocks are unproven */

static uint64_t n_blocks(const struct engine_disk *disk)
{
	return (disk->found.size_bytes + BLOCKS_BYTES - 1) / BLOCKS_BYTES;
}

static void say_news(struct engine *e, const char *text)
{
	snprintf(e->verify.news, sizeof(e->verify.news), "%s", text);
	e->config.changed(e->config.changed_arg);
}

/* ---- blocks that differed */

/* Record that block @block of @disk differs, or (@differs is false) that it is equal now. */
static void note_block(struct engine_verify *v, struct engine_disk *disk, uint64_t block,
		       bool differs)
{
	uint64_t *word = &disk->unproven[block / 64], bit = UINT64_C(1) << block % 64;
	bool did_differ = *word & bit;

	*word = differs ? *word | bit : *word & ~bit;
	v->n_unproven += (uint64_t)differs - (uint64_t)did_differ;
}

/* Record what the standby has found about the blocks of the batch. Returns 0; -EPROTO: the answer
 * names a block whose hash was not sent. */
static int note_answer(struct engine_verify *v, struct engine_disk *disk,
		       const struct wire_disk_checked *checked)
{
	uint64_t differing = 0;

	/* This limit leaves nothing out: an answer has room for the offsets of a whole batch. */
	for (uint32_t i = 0; i < checked->n_differ && i < WIRE_DISK_DIFFER_MAX; i++) {
		uint64_t at = checked->offset[i] / BLOCKS_BYTES - v->first;

		if (at >= v->n || !(v->sent >> at & 1))
			return -EPROTO;
		differing |= UINT64_C(1) << at;
	}
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->sent >> i & 1)
			note_block(v, disk, v->first + i, differing >> i & 1);
	}
	return 0;
}

/* ---- where the pass is */

/* Give up the batch, if there is one. If a thread still reads it, the next batch begins only when
 * that thread has ended. */
static void drop_batch(struct engine *e, const char *why)
{
	if (e->verify.condition != VERIFY_PASSED)
		engine_set_verify(e, VERIFY_IDLE, why);
}

static void begin_pass(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	engine_set_verify(e, VERIFY_IDLE, "a pass begins");
	v->disk = 0;
	v->block = 0;
	v->n_checked = v->n_busy = v->n_unread = 0;
	if (v->finding != FINDING_FAILED)
		*v->why.text = '\0';
	v->n_left_out = 0;
	v->bad.n_differ = v->bad_at = 0;
	v->n_skipped = 0;
	v->next_ns = 0;
}

/* Continue with the blocks after the batch. */
static void next_batch(struct engine_verify *v)
{
	v->block += v->n;
	v->bad.n_differ = v->bad_at = v->n_skipped = 0;
}

static void next_disk(struct engine_verify *v)
{
	v->disk++;
	v->block = 0;
}

/* Returns the time from the end of a pass to the beginning of the next; 0: no further pass begins
 * by itself. */
static uint64_t time_to_next(const struct engine *e)
{
	uint64_t every_ns = e->config.disk_verify_every_ns;

	if (e->verify.n_unproven > 0 && (every_ns == 0 || every_ns > AGAIN_NS))
		return AGAIN_NS;
	return every_ns;
}

/* Write to @text what the pass has found. */
static void say_pass(const struct engine_verify *v, char text[WIRE_STATS_VALUE_MAX + 1])
{
	size_t size = WIRE_STATS_VALUE_MAX + 1;

	if (v->n_unproven > 0)
		snprintf(text, size,
			 "%" PRIu64 " blocks that differed could not be compared again, "
			 "%" PRIu64 " others are equal, %" PRIu64 " were being written",
			 v->n_unproven, v->n_checked, v->n_busy);
	else if (v->n_unread > 0 || v->n_checked == 0)
		snprintf(text, size,
			 "%" PRIu64 " blocks of the standby's disks are equal, %" PRIu64
			 " were being written, %" PRIu64 " could not be read here",
			 v->n_checked, v->n_busy, v->n_unread);
	else
		snprintf(text, size,
			 "the standby's copy of the disks is verified: %" PRIu64 " blocks are "
			 "equal, %" PRIu64 " were being written, %" PRIu32 " disks left out",
			 v->n_checked, v->n_busy, v->n_left_out);
}

static void pass_ends(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	char text[WIRE_STATS_VALUE_MAX + 1];

	engine_set_verify(e, VERIFY_PASSED, "");
	v->next_ns = clock_mono_ns() + time_to_next(e);
	if (v->n_left_out == e->disks.n)
		return;
	if (v->n_unproven == 0) {
		v->n_tries = 0;
		engine_set_disk_finding(e, FINDING_NONE, "a whole pass has ended");
	}
	say_pass(v, text);
	log_info("vm=%s epoch=%" PRIu64 " %s%s%s", e->config.vm, e->epochs.next, text,
		 *v->why.text ? ": " : "", v->why.text);
	say_news(e, text);
}

bool engine_verify_may_send(const struct engine *e)
{
	return e->disks.n > 0 && e->config.disk_verify_bytes_per_s > 0 &&
	       e->verify.finding != FINDING_FAILED &&
	       (e->stream.features & WIRE_FEATURE_DISK_HASH) &&
	       engine_stream_is_resumed(&e->stream) && engine_is_holding(e) &&
	       e->disks.condition == DISKS_IN_STEP && e->epochs.sync == SYNC_KEPT;
}

/* ---- a batch */

static int open_blocks(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	int r;

	if (v->blocks && v->block > 0)
		return 0;
	v->blocks = blocks_free(v->blocks);
	r = blocks_open(e->guest.info.pid, &e->disks.disk[v->disk].found, &v->blocks, &v->why);
	if (r < 0) {
		log_warn("vm=%s %s", e->config.vm, v->why.text);
		v->n_left_out++;
		next_disk(v);
	}
	return r;
}

/* Begin to read @n_max blocks from block @first on. @to: VERIFY_READING or VERIFY_REREADING. */
static void begin_read(struct engine *e, uint64_t first, uint32_t n_max, enum verify_condition to)
{
	struct engine_verify *v = &e->verify;
	int r = blocks_start(v->blocks, first, n_max);

	v->next_ns = clock_mono_ns() + (uint64_t)n_max * BLOCKS_BYTES * CLOCK_NS_PER_S /
					       e->config.disk_verify_bytes_per_s;
	if (r < 0)
		return;
	v->first = first;
	v->n = (uint32_t)r;
	v->touched = 0;
	engine_set_verify(e, to, "");
}

static void begin_batch(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	if (v->bad_at < v->bad.n_differ) {
		begin_read(e, v->bad.offset[v->bad_at] / BLOCKS_BYTES, 1, VERIFY_REREADING);
		return;
	}
	if (v->disk < e->disks.n && v->block >= n_blocks(&e->disks.disk[v->disk]))
		next_disk(v);
	if (v->disk >= e->disks.n) {
		if (clock_mono_ns() < v->told_ns + TELL_NS)
			v->next_ns = v->told_ns + TELL_NS;
		else
			pass_ends(e);
		return;
	}
	if (open_blocks(e) < 0)
		return;
	begin_read(e, v->block, BLOCKS_MAX, VERIFY_READING);
}

/* ---- a difference */

/* Leave it to the next copy of @disk to send the blocks in v->bad. That copy sends them even if the
 * ring's hashes show no change. */
static void leave_to_copy(struct engine *e, struct engine_disk *disk)
{
	struct engine_verify *v = &e->verify;

	disk->n_bad = v->bad.n_differ;
	memcpy(disk->bad, v->bad.offset, sizeof(disk->bad));
	engine_set_disk_finding(e, FINDING_COPIED, "");
}

/* Make QEMU copy the disk again. */
static void copy_again(struct engine *e, const char *why)
{
	struct engine_disk *disk = &e->disks.disk[e->verify.disk];

	leave_to_copy(e, disk);
	say_news(e, why);
	engine_disks_fell_apart(e, disk, why);
}

static void found_difference(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	const char *name = e->disks.disk[v->disk].found.name;
	char text[WIRE_STATS_VALUE_MAX + 1];

	v->bad = v->answer;
	v->bad_at = v->answer.n_differ = 0;
	v->n_differ += v->bad.n_differ;
	if (v->finding == FINDING_NONE)
		engine_set_disk_finding(e, FINDING_DIFFERS, "");
	if (v->n_skipped == 0)
		v->n_tries++;
	v->n_skipped = 0;
	if (v->n_tries > TRIES_MAX)
		engine_set_disk_finding(e, FINDING_FAILED, "repairs do not help");
	snprintf(text, sizeof(text),
		 "%" PRIu32 " blocks of the standby's image differ, the first at byte %" PRIu64
		 "%s",
		 v->bad.n_differ, v->bad.offset[0],
		 v->finding == FINDING_FAILED ? ", though sent again: is its storage sound?" : "");
	for (uint32_t i = 0; i < v->bad.n_differ && i < WIRE_DISK_DIFFER_MAX; i++)
		log_limited(LOG_LEVEL_ERROR,
			    "vm=%s epoch=%" PRIu64 " disk=%s the standby's image differs in the "
			    "block of %u bytes at byte %" PRIu64,
			    e->config.vm, v->epoch, name, BLOCKS_BYTES, v->bad.offset[i]);
	if (v->finding == FINDING_FAILED)
		(void)error_set(&v->why, 0, "disk %s: %s", name, text);
	v->told_ns = clock_mono_ns();
	say_news(e, text);
	if (v->bad.n_differ > WIRE_DISK_DIFFER_MAX)
		engine_set_verify(e, VERIFY_COPY, "more blocks differ than an answer names");
	e->publish_at_ns = 0; /* tell the gateway at once */
}

void engine_verify_apart(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	if (v->answer.n_differ > 0)
		found_difference(e);
	if (v->bad.n_differ > 0 && v->finding != FINDING_FAILED)
		leave_to_copy(e, &e->disks.disk[v->disk]);
	/* This forgets v->bad, too, because it sets v->disk, to which v->bad belongs, to the first
	 * disk. */
	begin_pass(e);
}

void engine_verify_tick(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	uint64_t now_ns = clock_mono_ns();

	if (v->answer.n_differ > 0 && e->disks.condition == DISKS_IN_STEP)
		found_difference(e);
	if (v->condition == VERIFY_COPY && v->finding != FINDING_FAILED &&
	    e->disks.condition == DISKS_IN_STEP)
		copy_again(e, "blocks of the standby's image differ, and not by its fault: the "
			      "disk is copied again");
	if (e->disks.condition != DISKS_IN_STEP)
		engine_verify_apart(e);
	if (!engine_verify_may_send(e)) {
		drop_batch(e, "nothing can be compared now");
		return;
	}
	if (v->condition == VERIFY_READ || v->condition == VERIFY_REREAD ||
	    (v->condition == VERIFY_SENT && now_ns > v->answer_ns))
		drop_batch(e, "the epoch was given up, or no answer came");
	if ((v->condition != VERIFY_IDLE && v->condition != VERIFY_PASSED) ||
	    now_ns < v->next_ns || (v->blocks && !blocks_are_done(v->blocks)))
		return;
	if (v->blocks)
		blocks_end(v->blocks);
	if (v->condition == VERIFY_PASSED && time_to_next(e) == 0)
		return;
	if (v->condition == VERIFY_PASSED)
		begin_pass(e);
	begin_batch(e);
}

/* Is a batch, or a block that differed, being read, or read and not in an epoch yet? */
static bool is_before_epoch(const struct engine_verify *v)
{
	return v->condition == VERIFY_READING || v->condition == VERIFY_READ ||
	       v->condition == VERIFY_REREADING || v->condition == VERIFY_REREAD;
}

void engine_verify_saw(struct engine *e, const struct engine_disk *disk,
		       const struct disk_record *record)
{
	struct engine_verify *v = &e->verify;
	uint64_t first = record->offset / BLOCKS_BYTES;
	uint64_t last = (record->offset + record->bytes - 1) / BLOCKS_BYTES;

	if (!is_before_epoch(v) || disk != &e->disks.disk[v->disk])
		return;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->first + i >= first && v->first + i <= last)
			v->touched |= UINT64_C(1) << i;
	}
}

void engine_verify_cut(struct engine *e, uint64_t epoch)
{
	struct engine_verify *v = &e->verify;

	if ((v->condition != VERIFY_READING && v->condition != VERIFY_REREADING) ||
	    !blocks_are_done(v->blocks))
		return;
	engine_set_verify(e, v->condition == VERIFY_READING ? VERIFY_READ : VERIFY_REREAD, "");
	v->epoch = epoch;
}

static int put(struct engine *e, const struct wire_disk_record *record)
{
	const char *name = e->disks.disk[e->verify.disk].found.name;
	uint32_t done = 0;
	int r;

	while ((r = encoder_disk(e->epochs.encoder, name, record, &done)) == -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	return r;
}

/* Block @i of the batch cannot be read. Leave it out of this pass. */
static void note_unread(struct engine *e, uint32_t i)
{
	struct engine_verify *v = &e->verify;

	v->n_unread++;
	(void)error_set(&v->why, 0, "disk %s: the block at byte %" PRIu64 " cannot be read: %s",
			e->disks.disk[v->disk].found.name, (v->first + i) * BLOCKS_BYTES,
			strerror(-blocks_error(v->blocks, i)));
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " %s", e->config.vm, v->epoch,
		    v->why.text);
}

static int send_hash(struct engine *e, uint32_t i)
{
	struct engine_verify *v = &e->verify;
	struct wire_disk_record record = {.op = WIRE_DISK_HASH,
					  .offset = (v->first + i) * BLOCKS_BYTES};

	record.data = blocks_hash(v->blocks, i, &record.bytes);
	if (v->touched & UINT64_C(1) << i) {
		v->n_busy++;
		return 0;
	}
	if (!record.data) {
		note_unread(e, i);
		return 0;
	}
	v->sent |= UINT64_C(1) << i;
	return put(e, &record);
}

/* Does the ring have a write to block @block that is not in an epoch yet? */
static bool is_written_again(const struct engine_disk *disk, uint64_t block)
{
	uint64_t at = disk->encoded, end = disk_ring_head(disk->ring);
	struct disk_record record;

	while (disk_ring_read_run(disk->ring, &at, end, &record) > 0) {
		if (record.offset < (block + 1) * BLOCKS_BYTES &&
		    record.offset + record.bytes > block * BLOCKS_BYTES)
			return true;
	}
	return false;
}

/* Put the content of a block that differed into the epoch, unless the guest has just written the
 * block. */
static int send_block(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	struct engine_disk *disk = &e->disks.disk[v->disk];
	struct wire_disk_record record = {.op = WIRE_DISK_WRITE,
					  .offset = v->first * BLOCKS_BYTES,
					  .data = blocks_last(v->blocks)};
	bool is_read = blocks_hash(v->blocks, 0, &record.bytes) != NULL, is_other;

	drop_batch(e, "");
	v->bad_at++;
	is_other = is_read && !v->touched &&
		   disk_ring_match(disk->ring, v->first, record.data) == DISK_RING_OTHER;
	/* The guest runs, so the ring's hash may be that of a write after the seal. In this case
	 * leave the block out. */
	if (v->touched || (is_other && is_written_again(disk, v->first))) {
		v->n_skipped++;
		return 0;
	}
	if (!is_read || is_other) {
		engine_set_verify(e, VERIFY_COPY, "");
		return 0;
	}
	return put(e, &record);
}

int engine_verify_encode(struct engine *e, uint64_t epoch)
{
	struct engine_verify *v = &e->verify;
	int r = 0;

	if ((v->condition != VERIFY_READ && v->condition != VERIFY_REREAD) || v->epoch != epoch)
		return 0;
	blocks_end(v->blocks);
	if (v->condition == VERIFY_REREAD)
		return send_block(e);
	v->sent = 0;
	for (uint32_t i = 0; r == 0 && i < v->n; i++)
		r = send_hash(e, i);
	if (v->sent == 0) { /* no hash was sent, so no answer will come */
		next_batch(v);
		engine_set_verify(e, VERIFY_IDLE, "it has no hash to send");
		return r;
	}
	engine_set_verify(e, VERIFY_SENT, "");
	v->answer_ns = clock_mono_ns() + ANSWER_NS;
	return r;
}

/* ---- the standby's answer */

int engine_verify_answer(struct engine *e, const struct wire_frame *frame)
{
	struct engine_verify *v = &e->verify;
	struct wire_disk_checked checked;

	if (wire_disk_checked_decode(frame, &checked, NULL) < 0)
		return -EPROTO;
	/* Ignore an answer to a batch that was given up: the batch was sent again, or will be. */
	if (v->condition != VERIFY_SENT || frame->h.epoch != v->epoch ||
	    checked.n_checked != (uint32_t)__builtin_popcountll(v->sent) ||
	    strcmp(checked.name, e->disks.disk[v->disk].found.name) != 0)
		return 0;
	if (note_answer(v, &e->disks.disk[v->disk], &checked) < 0)
		return -EPROTO;
	engine_set_verify(e, VERIFY_IDLE, "");
	/* Handle a difference later, between two epochs: it may need a copy of the disk, and now an
	 * epoch may be half encoded. */
	v->answer = checked;
	if (checked.n_differ > 0)
		return 0;
	/* After a repair, this answer is for the repaired batch, so the repair has helped. After a
	 * copy of the disk, the pass has begun anew and may not have reached the batch that
	 * differed. So this answer does not show that the copy has helped. */
	if (v->finding != FINDING_COPIED)
		v->n_tries = 0;
	v->n_checked += checked.n_checked;
	next_batch(v);
	return 0;
}

/* ---- begin and end */

void engine_verify_begin(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	if (v->finding != FINDING_NONE)
		engine_set_disk_finding(e, FINDING_DIFFERS, "all is compared again");
	v->answer.n_differ = v->n_tries = 0;
	begin_pass(e);
}

void engine_verify_close(struct engine_verify *v)
{
	v->blocks = blocks_free(v->blocks);
}
