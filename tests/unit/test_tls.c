/* Tests tls.c: which peers it accepts, which it refuses, and with which message. Also checks that
 * bytes arrive as they were sent. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "mint_certs.h"
#include "tls_pair.h"
#include "wire/tls.h"

static char *dir;
static struct wire_tls_context *client_context, *server_context;

static int set_up(void **state)
{
	struct mint_ca *ca = mint_ca_new("test CA"), *other = mint_ca_new("other CA");

	(void)state;
	dir = mint_dir_new();
	mint_ca_write(ca, dir, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a"}, dir, "host");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, dir, "gateway");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://viewer/v"}, dir, "viewer");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/old", .valid_from_s = -7200,
					     .valid_until_s = -3600}, dir, "expired");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/early", .valid_from_s = 3000},
		  dir, "early");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/self", .self_signed = true},
		  dir, "self");
	mint_leaf(other, &(struct mint_options){.uri = "holdfast://host/a"}, dir, "other");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a",
					     .second_uri = "holdfast://host/b"}, dir, "two");
	mint_leaf(ca, &(struct mint_options){.uri = "https://host/a",
					     .second_uri = "holdfast://host/b"}, dir, "foreign");
	mint_leaf(ca, &(struct mint_options){.uri = "https://host/a"}, dir, "none");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/A_B"}, dir, "badname");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://king/a"}, dir, "badrole");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/gone", .serial = 77}, dir,
		  "revoked");
	mint_crl(ca, 77, dir, "crl");
	mint_text(dir, "garbage.pem", "not a certificate\n");
	mint_ca_free(ca);
	mint_ca_free(other);
	client_context = mint_context(dir, "ca", "host", WIRE_TLS_CLIENT);
	server_context = mint_context(dir, "ca", "gateway", WIRE_TLS_SERVER);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	wire_tls_context_free(client_context);
	wire_tls_context_free(server_context);
	mint_dir_remove(dir);
	return 0;
}

static void new_pair(struct wire_tls **client, struct wire_tls **server)
{
	assert_int_equal(wire_tls_new(client_context, WIRE_PEER_GATEWAY, 0, client), 0);
	assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, server), 0);
}

static void good_pair(void **state)
{
	struct wire_tls *client, *server;
	uint8_t data[16];

	(void)state;
	new_pair(&client, &server);
	assert_null(wire_tls_peer(client));
	assert_int_equal(wire_tls_write_room(client), 0);
	assert_int_equal(wire_tls_write(client, (const uint8_t *)"x", 1), -EAGAIN);
	shake(client, server);
	assert_true(wire_tls_is_established(client) && wire_tls_is_established(server));
	assert_int_equal(wire_tls_peer(client)->role, WIRE_PEER_GATEWAY);
	assert_string_equal(wire_tls_peer(client)->name, "gw");
	assert_int_equal(wire_tls_peer(server)->role, WIRE_PEER_HOST);
	assert_string_equal(wire_tls_peer(server)->name, "a");
	assert_string_equal(wire_tls_context_self(client_context)->name, "a");
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EAGAIN);
	assert_int_equal(wire_tls_write(client, (const uint8_t *)"hello", 5), 5);
	assert_true(carry(client, server, SIZE_MAX) > 0);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), 5);
	assert_memory_equal(data, "hello", 5);
	wire_tls_close(client);
	assert_true(carry(client, server, SIZE_MAX) > 0);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPIPE);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPIPE);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_OK);
	assert_null(wire_tls_free(client));
	assert_null(wire_tls_free(server));
}

/* If a peer has a role that this side does not accept, the connection is refused. */
static void wrong_role(void **state)
{
	struct wire_tls_context *viewer = mint_context(dir, "ca", "viewer", WIRE_TLS_CLIENT);
	struct wire_tls_context *fake	= mint_context(dir, "ca", "host", WIRE_TLS_SERVER);
	struct wire_tls *client, *server;
	uint8_t data[8];

	(void)state;
	assert_int_equal(wire_tls_new(viewer, WIRE_PEER_GATEWAY, 0, &client), 0);
	assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST | WIRE_PEER_OPERATOR, 0,
				      &server), 0);
	shake(client, server);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_WRONG_ROLE);
	assert_string_equal(wire_tls_error(server),
			    "peer is viewer/v by its certificate, but only a "
			    "host or operator may connect here");
	assert_null(wire_tls_peer(server));
	assert_int_equal(wire_tls_handshake(server), -EPROTO);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPROTO);
	assert_int_equal(wire_tls_write(server, data, 1), -EPROTO);
	/* The TLS alert tells the client that it was refused. */
	assert_int_equal(wire_tls_read(client, data, sizeof(data)), -EPROTO);
	assert_int_equal(wire_tls_failure(client), WIRE_TLS_PEER_REFUSED);
	assert_non_null(strstr(wire_tls_error(client), "our role or name has no business there"));
	wire_tls_free(client);
	wire_tls_free(server);

	assert_int_equal(wire_tls_new(client_context, WIRE_PEER_GATEWAY, 0, &client), 0);
	assert_int_equal(wire_tls_new(fake, WIRE_PEER_HOST, 0, &server), 0);
	shake(client, server);
	assert_int_equal(wire_tls_failure(client), WIRE_TLS_WRONG_ROLE);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_PEER_REFUSED);
	wire_tls_free(client);
	wire_tls_free(server);
	wire_tls_context_free(viewer);
	wire_tls_context_free(fake);
	assert_int_equal(wire_tls_new(client_context, 0, 0, &client), -EINVAL);
}

