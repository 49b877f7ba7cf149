/* test_witness_rx.c - tests which witness datagrams the gateway accepts as evidence, on a virtual
 * clock. Covers the sequence window, keys, and the dating of samples. */
#include "witness_rx_lab.h"

#include <errno.h>

static void a_sample_becomes_the_view(void **state)
{
	(void)state;
	assert_int_equal(view()->n_accepted, 0);
	a.from_guest_ns = now_ns + (uint64_t)a.clock_ns - 3 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->n_accepted, 1);
	assert_int_equal(view()->arrived_at_ns, now_ns);
	assert_int_equal(view()->made_at_ns, now_ns);
	assert_int_equal(view()->to_guest, 101);
	assert_int_equal(view()->to_delta, 0);
	assert_int_equal(view()->answered_at_ns, now_ns - 3 * MS);
	now_ns += 10 * MS;
	a.to_guest += 4;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->to_delta, 5);
	assert_int_equal(view()->from_delta, 0);
	assert_int_equal(view()->interval_ns, 10 * MS);
	assert_int_equal(view()->n_unanswered, 5);
	assert_int_equal(view()->asked_at_ns, now_ns);
	now_ns += 10 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->n_unanswered, 6);
	assert_int_equal(view()->asked_at_ns, now_ns - 10 * MS);
	assert_int_equal(view()->answered_at_ns, now_ns - 23 * MS);
	a.from_guest += 2;
	a.from_guest_ns = now_ns + (uint64_t)a.clock_ns;
	now_ns += 10 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->from_delta, 2);
	assert_int_equal(view()->n_unanswered, 0);
	assert_int_equal(view()->asked_at_ns, 0);
	assert_int_equal(view()->answered_at_ns, now_ns - 10 * MS);
	assert_int_equal(witness_rx_count(rx, WIRE_WITNESS_BACKUP, WITNESS_RX_ACCEPTED), 4);
}

/* Each row breaks one thing in a good datagram. In the end the good datagram is accepted. */
static void hostile_datagrams_change_nothing(void **state)
{
	static const struct {
		const char *what;
		size_t at;	   /* this byte is changed */
		size_t size;	   /* size of the datagram; 0: the right one */
		uint32_t source;   /* sender's address; 0: the right one */
		enum witness_rx_verdict verdict;
	} rows[] = {
		{"empty", 0, SIZE_MAX, 0, WITNESS_RX_MALFORMED},
		{"short", 0, 127, 0, WITNESS_RX_MALFORMED},
		{"long", 0, 129, 0, WITNESS_RX_MALFORMED},
		{"magic", 3, 0, 0, WITNESS_RX_MALFORMED},
		{"path", 55, 0, 0, WITNESS_RX_MALFORMED},
		{"head size", 51, 0, 0, WITNESS_RX_MALFORMED},
		{"key id", 7, 0, 0, WITNESS_RX_UNKNOWN_KEY},
		{"another host", 0, 0, BETA, WITNESS_RX_WRONG_ADDRESS},
		{"sequence", 14, 0, 0, WITNESS_RX_BAD_MAC},
		{"counters", 30, 0, 0, WITNESS_RX_BAD_MAC},
		{"head", 119, 0, 0, WITNESS_RX_BAD_MAC},
		{"mac", 127, 0, 0, WITNESS_RX_BAD_MAC},
	};
	uint8_t data[WIRE_WITNESS_SIZE + 1] = {0}, wrong[WIRE_WITNESS_SIZE + 1];
	struct witness_view before;
	uint64_t n_bad_mac = 0;

	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	before = *view();
	now_ns += 10 * MS;
	a.to_guest++;
	make(&a, 2, 0, data);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t size = rows[i].size ? rows[i].size : WIRE_WITNESS_SIZE;
		enum witness_rx_verdict verdict;

		memcpy(wrong, data, sizeof(data));
		if (rows[i].at)
			wrong[rows[i].at] ^= 0x81;
		verdict = witness_rx_input(rx, WIRE_WITNESS_BACKUP,
					   rows[i].source ? rows[i].source : ALPHA, wrong,
					   size == SIZE_MAX ? 0 : size, now_ns);
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %d", rows[i].what, verdict);
		n_bad_mac += verdict == WITNESS_RX_BAD_MAC;
	}
	assert_int_equal(view()->n_bad_mac, n_bad_mac);
	before.n_bad_mac = n_bad_mac;
	assert_memory_equal(view(), &before, sizeof(before));
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, WIRE_WITNESS_SIZE, now_ns),
		WITNESS_RX_ACCEPTED);
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, WIRE_WITNESS_SIZE, now_ns),
		WITNESS_RX_REPLAYED);
}

