/* replacing.h - replaces the gateway's program with its next version, with only a moment in which
 * there is no gateway.
 *
 * Why: while there is no gateway, guests' output is held. The slow steps of a start need nothing
 * that the running gateway owns: DPDK is loaded, other hosts are asked for our address, and files
 * are read. So the running program starts the next one as a child, which takes these steps. Only
 * after that does the running program end.
 *
 *	running program: SIGUSR2: start the next one, go on
 *	next program:      read files, load DPDK, ask for the address; READY
 *	running program: close everything; GO
 *	next program:      open journal, port, sessions; SERVES
 *	running program: exit
 *
 * Two programs never act as the gateway at once: the next one opens journal and port after GO, as
 * any start does. The lock of state_dir and the incarnation (vm/incarnation.h) prevent this too. If
 * the next program finds that it would not be able to start, the running program continues. If the
 * next program ends after GO without SERVES, the program that ran before starts again.
 *
 * Where: main.c, on both sides. replacing.c has the running program's side, replacing_next.c the
 * next one's. Threads: the gateway's loop.
 * See docs/decisions/0065-gateway-replaced-in-a-moment.md.
 */
#ifndef GATEWAY_REPLACING_H
#define GATEWAY_REPLACING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/config.h"
#include "loop/source.h"

/* The messages between the two programs. READY and SERVES are one byte each. GO is one byte, then
 * the time (CLOCK_MONOTONIC) of the running program's last turn: 8 bytes, big endian. A next
 * program also accepts a GO without the time, or with more bytes after the time. */
#define REPLACING_READY	   'r'
#define REPLACING_GO	   'g'
#define REPLACING_SERVES   's'
#define REPLACING_GO_BYTES 9
#define REPLACING_FD	   3 /* the next program's end of the socket pair */

enum replacing_phase {
	REPLACING_IDLE = 0,
	REPLACING_STARTS, /* the next program prepares itself */
	REPLACING_WAITS,  /* the next program waits for GO */
	REPLACING_ENDS,	  /* the next program ends, or was killed */
};

struct replacing {
	/* our end of the socket pair; fd -1: none. Must stay the first member */
	struct source next;
	const char *config_path, *state_dir; /* borrowed */
	int epoll_fd;			     /* borrowed */
	enum replacing_phase phase;
	pid_t pid;	     /* of the next program; 0: none */
	uint64_t give_up_ns; /* when to kill the next program */
	uint64_t look_ns;    /* when to check next whether it has ended */
	const char *why;     /* why it was killed; NULL: it ended by itself */
};

/* ---- the running program */

/* @config_path: the gateway's file, which the next program will read. */
void replacing_init(struct replacing *replacing, const char *config_path, const char *state_dir,
		    int epoll_fd);

/* Start the next program. If that fails, or if there is one already, logs it and does nothing
 * else. Blocks until the kernel has read the program's file. */
void replacing_ask(struct replacing *replacing, uint64_t now_ns);

/* Returns true if the next program waits. The caller must then end, and call replacing_go(), as
 * soon as nothing is under way that the end would wait for or cut off. */
bool replacing_waits(const struct replacing *replacing);

/* If the next program, or the quiet moment, does not come in time, give up. If the next program has
 * ended, log why. Call this at replacing_deadline_ns() or earlier. */
void replacing_tick(struct replacing *replacing, uint64_t now_ns);
uint64_t replacing_deadline_ns(const struct replacing *replacing);

/* Call this when the gateway has closed everything. If @may_go, the next program waits, and no
 * signal ends us: tells it to go, waits until it serves, and tells systemd that it is the main
 * process. Otherwise kills it, if there is one. @signal_fd: from signals_open(). @since_ns: when
 * the gateway's last turn was. Returns 0: exit. Returns -EPIPE if the next program does not serve
 * and has ended: then nobody is the gateway, and the caller must call replacing_start_again().
 * Blocks for up to 5 s, and then until a next program that waits for a disk has ended. */
int replacing_go(struct replacing *replacing, bool may_go, int signal_fd, uint64_t since_ns)
	__attribute__((warn_unused_result));

/* Start the present program again in this process, even if an update has replaced its file. Returns
 * only if this failed. The process should then end. */
void replacing_start_again(const char *config_path);

/* ---- the next program */

/* Check that a gateway has started us to replace it, and end with it from now on. Call this before
 * everything else. Returns 0; or prints what is wrong to stderr, and returns -EINVAL. */
int replacing_begin(void) __attribute__((warn_unused_result));

/* Check whether this program would be able to start if the running one ended now. Checks the VMs'
 * files, state_dir and the management address. @state_dir: that of the running program. Blocks for
 * a few writes to disk. Returns 0; or logs what is wrong, and returns -errno. A VM whose file is
 * gone is wrong unless it is unprotected. This check cannot detect a port that another process
 * uses, or a disk that fails later. */
int replacing_check(const struct gw_config *config, const char *state_dir)
	__attribute__((warn_unused_result));

/* Tell the running program that we are ready, and wait until it tells us to go. @signal_fd: from
 * signals_open(). Returns 0: go; *ret_since_ns is the time (CLOCK_MONOTONIC) of the running
 * program's last turn; 0 if GO came without it. Returns -ECANCELED if the running program has ended
 * without GO, or if a signal ends us; or another -errno. Logs why. */
int replacing_wait(int signal_fd, uint64_t *ret_since_ns) __attribute__((warn_unused_result));

/* Tell the running program that we serve: it exits then. */
void replacing_serves(void);

/* Takes all signals that wait at @signal_fd. Returns true if one asks this process to end. Sets
 * *ret_reload to true if one asks it to read its files again. */
bool replacing_is_ended(int signal_fd, bool *ret_reload);

#endif
