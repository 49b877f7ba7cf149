/* link.h - a connection that carries frames between the agent and the gateway, or a VM's other
 * host. It uses TLS 1.3 over a TCP socket of the kernel.
 *
 * Where: each of these has a link of its own: the agent's control loop, each engine, each standby,
 * and each claim (a request for a vote without a gateway). It calls wire/. Threads: one thread owns
 * a link. Only link_wait(), link_await() and link_handshake() block. They take a deadline
 * (CLOCK_MONOTONIC, in ns; UINT64_MAX means no deadline).
 *
 *      link_open ─► link_handshake ─► { link_send, _receive, _flush, _wait }* ─► link_free
 *
 * An event loop watches link_fd() for link_events() (level triggered). On any event it calls
 * link_flush(), and then link_receive() until the result is not 0. Three errors leave the link as
 * it is: -EAGAIN, -EINVAL, and -ETIMEDOUT of link_wait() and link_await(). After any other error
 * the link is dead: every call returns this error, and link_error() says why. Call link_free()
 * then.
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
	const char *device;	      /* network device to use (SO_BINDTODEVICE); NULL for any */
	/* name of the host to which the link must lead; NULL: the link must lead to a gateway,
	 * whatever its name */
	const char *peer_name;
	struct wire_tls_context *tls; /* TLS context for the client side; only link_open() uses
				       * it */
	/* the link ends if sent data is not acknowledged for this long; 0 means 5000 */
	uint32_t user_timeout_ms;
	/* time at which link_handshake() gives up if TCP has not connected by then (redial.h); 0:
	 * only the deadline of link_handshake() counts */
	uint64_t connect_by_ns;
	/* most bytes of ciphertext in the queue; 0 means WIRE_TLS_OUTPUT_DEFAULT */
	size_t send_max_bytes;
};

/* Counters since link_open(). */
struct link_stats {
	uint64_t frames_sent, frames_received;
	uint64_t bytes_sent, bytes_received; /* ciphertext on the socket */
	uint64_t send_full;		     /* how often a send returned -EAGAIN */
};

/* Begin to connect, without waiting. @config and its strings are only read during the call. Returns
 * 0, and *ret_link is the caller's;
 * -EINVAL: the address is not numeric, or the port is 0;
 * -ENOMEM;
 * or -errno of socket(2), setsockopt(2) or connect(2). */
int link_open(const struct link_config *config, struct link **ret_link)
	__attribute__((warn_unused_result));

/* For tests: make a link to a gateway over the connected stream socket @fd, one end of a socket
 * pair. Returns 0, and the link owns @fd; -ENOMEM or another -errno: @fd is still the caller's. */
int link_open_fd(int fd, struct wire_tls_context *tls, size_t send_max_bytes,
		 struct link **ret_link) __attribute__((warn_unused_result));

/* Make a link for the accepting end of a connection, over the accepted socket @fd. The peer must be
 * a host. After a frame has arrived, link_peer() says which host. @where: the peer's address, for
 * error texts. Returns what link_open_fd() returns. */
int link_accept_fd(int fd, struct wire_tls_context *tls, const char *where, struct link **ret_link)
	__attribute__((warn_unused_result));

/* Set what kind of sender the peer is: one bit of WIRE_SENDER_*. Call this after the peer's HELLO
 * has arrived, because the HELLO shows the kind. From then on, a frame that this kind of sender
 * must not send ends the link. */
void link_set_sender(struct link *link, unsigned sender);

/* Close the connection and free @link. Accepts NULL; returns NULL. */
struct link *link_free(struct link *link);

/* Wait for the connection, do the TLS handshake, send HELLO with @term and @epoch in its header,
 * and read the answer. Blocks until @deadline_ns at most. Returns 0 and sets *ret_welcome. Errors:
 *      -EPERM      the peer is a host, but not peer_name
 *      -EACCES     the peer refused us: link_error() has its text, link_refused_code() its code
 *      -ETIMEDOUT  the deadline, or connect_by_ns, has passed
 *      -EPIPE      the peer closed the connection
 *      -EPROTO     TLS failed, or the answer breaks the protocol
 *      -EINVAL     @hello breaks the format; nothing was sent, and the link is not dead
 *      another -errno of the socket, such as -ECONNREFUSED */
