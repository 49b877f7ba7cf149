/* cmdline.h - the standby's QEMU command line: split, checked, completed. Pure text, no I/O.
 *
 * Why: the operator writes the command once, as for a shell. It is split here without a shell, so
 * it can never run anything else. It is checked here, so a mistake gives an error that names the
 * option, instead of a QEMU that dies or, worse, starts with the wrong memory.
 *
 * Where: qemu.c. Threads: any (no state). Allocates.
 *
 *	"qemu-system-x86_64 -m 256 -append 'a b'" ─► { qemu-system-x86_64, -m, 256, -append, a b } ─► + ours
 */
#ifndef STANDBY_CMDLINE_H
#define STANDBY_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CMDLINE_WORDS_MAX 1024
#define CMDLINE_BYTES_MAX 65536

struct cmdline {
	char **words;	    /* n_words words and a NULL; argv for execvp */
	size_t n_words;	    /* >= 1 after cmdline_parse */
	uint64_t ram_bytes; /* from -m */
};

/* Split and check @text. Quoting as in a shell: '...' literal; "..." with \" \\ \$ \` inside; \
 * before any other character; a \ at a line's end joins lines; # starts a comment where a word
 * would start. Nothing is expanded: a bare $ ` | & ; < > ( ) is refused. Refused options: those
 * that Holdfast sets itself (-S -incoming -qmp -pidfile -mem-path, a memory backend), those that
 * cannot work (-daemonize -loadvm -numa), a missing -m. 0, *ret_cmdline owned by the caller
 * (cmdline_done); -EINVAL with the reason in
 * *ret_error; -ENOMEM. */
int cmdline_parse(const char *text, struct cmdline *ret_cmdline, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Is each tap of @c's back ends (-netdev, -nic, -net tap,...) the one that the VM's file names?
 * JSON is not looked at.
 * 0; -EINVAL with the reason in *ret_error. */
int cmdline_check_tap(const struct cmdline *c, const char *tap, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Append one word (copied). 0; -ENOMEM; -E2BIG: CMDLINE_WORDS_MAX. */
int cmdline_add(struct cmdline *c, const char *word) __attribute__((warn_unused_result));

/* Append the options of a standby: incoming migration, guest RAM on @ram_path, monitor on
 * @qmp_path, @pid_path. A comma in a path is doubled, as QEMU requires. 0; errors of
 * cmdline_add(). */
int cmdline_add_standby(struct cmdline *c, const char *ram_path, const char *qmp_path,
			const char *pid_path) __attribute__((warn_unused_result));

/* The same words? */
bool cmdline_is_same(const struct cmdline *a, const struct cmdline *b);

/* Free the words; accepts a zeroed struct. */
void cmdline_done(struct cmdline *c);

#endif