/* A peer that uses OpenSSL directly and does not follow our rules. */
struct stranger {
	SSL_CTX *ctx;
	SSL *ssl;
};

static void stranger_init(struct stranger *s, bool is_server, const char *file, int version)
{
	char path[512];

	s->ctx = SSL_CTX_new(TLS_method());
	assert_non_null(s->ctx);
	assert_int_equal(SSL_CTX_set_max_proto_version(s->ctx, version), 1);
	if (file) {
		snprintf(path, sizeof(path), "%s/%s.pem", dir, file);
		assert_int_equal(SSL_CTX_use_certificate_file(s->ctx, path, SSL_FILETYPE_PEM), 1);
		snprintf(path, sizeof(path), "%s/%s.key", dir, file);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(s->ctx, path, SSL_FILETYPE_PEM), 1);
	}
	s->ssl = SSL_new(s->ctx);
	SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	if (is_server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
}

static void stranger_done(struct stranger *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	ERR_clear_error();
}

static void shake_stranger(struct stranger *s, struct wire_tls *tls)
{
	uint8_t data[4096];
	const uint8_t *p;
	size_t size;
	int n;

	for (int i = 0; i < 8; i++) {
		(void)SSL_do_handshake(s->ssl);
		while ((n = BIO_read(SSL_get_wbio(s->ssl), data, sizeof(data))) > 0)
			assert_int_equal(wire_tls_input(tls, data, (size_t)n), n);
		(void)!wire_tls_handshake(tls);
		while ((p = wire_tls_output(tls, &size)), size > 0) {
			BIO_write(SSL_get_rbio(s->ssl), p, (int)size);
			wire_tls_output_consume(tls, size);
		}
	}
	ERR_clear_error();
}

static void strangers_are_refused(void **state)
{
	static const struct {
		const char *file;
		int version;
		enum wire_tls_failure failure;
		const char *words;
	} rows[] = {
		{"expired", TLS1_3_VERSION, WIRE_TLS_EXPIRED, "expired on 20"},
		{"early", TLS1_3_VERSION, WIRE_TLS_NOT_YET_VALID, "compare the clocks"},
		{"self", TLS1_3_VERSION, WIRE_TLS_SELF_SIGNED, "self-signed (host/self)"},
		{"other", TLS1_3_VERSION, WIRE_TLS_UNKNOWN_CA, "not signed by the configured CA"},
		{"two", TLS1_3_VERSION, WIRE_TLS_BAD_IDENTITY, "several holdfast:// names"},
		{"none", TLS1_3_VERSION, WIRE_TLS_BAD_IDENTITY, "no holdfast://ROLE/NAME"},
		{"badname", TLS1_3_VERSION, WIRE_TLS_BAD_IDENTITY, "invalid name"},
		{"badrole", TLS1_3_VERSION, WIRE_TLS_BAD_IDENTITY, "unknown role"},
		{NULL, TLS1_3_VERSION, WIRE_TLS_NO_CERTIFICATE, "sent no certificate"},
		{"host", TLS1_2_VERSION, WIRE_TLS_OLD_VERSION, "cannot do TLS 1.3"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stranger s;
		struct wire_tls *server;
		uint8_t data[8];

		assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, &server), 0);
		stranger_init(&s, false, rows[i].file, rows[i].version);
		shake_stranger(&s, server);
		if (wire_tls_failure(server) != rows[i].failure ||
		    !strstr(wire_tls_error(server), rows[i].words))
			fail_msg("%s: %s: %s", rows[i].file ? rows[i].file : "-",
				 wire_tls_failure_name(wire_tls_failure(server)),
				 wire_tls_error(server));
		assert_false(wire_tls_is_established(server));
		assert_null(wire_tls_peer(server));
		assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPROTO);
		assert_int_equal(ERR_peek_error(), 0);
		wire_tls_free(server);
		stranger_done(&s);
	}
}

