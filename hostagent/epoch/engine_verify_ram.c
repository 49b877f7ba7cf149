/* Verifies the standby's copy of the guest's memory while the guest runs; see engine_private.h and
 * docs/epoch-engine.md, "Verification of RAM".
 *
 * A page of the copy can be wrong if the tracker missed a write, or the standby lost one. So all
 * pages of the guest's memory are compared, in batches of up to RAM_BATCH_PAGES pages, at most one
 * batch in each epoch. A batch has these phases:
 *
 *      RAM_IDLE      no batch
 *      RAM_READ      the pages are read and hashed between two seals; the next one ends epoch n
 *      RAM_SENT      the hashes are in a RAM_HASH frame of epoch n; the standby compares them when
 *                    it has applied epoch n, and answers RAM_CHECKED
 *      RAM_PASSED    the pass has ended
 *
 * Pages that the guest writes after the read are compared too: the seal copies them, and their
 * hashes are made anew from these copies (ram_batch.h). So a pass compares every page that can be
 * read.
 *
 * If pages differ, they are repaired: a later epoch has them whole, together with hashes of the
 * same batch. The standby's next answer shows whether the repair has helped. If TRIES_MAX repairs
 * in a row have not helped, a FULL epoch follows, and then a new pass. If pages cannot be repaired
 * in this pass either, the verification fails: the pages are sent once more, and then nothing is
 * verified any more. The failure is reported until an operator begins a pass. If more pages differ
 * than an answer can name, all pages of the batch count as different. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

#define TELL_NS   CLOCK_NS_PER_S /* `news` keeps a difference for this long, so that it is
				  * reported */
#define ANSWER_NS (10 * CLOCK_NS_PER_S) /* after this time without an answer, the batch is read and
					 * sent again */
#define RETRY_NS  CLOCK_NS_PER_S	/* when to try again after memory could not be read */
#define TRIES_MAX 3u			/* number of repairs in a row after which a batch that still
					 * differs counts as not repairable */

int engine_ram_open(struct engine *e)
{
	return e->config.ram_verify_bytes_per_s > 0 ? ram_batch_init(&e->ram.batch) : 0;
}

void engine_ram_close(struct engine_ram *ram)
{
	ram_batch_done(&ram->batch);
}

static void say_news(struct engine *e, const char *text)
{
	snprintf(e->ram.news, sizeof(e->ram.news), "%s", text);
	e->publish_at_ns = 0; /* tell the gateway at once */
	e->config.changed(e->config.changed_arg);
}

/* ---- where the pass is */

/* Give up the batch, if there is one. */
static void drop_batch(struct engine *e, const char *why)
{
	if (e->ram.condition != RAM_PASSED)
		engine_set_ram(e, RAM_IDLE, why);
}

static void begin_pass(struct engine *e)
{
	struct engine_ram *ram = &e->ram;

	engine_set_ram(e, RAM_IDLE, "a pass begins");
	ram->page = 0;
	ram->n_checked = ram->n_skipped = 0;
	ram->n_tries = 0;
	ram->answer.n_differ = ram->bad.n_differ = 0;
	ram->next_ns = 0;
}

void engine_ram_copied(struct engine *e)
{
	begin_pass(e);
}

void engine_ram_begin(struct engine *e)
{
	begin_pass(e);
	if (e->ram.finding != FINDING_NONE)
		engine_set_ram_finding(e, FINDING_DIFFERS, "all is compared again");
	*e->ram.why.text = '\0';
}

static void pass_ends(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	char text[WIRE_STATS_VALUE_MAX + 1];

	engine_set_ram(e, RAM_PASSED, "");
	if (ram->n_skipped == 0)
		engine_set_ram_finding(e, FINDING_NONE, "a whole pass has ended");
	else if (ram->finding == FINDING_COPIED)
		engine_set_ram_finding(e, FINDING_DIFFERS, "a pass has ended that was not whole");
	ram->next_ns = clock_mono_ns() + e->config.ram_verify_every_ns;
	snprintf(text, sizeof(text),
		 "the standby's copy of RAM is verified: %" PRIu64 " pages are equal",
		 ram->n_checked);
	if (ram->n_skipped > 0)
		snprintf(text, sizeof(text),
			 "%" PRIu64 " pages of the standby's copy of RAM are equal, %" PRIu64
			 " could not be read here and are not compared",
			 ram->n_checked, ram->n_skipped);
	log_info("vm=%s epoch=%" PRIu64 " %s", e->config.vm, e->epochs.next, text);
	say_news(e, text);
}

