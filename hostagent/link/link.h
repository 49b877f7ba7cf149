/* link.h - the agent's connection to the gateway, or to a VM's other host: kernel TCP socket, TLS
 * 1.3, frames.
 *
 * Why: control and stream connections differ in what they carry, not in how; both use a link.
 * Where: the agent's control loop and stream sender own one each; calls wire/.
 * Threads: one thread owns a link. Only link_wait(), link_await() and link_handshake() block; they
 * take a deadline (CLOCK_MONOTONIC ns, UINT64_MAX = never).
 *
 *	link_open ─► link_handshake ─► { link_send, link_receive, link_flush, link_wait }* ─► link_free
 *
 * An event loop watches link_fd() for link_events() (level triggered) and on any event calls
 * link_flush() and then link_receive() until that does not return 0. After an error other than
 * -EAGAIN the link is dead: every call returns the same error again, link_error() says why; call
 * link_free().
 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire/frame.h"
#include "wire/msg.h"
#include "wire/tls.h"

struct link;

struct link_config {
	const char *address;	      /* numeric IPv4 or IPv6 */
	uint16_t port;		      /* > 0 */
	const char *device;	      /* SO_BINDTODEVICE, or NULL */
	const char *peer_name;	      /* the host that must answer; NULL: a gateway, of any name */
	struct wire_tls_context *tls; /* client side; used by link_open() only */
	uint32_t user_timeout_ms;     /* unacknowledged data this old ends the link; 0 = 5000 */
	size_t send_max_bytes;	      /* limit of queued ciphertext; 0 = WIRE_TLS_OUTPUT_DEFAULT */
};

/* Counters since link_open(). */
struct link_stats {
	uint64_t frames_sent, frames_received;
	uint64_t bytes_sent, bytes_received; /* ciphertext on the socket */
	uint64_t send_full;		     /* how often link_send() returned -EAGAIN */
};

/* Begin to connect (does not wait). @config and its strings are not kept.
 * 0: *ret_link is the caller's; -EINVAL: the address is not numeric or the port is 0; -ENOMEM;
 * -errno of socket(2), setsockopt(2), connect(2). */
int link_open(const struct link_config *config, struct link **ret_link)
	__attribute__((warn_unused_result));

/* The same over a connected stream socket @fd (tests, socket pairs). Takes @fd on success only. */
int link_open_fd(int fd, struct wire_tls_context *tls, size_t send_max_bytes,
		 struct link **ret_link) __attribute__((warn_unused_result));

/* Make a link of the accepting end: @fd was accepted. The peer must be a host; link_peer() says
 * which one, once a frame came. link_set_sender() begins to check which frames it may send. @where:
 * its address, for texts.
 * Returns as link_open_fd(). */
int link_accept_fd(int fd, struct wire_tls_context *tls, const char *where, struct link **ret_link)
	__attribute__((warn_unused_result));

/* The peer's HELLO was taken: it is @sender (one WIRE_SENDER_ bit) from now on. */
void link_set_sender(struct link *link, unsigned sender);

/* Closes. NULL is fine. Returns NULL. */
struct link *link_free(struct link *link);

/* Wait for the connection, do TLS, send HELLO with @term and @epoch in its header, take the answer.
 * Blocks until @deadline_ns at most.
 * 0: *ret_welcome is set; -EPERM: the peer is not the host peer_name; -EACCES: the gateway refused,
 * link_error() has its text and link_refused_code() the number; -ETIMEDOUT; -EPIPE: closed by the
 * gateway; -EPROTO: TLS or the format failed; -EINVAL: @hello breaks the format; other -errno of
 * the socket (-ECONNREFUSED...). */
int link_handshake(struct link *link, const struct wire_hello *hello, uint64_t term, uint64_t epoch,
		   uint64_t deadline_ns, struct wire_welcome *ret_welcome)
	__attribute__((warn_unused_result));

/* Code of the REFUSED frame (enum wire_refused_code); 0 when there was none. */
uint16_t link_refused_code(const struct link *link);

/* Send one frame: @header's fields (payload_size is ignored) and the payload's pieces, which are
 * copied; they may be reused at once. Encrypts, writes what the socket takes, queues the rest.
 * 0: taken whole; -EAGAIN: the queue is full, nothing was taken: link_wait(link, POLLOUT, ...), or
 * watch the events, and repeat; -EINVAL: the frame breaks the format; else the link's error. */
int link_send(struct link *link, const struct wire_header *header, const struct iovec *pieces,
	      size_t n_pieces) __attribute__((warn_unused_result));

/* Send a frame that wire_frame_begin()/finish() built: no copy but the encryption. Returns as
 * link_send(). @size at most WIRE_FRAME_MAX, else -EINVAL. */
int link_send_frame(struct link *link, const uint8_t *frame, size_t size)
	__attribute__((warn_unused_result));

/* Write queued bytes as far as the socket takes them. 0: none are left; -EAGAIN: some are left;
 * else the link's error. */
int link_flush(struct link *link) __attribute__((warn_unused_result));

/* Next frame. 0: *ret_frame is set, its payload is valid until the next call on this link;
 * -EAGAIN: none is complete yet; -EPIPE: the gateway closed; -EACCES: it refused us, link_error()
 * has its reason and link_refused_code() the code; -EPROTO: TLS or a frame is broken;
 * -EBADMSG: a checksum is wrong; other -errno of the socket. */
int link_receive(struct link *link, struct wire_frame *ret_frame)
	__attribute__((warn_unused_result));

/* Wait until the link is ready for any of @events (POLLIN: a frame may be received, POLLOUT: the
 * queue takes a frame of any size), flushing meanwhile.
 * > 0: POLLIN or POLLOUT (POLLIN also when the socket broke, so that link_receive() tells why);
 * -ETIMEDOUT; else the link's error. POLLIN considers the socket only, not frames that are
 * decrypted already, so call link_receive() until -EAGAIN first. */
int link_wait(struct link *link, short events, uint64_t deadline_ns)
	__attribute__((warn_unused_result));

/* Wait for the next frame. Returns as link_receive(), but -ETIMEDOUT (the link lives) for -EAGAIN.
 * Blocks until @deadline_ns at most. */
int link_await(struct link *link, uint64_t deadline_ns, struct wire_frame *ret_frame)
	__attribute__((warn_unused_result));

/* How much of the sent data has arrived. Bytes are ciphertext since link_open(). */
struct link_backlog {
	uint64_t drained_bytes; /* acknowledged by the gateway's TCP */
	uint64_t waiting_bytes; /* queued here or in the kernel, or on the network */
};
void link_get_backlog(const struct link *link, struct link_backlog *ret_backlog);

/* True while TCP retransmits and hears nothing; false if the other end merely takes no more
 * data. */
bool link_is_repeating(const struct link *link);

int link_fd(const struct link *link);		   /* for epoll; the link's */
uint32_t link_events(const struct link *link);	 /* EPOLLIN, and EPOLLOUT while bytes are queued */
const char *link_error(const struct link *link); /* why it is dead, for people; "" when it is not */
const struct wire_peer *link_peer(const struct link *link); /* the gateway; NULL before TLS is up */
void link_get_stats(const struct link *link, struct link_stats *ret_stats);

#endif