static int judge_by_a_slow_clock(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_NOT_YET_VALID);
	return 0;
}

static void strange_servers_are_refused(void **state)
{
	static const struct {
		const char *file;
		int version;
		enum wire_tls_failure failure;
		/* text of our error if the peer refuses our certificate because of the peer's
		 * clock */
		const char *its_clock;
	} rows[] = {
		{"expired", TLS1_3_VERSION, WIRE_TLS_EXPIRED, NULL},
		{"self", TLS1_3_VERSION, WIRE_TLS_SELF_SIGNED, NULL},
		{"other", TLS1_3_VERSION, WIRE_TLS_UNKNOWN_CA, NULL},
		{"host", TLS1_3_VERSION, WIRE_TLS_WRONG_ROLE, NULL},
		{"gateway", TLS1_2_VERSION, WIRE_TLS_OLD_VERSION, NULL},
		{"gateway", TLS1_3_VERSION, WIRE_TLS_PEER_REFUSED, "perhaps its clock is behind"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct stranger s;
		struct wire_tls *client;

		assert_int_equal(wire_tls_new(client_context, WIRE_PEER_GATEWAY, 0, &client), 0);
		stranger_init(&s, true, rows[i].file, rows[i].version);
		if (rows[i].its_clock)
			SSL_set_verify(s.ssl, SSL_VERIFY_PEER, judge_by_a_slow_clock);
		shake_stranger(&s, client);
		assert_int_equal(wire_tls_read(client, (uint8_t[8]){0}, 8), -EPROTO);
		assert_int_equal(wire_tls_failure(client), rows[i].failure);
		if (rows[i].its_clock)
			assert_non_null(strstr(wire_tls_error(client), rows[i].its_clock));
		wire_tls_free(client);
		stranger_done(&s);
	}
}

/* A stranger with a valid certificate is accepted. So the strangers above were refused only for the
 * faults in their rows. A second name with another scheme does no harm. */
static void good_stranger(void **state)
{
	struct stranger s;
	struct wire_tls *server;

	(void)state;
	assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, &server), 0);
	stranger_init(&s, false, "foreign", TLS1_3_VERSION);
	shake_stranger(&s, server);
	assert_true(wire_tls_is_established(server));
	assert_string_equal(wire_tls_peer(server)->name, "b");
	assert_int_equal(SSL_session_reused(s.ssl), 0);
	wire_tls_free(server);
	stranger_done(&s);
}

/* A peer sends KeyUpdates that ask for an answer, again and again. Memory use must stay bounded,
 * and the connection must continue to work. */
static void key_updates(void **state)
{
	struct stranger s;
	struct wire_tls *server;
	uint8_t data[4096], got[8];
	int n;

	(void)state;
	assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, &server), 0);
	stranger_init(&s, false, "host", TLS1_3_VERSION);
	shake_stranger(&s, server);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(SSL_key_update(s.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(s.ssl, "x", 1), 1);
		while ((n = BIO_read(SSL_get_wbio(s.ssl), data, sizeof(data))) > 0)
			assert_int_equal(wire_tls_input(server, data, (size_t)n), n);
		assert_int_equal(wire_tls_read(server, got, sizeof(got)), 1);
	}
	assert_true(wire_tls_output_pending(server) < 4096);
	assert_int_equal(wire_tls_write(server, (const uint8_t *)"y", 1), 1);
	wire_tls_free(server);
	stranger_done(&s);
}

static void revoked(void **state)
{
	char ca[512], crl[512], cert[512], key[512];
	struct error error;
	struct wire_tls_config config = {ca, crl, cert, key};
	struct wire_tls_context *context;
	struct wire_tls *server;
	struct stranger s;

	(void)state;
	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(crl, sizeof(crl), "%s/crl.pem", dir);
	snprintf(cert, sizeof(cert), "%s/gateway.pem", dir);
	snprintf(key, sizeof(key), "%s/gateway.key", dir);
	assert_int_equal(wire_tls_context_new(&config, WIRE_TLS_SERVER, &context, &error), 0);
	assert_int_equal(wire_tls_new(context, WIRE_PEER_HOST, 0, &server), 0);
	wire_tls_context_free(context); /* connections outlive their context */
	stranger_init(&s, false, "revoked", TLS1_3_VERSION);
	shake_stranger(&s, server);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_REVOKED);
	assert_string_equal(wire_tls_error(server), "peer's certificate is revoked (host/gone)");
	wire_tls_free(server);
	stranger_done(&s);
}

