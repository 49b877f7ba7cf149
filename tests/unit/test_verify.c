/* test_verify.c - tests when the verification of the disks gives up: after repeated repairs that do
 * not help, but not after repairs in different places. The test plays the standby's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "epoch/engine_private.h"

#define EPOCH 7u

static struct engine engine;
static struct engine_disk disk;
static uint64_t unproven[1];

static void ignore(void *arg)
{
	(void)arg;
}

static int setup(void **state)
{
	(void)state;
	memset(&engine, 0, sizeof(engine));
	memset(&disk, 0, sizeof(disk));
	strcpy(disk.found.name, "root");
	engine.config.vm = "web1";
	engine.config.changed = ignore;
	memset(unproven, 0, sizeof(unproven));
	disk.unproven = unproven;
	engine.disks.disk = &disk;
	engine.disks.n = 1;
	engine.disks.condition = DISKS_IN_STEP;
	return 0;
}

/* Let the standby answer for a batch of one block. */
static void answer(bool is_equal)
{
	struct wire_disk_checked checked = {.name = "root", .n_checked = 1, .n_differ = !is_equal};
	uint8_t payload[1024];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};
	struct wire_frame frame = {.h = {.type = WIRE_DISK_CHECKED, .epoch = EPOCH},
				   .payload = payload};

	engine.verify.condition = VERIFY_SENT;
	engine.verify.epoch = EPOCH;
	engine.verify.first = engine.verify.block;
	engine.verify.n = engine.verify.sent = 1;
	checked.offset[0] = engine.verify.block * BLOCKS_BYTES;
	assert_int_equal(wire_disk_checked_encode(&checked, &w), 0);
	frame.h.payload_size = (uint32_t)(w.at - payload);
	assert_int_equal(engine_verify_answer(&engine, &frame), 0);
	engine_verify_tick(&engine);
}

/* If one batch differs again and again, the verification gives up. */
static void test_gives_up(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_not_equal(engine.verify.finding, FINDING_FAILED);
		answer(false);
	}
	assert_int_equal(engine.verify.finding, FINDING_FAILED);
}

/* Many batches differ, but each is right after one repair. The verification does not give up. */
static void test_each_is_repaired(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 10; i++) {
		answer(false);
		assert_int_equal(engine.verify.block, i);
		answer(true);
		assert_int_equal(engine.verify.block, i + 1);
	}
	/* stays so until the whole pass has ended */
	assert_int_equal(engine.verify.finding, FINDING_DIFFERS);
}

/* After a new copy, the batches before the one that differed are compared again. These batches are
 * equal, but the repairs of the batch that differed still add up. */
static void test_copies_do_not_help(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		assert_int_not_equal(engine.verify.finding, FINDING_FAILED);
		if (i > 0)
			engine_set_disk_finding(&engine, FINDING_COPIED, "");
		engine.verify.block = 0;
		answer(true);
		answer(false);
	}
	assert_int_equal(engine.verify.finding, FINDING_FAILED);
}

/* A new copy is followed by a pass at once, even if the next pass was to begin much later. */
static void test_after_a_copy(void **state)
{
	(void)state;
	engine.verify.condition = VERIFY_PASSED;
	engine.verify.next_ns = UINT64_MAX;
	engine.disks.condition = DISKS_APART;
	engine_verify_tick(&engine);
	assert_int_equal(engine.verify.condition, VERIFY_IDLE);
	assert_int_equal(engine.verify.next_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_gives_up, setup),
		cmocka_unit_test_setup(test_each_is_repaired, setup),
		cmocka_unit_test_setup(test_copies_do_not_help, setup),
		cmocka_unit_test_setup(test_after_a_copy, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
