/* test_control.c - tests requests and answers of the management protocol, and the events that it
 * reports. */
#include "control_lab.h"

#include <stdio.h>

#include "base/clock.h"

/* Send one request, and store the first line of its answer in `answer`. */
static bool ask_as(unsigned int role, const char *line)
{
	char *newline;

	conn.out_at = conn.out_end = 0;
	conn.phase = CONTROL_REQUEST;
	control_request(&conn, line, role, f.now_ns);
	json_decref(answer);
	assert_true(conn.out_end > 0);
	newline = memchr(conn.out, '\n', conn.out_end);
	assert_non_null(newline);
	answer = json_loadb(conn.out, (size_t)(newline - conn.out), 0, NULL);
	assert_non_null(answer);
	return json_is_true(json_object_get(answer, "ok"));
}

/* True if the waiting output has @words. The output has no NUL at its end. */
#define out_has(words) (memmem(conn.out, conn.out_end, words, strlen(words)) != NULL)

static const char *code(void)
{
	return json_string_value(json_object_get(answer, "code"));
}

static void test_reads(void **state)
{
	const json_t *vm;

	(void)state;
	assert_true(ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"status\"}"));
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	assert_int_equal(json_array_size(json_object_get(answer, "vms")), 1);
	assert_int_equal(json_array_size(json_object_get(answer, "hosts")), 2);
	assert_true(
		ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"vm-show\",\"vm\":\"web1\"}"));
	vm = json_object_get(answer, "vm");
	assert_string_equal(json_string_value(json_object_get(vm, "state")), "UNPROTECTED");
	assert_string_equal(json_string_value(json_object_get(vm, "owner")), "alpha");
	assert_true(json_is_null(json_object_get(vm, "committed_age_ms")));
	assert_true(ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"stats\"}"));
	assert_true(json_is_integer(
		json_object_get(json_object_get(answer, "counters"), "refused_stale_term")));
	assert_int_equal(json_object_size(json_object_get(answer, "counters")),
			 fleet_n_counter_rows);
	/* The table of counters' names has a row for every member of the struct. */
	assert_int_equal(fleet_n_counter_rows, sizeof(struct fleet_counters) / sizeof(uint64_t));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *line, *code;
	} bad[] = {
		{"", "bad-request"},
		{"[]", "bad-request"},
		{"{\"version\":1}", "bad-request"},
		{"{\"version\":\"1\",\"verb\":\"status\"}", "bad-request"},
		{"{\"version\":1,\"verb\":\"status\",\"extra\":1}", "bad-request"},
		{"{\"version\":1,\"verb\":\"status\",\"verb\":\"stats\"}", "bad-request"},
		{"{\"version\":2,\"verb\":\"status\"}", "bad-version"},
		{"{\"version\":1,\"verb\":\"conquer\"}", "bad-verb"},
		{"{\"version\":1,\"verb\":\"vm-show\"}", "unknown-vm"},
		{"{\"version\":1,\"verb\":\"protect\",\"vm\":\"web2\"}", "unknown-vm"},
		{"{\"version\":1,\"verb\":\"vm-probe\",\"vm\":\"web1\"}", "not-possible"},
		{"{\"version\":1,\"verb\":\"move\",\"vm\":\"web1\",\"host\":\"gamma\"}",
		 "bad-request"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(ask_as(WIRE_PEER_OPERATOR, bad[i].line));
		assert_string_equal(code(), bad[i].code);
		assert_non_null(json_object_get(answer, "error"));
	}
	assert_false(ask_as(WIRE_PEER_VIEWER,
			    "{\"version\":1,\"verb\":\"protect\",\"vm\":\"web1\"}"));
	assert_string_equal(code(), "not-allowed");
	assert_false(ask_as(WIRE_PEER_VIEWER,
			    "{\"version\":1,\"verb\":\"vm-probe\",\"vm\":\"web1\"}"));
	assert_string_equal(code(), "not-allowed");
	assert_int_equal(fixture_journaled(&f, "web1") == NULL, 1);
}

