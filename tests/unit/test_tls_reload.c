/* test_tls_reload.c - tests certificates, keys and revocation lists that change while connections
 * are open, or that expire soon. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "mint_certs.h"
#include "tls_pair.h"

/* Change files in this test's own directory while connections are open. */
static void files_that_change(void **state)
{
	struct mint_ca *ca = mint_ca_new("changing CA");
	char *own = mint_dir_new();
	struct error error = {""};
	char paths[4][512];
	const struct wire_tls_config files = {paths[0], paths[1], paths[2], paths[3]};
	struct wire_tls_context *host, *brief, *gateway;
	struct wire_tls *client, *server, *second, *third;
	uint8_t data[8];

	(void)state;
	snprintf(paths[0], sizeof(paths[0]), "%s/ca.pem", own);
	snprintf(paths[1], sizeof(paths[1]), "%s/crl.pem", own);
	snprintf(paths[2], sizeof(paths[2]), "%s/gw.pem", own);
	snprintf(paths[3], sizeof(paths[3]), "%s/gw.key", own);
	mint_ca_write(ca, own, "ca");
	mint_crl(ca, 0, own, "crl");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a", .serial = 77}, own, "a");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://operator/b", .valid_until_s = 2},
		  own, "b");
	host = mint_context(own, "ca", "a", WIRE_TLS_CLIENT);
	brief = mint_context(own, "ca", "b", WIRE_TLS_CLIENT);
	assert_int_equal(wire_tls_context_new(&files, WIRE_TLS_SERVER, &gateway, &error), 0);
	assert_int_equal(wire_tls_new(host, WIRE_PEER_GATEWAY, 0, &client), 0);
	assert_int_equal(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &server), 0);
	shake(client, server);
	assert_true(wire_tls_is_established(server));
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 0);
	assert_int_equal(wire_tls_recheck(server), 0);

	/* A truncated file changes nothing and is reported once. */
	mint_text(own, "ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), -EINVAL);
	assert_non_null(strstr(error.text, "ca.pem"));
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 0);
	assert_int_equal(wire_tls_recheck(server), 0);
	/* A FIFO in place of the file changes nothing either, and opening it does not block. */
	assert_int_equal(unlink(paths[0]) | mkfifo(paths[0], 0600), 0);
	alarm(10); /* ends the test if it hangs */
	assert_int_equal(wire_tls_context_refresh(gateway, &error), -EINVAL);
	alarm(0);
	assert_non_null(strstr(error.text, "not a regular file"));
	assert_int_equal(unlink(paths[0]), 0);
	mint_ca_write(ca, own, "ca");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 1);
	assert_int_equal(wire_tls_recheck(server), 0);

	/* A certificate with another name is refused, because a process must not change its
	 * name. */
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/other"}, own, "gw");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), -EINVAL);
	assert_non_null(strstr(error.text, "gateway/other"));
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 1);

	/* An operator's certificate expires while its connection is open. */
	assert_int_equal(wire_tls_new(brief, WIRE_PEER_GATEWAY, 0, &second), 0);
	assert_int_equal(wire_tls_new(gateway, WIRE_PEER_OPERATOR, 0, &third), 0);
	shake(second, third);
	assert_true(wire_tls_is_established(third));
	assert_int_equal(wire_tls_recheck(third), 0);

	/* A revocation must reach new and old connections without a restart. */
	mint_crl(ca, 77, own, "crl");
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EAGAIN);
	wire_tls_free(client);
	assert_int_equal(wire_tls_new(host, WIRE_PEER_GATEWAY, 0, &client), 0);
	wire_tls_free(second);
	/* reloads the revocation list */
	assert_int_equal(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &second), 0);
	shake(client, second);
	assert_int_equal(wire_tls_failure(second), WIRE_TLS_REVOKED);
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 1);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EPROTO);
	assert_int_equal(wire_tls_failure(server), WIRE_TLS_REVOKED);
	while (wire_tls_recheck(third) == 0)
		continue; /* the certificate expires at most two seconds after it was made */
	assert_int_equal(wire_tls_failure(third), WIRE_TLS_EXPIRED);

	/* The open connections keep the context alive until they are freed. */
	wire_tls_context_free(gateway);
	wire_tls_free(client);
	wire_tls_free(server);
	wire_tls_free(second);
	wire_tls_free(third);
	wire_tls_context_free(host);
	wire_tls_context_free(brief);
	mint_ca_free(ca);
	mint_dir_remove(own);
}

/* A host's certificate expires while its connection is open. The connection goes on, even when the
 * files are read again. A new connection is refused. */