static void files_are_judged(void **state)
{
	static const struct {
		const char *ca, *cert, *key, *words;
		int code;
	} rows[] = {
		{"missing.pem", "host.pem", "host.key", "missing.pem: No such file", -ENOENT},
		{"garbage.pem", "host.pem", "host.key", "garbage.pem: no certificate", -EINVAL},
		{"ca.pem", "garbage.pem", "host.key", "garbage.pem: no usable cert", -EINVAL},
		{"ca.pem", "host.pem", "garbage.pem", "garbage.pem: no usable private", -EINVAL},
		{"ca.pem", "host.pem", "viewer.key", "viewer.key: private key does not", -EINVAL},
		{"ca.pem", "expired.pem", "expired.key", "expired.pem: certificate has exp",
		 -EINVAL},
		{"ca.pem", "early.pem", "early.key", "early.pem: certificate is not val", -EINVAL},
		{"ca.pem", "two.pem", "two.key", "two.pem: certificate has several", -EINVAL},
		{"ca.pem", "host.pem", "open.key", "open.key: private key is open", -EPERM},
		{".", "host.pem", "host.key", ".: not a regular file", -EINVAL},
	};
	char paths[3][512];
	struct error error;
	struct wire_tls_context *context;

	(void)state;
	mint_text(dir, "open.key", "");
	snprintf(paths[0], sizeof(paths[0]), "%s/open.key", dir);
	assert_int_equal(chmod(paths[0], 0644), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_tls_config config = {paths[0], NULL, paths[1], paths[2]};

		snprintf(paths[0], sizeof(paths[0]), "%s/%s", dir, rows[i].ca);
		snprintf(paths[1], sizeof(paths[1]), "%s/%s", dir, rows[i].cert);
		snprintf(paths[2], sizeof(paths[2]), "%s/%s", dir, rows[i].key);
		assert_int_equal(wire_tls_context_new(&config, WIRE_TLS_CLIENT, &context, &error),
				 rows[i].code);
		if (!strstr(error.text, rows[i].words))
			fail_msg("row %zu: %s", i, error.text);
		assert_int_equal(ERR_peek_error(), 0);
	}
}

/* A deterministic sequence, so that a failure can be repeated. */
static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void random_chunks_arrive_whole(void **state)
{
	enum { TOTAL = 3 << 20 };
	uint8_t *sent = malloc(TOTAL), *got = malloc(TOTAL);
	size_t n_sent = 0, n_got = 0;
	struct wire_tls *client, *server;
	uint32_t seed = 7;

	(void)state;
	assert_true(sent && got);
	for (size_t i = 0; i < TOTAL; i++)
		sent[i] = (uint8_t)next_random(&seed);
	new_pair(&client, &server);
	shake(client, server);
	while (n_got < TOTAL) {
		size_t n = next_random(&seed) % 150000, room = wire_tls_write_room(client);
		int r;

		if (n > TOTAL - n_sent)
			n = TOTAL - n_sent;
		r = wire_tls_write(client, sent + n_sent, n);
		/* wire_tls_write_room() promised that @room bytes can be written at once. */
		if (n <= room)
			assert_int_equal(r, n);
		assert_true(r >= 0 || r == -EAGAIN);
		n_sent += r > 0 ? (size_t)r : 0;
		(void)carry(client, server, next_random(&seed) % 120000);
		n = next_random(&seed) % 140000;
		r = wire_tls_read(server, got + n_got, n < TOTAL - n_got ? n : TOTAL - n_got);
		assert_true(r >= 0 || r == -EAGAIN);
		n_got += r > 0 ? (size_t)r : 0;
	}
	assert_memory_equal(sent, got, TOTAL);
	wire_tls_free(client);
	wire_tls_free(server);
	free(sent);
	free(got);
}

/* Carry one byte at a time in both directions, from the start of the handshake. */
static void single_bytes(void **state)
{
	struct wire_tls *client, *server;
	uint8_t data[8];
	size_t moved;

	(void)state;
	new_pair(&client, &server);
	do {
		(void)!wire_tls_handshake(client);
		moved = carry(client, server, 1);
		(void)!wire_tls_handshake(server);
		moved += carry(server, client, 1);
	} while (moved > 0);
	assert_true(wire_tls_is_established(client) && wire_tls_is_established(server));
	assert_int_equal(wire_tls_write(server, (const uint8_t *)"12345", 5), 5);
	while (wire_tls_output_pending(server) > 1) {
		(void)carry(server, client, 1);
		assert_int_equal(wire_tls_read(client, data, sizeof(data)), -EAGAIN);
	}
	(void)carry(server, client, 1);
	assert_int_equal(wire_tls_read(client, data, sizeof(data)), 5);
	wire_tls_free(client);
	wire_tls_free(server);
}