static void test_commands_are_answered(void **state)
{
	static const char request[] = "{\"version\":1,\"verb\":\"protect\",\"vm\":\"web1\"}";

	(void)state;
	/* The service replies only to connections that it knows. */
	control->connections = &conn;
	assert_false(ask_as(WIRE_PEER_OPERATOR, request));
	assert_string_equal(code(), "not-connected");
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	/* A request that has to wait is answered later, and only once. */
	conn.phase = CONTROL_WAITING;
	conn.op_id = 77;
	conn.out_end = 0;
	f.fleet->sinks.reply(f.fleet->sinks.arg, 76, true, "done", "of another");
	assert_int_equal(conn.out_end, 0);
	f.fleet->sinks.reply(f.fleet->sinks.arg, 77, true, "done", "text");
	assert_true(conn.out_end > 0);
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	control->connections = NULL;
}

static void answer_has_move(void)
{
	const json_t *move = json_object_get(json_object_get(answer, "vm"), "move");

	assert_string_equal(json_string_value(json_object_get(move, "state")), "protecting");
	assert_string_equal(json_string_value(json_object_get(move, "from")), "beta");
	assert_string_equal(json_string_value(json_object_get(move, "to")), "alpha");
	assert_int_equal(json_integer_value(json_object_get(move, "epoch")), 812);
	assert_true(json_real_value(json_object_get(move, "pause_ms")) == 30.0);
	assert_true(json_real_value(json_object_get(move, "let_go_ms")) == 4.0);
	assert_true(json_is_null(json_object_get(move, "protected_after_ms")));
}

/* The request `drain`. test_drain.c tests what a drain does. */
static void test_drain(void **state)
{
	static const struct {
		unsigned int role;
		const char *members, *code;
	} bad[] = {
		{WIRE_PEER_VIEWER, "\"host\":\"beta\"", "not-allowed"},
		{WIRE_PEER_OPERATOR, "\"host\":\"gamma\"", "unknown-host"},
		{WIRE_PEER_OPERATOR, "\"follow\":false", "unknown-host"},
		{WIRE_PEER_OPERATOR, "\"host\":\"beta\",\"timeout_s\":-1", "bad-request"},
		{WIRE_PEER_OPERATOR, "\"host\":\"beta\",\"timeout_s\":86401", "bad-request"},
		{WIRE_PEER_OPERATOR, "\"host\":\"beta\",\"timeout_s\":true", "bad-request"},
		{WIRE_PEER_OPERATOR, "\"host\":\"beta\",\"wait\":1", "bad-request"},
	};
	const json_t *host, *drain;
	char line[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(line, sizeof(line), "{\"version\":1,\"verb\":\"drain\",%s}",
			       bad[i].members);
		assert_false(ask_as(bad[i].role, line));
		assert_string_equal(code(), bad[i].code);
	}
	control->connections = &conn;
	/* web1 is unprotected on alpha: its name is reported first, then the refusal */
	assert_false(ask_as(WIRE_PEER_OPERATOR, "{\"version\":1,\"verb\":\"drain\",\"host\":"
						"\"alpha\",\"unprotected_ok\":true}"));
	assert_non_null(strstr(json_string_value(json_object_get(answer, "progress")),
			       "web1 cannot be moved from alpha: it is not protected"));
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	assert_true(out_has("\"code\":\"not-safe\""));
	/* a client that does not wait for the end of the drain gets a refusal, too */
	assert_false(ask_as(WIRE_PEER_OPERATOR, "{\"version\":1,\"verb\":\"drain\",\"host\":"
						"\"alpha\",\"no_wait\":true}"));
	assert_true(out_has("\"code\":\"not-safe\""));
	assert_false(out_has("accepted"));
	fleet_add_fault(f.fleet, "web2", "its file is wrong");
	assert_false(ask_as(WIRE_PEER_OPERATOR, "{\"version\":1,\"verb\":\"drain\",\"host\":"
						"\"beta\"}"));
	assert_non_null(strstr(json_string_value(json_object_get(answer, "progress")),
			       "not looked after, and not moved if they run there: 1"));
	assert_int_equal(conn.phase, CONTROL_WAITING); /* until the drain is on the disk */
	conn.out_end = 0;
	f.now_ns += 1000 * MS;
	fleet_tick(f.fleet, f.now_ns);
	f.now_ns += 1000 * MS;
	fleet_tick(f.fleet, f.now_ns);
	fleet_tick(f.fleet, f.now_ns);
	assert_int_equal(conn.phase, CONTROL_CLOSING);
	assert_true(out_has("\"code\":\"not-drained\"")); /* web2 may run there */
	control->connections = NULL;
	assert_true(ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"status\"}"));
	host = json_array_get(json_object_get(answer, "hosts"), 1);
	drain = json_object_get(host, "drain");
	assert_string_equal(json_string_value(json_object_get(host, "name")), "beta");
	assert_string_equal(json_string_value(json_object_get(drain, "state")), "drained");
	assert_string_equal(json_string_value(json_object_get(drain, "by")), "operator");
	assert_int_equal(json_integer_value(json_object_get(drain, "guests")), 0);
	host = json_array_get(json_object_get(answer, "hosts"), 0);
	assert_true(json_is_null(json_object_get(host, "drain")));
	assert_true(ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"stats\"}"));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "counters"),
							    "hosts_drained")), 1);
}

