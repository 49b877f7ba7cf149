/* option.h - the value of one QEMU option, as a list of settings. Pure text, no I/O.
 *
 * Why: the standby's command differs from the primary's in single settings (file, tap, machine).
 * QEMU has two forms for a list of settings. This module reads both, and prints the one with
 * commas.
 *
 *	tap,id=n0,ifname=tap0                            ─┐   "" = tap, id = n0, ifname = tap0
 *	{"type":"tap","id":"n0","ifname":"tap0"}         ─┘   type = tap, id = n0, ifname = tap0
 *	{"driver":"raw","cache":{"direct":true}}              driver = raw, cache.direct = on
 *
 * Where: the files of hostagent/inspect only. Threads: any (no state). Allocates.
 */
#ifndef INSPECT_OPTION_H
#define INSPECT_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#define OPTION_SETTINGS_MAX 96u

struct option_setting {
	char *key; /* "" if the setting is a word without `=` */
	char *value;
};

/* An all-zero struct is an empty list. */
struct option_list {
	struct option_setting items[OPTION_SETTINGS_MAX];
	size_t n;
	/* 0; or -ENOMEM or -E2BIG after a change has failed. Then option_print() returns NULL */
	int error;
};

/* Read @text, in either form. If the first setting is a word without `=`, it gets the key
 * @first_key, which can be "". Returns 0; the caller must free *ret_list with option_done().
 * Errors:
 *      -EINVAL  the JSON is not valid, or has a null or a number with a fraction
 *      -E2BIG   there are too many settings
 *      -ENOMEM  memory is short */
int option_parse(const char *text, const char *first_key, struct option_list *ret_list)
	__attribute__((warn_unused_result));

/* Returns the value of @key; NULL if the list does not have @key. The value is valid until
 * option_set() or option_drop() changes that key. If the list has the key twice, the last value
 * counts. */
const char *option_get(const struct option_list *list, const char *key);

/* Is the value of @key "on", "yes" or "true"? */
bool option_is_on(const struct option_list *list, const char *key);

/* Set the value of @key. A new key is added at the end. An error is stored in list->error. */
void option_set(struct option_list *list, const char *key, const char *value);

/* Remove @key. If @key ends with '.', remove every key that begins with @key. */
void option_drop(struct option_list *list, const char *key);

/* Returns the list in the form of a command line, which the caller frees. Returns NULL if there is
 * no memory, or if list->error is set. */
char *option_print(const struct option_list *list) __attribute__((warn_unused_result));

void option_done(struct option_list *list); /* accepts a zeroed struct */

#endif
