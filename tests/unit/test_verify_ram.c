/* test_verify_ram.c - tests the verification of the standby's copy of RAM with a real encoder. The
 * guest's memory is memory of this process. The test plays the seals and the standby. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/encode.h"
#include "epoch/engine_private.h"

/* pages of pc.ram, in two batches; the two pages of pc.bios follow in a third */
#define RAM_PAGES 300u
#define N_PAGES	  (RAM_PAGES + 2)
#define BACKLOG	  ((size_t)16 << 20)

static struct engine *engine;
static uint8_t *guest;		   /* N_PAGES pages */
static uint8_t standby[N_PAGES][VMM_PAGE_BYTES];
static uint32_t n_sent_pages;	   /* page records of the last epoch */
static struct wire_ram_hash hash;  /* of the last epoch; n_pages 0: none */
static uint8_t hashes[RAM_BATCH_PAGES * WIRE_HASH_SIZE];

static void ignore(void *arg)
{
	(void)arg;
}

static void take_pages(const struct retain_frame *from)
{
	struct wire_frame frame = {.h = {.type = from->type, .payload_size = (uint32_t)from->size},
				   .payload = from->payload};
	struct wire_record_iter it;
	struct wire_record record;

	assert_int_equal(wire_pages_begin(&frame, N_PAGES, &it, NULL), 0);
	while (wire_record_next(&it, &record, NULL) > 0) {
		assert_int_equal(page_apply(record.class, record.data, record.size,
					    standby[record.index]), 0);
		n_sent_pages++;
	}
}

static void take_hash(const struct retain_frame *from)
{
	struct wire_frame frame = {.h = {.type = from->type, .payload_size = (uint32_t)from->size},
				   .payload = from->payload};

	assert_int_equal(wire_ram_hash_decode(&frame, &hash, NULL), 0);
	memcpy(hashes, hash.hashes, (size_t)hash.n_pages * WIRE_HASH_SIZE);
}

static void encode_all(struct encoder_cursor cursor)
{
	int r;

	while ((r = encoder_pages(engine->epochs.encoder, &cursor)) != 0)
		assert_int_equal(r, 1);
}

/* Seal and encode an epoch as engine_epoch() does. The guest has written the pages of @range. */
static void seal(struct page_range range)
{
	struct seal_result result = {
		.stopped = {.ranges = &range, .n_ranges = range.n_pages > 0,
			    .n_pages = range.n_pages,
			    .pages = guest + (size_t)range.first_page * VMM_PAGE_BYTES}};
	struct encoder_cursor stopped = {.ranges = &range, .n_ranges = result.stopped.n_ranges,
					 .pages = result.stopped.pages};
	struct encoder_cursor again;
	struct retain_frame frame;

	n_sent_pages = hash.n_pages = 0;
	assert_int_equal(encoder_begin(engine->epochs.encoder, engine->epochs.next,
				       engine->epochs.next - 1, 0), 0);
	engine->epochs.next++;
	again = engine_ram_sealed(engine, &result);
	encoder_expect(engine->epochs.encoder, &stopped);
	encoder_expect(engine->epochs.encoder, &again);
	encode_all(stopped);
	encode_all(again);
	assert_int_equal(engine_ram_encode(engine), 0);
	assert_int_equal(encoder_end(engine->epochs.encoder), 0);
	while (retain_next(engine->epochs.retain, &frame) == 0) {
		if (frame.type == WIRE_PAGES)
			take_pages(&frame);
		else if (frame.type == WIRE_RAM_HASH)
			take_hash(&frame);
		retain_sent(engine->epochs.retain);
	}
	retain_drop(engine->epochs.retain, engine->epochs.next - 1);
}

