/* test_fleet_spare.c - tests a VM with three hosts in the fleet. Two hosts have a seat (owner and
 * standby); the third is the spare. Tests who has a seat according to the journal, what is
 * journaled, inputs that wait for the disk while seats change, and a reload that names another
 * spare. The journal is real; the connections only record what is sent. */
#include "fleet/fleet.h"
#include "fleet/drains.h"
#include "base/cleanup.h"
#include "fake_disk.h"
#include "mint_certs.h"
#include "vm/fsm_look.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)

enum { ALPHA, BETA, GAMMA };

static char *dir;
static struct vm_journal *journal;
static struct journal_thread *thread;
static struct fleet *fleet;
static struct fleet_vm *web1;
static uint64_t now_ns;
static struct fleet_link links[VM_HOSTS], streams[VM_STREAMS];
/* the last order on each control connection */
static struct {
	uint8_t verb;
	uint64_t term, id;
} orders[VM_HOSTS];

/* ---- the connections */

static void note_order(struct fleet_link *link, const char *vm, const struct vm_action *a)
{
	size_t h = (size_t)(link - links);

	assert_string_equal(vm, "web1");
	assert_int_equal(a->host, h); /* an order goes to the host that it is for */
	orders[h].verb = a->verb;
	orders[h].term = a->term;
	orders[h].id = a->order_id;
}

static void note_action(struct fleet_link *link, const struct vm_action *a)
{
	(void)link;
	(void)a;
}

static void note_end(struct fleet_link *link)
{
	link->is_blocked = true; /* stands for: the stream was closed */
}

static const struct fleet_link_ops ops = {
	.order = note_order, .resume = note_action, .commit = note_action, .end = note_end};

static struct vm_config describe(const char *first, const char *second, const char *third)
{
	struct vm_config vm = {
		.name = "web1", .liveness = {500 * MS, 3000 * MS},
		.standby_timeout_ns = 5000 * MS, .order_timeout_ns = 30000 * MS,
		.spare_after_ns = 1000 * MS, .reprotect_auto = true};
	const char *names[VM_HOSTS] = {first, second, third};

	for (int h = 0; h < VM_HOSTS; h++)
		(void)snprintf(vm.host[h], sizeof(vm.host[h]), "%s", names[h]);
	return vm;
}

static void open_journal(void)
{
	struct error error;

	assert_int_equal(vm_journal_open(dir, &journal, &error), 0);
}

static int setup(void **state)
{
	(void)state;
	set_disk(false, 0);
	memset(orders, 0, sizeof(orders));
	memset(links, 0, sizeof(links));
	memset(streams, 0, sizeof(streams));
	now_ns = 1000 * MS;
	dir = mint_dir_new();
	open_journal();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	set_disk(false, 0);
	thread = journal_thread_close(thread);
	fleet = fleet_free(fleet);
	journal = vm_journal_close(journal);
	mint_dir_remove(dir);
	return 0;
}

/* Make a fleet with web1, as the journal has it, and a thread for the journal. */
static void open_fleet(struct vm_config vm)
{
	struct fleet_config config = {.journal = journal, .first_order_id = 100};
	struct error error;

	assert_int_equal(fleet_new(&config, &fleet), 0);
	assert_int_equal(fleet_add_vm(fleet, &vm, vm_journal_get_table(journal), now_ns, &error),
			 0);
	fleet->links = &ops;
	web1 = fleet_find_vm(fleet, "web1");
	assert_int_equal(journal_thread_open(journal, &thread), 0);
	fleet->config.journal_thread = thread;
}

static void await_disk(void)
{
	struct pollfd p = {.fd = journal_thread_fd(thread), .events = POLLIN};

	while (web1->pending.waiting) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		fleet_journal_done(fleet, now_ns);
	}
}

static void connect_host(uint8_t h)
{
	assert_int_equal(fleet_control_up(fleet, web1->host[h], &links[h], now_ns), 0);
}

static void report(uint8_t h, uint8_t agent_state, uint64_t term)
{
	struct wire_report msg = {.vm = "web1", .role = WIRE_VM_ROLE_PRIMARY,
				  .state = agent_state};

	fleet_take_report(fleet, web1, h, term, 0, &msg, now_ns);
}

