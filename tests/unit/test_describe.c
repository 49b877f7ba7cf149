/* test_describe.c - tests what the answers `status` and `vm-show` say about a fleet. */
#include "gateway_fixture.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "control/control_private.h"
#include "control/describe.h"

static struct fixture f;
static json_t *answer;

static int open_fleet(void **state)
{
	(void)state;
	fixture_open(&f);
	return 0;
}

static int close_fleet(void **state)
{
	(void)state;
	json_decref(answer);
	answer = NULL;
	fixture_close(&f);
	return 0;
}

/* Returns the member @key of the answer to `vm-show` for web1. It is valid until the next call. */
static const json_t *of_vm(const char *key)
{
	json_decref(answer);
	answer = describe_vm(f.fleet, fleet_find_vm(f.fleet, "web1"), f.now_ns);
	assert_non_null(answer);
	assert_non_null(json_object_get(answer, key));
	return json_object_get(answer, key);
}

static void test_what_runs(void **state)
{
	struct vm_asked *drill = &fleet_find_vm(f.fleet, "web1")->fsm.asked[VM_ASKED_DRILL];

	(void)state;
	f.now_ns += 10 * CLOCK_NS_PER_S;
	assert_true(json_is_null(of_vm("drill_ms")));
	*drill = (struct vm_asked){.order_id = 1, .since_ns = f.now_ns - 4 * CLOCK_NS_PER_S};
	assert_int_equal(json_integer_value(of_vm("drill_ms")), 4000);
	assert_true(json_is_null(of_vm("verify_ms")));
}

/* Returns member `obeys_younger` of the first host in `status`. */
static bool obeys_younger(void)
{
	json_decref(answer);
	answer = describe_status(f.fleet, "gw", f.now_ns);
	return json_is_true(json_object_get(json_array_get(json_object_get(answer, "hosts"), 0),
					    "obeys_younger"));
}

static void test_a_younger_gateway(void **state)
{
	struct fleet_host *host = &f.fleet->hosts[0];
	struct fleet_link link = {0};
	struct error error;

	(void)state;
	assert_false(obeys_younger());
	fleet_obeys_younger(f.fleet, host, f.fleet->config.incarnation + 1, f.now_ns, &error);
	assert_true(obeys_younger());
	host->control = &link; /* the host is connected to this gateway now, so it obeys it */
	assert_false(obeys_younger());
	host->control = NULL;
	f.fleet->config.incarnation += 2; /* this gateway takes over, and is the younger one now */
	assert_false(obeys_younger());
}

/* The answer lists a VM whose file is wrong, even if the text of its fault is not valid UTF-8. */
static void test_a_fault_is_always_told(void **state)
{
	const json_t *faults, *health;
	const char *text;

	(void)state;
	fleet_add_fault(f.fleet, "web2", "primary = 'caf\xe9', expected a name");
	fleet_add_fault(f.fleet, "web3", "x");
	strcpy(f.fleet->faults[1].text, "cut within a character: \xc3");
	answer = describe_status(f.fleet, "gw", f.now_ns);
	faults = json_object_get(answer, "faults");
	assert_int_equal(json_array_size(faults), 2);
	text = json_string_value(json_object_get(json_array_get(faults, 0), "error"));
	assert_string_equal(text, "primary = 'caf?', expected a name");
	assert_string_equal(f.fleet->faults[0].text, text); /* the stored text is valid, too */
	text = json_string_value(json_object_get(json_array_get(faults, 1), "error"));
	assert_string_equal(text, "cut within a character: ?");
	health = of_vm("health");
	assert_non_null(json_object_get(health, "word"));
}

/* If the list of faults has no room for all VMs, the answer must say so. */
static void test_more_faults_are_told(void **state)
{
	const json_t *faults, *last;

	(void)state;
	for (size_t i = 0; i < FLEET_VMS_MAX + 3; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "vm%zu", i);
		fleet_add_fault(f.fleet, name, "why");
		if (i != FLEET_VMS_MAX - 1 && i != FLEET_VMS_MAX + 2)
			continue;
		json_decref(answer);
		answer = describe_status(f.fleet, "gw", f.now_ns);
		faults = json_object_get(answer, "faults");
		assert_int_equal(json_array_size(faults), FLEET_VMS_MAX + (i >= FLEET_VMS_MAX));
	}
	last = json_array_get(faults, FLEET_VMS_MAX);
	assert_string_equal(json_string_value(json_object_get(last, "name")), "(more)");
	assert_string_equal(json_string_value(json_object_get(last, "error")),
			    "3 more VMs; the gateway's log or its events name them");
}