static int setup(void **state)
{
	struct vmm_block ram = {.name = "pc.ram", .n_pages = RAM_PAGES,
				.size_bytes = (uint64_t)RAM_PAGES * VMM_PAGE_BYTES};
	struct vmm_block bios = {.name = "pc.bios", .first_page = RAM_PAGES, .n_pages = 2,
				 .size_bytes = 2 * VMM_PAGE_BYTES};
	struct error error;

	(void)state;
	guest = aligned_alloc(VMM_PAGE_BYTES, (size_t)N_PAGES * VMM_PAGE_BYTES);
	engine = calloc(1, sizeof(*engine));
	assert_true(guest && engine);
	ram.hva = (uint64_t)(uintptr_t)guest;
	bios.hva = ram.hva + ram.size_bytes;
	engine->guest.info.blocks[0] = ram;
	engine->guest.info.blocks[1] = bios;
	engine->guest.info.n_blocks = 2;
	engine->guest.info.n_pages = N_PAGES;
	for (uint32_t i = 0; i < N_PAGES; i++)
		memset(guest + (size_t)i * VMM_PAGE_BYTES, (int)(i % 250), VMM_PAGE_BYTES);
	memset(standby, 0, sizeof(standby));
	engine->config = (struct engine_config){.vm = "web1", .changed = ignore,
						.ram_verify_bytes_per_s = UINT64_C(1) << 40};
	engine->output.condition = OUTPUT_HELD;
	engine->stream.condition = STREAM_GATEWAY_RESUMED;
	engine->stream.features = WIRE_FEATURES;
	engine->epochs.sync = SYNC_KEPT;
	engine->epochs.next = 10;
	assert_int_equal(guestmem_open(getpid(), engine->guest.info.blocks, 2,
				       &engine->capture.mem, &error), 0);
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, BACKLOG, &engine->epochs.retain), 0);
	assert_int_equal(encoder_new(N_PAGES, 0, 1, engine->epochs.retain,
				     &engine->epochs.encoder), 0);
	assert_int_equal(engine_ram_open(engine), 0);
	pthread_mutex_init(&engine->status_lock, NULL);
	encoder_set_features(engine->epochs.encoder, PAGE_FEATURE_XRLE);
	seal((struct page_range){0, N_PAGES});
	assert_memory_equal(standby, guest, sizeof(standby));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	engine_ram_close(&engine->ram);
	encoder_free(engine->epochs.encoder);
	retain_free(engine->epochs.retain);
	guestmem_close(engine->capture.mem);
	free(engine);
	free(guest);
	return 0;
}

/* Let the standby compare its pages with the hashes, and answer for @epoch. Returns how many pages
 * differ. */
static uint32_t answer_for(uint64_t epoch)
{
	struct wire_ram_checked checked = {.n_checked = hash.n_pages};
	uint8_t ours[WIRE_HASH_SIZE], payload[512];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};
	struct wire_frame frame = {.h = {.type = WIRE_RAM_CHECKED, .epoch = epoch},
				   .payload = payload};

	assert_true(hash.n_pages > 0);
	for (uint32_t i = 0; i < hash.n_pages; i++) {
		wire_hash(hash.seed, standby[hash.first_page + i], WIRE_PAGE_SIZE, ours);
		if (memcmp(ours, hashes + (size_t)i * sizeof(ours), sizeof(ours)) == 0)
			continue;
		if (checked.n_differ < WIRE_RAM_DIFFER_MAX)
			checked.page[checked.n_differ] = hash.first_page + i;
		checked.n_differ++;
	}
	assert_int_equal(wire_ram_checked_encode(&checked, &w), 0);
	frame.h.payload_size = (uint32_t)(w.at - payload);
	assert_int_equal(engine_ram_answer(engine, &frame), 0);
	return checked.n_differ;
}

static uint32_t answer(void)
{
	return answer_for(engine->epochs.next - 1);
}

/* Make one turn: the tick, a seal in which the guest has written @range, and the answer. Returns
 * how many pages differ. */
static uint32_t turn_with(struct page_range range)
{
	engine_ram_tick(engine);
	seal(range);
	return answer();
}

static uint32_t turn(void)
{
	return turn_with((struct page_range){0, 0});
}

static void write_page(uint32_t page, int value)
{
	memset(guest + (size_t)page * VMM_PAGE_BYTES, value, VMM_PAGE_BYTES);
}

/* A pass takes three batches here. None of them crosses the end of a block. */
static void test_a_pass(void **state)
{
	static const uint32_t first[] = {0, RAM_BATCH_PAGES, RAM_PAGES};
	static const uint32_t n[] = {RAM_BATCH_PAGES, RAM_PAGES - RAM_BATCH_PAGES, 2};

	(void)state;
	assert_string_equal(engine_ram_state(engine), "running");
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(turn(), 0);
		assert_int_equal(hash.first_page, first[i]);
		assert_int_equal(hash.n_pages, n[i]);
		assert_int_equal(n_sent_pages, 0);
	}
	assert_false(engine_ram_is_over(engine));
	engine_ram_tick(engine);
	assert_string_equal(engine_ram_state(engine), "done");
	assert_true(engine_ram_is_over(engine));
	assert_int_equal(engine->ram.n_checked, N_PAGES);
	assert_string_equal(engine->ram.news,
			    "the standby's copy of RAM is verified: 302 pages are equal");
	engine_ram_tick(engine); /* no second pass: ram_verify_every_ms is 0 */
	seal((struct page_range){0, 0});
	assert_int_equal(hash.n_pages, 0);
}

