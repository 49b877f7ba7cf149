/* qmp.h - sends commands to QEMU's monitor (QMP) over a unix socket, and reads its answers and
 * events.
 *
 * Why: we control an unmodified QEMU through its monitor. Some commands (stop, save the device
 * state, cont) are part of a pause of the guest, so they must be fast. But QEMU reads its monitor
 * one byte at a time, with about eight system calls per byte. On a busy two-core machine this took
 * 12 microseconds per byte. So a plain query-status takes 0.5 ms, nearly all of it for reading the
 * command. Therefore:
 *
 *  - A command can be armed (qmp_arm()): while the guest still runs, all of its text is sent except
 *    the closing brace. In the pause QEMU has to read only the brace.
 *  - Commands are pipelined: we send the next command without waiting for the answer to the
 *    previous one. We request the capability "oob". With it, QEMU reads the next command while
 *    it runs the previous one. Without "oob" pipelining works too, but is slower.
 *  - Commands have no "id", because QEMU answers them in order. If the wait for an answer times
 *    out, the client drops that answer when it arrives.
 *
 * A pause with three commands (with gate.h, a pause needs one command):
 *
 *	guest runs	{"execute":"stop"		armed: QEMU has parsed this much
 *	seal		}				stop runs
 *	stopped		{"execute":"xen-save-...}{"execute":"cont"	read while the pages are copied
 *	resume		}{"execute":"stop"		cont runs, the next stop is armed
 *
 * The save command is not sent together with the closing brace of `stop`. On a host with few cores
 * this would be slower: QEMU's monitor thread would read the save command while the main thread
 * stops the vCPUs.
 *
 * Where: the epoch engine, the standby and vmm's own files. Uses qmp_parse. Threads: one thread at
 * a time per client. Blocks: see each function; never longer than its timeout.
 */
#ifndef VMM_QMP_H
#define VMM_QMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

/* How many commands can be in flight: sent and not yet answered. With 8 queued commands, QEMU 7.2
 * stops reading a monitor. */
#define QMP_IN_FLIGHT_MAX 7u
/* Maximum number of bytes of commands in one write. The longest commands that we send name a device
 * path and a property. */
#define QMP_SEND_MAX 8192u

/* Rendered commands (in their final text form), for qmp_arm() and qmp_send_rendered(). */
#define QMP_STOP "{\"execute\":\"stop\"}"
#define QMP_CONT "{\"execute\":\"cont\"}"

struct qmp;

/* Handles an event (STOP, RESUME, SHUTDOWN, RESET, POWERDOWN, ...). Called from within qmp_wait(),
 * qmp_execute(), qmp_hmp() and qmp_pump(). @event and @data (or NULL) are borrowed for the call.
 * The handler must not call this client. */
typedef void (*qmp_event_fn)(void *arg, const char *event, const json_t *data);

/* Connect to the monitor at @path, read the greeting, negotiate. Blocks up to @timeout_ns.
 * Returns 0 (the caller closes *ret_q with qmp_close()), or one of these errors:
 * -ENOENT:       no such socket (is QEMU started with -qmp unix:PATH,server=on,wait=off?)
 * -ECONNREFUSED: the socket exists but nobody listens: its QEMU is gone
 * -EBUSY:        connected, but no greeting came: another client holds the monitor (QEMU serves one
 *                client per socket), or QEMU hangs
 * -EPROTO:       the other end does not speak QMP
 * -ENAMETOOLONG: @path does not fit into a socket address
 * Other -errno are possible, too. qmp_open_error() gives a text for each. */
int qmp_open(const char *path, uint64_t timeout_ns, struct qmp **ret_q)
	__attribute__((warn_unused_result));

/* Returns what an error of qmp_open() means and what to do about it; static text. */
const char *qmp_open_error(int error);

/* Close the connection and free @q. The guest is not affected. Accepts NULL, returns NULL. */
struct qmp *qmp_close(struct qmp *q);

void qmp_set_event_handler(struct qmp *q, qmp_event_fn handler, void *arg);

/* Returns the socket, borrowed. Call qmp_pump() when it becomes readable. */
int qmp_fd(const struct qmp *q);
/* Returns the process that made the socket (SO_PEERCRED): usually QEMU. */
pid_t qmp_pid(const struct qmp *q);