static bool is_possible(const struct engine *e)
{
	return e->config.ram_verify_bytes_per_s > 0 &&
	       !(engine_stream_is_resumed(&e->stream) &&
		 !(e->stream.features & WIRE_FEATURE_VERIFY));
}

/* May hashes be sent? Only while output is held, and standby and reference are in step. After a
 * failure, only together with the pages that differed last. */
static bool may_verify(const struct engine *e)
{
	return is_possible(e) && (e->ram.finding != FINDING_FAILED || e->ram.bad.n_differ > 0) &&
	       engine_stream_is_resumed(&e->stream) && engine_is_holding(e) &&
	       e->epochs.sync == SYNC_KEPT;
}

/* ---- a difference */

/* Write to @text (@size bytes) where page @page is: the name of its block, and its offset in that
 * block. Returns @text. */
static const char *name_page(const struct engine *e, uint32_t page, char *text, size_t size)
{
	const struct vmm_info *info = &e->guest.info;

	snprintf(text, size, "page %" PRIu32, page);
	for (uint32_t i = 0; i < info->n_blocks; i++) {
		const struct vmm_block *block = &info->blocks[i];

		if (page >= block->first_page && page - block->first_page < block->n_pages)
			snprintf(text, size, "block %.40s at byte %" PRIu64, block->name,
				 (uint64_t)(page - block->first_page) * VMM_PAGE_BYTES);
	}
	return text;
}

/* Repairs do not help: copy all of RAM again, but only once. After that, the verification fails. */
static void give_up(struct engine *e)
{
	if (e->ram.finding == FINDING_COPIED) {
		engine_set_ram_finding(e, FINDING_FAILED, "a copy of all has not helped");
		return;
	}
	engine_set_ram_finding(e, FINDING_COPIED, "");
	engine_lose_sync(e, "pages of the standby's copy differ, and sending them again does not "
			    "help: all is copied again");
}

static void found_difference(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	char text[WIRE_STATS_VALUE_MAX + 1], where[96];

	ram->bad = ram->answer;
	ram->answer.n_differ = 0;
	ram->n_differ += ram->bad.n_differ;
	if (ram->finding == FINDING_NONE)
		engine_set_ram_finding(e, FINDING_DIFFERS, "");
	for (uint32_t i = 0; i < ram->bad.n_differ && i < WIRE_RAM_DIFFER_MAX; i++)
		log_limited(LOG_LEVEL_ERROR,
			    "vm=%s epoch=%" PRIu64 " the standby's copy of RAM differs in page "
			    "%" PRIu32 ", %s",
			    e->config.vm, ram->epoch, ram->bad.page[i],
			    name_page(e, ram->bad.page[i], where, sizeof(where)));
	if (++ram->n_tries > TRIES_MAX)
		give_up(e);
	snprintf(text, sizeof(text),
		 "%" PRIu32 " pages of the standby's RAM differ, the first: %.48s%s",
		 ram->bad.n_differ, name_page(e, ram->bad.page[0], where, sizeof(where)),
		 ram->finding == FINDING_FAILED ? "; is its memory sound?" : "");
	if (ram->finding == FINDING_FAILED)
		(void)error_set(&ram->why, 0, "%s", text);
	ram->told_ns = clock_mono_ns();
	say_news(e, text);
}

/* ---- a batch */

/* The batch cannot be read: leave its pages out of this pass. */
static void skip_batch(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	char where[96];

	log_limited(LOG_LEVEL_WARN,
		    "vm=%s epoch=%" PRIu64 " %" PRIu32 " pages of RAM cannot be read, and are not "
		    "compared, from %s on; is there no huge page for them?",
		    e->config.vm, e->epochs.next, ram->batch.n,
		    name_page(e, ram->batch.first, where, sizeof(where)));
	ram->n_skipped += ram->batch.n;
	ram->page += ram->batch.n;
	ram->n_tries = 0;
	ram->bad.n_differ = 0;
}

