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
 * The agent itself binds the socket and listens, and passes the socket to nbdkit (LISTEN_FDS, as
 * systemd does). So QEMU can connect as soon as disk_server_start() returns. QEMU gets its first
 * answer when nbdkit has started. If nbdkit fails to start, QEMU's connection is closed, and
 * disk_server_fd() becomes readable.
 *
 * The server ends when the agent ends, even if the agent is killed: the server watches the
 * lifeline, a pipe whose other end only the agent has. (PR_SET_PDEATHSIG would end the server too
 * early, with the thread that called fork().)
 *
 * Where: the agent's engine starts one server for each disk. Threads: calls for one server must be
 * made one at a time. Each server has a thread in the agent, which reads its messages.
 */
#ifndef DISK_SERVER_H
#define DISK_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Used if `plugin` in struct disk_server_config is NULL: this environment variable may give the
 * plugin's absolute path (tests in a build tree set it). If the variable is not set either, the
 * installed plugin is used. */
#define DISK_SERVER_PLUGIN_ENV "HOLDFAST_DISK_PLUGIN"

#define DISK_SERVER_LINE_BYTES 256u /* longer messages of the server are cut */

/* disk_server_start() copies the strings that it still needs afterwards. */
struct disk_server_config {
	const char *label;  /* start of each line in the log, such as "vm=web1 disk=root" */
	/* path of the socket to make, at most 107 bytes; an old socket is replaced. QEMU's user
	 * needs the right x on the directories above it */
	const char *socket;
	/* QEMU's process: the server runs as the user of this process, and only this user may
	 * connect. 0: the agent's user */
	pid_t qemu_pid;
	int ring_fd;	    /* from disk_ring_fd(); borrowed, the child gets a copy */
	/* absolute path; NULL: the nbdkit that was found when Holdfast was built */
	const char *nbdkit;
	const char *plugin; /* absolute path; NULL: see DISK_SERVER_PLUGIN_ENV */
};

struct disk_server;

/* Make the socket and start a server for it. Does not wait until the server answers.
 * Returns 0 (QEMU can connect now; the caller ends *ret with disk_server_stop()); -ENAMETOOLONG if
 * the socket's path is too long; -ENOENT if the plugin or nbdkit is missing; -EACCES if QEMU's user
 * cannot reach the socket or the plugin; -ESRCH if QEMU has ended; -ENOMEM; or another -errno of
 * socket, fork or exec. On error *ret_error says why and what to do. */
int disk_server_start(const struct disk_server_config *config, struct disk_server **ret,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Returns a pidfd, which becomes readable when the server has ended. Owned by @server. */
int disk_server_fd(const struct disk_server *server);

/* Copy the server's last message to @ret_line, as one line, cut to @size; "" if there was no
 * message. The last message often says why the server ended. May be called until
 * disk_server_stop(). */
void disk_server_last_line(struct disk_server *server, char *ret_line, size_t size);

/* Kill the server, wait until it has ended and remove the socket. Every write that was confirmed to
 * QEMU is in the ring. Accepts NULL, returns NULL. */
struct disk_server *disk_server_stop(struct disk_server *server);

#endif
