#include "link/link_private.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "link/connect.h"

int link_die(struct link *link, int code, const char *format, ...)
{
	va_list args;
	int n;

	if (link->dead)
		return link->dead;
	link->dead = code;
	n = snprintf(link->error, sizeof(link->error), "%s: ", link->where);
	va_start(args, format);
	(void)text_vput(link->error + n, sizeof(link->error) - (size_t)n, format, args);
	va_end(args);
	return code;
}

/* ---- opening ---- */

/* Make a link over @fd. On success the link owns @fd. */
static int new_link(int fd, struct wire_tls_context *tls, unsigned peer_roles,
		    size_t send_max_bytes, struct link **ret_link)
{
	/* The queue needs room for two frames: while one is being sent, the next one is queued. */
	const size_t least = 2 * WIRE_FRAME_MAX;
	struct link *link  = calloc(1, sizeof(*link));
	int r;

	if (!link)
		return -ENOMEM;
	link->fd = -1;
	if (send_max_bytes && send_max_bytes < least)
		send_max_bytes = least;
	r = wire_tls_new(tls, peer_roles, send_max_bytes, &link->tls);
	if (r < 0) {
		link_free(link);
		return r;
	}
	snprintf(link->where, sizeof(link->where), "gateway");
	link->fd = fd;
	/* Begin the handshake: this queues the client's first bytes, so link_events() asks for
	 * EPOLLOUT. Ignore an error: the next call returns it again. */
	(void)!wire_tls_handshake(link->tls);
	*ret_link = link;
	return 0;
}

int link_open(const struct link_config *config, struct link **ret_link)
{
	int fd, r = connect_start(config, &fd);

	if (r < 0)
		return r;
	r = new_link(fd, config->tls, config->peer_name ? WIRE_PEER_HOST : WIRE_PEER_GATEWAY,
		     config->send_max_bytes, ret_link);
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	if (config->peer_name)
		snprintf((*ret_link)->peer_name, sizeof((*ret_link)->peer_name), "%s",
			 config->peer_name);
	(*ret_link)->connect_by_ns = config->connect_by_ns;
	snprintf((*ret_link)->where, sizeof((*ret_link)->where), "%s %s port %u",
		 config->peer_name ? "host" : "gateway", config->address, config->port);
	return 0;
}

int link_open_fd(int fd, struct wire_tls_context *tls, size_t send_max_bytes,
		 struct link **ret_link)
{
	int r = fd_set_nonblock(fd);

	return r < 0 ? r : new_link(fd, tls, WIRE_PEER_GATEWAY, send_max_bytes, ret_link);
}

int link_accept_fd(int fd, struct wire_tls_context *tls, const char *where, struct link **ret_link)
{
	int r = fd_set_nonblock(fd);

	if (r == 0)
		r = connect_set_options(fd, 0);
	if (r == 0)
		r = new_link(fd, tls, WIRE_PEER_HOST, 0, ret_link);
	if (r == 0)
		snprintf((*ret_link)->where, sizeof((*ret_link)->where), "host at %s", where);
	return r;
}

void link_set_sender(struct link *link, unsigned sender)
{
	link->peer_sender = sender;
}

struct link *link_free(struct link *link)
{
	if (link) {
		if (link->tls && link->fd >= 0 && !link->dead) {
			wire_tls_close(link->tls);
			(void)!link_flush(link); /* an error no longer matters */
		}
		wire_tls_free(link->tls);
		fd_close(link->fd);
		free(link);
	}
	return NULL;
}

/* ---- bytes ---- */

