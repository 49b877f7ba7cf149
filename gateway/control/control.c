#include "control/control.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "control/control_private.h"
#include "control/describe.h"
#include "control/newcomers.h"

/* ---- output ---- */

void control_put_line(struct control_conn *c, const char *line)
{
	size_t size = strlen(line);

	if (c->out_at > 0) {
		memmove(c->out, c->out + c->out_at, c->out_end - c->out_at);
		c->out_end -= c->out_at;
		c->out_at = 0;
	}
	if (c->out_size - c->out_end < size + 1) {
		size_t want = c->out_size ? c->out_size : 4096;
		char *larger;

		while (want - c->out_end < size + 1 && want <= CONTROL_OUTPUT_MAX)
			want *= 2;
		larger = want <= CONTROL_OUTPUT_MAX ? realloc(c->out, want) : NULL;
		if (!larger) {
			c->broken = true; /* the peer does not read its
					   * output, or memory is short */
			return;
		}
		c->out = larger;
		c->out_size = want;
	}
	memcpy(c->out + c->out_end, line, size);
	c->out[c->out_end + size] = '\n';
	c->out_end += size + 1;
}

static void close_conn(struct control_conn *c)
{
	struct control_conn **at = &c->control->connections;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->control->n_connections--;
	fd_close(c->source.fd);
	wire_tls_free(c->tls);
	free(c->out);
	free(c);
}

/* Encrypt the queued output and write it to the socket. Returns true if all output is sent, or if
 * the connection is broken. */
static bool flush(struct control_conn *c)
{
	for (;;) {
		const uint8_t *data;
		size_t size;
		ssize_t n;

		if (c->out_at < c->out_end) {
			int r = wire_tls_write(c->tls, (uint8_t *)c->out + c->out_at,
					       c->out_end - c->out_at);

			if (r > 0)
				c->out_at += (size_t)r;
			else if (r != -EAGAIN)
				c->broken = true;
		}
		data = wire_tls_output(c->tls, &size);
		if (size == 0)
			return c->out_at == c->out_end || c->broken;
		n = send(c->source.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0) {
			if (errno != EAGAIN && errno != EINTR)
				c->broken = true;
			return false;
		}
		wire_tls_output_consume(c->tls, (size_t)n);
	}
}

/* Send the output of @c. If @c has ended, close @c. If not, register @c for the epoll events that
 * it needs. Call this whenever something has happened to @c. Can free @c. */
static void settle(struct control_conn *c)
{
	bool sent = flush(c);

	if (c->phase == CONTROL_CLOSING && sent && !c->broken) {
		wire_tls_close(c->tls);
		(void)flush(c); /* send the closing alert; it may be lost */
	}
	if (c->broken || (c->phase == CONTROL_CLOSING && sent)) {
		close_conn(c);
		return;
	}
	if (source_change(c->control->epoll_fd, &c->source,
			  (c->waiting ? 0u : EPOLLIN) | (sent ? 0u : EPOLLOUT)) < 0)
		close_conn(c);
}

/* ---- input ---- */

static void count_refusal(struct control_conn *c, enum fleet_refusal reason)
{
	counters_add(&c->control->fleet->counters.refused[reason], 1);
}

static void on_input(struct control_conn *c, uint64_t now_ns)
{
	char *newline;
	int r;

	while (c->phase == CONTROL_REQUEST) {
		r = wire_tls_read(c->tls, (uint8_t *)c->in + c->in_size,
				  CONTROL_REQUEST_MAX - c->in_size);
		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			if (wire_tls_failure(c->tls) != WIRE_TLS_OK) {
				log_limited(LOG_LEVEL_WARN, "operator refused: TLS: %s",
					    wire_tls_error(c->tls));
				count_refusal(c, fleet_tls_refusal(wire_tls_failure(c->tls)));
			}
			c->phase = CONTROL_CLOSING;
			return;
		}
		c->in_size += (size_t)r;
		newline = memchr(c->in, '\n', c->in_size);
		if (newline) {
			*newline = '\0';
			control_request(c, c->in, wire_tls_peer(c->tls)->role, now_ns);
		} else if (c->in_size == CONTROL_REQUEST_MAX) {
			control_put_error(c, "bad-request", "a request is one line of at most %d "
					  "bytes", CONTROL_REQUEST_MAX);
		}
	}
	/* A connection has only one request. So discard further input, and only watch for the peer
	 * to close the connection. */
	do {
		uint8_t scrap[256];

		r = wire_tls_read(c->tls, scrap, sizeof(scrap));
	} while (r > 0);
	if (r != -EAGAIN)
		c->broken = true;
}

