#include "wire/tls.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "wire/tls_private.h"

#define RECORD_PLAIN_MAX 16384 /* maximum plaintext of a TLS record (RFC 8446, 5.1) */
#define RECORD_OVERHEAD  22    /* bytes that a record adds: header 5, content type 1, tag 16 */
/* Room kept free in the output ring for what OpenSSL sends by itself: alerts and answers to a
 * KeyUpdate. */
#define OUTPUT_RESERVE	 1024

/* ---- rings ---- */

static size_t ring_used(const struct ring *ring)
{
	return ring->tail - ring->head;
}

static size_t ring_free(const struct ring *ring)
{
	return ring->size - ring_used(ring);
}

/* Returns the bytes that can be taken out next, as far as they are contiguous in memory. *ret_size:
 * how many; 0: none. */
static const uint8_t *ring_peek(const struct ring *ring, size_t *ret_size)
{
	const size_t at	 = ring->head & (ring->size - 1);
	const size_t end = ring->size - at;

	*ret_size = ring_used(ring) < end ? ring_used(ring) : end;
	return ring->data + at;
}

/* Returns the room for the next bytes, as far as it is contiguous in memory. *ret_size: its size;
 * 0: the ring is full. */
static uint8_t *ring_room(const struct ring *ring, size_t *ret_size)
{
	const size_t at	 = ring->tail & (ring->size - 1);
	const size_t end = ring->size - at;

	*ret_size = ring_free(ring) < end ? ring_free(ring) : end;
	return ring->data + at;
}

static void ring_consume(struct ring *ring, size_t size)
{
	ring->head += size;
	/* Let an empty ring start at offset 0 again, so that the next recv() or send() gets one
	 * long piece. */
	if (ring->head == ring->tail)
		ring->head = ring->tail = 0;
}

static size_t ring_put(struct ring *ring, const uint8_t *data, size_t size)
{
	size_t done = 0, n;
	uint8_t *p;

	while (done < size) {
		p = ring_room(ring, &n);
		if (n == 0)
			break;
		if (n > size - done)
			n = size - done;
		memcpy(p, data + done, n);
		ring->tail += n;
		done += n;
	}
	return done;
}

static size_t ring_take(struct ring *ring, uint8_t *data, size_t size)
{
	size_t done = 0, n;
	const uint8_t *p;

	while (done < size) {
		p = ring_peek(ring, &n);
		if (n == 0)
			break;
		if (n > size - done)
			n = size - done;
		memcpy(data + done, p, n);
		done += n;
		ring_consume(ring, n);
	}
	return done;
}

/* ---- a BIO (OpenSSL's interface for input and output) over the two rings; OpenSSL's own memory
 * BIO would grow without a bound ---- */

static int bio_write(BIO *bio, const char *data, int size)
{
	struct wire_tls *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	/* Accept a TLS record as a whole or not at all. After a partial write, we would not know
	 * which part of the record OpenSSL still keeps. */
	if (size < 0 || ring_free(&tls->output) < (size_t)size) {
		BIO_set_retry_write(bio);
		return -1;
	}
	return (int)ring_put(&tls->output, (const uint8_t *)data, (size_t)size);
}

static int bio_read(BIO *bio, char *data, int size)
{
	struct wire_tls *tls = BIO_get_data(bio);
	size_t n;

	BIO_clear_retry_flags(bio);
	n = size > 0 ? ring_take(&tls->input, (uint8_t *)data, (size_t)size) : 0;
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	/* OpenSSL asks for a flush, which needs no work; no other command is supported */
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method; /* created once and never freed */

static void make_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast rings");

	if (!m)
		return;
	if (BIO_meth_set_write(m, bio_write) != 1 || BIO_meth_set_read(m, bio_read) != 1 ||
	    BIO_meth_set_ctrl(m, bio_ctrl) != 1) {
		BIO_meth_free(m);
		return;
	}
	bio_method = m;
}

static BIO *ring_bio_new(struct wire_tls *tls)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, make_bio_method);
	bio = bio_method ? BIO_new(bio_method) : NULL;
	if (!bio)
		return NULL;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- life ---- */

static int ring_init(struct ring *ring, size_t size)
{
	ring->size = WIRE_TLS_OUTPUT_MIN;
	while (ring->size < size && ring->size <= SIZE_MAX / 4)
		ring->size *= 2;
	ring->data = malloc(ring->size);
	return ring->data ? 0 : -ENOMEM;
}

int wire_tls_new(struct wire_tls_context *context, unsigned peer_roles, size_t output_max_bytes,
		 struct wire_tls **ret_tls)
{
	struct wire_tls *tls;
	SSL_CTX *ctx;
	BIO *bio = NULL;

	if (peer_roles == 0)
		return -EINVAL;
	tls = calloc(1, sizeof(*tls));
	if (!tls)
		return -ENOMEM;
	tls->peer_roles = peer_roles;
	tls_look_at_files(context);
	atomic_fetch_add(&context->references, 1);
	tls->context = context;
	ctx	     = tls_take_ssl_ctx(context, &tls->generation);
	tls->ssl     = SSL_new(ctx); /* SSL_new() takes its own reference to ctx */
	SSL_CTX_free(ctx);
	if (tls->ssl)
		bio = ring_bio_new(tls);
	if (!bio || ring_init(&tls->input, WIRE_TLS_INPUT_SIZE) < 0 ||
	    ring_init(&tls->output, output_max_bytes ? output_max_bytes
						     : WIRE_TLS_OUTPUT_DEFAULT) < 0) {
		BIO_free(bio);
		ERR_clear_error();
		wire_tls_free(tls);
		return -ENOMEM;
	}
	/* SSL_set_bio() takes over our only reference to the BIO, which serves both directions */
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	if (context->side == WIRE_TLS_CLIENT)
		SSL_set_connect_state(tls->ssl);
	else
		SSL_set_accept_state(tls->ssl);
	*ret_tls = tls;
	return 0;
}