static void answer(uint8_t h)
{
	struct vm_input in = {.kind = VM_IN_ORDER_DONE, .host = h, .order_id = orders[h].id,
			      .status = WIRE_ORDER_OK, .term = orders[h].term};

	assert_int_equal(fleet_step(fleet, web1, &in, now_ns), 0);
}

/* ---- who has a seat */

static void test_seats(void **state)
{
	static const struct {
		const char *owner, *with;
		enum vm_state state;
		const char *file[VM_HOSTS];
		int owner_at, other_at; /* index of each host; -1: refused */
		const char *words;
	} rows[] = {
		{"alpha", "gamma", VM_PROTECTED, {"alpha", "beta", "gamma"}, 0, 2, ""},
		{"gamma", "beta", VM_PROTECTED, {"alpha", "beta", "gamma"}, 2, 1, ""},
		{"beta", "alpha", VM_PROMOTING, {"alpha", "beta", "gamma"}, 1, 0, ""},
		/* the file now lists the hosts in another order */
		{"gamma", "beta", VM_PROTECTED, {"beta", "gamma", "alpha"}, 1, 0, ""},
		/* the VM had no spare when the journal's line was written */
		{"beta", "", VM_PROTECTED, {"alpha", "beta", "gamma"}, 1, 0, ""},
		{"gamma", "", VM_PROTECTED, {"alpha", "beta", "gamma"}, -1, 0, "had no spare"},
		{"gamma", "", VM_UNPROTECTED, {"alpha", "beta", "gamma"}, 2, 0, ""},
		/* the VM no longer has a spare */
		{"alpha", "beta", VM_PROTECTED, {"alpha", "beta", ""}, 0, 1, ""},
		{"alpha", "gamma", VM_PROTECTED, {"alpha", "beta", ""}, -1, 0,
		 "gamma keeps, or gets, the copy in term 5"},
		{"alpha", "gamma", VM_UNPROTECTED, {"alpha", "beta", ""}, 0, 1, ""},
		{"delta", "alpha", VM_UNPROTECTED, {"alpha", "beta", "gamma"}, -1, 0,
		 "names alpha and beta and gamma; put delta back"},
	};
	static struct vm_journal_table table;
	const struct fleet_config config = {.journal = journal};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vm_config vm =
			describe(rows[i].file[0], rows[i].file[1], rows[i].file[2]);
		struct error error;
		int r;

		table = (struct vm_journal_table){.n = 1};
		table.list[0] = (struct vm_journal_entry){
			.vm = "web1", .term = 5, .state = rows[i].state};
		strcpy(table.list[0].owner, rows[i].owner);
		strcpy(table.list[0].with, rows[i].with);
		assert_int_equal(fleet_new(&config, &fleet), 0);
		r = fleet_add_vm(fleet, &vm, &table, now_ns, &error);
		if (rows[i].owner_at < 0) {
			assert_int_equal(r, -EINVAL);
			if (!strstr(error.text, rows[i].words))
				fail_msg("'%s' has no '%s'", error.text, rows[i].words);
		} else {
			assert_int_equal(r, 0);
			assert_int_equal(fleet->vms[0]->fsm.record.owner, rows[i].owner_at);
			assert_int_equal(vm_fsm_other(&fleet->vms[0]->fsm), rows[i].other_at);
		}
		fleet = fleet_free(fleet);
	}
}

/* ---- a change of seats */

/* Let alpha run the guest unprotected, although the guest is to be protected. beta is not
 * connected; gamma is. */
static void begin(void)
{
	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 5, VM_UNPROTECTED, true,
					   "beta"), 0);
	open_fleet(describe("alpha", "beta", "gamma"));
	connect_host(ALPHA);
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	connect_host(GAMMA);
	report(GAMMA, WIRE_STATE_IDLE, 0);
	assert_int_equal(orders[GAMMA].verb, WIRE_VERB_FENCE);
	answer(GAMMA);
	report(GAMMA, WIRE_STATE_FENCED, 5);
	now_ns += 2000 * MS;
}

