/* test_admission.c - tests two things. When there are too many connections, a stranger's new
 * connection can end only other strangers' connections, never an agent's. And handshakes get only a
 * limited share of the loop's time. */
#include "base/error.h"
#include "gateway_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define N_SILENT 64

static struct fixture f;
static struct agent alpha, beta;
static struct agent silent[N_SILENT];
static struct agent *all[N_SILENT + 2];
static struct wire_frame frame;

static int open_fixture(void **state)
{
	(void)state;
	fixture_open(&f);
	memset(silent, 0, sizeof(silent));
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	all[0] = &alpha;
	all[1] = &beta;
	for (size_t i = 0; i < N_SILENT; i++)
		all[i + 2] = &silent[i];
	for (size_t i = 0; i < N_SILENT + 2; i++)
		all[i]->f = &f;
	fixture_handshake_ns = 0;
	return 0;
}

static int close_fixture(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SILENT + 2; i++)
		agent_close(all[i]);
	fixture_close(&f);
	return 0;
}

static void pump(void)
{
	fixture_pump(all, N_SILENT + 2);
}

/* Open a connection from 198.18.0.@source that sends nothing. */
static int knock(size_t i, unsigned int source)
{
	char peer[32];
	int r;

	(void)snprintf(peer, sizeof(peer), "198.18.0.%u:%zu", source, 1000 + i);
	if (!silent[i].tls) /* the test never runs this end's TLS, so nothing is sent */
		assert_int_equal(wire_tls_new(f.alpha, WIRE_PEER_GATEWAY, 0, &silent[i].tls), 0);
	r = session_new(f.sessions, peer, &silent[i], ++f.now_ns, &silent[i].session);
	pump();
	return r;
}

static void say_hello(struct agent *a, struct wire_tls_context *context, const char *peer)
{
	agent_open_from(a, &f, context, peer);
	pump();
	agent_hello(a, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
}

/* An agent gets in even when silent connections have taken every slot. */
static void test_silent_connections_lock_nobody_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 9), 0);
	assert_int_equal(f.fleet->counters.handshakes_now, 4);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_EVICTED], N_SILENT - 4);
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_null(silent[N_SILENT - 4].session); /* the oldest connection was ended */
	assert_non_null(silent[N_SILENT - 1].session);
}

static void test_open_sessions_are_never_touched(void **state)
{
	(void)state;
	f.sessions->config.n_sessions_max = 5;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 1), 0); /* from alpha's own address */
	assert_non_null(alpha.session);
	assert_int_equal(alpha.session->phase, SESSION_OPEN);
	say_hello(&beta, f.beta, "198.18.0.2:1");
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
	f.sessions->config.n_sessions_max = 2;
	for (size_t i = 0; i < N_SILENT; i++)
		silent[i].session = session_free(silent[i].session, f.now_ns);
	assert_int_equal(knock(0, 9), -EBUSY);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_BUSY], 1);
}

/* The source with the most waiting connections is the first to lose one, even if another source's
 * connection is older. */
static void test_the_greediest_source_pays(void **state)
{
	(void)state;
	agent_open_from(&beta, &f, f.beta, "198.18.0.2:1"); /* beta's HELLO comes late */
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 9), 0);
	agent_hello(&beta, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
}

/* When each address has only one connection, strangers' connections are closed first. An address is
 * known if a host has said HELLO from it before, or if a VM's file names it. */
