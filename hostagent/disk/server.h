/* server.h - the NBD server of one disk: nbdkit with our plugin, a child process of the agent.
 *
 * Why: QEMU's mirror needs an NBD server as its target. nbdkit is a small and mature NBD server. It
 * runs in a process of its own, so an attack on the server by a guest or by QEMU does not reach the
 * agent. The server runs as QEMU's user. Its only descriptors are its socket, the ring's memory,
 * the lifeline (see below) and a pipe for its messages.
 *
 *	agent ── socket, listening ──► nbdkit, descriptor 3 ──► accepts QEMU
 *	      ── ring's memfd ───────► descriptor 4             (plugin.c: ring=4)
 *	      ── lifeline ───────────► descriptor 5             (plugin.c: lifeline=5)
 *	      ◄─ messages ───────────  stdout, stderr           a thread logs them at debug
 *
 * The agent makes the listening socket and passes it to nbdkit (LISTEN_FDS, as systemd does). So
 * QEMU can connect as soon as disk_server_start() returns. QEMU gets its first answer when nbdkit
 * has started. If nbdkit fails to start, QEMU's connection is closed, and disk_server_fd() becomes
 * readable.
 *
 * The server watches the lifeline, a pipe whose writing end only the agent has. So the server ends
 * when the agent ends, even if the agent is killed. (PR_SET_PDEATHSIG would end the server too
 * early: together with the thread that started it.)
 *
 * Where: the agent's engine starts one server for each disk. Threads: for one server, make one call
 * at a time. For each server, a thread in the agent reads the server's messages.
 */
#ifndef DISK_SERVER_H
#define DISK_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* This environment variable can give the plugin's absolute path; tests in a build tree set it. It
 * is used if `plugin` in struct disk_server_config is NULL. If neither is set, the installed plugin
 * is used. */
#define DISK_SERVER_PLUGIN_ENV "HOLDFAST_DISK_PLUGIN"

#define DISK_SERVER_LINE_BYTES 256u /* longer messages of the server are cut */

/* The strings may be freed after disk_server_start() or disk_server_resume(), which copy those that
 * are needed later. */
struct disk_server_config {
	const char *label;  /* start of each line in the log, such as "vm=web1 disk=root" */
	/* path of the socket, at most 107 bytes; an old socket there is replaced. QEMU's user needs
	 * search permission (x) on the directories above it */
	const char *socket;
	/* QEMU's process. The server runs as the user of this process, and only this user can
	 * connect. 0: the agent's user */
	pid_t qemu_pid;
	int ring_fd;	    /* from disk_ring_fd(); borrowed, the child gets a copy */
	/* absolute path; NULL: the nbdkit that was found when Holdfast was built */
	const char *nbdkit;
	const char *plugin; /* absolute path; NULL: see DISK_SERVER_PLUGIN_ENV */
};

struct disk_server;

/* Make the socket and start a server for it. Does not wait until the server answers. After success
 * QEMU can connect, and the caller must end the server with disk_server_stop(*ret). Returns 0. On
 * error *ret_error says why and what to do, and no server is left:
 *      -ENAMETOOLONG  the socket's path is too long
 *      -ENOENT        the plugin or nbdkit is missing
 *      -EACCES        QEMU's user cannot reach the socket or the plugin
 *      -ESRCH         QEMU has ended
 *      -ENOMEM or another -errno of socket, vfork or exec */
int disk_server_start(const struct disk_server_config *config, struct disk_server **ret,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Hand the server on to the agent's next program (epoch/handed.h). The server goes on. The three
 * results are what disk_server_resume() needs; the caller then owns the two descriptors. Do not use
 * @server any more. Its memory is not freed, because a thread uses it until exec. */
void disk_server_hand_on(struct disk_server *server, pid_t *ret_pid, int *ret_lifeline,
			 int *ret_log);
/* In the next program: continue with the running server. Only `label` and `socket` of @config are
 * used. Returns 0, and *ret owns the descriptors. On error *ret_error says why, and the caller
 * still owns the descriptors:
 * -ENOMEM, or an error of starting a thread;
 * -ESRCH: the server is gone. */
int disk_server_resume(const struct disk_server_config *config, pid_t pid, int lifeline, int log,
		       struct disk_server **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Returns a pidfd, which @server owns. It becomes readable when the server has ended. */
int disk_server_fd(const struct disk_server *server);

/* Copy the server's last message to @ret_line, as one line, cut to @size; "" if there was none. The
 * message often says why the server has ended. Call this before disk_server_stop(). */
void disk_server_last_line(struct disk_server *server, char *ret_line, size_t size);

/* Kill the server, wait until it has ended, and remove the socket. No write that QEMU got an answer
 * for is lost: it is in the ring. Accepts NULL, returns NULL. */
struct disk_server *disk_server_stop(struct disk_server *server);

#endif
