/* test_engine_handed.c - tests how an engine hands a guest on when the agent's program is replaced.
 * The old program refuses to hand the guest on if it knows something that would be forgotten. The
 * new program refuses to take the guest over if something can have happened to it while no program
 * ran. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "epoch/engine_private.h"

static struct engine engine;
static struct engine_disk disk;
static struct handed handed;
static struct error error;

static int begin(void **state)
{
	(void)state;
	memset(&engine, 0, sizeof(engine));
	memset(&disk, 0, sizeof(disk));
	engine.config.vm = "web1";
	engine.config.handed = &handed;
	engine.term = 7;
	engine.disks.disk = &disk;
	engine.disks.n = 1;
	strcpy(disk.found.name, "root");
	disk.found.size_bytes = 1 << 20;
	handed = (struct handed){.term = 7, .pid = 4711, .n_pages = 16, .uffd = -1, .n_disks = 1,
				 .disk = {{"root", -1, -1, -1, 4712, 0, 0}}};
	engine.guest.info.pid = 4711;
	engine.guest.info.n_pages = 16;
	*error.text = '\0';
	return 0;
}

/* ---- the old program */

static void count_change(void *arg)
{
	++*(int *)arg;
}

/* Before the guest is handed on, most of the reference store is freed, while epochs continue. */
static void test_memory_is_given_back(void **state)
{
	const uint32_t n_pages = 4 * ENCODER_SHED_PAGES;
	static const uint8_t page[VMM_PAGE_BYTES] = {1};
	struct page_range all = {0, n_pages};
	uint8_t *pages = calloc(n_pages, VMM_PAGE_BYTES);
	struct encoder_cursor cursor = {.ranges = &all, .n_ranges = 1, .pages = pages};
	struct encoder_counts counts;
	int n_changes = 0, r;

	(void)state;
	assert_non_null(pages);
	for (uint32_t i = 0; i < n_pages; i++)
		memcpy(pages + (size_t)i * VMM_PAGE_BYTES, page, sizeof(page));
	engine.config.changed = count_change;
	engine.config.changed_arg = &n_changes;
	engine.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(retain_new(WIRE_PAYLOAD_MAX, 1 << 30, &engine.epochs.retain), 0);
	assert_int_equal(encoder_new(n_pages, n_pages, 1, engine.epochs.retain,
				     &engine.epochs.encoder), 0);
	encoder_set_features(engine.epochs.encoder, WIRE_FEATURE_XRLE);
	assert_int_equal(encoder_begin(engine.epochs.encoder, 1, 0, WIRE_FLAG_FULL), 0);
	while ((r = encoder_pages(engine.epochs.encoder, &cursor)) > 0)
		;
	assert_int_equal(r, 0);
	assert_non_null(engine_hand_obstacle(&engine)); /* 128 MiB would have to be freed */
	engine_shed_tick(&engine); /* has no effect: nobody has asked to free memory */
	engine_shed(&engine, true);
	engine.epochs.sync = SYNC_LOST;
	assert_false(engine_sheds(&engine)); /* an epoch may be half made */
	engine.epochs.sync = SYNC_KEPT;
	while (engine_sheds(&engine)) {
		assert_false(engine_has_shed(&engine));
		engine_shed_tick(&engine);
	}
	assert_true(engine_has_shed(&engine));
	assert_int_equal(n_changes, 1);
	encoder_get_counts(engine.epochs.encoder, &counts);
	assert_int_equal(counts.reference.n_used, ENCODER_SHED_PAGES);
	assert_null(engine_hand_obstacle(&engine));
	engine_shed(&engine, false);
	engine_shed_tick(&engine);
	assert_false(engine_has_shed(&engine));
	encoder_free(engine.epochs.encoder);
	retain_free(engine.epochs.retain);
	close(engine.wake_fd);
	free(pages);
}

