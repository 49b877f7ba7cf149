/* Asks what the standby has already, before a copy of memory or of a disk begins; see
 * engine_private.h.
 *
 * The standby may have most of the content already, from the time before it was away, or from
 * before a failover. The standby answers with a hash of each page or block, whatever epoch the
 * content comes from. Nothing is concluded from terms or times: an equal hash means equal content.
 *
 *	FULL epoch   HASHES_WANT ─► HASHES, one after the other; then a page with the same hash
 *		     is sent as a KEEP record (encoder.h)
 *	disk         the hashes go into the ring's table; then QEMU copies the disk, and a block
 *		     with the same hash makes no record (disk/ring.h)
 *
 * While output is held, clients wait. So in this case the questions about memory end after
 * LIMIT_NS, and the hashes known by then are used. Questions about disks are not asked at all.
 *
 * The standby's content must not change between its answer and the copy. So nothing that would
 * change the content may be under way: no retained epoch, and no record in the ring. Pages and
 * blocks for which no answer comes are copied whole. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/progress.h"
#include "wire/msg.h"

#define ANSWER_NS (2 * CLOCK_NS_PER_S) /* how long to wait for an answer; after that, the hashes
					* that are still missing count as not known */
#define LIMIT_NS  (2 * CLOCK_NS_PER_S) /* limit for all questions about memory together, while
					* output is held */
#define LOOK_NS	  (10 * CLOCK_NS_PER_MS)

_Static_assert(WIRE_HASH_BLOCK_SIZE == DISK_RING_BLOCK_BYTES, "one hash for each block");

/* ---- one question */

static void want_next(struct engine *e, uint64_t first)
{
	struct engine_base *b = &e->base;
	uint64_t n = b->end - first;

	b->want.first = first;
	b->want.n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	engine_set_base(e, BASE_WANTED, b->want.disk);
	b->asked_ns = clock_mono_ns();
}

static void begin(struct engine *e, struct engine_disk *disk, uint64_t seed, uint64_t n_units)
{
	struct engine_base *b = &e->base;

	b->want = (struct wire_hashes_want){.seed = seed};
	if (disk)
		memcpy(b->want.disk, disk->found.name, sizeof(b->want.disk));
	b->disk = disk;
	b->end = n_units;
	b->generation = e->stream.generation;
	want_next(e, 0);
}

/* Send the question if that is possible now. If the link is full, a later call tries again. If the
 * link is broken, the stream's own functions notice that. */
static void send_question(struct engine *e)
{
	struct engine_base *b = &e->base;
	struct wire_header h = {.type = WIRE_HASHES_WANT, .term = e->term,
				.generation = e->stream.generation};
	uint8_t payload[WIRE_DISK_NAME_MAX + 64];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct iovec piece = {.iov_base = payload};

	if (b->condition != BASE_WANTED || e->stream.opening != OPENING_SENT ||
	    wire_hashes_want_encode(&b->want, &w) < 0)
		return;
	piece.iov_len = (size_t)(w.at - payload);
	if (link_send(e->stream.link, &h, &piece, 1) == 0)
		engine_set_base(e, BASE_SENT, b->want.disk);
}

/* Has the standby failed to answer in time? */
static bool is_late(const struct engine_base *b)
{
	return clock_mono_ns() - b->asked_ns > ANSWER_NS;
}

/* ---- memory */

static void free_hashes(struct engine_base *b)
{
	free(b->hash);
	b->hash = NULL;
	b->n_hashes = 0;
}

static int ask_for_memory(struct engine *e)
{
	struct engine_base *b = &e->base;
	uint64_t begun_ns = clock_mono_ns();
	int r = 0;

	while (r == 0 && b->condition != BASE_NONE) {
		if (is_late(b) || (engine_is_holding(e) && clock_mono_ns() - begun_ns > LIMIT_NS)) {
			log_warn("vm=%s the standby has not said in time what it has of the "
				 "guest's memory, but for the first %" PRIu64 " MiB: the rest is "
				 "sent", e->config.vm, b->want.first * WIRE_PAGE_SIZE >> 20);
			return 0;
		}
		send_question(e);
		progress_to(e->config.progress, b->want.first * WIRE_PAGE_SIZE);
		r = engine_wait_and_serve(e, -1, LOOK_NS);
	}
	return r;
}

