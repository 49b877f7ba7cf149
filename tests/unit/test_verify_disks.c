/* test_verify_disks.c - tests what a pass over the disks says about the standby's copies, with real
 * images and a real encoder. The images are open in this process, which plays QEMU. The test also
 * plays the guest's writes, the seals and the standby. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "epoch/engine_private.h"

#define N_DISKS	   2u
#define N_BLOCKS   70u /* two batches for each disk */
#define DISK_BYTES (N_BLOCKS * BLOCKS_BYTES)
#define BACKLOG	   ((size_t)16 << 20)
#define RING_BYTES (1u << 20)
#define LATE_BLOCK 65u /* the block of disk 1 that differs in tests; on disk 0 it is block 0 */

static struct engine *engine;
static struct engine_disk disk[N_DISKS];
static char path[N_DISKS][64];
static int image[N_DISKS];
static uint8_t standby[N_DISKS][DISK_BYTES];
static uint32_t n_sent_blocks;		  /* blocks sent again, in all epochs */
static struct wire_disk_checked checked;  /* the standby's answer for the last epoch */
/* how much the guest writes during epoch(), if @busy is not NULL */
static uint32_t written_bytes;
static void (*after_seal)(void);	  /* what the guest does after the next seal */

static void ignore(void *arg)
{
	(void)arg;
}

/* Put a write into the ring: @bytes bytes of @data at the beginning of block @block of disk number
 * @d. */
static void put_into_ring(unsigned d, uint64_t block, const void *data, uint32_t bytes)
{
	struct disk_ring *writer;

	assert_int_equal(disk_ring_map(disk_ring_fd(disk[d].ring), &writer), 0);
	assert_int_equal(disk_ring_append(writer, DISK_WRITE, block * BLOCKS_BYTES, bytes, data),
			 0);
	disk_ring_free(writer);
}

/* Let the guest write block @block of disk number @d, so that the ring knows its content. */
static void write_block(unsigned d, uint64_t block)
{
	static const uint8_t zeros[BLOCKS_BYTES];

	put_into_ring(d, block, zeros, sizeof(zeros));
}

static int setup(void **state)
{
	struct error error;

	(void)state;
	engine = calloc(1, sizeof(*engine));
	assert_non_null(engine);
	memset(disk, 0, sizeof(disk));
	memset(standby, 0, sizeof(standby));
	memset(&checked, 0, sizeof(checked));
	n_sent_blocks = 0;
	written_bytes = 512;
	after_seal = NULL;
	for (unsigned i = 0; i < N_DISKS; i++) {
		strcpy(path[i], "/tmp/test_verify_disks.XXXXXX");
		image[i] = mkstemp(path[i]);
		assert_true(image[i] >= 0);
		assert_int_equal(ftruncate(image[i], DISK_BYTES), 0);
		snprintf(disk[i].found.name, sizeof(disk[i].found.name), "disk%u", i);
		strcpy(disk[i].found.format, "raw");
		snprintf(disk[i].found.file, sizeof(disk[i].found.file), "%s", path[i]);
		disk[i].found.size_bytes = DISK_BYTES;
		disk[i].unproven = calloc(N_BLOCKS / 64 + 1, sizeof(uint64_t));
		assert_non_null(disk[i].unproven);
		assert_int_equal(disk_ring_new(RING_BYTES, DISK_BYTES, &disk[i].ring, &error), 0);
	}
	write_block(0, 0);
	write_block(1, LATE_BLOCK);
	engine->config = (struct engine_config){.vm = "web1", .changed = ignore,
						.disk_verify_bytes_per_s = UINT64_C(1) << 40};
	engine->guest.info.pid = getpid();
	engine->disks.disk = disk;
	engine->disks.n = N_DISKS;
	engine->disks.condition = DISKS_IN_STEP;
	engine->output.condition = OUTPUT_HELD;
	engine->stream.condition = STREAM_GATEWAY_RESUMED;
	engine->stream.features = WIRE_FEATURES;
	engine->epochs.sync = SYNC_KEPT;
	engine->epochs.next = 10;
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, BACKLOG, &engine->epochs.retain), 0);
	assert_int_equal(encoder_new(1, 0, 1, engine->epochs.retain, &engine->epochs.encoder), 0);
	encoder_set_features(engine->epochs.encoder, WIRE_FEATURES);
	pthread_mutex_init(&engine->status_lock, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	engine_verify_close(&engine->verify);
	for (unsigned i = 0; i < N_DISKS; i++) {
		close(image[i]);
		unlink(path[i]);
		free(disk[i].unproven);
		disk_ring_free(disk[i].ring);
	}
	encoder_free(engine->epochs.encoder);
	retain_free(engine->epochs.retain);
	free(engine);
	return 0;
}

