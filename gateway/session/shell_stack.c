#include "session/shell_stack.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "session/pump.h"

/* How long a peer can be silent before TCP ends the connection. These times can be long, because
 * the gateway detects a host's failure by other means (liveness/). */
#define USER_TIMEOUT_MS	   10000
#define KEEPALIVE_IDLE_MS  5000
#define KEEPALIVE_EVERY_MS 2000
#define KEEPALIVE_PROBES   3

struct stack_shell_conn {
	struct pump_conn pump; /* must be first */
	struct stack_conn *conn;
};

static size_t conn_write(struct pump_conn *c, const uint8_t *data, size_t size)
{
	return stack_conn_write(((struct stack_shell_conn *)c)->conn, data, size);
}

static void conn_consumed(struct pump_conn *c, size_t size)
{
	stack_conn_consumed(((struct stack_shell_conn *)c)->conn, size);
}

static void conn_close(struct pump_conn *c)
{
	stack_conn_close(((struct stack_shell_conn *)c)->conn);
	free(c);
}

static const struct pump_ops ops = {
	.write = conn_write,
	.consumed = conn_consumed,
	.close = conn_close,
};

static void *on_accepted(void *app, struct stack_conn *conn, const struct stack_peer *peer)
{
	struct stack_shell_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->conn = conn;
	if (pump_open(&c->pump, &ops, app, peer->text, clock_mono_ns()) < 0) {
		free(c);
		return NULL;
	}
	stack_conn_set_keepalive(conn, KEEPALIVE_IDLE_MS, KEEPALIVE_EVERY_MS, KEEPALIVE_PROBES);
	stack_conn_set_user_timeout(conn, USER_TIMEOUT_MS);
	return c;
}

static void on_received(void *arg, const void *data, size_t size)
{
	struct stack_shell_conn *c = arg;

	if (pump_receive(&c->pump, data, size, clock_mono_ns()) == 0)
		return;
	log_limited(LOG_LEVEL_WARN, "peer=%s sent more than its window",
		    c->pump.session->link.peer);
	pump_lost(&c->pump, clock_mono_ns());
	stack_conn_abort(c->conn);
	free(c);
}

static void on_writable(void *arg)
{
	pump_kick(&((struct stack_shell_conn *)arg)->pump);
}

/* The peer has closed its sending side. Agents never do this alone, so end the whole
 * connection. */
static void on_ended(void *arg)
{
	struct stack_shell_conn *c = arg;

	pump_lost(&c->pump, clock_mono_ns());
	stack_conn_close(c->conn);
	free(c);
}

static void on_closed(void *arg, int reason)
{
	struct stack_shell_conn *c = arg;

	log_debug("peer=%s closed: %d", c->pump.session->link.peer, reason);
	pump_lost(&c->pump, clock_mono_ns());
	free(c);
}

int shell_stack_open(struct sessions *sessions, struct stack *stack, uint16_t port)
{
	static const struct stack_events events = {
		.accepted = on_accepted,
		.received = on_received,
		.writable = on_writable,
		.ended = on_ended,
		.closed = on_closed,
	};

	return stack_listen(stack, port, &events, sessions);
}

void shell_stack_close(struct sessions *sessions)
{
	while (sessions->all) {
		struct stack_shell_conn *c = sessions->all->conn;

		pump_lost(&c->pump, clock_mono_ns());
		stack_conn_abort(c->conn);
		free(c);
	}
}