struct wire_tls *wire_tls_free(struct wire_tls *tls)
{
	if (tls) {
		wire_tls_context_free(tls->context);
		SSL_free(tls->ssl); /* wipes keys and plaintext; the rings hold ciphertext only */
		free(tls->input.data);
		free(tls->output.data);
		free(tls);
	}
	return NULL;
}

/* ---- ciphertext ---- */

size_t wire_tls_input(struct wire_tls *tls, const uint8_t *data, size_t size)
{
	return ring_put(&tls->input, data, size);
}

uint8_t *wire_tls_input_reserve(struct wire_tls *tls, size_t *ret_size)
{
	return ring_room(&tls->input, ret_size);
}

void wire_tls_input_commit(struct wire_tls *tls, size_t size)
{
	tls->input.tail += size;
}

const uint8_t *wire_tls_output(struct wire_tls *tls, size_t *ret_size)
{
	return ring_peek(&tls->output, ret_size);
}

void wire_tls_output_consume(struct wire_tls *tls, size_t size)
{
	ring_consume(&tls->output, size);
}

size_t wire_tls_output_pending(const struct wire_tls *tls)
{
	return ring_used(&tls->output);
}

/* ---- plaintext ---- */

/* Translate an OpenSSL call's result @r <= 0 to -EAGAIN, -EPIPE or -EPROTO. */
static int judge(struct wire_tls *tls, int r)
{
	switch (SSL_get_error(tls->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		ERR_clear_error();
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		ERR_clear_error();
		tls->peer_closed = true;
		return -EPIPE;
	default:
		tls_fail_from_queue(tls);
		return -EPROTO;
	}
}

int wire_tls_handshake(struct wire_tls *tls)
{
	int r;

	if (tls->failure != WIRE_TLS_OK)
		return -EPROTO;
	if (tls->established)
		return 0;
	ERR_clear_error();
	r = SSL_do_handshake(tls->ssl);
	if (r != 1) {
		r = judge(tls, r);
		if (r == -EPIPE)
			tls_fail(tls, WIRE_TLS_PEER_REFUSED,
				 "peer closed during the TLS handshake");
		return r == -EPIPE ? -EPROTO : r;
	}
	/* Only a second line of defence: without an accepted certificate, SSL_do_handshake() should
	 * have failed already. */
	if (!tls->peer_judged) {
		tls_fail(tls, WIRE_TLS_NO_CERTIFICATE, "peer was not identified");
		return -EPROTO;
	}
	tls->established = true;
	tls_note_end(tls);
	return 0;
}

bool wire_tls_is_established(const struct wire_tls *tls)
{
	return tls->established && tls->failure == WIRE_TLS_OK;
}

const struct wire_peer *wire_tls_peer(const struct wire_tls *tls)
{
	return tls->established ? &tls->peer : NULL;
}

int wire_tls_read(struct wire_tls *tls, uint8_t *data, size_t size)
{
	size_t done = 0;
	int r	    = wire_tls_handshake(tls);

	if (r < 0)
		return r;
	if (tls->peer_closed)
		return -EPIPE;
	r = wire_tls_recheck(tls);
	if (r < 0)
		return r;
	if (size > INT_MAX)
		size = INT_MAX;
	ERR_clear_error();
	while (done < size) {
		r = SSL_read(tls->ssl, data + done, (int)(size - done));
		if (r <= 0) {
			r = judge(tls, r);
			break;
		}
		done += (size_t)r;
	}
	/* If an error came after some bytes, return the number of these bytes. The next call
	 * reports the error. */
	return done > 0 ? (int)done : r;
}

size_t wire_tls_write_room(const struct wire_tls *tls)
{
	const size_t room = ring_free(&tls->output);
	const size_t full = RECORD_PLAIN_MAX + RECORD_OVERHEAD;
	size_t plain, rest;

	if (!wire_tls_is_established(tls) || room <= OUTPUT_RESERVE)
		return 0;
	plain = (room - OUTPUT_RESERVE) / full * RECORD_PLAIN_MAX;
	rest  = (room - OUTPUT_RESERVE) % full;
	return plain + (rest > RECORD_OVERHEAD ? rest - RECORD_OVERHEAD : 0);
}

int wire_tls_write(struct wire_tls *tls, const uint8_t *data, size_t size)
{
	size_t done = 0, n, room;
	int r;

	if (tls->failure != WIRE_TLS_OK)
		return -EPROTO;
	if (size > INT_MAX)
		size = INT_MAX;
	ERR_clear_error();
	while (done < size) {
		n    = size - done < RECORD_PLAIN_MAX ? size - done : RECORD_PLAIN_MAX;
		room = wire_tls_write_room(tls);
		if (room < n)
			n = room;
		if (n == 0)
			break;
		r = SSL_write(tls->ssl, data + done, (int)n);
		if (r <= 0) {
			/* wire_tls_write_room() promised room, so even "try again" is an error. */
			if (judge(tls, r) == -EAGAIN)
				tls_fail(tls, WIRE_TLS_PROTOCOL, "TLS output overran its bound");
			return -EPROTO;
		}
		done += (size_t)r;
	}
	return done > 0 || size == 0 ? (int)done : -EAGAIN;
}

void wire_tls_close(struct wire_tls *tls)
{
	if (!wire_tls_is_established(tls))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(tls->ssl); /* only queues the alert; the caller closes the socket */
	ERR_clear_error();
}

const char *wire_tls_error(const struct wire_tls *tls)
{
	return tls->error;
}

enum wire_tls_failure wire_tls_failure(const struct wire_tls *tls)
{
	return tls->failure;
}
