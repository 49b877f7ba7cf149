/* mint_certs.h - makes certificates for tests, without other programs, and writes them to a
 * temporary directory.
 *
 * The tests make their own certificates, because the tree holds no keys and some tests need
 * certificates that no PKI should issue. Any failure here ends the test program, which cannot test
 * anything without certificates. Only one thread may use these functions.
 *
 *	char *dir = mint_dir_new();
 *	struct mint_ca *ca = mint_ca_new("test CA");
 *	mint_ca_write(ca, dir, "ca");                                DIR/ca.pem
 *	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/a"}, dir, "a");  DIR/a.pem a.key
 *	context = mint_context(dir, "ca", "a", WIRE_TLS_CLIENT);
 *	mint_dir_remove(dir);
 */
#ifndef MINT_CERTS_H
#define MINT_CERTS_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/tls.h"

struct mint_ca;

struct mint_options {
	const char *uri;	/* first URI SAN, or NULL */
	const char *second_uri; /* second URI SAN, or NULL */
	long valid_from_s;	/* relative to now; 0 = an hour ago */
	long valid_until_s;	/* relative to now; 0 = in an hour */
	bool self_signed;	/* signed by its own key instead of the CA's */
	long serial;		/* 0: the next unused number */
};

char *mint_dir_new(void);	   /* a new directory; free with mint_dir_remove() */
void mint_dir_remove(char *dir);   /* also removes all its files; frees the string */
struct mint_ca *mint_ca_new(const char *name);
void mint_ca_free(struct mint_ca *ca);
void mint_ca_write(const struct mint_ca *ca, const char *dir, const char *file);

/* Write DIR/FILE.pem and DIR/FILE.key (mode 0600). */
void mint_leaf(struct mint_ca *ca, const struct mint_options *options, const char *dir,
	       const char *file);

/* Write DIR/FILE.pem: a revocation list that revokes @serial, or an empty one if @serial is 0. */
void mint_crl(const struct mint_ca *ca, long serial, const char *dir, const char *file);

/* Write DIR/FILE with @text. */
void mint_text(const char *dir, const char *file, const char *text);

/* Make a context from DIR/CA_FILE.pem, DIR/FILE.pem and DIR/FILE.key. Ends the program if these
 * files are refused. */
struct wire_tls_context *mint_context(const char *dir, const char *ca_file, const char *file,
				      enum wire_tls_side side);

/* Make what most tests need: a client context for host a and a server context for gateway gw, with
 * certificates of one CA. The caller frees both. No files are left. */
void mint_two(struct wire_tls_context **ret_agent, struct wire_tls_context **ret_gateway);

#endif
