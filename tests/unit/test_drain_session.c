/* test_drain_session.c - tests drains through the whole gateway, in memory: what a host may ask
 * for, what the gateway tells the host, and what a restarted gateway still knows. */
#include "gateway_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fleet/drains.h"
#include "vm/fsm_look.h"

static struct fixture f;
static struct agent alpha, beta, stream;
static struct agent *const all[] = {&alpha, &beta, &stream};
static struct wire_frame frame;
static struct wire_drain_state said;
static bool replied, reply_ok;
static char reply_code[32], reply_text[VM_TEXT_MAX];

static void on_reply(void *arg, uint64_t op_id, bool ok, const char *code, const char *text)
{
	(void)arg;
	(void)op_id;
	replied = true;
	reply_ok = ok;
	(void)snprintf(reply_code, sizeof(reply_code), "%s", code);
	(void)snprintf(reply_text, sizeof(reply_text), "%s", text);
}

static void pump(void)
{
	fixture_pump(all, 3);
}

static void pass(uint64_t ms)
{
	for (uint64_t end_ns = f.now_ns + ms * MS; f.now_ns < end_ns;) {
		f.now_ns += 10 * MS;
		fixture_tick(&f);
		pump();
	}
}

static void connect_control(struct agent *a, struct wire_tls_context *context)
{
	agent_open(a, &f, context);
	agent_hello(a, WIRE_KIND_CONTROL, WIRE_VM_ROLE_NONE, 0, 0);
	pump();
	assert_true(agent_take(a, WIRE_WELCOME, &frame));
}

static int set_up(void **state)
{
	(void)state;
	fixture_open(&f);
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	memset(&stream, 0, sizeof(stream));
	alpha.f = beta.f = stream.f = &f;
	f.fleet->sinks.reply = on_reply;
	replied = false;
	fleet_drains_open(f.fleet, f.dir, f.now_ns);
	connect_control(&alpha, f.alpha);
	connect_control(&beta, f.beta);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++)
		agent_close(all[i]);
	fixture_close(&f);
	return 0;
}

static void send_drain(struct agent *a, uint8_t what, uint32_t limit_s, uint8_t boot)
{
	const struct wire_header h = {.type = WIRE_DRAIN};
	uint8_t payload[5 + WIRE_BOOT_SIZE] = {what, 0, 0, 0, (uint8_t)limit_s};

	memset(payload + 5, boot, WIRE_BOOT_SIZE);
	agent_send(a, &h, payload, sizeof(payload));
	pump();
}

/* Take all DRAIN_STATE messages that @a has received. Returns their number; the last one is in
 * `said`. */
static unsigned int hear(struct agent *a)
{
	unsigned int n = 0;

	while (agent_take(a, WIRE_DRAIN_STATE, &frame)) {
		assert_int_equal(wire_drain_state_decode(&frame, &said, NULL), 0);
		n++;
	}
	return n;
}

static enum drain_phase phase(const char *host)
{
	return fleet_drains_of(f.fleet, fleet_find_host(f.fleet, host))->phase;
}

/* A host can ask only for its own drain. The gateway reports the drain's progress to the host, and
 * lifts the drain after the host has booted. */
static void test_guard(void **state)
{
	(void)state;
	send_drain(&beta, WIRE_DRAIN_IS_UP, 0, 0x11);
	pass(100);
	assert_int_equal(hear(&beta), 0);
	assert_int_equal(phase("beta"), DRAIN_NONE);
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	pass(500);
	assert_int_equal(phase("beta"), DRAIN_DONE);
	assert_int_equal(phase("alpha"), DRAIN_NONE);
	assert_int_equal(hear(&alpha), 0);
	assert_true(hear(&beta) >= 2);
	assert_int_equal(said.state, WIRE_DRAIN_DONE);
	assert_int_equal(said.n_left, 0);
	/* the host asks again, and is answered again */
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	assert_int_equal(hear(&beta), 1);
	assert_int_equal(said.state, WIRE_DRAIN_DONE);
	agent_close(&beta);
	connect_control(&beta, f.beta);
	send_drain(&beta, WIRE_DRAIN_IS_UP, 0, 0x22);
	pass(500);
	assert_int_equal(phase("beta"), DRAIN_NONE);
}

/* The gateway counts and names a copy that it could not end in time. */
static void test_copy_left(void **state)
{
	struct fleet_vm *vm = f.fleet->vms[0];

	(void)state;
	/* alpha has not reported that it runs the guest, so beta's copy may be needed and is not
	 * ended */
	vm->fsm.record.state = VM_PROTECTED;
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 4, 0x11);
	pass(3000);
	assert_int_equal(phase("beta"), DRAIN_COPIES);
	pass(1500);
	assert_int_equal(phase("beta"), DRAIN_DONE);
	assert_true(hear(&beta) >= 2);
	assert_int_equal(said.state, WIRE_DRAIN_DONE);
	assert_int_equal(said.n_left, 1);
	assert_non_null(strstr(said.text, "no guest runs there"));
	assert_non_null(strstr(said.text, "copies kept there, of VMs: 1, such as web1 (web1 may "
			       "need its copy on beta"));
}

/* A VM whose file is wrong may run on the host, so the guard is not told that the host is empty. */
static void test_faulty(void **state)
{
	(void)state;
	fleet_add_fault(f.fleet, "web9", "its file is wrong");
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	pass(500);
	assert_int_equal(phase("beta"), DRAIN_DONE);
	assert_true(hear(&beta) >= 2);
	assert_int_equal(said.state, WIRE_DRAIN_DONE);
	assert_int_equal(said.n_left, 1);
	assert_string_equal(said.text, "no VM that is looked after runs there; no VM that is "
			    "looked after has a copy there; VMs that are not looked after, and "
			    "may run there: 1, such as web9");
}

