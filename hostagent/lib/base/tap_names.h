/* tap_names.h - the names of one guest's taps: one for each of its network cards.
 *
 * The VM's file, the hold, the witness and the checks of QEMU all use this short list. It is a
 * struct of fixed size, so it can be copied, and nobody needs to free it.
 *
 *      "tap0 tap1"  ─ tap_names_parse() ─►  n = 2, name = {"tap0", "tap1"}  ─►  "tap0, tap1"
 *
 * The order has no meaning: QEMU's options decide which card has which tap.
 * Where: config/ parses the names, and all other parts of the agent only read them. Threads: any
 * (no state).
 */
#ifndef BASE_TAP_NAMES_H
#define BASE_TAP_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_NAMES_MAX	   8u  /* maximum number of taps of a guest, and so of its cards */
#define TAP_NAME_BYTES	   16u /* IFNAMSIZ: the size of a name, with its NUL */
#define TAP_NAMES_TEXT_MAX (TAP_NAMES_MAX * (TAP_NAME_BYTES + 1)) /* size of the longest text */

struct tap_names {
	uint32_t n;
	char name[TAP_NAMES_MAX][TAP_NAME_BYTES]; /* n names, each once */
};

/* Read names with blanks between them. Returns 0;
 * -EINVAL: there is no name, or a name is too long;
 * -EEXIST: a name occurs twice;
 * -E2BIG: there are more than TAP_NAMES_MAX.
 * On error *ret_names is unchanged. */
int tap_names_parse(const char *text, struct tap_names *ret_names)
	__attribute__((warn_unused_result));

/* Add @name at the end. Returns 0. On an error of tap_names_parse(), returns it, and @names is
 * unchanged. */
int tap_names_add(struct tap_names *names, const char *name) __attribute__((warn_unused_result));

bool tap_names_has(const struct tap_names *names, const char *name);

/* Write the names to @ret_text, with @between between them: "tap0, tap1". The text is cut to @size.
 * Returns @ret_text. */
const char *tap_names_print(const struct tap_names *names, const char *between, char *ret_text,
			    size_t size);

#endif
