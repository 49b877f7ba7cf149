/* Tests epochcheck with KEEP records: they must be the first record of a page, in a FULL epoch
 * without DUP, after the standby has given hashes of its pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby_fixture.h"

static void keep_unasked(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_end(f);
}

static void keep_not_full(struct feed *f)
{
	feed_begin(f, false);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_end(f);
}

static void keep_after_a_record(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_end(f);
}

static void keep_twice(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_end(f);
}

/* KEEP and DUP in one epoch must be refused: when the epoch is applied again after a crash, page 1
 * may already have changed. */
static void keep_then_dup(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_KEEP, 1, NULL, 0);
	feed_dup(f, 0, 1);
	feed_end(f);
}

static void dup_then_keep(struct feed *f)
{
	feed_begin(f, true);
	feed_record(f, WIRE_CLASS_ZERO, 1, NULL, 0);
	feed_dup(f, 0, 1);
	feed_record(f, WIRE_CLASS_KEEP, 2, NULL, 0);
	feed_end(f);
}

static void keep_of_device(struct feed *f)
{
	static const uint8_t payload[] = {0, 0, 0x20, 0, WIRE_CLASS_KEEP, 0, 0, 0, 0, 0, 0, 0};

	feed_begin(f, true);
	feed_frame(f, &(struct wire_header){.type = WIRE_DEVICE, .term = f->term, .epoch = f->epoch,
					    .seq = f->n_frames, .generation = f->generation},
		   payload, sizeof(payload));
	feed_end(f);
}

static void test_keep(void **state)
{
	static const struct fixture_lie lies[] = {
		{"not full", keep_not_full, WIRE_STREAM_ERROR_FORMAT, "no hash of that page"},
		{"later", keep_after_a_record, WIRE_STREAM_ERROR_FORMAT, "has a record"},
		{"twice", keep_twice, WIRE_STREAM_ERROR_FORMAT, "has a record"},
		{"then dup", keep_then_dup, WIRE_STREAM_ERROR_FORMAT, "index 0: a DUP record in"},
		{"dup first", dup_then_keep, WIRE_STREAM_ERROR_FORMAT, "index 2: a KEEP record in"},
		{"device", keep_of_device, WIRE_STREAM_ERROR_FORMAT, "guest pages only"},
	};
	struct fixture *x = *state;

	fixture_hold_one(x);
	x->keeps = true;
	fixture_refuses(x, lies, ARRAY_SIZE(lies));
}

static void test_keep_unasked(void **state)
{
	static const struct fixture_lie lies[] = {
		{"not asked", keep_unasked, WIRE_STREAM_ERROR_FORMAT, "no hash of that page"},
	};
	struct fixture *x = *state;

	fixture_hold_one(x);
	fixture_refuses(x, lies, ARRAY_SIZE(lies));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keep, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_keep_unasked, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
