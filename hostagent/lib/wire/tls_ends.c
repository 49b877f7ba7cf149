/* Warns of certificates and revocation lists that will soon expire. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/x509.h>

#include "wire/tls_private.h"

#define DAY_S INT64_C(86400)

int64_t tls_seconds(const ASN1_TIME *asn1)
{
	struct tm tm;

	return asn1 && ASN1_TIME_to_tm(asn1, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MAX;
}

/* A certificate or revocation list: when it expires, and how it is renewed. */
struct end {
	int64_t at_s;
	const char *what, *path, *renewal;
};

static void sooner(struct end *first, struct end other)
{
	if (other.at_s < first->at_s)
		*first = other;
}

/* Returns the file of @context that expires first. The caller must have the context's lock. */
static struct end first_end(const struct wire_tls_context *context)
{
	struct end first = {.at_s = INT64_MAX};
	const X509 *own = SSL_CTX_get0_certificate(context->ssl_ctx);
	const STACK_OF(X509_OBJECT) *objects =
		X509_STORE_get0_objects(SSL_CTX_get_cert_store(context->ssl_ctx));

	if (own)
		sooner(&first, (struct end){tls_seconds(X509_get0_notAfter(own)),
					    "this machine's certificate", context->paths[2],
					    "`holdfast-pki renew`"});
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		X509_OBJECT *object = sk_X509_OBJECT_value(objects, i);
		const X509 *ca = X509_OBJECT_get0_X509(object);
		const X509_CRL *crl = X509_OBJECT_get0_X509_CRL(object);

		if (ca)
			sooner(&first, (struct end){tls_seconds(X509_get0_notAfter(ca)),
						    "the CA's certificate", context->paths[0],
						    "`holdfast-pki init` in a new directory"});
		if (crl)
			sooner(&first, (struct end){tls_seconds(X509_CRL_get0_nextUpdate(crl)),
						    "the revocation list", context->paths[1],
						    "`holdfast-pki crl`"});
	}
	return first;
}

static void say_when(int64_t at_s, int64_t now_s, char *text, size_t size)
{
	time_t at = (time_t)at_s;
	struct tm tm;
	char day[16] = "?";

	if (gmtime_r(&at, &tm))
		(void)strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	if (at_s <= now_s)
		(void)snprintf(text, size, "has ended on %s", day);
	else
		(void)snprintf(text, size, "ends in %" PRId64 " days, on %s",
			       (at_s - now_s) / DAY_S, day);
}

bool wire_tls_context_ends(struct wire_tls_context *context, int64_t now_s, int64_t *ret_at_s,
			   struct error *ret_text)
{
	struct end first;
	char when[64];

	(void)pthread_mutex_lock(&context->lock);
	first = first_end(context);
	(void)pthread_mutex_unlock(&context->lock);
	if (first.at_s >= now_s + WIRE_TLS_WARN_S)
		return false;
	say_when(first.at_s, now_s, when, sizeof(when));
	*ret_at_s = first.at_s;
	(void)error_set(ret_text, 0, "%.200s: %s %s: %s, and copy the new file there", first.path,
			first.what, when, first.renewal);
	return true;
}

bool wire_tls_context_ends_soon(struct wire_tls_context *context, int64_t now_s,
				struct error *ret_text)
{
	struct error text;
	int64_t at_s;
	bool is_due = wire_tls_context_ends(context, now_s, &at_s, &text);

	(void)pthread_mutex_lock(&context->lock);
	is_due &= context->warned_s == 0 || now_s - context->warned_s >= WIRE_TLS_WARN_EVERY_S;
	if (is_due)
		context->warned_s = now_s;
	(void)pthread_mutex_unlock(&context->lock);
	if (is_due)
		*ret_text = text;
	return is_due;
}

bool wire_tls_peer_ends(const struct wire_tls *tls, int64_t now_s, int64_t *ret_at_s,
			struct error *ret_text)
{
	const struct wire_peer *peer = &tls->peer;
	char when[64];

	if (!tls->established || tls->peer_ends >= now_s + WIRE_TLS_WARN_S)
		return false;
	*ret_at_s = tls->peer_ends;
	say_when(tls->peer_ends, now_s, when, sizeof(when));
	(void)error_set(ret_text, 0,
			"the certificate of %s %s %s: `holdfast-pki renew DIR %s %s`, copy the new "
			"file there, and `systemctl reload holdfast-agent`, for a connection keeps "
			"the one it began with",
			wire_peer_role_name(peer->role), peer->name, when,
			wire_peer_role_name(peer->role), peer->name);
	return true;
}