static void test_change(void **state)
{
	const struct vm_journal_entry *entry;

	(void)state;
	begin();
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	await_disk();
	assert_int_equal(orders[GAMMA].verb, WIRE_VERB_STANDBY_START);
	assert_int_equal(orders[GAMMA].term, 8);
	thread = journal_thread_close(thread);
	entry = vm_journal_table_find(vm_journal_get_table(journal), "web1");
	assert_int_equal(entry->term, 8);
	assert_int_equal(entry->state, VM_PREPARING);
	assert_string_equal(entry->owner, "alpha");
	assert_string_equal(entry->with, "gamma");
	fleet = fleet_free(fleet);
	journal = vm_journal_close(journal);
	open_journal(); /* restart the gateway */
	open_fleet(describe("alpha", "beta", "gamma"));
	assert_int_equal(vm_fsm_other(&web1->fsm), GAMMA);
	assert_int_equal(vm_fsm_spare(&web1->fsm), BETA);
}

/* While the record of new seats is being written, beta comes back with a guest and opens a stream.
 * These inputs wait until the record is on the disk. */
static void test_inputs_wait(void **state)
{
	struct vm_input in = {.kind = VM_IN_STREAM_UP, .host = BETA, .term = 5, .epoch = 77,
			      .role = WIRE_VM_ROLE_STANDBY};
	(void)state;
	begin();
	memset(orders, 0, sizeof(orders));
	set_disk(true, 0);
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	assert_true(web1->pending.waiting);
	connect_host(BETA);
	report(BETA, WIRE_STATE_RUNNING, 4);
	assert_int_equal(fleet_stream_up(fleet, web1, &streams[0], &in, now_ns), 0);
	for (int h = 0; h < VM_HOSTS; h++)
		assert_int_equal(orders[h].verb, 0);
	set_disk(false, 0);
	await_disk();
	assert_int_equal(orders[GAMMA].verb, WIRE_VERB_STANDBY_START);
	assert_int_equal(orders[BETA].verb, WIRE_VERB_FENCE);
	assert_int_equal(orders[BETA].term, 8);
	assert_true(streams[0].is_blocked); /* closed: its term has ended */
	assert_false(web1->fsm.stream[VM_STREAM_STANDBY].up);
	assert_int_equal(web1->fsm.protection.complete, 0);
	answer(BETA); /* this answer does not end the order to gamma */
	assert_true(web1->fsm.host[GAMMA].order.id && !web1->fsm.host[GAMMA].order.done);
}

/* When the record of new seats cannot be written, the seats stay as before. Inputs that came
 * meanwhile are handled with these seats. */
static void test_disk_fails(void **state)
{
	(void)state;
	begin();
	memset(orders, 0, sizeof(orders));
	set_disk(true, 0);
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	assert_true(web1->pending.waiting);
	assert_int_equal(vm_fsm_other(&web1->fsm), GAMMA);
	connect_host(BETA);
	report(BETA, WIRE_STATE_FENCED, 5);
	set_disk(false, EIO);
	await_disk();
	assert_int_equal(vm_fsm_other(&web1->fsm), BETA);
	assert_int_equal(web1->fsm.record.term, 5);
	set_disk(false, 0);
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	await_disk();
	assert_int_equal(orders[BETA].verb, WIRE_VERB_STANDBY_START);
	assert_int_equal(orders[GAMMA].verb, 0);
}

/* ---- drains */

static char reply_code[32];

static void note_reply(void *arg, uint64_t op_id, bool ok, const char *code, const char *text)
{
	(void)arg;
	(void)op_id;
	(void)ok;
	(void)text;
	(void)snprintf(reply_code, sizeof(reply_code), "%s", code);
}

static void drain(uint8_t h)
{
	struct drain_input in = {.kind = DRAIN_IN_ASKED, .op_id = 1, .limit_ns = 600000 * MS};

	reply_code[0] = '\0';
	fleet_drains_step(fleet, web1->host[h], &in, now_ns);
}