static void output_is_bounded(void **state)
{
	static uint8_t data[1 << 20];
	struct wire_tls *client, *server;
	size_t taken = 0;
	int r;

	(void)state;
	assert_int_equal(wire_tls_new(client_context, WIRE_PEER_GATEWAY, 100000, &client), 0);
	assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, &server), 0);
	shake(client, server);
	while ((r = wire_tls_write(client, data, sizeof(data))) > 0)
		taken += (size_t)r;
	assert_int_equal(r, -EAGAIN);
	assert_true(taken > 100000 && taken < 131072);
	assert_true(wire_tls_output_pending(client) <= 131072);
	assert_int_equal(wire_tls_write_room(client), 0);
	/* The input buffer is limited too: the caller must keep the bytes that do not fit. */
	while (carry(client, server, SIZE_MAX) > 0)
		;
	assert_true(wire_tls_output_pending(client) > 0);
	wire_tls_free(client);
	wire_tls_free(server);
}

static void garbage_is_refused(void **state)
{
	uint32_t seed = 99;

	(void)state;
	for (int i = 0; i < 200; i++) {
		uint8_t noise[512];
		struct wire_tls *server;
		int r;

		assert_int_equal(wire_tls_new(server_context, WIRE_PEER_HOST, 0, &server), 0);
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)next_random(&seed);
		/* Every second time, begin the noise like a TLS record, so that the body is
		 * parsed. */
		if (i % 2)
			memcpy(noise, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", 11);
		assert_int_equal(wire_tls_input(server, noise, sizeof(noise)), sizeof(noise));
		r = wire_tls_handshake(server);
		assert_true(r == -EPROTO || (r == -EAGAIN && !wire_tls_is_established(server)));
		assert_int_equal(wire_tls_failure(server) == WIRE_TLS_OK, r == -EAGAIN);
		wire_tls_free(server);
	}
}

/* One flipped bit in the ciphertext ends the connection with an error. */
static void tampering_is_seen(void **state)
{
	struct wire_tls *client, *server;
	uint8_t copy[256], data[64];
	const uint8_t *p;
	size_t size;

	(void)state;
	new_pair(&client, &server);
	shake(client, server);
	assert_int_equal(wire_tls_write(client, (const uint8_t *)"payload", 7), 7);
	p = wire_tls_output(client, &size);
	assert_true(size < sizeof(copy));
	memcpy(copy, p, size);
	copy[size - 3] ^= 4;
	assert_int_equal(wire_tls_input(server, copy, size), size);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPROTO);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_PROTOCOL);
	assert_false(wire_tls_is_established(server));
	wire_tls_free(client);
	wire_tls_free(server);
}

static void peers_are_parsed(void **state)
{
	static const char *const bad[] = {"holdfast://host/", "holdfast://host", "holdfast:///a",
					  "holdfast://hos/a", "holdfast://hostx/a", "http://host/a",
					  "holdfast://host/a/b", "holdfast://host/A", ""};
	struct wire_peer peer;

	(void)state;
	assert_int_equal(wire_peer_parse("holdfast://operator/x-1", 23, &peer), 0);
	assert_int_equal(peer.role, WIRE_PEER_OPERATOR);
	assert_string_equal(peer.name, "x-1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wire_peer_parse(bad[i], strlen(bad[i]), &peer), -EINVAL);
	/* A NUL byte in the name, as in certificates that pretend to belong to another host. */
	assert_int_equal(wire_peer_parse("holdfast://host/a\0b", 19, &peer), -EINVAL);
	assert_string_equal(wire_peer_role_name(WIRE_PEER_VIEWER), "viewer");
	assert_string_equal(wire_peer_role_name(3), "unknown");
	for (int i = 0; i < WIRE_TLS_FAILURE_COUNT; i++)
		assert_non_null(wire_tls_failure_name((enum wire_tls_failure)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_pair),
		cmocka_unit_test(wrong_role),
		cmocka_unit_test(strangers_are_refused),
		cmocka_unit_test(strange_servers_are_refused),
		cmocka_unit_test(good_stranger),
		cmocka_unit_test(key_updates),
		cmocka_unit_test(revoked),
		cmocka_unit_test(files_are_judged),
		cmocka_unit_test(random_chunks_arrive_whole),
		cmocka_unit_test(single_bytes),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(garbage_is_refused),
		cmocka_unit_test(tampering_is_seen),
		cmocka_unit_test(peers_are_parsed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
