/* tls.h - TLS 1.3 with both sides authenticated, as bytes in and bytes out.
 *
 * Why: the agent has a kernel socket, the gateway has lwIP, tests have neither. This is the one
 * place that knows OpenSSL's TLS: its error queue is drained and translated here and nowhere else.
 *
 * Where: hostagent/link, the gateway's sessions and control service, holdfastctl; calls OpenSSL.
 *
 *	socket ─► wire_tls_input ─►[ring]─► OpenSSL ─► wire_tls_read  ─► plaintext
 *	socket ◄─ wire_tls_output ◄[ring]◄─ OpenSSL ◄─ wire_tls_write ◄─ plaintext
 *
 * Policy, fixed: TLS 1.3 only; AES-GCM or ChaCha20-Poly1305; both certificates verified up to the
 * configured CA; exactly one URI SAN holdfast://ROLE/NAME; no tickets, no resumption, no early
 * data.
 *
 * Threads: a context may be shared by all threads once made; a wire_tls belongs to one thread at a
 * time. Nothing blocks. Memory is taken in the two _new functions and by OpenSSL in a handshake;
 * after that reading and writing allocate nothing here.
 */
#ifndef WIRE_TLS_H
#define WIRE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/limits.h"

enum wire_tls_side {
	WIRE_TLS_CLIENT,
	WIRE_TLS_SERVER,
};

/* The ROLE in holdfast://ROLE/NAME; bits, so that a set of roles is a mask. */
enum wire_peer_role {
	WIRE_PEER_HOST	   = 0x1,
	WIRE_PEER_GATEWAY  = 0x2,
	WIRE_PEER_OPERATOR = 0x4,
	WIRE_PEER_VIEWER   = 0x8,
};

/* The identity in a certificate. */
struct wire_peer {
	enum wire_peer_role role;
	char name[WIRE_NAME_MAX + 1];
};

/* "host", "gateway", "operator", "viewer"; "unknown" otherwise. */
const char *wire_peer_role_name(unsigned role);

/* Parse "holdfast://host/web1". 0; -EINVAL: not that form, unknown role, invalid name. */
int wire_peer_parse(const char *uri, size_t size, struct wire_peer *ret_peer)
	__attribute__((warn_unused_result));

/* Why a TLS connection failed; for counters. The text of wire_tls_error() says more. */
enum wire_tls_failure {
	WIRE_TLS_OK = 0,
	WIRE_TLS_EXPIRED,	 /* peer's certificate (or its CA, or the CRL) is no longer valid */
	WIRE_TLS_NOT_YET_VALID,	 /* ... is not valid yet: look at the clocks */
	WIRE_TLS_SELF_SIGNED,	 /* peer's certificate is signed by itself */
	WIRE_TLS_UNKNOWN_CA,	 /* ... by a CA that is not ours */
	WIRE_TLS_REVOKED,	 /* ... is on the revocation list */
	WIRE_TLS_BAD_IDENTITY,	 /* no, several or malformed holdfast:// names */
	WIRE_TLS_WRONG_ROLE,	 /* a role that may not connect here */
	WIRE_TLS_NO_CERTIFICATE, /* peer sent none */
	WIRE_TLS_BAD_CERTIFICATE,/* the certificate was refused for any other reason */
	WIRE_TLS_OLD_VERSION,	 /* peer cannot do TLS 1.3 */
	WIRE_TLS_PEER_REFUSED,	 /* peer sent an alert: it refused us */
	WIRE_TLS_PROTOCOL,	 /* not TLS, or broken TLS */
	WIRE_TLS_FAILURE_COUNT,
};

/* "expired", "wrong_role", ...: usable as the tail of a counter's name. */
const char *wire_tls_failure_name(enum wire_tls_failure failure);

#define WIRE_TLS_ERROR_SIZE 384 /* room for any text of wire_tls_error() */

struct wire_tls_context; /* certificates and policy of one process; shared by its connections */
struct wire_tls;	 /* one connection */

struct wire_tls_config {
	const char *ca_path;   /* PEM, one or more CA certificates */
	const char *crl_path;  /* PEM revocation list(s), or NULL: none is checked */
	const char *cert_path; /* PEM, own certificate first, then any intermediate ones */
	const char *key_path;  /* PEM, own private key; must not be open to others (mode 07) */
};

/* Read and check all files. Blocks on the file system.
 * On error *ret_error names file and reason.
 * 0: *ret_context is the caller's, freed by wire_tls_context_free(); -ENOENT, -EACCES, other -errno
 * of a file that cannot be read; -EINVAL: its content is unusable (no certificate, key does not
 * match, own certificate expired, no valid holdfast:// name); -EPERM: the key file is open to
 * others; -ENOMEM. */