static void read_input(struct control_conn *c, uint64_t now_ns)
{
	size_t room;
	uint8_t *at = wire_tls_input_reserve(c->tls, &room);
	ssize_t n = room ? recv(c->source.fd, at, room, MSG_DONTWAIT) : -1;

	if (n > 0) {
		wire_tls_input_commit(c->tls, (size_t)n);
		on_input(c, now_ns);
	} else if (n == 0 || (room && errno != EAGAIN && errno != EINTR)) {
		c->broken = true;
	}
}

static void read_newcomer(struct control_conn *c, uint64_t now_ns)
{
	uint64_t (*clock_ns)(void) = c->control->clock_ns;
	uint64_t began_ns = clock_ns();

	read_input(c, now_ns);
	newcomers_charge(c, clock_ns() - began_ns);
}

static void conn_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	struct control_conn *c = (struct control_conn *)source;

	if (events & (EPOLLHUP | EPOLLERR) && !wire_tls_is_established(c->tls))
		/* The peer has hung up: end the connection now. While a handshake waits, nothing is
		 * read, so epoll would report this event again and again. */
		c->broken = true;
	else if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		;
	else if (wire_tls_is_established(c->tls))
		read_input(c, now_ns);
	else if (newcomers_may_run(c, now_ns))
		read_newcomer(c, now_ns);
	settle(c);
}

static bool is_lasting(const struct control_conn *c)
{
	return c->phase == CONTROL_WAITING || c->phase == CONTROL_FOLLOWING;
}

bool control_has_room(struct control_conn *c, unsigned int role, const char *name, bool follow)
{
	unsigned int n = 0, n_viewers = 0, n_same = 0;

	for (struct control_conn *o = c->control->connections; o; o = o->next) {
		const struct wire_peer *who =
			o != c && o->tls && is_lasting(o) ? wire_tls_peer(o->tls) : NULL;

		if (!who)
			continue;
		n++;
		n_viewers += who->role == WIRE_PEER_VIEWER;
		n_same += o->phase == CONTROL_FOLLOWING && who->role == role &&
			  strcmp(who->name, name) == 0;
	}
	if (n >= CONTROL_CONNECTIONS_MAX)
		control_put_error(c, "busy", "%d connections, no more; end one",
				  CONTROL_CONNECTIONS_MAX);
	else if (role == WIRE_PEER_VIEWER && n_viewers >= CONTROL_VIEWERS_MAX)
		control_put_error(c, "busy", "%d connections of viewers, no more; end one",
				  CONTROL_VIEWERS_MAX);
	else if (follow && n_same >= CONTROL_FOLLOWERS_MAX)
		control_put_error(c, "busy", "%s follows the events %d times already; end one",
				  name, CONTROL_FOLLOWERS_MAX);
	else
		return true;
	return false;
}

static void listener_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	struct control *control = (struct control *)source;
	struct sockaddr_in sa = {0};
	socklen_t sa_size = sizeof(sa);
	int fd =
		accept4(source->fd, (struct sockaddr *)&sa, &sa_size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct control_conn *c = NULL;

	(void)events;
	if (fd < 0)
		return;
	c = newcomers_victim(control, sa.sin_addr.s_addr);
	if (c)
		close_conn(c);
	c = calloc(1, sizeof(*c));
	if (!c ||
	    wire_tls_new(control->tls, WIRE_PEER_OPERATOR | WIRE_PEER_VIEWER, 0, &c->tls) < 0) {
		log_limited(LOG_LEVEL_WARN, "operator refused: %u connections",
			    control->n_connections);
		free(c);
		fd_close(fd);
		return;
	}
	c->source.fd = fd;
	c->source.ready = conn_ready;
	c->control = control;
	c->address_be32 = sa.sin_addr.s_addr;
	c->opened_ns = now_ns;
	c->next = control->connections;
	control->connections = c;
	control->n_connections++;
	if (source_add(control->epoll_fd, &c->source, EPOLLIN) < 0)
		close_conn(c);
}

