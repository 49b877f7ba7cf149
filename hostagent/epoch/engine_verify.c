/* Verifies the copies of the guest's disks while the guest runs; see engine_private.h and
 * docs/disks.md.
 *
 * QEMU can miss a write when it copies a disk, and the standby can lose one. So once the disks are
 * in step, all blocks are compared, in batches of up to BLOCKS_MAX blocks. A batch has these
 * phases:
 *
 *      IDLE      no batch
 *      READING   a thread reads the blocks and hashes them
 *      READ      the hashes are ready; they wait for the next seal, which ends epoch n
 *      SENT      the hashes are HASH records of epoch n; the standby compares them when it applies
 *                epoch n, and answers DISK_CHECKED
 *
 * If the guest writes a block while it is read, the block's hash is not valid for the end of epoch
 * n. QEMU writes the image first, then the ring, and at the seal all writes are done. So such a
 * block has a new record in the ring. Blocks with a new record are left out until the next pass.
 *
 * If a block differs, it is read once more and sent, if its content is what was put into the ring
 * last: then the standby's image was wrong. It is sent as well if the ring does not know the
 * block's content, after a write to a part of it: the primary's image is right in either case.
 * Otherwise QEMU missed a write, or the image is not what QEMU reads: then QEMU copies the disk
 * again, and the block is sent whatever the ring's hash says. Afterwards the batch, or all, is
 * compared anew. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "wire/msg.h"

#define TELL_NS     CLOCK_NS_PER_S /* how long the news of a difference stands, to be reported */
#define ANSWER_NS   (10 * CLOCK_NS_PER_S) /* then the hashes of the batch are sent again */
#define TRIES_MAX   3u                     /* repairs in a row that did not put a batch right */

static uint64_t n_blocks(const struct engine_disk *disk)
{
	return (disk->found.size_bytes + BLOCKS_BYTES - 1) / BLOCKS_BYTES;
}

static void say_news(struct engine *e, const char *text)
{
	snprintf(e->verify.news, sizeof(e->verify.news), "%s", text);
	e->config.changed(e->config.changed_arg);
}

/* ---- where the pass is */

/* Give up the batch. A thread that still reads for it is waited for later. */
static void drop_batch(struct engine_verify *v)
{
	v->phase = VERIFY_IDLE;
	v->is_repair = false;
}

static void begin_pass(struct engine_verify *v)
{
	drop_batch(v);
	v->disk = 0;
	v->block = 0;
	v->n_checked = v->n_busy = 0;
	v->has_passed = false;
	*v->why.text = '\0';
	v->n_left_out = 0;
	v->bad.n_differ = v->bad_at = 0;
	v->next_ns = 0;
}

static void next_disk(struct engine_verify *v)
{
	v->disk++;
	v->block = 0;
}

static void pass_ends(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	char text[WIRE_STATS_VALUE_MAX + 1];

	v->has_passed = true;
	v->next_ns = clock_mono_ns() + e->config.disk_verify_every_ns;
	if (v->n_left_out == e->disks.n)
		return;
	v->n_tries = 0;
	v->is_differing = v->was_copied = false;
	snprintf(text, sizeof(text),
		 "the standby's copy of the disks is verified: %" PRIu64 " blocks are equal, "
		 "%" PRIu64 " were being written, %" PRIu32 " disks left out",
		 v->n_checked, v->n_busy, v->n_left_out);
	log_info("vm=%s epoch=%" PRIu64 " %s%s%s", e->config.vm, e->epochs.next, text,
		 *v->why.text ? ": " : "", v->why.text);
	say_news(e, text);
}

/* May hashes be sent? Only for disks that are in step, in epochs that follow each other. */
static bool may_verify(const struct engine *e)
{
	return e->disks.n > 0 && e->config.disk_verify_bytes_per_s > 0 && !e->verify.has_failed &&
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

/* Begin to read @n_max blocks from block @first on. */
static void begin_read(struct engine *e, uint64_t first, uint32_t n_max)
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
	v->phase = VERIFY_READING;
}

