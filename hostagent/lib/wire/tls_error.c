/* Translates OpenSSL's errors to ours. A failed call leaves entries in the thread's error queue.
 * These entries are removed at once, because otherwise they could be taken for errors of a later
 * call. */
#include "wire/tls_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/text.h"

static const char *const failure_names[WIRE_TLS_FAILURE_COUNT] = {
	[WIRE_TLS_OK]		   = "ok",
	[WIRE_TLS_EXPIRED]	   = "expired",
	[WIRE_TLS_NOT_YET_VALID]   = "not_yet_valid",
	[WIRE_TLS_SELF_SIGNED]	   = "self_signed",
	[WIRE_TLS_UNKNOWN_CA]	   = "unknown_ca",
	[WIRE_TLS_REVOKED]	   = "revoked",
	[WIRE_TLS_BAD_IDENTITY]	   = "bad_identity",
	[WIRE_TLS_WRONG_ROLE]	   = "wrong_role",
	[WIRE_TLS_NO_CERTIFICATE]  = "no_certificate",
	[WIRE_TLS_BAD_CERTIFICATE] = "bad_certificate",
	[WIRE_TLS_OLD_VERSION]	   = "old_version",
	[WIRE_TLS_PEER_REFUSED]	   = "peer_refused",
	[WIRE_TLS_PROTOCOL]	   = "protocol",
};

const char *wire_tls_failure_name(enum wire_tls_failure failure)
{
	return (unsigned)failure < WIRE_TLS_FAILURE_COUNT ? failure_names[failure] : "unknown";
}

void tls_fail(struct wire_tls *tls, enum wire_tls_failure failure, const char *format, ...)
{
	va_list args;

	if (tls->failure != WIRE_TLS_OK)
		return;
	tls->failure = failure;
	va_start(args, format);
	(void)text_vput(tls->error, sizeof(tls->error), format, args);
	va_end(args);
}

void tls_drain_queue(char *text, size_t size)
{
	const unsigned long first = ERR_get_error();
	const char *reason	  = first ? ERR_reason_error_string(first) : NULL;

	snprintf(text, size, "%s", reason ? reason : "no reason given");
	ERR_clear_error();
}

/* Write "YYYY-MM-DD", or "?" if @when is not a valid date. */
static void date_text(const ASN1_TIME *when, char *text, size_t size)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) != 1)
		snprintf(text, size, "?");
	else
		snprintf(text, size, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday);
}

/* Write the name in @cert ("host/web1"), or "no valid name" if @cert has none or is NULL.
 * tls_identity() checks the form of the name, so the name is safe to log even if the certificate is
 * not trusted. */
static void name_text(const X509 *cert, char *text, size_t size)
{
	struct wire_peer peer;
	const char *reason;

	if (cert && tls_identity(cert, &peer, &reason) == 0)
		snprintf(text, size, "%s/%s", wire_peer_role_name(peer.role), peer.name);
	else
		snprintf(text, size, "no valid name");
}

void tls_fail_from_verify(struct wire_tls *tls, int code, const X509 *cert)
{
	char name[96], date[48] = "?";

	name_text(cert, name, sizeof(name));
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		if (cert)
			date_text(X509_get0_notAfter(cert), date, sizeof(date));
		tls_fail(tls, WIRE_TLS_EXPIRED,
			 "peer's certificate expired on %s (%s), or our clock is ahead", date,
			 name);
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		if (cert)
			date_text(X509_get0_notBefore(cert), date, sizeof(date));
		tls_fail(tls, WIRE_TLS_NOT_YET_VALID,
			 "peer's certificate is not valid before %s (%s); compare the clocks", date,
			 name);
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		tls_fail(tls, WIRE_TLS_SELF_SIGNED, "peer's certificate is self-signed (%s)", name);
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		tls_fail(tls, WIRE_TLS_UNKNOWN_CA,
			 "peer's certificate is not signed by the configured CA (%s)", name);
		break;
	case X509_V_ERR_CERT_REVOKED:
		tls_fail(tls, WIRE_TLS_REVOKED, "peer's certificate is revoked (%s)", name);
		break;
	case X509_V_ERR_CRL_HAS_EXPIRED:
		tls_fail(tls, WIRE_TLS_EXPIRED,
			 "the revocation list is past its next update, so no peer can be trusted; "
			 "renew it (%s)",
			 name);
		break;
	default:
		tls_fail(tls, WIRE_TLS_BAD_CERTIFICATE, "peer's certificate is refused: %s (%s)",
			 X509_verify_cert_error_string(code), name);
	}
}

/* Record that the peer sent an alert, and what the alert can mean for the reader of our log. */
static void fail_from_alert(struct wire_tls *tls, int alert)
{
	const char *hint = "";

	switch (alert) {
	case SSL_AD_PROTOCOL_VERSION:
		tls_fail(tls, WIRE_TLS_OLD_VERSION,
			 "peer cannot do TLS 1.3 (it refused our hello)");
		return;
	case SSL_AD_CERTIFICATE_EXPIRED:
		hint = ": our certificate expired, or one of the two clocks is wrong";
		break;
	case SSL_AD_BAD_CERTIFICATE: /* also sent for a certificate that is not valid yet */
		hint = ": its log says more; perhaps its clock is behind";
		break;
	case SSL_AD_UNKNOWN_CA:
		hint = ": our certificate is not signed by the peer's CA";
		break;
	case SSL_AD_CERTIFICATE_REVOKED:
		hint = ": our certificate is revoked";
		break;
	case SSL_AD_HANDSHAKE_FAILURE:
	case SSL_AD_ACCESS_DENIED:
		hint = ": most likely our role or name has no business there; its log says more";
		break;
	default:
		break;
	}
	tls_fail(tls, WIRE_TLS_PEER_REFUSED, "peer refused the connection (alert: %s)%s",
		 SSL_alert_desc_string_long(alert), hint);
}

void tls_fail_from_queue(struct wire_tls *tls)
{
	const unsigned long first = ERR_get_error();
	const char *text	  = first ? ERR_reason_error_string(first) : NULL;
	const int reason	  = ERR_GET_REASON(first);

	ERR_clear_error();
	if (tls->failure != WIRE_TLS_OK)
		return; /* the verify callback has recorded a better reason */
	if (ERR_GET_LIB(first) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
		fail_from_alert(tls, reason - SSL_AD_REASON_OFFSET);
		return;
	}
	if (ERR_GET_LIB(first) == ERR_LIB_SSL) {
		switch (reason) {
		case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
			tls_fail(tls, WIRE_TLS_NO_CERTIFICATE, "peer sent no certificate");
			return;
		case SSL_R_UNSUPPORTED_PROTOCOL:
		case SSL_R_VERSION_TOO_LOW:
			tls_fail(tls, WIRE_TLS_OLD_VERSION,
				 "peer cannot do TLS 1.3, which is the only version allowed");
			return;
		case SSL_R_WRONG_VERSION_NUMBER:
		case SSL_R_HTTP_REQUEST:
		case SSL_R_HTTPS_PROXY_REQUEST:
			tls_fail(tls, WIRE_TLS_PROTOCOL, "peer does not speak TLS (%s)",
				 text ? text : "?");
			return;
		default:
			break;
		}
	}
	tls_fail(tls, WIRE_TLS_PROTOCOL, "TLS broke: %s", text ? text : "no reason given");
}
