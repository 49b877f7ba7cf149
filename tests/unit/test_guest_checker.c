/* Tests the client's checker and its page functions. The test plays the service with real pages. It
 * produces a run without failures, and each kind of failure that the checker must notice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest/checker.h"

#define WINDOW 8

/* A miniature service, with one window of pages and the real service's page functions. */
struct fake {
	uint8_t pages[WINDOW][GUEST_PAGE_SIZE];
	uint32_t next;
	uint64_t checksum, count;
	bool torn;
};

static struct guest_reply answer(struct fake *f, const struct guest_request *q)
{
	uint32_t i;

	for (i = 0; i < q->n_pages; i++) {
		f->checksum = guest_checksum_add(f->checksum,
						 guest_page_read(f->pages[f->next], &f->torn));
		guest_page_write(f->pages[f->next], guest_seed(q->seq, i), q->n_bytes);
		f->next = (f->next + 1) % WINDOW;
	}
	f->count++;
	return (struct guest_reply){ .type = q->type, .seq = q->seq, .count = f->count,
				     .checksum = f->checksum };
}

static struct checker checker;
static struct fake fake;

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	return checker_init(&checker, WINDOW);
}

static int teardown(void **state)
{
	(void)state;
	checker_done(&checker);
	return 0;
}

/* Make one request and its reply. The checker does not see the reply yet. */
static struct guest_reply step(uint32_t n_pages, uint32_t n_bytes, uint64_t now_ns)
{
	struct guest_request q = { .type = GUEST_DIRTY, .n_pages = n_pages, .n_bytes = n_bytes };

	assert_int_equal(checker_ask(&checker, &q, now_ns), 0);
	return answer(&fake, &q);
}

static int judge(const struct guest_reply *reply)
{
	uint64_t latency_ns;

	return checker_reply(&checker, reply, 1000, &latency_ns);
}

static void test_clean(void **state)
{
	uint64_t latency_ns = 0;
	unsigned int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		struct guest_reply r = step(i % (WINDOW + 1), 16 + i % 7 * 680, i);

		assert_int_equal(checker_reply(&checker, &r, i + 5, &latency_ns), 0);
		assert_int_equal(latency_ns, 5);
	}
	assert_true(checker_clean(&checker));
	assert_false(fake.torn);
	assert_int_equal(checker_unanswered(&checker), 0);
}

static void test_lost_and_late(void **state)
{
	struct guest_reply a, b, c;

	(void)state;
	a = step(1, 64, 0);
	b = step(1, 64, 0);
	c = step(1, 64, 0);
	assert_int_equal(judge(&a), 0);
	assert_int_equal(judge(&c), 0);
	assert_false(checker_clean(&checker));
	assert_int_equal(checker_unanswered(&checker), 1);
	assert_int_equal(checker_in_flight(&checker), 0);
	/* reply b, which had been skipped, arrives: it counts as out of order, not as lost */
	assert_int_equal(judge(&b), 0);
	assert_int_equal(checker_unanswered(&checker), 0);
	assert_int_equal(checker.n_out_of_order, 1);
	assert_false(checker_clean(&checker));
}

static void test_repeated(void **state)
{
	struct guest_reply a;

	(void)state;
	a = step(1, 64, 0);
	assert_int_equal(judge(&a), 0);
	assert_int_equal(judge(&a), -EPROTO);
	assert_int_equal(checker.n_repeated, 1);
	a.seq = 77;
	assert_int_equal(judge(&a), -EPROTO);
	assert_int_equal(checker.n_unasked, 1);
	a.seq = 0;
	assert_int_equal(judge(&a), -EPROTO);
	assert_int_equal(checker.n_unasked, 2);
}