/* Let the standby take a frame of an epoch. */
static void take_frame(const struct retain_frame *from)
{
	struct wire_frame frame = {.h = {.type = from->type, .payload_size = (uint32_t)from->size},
				   .payload = from->payload};
	uint8_t ours[WIRE_DISK_HASH_SIZE];
	struct wire_disk_record record;
	struct wire_disk_iter it;
	unsigned d;

	assert_int_equal(wire_disk_begin(&frame, &it, NULL), 0);
	d = strcmp(it.name, disk[0].found.name) == 0 ? 0 : 1;
	while (wire_disk_next(&it, &record, NULL) > 0) {
		uint8_t *at = standby[d] + record.offset;

		if (record.op == WIRE_DISK_WRITE) {
			memcpy(at, record.data, record.bytes);
			n_sent_blocks++;
			continue;
		}
		assert_int_equal(record.op, WIRE_DISK_HASH);
		strcpy(checked.name, it.name);
		checked.n_checked++;
		wire_disk_hash(wire_disk_hash_seed(record.data), at, record.bytes, ours);
		if (memcmp(ours, record.data, sizeof(ours)) != 0)
			checked.offset[checked.n_differ++] = record.offset;
	}
}

/* Let the standby answer for the epoch that was sealed last. */
static int answer(void)
{
	uint8_t payload[1024];
	struct bytes_writer w = {.at = payload, .end = payload + sizeof(payload)};
	struct wire_frame frame = {.h = {.type = WIRE_DISK_CHECKED,
					 .epoch = engine->epochs.next - 1},
				   .payload = payload};

	assert_int_equal(wire_disk_checked_encode(&checked, &w), 0);
	frame.h.payload_size = (uint32_t)(w.at - payload);
	return engine_verify_answer(engine, &frame);
}

static void await_read(void)
{
	if (engine->verify.blocks)
		blocks_end(engine->verify.blocks);
}

/* Let the engine do what is due, and seal, encode and apply an epoch. If @busy is not NULL, the
 * guest meanwhile writes written_bytes to the beginning of that disk: a part of the first block, or
 * more. */
static void epoch(const struct engine_disk *busy)
{
	const struct disk_record written = {.op = DISK_WRITE, .bytes = written_bytes};
	struct retain_frame frame;

	await_read();
	engine->verify.told_ns = engine->verify.next_ns = 0; /* enough time has passed */
	engine_verify_tick(engine);
	await_read();
	assert_int_equal(encoder_begin(engine->epochs.encoder, engine->epochs.next,
				       engine->epochs.next - 1, 0), 0);
	engine_verify_cut(engine, engine->epochs.next);
	if (busy)
		engine_verify_saw(engine, busy, &written);
	for (unsigned i = 0; i < N_DISKS; i++)
		disk[i].encoded = disk_ring_head(disk[i].ring);
	if (after_seal)
		after_seal();
	after_seal = NULL;
	assert_int_equal(engine_verify_encode(engine, engine->epochs.next), 0);
	assert_int_equal(encoder_end(engine->epochs.encoder), 0);
	engine->epochs.next++;
	memset(&checked, 0, sizeof(checked));
	while (retain_next(engine->epochs.retain, &frame) == 0) {
		if (frame.type == WIRE_DISK)
			take_frame(&frame);
		retain_sent(engine->epochs.retain);
	}
	retain_drop(engine->epochs.retain, engine->epochs.next - 1);
}

/* Let the pass go on to its end. If it has ended already, begin another one. */
static void pass(const struct engine_disk *busy)
{
	if (engine->verify.condition == VERIFY_PASSED)
		engine_verify_begin(engine);
	for (int i = 0; i < 30 && engine->verify.condition != VERIFY_PASSED; i++) {
		epoch(busy);
		if (checked.n_checked > 0)
			assert_int_equal(answer(), 0);
	}
	assert_int_equal(engine->verify.condition, VERIFY_PASSED);
}

/* Let an operator ask for a pass. Returns what it has found in the disks. */
static const struct engine_part *ask(const struct engine_disk *busy)
{
	(void)engine_verify_now(engine);
	engine_asked_tick(engine);
	pass(busy);
	engine_asked_tick(engine);
	assert_int_equal(engine->asked.condition, ASKED_NONE);
	return &engine->asked.disks;
}