/* If the guest writes pages after they were read for hashing, they get the hash of their new
 * content. */
static void test_written_meanwhile(void **state)
{
	(void)state;
	engine_ram_tick(engine);
	write_page(7, 0xee);
	write_page(8, 0xef);
	seal((struct page_range){7, 2});
	assert_int_equal(n_sent_pages, 2);
	assert_int_equal(answer(), 0);
	assert_int_equal(engine->ram.page, RAM_BATCH_PAGES);
}

/* A page that differs is named. One epoch sends it whole and compares it again. */
static void test_put_right(void **state)
{
	(void)state;
	standby[9][100] ^= 1;
	assert_int_equal(turn(), 1);
	assert_int_equal(engine->ram.page, 0);
	assert_int_equal(turn(), 0);
	assert_int_equal(hash.first_page, 0);
	assert_int_equal(n_sent_pages, 1);
	assert_memory_equal(standby[9], guest + 9 * VMM_PAGE_BYTES, VMM_PAGE_BYTES);
	assert_string_equal(engine->ram.news, "1 pages of the standby's RAM differ, the first: "
					      "block pc.ram at byte 36864");
	/* the finding stays until the pass has ended */
	assert_int_equal(engine->ram.finding, FINDING_DIFFERS);
	standby[RAM_PAGES + 1][0] ^= 1;
	assert_int_equal(turn(), 0);
	assert_int_equal(turn(), 1);
	assert_int_equal(turn(), 0);
	assert_string_equal(engine->ram.news, "1 pages of the standby's RAM differ, the first: "
					      "block pc.bios at byte 4096");
	engine_ram_tick(engine);
	/* The pass does not end until one second (TELL_NS) after the last difference was found, so
	 * that `news` still reports this difference. */
	assert_int_not_equal(engine->ram.condition, RAM_PASSED);
	engine->ram.told_ns = engine->ram.next_ns = 0; /* a second has passed */
	engine_ram_tick(engine);
	assert_int_equal(engine->ram.condition, RAM_PASSED);
	assert_int_equal(engine->ram.finding, FINDING_NONE);
	assert_int_equal(engine->ram.n_differ, 2);
}

/* The guest writes a page that differs before the page is sent again. The page must be sent whole:
 * a delta against the encoder's reference would leave wrong bytes in the standby's page. */
static void test_put_right_while_written(void **state)
{
	(void)state;
	write_page(9, 0x77); /* now the encoder's reference has a version of the page */
	assert_int_equal(turn_with((struct page_range){9, 1}), 0);
	engine_ram_begin(engine);
	standby[9][100] ^= 1;
	assert_int_equal(turn(), 1);
	engine_ram_tick(engine);
	guest[9 * VMM_PAGE_BYTES] = 0x78;
	seal((struct page_range){9, 1});
	assert_int_equal(n_sent_pages, 1);
	assert_int_equal(answer(), 0);
	assert_memory_equal(standby[9], guest + 9 * VMM_PAGE_BYTES, VMM_PAGE_BYTES);
}

/* If the same batch differs repeatedly, all of RAM is copied again after three repairs, but only
 * once. If the batch still differs after that, the verification fails. */
