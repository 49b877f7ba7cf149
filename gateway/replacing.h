/* replacing.h - replaces the gateway's program with its next version. The time without a gateway is
 * only a few milliseconds.
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
 * Two programs never act as the gateway at once: the next one opens journal and port only after GO,
 * when the other one has closed them. The lock of state_dir and the incarnation (vm/incarnation.h)
 * prevent two gateways too. If the next program finds that it would not be able to start, the
 * running program continues. If the next program gets GO but does not say SERVES, the program that
 * ran before starts again.
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
	REPLACING_ENDS,	  /* the next program is about to end, by itself or because it is killed */
};

struct replacing {
	/* our end of the socket pair; fd -1: none. Must stay the first member */
	struct source next;
	const char *config_path, *state_dir; /* borrowed */
	int epoll_fd;			     /* borrowed */
	enum replacing_phase phase;
	pid_t pid;	     /* of the next program; 0: none */
	uint64_t give_up_ns; /* when to kill the next program */
	uint64_t look_ns;    /* when to look again whether the next program has ended */
	const char *why;     /* why we kill the next program; NULL: it ends by itself */
};

/* ---- the running program */

/* Initialise @replacing: there is no next program. @config_path is the gateway's file, which the
 * next program will read; @state_dir is the gateway's own. Both are borrowed. */
void replacing_init(struct replacing *replacing, const char *config_path, const char *state_dir,
		    int epoll_fd);

/* Start the next program. If that fails, or if there is a next program already, only logs this.
 * Blocks until the kernel has read the program's file. */
void replacing_ask(struct replacing *replacing, uint64_t now_ns);

/* Returns true if the next program waits for GO. The caller must then close everything and call
 * replacing_go(), as soon as no work is under way for which this would have to wait, or which it
 * would cut off. */
bool replacing_waits(const struct replacing *replacing);

/* If the next program is not ready in time, or waits for GO too long, kill it. If the next program
 * has ended, log why. Call this at replacing_deadline_ns() or earlier. */
void replacing_tick(struct replacing *replacing, uint64_t now_ns);
/* Returns when replacing_tick() must next be called, or UINT64_MAX if there is no next program. */
uint64_t replacing_deadline_ns(const struct replacing *replacing);

/* Hand over to the next program, if there is one. Call this when the gateway has closed everything.
 * If the next program waits for GO, @may_go is true, and no signal has asked this process to end:
 * sends GO, waits until the next program serves, and tells systemd that it is the main process.
 * Otherwise ends the next program. @signal_fd is from signals_open(). @since_ns is the time of the
 * gateway's last turn. Returns
 *      0       the caller must exit
 *      -EPIPE  the next program got GO but did not serve, and has ended; nobody is the gateway, so
 *              the caller must call replacing_start_again()
 * Blocks for up to 5 s; then, if the next program must be killed, until it has ended, which can
 * take longer while it waits for a disk. */
int replacing_go(struct replacing *replacing, bool may_go, int signal_fd, uint64_t since_ns)
	__attribute__((warn_unused_result));

/* Start the present program again in this process, in the same version even if an update has
 * replaced the program's file. Returns only if this failed. The process should then end. */
void replacing_start_again(const char *config_path);

/* ---- the next program */

/* Check that a running gateway has started this program to replace it. From now until
 * replacing_wait(), the kernel kills this program if that gateway ends. Call this before everything
 * else. Returns 0. If the check fails, prints what is wrong to stderr, and returns -EINVAL. */
int replacing_begin(void) __attribute__((warn_unused_result));

/* Check whether this program would be able to start if the running one ended now. Checks the VMs'
 * files, state_dir and the management address. A VM whose file is gone is an error, unless the VM
 * is unprotected and need not be protected again. @state_dir is the running program's. Blocks for a
 * few writes to disk. Returns 0; or logs what is wrong, and returns -errno. This check cannot
 * detect a TCP port that another process uses, or a disk that fails later. */
int replacing_check(const struct gw_config *config, const char *state_dir)
	__attribute__((warn_unused_result));

/* Send READY to the running program, and wait for GO. @signal_fd is from signals_open(). Returns
 *      0               GO came; *ret_since_ns is the time (CLOCK_MONOTONIC) of the running
 *                      program's last turn, or 0 if GO came without a time
 *      -ECANCELED      the running program has ended without GO, or a signal asks us to end
 *      another -errno  of the socket
 * On error, logs it; the program must end. */
int replacing_wait(int signal_fd, uint64_t *ret_since_ns) __attribute__((warn_unused_result));

/* Send SERVES to the program that ran before, which then exits. */
void replacing_serves(void);

/* Take all signals that wait at @signal_fd. Returns true if one of them asks this process to end.
 * Sets *ret_reload to true if one of them asks it to read its files again; if not, *ret_reload is
 * unchanged. */
bool replacing_is_ended(int signal_fd, bool *ret_reload);

#endif