static void begin_batch(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	if (v->bad_at < v->bad.n_differ) {
		v->is_repair = true;
		begin_read(e, v->bad.offset[v->bad_at] / BLOCKS_BYTES, 1);
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
	begin_read(e, v->block, BLOCKS_MAX);
}

/* ---- a difference */

/* Make QEMU copy the disk again, with the blocks in `bad`, whatever the ring's hashes say. */
static void copy_again(struct engine *e, const char *why)
{
	struct engine_verify *v = &e->verify;
	struct engine_disk *disk = &e->disks.disk[v->disk];

	disk->n_bad = v->bad.n_differ;
	memcpy(disk->bad, v->bad.offset, sizeof(disk->bad));
	v->must_copy = false;
	v->was_copied = true;
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
	v->is_differing = true;
	v->has_failed = ++v->n_tries > TRIES_MAX;
	snprintf(text, sizeof(text),
		 "%" PRIu32 " blocks of the standby's image differ, the first at byte %" PRIu64
		 "%s",
		 v->bad.n_differ, v->bad.offset[0],
		 v->has_failed ? ", though sent again: is its storage sound?" : "");
	for (uint32_t i = 0; i < v->bad.n_differ && i < WIRE_DISK_DIFFER_MAX; i++)
		log_limited(LOG_LEVEL_ERROR,
			    "vm=%s epoch=%" PRIu64 " disk=%s the standby's image differs in the "
			    "block of %u bytes at byte %" PRIu64,
			    e->config.vm, v->epoch, name, BLOCKS_BYTES, v->bad.offset[i]);
	if (v->has_failed)
		(void)error_set(&v->why, 0, "disk %s: %s", name, text);
	v->told_ns = clock_mono_ns();
	say_news(e, text);
	v->must_copy = v->bad.n_differ > WIRE_DISK_DIFFER_MAX;
	e->publish_at_ns = 0; /* tell the gateway at once */
}

void engine_verify_tick(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	uint64_t now_ns = clock_mono_ns();

	if (v->answer.n_differ > 0 && e->disks.condition == DISKS_IN_STEP)
		found_difference(e);
	if (v->must_copy && !v->has_failed && e->disks.condition == DISKS_IN_STEP)
		copy_again(e, "blocks of the standby's image differ, and not by its fault: the "
			      "disk is copied again");
	if (!may_verify(e)) {
		drop_batch(v);
		if (e->disks.condition != DISKS_IN_STEP)
			begin_pass(v);
		return;
	}
	if (v->phase == VERIFY_READ || (v->phase == VERIFY_SENT && now_ns > v->answer_ns))
		drop_batch(v); /* the epoch was given up, or the standby's answer is lost */
	if (v->phase != VERIFY_IDLE || now_ns < v->next_ns ||
	    (v->blocks && !blocks_are_done(v->blocks)))
		return;
	if (v->blocks)
		blocks_end(v->blocks);
	if (v->has_passed && e->config.disk_verify_every_ns == 0)
		return;
	if (v->has_passed)
		begin_pass(v);
	begin_batch(e);
}

void engine_verify_saw(struct engine *e, const struct engine_disk *disk,
		       const struct disk_record *record)
{
	struct engine_verify *v = &e->verify;
	uint64_t first = record->offset / BLOCKS_BYTES;
	uint64_t last = (record->offset + record->bytes - 1) / BLOCKS_BYTES;

	if (v->phase == VERIFY_IDLE || v->phase == VERIFY_SENT || disk != &e->disks.disk[v->disk])
		return;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->first + i >= first && v->first + i <= last)
			v->touched |= UINT64_C(1) << i;
	}
}

