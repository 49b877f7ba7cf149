/* link_handshake.c - the beginning of a link: TCP connects, TLS proves both ends, HELLO is answered
 * with WELCOME. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "link/link_private.h"

static unsigned sender_of(const struct wire_hello *hello)
{
	if (hello->kind == WIRE_KIND_CONTROL)
		return WIRE_SENDER_GATEWAY_CONTROL;
	if (hello->kind == WIRE_KIND_PEER)
		return WIRE_SENDER_PEER_STANDBY;
	return hello->role == WIRE_VM_ROLE_PRIMARY ? WIRE_SENDER_GATEWAY_PRIMARY
						   : WIRE_SENDER_GATEWAY_STANDBY;
}

/* Wait until TCP has connected. Returns 0; -ETIMEDOUT; or the error of the dead link. */
static int await_connection(struct link *link, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = link->fd, .events = POLLOUT};
	int r, error = 0;
	socklen_t size = sizeof(error);

	if (link->connect_by_ns && link->connect_by_ns < deadline_ns)
		deadline_ns = link->connect_by_ns;
	while ((r = poll(&p, 1, clock_poll_ms(clock_mono_ns(), deadline_ns))) <= 0) {
		if (r < 0 && errno != EINTR)
			return link_die(link, -errno, "poll: %s", strerror(errno));
		if (clock_mono_ns() >= deadline_ns)
			return -ETIMEDOUT;
	}
	/* If getsockopt() fails, go on: a broken connection makes the handshake fail. */
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error)
		return link_die(link, -error, "%s", strerror(error));
	link->was_reached = true;
	return 0;
}

/* Wait until the TLS handshake is done. Returns 0; -ETIMEDOUT; or the error of the dead link. */
static int handshake_tls(struct link *link, uint64_t deadline_ns)
{
	int r;

	for (;;) {
		r = wire_tls_handshake(link->tls);
		if (r == -EPROTO)
			return link_flush_alert(
				link, link_die(link, r, "%s", wire_tls_error(link->tls)));
		if (r == 0)
			return 0;
		r = link_pull(link);
		if (r == 0)
			continue;
		if (r == -EPIPE)
			return link_die(link, r, "closed the connection during the TLS handshake");
		if (r != -EAGAIN)
			return link_die(link, r, "%s", strerror(-r));
		r = link_wait(link, POLLIN, deadline_ns);
		if (r < 0)
			return r;
	}
}

/* Handle the peer's first frame, which must be WELCOME (REFUSED was handled before). */
static int take_answer(struct link *link, const struct wire_frame *frame,
		       const struct wire_hello *hello, struct wire_welcome *ret_welcome)
{
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_welcome welcome;
	struct wire_error error;

	if (wire_welcome_decode(frame, &welcome, &error) < 0)
		return link_die(link, -EPROTO, "%s", wire_error_text(&error, text, sizeof(text)));
	if (welcome.version < hello->version_min || welcome.version > hello->version_max)
		return link_die(link, -EPROTO, "chose wire version %u, which was not offered",
			   welcome.version);
	if (hello->features_required & ~welcome.features)
		return link_die(link, -EPROTO, "left out a required feature");
	if (welcome.features & ~(hello->features_required | hello->features_optional))
		return link_die(link, -EPROTO, "chose a feature that was not offered");
	*ret_welcome = welcome;
	return 0;
}

int link_handshake(struct link *link, const struct wire_hello *hello, uint64_t term, uint64_t epoch,
		   uint64_t deadline_ns, struct wire_welcome *ret_welcome)
{
	const struct wire_header header = {.type = WIRE_HELLO, .term = term, .epoch = epoch};
	struct wire_frame frame;
	struct bytes_writer w;
	uint8_t payload[256];
	struct iovec piece = {.iov_base = payload};
	int r;

	if (link->dead)
		return link->dead;
	w = (struct bytes_writer){.at = payload, .end = payload + sizeof(payload)};
	if (wire_hello_encode(hello, &w) < 0)
		return -EINVAL;
	piece.iov_len = (size_t)(w.at - payload);
	r	      = await_connection(link, deadline_ns);
	if (r == 0)
		r = handshake_tls(link, deadline_ns);
	if (r == 0 && *link->peer_name && strcmp(link->peer_name, link_peer(link)->name) != 0)
		return link_die(link, -EPERM, "is %s, not %s", link_peer(link)->name,
				link->peer_name);
	if (r == 0)
		r = link_send(link, &header, &piece, 1);
	if (r == 0)
		r = link_await(link, deadline_ns, &frame);
	if (r == -ETIMEDOUT)
		return link_die(link, r, "no answer in time");
	if (r < 0)
		return r;
	r = take_answer(link, &frame, hello, ret_welcome);
	if (r == 0)
		link->peer_sender = sender_of(hello);
	return r;
}