int engine_base_memory(struct engine *e)
{
	struct engine_base *b = &e->base;
	const uint64_t n_pages = e->guest.info.n_pages;
	uint64_t seed;
	int r;

	if (!(e->stream.features & WIRE_FEATURE_BASE) ||
	    getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return 0;
	free_hashes(b);
	b->hash = calloc(n_pages, WIRE_HASH_SIZE);
	if (!b->hash)
		return 0; /* without hashes, all pages are sent */
	progress_begin(e->config.progress, "compared", "of guest RAM with the standby's",
		       n_pages * WIRE_PAGE_SIZE);
	begin(e, NULL, seed, n_pages);
	r = ask_for_memory(e);
	engine_set_base(e, BASE_NONE, "");
	if (r == 0 && b->n_hashes > 0)
		encoder_set_base(e->epochs.encoder, seed, b->hash);
	return r;
}

void engine_base_used(struct engine *e)
{
	encoder_set_base(e->epochs.encoder, 0, NULL);
	free_hashes(&e->base);
}

/* ---- disks */

void engine_base_void(struct engine *e)
{
	e->base.disk = NULL;
	engine_set_base(e, BASE_NONE, "RESUME has come");
}

void engine_base_forget(struct engine_disk *disk)
{
	/* Drop the records that wait in the ring: they would change the standby's image after it
	 * was hashed. They are not needed, because the next mirror reads the whole disk. */
	disk_ring_forget_hashes(disk->ring);
	disk_ring_release(disk->ring, disk_ring_head(disk->ring));
	disk->encoded = disk_ring_tail(disk->ring);
	disk->is_base_known = false;
}

static void disk_is_known(struct engine *e, bool is_whole)
{
	struct engine_base *b = &e->base;

	if (is_whole)
		disk_ring_base_end(b->disk->ring);
	b->disk->is_base_known = true;
	b->disk = NULL;
	engine_set_base(e, BASE_NONE, "");
}

/* Begin or continue to ask for the hashes of @disk. */
static void ask_for_disk(struct engine *e, struct engine_disk *disk)
{
	struct engine_base *b = &e->base;
	uint64_t n_blocks = (disk->found.size_bytes + WIRE_HASH_BLOCK_SIZE - 1) /
			    WIRE_HASH_BLOCK_SIZE;

	if (engine_is_holding(e) || disk->server) {
		disk->is_base_known = true;
		return;
	}
	if (b->disk != disk || b->generation != e->stream.generation) {
		if (disk_ring_waiting(disk->ring) > 0 || disk_ring_base_begin(disk->ring) < 0) {
			disk->is_base_known = true;
			return;
		}
		begin(e, disk, disk_ring_base_seed(disk->ring), n_blocks);
	}
	if (is_late(b)) {
		log_warn("vm=%s disk=%s the standby does not say what its image has: what it has "
			 "not named by now is sent", e->config.vm, disk->found.name);
		disk_is_known(e, false);
		return;
	}
	send_question(e);
}

bool engine_base_disks(struct engine *e)
{
	if (!(e->stream.features & WIRE_FEATURE_BASE))
		return true;
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];

		if (!disk->is_base_known)
			ask_for_disk(e, disk);
		if (!disk->is_base_known)
			return false;
	}
	return true;
}

uint64_t engine_base_wake_ns(const struct engine *e)
{
	const struct engine_base *b = &e->base;

	if (!b->disk)
		return UINT64_MAX;
	/* after a question was sent, the answer wakes the thread; so look only when ANSWER_NS are
	 * over */
	return b->condition == BASE_SENT ? b->asked_ns + ANSWER_NS : clock_mono_ns() + LOOK_NS;
}

/* ---- answers */

static void take_pages(struct engine_base *b, const struct wire_hashes *hashes)
{
	memcpy(b->hash + (hashes->first + hashes->n_zero) * WIRE_HASH_SIZE, hashes->hash,
	       (size_t)hashes->n * WIRE_HASH_SIZE);
	b->n_hashes += hashes->n;
}

int engine_base_answer(struct engine *e, const struct wire_frame *frame)
{
	struct engine_base *b = &e->base;
	struct wire_hashes hashes;
	uint64_t next;

	if (wire_hashes_decode(frame, &hashes, NULL) < 0)
		return -EPROTO;
	/* Ignore the answer to a question that was given up. */
	if (b->condition != BASE_SENT || frame->h.generation != b->generation ||
	    hashes.seed != b->want.seed || hashes.first != b->want.first ||
	    strcmp(hashes.disk, b->want.disk) != 0)
		return 0;
	next = hashes.first + hashes.n_zero + hashes.n;
	if (next > b->end)
		return -EPROTO;
	if (b->disk && disk_ring_base_put(b->disk->ring, hashes.first + hashes.n_zero, hashes.n,
					  hashes.hash) < 0)
		hashes.n = hashes.n_zero = 0; /* ask no more, and use the hashes that are in the
					       * table */
	if (!b->disk)
		take_pages(b, &hashes);
	if (next < b->end && hashes.n + hashes.n_zero > 0)
		want_next(e, next);
	else if (b->disk)
		disk_is_known(e, next == b->end && hashes.n + hashes.n_zero > 0);
	else
		engine_set_base(e, BASE_NONE, "");
	return 0;
}