static bool stats_have(const char *line)
{
	char stats[WIRE_STATS_MAX + 1] = "";

	assert_int_equal(engine_verify_stats(engine, stats), 0);
	return strstr(stats, line);
}

static void test_a_pass(void **state)
{
	(void)state;
	pass(NULL);
	assert_true(stats_have("disk_verify=done\n"));
	assert_true(stats_have("disk_verified_blocks=140\n"));
	assert_true(stats_have("disk_differs=0\n"));
	/* Nothing differed, so no other pass follows. */
	epoch(NULL);
	assert_int_equal(engine->verify.condition, VERIFY_PASSED);
}

/* A block differs. It is sent again and compared again, and is then equal. */
static void test_put_right(void **state)
{
	(void)state;
	standby[1][LATE_BLOCK * BLOCKS_BYTES] ^= 1;
	pass(NULL);
	assert_int_equal(n_sent_blocks, 1);
	assert_int_equal(standby[1][LATE_BLOCK * BLOCKS_BYTES], 0);
	assert_true(stats_have("disk_differing_blocks=1\n"));
	assert_true(stats_have("disk_differs=0\n"));
}

/* A block differs in bytes that the guest does not write. The guest writes other bytes of the block
 * in each epoch, so the block can be neither sent again nor compared again. It counts as different
 * until a later pass has compared it. */
static void test_busy_block(void **state)
{
	(void)state;
	standby[0][0] ^= 1;
	epoch(NULL);
	assert_int_equal(answer(), 0);
	assert_int_equal(checked.n_differ, 1);
	pass(&disk[0]);
	assert_int_equal(n_sent_blocks, 0);
	assert_true(stats_have("disk_verify=done\n"));
	assert_true(stats_have("disk_differs=1\n"));
	assert_true(stats_have("disk_verify_news=1 blocks that differed could not be compared "
			       "again, 139 others are equal, 1 were being written\n"));
	/* The next pass follows soon, although `disk_verify_every_ms` is 0. */
	assert_true(engine->verify.next_ns <= clock_mono_ns() + 60 * CLOCK_NS_PER_S);
	epoch(NULL);
	assert_int_not_equal(engine->verify.condition, VERIFY_PASSED);
	assert_int_equal(checked.n_differ, 1);
	assert_int_equal(answer(), 0);
	pass(NULL);
	assert_int_equal(n_sent_blocks, 1);
	assert_int_equal(standby[0][0], 0);
	assert_true(stats_have("disk_differs=0\n"));
}

/* An operator asks for a pass while a block that differed before is busy. The result is not a
 * success. */
static void test_asked_while_busy(void **state)
{
	const struct engine_part *found;

	(void)state;
	standby[0][0] ^= 1;
	epoch(NULL);
	assert_int_equal(answer(), 0);
	epoch(&disk[0]);
	found = ask(&disk[0]);
	assert_int_equal(found->found, ENGINE_FOUND_DIFFERENT);
	assert_string_equal(found->text, "; 139 blocks of the disks are equal, 1 were being "
					 "written, 1 that differed could not be compared again");
	found = ask(NULL);
	assert_int_equal(found->found, ENGINE_FOUND_DIFFERENT);
	assert_string_equal(found->text, "; 140 blocks of the disks are equal, 0 were being "
					 "written, 1 differed and were sent again");
	assert_int_equal(ask(NULL)->found, ENGINE_FOUND_EQUAL);
}

/* A block was sent again, but the guest writes it when it is to be compared. So it counts as
 * different until the next pass. */
static void test_busy_after_repair(void **state)
{
	(void)state;
	standby[0][0] ^= 1;
	epoch(NULL);
	assert_int_equal(answer(), 0);
	epoch(NULL);
	assert_int_equal(n_sent_blocks, 1);
	pass(&disk[0]);
	assert_true(stats_have("disk_differs=1\n"));
	pass(NULL);
	assert_true(stats_have("disk_differs=0\n"));
}

/* A block differs in bytes that the guest does not write. Whenever the block is about to be sent
 * again, the guest writes other bytes of it, so it is not sent. Such a try does not count: the
 * verification goes on, and puts the block right when the guest lets it. */
static void test_busy_at_repair(void **state)
{
	(void)state;
	standby[0][0] ^= 1;
	for (int i = 0; i < 6; i++) {
		epoch(NULL);
		assert_int_equal(checked.n_differ, 1);
		assert_int_equal(answer(), 0);
		epoch(&disk[0]);
		assert_int_equal(checked.n_checked, 0);
		assert_int_not_equal(engine->verify.finding, FINDING_FAILED);
	}
	assert_int_equal(n_sent_blocks, 0);
	pass(NULL);
	assert_int_equal(n_sent_blocks, 1);
	assert_int_equal(standby[0][0], 0);
	assert_true(stats_have("disk_differs=0\n"));
}