static void key_id_0_is_no_key(void **state)
{
	const uint8_t key[WIRE_WITNESS_KEY_SIZE] = {0};

	(void)state;
	/* VM 0's second slot stays empty: its key id is 0, but a search for 0 must not return it */
	give(&b, 0, 9, ALPHA, true);
	a.key_id = 0;
	assert_int_equal(send_next(&a), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(witness_rx_set_key(rx, VM, 0, key, at_alpha, false, now_ns), -EINVAL);
	assert_int_equal(witness_rx_set_key(rx, VM + 1, 7, key, at_alpha, false, now_ns), -EINVAL);
	assert_int_equal(
		witness_rx_set_key(rx, WITNESS_RX_VMS_MAX, 8, key, at_alpha, false, now_ns),
		-EINVAL);
}

static void the_window(void **state)
{
	static const struct {
		uint64_t sequence;
		bool taken;
	} rows[] = {
		{5, true},    {5, false},    {4, true},	    {4, false},	    {1, true},
		{1, false},   {100, true},   {36, true},    {36, false},    {35, false},
		{99, true},   {99, false},   {98, true},    {100, false},   {164, true},
		{100, false}, {101, true},   {163, true},   {99, false},    {229, true},
		{165, true},  {164, false},  {228, true},   {1000, true},   {229, false},
		{936, true},  {935, false},  {999, true},   {UINT64_MAX - 1, true},
		{1001, false}, {UINT64_MAX, true}, {UINT64_MAX, false}, {UINT64_MAX - 64, true},
		{UINT64_MAX - 65, false}, {UINT64_MAX - 1, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum witness_rx_verdict verdict = send_as(&a, rows[i].sequence);

		now_ns += MS;
		if (verdict != (rows[i].taken ? WITNESS_RX_ACCEPTED : WITNESS_RX_REPLAYED))
			fail_msg("row %zu: verdict %d", i, verdict);
	}
}

/* Send sequence numbers in random order, and compare the window's verdicts with those of a plain
 * list. */
static void the_window_against_a_list(void **state)
{
	static bool seen[4096];
	uint64_t newest = 0, random = 1;

	(void)state;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < 20000; i++) {
		uint64_t sequence;
		bool taken;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		sequence = newest + (random >> 33) % 80;
		sequence = sequence > 70 ? sequence - 70 : 1;
		if (sequence >= sizeof(seen))
			break;
		taken = !seen[sequence] && (sequence >= newest || newest - sequence <= 64);
		now_ns += MS;
		assert_int_equal(send_as(&a, sequence),
				 taken ? WITNESS_RX_ACCEPTED : WITNESS_RX_REPLAYED);
		seen[sequence] = seen[sequence] || taken;
		newest = sequence > newest && taken ? sequence : newest;
	}
	assert_true(newest > 100);
}

static void late_ones_are_counted_and_no_news(void **state)
{
	uint8_t late[WIRE_WITNESS_SIZE];

	(void)state;
	assert_int_equal(send_as(&a, 1), WITNESS_RX_ACCEPTED);
	make(&a, 2, 0, late);
	now_ns += 10 * MS;
	a.to_guest += 10;
	assert_int_equal(send_as(&a, 3), WITNESS_RX_ACCEPTED);
	now_ns += 10 * MS;
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, late, sizeof(late), now_ns),
		WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->n_accepted, 3);
	assert_int_equal(view()->n_timely, 2);
	assert_int_equal(view()->arrived_at_ns, now_ns - 10 * MS);
	assert_int_equal(view()->to_guest, 110);
}

