/* Tests how the engine asks a standby for the hashes of its disk images, and which answers the
 * engine accepts. The test plays the standby. There is no stream, so the test says when a question
 * was sent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "epoch/engine_private.h"

#define BLOCK	 WIRE_HASH_BLOCK_SIZE
#define N_BLOCKS 10u

static struct engine engine;
static struct engine_disk disks[2];
static uint8_t content[2][N_BLOCKS * BLOCK];

static int setup(void **state)
{
	struct error error;

	(void)state;
	memset(&engine, 0, sizeof(engine));
	memset(disks, 0, sizeof(disks));
	memset(content, 0, sizeof(content));
	engine.config.vm = "web1";
	engine.stream.features = WIRE_FEATURE_BASE;
	engine.stream.generation = 3;
	engine.disks.disk = disks;
	engine.disks.n = 2;
	engine.disks.condition = DISKS_APART;
	for (size_t i = 0; i < 2; i++) {
		strcpy(disks[i].found.name, i ? "data" : "root");
		disks[i].found.size_bytes = N_BLOCKS * BLOCK - 512;
		assert_int_equal(disk_ring_new(1 << 20, N_BLOCKS * BLOCK - 512, &disks[i].ring,
					       &error), 0);
		for (size_t k = 0; k < N_BLOCKS; k++)
			content[i][k * BLOCK] = (uint8_t)(k ? 16 * i + k : 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++)
		disk_ring_free(disks[i].ring);
	return 0;
}

static int answer(const struct wire_hashes *hashes, uint32_t generation)
{
	static uint8_t payload[4096];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};
	struct wire_frame frame = {.h = {.type = WIRE_HASHES, .generation = generation},
				   .payload = payload};

	assert_int_equal(wire_hashes_encode(hashes, &w), 0);
	frame.h.payload_size = (uint32_t)(w.at - payload);
	return engine_base_answer(&engine, &frame);
}

/* Answer the open question, which is about disk @i: name the zero block 0 (if it was asked for),
 * then up to @n_max hashes of the blocks after it. The standby's image has the bytes content[i]. */
static int answer_with(size_t i, uint32_t n_max)
{
	struct wire_hashes_want *want = &engine.base.want;
	uint8_t hash[N_BLOCKS * WIRE_HASH_SIZE];
	struct wire_hashes hashes = {.seed = want->seed, .first = want->first, .hash = hash};

	assert_string_equal(want->disk, disks[i].found.name);
	engine.base.condition = BASE_SENT;
	strcpy(hashes.disk, want->disk);
	hashes.n_zero = want->first == 0;
	for (uint64_t k = want->first + hashes.n_zero; k < N_BLOCKS && hashes.n < n_max; k++)
		wire_hash(want->seed, content[i] + k * BLOCK,
			  k == N_BLOCKS - 1 ? BLOCK - 512 : BLOCK,
			  hash + WIRE_HASH_SIZE * hashes.n++);
	return answer(&hashes, 3);
}

/* Returns how many blocks of disk @i would be sent if QEMU copied the disk now. */
static unsigned n_sent(size_t i)
{
	struct disk_ring *writer;
	struct disk_record record;
	uint64_t pos = disk_ring_head(disks[i].ring);
	unsigned n = 0;

	assert_int_equal(disk_ring_map(disk_ring_fd(disks[i].ring), &writer), 0);
	for (uint64_t k = 0; k < N_BLOCKS; k++) {
		uint64_t bytes = k == N_BLOCKS - 1 ? BLOCK - 512 : BLOCK;

		assert_int_equal(disk_ring_append(writer, DISK_WRITE, k * BLOCK, bytes,
						  content[i] + k * BLOCK), 0);
	}
	while (disk_ring_read(disks[i].ring, &pos, disk_ring_head(disks[i].ring), &record) > 0)
		n++;
	disk_ring_free(writer);
	return n;
}

static void test_disks(void **state)
{
	(void)state;
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(0, 4), 0);
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(0, 99), 0);
	assert_false(engine_base_disks(&engine)); /* now it asks about the second disk */
	content[1][7 * BLOCK]++;
	assert_int_equal(answer_with(1, 99), 0);
	assert_true(engine_base_disks(&engine));
	assert_true(engine_base_disks(&engine)); /* nothing is asked twice */
	assert_int_equal(engine_base_wake_ns(&engine), UINT64_MAX);
	content[1][7 * BLOCK]--;
	assert_int_equal(n_sent(0), 0);
	assert_int_equal(n_sent(1), 1);
}

static void test_nothing_is_known(void **state)
{
	struct wire_hashes none = {.disk = "root"};

	(void)state;
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(0, 4), 0);
	engine.base.condition = BASE_SENT;
	none.seed = engine.base.want.seed;
	none.first = engine.base.want.first;
	assert_int_equal(answer(&none, 3), 0); /* no hashes: the standby cannot read the rest */
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(1, 99), 0);
	assert_true(engine_base_disks(&engine));
	/* Block 0 is sent, too: zero blocks count as known only when the whole disk is known. */
	assert_int_equal(n_sent(0), N_BLOCKS - 4);
}

/* The engine ignores answers that come too early, or that are for another generation, disk,
 * position or seed. An answer with too many blocks is an error. */