/* The request `move`. test_fsm_move.c tests what the state machine refuses. */
static void test_move(void **state)
{
	struct vm_fsm *fsm = &f.fleet->vms[0]->fsm;

	(void)state;
	control->connections = &conn;
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"move\",\"vm\":\"web1\","
			    "\"host\":\"gamma\"}"));
	assert_string_equal(json_string_value(json_object_get(answer, "error")),
			    "'gamma' is no host of web1: it has alpha and beta");
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"move\",\"vm\":\"web1\","
			    "\"host\":\"alpha\"}"));
	assert_string_equal(json_string_value(json_object_get(answer, "error")),
			    "web1 is owned by alpha already; its other host is beta");
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"move\",\"vm\":\"web1\"}"));
	assert_string_equal(code(), "not-protected");
	/* protected, but not SAFE: the gateway has heard neither host */
	fsm->record.state = VM_PROTECTED;
	fsm->record.term = 1;
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"move\",\"vm\":\"web1\"}"));
	assert_string_equal(code(), "not-safe");
	assert_non_null(strstr(json_string_value(json_object_get(answer, "error")),
			       "web1 is not SAFE but OWNER-SILENT, so it is not moved"));
	assert_int_equal(fsm->move.state, VM_MOVE_NONE);
	/* vm-show shows the last move */
	fsm->move = (struct vm_move){.state = VM_MOVE_PROTECTING, .from = VM_HOST_SECOND,
				     .epoch = 812, .began_ns = 1, .stopped_ns = 2 * CLOCK_NS_PER_MS,
				     .yielded_ns = 6 * CLOCK_NS_PER_MS,
				     .runs_ns = 32 * CLOCK_NS_PER_MS};
	assert_true(ask_as(WIRE_PEER_VIEWER,
			   "{\"version\":1,\"verb\":\"vm-show\",\"vm\":\"web1\"}"));
	answer_has_move();
	fsm->move.state = VM_MOVE_NONE;
	fsm->record = (struct vm_record){0};
	control->connections = NULL;
}

/* Let host @h report @state and @stats, which say what the host has after a power failure. */
static void reports_cold(uint8_t h, uint8_t state, const char *stats)
{
	struct wire_report report = {.vm = "web1", .state = state};

	strcpy(report.stats, stats);
	fleet_take_report(f.fleet, f.fleet->vms[0], h, 3, 0, &report, 1);
}

