/* cmdline.h - splits, checks and completes the standby's QEMU command line. Pure text, no I/O.
 *
 * Why: the operator writes the command as for a shell. This module splits it without a shell, so
 * that no other program can run. It also finds mistakes, and names the option. Without these checks
 * QEMU could die, or start with the wrong memory.
 *
 * Where: used by qemu.c, rehearse.c and hostagent/inspect. Threads: any (no state). Allocates.
 *
 *	"qemu-system-x86_64 -m 256 -append 'a b'" ─► { qemu-system-x86_64, -m, 256, -append, a b } ─► + ours
 */
#ifndef STANDBY_CMDLINE_H
#define STANDBY_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/tap_names.h"

#define CMDLINE_WORDS_MAX 1024
#define CMDLINE_BYTES_MAX 65536

struct cmdline {
	char **words;	    /* n_words arguments and a NULL; argv for execvp */
	size_t n_words;	    /* number of words; at least 1 after cmdline_parse() */
	uint64_t ram_bytes; /* size of guest RAM, from -m */
};

/* Split and check @text. Quoting works as in a shell:
 *
 *    '...'        is literal
 *    "..."        can contain \" \\ \$ \`
 *    \            outside of quotes: the next character is literal
 *    \            at a line's end: joins two lines
 *    #            starts a comment if it is at the start of a word
 *
 * Nothing is expanded. These are refused:
 * - an unquoted $ ` | & ; < > ( )
 * - options that Holdfast sets: -S -incoming -qmp -pidfile -mem-path, a memory backend
 * - options that cannot work: -daemonize -loadvm -numa
 * - a command without -m
 *
 * Returns 0 (the caller frees *ret_cmdline with cmdline_done());
 * -EINVAL: @text is refused, and *ret_error says why;
 * -ENOMEM. */
int cmdline_parse(const char *text, struct cmdline *ret_cmdline, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check the taps of the network back ends in @c (-netdev, -nic, -net tap,...). Each tap must be one
 * of @taps, the taps in the VM's configuration file. No tap may appear twice. If @taps has several
 * taps, each of them must appear.
 * Options in JSON form are not checked: such an option may name any tap, so if there is one, no tap
 * counts as missing. Returns 0, or -EINVAL with the reason in *ret_error. */
int cmdline_check_taps(const struct cmdline *c, const struct tap_names *taps,
		       struct error *ret_error)
	__attribute__((warn_unused_result));

/* Append a copy of @word as one argument. Returns 0;
 * -ENOMEM;
 * -E2BIG: there are CMDLINE_WORDS_MAX arguments already. */
int cmdline_add(struct cmdline *c, const char *word) __attribute__((warn_unused_result));

/* Append the options that make QEMU a standby: incoming migration, guest RAM in the file @ram_path,
 * a monitor at @qmp_path, a pid file at @pid_path. A comma in a path is doubled, as QEMU requires.
 * Returns 0 or an error of cmdline_add(). */
int cmdline_add_standby(struct cmdline *c, const char *ram_path, const char *qmp_path,
			const char *pid_path) __attribute__((warn_unused_result));

/* Do @a and @b have the same arguments? */
bool cmdline_is_same(const struct cmdline *a, const struct cmdline *b);

/* Free the words; accepts a zeroed struct. */
void cmdline_done(struct cmdline *c);

#endif
