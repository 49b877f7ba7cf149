/* test_sought.c - tests the gateway's answers to ARP requests. Hosts that send witness datagrams
 * through the client network need our address there, so they are always answered. Other hosts get
 * an answer only while the gateway probes. The number of replies is limited. */
#include "probe/probes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MS	 UINT64_C(1000000)
#define INTERVAL (20 * MS)
#define HOST	 UINT32_C(0xc612000b) /* 198.18.0.11 */
#define BACKUP	 UINT32_C(0xc6120101)
#define GUEST	 UINT32_C(0xc612000a)
#define STRANGER UINT32_C(0xc6120042)

static const struct frames_end us[PROBER_N_NETS] = {
	[PROBER_NET_BACKUP] = {{2, 0, 0, 0, 0, 1}, 0xc6120103},
	[PROBER_NET_CLIENT] = {{2, 0, 0, 0, 0, 2}, 0xc6120003},
};
static const uint8_t mac[FRAMES_MAC_BYTES] = {2, 0, 0, 0, 1, 1};

static struct probes *probes;
static struct prober *prober;
static uint8_t last[FRAMES_BYTES];
static size_t n_sent;
static uint64_t now_ns;

static int output(void *arg, const void *frame, size_t size)
{
	(void)arg;
	assert_int_equal(size, FRAMES_BYTES);
	memcpy(last, frame, size);
	n_sent++;
	return 0;
}

static uint64_t no_random(void *arg)
{
	(void)arg;
	return 7;
}

static void open_probes(bool is_sought)
{
	const struct prober_config config = {.host = {HOST},
					     .host_backup = {BACKUP},
					     .guest = GUEST,
					     .interval_ns = INTERVAL,
					     .is_sought = is_sought};

	n_sent = 0;
	now_ns = 1000 * MS;
	assert_int_equal(probes_new(no_random, NULL, &probes), 0);
	for (int net = 0; net < PROBER_N_NETS; net++)
		probes_open_net(probes, (enum prober_net)net, &us[net], net == PROBER_NET_CLIENT,
				output, NULL);
	assert_int_equal(probes_add(probes, &config, &prober), 0);
}

static void ask(enum prober_net net, uint32_t ip)
{
	struct frames_end from = {.ip = ip};
	uint8_t frame[FRAMES_BYTES];

	memcpy(from.mac, mac, sizeof(mac));
	frames_arp_request(frame, &from, &us[net]);
	assert_false(probes_input(probes, net, frame, sizeof(frame), now_ns));
}

static struct probes_counters counters(void)
{
	struct probes_counters c;

	probes_get_counters(probes, &c);
	return c;
}

static void only_hosts_of_the_client_network_are_answered(void **state)
{
	struct frames_view view;

	(void)state;
	open_probes(true);
	assert_false(probes_active(probes));
	ask(PROBER_NET_CLIENT, STRANGER);
	ask(PROBER_NET_CLIENT, GUEST);
	ask(PROBER_NET_CLIENT, BACKUP);
	ask(PROBER_NET_CLIENT, 0);
	ask(PROBER_NET_BACKUP, BACKUP);
	ask(PROBER_NET_BACKUP, HOST);
	assert_int_equal(n_sent, 0);
	ask(PROBER_NET_CLIENT, HOST);
	assert_int_equal(n_sent, 1);
	assert_memory_equal(last, mac, sizeof(mac));
	assert_int_equal(frames_parse(&(struct frames_end){{2, 0, 0, 0, 1, 1}, HOST}, last,
				      sizeof(last), &view),
			 FRAMES_ARP_REPLY);
	assert_int_equal(view.from.ip, us[PROBER_NET_CLIENT].ip);
	assert_memory_equal(view.from.mac, us[PROBER_NET_CLIENT].mac, FRAMES_MAC_BYTES);
	assert_true(probes_deadline_ns(probes) == UINT64_MAX);
	probes_free(probes);
}

static void nobody_is_where_nobody_is_sought(void **state)
{
	(void)state;
	open_probes(false);
	ask(PROBER_NET_CLIENT, HOST);
	assert_int_equal(n_sent, 0);
	probes_free(probes);
}

static void replies_are_bounded(void **state)
{
	(void)state;
	open_probes(true);
	for (int i = 0; i < 1000; i++)
		ask(PROBER_NET_CLIENT, HOST);
	assert_int_equal(n_sent, PROBER_REPLIES_MAX);
	now_ns += INTERVAL - 1;
	ask(PROBER_NET_CLIENT, HOST);
	assert_int_equal(n_sent, PROBER_REPLIES_MAX);
	now_ns += 1;
	ask(PROBER_NET_CLIENT, HOST);
	assert_int_equal(n_sent, PROBER_REPLIES_MAX + 1);
	assert_int_equal(counters().replies, n_sent);
	probes_free(probes);
}

/* As long as no suspicion makes the gateway probe, it ignores answers to old probes and broken
 * frames. */
static void nothing_else_is_taken(void **state)
{
	uint8_t frame[FRAMES_BYTES];

	(void)state;
	open_probes(true);
	frames_arp_reply(frame, &(struct frames_end){{2, 0, 0, 0, 1, 1}, HOST},
			 &us[PROBER_NET_CLIENT]);
	assert_false(probes_input(probes, PROBER_NET_CLIENT, frame, sizeof(frame), now_ns));
	assert_false(probes_input(probes, PROBER_NET_CLIENT, frame, 20, now_ns));
	assert_int_equal(n_sent, 0);
	assert_int_equal(counters().stray + counters().malformed + counters().answered, 0);
	probes_free(probes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_hosts_of_the_client_network_are_answered),
		cmocka_unit_test(nobody_is_where_nobody_is_sought),
		cmocka_unit_test(replies_are_bounded),
		cmocka_unit_test(nothing_else_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