static void a_host_that_expires(void **state)
{
	struct mint_ca *ca = mint_ca_new("CA");
	char *own = mint_dir_new();
	struct error error = {""};
	struct wire_tls_context *host, *gateway;
	struct wire_tls *client, *server, *late;
	uint8_t data[8];
	int64_t end_s;

	(void)state;
	mint_ca_write(ca, own, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a", .valid_until_s = 2}, own,
		  "a");
	end_s = (int64_t)time(NULL) + 2;
	host = mint_context(own, "ca", "a", WIRE_TLS_CLIENT);
	gateway = mint_context(own, "ca", "gw", WIRE_TLS_SERVER);
	assert_int_equal(wire_tls_new(host, WIRE_PEER_GATEWAY, 0, &client), 0);
	assert_int_equal(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &server), 0);
	shake(client, server);
	assert_true(wire_tls_is_established(server));
	do { /* repeat until the certificate has expired */
		wire_tls_free(client);
		assert_int_equal(wire_tls_new(host, WIRE_PEER_GATEWAY, 0, &client), 0);
		assert_int_equal(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &late), 0);
		shake(client, late);
	} while (wire_tls_is_established(late) && (wire_tls_free(late), true));
	assert_int_equal(wire_tls_failure(late), WIRE_TLS_EXPIRED);
	while ((int64_t)time(NULL) <= end_s)
		continue; /* until its last second is over */
	assert_int_equal(wire_tls_recheck(server), 0);
	assert_int_equal(wire_tls_read(server, data, sizeof(data)), -EAGAIN);
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 1);
	assert_int_equal(wire_tls_recheck(server), 0);
	/* under another CA, the check of the certificate fails */
	mint_ca_free(ca);
	ca = mint_ca_new("another CA");
	mint_ca_write(ca, own, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	assert_int_equal(wire_tls_context_refresh(gateway, &error), 1);
	assert_int_equal(wire_tls_recheck(server), -EPROTO);

	wire_tls_context_free(gateway);
	wire_tls_free(client);
	wire_tls_free(server);
	wire_tls_free(late);
	wire_tls_context_free(host);
	mint_ca_free(ca);
	mint_dir_remove(own);
}

static const int64_t DAY_S = 86400;

/* A certificate that expires within 30 days is reported: our own once a day, a peer's whenever the
 * caller asks. Of several files, the one that expires first counts. */
static void ends_that_come(void **state)
{
	struct mint_ca *ca = mint_ca_new("CA");
	char *own = mint_dir_new();
	const int64_t now_s = (int64_t)time(NULL);
	struct wire_tls_context *host, *gateway;
	struct wire_tls *client, *server;
	struct error text = {""};
	int64_t at_s = 0;

	(void)state;
	mint_ca_write(ca, own, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, own, "gw");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a", .valid_until_s = 1800},
		  own, "a");
	host = mint_context(own, "ca", "a", WIRE_TLS_CLIENT);
	gateway = mint_context(own, "ca", "gw", WIRE_TLS_SERVER);
	assert_int_equal(wire_tls_new(host, WIRE_PEER_GATEWAY, 0, &client), 0);
	assert_int_equal(wire_tls_new(gateway, WIRE_PEER_HOST, 0, &server), 0);
	assert_false(wire_tls_peer_ends(server, now_s, &at_s, &text)); /* no handshake yet */
	shake(client, server);

	/* all of these files expire within two hours from now */
	assert_false(wire_tls_context_ends_soon(host, now_s - 30 * DAY_S, &text));
	assert_false(wire_tls_peer_ends(server, now_s - 30 * DAY_S, &at_s, &text));
	assert_true(wire_tls_context_ends_soon(host, now_s - 29 * DAY_S, &text));
	assert_non_null(strstr(text.text, "/a.pem: this machine's certificate ends in 29 days, "));
	assert_non_null(strstr(text.text, "holdfast-pki renew"));
	assert_false(wire_tls_context_ends_soon(host, now_s - 28 * DAY_S - 1, &text));
	assert_true(wire_tls_context_ends_soon(host, now_s - 28 * DAY_S, &text));
	for (int i = 0; i < 2; i++) /* each call reports it */
		assert_true(wire_tls_context_ends(host, now_s - 28 * DAY_S, &at_s, &text));
	assert_in_range(at_s, now_s + 1700, now_s + 1800);
	assert_false(wire_tls_context_ends(host, now_s - 30 * DAY_S, &at_s, &text));
	assert_true(wire_tls_peer_ends(server, now_s - 29 * DAY_S, &at_s, &text));
	assert_string_equal(strstr(text.text, ": `"), ": `holdfast-pki renew DIR host a`, copy the "
						      "new file there, and `systemctl reload "
						      "holdfast-agent`, for a connection keeps "
						      "the one it began with");
	assert_non_null(strstr(text.text, "the certificate of host a ends in 29 days, on "));
	assert_true(wire_tls_peer_ends(server, now_s + DAY_S, &at_s, &text));
	assert_non_null(strstr(text.text, "host a has ended on "));

	wire_tls_free(client);
	wire_tls_free(server);
	wire_tls_context_free(host);
	wire_tls_context_free(gateway);
	mint_ca_free(ca);
	mint_dir_remove(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(files_that_change),
					   cmocka_unit_test(a_host_that_expires),
					   cmocka_unit_test(ends_that_come)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
