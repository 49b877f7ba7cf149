/* fuzz_control.c - handles any line as a request of the management protocol. There must be exactly
 * one answer, a JSON object with `ok`. The exception is a request that starts a command: its answer
 * comes when the command has ended. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "control/control_private.h"
#include "gateway_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fixture f;
static struct control control;
static struct control_conn conn;

static void end(void)
{
	free(conn.out);
	events_close(control.events);
	fixture_close(&f);
	fixture_end();
}

static void start(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	fixture_start();
	fixture_open(&f);
	control.fleet = f.fleet;
	control.tls = f.server;
	if (events_open(f.dir, 65536, &control.events) < 0)
		abort();
	conn.control = &control;
	atexit(end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	char line[CONTROL_REQUEST_MAX + 1];
	json_t *answer;
	char *newline;

	if (!started)
		start();
	started = true;
	if (size < 1 || size - 1 > CONTROL_REQUEST_MAX)
		return 0;
	memcpy(line, data + 1, size - 1);
	line[size - 1] = '\0';
	conn.phase = CONTROL_REQUEST;
	conn.out_at = conn.out_end = 0;
	control_request(&conn, line, (data[0] & 1) ? WIRE_PEER_OPERATOR : WIRE_PEER_VIEWER,
			f.now_ns);
	if (conn.phase == CONTROL_WAITING)
		return 0;
	newline = conn.out_end ? memchr(conn.out, '\n', conn.out_end) : NULL;
	if (!newline || conn.phase == CONTROL_REQUEST)
		abort();
	answer = json_loadb(conn.out, (size_t)(newline - conn.out), 0, NULL);
	if (!json_is_boolean(json_object_get(answer, "ok")))
		abort();
	json_decref(answer);
	return 0;
}