/* A block that was left out once is sent again several times, which does not help. These tries
 * count: the verification fails. */
static void test_unsound(void **state)
{
	(void)state;
	standby[0][0] ^= 1;
	epoch(NULL);
	assert_int_equal(answer(), 0);
	epoch(&disk[0]);
	for (int i = 0; i < 4; i++) {
		assert_int_not_equal(engine->verify.finding, FINDING_FAILED);
		epoch(NULL);
		assert_int_equal(answer(), 0);
		epoch(NULL);
		standby[0][0] ^= 1;
	}
	epoch(NULL);
	assert_int_equal(engine->verify.finding, FINDING_FAILED);
}

static uint8_t late[BLOCKS_BYTES]; /* what write_late() writes */

/* Fill block LATE_BLOCK of disk 1 with content that the ring does not know. */
static void write_late(void)
{
	memset(late, 0xaa, sizeof(late));
	assert_int_equal(pwrite(image[1], late, sizeof(late), LATE_BLOCK * BLOCKS_BYTES),
			 sizeof(late));
}

/* Let the guest write all of block LATE_BLOCK of disk 1. */
static void guest_writes_late(void)
{
	write_late();
	put_into_ring(1, LATE_BLOCK, late, sizeof(late));
}

/* Compare until a block differs. */
static void find_difference(void)
{
	for (int i = 0; i < 10 && checked.n_differ == 0; i++) {
		epoch(NULL);
		assert_int_equal(answer(), 0);
	}
	assert_int_equal(checked.n_differ, 1);
}

/* A block was read to be sent again. After the seal, before the block is put into the epoch, the
 * guest writes it. So the ring's hash is of newer content than the block that was read. This is no
 * reason to copy the disk again. */
static void test_written_after_seal(void **state)
{
	(void)state;
	standby[1][LATE_BLOCK * BLOCKS_BYTES] ^= 1;
	find_difference();
	after_seal = guest_writes_late;
	epoch(NULL);
	assert_int_not_equal(engine->verify.condition, VERIFY_COPY);
	/* as the next epoch would */
	memcpy(standby[1] + LATE_BLOCK * BLOCKS_BYTES, late, sizeof(late));
	pass(NULL);
	assert_int_equal(engine->disks.condition, DISKS_IN_STEP);
	assert_int_equal(n_sent_blocks, 0);
	assert_true(stats_have("disk_differs=0\n"));
}

/* Let the disks fall apart (DISKS_APART). Check that LATE_BLOCK is then the only block that QEMU's
 * next copy must send, and only for disk 1. Do what this copy would do. Then a new pass must find
 * no difference. */
static void copy_and_pass(void)
{
	engine->disks.condition = DISKS_APART;
	engine_verify_tick(engine);
	assert_int_equal(disk[0].n_bad, 0);
	assert_int_equal(disk[1].n_bad, 1);
	assert_int_equal(disk[1].bad[0], LATE_BLOCK * BLOCKS_BYTES);
	assert_int_equal(pread(image[1], standby[1], DISK_BYTES, 0), DISK_BYTES);
	engine->disks.condition = DISKS_IN_STEP;
	pass(NULL);
	assert_int_equal(engine->disks.condition, DISKS_IN_STEP);
	assert_int_equal(n_sent_blocks, 0);
	assert_true(stats_have("disk_differs=0\n"));
}

/* The disks fall apart (DISKS_APART) before a difference of disk 1 is handled. This difference must
 * not be taken for a difference of disk 0. Otherwise disk 0 would get the content of disk 1. */
static void test_apart_before_repair(void **state)
{
	static const uint8_t zeros[512];

	(void)state;
	write_late();
	put_into_ring(0, LATE_BLOCK, zeros, sizeof(zeros));
	find_difference();
	engine->disks.condition = DISKS_APART;
	engine_verify_tick(engine);
	assert_true(stats_have("disk_differs=1\n"));
	copy_and_pass();
	assert_int_equal(standby[0][LATE_BLOCK * BLOCKS_BYTES], 0);
}

/* The disks fall apart (DISKS_APART) when disk 1 is about to be copied again. QEMU then copies the
 * disks anyway, which is enough. */
static void test_apart_before_copy(void **state)
{
	(void)state;
	write_late();
	find_difference();
	epoch(NULL);
	assert_int_equal(engine->verify.condition, VERIFY_COPY);
	copy_and_pass();
}