static void rotation(void **state)
{
	struct sender old;

	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	old = a;
	a.mac = NULL;
	give(&a, VM, 8, ALPHA, false);
	/* The agent hangs. Until the agent recovers, its kernel uses the old key. */
	for (int i = 0; i < 10; i++) {
		now_ns += 1000 * MS;
		witness_rx_tick(rx, now_ns);
		assert_int_equal(send_next(&old), WITNESS_RX_ACCEPTED);
		assert_int_equal(view()->arrived_at_ns, now_ns);
	}
	/* A newer key replaces the unused key. */
	give(&a, VM, 9, ALPHA, false);
	a.to_guest = old.to_guest + 3;
	assert_int_equal(send_next(&old), WITNESS_RX_ACCEPTED);
	now_ns += 10 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->to_delta, 3); /* the counters continue */
	now_ns += 500 * MS;
	witness_rx_tick(rx, now_ns);
	old.to_guest += 1000;
	assert_int_equal(send_next(&old), WITNESS_RX_ACCEPTED); /* a late datagram */
	/* unchanged: the late sample is older */
	assert_int_equal(view()->to_guest, a.to_guest);
	now_ns += 500 * MS - 1;
	assert_int_equal(send_next(&old), WITNESS_RX_ACCEPTED);
	now_ns += 1;
	/* the key expires even without a tick */
	assert_int_equal(send_next(&old), WITNESS_RX_UNKNOWN_KEY);
	witness_rx_tick(rx, now_ns);
	assert_int_equal(send_next(&old), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	wire_witness_mac_free(old.mac);
}

static void a_new_owner_starts_from_nothing(void **state)
{
	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	witness_rx_clear(rx, VM);
	assert_int_equal(view()->n_accepted, 0);
	assert_int_equal(view()->made_at_ns, 0);
	assert_int_equal(send_next(&a), WITNESS_RX_UNKNOWN_KEY);
	give(&b, VM, 9, ALPHA, true);
	b.to_guest = 1;
	assert_int_equal(send_next(&a), WITNESS_RX_UNKNOWN_KEY);
	assert_int_equal(send_next(&b), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->n_accepted, 1);
	assert_int_equal(view()->to_guest, 2);
}

static void counters_that_begin_anew(void **state)
{
	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	give(&a, VM, 8, ALPHA, true); /* the host has restarted */
	a.to_guest = a.from_guest = 0;
	a.clock_ns = 0;
	now_ns += 60000 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->to_guest, 1);
	assert_int_equal(view()->to_delta, 0);
	assert_int_equal(view()->made_at_ns, now_ns);
	now_ns += 10 * MS;
	a.from_guest++;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->to_delta, 1);
	assert_int_equal(view()->from_delta, 1);
	/* Two cores made these two samples at the same time. The sample that was sent later was
	 * begun earlier, so it has the lower from_guest. No growth may be lost or counted twice. */
	a.from_guest--;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->from_delta, 0);
	assert_int_equal(view()->from_guest, 1);
	a.from_guest++;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->from_delta, 0);
}

static void what_was_held_back_is_old(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];
	uint64_t first_ns = now_ns;

	(void)state;
	witness_rx_clock(rx, VM, (uint64_t)((int64_t)now_ns + a.clock_ns), now_ns);
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	now_ns += 2000 * MS;
	make(&a, 2, 1990 * MS, data);
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns),
		WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->arrived_at_ns, now_ns);
	/* The result can be up to 2 ms late, because the clocks can have drifted by that much. */
	assert_in_range(view()->made_at_ns, first_ns + 10 * MS, first_ns + 12 * MS);
	/* A beat that was also delayed changes nothing. */
	witness_rx_clock(rx, VM, (uint64_t)((int64_t)now_ns + a.clock_ns) - 1500 * MS, now_ns);
	make(&a, 3, 1980 * MS, data);
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns),
		WITNESS_RX_ACCEPTED);
	assert_in_range(view()->made_at_ns, first_ns + 20 * MS, first_ns + 24 * MS);
	/* The sender's queue is empty again, so the next datagram is not late. */
	now_ns += 10 * MS;
	assert_int_equal(send_as(&a, 4), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->made_at_ns, now_ns);
	assert_int_equal(view()->n_accepted, 4);
	assert_int_equal(view()->n_timely, 2);
}

