#include "session/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int pump_open(struct pump_conn *c, const struct pump_ops *ops, struct sessions *sessions,
	      const char *peer, uint64_t now_ns)
{
	c->ops = ops;
	c->pending = NULL;
	c->pending_at = c->pending_end = c->pending_size = 0;
	c->session = NULL;
	return session_new(sessions, peer, c, now_ns, &c->session);
}

static void release(struct pump_conn *c, uint64_t now_ns)
{
	c->session = session_free(c->session, now_ns);
	free(c->pending);
	c->pending = NULL;
}

void pump_lost(struct pump_conn *c, uint64_t now_ns)
{
	/* Handle what arrived before the end. If the session accepts no more bytes, the rest is
	 * lost with the connection. */
	(void)!session_input(c->session, NULL, 0, now_ns);
	release(c, now_ns);
}

/* Store the bytes that the session has not accepted yet. */
static int keep(struct pump_conn *c, const uint8_t *data, size_t size)
{
	if (c->pending_at > 0) {
		memmove(c->pending, c->pending + c->pending_at, c->pending_end - c->pending_at);
		c->pending_end -= c->pending_at;
		c->pending_at = 0;
	}
	if (c->pending_size - c->pending_end < size) {
		size_t want = c->pending_size ? c->pending_size : 65536;
		uint8_t *larger;

		while (want - c->pending_end < size && want < PUMP_PENDING_MAX)
			want *= 2;
		if (want - c->pending_end < size)
			return -ENOBUFS;
		larger = realloc(c->pending, want);
		if (!larger)
			return -ENOBUFS;
		c->pending = larger;
		c->pending_size = want;
	}
	memcpy(c->pending + c->pending_end, data, size);
	c->pending_end += size;
	return 0;
}

/* Offer the stored bytes to the session. This also lets a blocked session continue, so call it even
 * if no bytes are stored. */
static void offer(struct pump_conn *c, uint64_t now_ns)
{
	size_t n = session_input(c->session, c->pending ? c->pending + c->pending_at : NULL,
				 c->pending_end - c->pending_at, now_ns);

	c->pending_at += n;
	if (c->pending_at == c->pending_end)
		c->pending_at = c->pending_end = 0;
	if (n > 0)
		c->ops->consumed(c, n);
}

int pump_receive(struct pump_conn *c, const void *data, size_t size, uint64_t now_ns)
{
	size_t taken;

	session_mark_dirty(c->session);
	if (c->pending_end > c->pending_at)
		return keep(c, data, size);
	/* Usually the session only stores the bytes here. pump_run() then handles the bytes of a
	 * whole batch. */
	taken = session_buffer(c->session, data, size);
	if (taken < size)
		taken += session_input(c->session, (const uint8_t *)data + taken, size - taken,
				       now_ns);
	if (taken > 0)
		c->ops->consumed(c, taken);
	if (taken == size)
		return 0;
	return keep(c, (const uint8_t *)data + taken, size - taken);
}

void pump_kick(struct pump_conn *c)
{
	session_mark_dirty(c->session);
}

bool pump_has_output(struct pump_conn *c)
{
	size_t size;

	(void)session_output(c->session, &size);
	return size > 0;
}

static void flush(struct pump_conn *c)
{
	for (;;) {
		size_t size, n;
		const uint8_t *data = session_output(c->session, &size);

		if (size == 0)
			return;
		n = c->ops->write(c, data, size);
		session_output_consume(c->session, n);
		if (n < size)
			return;
	}
}

void pump_run(struct sessions *sessions, uint64_t now_ns)
{
	struct session *s;

	while ((s = session_take_dirty(sessions)) != NULL) {
		struct pump_conn *c = s->conn;

		offer(c, now_ns);
		flush(c);
		if (session_is_done(s) && (s->ended || !pump_has_output(c))) {
			release(c, now_ns);
			c->ops->close(c);
		}
	}
}