int link_pull(struct link *link)
{
	size_t room;
	uint8_t *p = wire_tls_input_reserve(link->tls, &room);
	ssize_t n;

	if (room == 0)
		return -EAGAIN;
	do
		n = recv(link->fd, p, room, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (n == 0)
		return -EPIPE;
	wire_tls_input_commit(link->tls, (size_t)n);
	link->stats.bytes_received += (uint64_t)n;
	return 0;
}

/* Make room for the plaintext of at least one TLS record after the bytes in the buffer. An
 * incomplete frame takes at most half of the buffer. So when it is moved to the front, there is
 * enough room. */
static void make_receive_room(struct link *link)
{
	const size_t used = link->receive_end - link->receive_start;

	if (used == 0) {
		link->receive_start = link->receive_end = 0;
	} else if (RECEIVE_SIZE - link->receive_end < RECEIVE_ROOM_MIN) {
		memmove(link->receive, link->receive + link->receive_start, used);
		link->receive_start = 0;
		link->receive_end   = used;
	}
}

/* Decrypt received bytes into the buffer. Returns the number of decrypted bytes (> 0); -EAGAIN: no
 * whole TLS record has arrived; or the error of the dead link. */
static int decrypt(struct link *link)
{
	int r;

	make_receive_room(link);
	r = wire_tls_read(link->tls, link->receive + link->receive_end,
			  RECEIVE_SIZE - link->receive_end);
	if (r > 0)
		link->receive_end += (size_t)r;
	if (r == -EPIPE)
		return link_die(link, -EPIPE, "closed the connection");
	if (r == -EPROTO)
		return link_die(link, -EPROTO, "%s", wire_tls_error(link->tls));
	return r;
}

static int send_failed(struct link *link, int code);

int link_flush(struct link *link)
{
	const uint8_t *p;
	size_t size;
	ssize_t n;

	if (link->dead)
		return link->dead;
	for (;;) {
		p = wire_tls_output(link->tls, &size);
		if (size == 0)
			return 0;
		n = send(link->fd, p, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return -EAGAIN;
		if (n < 0)
			return send_failed(link, -errno);
		wire_tls_output_consume(link->tls, (size_t)n);
		link->stats.bytes_sent += (uint64_t)n;
	}
}

int link_flush_alert(struct link *link, int code)
{
	size_t size;
	const uint8_t *p = wire_tls_output(link->tls, &size);

	if (size > 0)
		(void)!send(link->fd, p, size, MSG_NOSIGNAL); /* an error no longer matters */
	return code;
}

/* ---- frames ---- */

int link_send_frame(struct link *link, const uint8_t *frame, size_t size)
{
	int r;

	if (link->dead)
		return link->dead;
	if (size < WIRE_HEADER_SIZE || size > WIRE_FRAME_MAX)
		return -EINVAL;
	if (wire_tls_write_room(link->tls) < size) {
		r = link_flush(link);
		if (r < 0 && r != -EAGAIN)
			return r;
		if (wire_tls_write_room(link->tls) < size) {
			link->stats.send_full++;
			return -EAGAIN;
		}
	}
	r = wire_tls_write(link->tls, frame, size);
	if (r != (int)size)
		return link_die(link, -EPROTO, "%s", wire_tls_error(link->tls));
	link->stats.frames_sent++;
	r = link_flush(link);
	return r == -EAGAIN ? 0 : r;
}

int link_send(struct link *link, const struct wire_header *header, const struct iovec *pieces,
	      size_t n_pieces)
{
	struct bytes_writer w;
	size_t size;
	int r = wire_frame_begin(link->scratch, sizeof(link->scratch), &w);

	if (link->dead)
		return link->dead;
	for (size_t i = 0; r == 0 && i < n_pieces; i++) {
		if (pieces[i].iov_len > 0)
			bytes_write(&w, pieces[i].iov_base, pieces[i].iov_len);
	}
	if (r < 0 || wire_frame_finish(link->scratch, &w, header, &size) < 0)
		return -EINVAL;
	return link_send_frame(link, link->scratch, size);
}

/* Handle a REFUSED frame, which can be the answer to HELLO or come later: end the link, and record
 * the frame's text as the reason. */
static int take_refusal(struct link *link, const struct wire_frame *frame)
{
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_failure failure;
	struct wire_error error;

	if (wire_failure_decode(frame, &failure, &error) < 0)
		return link_die(link, -EPROTO, "%s", wire_error_text(&error, text, sizeof(text)));
	link->refused_code = failure.code;
	return link_die(link, -EACCES, "refused: %s", failure.text);
}

/* Take the next complete frame out of the decrypted bytes. Returns 0; -EAGAIN: no frame is
 * complete; or the error of the dead link. */
static int take_frame(struct link *link, struct wire_frame *ret_frame)
{
	const uint8_t *at  = link->receive + link->receive_start;
	const uint8_t *end = link->receive + link->receive_end;
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_error error;
	struct wire_frame frame;
	int r = wire_frame_decode(&at, end, &frame, &error);

	if (r == -EAGAIN)
		return r;
	if (r < 0)
		return link_die(link, r, "%s", wire_error_text(&error, text, sizeof(text)));
	if (link->peer_sender && !wire_type_allowed(frame.h.type, link->peer_sender))
		return link_die(link, -EPROTO, "sent %s, which has no place on this connection",
			   wire_type_name(frame.h.type));
	link->receive_start = (size_t)(at - link->receive);
	link->stats.frames_received++;
	if (frame.h.type == WIRE_REFUSED)
		return take_refusal(link, &frame);
	*ret_frame = frame;
	return 0;
}

/* End the link because sending failed with @code. The peer may have said why before it went away.
 * So first take what has arrived, at most RECEIVE_SIZE bytes. A REFUSED frame, the end of TLS or an
 * alert is then recorded instead of @code. Other frames are lost with the link. */
static int send_failed(struct link *link, int code)
{
	const uint64_t end = link->stats.bytes_received + RECEIVE_SIZE;
	struct wire_frame frame;
	int r;

	do {
		while ((r = take_frame(link, &frame)) == 0)
			;
		if (r == -EAGAIN)
			r = decrypt(link);
		if (r == -EAGAIN)
			r = link_pull(link);
	} while (r >= 0 && link->stats.bytes_received < end);
	return link_die(link, code, "%s", strerror(-code));
}

int link_receive(struct link *link, struct wire_frame *ret_frame)
{
	int r;

	if (link->dead)
		return link->dead;
	for (;;) {
		r = take_frame(link, ret_frame);
		if (r != -EAGAIN)
			return r;
		r = decrypt(link);
		if (r == -EPROTO)
			return link_flush_alert(link, r);
		if (r > 0)
			continue;
		if (r != -EAGAIN)
			return r;
		r = link_pull(link);
		if (r == 0)
			continue;
		if (r == -EPIPE)
			return link_die(link, r, "closed the connection without notice");
		if (r != -EAGAIN)
			return link_die(link, r, "%s", strerror(-r));
		/* The TLS handshake may have left bytes to send. */
		r = link_flush(link);
		return r == 0 ? -EAGAIN : r;
	}
}

/* ---- waiting ---- */

int link_wait(struct link *link, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = link->fd};
	int r;

	for (;;) {
		r = link_flush(link);
		if (r < 0 && r != -EAGAIN)
			return r;
		if ((events & POLLOUT) && wire_tls_write_room(link->tls) >= WIRE_FRAME_MAX)
			return POLLOUT;
		p.events = (short)((events & POLLIN) | (r == -EAGAIN ? POLLOUT : 0));
		/* While the TLS handshake is not done, the peer must answer before a frame can be
		 * queued. So wait for input, too. */
		if (!wire_tls_is_established(link->tls))
			p.events |= POLLIN;
		r = poll(&p, 1, clock_poll_ms(clock_mono_ns(), deadline_ns));
		if (r < 0 && errno != EINTR)
			return link_die(link, -errno, "poll: %s", strerror(errno));
		if (r == 0 && clock_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
		if (r > 0 && (p.revents & (POLLIN | POLLERR | POLLHUP)))
			return POLLIN;
	}
}

int link_await(struct link *link, uint64_t deadline_ns, struct wire_frame *ret_frame)
{
	int r;

	while ((r = link_receive(link, ret_frame)) == -EAGAIN) {
		r = link_wait(link, POLLIN, deadline_ns);
		if (r < 0)
			return r;
	}
	return r;
}

bool link_was_reached(const struct link *link)
{
	return link->was_reached;
}

uint16_t link_refused_code(const struct link *link)
{
	return link->refused_code;
}

int link_fd(const struct link *link)
{
	return link->fd;
}

uint32_t link_events(const struct link *link)
{
	return EPOLLIN | (wire_tls_output_pending(link->tls) ? EPOLLOUT : 0u);
}

const char *link_error(const struct link *link)
{
	return link->error;
}

const struct wire_peer *link_peer(const struct link *link)
{
	return wire_tls_peer(link->tls);
}

bool link_is_repeating(const struct link *link)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	return getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
	       info.tcpi_retransmits > 0 && info.tcpi_probes == 0;
}

void link_get_backlog(const struct link *link, struct link_backlog *ret_backlog)
{
	uint64_t sent = link->stats.bytes_sent;
	int in_kernel = 0;

	/* If the kernel does not say how many bytes still wait in the socket, count all bytes that
	 * were sent as drained. */
	if (ioctl(link->fd, SIOCOUTQ, &in_kernel) < 0 || in_kernel < 0 ||
	    (uint64_t)in_kernel > sent)
		in_kernel = 0;
	*ret_backlog = (struct link_backlog){
		.drained_bytes = sent - (uint64_t)in_kernel,
		.waiting_bytes = (uint64_t)in_kernel + wire_tls_output_pending(link->tls),
	};
}

void link_get_stats(const struct link *link, struct link_stats *ret_stats)
{
	*ret_stats = link->stats;
}