/* The request `start`. test_fsm_cold.c tests which disks count as the newest. */
static void test_start(void **state)
{
	struct vm_fsm *fsm = &f.fleet->vms[0]->fsm;
	const struct vm_fsm before = *fsm;

	(void)state;
	control->connections = &conn;
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"start\",\"vm\":\"web1\",\"torn\":true}"));
	assert_string_equal(code(), "not-cold");
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"start\",\"vm\":\"web1\","
			    "\"host\":\"beta\",\"off\":\"gamma\"}"));
	assert_string_equal(code(), "bad-request");
	assert_false(ask_as(WIRE_PEER_VIEWER,
			    "{\"version\":1,\"verb\":\"start\",\"vm\":\"web1\"}"));
	assert_string_equal(code(), "not-allowed");
	fsm->record = (struct vm_record){.state = VM_PROTECTED, .term = 3};
	fsm->host[0].up = fsm->host[1].up = true;
	reports_cold(0, WIRE_STATE_LOST, "cold=primary\ncold_ran=3\ncold_disk=own\n");
	reports_cold(1, WIRE_STATE_IDLE,
		     "cold=standby\ncold_disk=copy\ncold_term=3\ncold_epoch=812\n");
	assert_false(ask_as(WIRE_PEER_OPERATOR,
			    "{\"version\":1,\"verb\":\"start\",\"vm\":\"web1\","
			    "\"host\":\"beta\"}"));
	assert_string_equal(code(), "would-lose");
	assert_non_null(strstr(json_string_value(json_object_get(answer, "error")),
			       "beta: a whole copy, epoch 812 of term 3"));
	assert_true(ask_as(WIRE_PEER_VIEWER,
			   "{\"version\":1,\"verb\":\"vm-show\",\"vm\":\"web1\"}"));
	assert_string_equal(json_string_value(json_object_get(
		json_object_get(json_object_get(answer, "vm"), "health"), "word")), "COLD");
	*fsm = before;
	control->connections = NULL;
}

/* An agent that does not know the order VERIFY would end the connection when it got this order. */
static void test_an_old_agent_cannot_verify(void **state)
{
	static const char request[] = "{\"version\":1,\"verb\":\"verify\",\"vm\":\"web1\"}";
	struct fleet_host *owner = fleet_find_vm(f.fleet, "web1")->host[0];
	struct fleet_link link = {.features = WIRE_CONTROL_FEATURES & ~WIRE_FEATURE_VERIFY};

	(void)state;
	control->connections = &conn;
	owner->control = &link;
	assert_false(ask_as(WIRE_PEER_VIEWER, request));
	assert_string_equal(code(), "not-allowed");
	assert_false(ask_as(WIRE_PEER_OPERATOR, request));
	assert_string_equal(code(), "not-possible");
	link.features = WIRE_CONTROL_FEATURES;
	assert_false(ask_as(WIRE_PEER_OPERATOR, request));
	assert_string_equal(code(), "not-protected");
	owner->control = NULL;
	control->connections = NULL;
}

static void test_events(void **state)
{
	char line[4096], path[256];
	FILE *file;
	unsigned int n = 0;

	(void)state;
	for (int i = 0; i < 1500; i++) { /* fewer than the spool has room for */
		f.now_ns += 1000 * MS; /* slow enough that no event is suppressed */
		fleet_event(f.fleet, f.now_ns, "web1", "gateway", "text with \"quotes\"");
	}
	assert_true(
		ask_as(WIRE_PEER_VIEWER, "{\"version\":1,\"verb\":\"events\",\"follow\":true}"));
	assert_int_equal(conn.phase, CONTROL_FOLLOWING);
	assert_int_equal(json_integer_value(json_object_get(answer, "events")), EVENTS_RING_MAX);
	for (size_t i = 0; i < conn.out_end; i++)
		n += conn.out[i] == '\n';
	assert_int_equal(n, 1 + EVENTS_RING_MAX);
	events_close(control->events); /* writes what is still pending */
	/* The file's size is bounded, and event numbers continue in the next run. */
	(void)snprintf(path, sizeof(path), "%s/events.jsonl", f.dir);
	file = fopen(path, "re");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	assert_true(ftell(file) <= 65536);
	rewind(file);
	while (fgets(line, sizeof(line), file))
		continue;
	fclose(file);
	assert_non_null(strstr(line, "\"seq\":1500,"));
	assert_int_equal(events_open(f.dir, 65536, &control->events), 0);
	assert_int_equal(events_next_seq(control->events), 1501);
}

static unsigned int n_lines(const char *name, const char *with)
{
	char path[256], line[4096];
	unsigned int n = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", f.dir, name);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		n += strstr(line, with) != NULL;
	fclose(file);
	return n;
}