/* Here gamma has taken beta's seat: gamma is the standby, and beta the spare. The standby can be
 * drained only if the spare is connected and can take the copy. The spare can be drained, because
 * it has nothing of the guest. */
static void test_drains(void **state)
{
	(void)state;
	begin();
	fleet->sinks.reply = note_reply;
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	await_disk();
	drain(GAMMA); /* refused: gamma gets the copy, and beta is away */
	assert_string_equal(reply_code, "unprotected");
	connect_host(BETA);
	report(BETA, WIRE_STATE_FENCED, 5);
	drain(BETA);
	assert_string_equal(reply_code, "");
	assert_true(web1->fsm.is_barred[BETA]);
	drain(GAMMA);
	assert_string_equal(reply_code, "unprotected");
	drain(ALPHA); /* refused: its guest must be protected first, to go to gamma */
	assert_string_equal(reply_code, "unprotected");
}

static void test_drains_with_third(void **state)
{
	(void)state;
	begin();
	fleet->sinks.reply = note_reply;
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	await_disk();
	connect_host(BETA);
	report(BETA, WIRE_STATE_FENCED, 5);
	drain(GAMMA); /* allowed: beta can keep the copy instead */
	assert_string_equal(reply_code, "");
	assert_true(web1->fsm.is_barred[GAMMA]);
	/* refused: beta has nothing now, but gets the copy that leaves gamma */
	drain(BETA);
	assert_string_equal(reply_code, "unprotected");
	assert_false(web1->fsm.is_barred[BETA]);
}

/* ---- a reload names a different spare */

static void test_set_spare(void **state)
{
	struct vm_input policy = {.kind = VM_IN_POLICY};

	(void)state;
	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 5, VM_UNPROTECTED, true, ""),
			 0);
	open_fleet(describe("alpha", "beta", ""));
	assert_false(vm_fsm_has_spare(&web1->fsm));
	connect_host(ALPHA);
	assert_int_equal(fleet_set_spare(fleet, web1, "gamma", now_ns), 0);
	assert_true(vm_fsm_has_spare(&web1->fsm));
	connect_host(GAMMA);
	report(GAMMA, WIRE_STATE_FENCED, 5);
	assert_true(web1->fsm.host[GAMMA].up && web1->fsm.host[GAMMA].reported);
	assert_int_equal(fleet_set_spare(fleet, web1, "", now_ns), 0); /* no spare again */
	assert_false(web1->fsm.host[GAMMA].up || web1->fsm.host[GAMMA].reported);
	assert_int_equal(fleet_vm_host(web1, fleet_find_host(fleet, "gamma")), -ENOENT);
	/* The changed policy causes another record, which set_disk() keeps from being written. */
	web1->config.reprotect_auto = false;
	set_disk(true, 0);
	assert_int_equal(fleet_step(fleet, web1, &policy, now_ns), 0);
	assert_true(web1->pending.waiting);
	assert_int_equal(fleet_set_spare(fleet, web1, "gamma", now_ns), -EBUSY);
	set_disk(false, 0);
	await_disk();
	web1->config.reprotect_auto = true;
	web1->fsm.record.is_wanted = true;
	vm_fsm_want_again(&web1->fsm, now_ns);
	/* gamma is already connected when the file names it */
	assert_int_equal(fleet_set_spare(fleet, web1, "gamma", now_ns), 0);
	assert_true(web1->fsm.host[GAMMA].up);
	report(GAMMA, WIRE_STATE_FENCED, 5);
	now_ns += 2000 * MS;
	report(ALPHA, WIRE_STATE_RUNNING, 5);
	/* the record of gamma's seat is still being written */
	assert_int_equal(fleet_set_spare(fleet, web1, "", now_ns), -EBUSY);
	await_disk();
	assert_int_equal(vm_fsm_other(&web1->fsm), GAMMA);
	assert_int_equal(fleet_set_spare(fleet, web1, "", now_ns), -EBUSY); /* gamma has a seat */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_seats),      TEST(test_change),    TEST(test_inputs_wait),
		TEST(test_disk_fails), TEST(test_set_spare), TEST(test_drains),
		TEST(test_drains_with_third),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