/* The guest goes back to an older state and continues from there. The checker must notice this. */
static void test_forgotten(void **state)
{
	struct fake old;
	struct guest_reply r;

	(void)state;
	r = step(2, 64, 0);
	assert_int_equal(judge(&r), 0);
	old = fake;
	r = step(2, 64, 0);
	assert_int_equal(judge(&r), 0);
	assert_true(checker_clean(&checker));
	fake = old;
	r = step(2, 64, 0);
	assert_int_equal(judge(&r), 0);
	assert_int_equal(checker.n_forgotten, 1);
	assert_int_equal(checker.n_corrupt, 1);
}

static void test_done_twice(void **state)
{
	struct guest_reply r;

	(void)state;
	r = step(0, 64, 0);
	r.count++;
	assert_int_equal(judge(&r), 0);
	assert_int_equal(checker.n_recounted, 1);
}

/* One page has older content than it should have. The reply's counts are right, but its checksum is
 * wrong when the ring reaches that page again. */
static void test_stale_page(void **state)
{
	uint8_t stale[GUEST_PAGE_SIZE];
	struct guest_reply r;

	(void)state;
	r = step(WINDOW, 64, 0);
	assert_int_equal(judge(&r), 0);
	memcpy(stale, fake.pages[3], sizeof(stale));
	r = step(WINDOW, 64, 0);
	assert_int_equal(judge(&r), 0);
	assert_true(checker_clean(&checker));
	memcpy(fake.pages[3], stale, sizeof(stale));
	r = step(WINDOW, 64, 0);
	assert_int_equal(judge(&r), 0);
	assert_int_equal(checker.n_corrupt, 1);
	assert_int_equal(checker.n_forgotten, 0);
}

static void test_torn_page(void **state)
{
	uint8_t page[GUEST_PAGE_SIZE] = { 0 };
	bool torn = false;

	(void)state;
	assert_int_equal(guest_page_read(page, &torn), 0);
	guest_page_write(page, 42, GUEST_BYTES_MAX);
	assert_int_equal(guest_page_read(page, &torn), 42);
	assert_false(torn);
	page[4095] ^= 1;
	assert_int_equal(guest_page_read(page, &torn), 42);
	assert_true(torn);
	torn = false;
	page[9] = 0xff; /* a length that no writer writes */
	(void)guest_page_read(page, &torn);
	assert_true(torn);
}

static void test_depth_limit(void **state)
{
	struct guest_request q = { .type = GUEST_DIRTY, .n_pages = 1, .n_bytes = 64 };
	unsigned int i;

	(void)state;
	for (i = 0; i < CHECKER_DEPTH_MAX; i++)
		assert_int_equal(checker_ask(&checker, &q, 0), 0);
	assert_int_equal(checker_ask(&checker, &q, 0), -EAGAIN);
}

static void test_records(void **state)
{
	uint8_t q[GUEST_REQUEST_SIZE], p[GUEST_REPLY_SIZE];
	struct guest_request request = { GUEST_RATE, 1ull << 40, 5, 6, 1ull << 50 }, request2;
	struct guest_reply reply = { GUEST_DIRTY, 1, 2, 3, 4, 5, 6, 7 }, reply2;

	(void)state;
	guest_request_encode(q, &request);
	assert_int_equal(guest_request_decode(q, &request2), 0);
	assert_int_equal(request2.seq, request.seq);
	assert_int_equal(request2.arg, request.arg);
	assert_int_equal(request2.n_bytes, 6);
	guest_reply_encode(p, &reply);
	assert_int_equal(guest_reply_decode(p, &reply2), 0);
	assert_int_equal(reply2.total, 7);
	assert_int_equal(reply2.checksum, 3);
	q[0] ^= 1;
	p[3] ^= 1;
	assert_int_equal(guest_request_decode(q, &request2), -EPROTO);
	assert_int_equal(guest_reply_decode(p, &reply2), -EPROTO);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_clean),      CASE(test_lost_and_late), CASE(test_repeated),
		CASE(test_forgotten),  CASE(test_done_twice),	 CASE(test_stale_page),
		CASE(test_torn_page),  CASE(test_depth_limit),	 CASE(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