/* ---- callbacks of the fleet (struct fleet_sinks) ---- */

static bool on_event(void *arg, uint64_t now_ns, const char *vm, const char *kind,
		     const char *from, const char *to, const char *text)
{
	struct control *control = arg;

	return events_add(control->events, now_ns, vm, kind, from, to, text);
}

static void on_progress(void *arg, uint64_t op_id, const char *text)
{
	struct control *control = arg;

	for (struct control_conn *c = control->connections; c; c = c->next) {
		if (c->phase == CONTROL_WAITING && c->op_id == op_id && !c->broken)
			control_put_json(c, json_pack("{s:o}", "progress", describe_text(text)));
	}
}

/* Queue the reply to the request @op_id, without sending it: this function can be called within
 * control_request(), which still uses the connection. control_tick() sends the reply. */
static void on_reply(void *arg, uint64_t op_id, bool ok, const char *code, const char *text)
{
	struct control *control = arg;

	for (struct control_conn *c = control->connections; c; c = c->next) {
		if (c->phase != CONTROL_WAITING || c->op_id != op_id)
			continue;
		if (ok)
			control_put_json(c, json_pack("{s:b, s:s, s:o}", "ok", 1, "code", code,
						      "text", describe_text(text)));
		else
			control_put_error(c, code, "%s", text);
		c->phase = CONTROL_CLOSING;
		return;
	}
}

void control_tick(struct control *control, uint64_t now_ns)
{
	struct control_conn *next;

	events_tick(control->events, now_ns);
	next = newcomers_next(control, now_ns);
	if (next) {
		read_newcomer(next, now_ns);
		settle(next);
	}
	for (struct control_conn *c = control->connections; c; c = next) {
		next = c->next;
		if (wire_tls_recheck(c->tls) < 0 && !c->broken) {
			log_warn("operator's connection is closed: %s", wire_tls_error(c->tls));
			c->broken = true;
		}
		if (c->phase == CONTROL_FOLLOWING && !c->broken)
			control_put_events(c);
		if (c->phase == CONTROL_REQUEST && now_ns - c->opened_ns >= CONTROL_TIMEOUT_NS)
			c->broken = true;
		if (c->broken || c->phase == CONTROL_CLOSING || c->out_at < c->out_end)
			settle(c);
	}
}

uint64_t control_deadline_ns(const struct control *control)
{
	return newcomers_deadline_ns(control);
}

int control_open(struct fleet *fleet, int epoll_fd, const struct control_config *config,
		 struct control **ret_control)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = config->ip_be32,
				 .sin_port = htons(config->port)};
	struct control *control = calloc(1, sizeof(*control));
	int one = 1, r;

	if (!control)
		return -ENOMEM;
	control->fleet = fleet;
	control->tls = config->tls;
	control->clock_ns = config->clock_ns ? config->clock_ns : clock_mono_ns;
	control->epoll_fd = epoll_fd;
	control->listener.ready = listener_ready;
	control->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = control->listener.fd < 0 ? -errno : 0;
	if (r == 0 && (setsockopt(control->listener.fd, SOL_SOCKET, SO_REUSEADDR, &one,
				  sizeof(one)) < 0 ||
		       bind(control->listener.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		       listen(control->listener.fd, CONTROL_CONNECTIONS_MAX) < 0))
		r = -errno;
	if (r == 0)
		r = source_add(epoll_fd, &control->listener, EPOLLIN);
	if (r == 0)
		r = events_open(config->state_dir, config->events_bytes_max, &control->events);
	if (r < 0) {
		fd_close(control->listener.fd);
		free(control);
		return r;
	}
	fleet->sinks = (struct fleet_sinks){.event = on_event, .reply = on_reply,
					    .progress = on_progress, .arg = control};
	*ret_control = control;
	return 0;
}

struct control *control_close(struct control *control)
{
	if (!control)
		return NULL;
	control->fleet->sinks = (struct fleet_sinks){0};
	while (control->connections) {
		(void)flush(control->connections);
		close_conn(control->connections);
	}
	fd_close(control->listener.fd);
	events_close(control->events);
	free(control);
	return NULL;
}
