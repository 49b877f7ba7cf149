#include "ctl/ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "wire/tls.h"

const struct config_key ctl_config_keys[] = {
	CONFIG_KEY("holdfastctl", "gateway", ADDRESS, struct ctl_config, gateway, NULL, 0, 0,
		   "the gateway's management address and port"),
	CONFIG_KEY("holdfastctl", "ca", PATH, struct ctl_config, ca, NULL, 0, 0,
		   "PEM file of the CA"),
	CONFIG_KEY("holdfastctl", "crl", PATH, struct ctl_config, crl, "", 0, 0,
		   "PEM file of its revocation list"),
	CONFIG_KEY("holdfastctl", "cert", PATH, struct ctl_config, cert, NULL, 0, 0,
		   "PEM file of your certificate, of role operator or viewer"),
	CONFIG_KEY("holdfastctl", "key", PATH, struct ctl_config, key, NULL, 0, 0,
		   "PEM file of its key"),
	CONFIG_KEY("holdfastctl", "look_ms", MS, struct ctl_config, look_ns, "60000", 100, 3600000,
		   "what is waited for longer: ask whether the gateway still answers"),
};
const size_t ctl_n_config_keys = ARRAY_SIZE(ctl_config_keys);

struct ctl {
	int fd;
	struct wire_tls_context *context;
	struct wire_tls *tls;
	char where[64];
	/* the gateway has closed the connection; lines that are in the buffer are still valid */
	bool ended;
	size_t at, end, size;
	char *in;
};

static int wait_fd(struct ctl *ctl, short events, uint64_t deadline_ns, struct error *ret_error)
{
	struct pollfd p = {.fd = ctl->fd, .events = events};
	int n = poll(&p, 1, clock_poll_ms(clock_mono_ns(), deadline_ns));

	if (n > 0 || (n < 0 && errno == EINTR))
		return 0;
	(void)error_set(ret_error, 0, "no answer from %s in time; --timeout SECONDS waits longer",
			ctl->where);
	return n == 0 ? -ETIMEDOUT : -errno;
}

static int cannot_reach(struct ctl *ctl, int r, struct error *ret_error)
{
	return error_set(ret_error, r, "cannot reach %s: %s; is holdfast-gateway running there?",
			 ctl->where, strerror(-r));
}

