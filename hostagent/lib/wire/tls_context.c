/* Loads certificates and keys from files, sets the fixed policy, and checks the certificates and
 * identities of peers. */
#include "wire/tls_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/fd.h"
#include "base/text.h"
#include "wire/text.h"

#define FILE_SIZE_MAX   1048576 /* the largest file that is read; a revocation list may be large */
/* maximum size of the certificates that a peer sends; our chains have < 4 KiB */
#define CERT_LIST_MAX	32768
#define VERIFY_DEPTH	4
/* AES-128-GCM is first: it is the fastest on CPUs with AES instructions, and as strong as
 * P-256. */
#define CIPHERSUITES                                                                               \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define URI_SCHEME "holdfast://"

static const struct {
	const char *name;
	enum wire_peer_role role;
} roles[] = {
	{"host", WIRE_PEER_HOST},
	{"gateway", WIRE_PEER_GATEWAY},
	{"operator", WIRE_PEER_OPERATOR},
	{"viewer", WIRE_PEER_VIEWER},
};
#define N_ROLES (sizeof(roles) / sizeof(roles[0]))

const char *wire_peer_role_name(unsigned role)
{
	for (size_t i = 0; i < N_ROLES; i++) {
		if (roles[i].role == role)
			return roles[i].name;
	}
	return "unknown";
}

int wire_peer_parse(const char *uri, size_t size, struct wire_peer *ret_peer)
{
	const size_t scheme_size = strlen(URI_SCHEME);
	const char *role, *name;
	size_t role_size, name_size;

	if (size < scheme_size || memcmp(uri, URI_SCHEME, scheme_size) != 0)
		return -EINVAL;
	role = uri + scheme_size;
	name = memchr(role, '/', size - scheme_size);
	if (!name)
		return -EINVAL;
	role_size = (size_t)(name - role);
	name++;
	name_size = size - scheme_size - role_size - 1;
	if (!wire_name_bytes_are_valid(name, name_size))
		return -EINVAL;
	for (size_t i = 0; i < N_ROLES; i++) {
		if (strlen(roles[i].name) != role_size ||
		    memcmp(roles[i].name, role, role_size) != 0)
			continue;
		ret_peer->role = roles[i].role;
		memcpy(ret_peer->name, name, name_size);
		ret_peer->name[name_size] = '\0';
		return 0;
	}
	return -EINVAL;
}

int tls_identity(const X509 *cert, struct wire_peer *ret_peer, const char **ret_reason)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct wire_peer peer;
	int n_found = 0, n_valid = 0;

	/* Count the holdfast:// names. Ignore names that are no URIs, and URIs of other schemes. */
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_IA5STRING *uri;
		const char *text;
		size_t size;

		if (name->type != GEN_URI)
			continue;
		uri  = name->d.uniformResourceIdentifier;
		text = (const char *)ASN1_STRING_get0_data(uri);
		size = (size_t)ASN1_STRING_length(uri);
		if (size < strlen(URI_SCHEME) || memcmp(text, URI_SCHEME, strlen(URI_SCHEME)) != 0)
			continue;
		n_found++;
		if (wire_peer_parse(text, size, &peer) == 0)
			n_valid++;
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error(); /* a certificate without the extension is not an OpenSSL error */
	if (n_found == 1 && n_valid == 1) {
		*ret_peer = peer;
		return 0;
	}
	*ret_reason = n_found == 0 ? "no holdfast://ROLE/NAME in its subject alternative names"
		      : n_found > 1 ? "several holdfast:// names; exactly one is allowed"
				    : "its holdfast:// name has an unknown role or invalid name";
	return -EINVAL;
}

/* Write the roles in @mask as a text, such as "host or gateway". */
static void mask_text(unsigned mask, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < N_ROLES; i++) {
		if ((mask & roles[i].role) && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s",
						 used ? " or " : "", roles[i].name);
	}
}

