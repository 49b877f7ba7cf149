/* tls.h - TLS 1.3 with mutual authentication, on byte buffers instead of sockets.
 *
 * Why: the agent uses a kernel socket, the gateway uses lwIP, and tests use neither. Only this file
 * and the other tls*.c files call OpenSSL's TLS functions and translate OpenSSL's errors.
 *
 * Where: hostagent/link, the gateway's sessions and control service, holdfastctl; calls OpenSSL.
 *
 *	socket ─► wire_tls_input ─►[ring]─► OpenSSL ─► wire_tls_read  ─► plaintext
 *	socket ◄─ wire_tls_output ◄[ring]◄─ OpenSSL ◄─ wire_tls_write ◄─ plaintext
 *
 * The policy is fixed: TLS 1.3 only; AES-GCM or ChaCha20-Poly1305; both certificates verified up to
 * the configured CA; exactly one URI SAN holdfast://ROLE/NAME; no tickets, no resumption, no early
 * data.
 *
 * Threads: threads can share a context; a struct wire_tls belongs to one thread at a time. Only the
 * functions that read files can block: wire_tls_context_new(), wire_tls_context_refresh() and
 * wire_tls_new(). These functions allocate memory, and so does OpenSSL during a handshake. After
 * the handshake, reading and writing allocate nothing here.
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

/* The ROLE in holdfast://ROLE/NAME. Each role is a bit, so that a mask can hold a set of roles. */
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

/* Returns "host", "gateway", "operator" or "viewer"; "unknown" for any other number. */
const char *wire_peer_role_name(unsigned role);

/* Parse a URI such as "holdfast://host/web1". Returns 0, or -EINVAL if @uri is not of this form, or
 * its role is unknown or its name invalid. */
int wire_peer_parse(const char *uri, size_t size, struct wire_peer *ret_peer)
	__attribute__((warn_unused_result));

/* Why a TLS connection failed, for counters. wire_tls_error() returns a text with more detail. */
enum wire_tls_failure {
	WIRE_TLS_OK = 0,
	WIRE_TLS_EXPIRED,        /* peer's certificate (or its CA, or the CRL) is no longer valid */
	WIRE_TLS_NOT_YET_VALID,	 /* peer's certificate is not valid yet: check the clocks */
	WIRE_TLS_SELF_SIGNED,	 /* peer's certificate is self-signed */
	WIRE_TLS_UNKNOWN_CA,	 /* peer's certificate is signed by a CA that is not ours */
	WIRE_TLS_REVOKED,	 /* peer's certificate is on the revocation list */
	/* peer's certificate has no holdfast:// name, several, or a malformed one */
	WIRE_TLS_BAD_IDENTITY,
	WIRE_TLS_WRONG_ROLE,	 /* peer has a role that may not connect here */
	WIRE_TLS_NO_CERTIFICATE, /* peer sent no certificate */
	WIRE_TLS_BAD_CERTIFICATE,/* peer's certificate was refused for any other reason */
	WIRE_TLS_OLD_VERSION,	 /* peer cannot do TLS 1.3 */
	WIRE_TLS_PEER_REFUSED,	 /* peer sent an alert: it refused us */
	WIRE_TLS_PROTOCOL,	 /* not TLS, or broken TLS */
	WIRE_TLS_FAILURE_COUNT,
};

/* Returns "expired", "wrong_role" and so on, which can be used as the last part of a counter's
 * name. */
const char *wire_tls_failure_name(enum wire_tls_failure failure);

#define WIRE_TLS_ERROR_SIZE 384 /* room for any text of wire_tls_error() */

struct wire_tls_context; /* certificates and policy of one process; shared by its connections */
struct wire_tls;	 /* one connection */

struct wire_tls_config {
	const char *ca_path;   /* PEM, one or more CA certificates */
	/* PEM, one or more revocation lists. If NULL, revocation is not checked */
	const char *crl_path;
	const char *cert_path; /* PEM, own certificate first, then any intermediate ones */
	/* PEM, own private key; its mode must give others no access (no bit of 07) */
	const char *key_path;
};