static int connect_to(struct ctl *ctl, const struct ctl_config *config, uint64_t deadline_ns,
		      struct error *ret_error)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = config->gateway.ip_be32,
				 .sin_port = htons(config->gateway.port)};
	char ip[INET_ADDRSTRLEN];
	int so_error = 0, r;
	socklen_t size = sizeof(so_error);

	(void)inet_ntop(AF_INET, &sa.sin_addr, ip, sizeof(ip));
	(void)snprintf(ctl->where, sizeof(ctl->where), "%s:%u", ip, config->gateway.port);
	ctl->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ctl->fd < 0)
		return cannot_reach(ctl, -errno, ret_error);
	if (connect(ctl->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return cannot_reach(ctl, -errno, ret_error);
	r = wait_fd(ctl, POLLOUT, deadline_ns, ret_error);
	if (r == -ETIMEDOUT)
		return cannot_reach(ctl, r, ret_error);
	if (r < 0)
		return r;
	if (getsockopt(ctl->fd, SOL_SOCKET, SO_ERROR, &so_error, &size) < 0)
		return cannot_reach(ctl, -errno, ret_error);
	return so_error ? cannot_reach(ctl, -so_error, ret_error) : 0;
}

/* Send all pending ciphertext. */
static int send_output(struct ctl *ctl, uint64_t deadline_ns, struct error *ret_error)
{
	for (;;) {
		size_t size;
		const uint8_t *data = wire_tls_output(ctl->tls, &size);
		ssize_t n;
		int r = 0;

		if (size == 0)
			return 0;
		n = send(ctl->fd, data, size, MSG_NOSIGNAL);
		if (n >= 0)
			wire_tls_output_consume(ctl->tls, (size_t)n);
		else if (errno == EAGAIN)
			r = wait_fd(ctl, POLLOUT, deadline_ns, ret_error);
		else if (errno != EINTR)
			return 0; /* the next read reports the reason */
		if (r < 0)
			return r;
	}
}

/* Wait for ciphertext and pass it to TLS. Returns 1 if the caller should read from TLS again, 0 if
 * the connection has ended, or -errno. */
static int take_input(struct ctl *ctl, uint64_t deadline_ns, struct error *ret_error)
{
	size_t room;
	uint8_t *at = wire_tls_input_reserve(ctl->tls, &room);
	int r = wait_fd(ctl, POLLIN, deadline_ns, ret_error);
	ssize_t n;

	if (r < 0)
		return r;
	n = recv(ctl->fd, at, room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n < 0)
		return cannot_reach(ctl, -errno, ret_error);
	wire_tls_input_commit(ctl->tls, (size_t)n);
	return n > 0;
}

static int tls_failed(struct ctl *ctl, struct error *ret_error)
{
	const char *next = wire_tls_failure(ctl->tls) == WIRE_TLS_PEER_REFUSED
		? "; the gateway's log says why (it wants a certificate of role operator or viewer)"
		: "";

	return error_set(ret_error, -EPROTO, "%s: TLS: %.400s%s", ctl->where,
			 wire_tls_error(ctl->tls), next);
}

static int handshake(struct ctl *ctl, uint64_t deadline_ns, struct error *ret_error)
{
	for (;;) {
		int r = wire_tls_handshake(ctl->tls), sent;

		sent = send_output(ctl, deadline_ns, ret_error);
		if (r == 0 || sent < 0)
			return sent;
		if (r != -EAGAIN)
			return tls_failed(ctl, ret_error);
		r = take_input(ctl, deadline_ns, ret_error);
		if (r == 0)
			return cannot_reach(ctl, -ECONNRESET, ret_error);
		if (r < 0)
			return r;
	}
}

static int open_tls(struct ctl *ctl, const struct ctl_config *config, struct error *ret_error)
{
	const struct wire_tls_config files = {
		.ca_path = config->ca,
		.crl_path = config->crl[0] ? config->crl : NULL,
		.cert_path = config->cert,
		.key_path = config->key,
	};
	int r = wire_tls_context_new(&files, WIRE_TLS_CLIENT, &ctl->context, ret_error);

	if (r < 0)
		return r;
	r = wire_tls_new(ctl->context, WIRE_PEER_GATEWAY, 0, &ctl->tls);
	if (r < 0)
		(void)error_set(ret_error, r, "%s", strerror(-r));
	return r;
}

int ctl_open(const struct ctl_config *config, const char *request, uint64_t deadline_ns,
	     struct ctl **ret_ctl, struct error *ret_error)
{
	struct ctl *ctl = calloc(1, sizeof(*ctl));
	int r;

	(void)error_set(ret_error, 0, "%s", strerror(ENOMEM));
	if (!ctl)
		return -ENOMEM;
	ctl->fd = -1;
	r = open_tls(ctl, config, ret_error);
	if (r == 0)
		r = connect_to(ctl, config, deadline_ns, ret_error);
	if (r == 0)
		r = handshake(ctl, deadline_ns, ret_error);
	if (r == 0 &&
	    (wire_tls_write(ctl->tls, (const uint8_t *)request, strlen(request)) < 0 ||
	     wire_tls_write(ctl->tls, (const uint8_t *)"\n", 1) < 0))
		r = tls_failed(ctl, ret_error);
	if (r == 0)
		r = send_output(ctl, deadline_ns, ret_error);
	if (r < 0) {
		ctl_close(ctl);
		return r;
	}
	ret_error->text[0] = '\0';
	*ret_ctl = ctl;
	return 0;
}

/* Make room in the buffer for more plaintext. */
static int make_room(struct ctl *ctl, struct error *ret_error)
{
	char *larger;

	if (ctl->at > 0) {
		memmove(ctl->in, ctl->in + ctl->at, ctl->end - ctl->at);
		ctl->end -= ctl->at;
		ctl->at = 0;
	}
	if (ctl->end < ctl->size)
		return 0;
	if (ctl->size >= CTL_LINE_MAX)
		return error_set(ret_error, -EPROTO, "%s sent a line of over %u bytes", ctl->where,
				 CTL_LINE_MAX);
	larger = realloc(ctl->in, ctl->size ? ctl->size * 2 : 16384);
	if (!larger)
		return -ENOMEM;
	ctl->in = larger;
	ctl->size = ctl->size ? ctl->size * 2 : 16384;
	return 0;
}

int ctl_line(struct ctl *ctl, uint64_t deadline_ns, const char **ret_line, struct error *ret_error)
{
	for (;;) {
		size_t size = ctl->end - ctl->at;
		char *newline = size > 0 ? memchr(ctl->in + ctl->at, '\n', size) : NULL;
		int r;

		if (newline) {
			*newline = '\0';
			*ret_line = ctl->in + ctl->at;
			ctl->at = (size_t)(newline + 1 - ctl->in);
			return 1;
		}
		if (ctl->ended)
			return 0;
		r = make_room(ctl, ret_error);
		if (r < 0)
			return r;
		r = wire_tls_read(ctl->tls, (uint8_t *)ctl->in + ctl->end, ctl->size - ctl->end);
		if (r > 0) {
			ctl->end += (size_t)r;
		} else if (r == -EPIPE) {
			ctl->ended = true;
		} else if (r != -EAGAIN) {
			return tls_failed(ctl, ret_error);
		} else {
			r = take_input(ctl, deadline_ns, ret_error);
			if (r < 0)
				return r;
			if (r == 0)
				return error_set(ret_error, -ECONNRESET,
						 "%s closed the connection without an answer",
						 ctl->where);
		}
	}
}

struct ctl *ctl_close(struct ctl *ctl)
{
	if (!ctl)
		return NULL;
	fd_close(ctl->fd);
	wire_tls_free(ctl->tls);
	wire_tls_context_free(ctl->context);
	free(ctl->in);
	free(ctl);
	return NULL;
}