static void test_known_addresses_stay(void **state)
{
	(void)state;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	agent_close(&alpha);
	agent_open_from(&alpha, &f, f.alpha, "198.18.0.1:2");
	(void)snprintf(fleet_find_host(f.fleet, "beta")->configured, 16, "198.18.0.2");
	agent_open_from(&beta, &f, f.beta, "198.18.0.2:2"); /* known because a VM's file names it */
	for (size_t i = 0; i < N_SILENT; i++)
		assert_int_equal(knock(i, 10 + (unsigned int)i), 0);
	agent_hello(&alpha, WIRE_KIND_CONTROL, 0, 0, 0);
	agent_hello(&beta, WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	assert_true(agent_take(&beta, WIRE_WELCOME, &frame));
	/* Connections from known addresses now take as many places as there are. A stranger is then
	 * refused. A known address that connects again loses its own older connection. */
	for (size_t i = 0; i < N_SILENT; i++)
		silent[i].session = session_free(silent[i].session, f.now_ns);
	f.sessions->config.n_handshakes_max = 2;
	assert_int_equal(knock(0, 1), 0);
	assert_int_equal(knock(1, 2), 0);
	assert_int_equal(knock(2, 77), -EBUSY);
	assert_int_equal(knock(3, 2), 0);
	assert_non_null(silent[0].session);
	assert_null(silent[1].session);
}

/* Each handshake step costs 5 ms, and all handshakes together may use a fifth of the loop's time.
 * When this budget is used up, strangers' handshakes stop, but a known host's handshake continues.
 * Later, each stranger's handshake continues in turn. */
static void test_handshakes_have_a_budget(void **state)
{
	unsigned int n_up = 0;
	uint64_t began_ns;

	(void)state;
	f.sessions->config.n_handshakes_max = 32;
	f.sessions->config.n_sessions_max = 64;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	fixture_handshake_ns = 5 * MS;
	fixture_tick(&f);
	for (size_t i = 0; i < 12; i++)
		agent_open_from(&silent[i], &f, f.beta, "198.18.0.9:5");
	for (size_t i = 0; i < 12; i++)
		n_up += wire_tls_is_established(silent[i].tls);
	assert_true(n_up <= 4);
	assert_true(f.sessions->admission.n_waiting >= 8);
	agent_close(&alpha);
	agent_open_from(&alpha, &f, f.alpha, "198.18.0.1:2");
	for (int i = 0; i < 3; i++) { /* alpha's turn comes in one of the next ticks */
		fixture_tick(&f);
		pump();
	}
	assert_true(wire_tls_is_established(alpha.tls));

	began_ns = f.now_ns;
	while (f.sessions->admission.n_waiting > 0 && f.now_ns - began_ns < 4000 * MS) {
		uint64_t at_ns = sessions_deadline_ns(f.sessions);

		/* the loop must wake up for the waiting handshakes */
		assert_true(at_ns < f.now_ns + 500 * MS);
		if (at_ns > f.now_ns)
			f.now_ns = at_ns;
		f.sessions->config.handshake_timeout_ns = 10000 * MS;
		fixture_tick(&f);
		pump();
	}
	assert_int_equal(f.sessions->admission.n_waiting, 0);
	for (size_t i = 0; i < 12; i++)
		assert_true(wire_tls_is_established(silent[i].tls));
	/* The 12 handshakes take about 20 steps of at least 5 ms, for which they get only a fifth
	 * of the time. */
	assert_true(f.now_ns - began_ns > 300 * MS);
}

/* A session whose handshake has to wait ends properly, both when its peer closes it and when it
 * times out. */
static void test_waiting_ones_end(void **state)
{
	(void)state;
	f.sessions->config.n_handshakes_max = 32;
	f.sessions->config.n_sessions_max = 64;
	fixture_handshake_ns = 50 * MS;
	for (size_t i = 0; i < 6; i++)
		agent_open_from(&silent[i], &f, f.beta, "198.18.0.9:5");
	assert_true(f.sessions->admission.n_waiting >= 4);
	agent_close(&silent[5]);
	f.now_ns += 2000 * MS; /* past handshake_timeout_ms */
	fixture_tick(&f);
	pump();
	for (size_t i = 0; i < 6; i++)
		assert_null(silent[i].session);
	assert_int_equal(f.sessions->admission.n_waiting, 0);
	assert_int_equal(f.fleet->counters.handshakes_now, 0);
	assert_int_equal(f.fleet->counters.closing_now, 0);
}

/* A gateway without VMs serves timeouts too: the loop must wake up for them. */
static void test_timeouts_without_a_vm(void **state)
{
	(void)state;
	f.fleet->n_vms = 0;
	assert_true(sessions_deadline_ns(f.sessions) == UINT64_MAX);
	agent_open_from(&silent[0], &f, f.beta, "198.18.0.9:5");
	for (int i = 0; i < 20 && silent[0].session; i++) {
		assert_true(sessions_deadline_ns(f.sessions) <= f.now_ns + 250 * MS);
		f.now_ns = sessions_deadline_ns(f.sessions);
		fixture_tick(&f);
		pump();
	}
	assert_null(silent[0].session);
	assert_int_equal(f.fleet->counters.refused[FLEET_REFUSED_TIMEOUT], 1);
	f.fleet->n_vms = 1;
}

/* The default limits grow with the configuration: 64 VMs on 128 hosts need 256 connections. */
static void test_limits_follow_what_is_configured(void **state)
{
	struct vm_config vm = f.fleet->vms[0]->config;
	struct error error;

	(void)state;
	f.sessions->config.n_sessions_max = f.sessions->config.n_handshakes_max = 0;
	admission_settle(f.sessions);
	assert_int_equal(f.sessions->config.n_sessions_max, ADMISSION_SESSIONS_LEAST);
	assert_int_equal(f.sessions->config.n_handshakes_max, ADMISSION_HANDSHAKES_LEAST);
	for (unsigned int i = 1; i < FLEET_VMS_MAX; i++) {
		(void)snprintf(vm.name, sizeof(vm.name), "vm%u", i);
		(void)snprintf(vm.host[0], sizeof(vm.host[0]), "one%u", i);
		(void)snprintf(vm.host[1], sizeof(vm.host[1]), "two%u", i);
		assert_int_equal(fleet_add_vm(f.fleet, &vm, vm_journal_get_table(f.journal),
					      f.now_ns, &error), 0);
	}
	f.sessions->config.n_sessions_max = f.sessions->config.n_handshakes_max = 0;
	admission_settle(f.sessions);
	assert_int_equal(f.sessions->config.n_handshakes_max, 128 + 2 * 64);
	assert_int_equal(f.sessions->config.n_sessions_max, 256 + 256);
	/* Limits that the operator sets are kept. */
	f.sessions->config.n_sessions_max = 40;
	f.sessions->config.n_handshakes_max = 0;
	admission_settle(f.sessions);
	assert_int_equal(f.sessions->config.n_sessions_max, 40);
	assert_int_equal(f.sessions->config.n_handshakes_max, 40);
}

/* Open sessions fill all slots, and alpha's has been silent for beat_timeout, so it counts as dead.
 * alpha may connect again at once; every other host is refused. */
static void test_a_dead_session_keeps_no_slot_from_its_host(void **state)
{
	(void)state;
	f.sessions->config.n_sessions_max = 2;
	say_hello(&alpha, f.alpha, "198.18.0.1:1");
	say_hello(&beta, f.beta, "198.18.0.2:1");
	assert_int_equal(knock(0, 1), -EBUSY); /* refused: no open session has been silent yet */
	f.now_ns += f.sessions->config.beat_timeout_ns;
	assert_int_equal(knock(1, 9), -EBUSY); /* refused: a stranger */
	for (size_t i = 0; i < 2; i++)
		silent[i].tls = wire_tls_free(silent[i].tls);
	assert_true(agent_take(&alpha, WIRE_WELCOME, &frame));
	agent_open_from(&silent[2], &f, f.alpha, "198.18.0.1:2"); /* alpha's new connection */
	agent_hello(&silent[2], WIRE_KIND_CONTROL, 0, 0, 0);
	pump();
	assert_true(agent_take(&silent[2], WIRE_WELCOME, &frame));
	assert_null(alpha.session);
	assert_non_null(beta.session);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_silent_connections_lock_nobody_out),
		TEST(test_open_sessions_are_never_touched),
		TEST(test_the_greediest_source_pays),
		TEST(test_known_addresses_stay),
		TEST(test_handshakes_have_a_budget),
		TEST(test_waiting_ones_end),
		TEST(test_timeouts_without_a_vm),
		TEST(test_limits_follow_what_is_configured),
		TEST(test_a_dead_session_keeps_no_slot_from_its_host),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