int wire_tls_context_new(const struct wire_tls_config *config, enum wire_tls_side side,
			 struct wire_tls_context **ret_context, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Reload the files if one of them has changed: all of them, or none if they do not work together or
 * name another identity. wire_tls_new() does this too. A daemon calls this once a second, so that
 * it can log the result and judge open connections (wire_tls_recheck()). Blocks on the file system.
 * 1: the files were reloaded since the last call; 0: no change; -errno as wire_tls_context_new():
 * the old files stay in use, and *ret_error says why. Each change is reported once. */
int wire_tls_context_refresh(struct wire_tls_context *context, struct error *ret_error)
	__attribute__((warn_unused_result));

/* May be called while connections are open: each holds a reference. NULL is fine. Returns NULL. */
struct wire_tls_context *wire_tls_context_free(struct wire_tls_context *context);

/* Role and name in our own certificate. Valid as long as the context. */
const struct wire_peer *wire_tls_context_self(const struct wire_tls_context *context);

/* Make a connection. @peer_roles: mask of enum wire_peer_role; others are refused in the handshake.
 * @output_max_bytes: bound of the ciphertext kept for wire_tls_output(), rounded up to a power of
 * two, at least WIRE_TLS_OUTPUT_MIN; 0 = WIRE_TLS_OUTPUT_DEFAULT.
 * 0: *ret_tls is the caller's; -EINVAL: no role in the mask; -ENOMEM. */
#define WIRE_TLS_INPUT_SIZE	65536
#define WIRE_TLS_OUTPUT_MIN	65536
#define WIRE_TLS_OUTPUT_DEFAULT 524288
int wire_tls_new(struct wire_tls_context *context, unsigned peer_roles, size_t output_max_bytes,
		 struct wire_tls **ret_tls) __attribute__((warn_unused_result));

/* Frees and wipes. NULL is fine. Returns NULL. */
struct wire_tls *wire_tls_free(struct wire_tls *tls);

/* Take ciphertext from the peer. Returns how many of the @size bytes were taken: fewer when the
 * input ring is full; call wire_tls_handshake() / wire_tls_read() and offer the rest again. */
size_t wire_tls_input(struct wire_tls *tls, const uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* The same without the copy: returns room in the input ring for recv(). *ret_size may be 0 (full).
 * Then call wire_tls_input_commit() with the number of bytes received. */
uint8_t *wire_tls_input_reserve(struct wire_tls *tls, size_t *ret_size);
void wire_tls_input_commit(struct wire_tls *tls, size_t size);

/* The next ciphertext to send: *ret_size bytes in place (0 when there is none). More may follow, so
 * repeat after wire_tls_output_consume(). Also call it after a failure: it gives the alert. */
const uint8_t *wire_tls_output(struct wire_tls *tls, size_t *ret_size);
void wire_tls_output_consume(struct wire_tls *tls, size_t size);

/* How many bytes wire_tls_output() would give in all. */
size_t wire_tls_output_pending(const struct wire_tls *tls);

/* Drive the handshake as far as the input allows (a client's first call produces its ClientHello).
 * 0: established, peer verified; -EAGAIN: needs input, or its output must be sent; -EPROTO: failed
 * for good, see wire_tls_error(); send the output (an alert) before closing. A TLS 1.3 client is
 * established before the server has judged the client's certificate. A refusal shows later, as
 * -EPROTO with WIRE_TLS_PEER_REFUSED from wire_tls_read(). */
int wire_tls_handshake(struct wire_tls *tls) __attribute__((warn_unused_result));

/* Judge the peer of an established connection again: has its certificate expired, and do the files,
 * if they were reloaded, still accept it? wire_tls_read() does this each time; call it for a
 * connection that reads nothing. An outdated revocation list ends no connection. 0: the connection
 * may stay, or is not established; -EPROTO: it has failed, see wire_tls_error(). */
int wire_tls_recheck(struct wire_tls *tls) __attribute__((warn_unused_result));

bool wire_tls_is_established(const struct wire_tls *tls);

/* Who the peer is; valid once established (NULL before). */
const struct wire_peer *wire_tls_peer(const struct wire_tls *tls);

/* Plaintext from the peer (drives the handshake too).
 * > 0: bytes written to @data; -EAGAIN: needs input; -EPIPE: the peer closed in good order;
 * -EPROTO: failed for good. Call until the result is not positive: only this empties the input
 * ring. */
int wire_tls_read(struct wire_tls *tls, uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* How many bytes wire_tls_write() is sure to take now. 0 before the connection is established. */
size_t wire_tls_write_room(const struct wire_tls *tls);

/* Encrypt into the output ring, in records of 16 KiB.
 * > 0: bytes of @data taken (all, when @size <= wire_tls_write_room()); -EAGAIN: no room, or not
 * established; -EPROTO: failed for good. @size 0 gives 0. */
int wire_tls_write(struct wire_tls *tls, const uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* Queue the closing alert; send the output, then close. */
void wire_tls_close(struct wire_tls *tls);

/* Why the connection failed: a text for people ("peer's certificate is revoked (host/a)"), and a
 * reason for counters. "" and WIRE_TLS_OK while it has not failed. */
const char *wire_tls_error(const struct wire_tls *tls);
enum wire_tls_failure wire_tls_failure(const struct wire_tls *tls);

#endif