static void test_other_answers(void **state)
{
	uint8_t hash[WIRE_HASH_SIZE] = {1};
	struct wire_hashes hashes = {.disk = "root", .n = 1, .hash = hash};

	(void)state;
	assert_int_equal(answer(&hashes, 3), 0); /* no question was asked */
	assert_false(engine_base_disks(&engine));
	hashes.seed = engine.base.want.seed;
	assert_int_equal(answer(&hashes, 3), 0); /* the question is not sent yet */
	engine.base.condition = BASE_SENT;
	assert_int_equal(answer(&hashes, 2), 0);
	hashes.first = 1;
	assert_int_equal(answer(&hashes, 3), 0);
	hashes.first = 0;
	strcpy(hashes.disk, "data");
	assert_int_equal(answer(&hashes, 3), 0);
	strcpy(hashes.disk, "root");
	hashes.seed++;
	assert_int_equal(answer(&hashes, 3), 0);
	hashes.seed--;
	assert_int_equal(engine.base.want.first, 0);
	hashes.n_zero = N_BLOCKS;
	assert_int_equal(answer(&hashes, 3), -EPROTO); /* more blocks than the disk has */
	hashes.n_zero = 0;
	assert_int_equal(answer(&hashes, 3), 0);
	assert_int_equal(engine.base.want.first, 1);
}

/* After a new RESUME, the engine asks for everything again, because the standby may have
 * changed. */
static void test_new_generation(void **state)
{
	(void)state;
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(0, 4), 0);
	assert_int_equal(engine.base.want.first, 5);
	engine.stream.generation++;
	assert_false(engine_base_disks(&engine));
	assert_int_equal(engine.base.want.first, 0);
	assert_int_equal(n_sent(0), N_BLOCKS); /* the first answer no longer counts */
}

static void test_silence(void **state)
{
	(void)state;
	assert_false(engine_base_disks(&engine));
	engine.base.asked_ns = clock_mono_ns() - 10 * CLOCK_NS_PER_S;
	assert_false(engine_base_disks(&engine)); /* now it asks about the second disk */
	assert_true(disks[0].is_base_known);
	engine.base.asked_ns = clock_mono_ns() - 10 * CLOCK_NS_PER_S;
	assert_true(engine_base_disks(&engine));
	assert_int_equal(n_sent(0), N_BLOCKS);
}

/* While records wait in a disk's ring, the engine does not ask about the disk: these records would
 * change the image after the standby has hashed it. */
static void test_waiting_records(void **state)
{
	(void)state;
	assert_int_equal(n_sent(0), N_BLOCKS);
	assert_false(engine_base_disks(&engine));
	/* set although the engine has asked nothing about this disk, which is then copied whole */
	assert_true(disks[0].is_base_known);
	disks[0].is_base_known = true;
	engine_base_forget(&disks[0]);
	assert_int_equal(disk_ring_waiting(disks[0].ring), 0);
	assert_int_equal(disks[0].encoded, disk_ring_head(disks[0].ring));
	assert_false(disks[0].is_base_known);
	assert_false(engine_base_disks(&engine));
	assert_string_equal(engine.base.want.disk, "root");
}

/* While output is held, clients wait for the copy, so the engine asks nothing. */
static void test_held(void **state)
{
	(void)state;
	engine.output.condition = OUTPUT_HELD;
	assert_true(engine_base_disks(&engine));
	assert_int_equal(engine.base.condition, BASE_NONE);
	assert_int_equal(n_sent(0), N_BLOCKS);
}

/* The engine does not ask about a disk whose server still runs, because that server itself writes
 * into the table of hashes. */
static void test_server_runs(void **state)
{
	(void)state;
	disks[0].server = (struct disk_server *)&disks; /* only compared with NULL */
	assert_false(engine_base_disks(&engine));
	assert_string_equal(engine.base.want.disk, "data");
	disks[0].server = NULL;
}

/* After a RESUME without any epoch, the engine asks for everything again: the standby's image may
 * be a different one. */
static void test_resume_from_nothing(void **state)
{
	(void)state;
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(0, 99), 0);
	assert_false(engine_base_disks(&engine));
	assert_int_equal(answer_with(1, 99), 0);
	assert_true(engine_base_disks(&engine));
	engine_base_void(&engine);
	engine_disks_resumed(&engine, 0);
	assert_false(engine_base_disks(&engine));
	assert_int_equal(engine.base.want.first, 0);
	engine_base_void(&engine); /* no answer comes any more */
	disks[0].is_base_known = disks[1].is_base_known = true;
	assert_int_equal(n_sent(0), N_BLOCKS);
	/* After a RESUME with a committed epoch, the table of hashes stays valid. */
	ring_epochs_committed(disks[1].ring, 5, 0);
	assert_int_equal(n_sent(1), N_BLOCKS);
	engine_disks_resumed(&engine, 5);
	assert_true(engine_base_disks(&engine));
	assert_int_equal(n_sent(1), 0);
}

static void test_without_the_feature(void **state)
{
	(void)state;
	engine.stream.features = 0;
	assert_true(engine_base_disks(&engine));
	assert_int_equal(engine_base_memory(&engine), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_disks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resume_from_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_the_feature, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