static void test_gives_up(void **state)
{
	(void)state;
	for (int copies = 0; copies < 2; copies++) {
		for (int i = 0; i < 4; i++) {
			assert_int_equal(engine->epochs.sync, SYNC_KEPT);
			engine_ram_tick(engine);
			seal((struct page_range){0, 0});
			standby[3][0] = (uint8_t)(guest[3 * VMM_PAGE_BYTES] + 1);
			assert_int_equal(answer(), 1);
		}
		engine_ram_tick(engine);
		if (copies == 0) {
			assert_int_equal(engine->epochs.sync, SYNC_LOST);
			assert_int_not_equal(engine->ram.finding, FINDING_FAILED);
			engine_ram_tick(engine);
			engine->epochs.sync = SYNC_KEPT; /* the FULL epoch was made */
			engine->epochs.next++;
		}
	}
	assert_string_equal(engine_ram_state(engine), "failed");
	assert_true(strstr(engine->ram.why.text, "is its memory sound?") != NULL);
	assert_int_equal(engine->epochs.sync, SYNC_KEPT);
	/* The repair that had begun is still sent. After that, nothing is compared any more. */
	seal((struct page_range){0, 0});
	assert_int_equal(n_sent_pages, 1);
	assert_memory_equal(standby[3], guest + 3 * VMM_PAGE_BYTES, VMM_PAGE_BYTES);
	standby[3][0] ^= 1;
	assert_int_equal(answer(), 1);
	for (int i = 0; i < 2; i++) {
		engine_ram_tick(engine);
		seal((struct page_range){0, 0});
		assert_int_equal(hash.n_pages + n_sent_pages, 0);
	}
	assert_string_equal(engine_ram_state(engine), "failed");
	/* An operator may ask for a new pass. */
	engine_ram_begin(engine);
	assert_string_equal(engine_ram_state(engine), "running");
	memcpy(standby, guest, sizeof(standby));
	assert_int_equal(turn(), 0);
}

/* More pages differ than an answer can name. The whole batch is sent again, in an ordinary epoch.
 * The seal has copied some of the batch's pages, too. */
static void test_too_many(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < RAM_BATCH_PAGES; i++)
		standby[i][1] ^= 1;
	assert_int_equal(turn(), RAM_BATCH_PAGES);
	assert_int_equal(turn_with((struct page_range){200, 20}), 0);
	assert_int_equal(engine->epochs.sync, SYNC_KEPT);
	assert_int_equal(n_sent_pages, RAM_BATCH_PAGES);
	assert_memory_equal(standby, guest, sizeof(standby));
	assert_int_equal(engine->ram.page, RAM_BATCH_PAGES);
}

/* A batch that was read before a FULL epoch is not compared after it. Late answers are ignored. */
static void test_given_up_batches(void **state)
{
	uint32_t page;

	(void)state;
	assert_int_equal(turn(), 0);
	engine_ram_tick(engine);
	assert_int_equal(engine->ram.condition, RAM_READ);
	/* a FULL epoch has followed the one for which the batch was read */
	engine->epochs.next += 2;
	seal((struct page_range){0, 0});
	assert_int_equal(hash.n_pages, 0);
	engine_ram_tick(engine);
	seal((struct page_range){0, 0});
	assert_int_equal(hash.first_page, RAM_BATCH_PAGES);
	engine_ram_begin(engine);
	page = engine->ram.page;
	assert_int_equal(answer(), 0);
	assert_int_equal(engine->ram.page, page);
	/* an answer for the previous batch, which has the same number of pages */
	engine_ram_tick(engine);
	seal((struct page_range){0, 0});
	standby[1][0] ^= 1;
	assert_int_equal(answer_for(engine->epochs.next - 2), 1);
	assert_int_equal(engine->ram.condition, RAM_SENT);
	assert_int_equal(engine->ram.answer.n_differ, 0);
}

/* Ask for a pass and let it run to its end. Returns the text that was published. */
static const char *ask(enum engine_found *ret_found)
{
	uint64_t number = engine_verify_now(engine);

	for (int i = 0; i < 20 && engine->status.verified.number != number; i++) {
		engine->ram.told_ns = engine->ram.next_ns = 0; /* a second has passed */
		engine_asked_tick(engine);
		engine_ram_tick(engine);
		seal((struct page_range){0, 0});
		if (hash.n_pages > 0)
			(void)answer();
	}
	assert_int_equal(engine->status.verified.number, number);
	*ret_found = engine->status.verified.found;
	return engine->status.verified.text;
}

/* A part of a batch cannot be read. The batch is left out, the pass goes on, and its result says
 * that pages could not be read. */