int link_handshake(struct link *link, const struct wire_hello *hello, uint64_t term, uint64_t epoch,
		   uint64_t deadline_ns, struct wire_welcome *ret_welcome)
	__attribute__((warn_unused_result));

/* Did link_handshake() get as far as a TCP connection to the other end? */
bool link_was_reached(const struct link *link);

/* Return the code of the REFUSED frame (enum wire_refused_code); 0: none has arrived. */
uint16_t link_refused_code(const struct link *link);

/* Send one frame with the fields of @header, except payload_size, which is ignored. The payload
 * consists of @pieces, one after another, which are copied. Encrypts the frame, writes as many
 * bytes as the socket accepts, and queues the rest. Returns 0 if the whole frame is written or
 * queued. Errors:
 *      -EAGAIN  the queue is full, and no part of the frame was accepted; call link_wait(link,
 *               POLLOUT, ...) or watch the events, and then try again
 *      -EINVAL  the frame breaks the format; nothing was sent
 *      the link's error */
int link_send(struct link *link, const struct wire_header *header, const struct iovec *pieces,
	      size_t n_pieces) __attribute__((warn_unused_result));

/* Send a frame that wire_frame_begin() and wire_frame_finish() have built. The frame is encrypted
 * without being copied first. Returns what link_send() returns; also -EINVAL if @size is not the
 * size of a frame. */
int link_send_frame(struct link *link, const uint8_t *frame, size_t size)
	__attribute__((warn_unused_result));

/* Write as many queued bytes as the socket accepts. Returns 0: the queue is empty; -EAGAIN: some
 * bytes are left; or the link's error. */
int link_flush(struct link *link) __attribute__((warn_unused_result));

/* Get the next frame, without waiting. Returns 0 and sets *ret_frame. The frame's payload is valid
 * until the next call on this link. Errors:
 *      -EAGAIN   no frame has arrived completely
 *      -EPIPE    the peer closed the connection
 *      -EACCES   the peer refused us: link_error() has its reason, link_refused_code() its code
 *      -EPROTO   TLS failed, or a frame breaks the protocol
 *      -EBADMSG  a frame's checksum is wrong
 *      another -errno of the socket */
int link_receive(struct link *link, struct wire_frame *ret_frame)
	__attribute__((warn_unused_result));

/* Wait until the link is ready for one of @events. Meanwhile write queued bytes.
 *      POLLIN    bytes have arrived, or the socket failed; link_receive() says what
 *      POLLOUT   the queue has room for a frame of any size
 * Before you wait for POLLIN, call link_receive() until it returns -EAGAIN, because frames that are
 * already decrypted do not cause POLLIN. Returns POLLIN or POLLOUT (both > 0); -ETIMEDOUT:
 * @deadline_ns has passed; or the link's error. */
int link_wait(struct link *link, short events, uint64_t deadline_ns)
	__attribute__((warn_unused_result));

/* Wait for the next frame. Blocks until @deadline_ns at most. Returns what link_receive() returns,
 * but -ETIMEDOUT instead of -EAGAIN; the link can still be used then. */
int link_await(struct link *link, uint64_t deadline_ns, struct wire_frame *ret_frame)
	__attribute__((warn_unused_result));

/* How much of the sent data has arrived, in bytes of ciphertext since link_open(). */
struct link_backlog {
	uint64_t drained_bytes; /* acknowledged by the other end's TCP */
	uint64_t waiting_bytes; /* queued here or in the kernel, or sent and not yet acknowledged */
};
void link_get_backlog(const struct link *link, struct link_backlog *ret_backlog);

/* Is TCP retransmitting data because the other end's kernel does not answer? Returns false if the
 * other end answers, even if it accepts no more data. */
bool link_is_repeating(const struct link *link);

int link_fd(const struct link *link);		   /* for poll or epoll; owned by the link */
uint32_t link_events(const struct link *link);   /* EPOLLIN, plus EPOLLOUT while bytes are queued */
/* why the link is dead, as a human-readable text; "" if it is not dead */
const char *link_error(const struct link *link);
/* who is at the other end; NULL before the TLS handshake is done */
const struct wire_peer *link_peer(const struct link *link);
void link_get_stats(const struct link *link, struct link_stats *ret_stats);

#endif
