/* cmdline.h - splits, checks and completes the standby's QEMU command line. Pure text, no I/O.
 *
 * Why: the operator writes the command once, as for a shell. This module splits the command without
 * a shell, so no other program can run. The module also checks the command: a mistake leads to an
 * error that names the option. Without the check, QEMU could die or, worse, start with the wrong
 * memory.
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

/* Split and check @text. Quoting works as in a shell: '...' is literal; "..." may contain \" \\ \$
 * \`; outside of quotes \ may stand before any character; \ at a line's end joins two lines; # at
 * the start of a word starts a comment. Nothing is expanded: an unquoted $ ` | & ; < > ( ) is
 * refused. Also refused: options that Holdfast sets itself (-S -incoming -qmp -pidfile -mem-path, a
 * memory backend), options that cannot work (-daemonize -loadvm -numa), and a command without -m.
 * Returns 0 (the caller frees *ret_cmdline with cmdline_done()); -EINVAL with the reason in
 * *ret_error; -ENOMEM. */
int cmdline_parse(const char *text, struct cmdline *ret_cmdline, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check the network back ends in @c (-netdev, -nic, -net tap,...): each of their taps must be one
 * of @taps, which the VM's configuration file names, and none may be there twice. If there are
 * several @taps, each must be there. Options in JSON form are not checked; if there is one, each of
 * @taps may be missing elsewhere. Returns 0, or -EINVAL with the reason in *ret_error. */
int cmdline_check_taps(const struct cmdline *c, const struct tap_names *taps,
		       struct error *ret_error)
	__attribute__((warn_unused_result));

/* Append a copy of @word as one argument. Returns 0; -ENOMEM; -E2BIG if there are CMDLINE_WORDS_MAX
 * arguments already. */
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