static void test_what_is_known_is_not_forgotten(void **state)
{
	(void)state;
	assert_null(engine_hand_obstacle(&engine));
#define REFUSED_WITH(member, value, none)                                                          \
	do {                                                                                       \
		engine.member = value;                                                             \
		assert_non_null(engine_hand_obstacle(&engine));                                    \
		engine.member = none;                                                              \
		assert_null(engine_hand_obstacle(&engine));                                        \
	} while (0)
	REFUSED_WITH(ram.answer.n_differ, 1, 0);
	REFUSED_WITH(ram.bad.n_differ, 1, 0);
	REFUSED_WITH(ram.finding, FINDING_DIFFERS, FINDING_NONE);
	REFUSED_WITH(ram.finding, FINDING_COPIED, FINDING_NONE);
	REFUSED_WITH(ram.finding, FINDING_FAILED, FINDING_NONE);
	REFUSED_WITH(verify.answer.n_differ, 1, 0);
	REFUSED_WITH(verify.finding, FINDING_DIFFERS, FINDING_NONE);
	REFUSED_WITH(verify.finding, FINDING_COPIED, FINDING_NONE);
	REFUSED_WITH(verify.finding, FINDING_FAILED, FINDING_NONE);
	REFUSED_WITH(disks.disk[0].n_bad, 1, 0);
	REFUSED_WITH(asked.condition, ASKED_RAM, ASKED_NONE);
	REFUSED_WITH(asked.n_wanted, 1, 0);
	REFUSED_WITH(disks.disk[0].flush, FLUSH_IGNORED, FLUSH_OBEYED);
	REFUSED_WITH(disks.disk[0].flush, FLUSH_BETWEEN, FLUSH_OBEYED);
#undef REFUSED_WITH
}

/* ---- the new program */

static void test_a_guest_that_runs(void **state)
{
	(void)state;
	engine.guest.info.running = true; /* somebody let the guest run meanwhile */
	assert_int_equal(engine_resume_tracking(&engine, &error), -ESTALE);
	assert_non_null(strstr(error.text, "run meanwhile"));
}

/* Hand on a ring to which a writer has appended @n_records while no program ran. @is_lost: QEMU has
 * disconnected from the ring's server. Returns the result of engine_ring_resume(). */
static int resume(int n_records, bool is_lost)
{
	const struct disk_ring_id id = {"web1", "root", 7};
	struct disk_ring *ring, *writer;
	char path[64], data[512] = "x";
	int r;

	(void)snprintf(path, sizeof(path), "/tmp/holdfast-handed-%d", (int)getpid());
	assert_int_equal(disk_ring_open(path, &id, DISK_RING_SOFT_MIN, 1 << 20, &ring, &error), 0);
	assert_int_equal(disk_ring_map(disk_ring_fd(ring), &writer), 0);
	for (int i = 0; i < n_records; i++)
		assert_int_equal(disk_ring_append(writer, DISK_WRITE, 0, sizeof(data), data), 0);
	if (is_lost)
		disk_ring_count(writer, DISK_RING_DISCONNECTED);
	disk_ring_free(writer);
	handed.disk[0].ring_fd = disk_ring_hand_on(ring);
	engine.config.disk_ring_bytes = DISK_RING_SOFT_MIN;
	r = engine_ring_resume(&engine, &disk, &error);
	assert_int_equal(handed.disk[0].ring_fd, -1);
	disk.ring = disk_ring_free(disk.ring);
	(void)unlink(path);
	return r;
}

static void test_a_disk_that_was_written(void **state)
{
	(void)state;
	assert_int_equal(resume(0, false), -ESRCH); /* all is well, but there is no server */
	assert_int_equal(resume(1, false), -ESTALE);
	assert_non_null(strstr(error.text, "written meanwhile"));
	assert_int_equal(disk.encoded, 0); /* the write is not skipped */
}

static void test_a_disk_whose_server_was_lost(void **state)
{
	(void)state;
	assert_int_equal(resume(0, true), -ESTALE);
	assert_non_null(strstr(error.text, "did not arrive"));
	handed.disk[0].disconnections = 1; /* QEMU disconnected once, before the mirror began */
	assert_int_equal(resume(0, true), -ESRCH);
	handed.disk[0].overflows = 1;
	assert_int_equal(resume(0, true), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_memory_is_given_back, begin),
		cmocka_unit_test_setup(test_what_is_known_is_not_forgotten, begin),
		cmocka_unit_test_setup(test_a_guest_that_runs, begin),
		cmocka_unit_test_setup(test_a_disk_that_was_written, begin),
		cmocka_unit_test_setup(test_a_disk_whose_server_was_lost, begin),
	};

	return cmocka_run_group_tests_name("engine_handed", tests, NULL, NULL);
}