static void times_never_go_back(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];
	uint64_t made_at_ns, answered_at_ns;

	(void)state;
	a.from_guest_ns = now_ns + (uint64_t)a.clock_ns - MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	made_at_ns = view()->made_at_ns;
	answered_at_ns = view()->answered_at_ns;
	now_ns += MS;
	a.from_guest_ns -= 7 * MS;
	make(&a, 2, 6 * MS, data); /* sent late by another core, so its sample is older */
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns),
		WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->made_at_ns, made_at_ns);
	assert_int_equal(view()->answered_at_ns, answered_at_ns);
}

static void clocks_drift_apart(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		now_ns += 500 * MS;
		/* a drift of 500 ppm; the loop lasts for 1000 s */
		a.clock_ns -= 500 * (int64_t)MS / 2000;
		assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
		assert_in_range(view()->made_at_ns, now_ns - MS, now_ns);
	}
}

/* A datagram under the old key is held back while the host restarts. Its time comes from the host's
 * old clock, so it must not set the clock offset of the new key. */
static void the_key_before_sets_no_clock(void **state)
{
	uint8_t held[WIRE_WITNESS_SIZE];

	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	make(&a, 2, 0, held);
	now_ns += 60000 * MS;
	give(&a, VM, 8, ALPHA, true);
	a.clock_ns = 0;
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, held, sizeof(held), now_ns),
		WITNESS_RX_ACCEPTED);
	now_ns += 10 * MS;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->made_at_ns, now_ns);
}

static void the_first_one_is_dated_by_the_beats(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	(void)state;
	witness_rx_clock(rx, VM, (uint64_t)((int64_t)now_ns + a.clock_ns), now_ns);
	make(&a, 1, 300 * MS, data);
	assert_int_equal(
		witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data, sizeof(data), now_ns),
		WITNESS_RX_ACCEPTED);
	assert_int_equal(view()->made_at_ns, now_ns - 300 * MS);
}

static void absurd_times_do_no_harm(void **state)
{
	uint8_t data[WIRE_WITNESS_SIZE];

	(void)state;
	assert_int_equal(send_next(&a), WITNESS_RX_ACCEPTED);
	for (uint64_t i = 0; i < 8; i++) {
		now_ns += 10 * MS;
		make(&a, 2 + i, 0, data);
		bytes_put_be64(data + 16, i & 1 ? UINT64_MAX - i : i);
		bytes_put_be64(data + 40, i & 2 ? UINT64_MAX : 1);
		assert_int_equal(wire_witness_mac_sign(a.mac, data), 0);
		assert_int_equal(witness_rx_input(rx, WIRE_WITNESS_BACKUP, ALPHA, data,
						  sizeof(data), now_ns),
				 WITNESS_RX_ACCEPTED);
		assert_true(view()->made_at_ns <= now_ns);
		assert_true(view()->answered_at_ns <= now_ns);
	}
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sample_becomes_the_view),
		TEST(hostile_datagrams_change_nothing),
		TEST(key_id_0_is_no_key),
		TEST(the_window),
		TEST(the_window_against_a_list),
		TEST(late_ones_are_counted_and_no_news),
		TEST(rotation),
		TEST(a_new_owner_starts_from_nothing),
		TEST(counters_that_begin_anew),
		TEST(what_was_held_back_is_old),
		TEST(times_never_go_back),
		TEST(clocks_drift_apart),
		TEST(the_key_before_sets_no_clock),
		TEST(the_first_one_is_dated_by_the_beats),
		TEST(absurd_times_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
