/* obeyed.h - RUN_DIR/gateway.incarnation: the youngest gateway that this host has obeyed, for the next agent.
 *
 * Why: a second gateway that was started from an old copy of a state_dir believes what that copy says. Its
 * incarnation is lower than that of the one which came after it, so a host that keeps the highest takes
 * no order and no lease of it. One line, "115472943812609\n"; replaced whole.
 * Threads: any (no state). Blocks on the file system.
 */
#ifndef OBEYED_H
#define OBEYED_H

#include <stdint.h>

/* 0; no file: 0 with *ret_incarnation 0; -EINVAL: the content is damaged; other -errno. */
int obeyed_load(const char *run_dir, uint64_t *ret_incarnation) __attribute__((warn_unused_result));

/* 0 or -errno; on error the old content stands. */
int obeyed_store(const char *run_dir, uint64_t incarnation) __attribute__((warn_unused_result));

#endif