int tls_verify_peer(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct wire_tls *tls = SSL_get_app_data(ssl);
	const X509 *cert     = X509_STORE_CTX_get_current_cert(store);
	const char *reason;
	char expected[64];

	if (!ok) {
		tls_fail_from_verify(tls, X509_STORE_CTX_get_error(store), cert);
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(store) != 0) /* not the peer's own certificate */
		return 1;
	if (tls_identity(cert, &tls->peer, &reason) < 0) {
		tls_fail(tls, WIRE_TLS_BAD_IDENTITY, "peer's certificate has %s", reason);
	} else if (!(tls->peer.role & tls->peer_roles)) {
		mask_text(tls->peer_roles, expected, sizeof(expected));
		tls_fail(tls, WIRE_TLS_WRONG_ROLE,
			 "peer is %s/%s by its certificate, but only a %s may connect here",
			 wire_peer_role_name(tls->peer.role), tls->peer.name, expected);
	} else {
		tls->peer_judged = true;
		return 1;
	}
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

/* ---- loading ---- */

/* The state that the loading functions share. */
struct loader {
	SSL_CTX *ssl_ctx;
	const char *path; /* path of the file that is being loaded */
	struct error *error;
};

static int fail(struct loader *l, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int fail(struct loader *l, int code, const char *format, ...)
{
	char reason[256];
	va_list args;

	va_start(args, format);
	(void)text_vput(reason, sizeof(reason), format, args);
	va_end(args);
	return error_set(l->error, code, "%s: %s", l->path, reason);
}

static int fail_openssl(struct loader *l, const char *what)
{
	char reason[128];

	tls_drain_queue(reason, sizeof(reason));
	return fail(l, -EINVAL, "%s (%s)", what, reason);
}

/* Read the file into *ret_data, which the caller must wipe and free. OpenSSL's own file reader is
 * not used, because its stdio buffer would keep a copy of the key. */
static int read_pem(struct loader *l, const char *path, bool is_key, uint8_t **ret_data,
		    size_t *ret_size)
{
	struct stat st;
	uint8_t *data;
	ssize_t n;
	int fd, r = 0;

	l->path = path;
	/* O_NONBLOCK: a daemon reloads files in its loop, and must not block if somebody has put a
	 * pipe in the place of a file. */
	fd	= open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return fail(l, -errno, "%s", strerror(errno));
	if (fstat(fd, &st) < 0)
		r = fail(l, -errno, "%s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		r = fail(l, -EINVAL, "not a regular file");
	else if (st.st_size > FILE_SIZE_MAX)
		r = fail(l, -EINVAL, "larger than %d bytes", FILE_SIZE_MAX);
	else if (is_key && (st.st_mode & 07))
		r = fail(l, -EPERM, "private key is open to others (mode %04o): chmod 600",
			 st.st_mode & 07777);
	data = r < 0 ? NULL : malloc((size_t)st.st_size + 1);
	if (r == 0 && !data)
		r = fail(l, -ENOMEM, "out of memory");
	n = r < 0 ? 0 : read(fd, data, (size_t)st.st_size);
	if (n < 0)
		r = fail(l, -errno, "%s", strerror(errno));
	fd_close(fd);
	if (r < 0) {
		free(data);
		return r;
	}
	*ret_data = data;
	*ret_size = (size_t)n;
	return 0;
}

typedef int (*load_func)(struct loader *l, BIO *bio);

static int load_file(struct loader *l, const char *path, bool is_key, load_func load)
{
	uint8_t *data = NULL;
	size_t size = 0;
	BIO *bio;
	int r = read_pem(l, path, is_key, &data, &size);

	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(data, (int)size);
	r   = bio ? load(l, bio) : fail(l, -ENOMEM, "out of memory");
	BIO_free(bio);
	OPENSSL_cleanse(data, size);
	free(data);
	return r;
}

/* Does OpenSSL's error queue say only that the PEM file has no further entry? If so, clears the
 * queue. */
static bool at_end_of_pem(void)
{
	const unsigned long last = ERR_peek_last_error();
	const bool end		 = last == 0 || (ERR_GET_LIB(last) == ERR_LIB_PEM &&
						 ERR_GET_REASON(last) == PEM_R_NO_START_LINE);

	if (end)
		ERR_clear_error();
	return end;
}

static int load_ca(struct loader *l, BIO *bio)
{
	X509_STORE *store = SSL_CTX_get_cert_store(l->ssl_ctx);
	X509 *cert;
	int n = 0, ok = 1;

	for (; ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); n++) {
		ok = X509_STORE_add_cert(store, cert);
		X509_free(cert);
	}
	if (!ok || !at_end_of_pem())
		return fail_openssl(l, "unusable CA certificate");
	return n > 0 ? 0 : fail(l, -EINVAL, "no certificate in it");
}

static int load_crl(struct loader *l, BIO *bio)
{
	X509_STORE *store = SSL_CTX_get_cert_store(l->ssl_ctx);
	X509_CRL *crl;
	int n = 0, ok = 1;

	for (; ok && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)); n++) {
		ok = X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	if (!ok || !at_end_of_pem())
		return fail_openssl(l, "unusable revocation list");
	if (n == 0)
		return fail(l, -EINVAL, "no revocation list in it");
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

static int load_cert(struct loader *l, BIO *bio)
{
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL), *next;
	int ok;

	if (!cert)
		return fail_openssl(l, "no usable certificate in it");
	ok = SSL_CTX_use_certificate(l->ssl_ctx, cert);
	X509_free(cert);
	while (ok == 1 && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		ok = (int)SSL_CTX_add0_chain_cert(l->ssl_ctx, next);
		if (ok != 1)
			X509_free(next);
	}
	if (ok != 1 || !at_end_of_pem())
		return fail_openssl(l, "unusable certificate");
	return 0;
}

/* The password callback, which gives no password. Without a callback, OpenSSL would ask for the
 * password at the terminal. */
static int no_password(char *buffer, int size, int writing, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int load_key(struct loader *l, BIO *bio)
{
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	int ok;

	if (!key)
		return fail_openssl(l, "no usable private key in it; it must not be encrypted");
	ok = SSL_CTX_use_PrivateKey(l->ssl_ctx, key);
	EVP_PKEY_free(key); /* wipes the key when its last reference is released */
	if (ok != 1 || SSL_CTX_check_private_key(l->ssl_ctx) != 1)
		return fail_openssl(l, "private key does not belong to the certificate");
	return 0;
}

/* Refuse our own certificate at once if no peer could accept it. */
static int check_self(struct loader *l, const char *path, struct wire_peer *ret_self)
{
	const X509 *cert = SSL_CTX_get0_certificate(l->ssl_ctx);
	const char *reason;

	l->path = path;
	if (tls_identity(cert, ret_self, &reason) < 0)
		return fail(l, -EINVAL, "certificate has %s", reason);
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		return fail(l, -EINVAL, "certificate has expired: renew it");
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		return fail(l, -EINVAL, "certificate is not valid yet: check this host's clock");
	return 0;
}

static int set_policy(SSL_CTX *ctx)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, tls_verify_peer);
	SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
	SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_security_level(ctx, 2);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(ctx, CIPHERSUITES) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, "X25519:P-256") == 1 &&
	       SSL_CTX_set_num_tickets(ctx, 0) == 1;
}

