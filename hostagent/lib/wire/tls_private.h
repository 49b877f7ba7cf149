/* tls_private.h - shared by the tls*.c files of this room; nobody else includes it.
 *
 * tls.c runs connections, tls_context.c loads files and judges certificates, tls_error.c is the only
 * place that reads OpenSSL's error queue.
 */
#ifndef WIRE_TLS_PRIVATE_H
#define WIRE_TLS_PRIVATE_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "wire/tls.h"

struct wire_tls_context {
	SSL_CTX *ssl_ctx;
	enum wire_tls_side side;
	struct wire_peer self;
};

/* Bytes on their way, bounded; head and tail only grow, the mask makes them offsets. */
struct ring {
	uint8_t *data;
	size_t size; /* a power of two */
	size_t head; /* next byte to take out */
	size_t tail; /* next byte to put in */
};

struct wire_tls {
	SSL *ssl;
	struct ring input, output; /* ciphertext */
	unsigned peer_roles;	   /* mask of those that may be here */
	bool established;
	bool peer_judged;	   /* the peer's certificate was accepted; `peer` is set */
	bool peer_closed;	   /* its close_notify was read */
	struct wire_peer peer;
	enum wire_tls_failure failure;
	char error[WIRE_TLS_ERROR_SIZE];
};

/* tls_context.c: OpenSSL's verify callback, also the judge of the peer's identity. */
int tls_verify_peer(int ok, X509_STORE_CTX *store);

/* tls_error.c: record why @tls failed; the first reason stands. */
void tls_fail(struct wire_tls *tls, enum wire_tls_failure failure, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* tls_error.c: drain OpenSSL's queue after a failed call on @tls and record what it says, unless the
 * verify callback already knew better. */
void tls_fail_from_queue(struct wire_tls *tls);

/* tls_error.c: drain the queue into @text: the first (deepest) reason, for people. */
void tls_drain_queue(char *text, size_t size);

/* tls_error.c: judge @code of X509_verify_cert() on @cert and record it. */
void tls_fail_from_verify(struct wire_tls *tls, int code, const X509 *cert);

/* tls_context.c: the identity in @cert. 0; -EINVAL: none, several, malformed; *ret_reason says
 * which. */
int tls_identity(const X509 *cert, struct wire_peer *ret_peer, const char **ret_reason)
	__attribute__((warn_unused_result));

#endif
