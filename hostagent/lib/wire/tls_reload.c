/* Reloads certificates, keys and revocation lists if their files change while the process runs, and
 * checks the peers of open connections against the new files. */
#include "base/clock.h"
#include "wire/tls_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

static void get_stamps(const struct wire_tls_context *context, struct tls_stamp *stamps)
{
	for (size_t i = 0; i < TLS_N_FILES; i++) {
		struct stat st;

		stamps[i] = (struct tls_stamp){0};
		if (!context->paths[i] || stat(context->paths[i], &st) < 0)
			continue;
		stamps[i] = (struct tls_stamp){
			.dev = (uint64_t)st.st_dev, .ino = (uint64_t)st.st_ino,
			.size = (uint64_t)st.st_size,
			.mtime_ns = (uint64_t)st.st_mtim.tv_sec * CLOCK_NS_PER_S +
				    (uint64_t)st.st_mtim.tv_nsec,
			.ctime_ns = (uint64_t)st.st_ctim.tv_sec * CLOCK_NS_PER_S +
				    (uint64_t)st.st_ctim.tv_nsec,
		};
	}
}

int tls_remember_files(struct wire_tls_context *context, const struct wire_tls_config *config)
{
	const char *const paths[TLS_N_FILES] = {config->ca_path, config->crl_path,
						config->cert_path, config->key_path};

	for (size_t i = 0; i < TLS_N_FILES; i++) {
		if (!paths[i])
			continue;
		context->paths[i] = strdup(paths[i]);
		if (!context->paths[i])
			return -ENOMEM;
	}
	/* Get the stamps before the files are read. If a file changes while it is being read, its
	 * next stamp differs from this one, so the file is read again. */
	get_stamps(context, context->stamps);
	return 0;
}

/* Reload the files, and set context->news. The caller holds the lock. */
static void read_anew(struct wire_tls_context *context)
{
	const struct wire_tls_config files = {
		.ca_path = context->paths[0], .crl_path = context->paths[1],
		.cert_path = context->paths[2], .key_path = context->paths[3],
	};
	struct wire_peer self;
	SSL_CTX *fresh;
	int r = tls_load(&files, context->side, &fresh, &self, &context->news_error);

	if (r == 0 &&
	    (self.role != context->self.role || strcmp(self.name, context->self.name) != 0)) {
		(void)error_set(
			&context->news_error, -EINVAL,
			"%s: is of %s/%s now, this process is %s/%s; restart it to change that",
			files.cert_path, wire_peer_role_name(self.role), self.name,
			wire_peer_role_name(context->self.role), context->self.name);
		SSL_CTX_free(fresh);
		r = -EINVAL;
	}
	context->news = r < 0 ? r : 1;
	if (r < 0)
		return;
	SSL_CTX_free(context->ssl_ctx); /* open connections hold their own references */
	context->ssl_ctx = fresh;
	atomic_fetch_add(&context->generation, 1);
}

void tls_look_at_files(struct wire_tls_context *context)
{
	struct tls_stamp stamps[TLS_N_FILES];

	get_stamps(context, stamps);
	(void)pthread_mutex_lock(&context->lock);
	if (memcmp(stamps, context->stamps, sizeof(stamps)) != 0) {
		/* A file that is still being copied will change again, and is then read again. */
		memcpy(context->stamps, stamps, sizeof(stamps));
		read_anew(context);
	}
	(void)pthread_mutex_unlock(&context->lock);
}

int wire_tls_context_refresh(struct wire_tls_context *context, struct error *ret_error)
{
	int news;

	tls_look_at_files(context);
	(void)pthread_mutex_lock(&context->lock);
	news = context->news;
	context->news = 0;
	if (news < 0)
		*ret_error = context->news_error;
	(void)pthread_mutex_unlock(&context->lock);
	return news;
}

SSL_CTX *tls_take_ssl_ctx(struct wire_tls_context *context, unsigned int *ret_generation)
{
	SSL_CTX *ctx;

	(void)pthread_mutex_lock(&context->lock);
	ctx = context->ssl_ctx;
	(void)SSL_CTX_up_ref(ctx);
	*ret_generation = atomic_load(&context->generation);
	(void)pthread_mutex_unlock(&context->lock);
	return ctx;
}

/* The verify callbacks for open connections accept some things that are refused for new
 * connections. Otherwise, if somebody forgot to renew a file, or if a clock jumped, all connections
 * between hosts and gateways would end at once, and all guests would stop. */

/* Accepts an outdated or missing revocation list. */
static int forgive_lists(int ok, X509_STORE_CTX *store)
{
	int code = X509_STORE_CTX_get_error(store);

	return ok || code == X509_V_ERR_CRL_HAS_EXPIRED || code == X509_V_ERR_CRL_NOT_YET_VALID ||
	       code == X509_V_ERR_UNABLE_TO_GET_CRL;
}

/* Does what forgive_lists() does, and also accepts a certificate that has expired or is not valid
 * yet. */
static int forgive_dates(int ok, X509_STORE_CTX *store)
{
	int code = X509_STORE_CTX_get_error(store);

	return code == X509_V_ERR_CERT_HAS_EXPIRED || code == X509_V_ERR_CERT_NOT_YET_VALID ||
	       forgive_lists(ok, store);
}

static bool is_person(const struct wire_tls *tls)
{
	return (tls->peer.role & (WIRE_PEER_OPERATOR | WIRE_PEER_VIEWER)) != 0;
}

/* Check whether the current files still accept the peer's certificate. If not, record the failure
 * in @tls. */
static void judge_again(struct wire_tls *tls, SSL_CTX *ctx)
{
	X509 *cert = SSL_get1_peer_certificate(tls->ssl);
	X509_STORE_CTX *store = X509_STORE_CTX_new();

	if (!cert || !store ||
	    X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(ctx), cert,
				SSL_get_peer_cert_chain(tls->ssl)) != 1) {
		tls_fail(tls, WIRE_TLS_BAD_CERTIFICATE,
			 "cannot look at the peer's certificate again");
	} else {
		X509_STORE_CTX_set_verify_cb(store, is_person(tls) ? forgive_lists : forgive_dates);
		if (X509_verify_cert(store) != 1)
			tls_fail_from_verify(tls, X509_STORE_CTX_get_error(store), cert);
	}
	X509_STORE_CTX_free(store);
	X509_free(cert);
	ERR_clear_error();
}

void tls_note_end(struct wire_tls *tls)
{
	X509 *cert = SSL_get1_peer_certificate(tls->ssl);

	tls->peer_ends = cert ? tls_seconds(X509_get0_notAfter(cert)) : INT64_MAX;
	X509_free(cert);
}

int wire_tls_recheck(struct wire_tls *tls)
{
	SSL_CTX *ctx;

	if (tls->failure != WIRE_TLS_OK)
		return -EPROTO;
	if (!tls->established || tls->peer_closed)
		return 0;
	if (atomic_load(&tls->context->generation) != tls->generation) {
		ctx = tls_take_ssl_ctx(tls->context, &tls->generation);
		judge_again(tls, ctx);
		SSL_CTX_free(ctx);
	} else if (is_person(tls) && (int64_t)time(NULL) > tls->peer_ends) {
		X509 *cert = SSL_get1_peer_certificate(tls->ssl);

		tls_fail_from_verify(tls, X509_V_ERR_CERT_HAS_EXPIRED, cert);
		X509_free(cert);
	}
	return tls->failure == WIRE_TLS_OK ? 0 : -EPROTO;
}