static int load_all(struct loader *l, const struct wire_tls_config *config,
		    struct wire_peer *ret_self)
{
	int r;

	l->path = "TLS policy";
	if (!set_policy(l->ssl_ctx))
		return fail_openssl(l, "OpenSSL on this host refuses it");
	r = load_file(l, config->ca_path, false, load_ca);
	if (r == 0 && config->crl_path)
		r = load_file(l, config->crl_path, false, load_crl);
	if (r == 0)
		r = load_file(l, config->cert_path, false, load_cert);
	if (r == 0)
		r = load_file(l, config->key_path, true, load_key);
	if (r == 0)
		r = check_self(l, config->cert_path, ret_self);
	return r;
}

int tls_load(const struct wire_tls_config *config, enum wire_tls_side side, SSL_CTX **ret_ctx,
	     struct wire_peer *ret_self, struct error *ret_error)
{
	struct loader l = {.path = "TLS", .error = ret_error};
	int r;

	ERR_clear_error();
	l.ssl_ctx =
		SSL_CTX_new(side == WIRE_TLS_CLIENT ? TLS_client_method() : TLS_server_method());
	r = l.ssl_ctx ? load_all(&l, config, ret_self) : fail(&l, -ENOMEM, "out of memory");
	ERR_clear_error();
	if (r < 0)
		SSL_CTX_free(l.ssl_ctx);
	else
		*ret_ctx = l.ssl_ctx;
	return r;
}

int wire_tls_context_new(const struct wire_tls_config *config, enum wire_tls_side side,
			 struct wire_tls_context **ret_context, struct error *ret_error)
{
	struct wire_tls_context *context = calloc(1, sizeof(*context));
	int r = context ? 0 : -ENOMEM;

	if (r == 0) {
		context->side = side;
		atomic_init(&context->references, 1);
		(void)pthread_mutex_init(&context->lock, NULL);
		r = tls_remember_files(context, config);
	}
	if (r < 0) {
		(void)error_set(ret_error, r, "TLS: out of memory");
	} else {
		r = tls_load(config, side, &context->ssl_ctx, &context->self, ret_error);
	}
	if (r < 0) {
		wire_tls_context_free(context);
		return r;
	}
	*ret_context = context;
	return 0;
}

struct wire_tls_context *wire_tls_context_free(struct wire_tls_context *context)
{
	if (!context || atomic_fetch_sub(&context->references, 1) > 1)
		return NULL;
	SSL_CTX_free(context->ssl_ctx);
	for (size_t i = 0; i < TLS_N_FILES; i++)
		free(context->paths[i]);
	(void)pthread_mutex_destroy(&context->lock);
	free(context);
	return NULL;
}

const struct wire_peer *wire_tls_context_self(const struct wire_tls_context *context)
{
	return &context->self;
}