static void read_batch(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	struct ram_batch *batch = &ram->batch;
	uint64_t now_ns = clock_mono_ns(), seed;
	struct page_range range;
	int r = 0;

	batch->first = ram->page;
	batch->n = e->guest.info.n_pages - ram->page;
	if (batch->n > RAM_BATCH_PAGES)
		batch->n = RAM_BATCH_PAGES;
	/* The batch must not cross the end of a memory block. */
	for (uint32_t i = 0; i < e->guest.info.n_blocks; i++) {
		const struct vmm_block *block = &e->guest.info.blocks[i];

		if (batch->first - block->first_page < block->n_pages &&
		    batch->first + batch->n > block->first_page + block->n_pages)
			batch->n = block->first_page + block->n_pages - batch->first;
	}
	range = (struct page_range){batch->first, batch->n};
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		r = -EAGAIN;
	if (r == 0)
		r = guestmem_read_through(e->capture.mem, &range, 1, batch->pages);
	if (r == -EFAULT) { /* some of these pages cannot be read, not even by QEMU itself */
		skip_batch(e);
		return;
	}
	if (r < 0) { /* the next seal will get the same error and report it */
		ram->next_ns = now_ns + RETRY_NS;
		return;
	}
	ram_batch_read(batch, seed);
	engine_set_ram(e, RAM_READ, "");
	ram->epoch = e->epochs.next;
	ram->next_ns = now_ns + (uint64_t)batch->n * VMM_PAGE_BYTES * CLOCK_NS_PER_S /
					e->config.ram_verify_bytes_per_s;
}

void engine_ram_tick(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	uint64_t now_ns = clock_mono_ns();

	/* After a failure, this answer is about the pages that were sent once more. Ignore it. */
	if (ram->finding == FINDING_FAILED)
		ram->answer.n_differ = 0;
	if (ram->answer.n_differ > 0 && e->epochs.sync == SYNC_KEPT)
		found_difference(e);
	if (!may_verify(e)) {
		drop_batch(e, "nothing can be compared now");
		if (e->epochs.sync != SYNC_KEPT) /* what was compared before no longer counts */
			begin_pass(e);
		return;
	}
	if ((ram->condition == RAM_READ && ram->epoch != e->epochs.next) ||
	    (ram->condition == RAM_SENT && now_ns > ram->answer_ns))
		engine_set_ram(e, RAM_IDLE, ""); /* the epoch was given up, or no answer came */
	if ((ram->condition != RAM_IDLE && ram->condition != RAM_PASSED) || now_ns < ram->next_ns)
		return;
	if (ram->condition == RAM_PASSED && e->config.ram_verify_every_ns == 0)
		return;
	if (ram->condition == RAM_PASSED)
		begin_pass(e);
	if (ram->page >= e->guest.info.n_pages && clock_mono_ns() < ram->told_ns + TELL_NS)
		ram->next_ns = ram->told_ns + TELL_NS; /* keep the last news until then */
	else if (ram->page >= e->guest.info.n_pages)
		pass_ends(e);
	else
		read_batch(e);
}

/* Make the encoder send the whole content of each page that differed. If the seal has not copied a
 * page, use the content that was read before: the page has not changed since. */
static uint32_t send_again(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	struct ram_batch *batch = &ram->batch;
	uint64_t is_bad[RAM_BATCH_PAGES / 64] = {0};
	uint32_t n = 0;

	if (ram->bad.n_differ > WIRE_RAM_DIFFER_MAX) /* the answer does not name all of them */
		memset(is_bad, 0xff, sizeof(is_bad));
	for (uint32_t i = 0; i < ram->bad.n_differ && i < WIRE_RAM_DIFFER_MAX; i++) {
		uint32_t k = ram->bad.page[i] - batch->first;

		if (k < batch->n)
			is_bad[k / 64] |= UINT64_C(1) << k % 64;
	}
	for (uint32_t k = 0; k < batch->n; k++) {
		if (!(is_bad[k / 64] >> k % 64 & 1))
			continue;
		encoder_forget(e->epochs.encoder, batch->first + k);
		if (ram_batch_is_copied(batch, k))
			continue;
		memmove(batch->pages + (size_t)n * VMM_PAGE_BYTES,
			batch->pages + (size_t)k * VMM_PAGE_BYTES, VMM_PAGE_BYTES);
		ram->again[n++] = (struct page_range){batch->first + k, 1};
	}
	ram->bad.n_differ = 0;
	return n;
}