static void test_a_fence_that_cannot_run_is_told(void **state)
{
	(void)state;
	assert_true(json_is_null(of_vm("fence_fault")));
	strcpy(f.fleet->vms[0]->fence_fault, "caf\xe9 does not exist");
	assert_string_equal(json_string_value(of_vm("fence_fault")), "caf? does not exist");
}

static void test_a_certificate_that_ends(void **state)
{
	const int64_t now_s = 1764000000, end_s = now_s + 8 * 86400;
	struct fleet_link link = {0};
	const char *of[2];
	int is_alarm[2];

	(void)state;
	f.fleet->hosts[1].control = &link;
	answer = describe_status(f.fleet, "gw", f.now_ns);
	assert_int_equal(json_array_size(json_object_get(answer, "certificates")), 0);
	json_decref(answer);
	fleet_set_end(&f.fleet->hosts[0].end, end_s, now_s, "of a host that is not connected");
	fleet_set_end(&f.fleet->hosts[1].end, end_s, now_s, "ends in 8 days");
	fleet_set_end(&f.fleet->end, end_s, now_s + 86400, "ends in 7 days");
	answer = describe_status(f.fleet, "gw", f.now_ns);
	assert_int_equal(json_unpack(answer, "{s:[{s:s, s:b}, {s:s, s:b}!]}", "certificates", "of",
				     &of[0], "alarm", &is_alarm[0], "of", &of[1], "alarm",
				     &is_alarm[1]), 0);
	assert_string_equal(of[0], f.fleet->hosts[1].name);
	assert_false(is_alarm[0]);
	assert_string_equal(of[1], "");
	assert_true(is_alarm[1]);
	f.fleet->hosts[1].control = NULL;
}

/* If a member of the answer cannot be made, there must be no answer: an answer without that member
 * would look complete. */
static void test_nothing_is_left_out_silently(void **state)
{
	(void)state;
	strcpy(f.fleet->vms[0]->config.host[1], "\xff"); /* cannot happen: names are checked */
	assert_null(describe_status(f.fleet, "gw", f.now_ns));
	strcpy(f.fleet->vms[0]->config.host[1], "beta");
	fleet_add_fault(f.fleet, "\xff", "x");
	assert_null(describe_status(f.fleet, "gw", f.now_ns));
	fleet_drop_fault(f.fleet, "\xff");
	strcpy(f.fleet->hosts[0].name, "\xff");
	assert_null(describe_status(f.fleet, "gw", f.now_ns));
	strcpy(f.fleet->hosts[0].name, "alpha");
	answer = describe_status(f.fleet, "gw", f.now_ns);
	assert_int_equal(json_array_size(json_object_get(answer, "hosts")), 2);
}

/* A text for a waiting operator can quote a peer's text, and a full buffer can have cut the text in
 * the middle of a character. */
static void test_a_cut_text_is_told(void **state)
{
	const struct control_config config = {
		.tls = f.server, .ip_be32 = htonl(INADDR_LOOPBACK), .clock_ns = fixture_clock_ns,
		.state_dir = f.dir, .events_bytes_max = 65536};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct control_conn conn = {.phase = CONTROL_WAITING, .op_id = 5};
	const char text[] = "{\"progress\":\"not safe: ?\"}\n"
			    "{\"ok\":true,\"code\":\"done\",\"text\":\"ended: ?\"}\n";

	(void)state;
	assert_int_equal(control_open(f.fleet, epoll_fd, &config, &conn.control), 0);
	conn.control->connections = &conn;
	f.fleet->sinks.progress(conn.control, 5, "not safe: \xc3");
	f.fleet->sinks.reply(conn.control, 5, true, "done", "ended: \xc3");
	assert_int_equal(conn.out_end, strlen(text));
	assert_memory_equal(conn.out, text, strlen(text));
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	conn.control->connections = NULL;
	free(conn.out);
	control_close(conn.control);
	close(epoll_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_runs, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_a_younger_gateway, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_a_fault_is_always_told, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_more_faults_are_told, open_fleet, close_fleet),
		cmocka_unit_test_setup_teardown(test_a_fence_that_cannot_run_is_told, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_a_certificate_that_ends, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_nothing_is_left_out_silently, open_fleet,
						close_fleet),
		cmocka_unit_test_setup_teardown(test_a_cut_text_is_told, open_fleet, close_fleet),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
