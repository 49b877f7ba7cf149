/* server.h - the NBD server of one disk: nbdkit with our plugin, a child process of the agent.
 *
 * Why: QEMU's mirror needs an NBD server as its target. nbdkit is one, it is old and small, and it
 * runs in a process of its own: what a guest or a hostile QEMU does to it does not reach the agent.
 * The server runs as QEMU's user, and has nothing but its socket, the ring's memory and a pipe for
 * its messages.
 *
 *	agent ── socket, listening ──► nbdkit, descriptor 3 ──► accepts QEMU
 *	      ── ring's memfd ───────► descriptor 4             (plugin.c: ring=4)
 *	      ── lifeline ───────────► descriptor 5             (plugin.c: lifeline=5)
 *	      ◄─ messages ───────────  stdout, stderr           a thread logs them at debug
 *
 * The agent binds and listens itself (systemd's socket activation, LISTEN_FDS), so QEMU can connect
 * as soon as disk_server_start() returns, and nobody has to wait for nbdkit. Its answer comes when
 * nbdkit has started; if nbdkit could not start, QEMU sees the connection closed, and
 * disk_server_fd() becomes readable.
 *
 * The server ends when the agent ends, however that happens: the lifeline is a pipe whose other end
 * only the agent has. (PR_SET_PDEATHSIG would not do: it follows the thread that called fork().)
 *
 * Where: the agent's engine, one for each disk. Threads: calls for one server must be serialised. A
 * thread of its own reads the server's messages.
 */
#ifndef DISK_SERVER_H
#define DISK_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* If `plugin` is NULL: the file that this environment variable names by an absolute path, as tests
 * in a build tree do; without it, the installed one. */
#define DISK_SERVER_PLUGIN_ENV "HOLDFAST_DISK_PLUGIN"

#define DISK_SERVER_LINE_BYTES 256u /* longer messages of the server are cut */

/* All strings are borrowed during disk_server_start() only. */
struct disk_server_config {
	const char *label;  /* what the log's lines begin with, as "vm=web1 disk=root" */
	const char *socket; /* path of the socket to make; replaces an old one; <= 107 bytes. QEMU's
			     * user needs x on the directories above it */
	pid_t qemu_pid;	    /* only this process's user may connect, and the server runs as it;
			     * 0: the agent's user */
	int ring_fd;	    /* disk_ring_fd(); borrowed, the child gets a copy */
	const char *nbdkit; /* absolute path; NULL: as found at build time */
	const char *plugin; /* absolute path; NULL: see DISK_SERVER_PLUGIN_ENV */
};

struct disk_server;

/* Make the socket and start a server behind it. Does not wait for the server.
 * 0: QEMU may connect now, the caller ends *ret with disk_server_stop(); -ENAMETOOLONG: the
 * socket's path; -ENOENT: the plugin or nbdkit is not there; -EACCES: QEMU's user cannot reach the
 * socket or the plugin; -ESRCH: QEMU has ended; -ENOMEM; other -errno of socket, fork and exec.
 * *ret_error says why and what to do. */
int disk_server_start(const struct disk_server_config *config, struct disk_server **ret,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* A pidfd, readable when the server has ended. The server owns it. */
int disk_server_fd(const struct disk_server *server);

/* Copy the server's last message to @ret_line, cut to @size, as one line; "" if it said nothing. It
 * often tells why the server ended. May be called until disk_server_stop(). */
void disk_server_last_line(struct disk_server *server, char *ret_line, size_t size);

/* Kill the server, wait until it has ended and remove the socket. What QEMU was told to be written
 * is in the ring. Accepts NULL, returns NULL. */
struct disk_server *disk_server_stop(struct disk_server *server);

#endif
