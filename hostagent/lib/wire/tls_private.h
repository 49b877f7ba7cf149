/* tls_private.h - declarations shared by the tls*.c files of this directory; no other file includes
 * it.
 *
 * tls.c handles connections, tls_context.c loads files and judges certificates, tls_reload.c
 * reloads changed files, tls_ends.c warns of what will soon expire, and tls_error.c translates
 * OpenSSL's errors.
 */
#ifndef WIRE_TLS_PRIVATE_H
#define WIRE_TLS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/error.h"
#include "wire/tls.h"

#define TLS_N_FILES 4 /* CA, revocation list, certificate, key */

/* Identifies a version of a file: if any member differs, the file has changed. */
struct tls_stamp {
	uint64_t dev, ino, size, mtime_ns, ctime_ns;
};

struct wire_tls_context {
	enum wire_tls_side side;
	struct wire_peer self;
	char *paths[TLS_N_FILES]; /* the file's path; NULL if no such file is configured */
	atomic_uint references;	  /* one for the owner, and one for each connection */
	atomic_uint generation;	  /* incremented at each reload of the files */
	pthread_mutex_t lock;	  /* guards all members below */
	SSL_CTX *ssl_ctx;
	struct tls_stamp stamps[TLS_N_FILES];
	/* What the next wire_tls_context_refresh() will return. 1: the files were reloaded. -errno:
	 * the new files are unusable (see news_error). 0: nothing has changed */
	int news;
	struct error news_error;
	int64_t warned_s; /* when the last warning was given, s since 1970; 0: never */
};

/* A bounded byte queue. `head` and `tail` count bytes; modulo `size` they are offsets in `data`.
 * When the ring is empty, both become 0. */
struct ring {
	uint8_t *data;
	size_t size; /* a power of two */
	size_t head; /* position of the next byte to take out */
	size_t tail; /* position of the next byte to put in */
};

struct wire_tls {
	SSL *ssl;
	struct wire_tls_context *context; /* the connection holds a reference */
	unsigned int generation;   /* the context's generation when the peer was last judged */
	/* when the peer's certificate expires, s since 1970; valid if `established` */
	int64_t peer_ends;
	struct ring input, output; /* both hold ciphertext */
	unsigned peer_roles;	   /* mask of the roles that may connect */
	bool established;
	bool peer_judged;	   /* the peer's certificate was accepted; `peer` is set */
	bool peer_closed;	   /* the peer's close_notify was read */
	struct wire_peer peer;
	enum wire_tls_failure failure;
	char error[WIRE_TLS_ERROR_SIZE];
};

/* tls_context.c: OpenSSL calls this for each certificate of the peer's chain (SSL_verify_cb). Also
 * checks the peer's identity. */
int tls_verify_peer(int ok, X509_STORE_CTX *store);

/* tls_context.c: read and check all files. Returns 0 (the caller owns *ret_ctx), or an error of
 * wire_tls_context_new(). */
int tls_load(const struct wire_tls_config *config, enum wire_tls_side side, SSL_CTX **ret_ctx,
	     struct wire_peer *ret_self, struct error *ret_error)
	__attribute__((warn_unused_result));

/* tls_reload.c: store the paths and stamps of @config's files in @context. Returns 0 or -ENOMEM. */
int tls_remember_files(struct wire_tls_context *context, const struct wire_tls_config *config)
	__attribute__((warn_unused_result));

/* tls_reload.c: reload the files if they changed. */
void tls_look_at_files(struct wire_tls_context *context);

/* tls_reload.c: returns the current SSL_CTX with a new reference, which the caller must free.
 * *ret_generation: the context's generation to which this SSL_CTX belongs. */
SSL_CTX *tls_take_ssl_ctx(struct wire_tls_context *context, unsigned int *ret_generation);

/* Convert @time to seconds since 1970. Returns INT64_MAX if @time is NULL or cannot be read. */
int64_t tls_seconds(const ASN1_TIME *time);

/* tls_reload.c: remember when the peer's certificate expires. */
void tls_note_end(struct wire_tls *tls);

/* tls_error.c: record why @tls failed, unless a reason was already recorded. */
void tls_fail(struct wire_tls *tls, enum wire_tls_failure failure, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* tls_error.c: called after a failed call on @tls. Drain OpenSSL's error queue, and record the
 * reason. But if the verify callback has recorded a reason, keep that reason, which is more
 * exact. */
void tls_fail_from_queue(struct wire_tls *tls);

/* tls_error.c: drain the error queue, and write its first (deepest) reason to @text in
 * human-readable form. */
void tls_drain_queue(char *text, size_t size);

/* tls_error.c: translate @code, an error of X509_verify_cert() on @cert, and record it as the
 * reason. */
void tls_fail_from_verify(struct wire_tls *tls, int code, const X509 *cert);

/* tls_context.c: get the identity in @cert. Returns 0; -EINVAL: the certificate has no identity,
 * several, or a malformed one, and *ret_reason (a constant string) says which. */
int tls_identity(const X509 *cert, struct wire_peer *ret_peer, const char **ret_reason)
	__attribute__((warn_unused_result));

#endif