/* The verification has failed, and then the disks fall apart (DISKS_APART). The reason for the
 * failure is still reported. */
static void test_failed_and_apart(void **state)
{
	static const char why[] = "disk_verify_why=disk disk0: 1 blocks of the standby's image "
				  "differ, the first at byte 0, though sent again";

	(void)state;
	for (int i = 0; i < 8 && engine->verify.finding != FINDING_FAILED; i++) {
		standby[0][0] = 1;
		epoch(NULL);
		if (checked.n_checked > 0)
			assert_int_equal(answer(), 0);
	}
	assert_true(stats_have(why));
	engine->disks.condition = DISKS_APART;
	engine_verify_tick(engine);
	assert_true(stats_have("disk_verify=failed\n"));
	assert_true(stats_have(why));
	engine_verify_begin(engine);
	assert_false(stats_have("disk_verify_why=disk"));
}

/* Disk 0 differs, and cannot be opened in the next pass. That pass finds disk 1 equal, which proves
 * nothing about disk 0. */
static void test_left_out(void **state)
{
	(void)state;
	standby[0][0] ^= 1;
	epoch(NULL);
	assert_int_equal(answer(), 0);
	engine_verify_tick(engine);
	await_read();
	strcpy(disk[0].found.format, "qcow2");
	engine_verify_begin(engine);
	pass(NULL);
	assert_int_equal(engine->verify.n_left_out, 1);
	assert_true(stats_have("disk_differs=1\n"));
	strcpy(disk[0].found.format, "raw");
	engine_verify_begin(engine);
	pass(NULL);
	assert_true(stats_have("disk_differs=0\n"));
}

/* Blocks of a disk cannot be read. These blocks do not count as written meanwhile, and the result
 * does not claim that all blocks are equal. */
static void test_unread(void **state)
{
	const struct engine_part *found;

	(void)state;
	(void)engine_verify_now(engine);
	engine_asked_tick(engine);
	epoch(NULL);
	assert_int_equal(answer(), 0);
	assert_int_equal(ftruncate(image[0], 66 * BLOCKS_BYTES), 0);
	pass(NULL);
	engine_asked_tick(engine);
	found = &engine->asked.disks;
	assert_int_equal(engine->asked.condition, ASKED_NONE);
	assert_int_equal(found->found, ENGINE_FOUND_TOO_LITTLE);
	assert_string_equal(found->text, "; 136 blocks of the disks are equal, 0 were being "
					 "written, 4 could not be read and are not compared: "
					 "disk disk0: the block at byte 4521984 cannot be read: "
					 "No data available");
	assert_true(stats_have("disk_verify=done\n"));
	assert_true(stats_have("disk_busy_blocks=0\n"));
	assert_true(stats_have("disk_unread_blocks=4\n"));
	assert_true(stats_have("disk_verify_news=136 blocks of the standby's disks are equal, "
			       "0 were being written, 4 could not be read here\n"));
}

/* No block could be compared, because all were being written or could not be read. The result must
 * not be a success. */
static void test_nothing_compared(void **state)
{
	(void)state;
	engine->disks.n = 1;
	written_bytes = DISK_BYTES;
	assert_int_equal(ask(&disk[0])->found, ENGINE_FOUND_TOO_LITTLE);
	assert_true(stats_have("disk_verify=done\n"));
	assert_true(stats_have("disk_busy_blocks=70\n"));
	assert_true(stats_have("disk_verify_news=0 blocks of the standby's disks are equal, "
			       "70 were being written, 0 could not be read here\n"));
	(void)engine_verify_now(engine);
	engine_asked_tick(engine);
	epoch(&disk[0]);
	assert_int_equal(ftruncate(image[0], 0), 0);
	pass(NULL);
	assert_true(stats_have("disk_verify=not-possible\n"));
	assert_true(stats_have("disk_verify_why=disk disk0: the block at byte 4521984 cannot be "
			       "read: No data available\n"));
}

/* An answer must not name a block whose hash was not sent. */
static void test_wrong_answer(void **state)
{
	(void)state;
	epoch(&disk[0]);
	checked.n_differ = 1;
	checked.offset[0] = 0; /* this block was busy */
	assert_int_equal(answer(), -EPROTO);
	checked.offset[0] = 64 * BLOCKS_BYTES; /* this block is not in the batch */
	assert_int_equal(answer(), -EPROTO);
	checked.n_differ = 0;
	assert_int_equal(answer(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_right, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_block, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_while_busy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_after_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_at_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written_after_seal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_apart_before_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_apart_before_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_and_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_answer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