/* The gateway names and counts a guest that cannot be moved. */
static void test_left(void **state)
{
	(void)state;
	send_drain(&alpha, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	pass(500);
	assert_int_equal(phase("alpha"), DRAIN_DONE);
	assert_true(hear(&alpha) >= 2);
	assert_int_equal(said.state, WIRE_DRAIN_DONE);
	assert_int_equal(said.n_left, 1);
	assert_non_null(strstr(said.text, "web1"));
	/* after alpha, beta is told to go down, too: its drain still ends */
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	pass(500);
	assert_int_equal(phase("beta"), DRAIN_DONE);
}

/* A message that breaks the format ends the connection. Messages that come too often are
 * ignored. */
static void test_hostile(void **state)
{
	unsigned int n = 0;

	(void)state;
	send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
	pass(500);
	assert_int_equal(phase("beta"), DRAIN_DONE);
	(void)hear(&beta);
	for (unsigned int i = 0; i < 100; i++) { /* each message that is not ignored is answered */
		send_drain(&beta, WIRE_DRAIN_GOES_DOWN, 30, 0x11);
		n += hear(&beta);
	}
	assert_in_range(n, 8, 11);
	send_drain(&alpha, WIRE_DRAIN_IS_UP, 5, 0x11);
	assert_true(agent_take(&alpha, WIRE_REFUSED, &frame));
	assert_int_equal(phase("alpha"), DRAIN_NONE);
	agent_open(&stream, &f, f.alpha);
	send_drain(&stream, WIRE_DRAIN_GOES_DOWN, 30, 0x11); /* before the stream's HELLO */
	assert_true(agent_take(&stream, WIRE_REFUSED, &frame));
	assert_int_equal(phase("alpha"), DRAIN_NONE);
}

static void ask(enum drain_input_kind kind, const char *host)
{
	const struct drain_input in = {.kind = kind, .op_id = 5, .unprotected_ok = true,
				       .limit_ns = 60000 * MS};

	replied = false;
	fleet_drains_step(f.fleet, fleet_find_host(f.fleet, host), &in, f.now_ns);
	pass(500);
}

/* A restarted gateway still knows which host is drained, and which VM is to be protected again. It
 * does not use a damaged file. */
static void test_restart(void **state)
{
	struct fleet_vm *vm = f.fleet->vms[0];
	char path[512], byte;
	int fd;

	(void)state;
	ask(DRAIN_IN_ASKED, "alpha");
	assert_true(replied && !reply_ok);
	assert_string_equal(reply_code, "not-safe"); /* web1 is on alpha, unprotected */
	ask(DRAIN_IN_ASKED, "beta");
	assert_true(replied && reply_ok);
	assert_true(vm->fsm.is_barred[VM_HOST_SECOND]);
	vm_fsm_want_again(&vm->fsm, f.now_ns); /* as if the drain had ended a copy on beta */
	pass(500);
	/* restart the gateway */
	free(f.fleet->drains);
	f.fleet->drains = fleet_drains_new();
	vm_fsm_bar(&vm->fsm, VM_HOST_SECOND, false);
	vm->fsm.again.when = VM_AGAIN_NEVER;
	fleet_drains_open(f.fleet, f.dir, f.now_ns);
	assert_int_equal(phase("beta"), DRAIN_DONE);
	assert_true(vm->fsm.is_barred[VM_HOST_SECOND]);
	assert_true(vm_fsm_wants_again(&vm->fsm));
	ask(DRAIN_IN_UNDRAIN, "beta");
	assert_true(replied && reply_ok);
	assert_int_equal(phase("beta"), DRAIN_NONE);
	assert_false(vm->fsm.is_barred[VM_HOST_SECOND]);
	ask(DRAIN_IN_ASKED, "beta");
	(void)snprintf(path, sizeof(path), "%s/drained", f.dir);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, 30), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 30), 1);
	close(fd);
	free(f.fleet->drains);
	f.fleet->drains = fleet_drains_new();
	fleet_drains_open(f.fleet, f.dir, f.now_ns);
	assert_int_equal(phase("beta"), DRAIN_NONE);
}

/* A restarted gateway still knows that guests may be left on the host. */
static void test_restart_leave(void **state)
{
	const struct drain_input in = {.kind = DRAIN_IN_ASKED, .op_id = 5, .unprotected_ok = true,
				       .leaves = true, .limit_ns = 60000 * MS};

	(void)state;
	fleet_drains_step(f.fleet, fleet_find_host(f.fleet, "alpha"), &in, f.now_ns);
	fleet_drains_tick(f.fleet, f.now_ns); /* writes the file */
	free(f.fleet->drains);
	f.fleet->drains = fleet_drains_new();
	fleet_drains_open(f.fleet, f.dir, f.now_ns);
	assert_int_equal(phase("alpha"), DRAIN_MOVING);
	pass(500);
	assert_int_equal(phase("alpha"), DRAIN_DONE); /* web1 is there, and not protected */
}

static void test_disk(void **state)
{
	char path[512];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/none", f.dir);
	fleet_drains_open(f.fleet, path, f.now_ns); /* no such directory */
	ask(DRAIN_IN_ASKED, "beta");
	assert_true(replied && !reply_ok);
	assert_string_equal(reply_code, "journal");
	assert_int_equal(phase("beta"), DRAIN_NONE);
	assert_false(f.fleet->vms[0]->fsm.is_barred[VM_HOST_SECOND]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_guard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_copy_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_faulty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_restart_leave, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk, set_up, tear_down),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