void engine_verify_cut(struct engine *e, uint64_t epoch)
{
	struct engine_verify *v = &e->verify;

	if (v->phase != VERIFY_READING || !blocks_are_done(v->blocks))
		return;
	v->phase = VERIFY_READ;
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

static int send_hash(struct engine *e, uint32_t i)
{
	struct engine_verify *v = &e->verify;
	struct wire_disk_record record = {.op = WIRE_DISK_HASH,
					  .offset = (v->first + i) * BLOCKS_BYTES};

	record.data = blocks_hash(v->blocks, i, &record.bytes);
	if (v->touched & UINT64_C(1) << i || !record.data) {
		v->n_busy++;
		return 0;
	}
	v->n_sent++;
	return put(e, &record);
}

/* Put the right content of a block that differed into the epoch, unless the guest has just written
 * it. */
static int send_block(struct engine *e)
{
	struct engine_verify *v = &e->verify;
	struct engine_disk *disk = &e->disks.disk[v->disk];
	struct wire_disk_record record = {.op = WIRE_DISK_WRITE,
					  .offset = v->first * BLOCKS_BYTES,
					  .data = blocks_last(v->blocks)};
	bool is_read = blocks_hash(v->blocks, 0, &record.bytes) != NULL;

	v->phase = VERIFY_IDLE;
	v->is_repair = false;
	v->bad_at++;
	if (v->touched)
		return 0;
	v->must_copy = !is_read ||
		       disk_ring_match(disk->ring, v->first, record.data) == DISK_RING_OTHER;
	return v->must_copy ? 0 : put(e, &record);
}

int engine_verify_encode(struct engine *e, uint64_t epoch)
{
	struct engine_verify *v = &e->verify;
	int r = 0;

	if (v->phase != VERIFY_READ || v->epoch != epoch)
		return 0;
	blocks_end(v->blocks);
	if (v->is_repair)
		return send_block(e);
	v->n_sent = 0;
	for (uint32_t i = 0; r == 0 && i < v->n; i++)
		r = send_hash(e, i);
	v->phase = VERIFY_SENT;
	v->answer_ns = clock_mono_ns() + ANSWER_NS;
	if (v->n_sent == 0) { /* nothing to wait for */
		v->block += v->n;
		v->phase = VERIFY_IDLE;
	}
	return r;
}

/* ---- the standby's answer */

int engine_verify_answer(struct engine *e, const struct wire_frame *frame)
{
	struct engine_verify *v = &e->verify;
	struct wire_disk_checked checked;

	if (wire_disk_checked_decode(frame, &checked, NULL) < 0)
		return -EPROTO;
	/* An answer to a batch that was given up is ignored: the batch was, or will be, sent
	 * again. */
	if (v->phase != VERIFY_SENT || frame->h.epoch != v->epoch ||
	    checked.n_checked != v->n_sent ||
	    strcmp(checked.name, e->disks.disk[v->disk].found.name) != 0)
		return 0;
	v->phase = VERIFY_IDLE;
	v->answer = checked; /* a copy cannot begin here: an epoch may be half encoded */
	if (checked.n_differ > 0)
		return 0;
	/* After a repair the same batch comes next, and it is right now. After a copy the pass
	 * begins anew, so the batch that differed is not reached yet. */
	if (!v->was_copied)
		v->n_tries = 0;
	v->n_checked += checked.n_checked;
	v->block += v->n;
	return 0;
}

/* ---- figures */

static const char *state_of(const struct engine *e)
{
	const struct engine_verify *v = &e->verify;

	if (e->config.disk_verify_bytes_per_s == 0)
		return "off";
	if (v->has_failed)
		return "failed";
	if (v->n_left_out == e->disks.n || (engine_stream_is_resumed(&e->stream) &&
					    !(e->stream.features & WIRE_FEATURE_DISK_HASH)))
		return "not-possible";
	if (v->has_passed)
		return "done";
	return may_verify(e) ? "running" : "waiting";
}

int engine_verify_stats(const struct engine *e, char *stats)
{
	const struct engine_verify *v = &e->verify;
	int r = wire_stats_add(stats, "disk_verify", "%s", state_of(e));

	if (r == 0)
		r = engine_add_text(stats, "disk_verify_why", v->why.text);
	if (r == 0)
		r = wire_stats_add(stats, "disk_verified_blocks", "%" PRIu64, v->n_checked);
	if (r == 0)
		r = wire_stats_add(stats, "disk_busy_blocks", "%" PRIu64, v->n_busy);
	if (r == 0)
		r = wire_stats_add(stats, "disk_differing_blocks", "%" PRIu64, v->n_differ);
	if (r == 0) /* blocks differed, and no pass has ended since */
		r = wire_stats_add(stats, "disk_differs", "%d", v->is_differing);
	if (r == 0)
		r = engine_add_text(stats, "disk_verify_news", v->news);
	return r;
}

void engine_verify_begin(struct engine *e)
{
	struct engine_verify *v = &e->verify;

	begin_pass(v);
	v->has_failed = v->must_copy = v->was_copied = false;
	v->answer.n_differ = v->n_tries = 0;
}

bool engine_verify_is_over(const struct engine *e)
{
	const char *state = state_of(e);

	return e->disks.n == 0 || (strcmp(state, "running") != 0 && strcmp(state, "waiting") != 0);
}

void engine_verify_close(struct engine_verify *v)
{
	v->blocks = blocks_free(v->blocks);
}
