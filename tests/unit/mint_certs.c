#include "mint_certs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/error.h"

#define HOUR_S 3600

struct mint_ca {
	X509 *cert;
	EVP_PKEY *key;
	long next_serial;
};

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "mint_certs:%d: %s\n", __LINE__, #condition);              \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

char *mint_dir_new(void)
{
	const char *tmp = getenv("TMPDIR");
	char *dir;

	NEED(asprintf(&dir, "%s/holdfast-test-XXXXXX", tmp ? tmp : "/tmp") > 0);
	NEED(mkdtemp(dir));
	return dir;
}

void mint_dir_remove(char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	NEED(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.')
			NEED(unlinkat(dirfd(d), e->d_name, 0) == 0);
	}
	closedir(d);
	NEED(rmdir(dir) == 0);
	free(dir);
}

static FILE *open_file(const char *dir, const char *file, const char *suffix)
{
	char path[512];
	int fd;

	NEED((size_t)snprintf(path, sizeof(path), "%s/%s%s", dir, file, suffix) < sizeof(path));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	NEED(fd >= 0);
	return fdopen(fd, "w");
}

void mint_text(const char *dir, const char *file, const char *text)
{
	FILE *f = open_file(dir, file, "");

	NEED(fputs(text, f) >= 0);
	NEED(fclose(f) == 0);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	NEED(x);
	NEED(X509_add_ext(cert, x, -1) == 1);
	X509_EXTENSION_free(x);
}

static X509 *new_cert(const char *name, long serial, EVP_PKEY *key, long from_s, long until_s)
{
	X509 *cert = X509_new();
	X509_NAME *subject;

	NEED(cert);
	subject = X509_get_subject_name(cert);
	NEED(X509_set_version(cert, X509_VERSION_3) == 1);
	NEED(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial) == 1);
	NEED(X509_gmtime_adj(X509_getm_notBefore(cert), from_s ? from_s : -HOUR_S));
	NEED(X509_gmtime_adj(X509_getm_notAfter(cert), until_s ? until_s : HOUR_S));
	NEED(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
					-1, -1, 0) == 1);
	NEED(X509_set_pubkey(cert, key) == 1);
	return cert;
}

struct mint_ca *mint_ca_new(const char *name)
{
	struct mint_ca *ca = calloc(1, sizeof(*ca));

	NEED(ca);
	ca->next_serial = 100;
	ca->key		= EVP_EC_gen("P-256");
	NEED(ca->key);
	ca->cert = new_cert(name, 1, ca->key, -2 * HOUR_S, 2 * HOUR_S);
	NEED(X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert)) == 1);
	add_extension(ca->cert, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	NEED(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
	return ca;
}

void mint_ca_free(struct mint_ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
	free(ca);
}

static void write_cert(const X509 *cert, const char *dir, const char *file)
{
	FILE *f = open_file(dir, file, ".pem");

	NEED(PEM_write_X509(f, cert) == 1);
	NEED(fclose(f) == 0);
}

void mint_ca_write(const struct mint_ca *ca, const char *dir, const char *file)
{
	write_cert(ca->cert, dir, file);
}

void mint_leaf(struct mint_ca *ca, const struct mint_options *o, const char *dir, const char *file)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char san[512];
	X509 *cert;
	FILE *f;

	NEED(key);
	cert = new_cert(file, o->serial ? o->serial : ca->next_serial++, key, o->valid_from_s,
			o->valid_until_s);
	NEED(X509_set_issuer_name(cert, X509_get_subject_name(o->self_signed ? cert : ca->cert)) ==
	     1);
	if (o->uri) {
		snprintf(san, sizeof(san), "URI:%s%s%s", o->uri, o->second_uri ? ",URI:" : "",
			 o->second_uri ? o->second_uri : "");
		add_extension(cert, NID_subject_alt_name, san);
	}
	NEED(X509_sign(cert, o->self_signed ? key : ca->key, EVP_sha256()) > 0);
	write_cert(cert, dir, file);
	f = open_file(dir, file, ".key");
	NEED(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	NEED(fclose(f) == 0);
	X509_free(cert);
	EVP_PKEY_free(key);
}

void mint_crl(const struct mint_ca *ca, long serial, const char *dir, const char *file)
{
	X509_CRL *crl	= X509_CRL_new();
	ASN1_TIME *last = X509_gmtime_adj(NULL, -HOUR_S), *next = X509_gmtime_adj(NULL, HOUR_S);
	FILE *f;

	NEED(crl && last && next);
	NEED(X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1);
	NEED(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->cert)) == 1);
	NEED(X509_CRL_set1_lastUpdate(crl, last) == 1 && X509_CRL_set1_nextUpdate(crl, next) == 1);
	if (serial) {
		X509_REVOKED *row   = X509_REVOKED_new();
		ASN1_INTEGER *value = ASN1_INTEGER_new();

		NEED(row && value && ASN1_INTEGER_set(value, serial) == 1);
		NEED(X509_REVOKED_set_serialNumber(row, value) == 1);
		NEED(X509_REVOKED_set_revocationDate(row, last) == 1);
		NEED(X509_CRL_add0_revoked(crl, row) == 1);
		ASN1_INTEGER_free(value);
	}
	NEED(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
	f = open_file(dir, file, ".pem");
	NEED(PEM_write_X509_CRL(f, crl) == 1);
	NEED(fclose(f) == 0);
	ASN1_TIME_free(last);
	ASN1_TIME_free(next);
	X509_CRL_free(crl);
}

struct wire_tls_context *mint_context(const char *dir, const char *ca_file, const char *file,
				      enum wire_tls_side side)
{
	char ca[512], cert[512], key[512];
	struct error error;
	struct wire_tls_config config = {.ca_path = ca, .cert_path = cert, .key_path = key};
	struct wire_tls_context *context;

	snprintf(ca, sizeof(ca), "%s/%s.pem", dir, ca_file);
	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, file);
	snprintf(key, sizeof(key), "%s/%s.key", dir, file);
	if (wire_tls_context_new(&config, side, &context, &error) < 0) {
		fprintf(stderr, "mint_context: %s\n", error.text);
		abort();
	}
	return context;
}

void mint_two(struct wire_tls_context **ret_agent, struct wire_tls_context **ret_gateway)
{
	struct mint_ca *ca = mint_ca_new("test CA");
	char *dir	   = mint_dir_new();

	mint_ca_write(ca, dir, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a"}, dir, "host");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, dir, "gateway");
	mint_ca_free(ca);
	*ret_agent   = mint_context(dir, "ca", "host", WIRE_TLS_CLIENT);
	*ret_gateway = mint_context(dir, "ca", "gateway", WIRE_TLS_SERVER);
	mint_dir_remove(dir);
}