/* Create a context: read and check all files. Blocks on the file system. Returns 0; the caller must
 * free *ret_context with wire_tls_context_free(). On error *ret_error names the file and the
 * reason:
 *      -EINVAL  a file's content is unusable: no certificate, the key does not match, our own
 *               certificate has expired, or there is no valid holdfast:// name
 *      -EPERM   users other than the key file's owner and group have access to the key file
 *      -ENOMEM  memory is short
 *      -ENOENT, -EACCES or another -errno if a file cannot be read */
int wire_tls_context_new(const struct wire_tls_config *config, enum wire_tls_side side,
			 struct wire_tls_context **ret_context, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Reload all files if one of them has changed. If the new files do not match each other, or the new
 * certificate has another name, the old files stay in use. wire_tls_new() also reloads changed
 * files. A daemon calls this function once a second, logs the result, and checks its open
 * connections with wire_tls_recheck(). Blocks on the file system. Reports each change only once.
 * Returns
 *      1   the files were reloaded, by this call or by wire_tls_new() since the last call
 *      0   nothing has changed
 *      -errno of wire_tls_context_new()   the files have changed, but the old files stay in use;
 *                                         *ret_error says why */
int wire_tls_context_refresh(struct wire_tls_context *context, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Release the caller's reference. Connections may still be open: each has a reference of its own.
 * NULL is allowed. Returns NULL. */
struct wire_tls_context *wire_tls_context_free(struct wire_tls_context *context);

/* Returns the role and name in our own certificate. The pointer is valid as long as the
 * context. */
const struct wire_peer *wire_tls_context_self(const struct wire_tls_context *context);

/* Create a connection.
 * @peer_roles: mask of enum wire_peer_role; a peer with another role is refused in the handshake.
 * @output_max_bytes: maximum size of the ciphertext kept for wire_tls_output(), rounded up to a
 * power of two, at least WIRE_TLS_OUTPUT_MIN; 0: WIRE_TLS_OUTPUT_DEFAULT.
 * Returns 0 (the caller owns *ret_tls); -EINVAL if the mask has no role; or -ENOMEM. */
#define WIRE_TLS_INPUT_SIZE	65536
#define WIRE_TLS_OUTPUT_MIN	65536
#define WIRE_TLS_OUTPUT_DEFAULT 524288
int wire_tls_new(struct wire_tls_context *context, unsigned peer_roles, size_t output_max_bytes,
		 struct wire_tls **ret_tls) __attribute__((warn_unused_result));

/* Wipe and free a connection. NULL is allowed. Returns NULL. */
struct wire_tls *wire_tls_free(struct wire_tls *tls);

/* Accept ciphertext received from the peer. Returns how many of the @size bytes were accepted. If
 * these are fewer than @size, the input ring is full: call wire_tls_handshake() or wire_tls_read(),
 * and then offer the rest again. */
size_t wire_tls_input(struct wire_tls *tls, const uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* Accept ciphertext without a copy: returns room in the input ring, into which the caller can
 * recv(). *ret_size is set to the size of the room, which is 0 if the ring is full. After recv(),
 * call wire_tls_input_commit() with the number of bytes received. */
uint8_t *wire_tls_input_reserve(struct wire_tls *tls, size_t *ret_size);
void wire_tls_input_commit(struct wire_tls *tls, size_t size);

/* Returns the next ciphertext to send, in place; *ret_size is set to its size, which is 0 if there
 * is none. After sending, call wire_tls_output_consume() and then this function again: more may
 * follow. Also call this function after the connection has failed: it returns the alert for the
 * peer. */
const uint8_t *wire_tls_output(struct wire_tls *tls, size_t *ret_size);
void wire_tls_output_consume(struct wire_tls *tls, size_t size);

/* Returns the total number of bytes of ciphertext that are waiting to be sent. */
size_t wire_tls_output_pending(const struct wire_tls *tls);

/* Continue the handshake as far as the input allows. A client's first call produces its
 * ClientHello. Returns
 *      0        the connection is established and the peer is verified
 *      -EAGAIN  more input is needed, or the output must be sent
 *      -EPROTO  the handshake has failed, see wire_tls_error(); before you close the connection,
 *               send the output (an alert)
 * In TLS 1.3, the client gets 0 before the server has checked the client's certificate. If the
 * server refuses the certificate, a later wire_tls_read() of the client returns -EPROTO with
 * WIRE_TLS_PEER_REFUSED. */
int wire_tls_handshake(struct wire_tls *tls) __attribute__((warn_unused_result));

/* Must the operator be warned that a file of @context expires? Checks the CA's certificates, the
 * revocation lists and our own certificate. Returns true if one of them expires within
 * WIRE_TLS_WARN_S of @now_s (time(2)), or has expired already. Returns true at most once in
 * WIRE_TLS_WARN_EVERY_S. If true, *ret_text says which of them expires first, when it expires, and
 * which command renews it.
 * Why: a machine whose certificate has expired cannot connect any more, and with an outdated
 * revocation list no machine can. */
bool wire_tls_context_ends_soon(struct wire_tls_context *context, int64_t now_s,
				struct error *ret_text) __attribute__((warn_unused_result));

/* Does what wire_tls_context_ends_soon() does, but can return true at each call. If true, *ret_at_s
 * is the time of the first expiry (time(2)). */
bool wire_tls_context_ends(struct wire_tls_context *context, int64_t now_s, int64_t *ret_at_s,
			   struct error *ret_text) __attribute__((warn_unused_result));

/* Returns true if the peer's certificate expires within WIRE_TLS_WARN_S of @now_s, or has expired
 * already. Checks the certificate that the peer showed in the handshake, even if the peer has got a
 * newer one since. If true, *ret_at_s is the time of the expiry, and *ret_text names the peer, the
 * time, and the commands that renew the certificate. Returns false while the connection is not
 * established. */
bool wire_tls_peer_ends(const struct wire_tls *tls, int64_t now_s, int64_t *ret_at_s,
			struct error *ret_text) __attribute__((warn_unused_result));

#define WIRE_TLS_WARN_S INT64_C(2592000) /* 30 days */
#define WIRE_TLS_WARN_EVERY_S INT64_C(86400) /* a day */

/* If files were reloaded since the peer's certificate was last checked, check the certificate
 * against the new files. If the peer is an operator or viewer, also check that its certificate has
 * not expired. Each wire_tls_read() makes these checks too, so call this function for connections
 * that are not read.
 * Two things do not make the check fail: an outdated revocation list, and the expiry of a host's or
 * gateway's certificate. They must not end the connections between hosts and gateways, on which the
 * guests depend.
 * Returns 0: the certificate is accepted, the connection is not established yet, or the peer has
 * closed it. Returns -EPROTO: the connection has failed (see wire_tls_error()). */
int wire_tls_recheck(struct wire_tls *tls) __attribute__((warn_unused_result));

bool wire_tls_is_established(const struct wire_tls *tls);

/* Returns who the peer is; NULL before the connection is established. */
const struct wire_peer *wire_tls_peer(const struct wire_tls *tls);

/* Read plaintext from the peer. If the handshake is not finished, continue the handshake. Repeat
 * the call until the result is not positive: only then is the input ring empty. Returns
 *      > 0      the number of bytes written to @data
 *      -EAGAIN  more input is needed
 *      -EPIPE   the peer has closed the connection properly
 *      -EPROTO  the connection has failed */
int wire_tls_read(struct wire_tls *tls, uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* Returns how many bytes wire_tls_write() is sure to accept now. This is 0 before the connection is
 * established. */
size_t wire_tls_write_room(const struct wire_tls *tls);

/* Encrypt @data into the output ring, in records of up to 16 KiB. Returns
 *      >= 0     the number of bytes accepted: all if @size <= wire_tls_write_room()
 *      -EAGAIN  there is no room, or the connection is not established
 *      -EPROTO  the connection has failed */
int wire_tls_write(struct wire_tls *tls, const uint8_t *data, size_t size)
	__attribute__((warn_unused_result));

/* Queue the closing alert. After this, send the output and close the socket. */
void wire_tls_close(struct wire_tls *tls);

/* Returns why the connection failed, as a human-readable text ("peer's certificate is revoked
 * (host/a)"); "" while it has not failed. */
const char *wire_tls_error(const struct wire_tls *tls);
/* Returns why the connection failed, for counters; WIRE_TLS_OK while it has not failed. */
enum wire_tls_failure wire_tls_failure(const struct wire_tls *tls);

#endif