/* Returns "Class: description" of QEMU's last error, or what broke the connection; "": no error
 * yet. Borrowed until the next call on @q. */
const char *qmp_error(const struct qmp *q);
/* Returns true if the connection is broken. Then each later call fails. Usually QEMU has ended, or
 * ends now. */
bool qmp_is_lost(const struct qmp *q);

/* Send all but the last byte of @command. @command is rendered text, borrowed until it is sent or
 * the client is closed. QEMU runs the command when qmp_send_rendered() is called with the same
 * text. If you send another command instead, the client first completes the armed command so that
 * QEMU refuses it. An armed command does not count as in flight. Does not allocate.
 * Returns 0, also if @command is armed already;
 * -EBUSY: another command is armed;
 * -EMSGSIZE: @command is too long;
 * -EPIPE or another -errno: the monitor is lost. */
int qmp_arm(struct qmp *q, const char *command) __attribute__((warn_unused_result));

/* Send one command without waiting. @args (NULL: none) is consumed, even on error. Call qmp_wait()
 * once for each command sent: it returns the answers in order. Allocates.
 * Returns 0;
 * -EBUSY: QMP_IN_FLIGHT_MAX commands are unanswered;
 * -EMSGSIZE: the command is too long;
 * -ENOMEM;
 * -EPIPE or another -errno: the monitor is lost. */
int qmp_send(struct qmp *q, const char *command, json_t *args)
	__attribute__((warn_unused_result));

/* Does what qmp_send() does with a rendered @command. If @command is armed (see qmp_arm()), sends
 * only its last byte. Arms @next (NULL: none) in the same write. Does not allocate. */
int qmp_send_rendered(struct qmp *q, const char *command, const char *next)
	__attribute__((warn_unused_result));

/* Does what qmp_send() does, and also passes @fd to QEMU (for `add-fd`, `getfd`). The caller still
 * owns @fd. */
int qmp_send_with_fd(struct qmp *q, const char *command, json_t *args, int fd)
	__attribute__((warn_unused_result));

/* Returns the text of a command, which the caller frees, or NULL if there is no memory. @args is
 * consumed. */
char *qmp_render(const char *command, json_t *args) __attribute__((warn_unused_result));

/* Wait for the answer to the oldest command that still needs a qmp_wait(). The caller owns
 * *ret_return and frees it with json_decref(). @ret_return can be NULL.
 * Returns 0;
 * -EREMOTEIO: QEMU answered with an error (see qmp_error());
 * -ETIMEDOUT: no answer came within @timeout_ns. Do not call qmp_wait() again for this command,
 *   which QEMU can still carry out;
 * -EPROTO, -EMSGSIZE, -ECONNRESET (QEMU closed the connection): the monitor is lost; call
 * qmp_close();
 * -EINVAL: no command needs a qmp_wait(). */
int qmp_wait(struct qmp *q, uint64_t timeout_ns, json_t **ret_return)
	__attribute__((warn_unused_result));

/* Wait for the next @event, or for the answer to the oldest command, whichever comes first. Get the
 * answer with qmp_wait(). If @event is NULL, wait only for the answer. @event is borrowed for the
 * call.
 * Returns 0 if the event came;
 * 1: the answer came;
 * -ETIMEDOUT: neither came within @timeout_ns;
 * -EINVAL: no command is in flight;
 * or another error of qmp_wait(). */
int qmp_wait_event(struct qmp *q, const char *event, uint64_t timeout_ns)
	__attribute__((warn_unused_result));

/* Call qmp_send() and qmp_wait(). Returns what they return. Returns -EBUSY if another command is in
 * flight. */
int qmp_execute(struct qmp *q, const char *command, json_t *args, uint64_t timeout_ns,
		json_t **ret_return) __attribute__((warn_unused_result));

/* Run a human monitor command. The caller frees *ret_text. Returns what qmp_execute() returns. */
int qmp_hmp(struct qmp *q, const char *command_line, uint64_t timeout_ns, char **ret_text)
	__attribute__((warn_unused_result));

/* Read what QEMU has sent, without blocking. Call the event handler for each event. Returns 0. If
 * the monitor is lost, returns -ECONNRESET, -EPROTO, -EMSGSIZE or another -errno. */
int qmp_pump(struct qmp *q) __attribute__((warn_unused_result));

#endif