/* A host makes 2000 events a second. They must not push out the operators' events. */
static void test_a_flood_of_events(void **state)
{
	const struct event *e;
	unsigned int n_web1 = 0;

	(void)state;
	fleet_event(f.fleet, f.now_ns, "db1", "operator", "op asks: failover");
	fleet_event(f.fleet, f.now_ns, "db1", "state", "alarm");
	(void)events_add(control->events, f.now_ns, "db1", "health", "SAFE", "PAUSED", "grave");
	for (int i = 0; i < 20000; i++) {
		f.now_ns += MS / 2;
		fleet_event(f.fleet, f.now_ns, "web1", i % 2 ? "stream" : "state", "again");
		if (i == 10000)
			fleet_event(f.fleet, f.now_ns, "db1", "stream", "of another VM");
	}
	assert_true(f.fleet->counters.events_suppressed > 19000);
	events_tick(control->events, f.now_ns + 1000 * MS);
	e = events_from(control->events, 0);
	assert_string_equal(e->vm, "db1");
	assert_string_equal(e->text, "op asks: failover");
	assert_string_equal(events_from(control->events, e->seq + 1)->text, "alarm");
	for (uint64_t seq = 0; (e = events_from(control->events, seq)) != NULL; seq = e->seq + 1)
		n_web1 += strcmp(e->vm, "web1") == 0;
	/* In 10 s, each of the two kinds may write its burst, then one event per second. The notes
	 * that say how many events were suppressed come on top. */
	assert_in_range(n_web1, EVENTS_BURST_VITAL + EVENTS_BURST_OTHERS,
			EVENTS_BURST_VITAL + EVENTS_BURST_OTHERS + 2 * 12 + 1);
	events_close(control->events);
	assert_int_equal(n_lines("audit.jsonl", "op asks: failover"), 1);
	assert_int_equal(n_lines("audit.jsonl", "\"suppressed\""), 1);
	assert_int_equal(n_lines("audit.jsonl", "\"stream\""), 0);
	assert_int_equal(n_lines("audit.jsonl", "grave"), 1);
	assert_int_equal(n_lines("events.jsonl", "op asks: failover"), 1);
	assert_int_equal(n_lines("events.jsonl", "of another VM"), 1);
	assert_int_equal(events_open(f.dir, 65536, &control->events), 0);
}

static unsigned int n_events(const char *kind)
{
	const struct event *e;
	unsigned int n = 0;

	for (uint64_t seq = 0; (e = events_from(control->events, seq)) != NULL; seq = e->seq + 1)
		n += strcmp(e->kind, kind) == 0;
	return n;
}

/* If a verdict changes often, its last change must not be suppressed. Otherwise readers of the
 * events would go on believing that the primary is SUSPECT. */
static void test_the_last_change_is_told(void **state)
{
	static const char *const names[] = {"PROTECTED", "SUSPECT"};
	const struct event *e, *last = NULL;

	(void)state;
	for (int i = 0; i < EVENTS_BURST_OTHERS + 3; i++)
		(void)events_add(control->events, f.now_ns, "web1", "liveness",
				 names[i % 2], names[(i + 1) % 2], "text");
	(void)events_add(control->events, f.now_ns, "web1", "stream", "", "",
			 "no change of state");
	events_tick(control->events, f.now_ns + 2000 * MS);
	events_tick(control->events, f.now_ns + 4000 * MS); /* reported once, not again */
	for (uint64_t seq = 0; (e = events_from(control->events, seq)) != NULL; seq = e->seq + 1)
		last = strcmp(e->kind, "liveness") == 0 ? e : last;
	assert_non_null(last);
	assert_string_equal(last->to, names[1]);
	assert_string_equal(last->text, "text");
	assert_int_equal(n_events("liveness"), EVENTS_BURST_OTHERS + 1);
}
int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_control, close_control)
	const struct CMUnitTest tests[] = {
		TEST(test_reads),
		TEST(test_refusals),
		TEST(test_commands_are_answered),
		TEST(test_drain),
		TEST(test_move),
		TEST(test_start),
		TEST(test_an_old_agent_cannot_verify),
		TEST(test_events),
		TEST(test_a_flood_of_events),
		TEST(test_the_last_change_is_told),
	};
	int r;

	fixture_start();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_end();
	return r;
}
