/* qmp.h - QEMU monitor client over a unix socket.
 *
 * Why: we talk to an unmodified QEMU through its monitor, and some commands (stop, the device
 * state, cont) lie in the guest's pause. QEMU reads its monitor one byte at a time, with about
 * eight system calls each. Measured: 12 us a byte on a busy two-core machine, so a plain
 * query-status takes 0.5 ms, nearly all of it for reading its text. Therefore:
 *
 *  - a command can be armed: all of it but the closing brace is sent while the guest runs, and in
 * the
 *    pause only the brace, one byte, must be read (qmp_arm);
 *  - commands are pipelined: with the "oob" capability, which we ask for, QEMU reads the next
 * command
 *    while it runs the last (without it QEMU reads later, which is only slower);
 *  - commands carry no "id": answers come in the order of the commands. The late answer to a
 * command
 *    whose wait timed out is counted and dropped.
 *
 * A pause with three commands (gate.h needs only one):
 *
 *	guest runs	{"execute":"stop"		armed: QEMU has parsed this much
 *	seal		}				stop runs
 *	stopped		{"execute":"xen-save-...}{"execute":"cont"	read while the pages are copied
 *	resume		}{"execute":"stop"		cont runs, the next stop is armed
 *
 * Sending the save together with stop's brace was tried. With few cores it is slower: QEMU's
 * reading thread and the vCPUs, which still run, compete with the main thread.
 *
 * Where: the epoch engine, the standby and vmm's own files. Uses qmp_parse. Threads: one
 * thread at a time per client. Blocks: as said per function, never longer than its timeout.
 */
#ifndef VMM_QMP_H
#define VMM_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

/* Commands sent and not answered. QEMU 7.2 stops reading a monitor at 8 queued ones. */
#define QMP_IN_FLIGHT_MAX 7u
/* Bytes of commands in one write. The longest we send name a device path and a property. */
#define QMP_SEND_MAX 8192u

/* Rendered commands, for qmp_arm() and qmp_send_rendered(). */
#define QMP_STOP "{\"execute\":\"stop\"}"
#define QMP_CONT "{\"execute\":\"cont\"}"

struct qmp;

/* Handles an event (STOP, RESUME, SHUTDOWN, RESET, POWERDOWN, ...). Called from within qmp_wait(),
 * qmp_execute(), qmp_hmp() and qmp_pump(). @event and @data (or NULL) are borrowed for the call.
 * The handler must not call this client. */
typedef void (*qmp_event_fn)(void *arg, const char *event, const json_t *data);

/* Connect to the monitor at @path, read the greeting, negotiate. Blocks up to @timeout_ns.
 * 0, *ret_q to be closed by the caller; else
 * -ENOENT:       no such socket (is QEMU started with -qmp unix:PATH,server=on,wait=off?)
 * -ECONNREFUSED: the socket is there but nobody listens: that QEMU is gone
 * -EBUSY:        connected, but no greeting came: another client holds the monitor (QEMU serves one
 *                client per socket), or QEMU hangs
 * -EPROTO:       what answered does not speak QMP
 * -ENAMETOOLONG: @path does not fit into a socket address
 * other -errno. qmp_open_error() gives a text for each. */
int qmp_open(const char *path, uint64_t timeout_ns, struct qmp **ret_q)
	__attribute__((warn_unused_result));

/* What an error of qmp_open() means and what to do about it; static text. */
const char *qmp_open_error(int error);

/* Close. The guest is not touched. Accepts NULL, returns NULL. */
struct qmp *qmp_close(struct qmp *q);

void qmp_set_event_handler(struct qmp *q, qmp_event_fn handler, void *arg);

int qmp_fd(const struct qmp *q);    /* for epoll: readable -> qmp_pump(). Borrowed. */
pid_t qmp_pid(const struct qmp *q); /* who made the socket, by SO_PEERCRED: QEMU, as a rule */
uid_t qmp_uid(const struct qmp *q); /* the user it runs as */

/* "Class: description" of the last error answer, or what broke the connection; "" at first.
 * Borrowed until the next call on @q. */
const char *qmp_error(const struct qmp *q);

/* Send all but the last byte of @command (rendered; borrowed until it is sent or the client
 * closed). It runs when qmp_send_rendered() is called with the same text. If another command is
 * sent first, the armed one is first turned into one that QEMU refuses. An armed command does not
 * count as in flight. Does not allocate. 0, also if it is armed already; -EBUSY: another one is
 * armed; -EMSGSIZE; -EPIPE and other -errno: the monitor is lost. */
int qmp_arm(struct qmp *q, const char *command) __attribute__((warn_unused_result));

/* Send one command without waiting. @args is consumed, also on error; NULL for none. Call
 * qmp_wait() once per command sent; it gives the answers in order. Allocates.
 * 0; -EBUSY: QMP_IN_FLIGHT_MAX commands are unanswered; -EMSGSIZE; -ENOMEM; -EPIPE and other
 * -errno: the monitor is lost. */
int qmp_send(struct qmp *q, const char *command, json_t *args)
	__attribute__((warn_unused_result));

/* As qmp_send(), for a rendered @command: if it is armed, only its last byte is sent. Arms @next
 * (NULL: none) in the same write. Does not allocate. */
int qmp_send_rendered(struct qmp *q, const char *command, const char *next)
	__attribute__((warn_unused_result));

/* As qmp_send(), and pass @fd along (for `add-fd`, `getfd`). @fd stays the caller's. */
int qmp_send_with_fd(struct qmp *q, const char *command, json_t *args, int fd)
	__attribute__((warn_unused_result));

/* The text of a command. @args is consumed. The caller frees it. NULL: out of memory. */
char *qmp_render(const char *command, json_t *args) __attribute__((warn_unused_result));

/* Wait for the answer to the oldest command not yet waited for. *ret_return (@ret_return may be
 * NULL) is the caller's (json_decref).
 * 0; -EREMOTEIO: QEMU answered with an error, see qmp_error(); -ETIMEDOUT: none within @timeout_ns,
 * the command counts as waited for (it may still run); -EPROTO, -EMSGSIZE, -ECONNRESET (QEMU closed
 * it): the monitor is lost, close it; -EINVAL: nothing was sent. */
int qmp_wait(struct qmp *q, uint64_t timeout_ns, json_t **ret_return)
	__attribute__((warn_unused_result));

/* Wait for the next @event (NULL: for no event), or for the answer to the oldest command not yet
 * waited for; qmp_wait() then takes that answer. @event is borrowed for the call.
 * 0: the event came; 1: the answer is there; -ETIMEDOUT; -EINVAL: no command is in flight; others
 * as qmp_wait(). */
int qmp_wait_event(struct qmp *q, const char *event, uint64_t timeout_ns)
	__attribute__((warn_unused_result));

/* qmp_send() and qmp_wait(); only when no command is in flight (-EBUSY). */
int qmp_execute(struct qmp *q, const char *command, json_t *args, uint64_t timeout_ns,
		json_t **ret_return) __attribute__((warn_unused_result));

/* Run a human monitor command; *ret_text is the caller's (free). As qmp_execute(). */
int qmp_hmp(struct qmp *q, const char *command_line, uint64_t timeout_ns, char **ret_text)
	__attribute__((warn_unused_result));

/* Read what has arrived, without blocking, and call the handler for each event.
 * 0; -ECONNRESET, -EPROTO, -EMSGSIZE and other -errno: the monitor is lost. */
int qmp_pump(struct qmp *q) __attribute__((warn_unused_result));

#endif