static void test_not_readable(void **state)
{
	uint8_t *at = guest + (size_t)RAM_BATCH_PAGES * VMM_PAGE_BYTES;
	enum engine_found found;

	(void)state;
	assert_int_equal(mprotect(at, VMM_PAGE_BYTES, PROT_NONE), 0);
	assert_non_null(strstr(ask(&found), ": 258 pages of RAM are equal, 44 could not be read"));
	assert_int_equal(mprotect(at, VMM_PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(found, ENGINE_FOUND_TOO_LITTLE);
	assert_int_equal(engine->ram.n_skipped, RAM_PAGES - RAM_BATCH_PAGES);
	assert_non_null(strstr(ask(&found), ": 302 pages of RAM are equal"));
	assert_int_equal(found, ENGINE_FOUND_EQUAL);
}

/* A FULL epoch begins and ends within one turn. A pass follows at once. The differences that were
 * reported are still reported. */
static void test_after_a_full_epoch(void **state)
{
	(void)state;
	engine->config.ram_verify_every_ns = UINT64_C(1) << 60;
	for (int i = 0; i < 3; i++)
		assert_int_equal(turn(), 0);
	engine_ram_tick(engine);
	assert_string_equal(engine_ram_state(engine), "done");
	engine->ram.finding = FINDING_COPIED;
	engine_ram_copied(engine);
	assert_string_equal(engine_ram_state(engine), "running");
	assert_int_equal(turn(), 0);
	assert_int_equal(hash.first_page, 0);
	assert_int_equal(engine->ram.finding, FINDING_COPIED);
	engine->ram.finding = FINDING_FAILED;
	engine_ram_copied(engine);
	assert_string_equal(engine_ram_state(engine), "failed");
}

static void test_other_end_is_older(void **state)
{
	(void)state;
	engine->stream.features &= ~WIRE_FEATURE_VERIFY;
	engine_ram_tick(engine);
	seal((struct page_range){0, 0});
	assert_int_equal(hash.n_pages, 0);
	assert_string_equal(engine_ram_state(engine), "not-possible");
	assert_true(engine_ram_is_over(engine));
}

static void test_asked(void **state)
{
	enum engine_found found;

	(void)state;
	assert_non_null(strstr(ask(&found), ": 302 pages of RAM are equal"));
	assert_int_equal(found, ENGINE_FOUND_EQUAL);
	standby[5][5] ^= 1;
	assert_non_null(strstr(ask(&found), "RAM are equal, 1 differed and were sent again"));
	assert_int_equal(found, ENGINE_FOUND_DIFFERENT);
	/* The next pass finds no difference, although an earlier pass found one. */
	(void)ask(&found);
	assert_int_equal(found, ENGINE_FOUND_EQUAL);
	engine->stream.features &= ~WIRE_FEATURE_VERIFY;
	engine_ram_begin(engine);
	assert_non_null(strstr(ask(&found), "RAM is not compared"));
	assert_int_equal(found, ENGINE_FOUND_TOO_LITTLE);
}

/* The passes over RAM and disks do not end at the same moment. The first result of each counts. */
static void test_asked_ends_part_by_part(void **state)
{
	uint64_t number = engine_verify_now(engine);

	(void)state;
	engine->disks.n = 1;
	engine->config.disk_verify_bytes_per_s = 1;
	engine_asked_tick(engine);
	for (int i = 0; i < 3; i++)
		assert_int_equal(turn(), 0);
	engine_ram_tick(engine);
	assert_int_equal(engine->ram.condition, RAM_PASSED);
	engine_asked_tick(engine);
	assert_int_equal(engine->asked.condition, ASKED_DISKS);
	assert_int_equal(engine->status.verified.number, 0);
	engine_ram_copied(engine); /* another pass over RAM runs when the disks' pass ends */
	engine->verify.condition = VERIFY_PASSED;
	engine->verify.n_checked = 8;
	engine_asked_tick(engine);
	assert_int_equal(engine->status.verified.number, number);
	assert_int_equal(engine->status.verified.found, ENGINE_FOUND_EQUAL);
	assert_non_null(strstr(engine->status.verified.text,
			       "302 pages of RAM are equal; 8 blocks of the disks are equal"));
}

/* If no disk could be compared, the copy is not called verified. */
static void test_asked_without_disks(void **state)
{
	enum engine_found found;

	(void)state;
	engine->disks.n = 1; /* disk_verify_bytes_per_s is 0 */
	assert_non_null(strstr(ask(&found), "RAM are equal; the disks are not compared"));
	assert_int_equal(found, ENGINE_FOUND_TOO_LITTLE);
	standby[5][5] ^= 1;
	(void)ask(&found);
	assert_int_equal(found, ENGINE_FOUND_DIFFERENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_right, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_right_while_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gives_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given_up_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_readable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_after_a_full_epoch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_end_is_older, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_ends_part_by_part, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_without_disks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