/* Do the batch's hashes belong to the epoch that was sealed last? They do not if a FULL epoch was
 * made since they were read. */
static bool is_due(const struct engine *e)
{
	return e->ram.condition == RAM_READ && e->ram.epoch + 1 == e->epochs.next &&
	       e->epochs.sync == SYNC_KEPT;
}

struct encoder_cursor engine_ram_sealed(struct engine *e, const struct seal_result *result)
{
	struct engine_ram *ram = &e->ram;
	struct encoder_cursor again = {.ranges = ram->again, .pages = ram->batch.pages};

	if (!is_due(e))
		return again;
	ram_batch_sealed(&ram->batch, &result->precopied);
	ram_batch_sealed(&ram->batch, &result->stopped);
	if (ram->bad.n_differ > 0)
		again.n_ranges = send_again(e);
	return again;
}

int engine_ram_encode(struct engine *e)
{
	struct engine_ram *ram = &e->ram;
	const struct ram_batch *batch = &ram->batch;
	struct wire_ram_hash hash = {.seed = batch->seed, .first_page = batch->first,
				     .n_pages = batch->n, .hashes = batch->hash};
	int r;

	if (!is_due(e))
		return 0;
	while ((r = encoder_ram_hash(e->epochs.encoder, &hash)) == -ENOBUFS) {
		r = engine_stream_wait(e);
		if (r < 0)
			return r;
	}
	engine_set_ram(e, RAM_SENT, "");
	ram->answer_ns = clock_mono_ns() + ANSWER_NS;
	return r;
}

/* ---- the standby's answer */

int engine_ram_answer(struct engine *e, const struct wire_frame *frame)
{
	struct engine_ram *ram = &e->ram;
	struct wire_ram_checked checked;

	if (wire_ram_checked_decode(frame, &checked, NULL) < 0)
		return -EPROTO;
	/* Ignore an answer to a batch that was given up: the batch was sent again, or will be. */
	if (ram->condition != RAM_SENT || frame->h.epoch != ram->epoch ||
	    checked.n_checked != ram->batch.n)
		return 0;
	engine_set_ram(e, RAM_IDLE, "");
	ram->answer = checked; /* handled later, between two epochs: an epoch may be half encoded
				* now */
	if (checked.n_differ > 0)
		return 0;
	ram->n_tries = 0;
	ram->n_checked += checked.n_checked;
	ram->page += checked.n_checked;
	return 0;
}

/* ---- figures */

const char *engine_ram_state(const struct engine *e)
{
	const struct engine_ram *ram = &e->ram;

	if (e->config.ram_verify_bytes_per_s == 0)
		return "off";
	if (ram->finding == FINDING_FAILED)
		return "failed";
	if (!is_possible(e))
		return "not-possible";
	if (ram->condition == RAM_PASSED)
		return "done";
	return may_verify(e) ? "running" : "waiting";
}

bool engine_ram_is_over(const struct engine *e)
{
	return !is_possible(e) || e->ram.finding == FINDING_FAILED ||
	       e->ram.condition == RAM_PASSED;
}

int engine_ram_stats(const struct engine *e, char *stats)
{
	const struct engine_ram *ram = &e->ram;
	int r = wire_stats_add(stats, "ram_verify", "%s", engine_ram_state(e));

	if (r == 0)
		r = engine_add_text(stats, "ram_verify_why", ram->why.text);
	if (r == 0)
		r = wire_stats_add(stats, "ram_pages", "%" PRIu32, e->guest.info.n_pages);
	if (r == 0)
		r = wire_stats_add(stats, "ram_verified_pages", "%" PRIu64, ram->n_checked);
	if (r == 0)
		r = wire_stats_add(stats, "ram_skipped_pages", "%" PRIu64, ram->n_skipped);
	if (r == 0)
		r = wire_stats_add(stats, "ram_differing_pages", "%" PRIu64, ram->n_differ);
	if (r == 0) /* 1: pages differed, and no pass without skipped pages has ended since */
		r = wire_stats_add(stats, "ram_differs", "%d", ram->finding != FINDING_NONE);
	if (r == 0)
		r = engine_add_text(stats, "ram_verify_news", ram->news);
	return r;
}
