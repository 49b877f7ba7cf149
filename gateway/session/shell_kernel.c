#include "session/shell_kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "session/pump.h"
#include "loop/source.h"

#define READ_SIZE   65536
/* Do not read while this many received bytes are not consumed: TCP's window then closes. */
#define UNREAD_HIGH 262144

struct shell_kernel {
	struct source listener; /* must be first */
	struct sessions *sessions;
	int epoll_fd;
};

struct kernel_conn {
	struct pump_conn pump; /* must be first */
	struct source source;
	struct shell_kernel *shell;
	size_t n_unread; /* number of bytes given to pump_receive() but not yet consumed */
};

static struct kernel_conn *of_source(struct source *source)
{
	return (struct kernel_conn *)((char *)source - offsetof(struct kernel_conn, source));
}

static void update_events(struct kernel_conn *c, bool want_write)
{
	uint32_t events = (c->n_unread < UNREAD_HIGH ? EPOLLIN : 0u) | (want_write ? EPOLLOUT : 0u);

	/* This fails only if the kernel has no memory. The next event calls this function again. */
	(void)!source_change(c->shell->epoll_fd, &c->source, events);
}

static void drop(struct kernel_conn *c)
{
	fd_close(c->source.fd); /* closing the socket's last descriptor removes it from the epoll */
	free(c);
}

static size_t conn_write(struct pump_conn *p, const uint8_t *data, size_t size)
{
	struct kernel_conn *c = (struct kernel_conn *)p;
	ssize_t n = send(c->source.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		/* the connection is broken, as the next read will report: discard the output */
		return size;
	update_events(c, n < (ssize_t)size);
	return n < 0 ? 0 : (size_t)n;
}

static void conn_consumed(struct pump_conn *p, size_t size)
{
	struct kernel_conn *c = (struct kernel_conn *)p;

	c->n_unread -= size;
	update_events(c, c->source.events & EPOLLOUT);
}

static void conn_close(struct pump_conn *p)
{
	drop((struct kernel_conn *)p);
}

static const struct pump_ops ops = {
	.write = conn_write,
	.consumed = conn_consumed,
	.close = conn_close,
};

static void conn_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	struct kernel_conn *c = of_source(source);
	static uint8_t buffer[READ_SIZE];
	ssize_t n;

	if (events & EPOLLOUT) {
		update_events(c, false);
		pump_kick(&c->pump);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(source->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->n_unread += (size_t)n;
		if (pump_receive(&c->pump, buffer, (size_t)n, now_ns) == 0) {
			update_events(c, c->source.events & EPOLLOUT);
			return;
		}
	}
	pump_lost(&c->pump, now_ns);
	drop(c);
}

static void listener_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	struct shell_kernel *shell = (struct shell_kernel *)source;
	struct sockaddr_in sa;
	socklen_t sa_size = sizeof(sa);
	int fd =
		accept4(source->fd, (struct sockaddr *)&sa, &sa_size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct kernel_conn *c;
	char peer[FLEET_LINK_PEER_SIZE], ip[INET_ADDRSTRLEN];
	int one = 1;

	(void)events;
	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		fd_close(fd);
		return;
	}
	c->shell = shell;
	c->source.fd = fd;
	c->source.ready = conn_ready;
	/* If this fails, the connection is only slower. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)inet_ntop(AF_INET, &sa.sin_addr, ip, sizeof(ip));
	(void)snprintf(peer, sizeof(peer), "%s:%u", ip, ntohs(sa.sin_port));
	if (source_add(shell->epoll_fd, &c->source, EPOLLIN) < 0 ||
	    pump_open(&c->pump, &ops, shell->sessions, peer, now_ns) < 0)
		drop(c);
}

int shell_kernel_open(struct sessions *sessions, int epoll_fd, uint32_t ip_be32, uint16_t port,
		      struct shell_kernel **ret_shell)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = ip_be32,
				 .sin_port = htons(port)};
	struct shell_kernel *shell = calloc(1, sizeof(*shell));
	int one = 1, r = 0;

	if (!shell)
		return -ENOMEM;
	shell->sessions = sessions;
	shell->epoll_fd = epoll_fd;
	shell->listener.ready = listener_ready;
	shell->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (shell->listener.fd < 0 ||
	    setsockopt(shell->listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(shell->listener.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(shell->listener.fd, 64) < 0)
		r = -errno;
	if (r == 0)
		r = source_add(epoll_fd, &shell->listener, EPOLLIN);
	if (r < 0) {
		fd_close(shell->listener.fd);
		free(shell);
		return r;
	}
	*ret_shell = shell;
	return 0;
}

struct shell_kernel *shell_kernel_close(struct shell_kernel *shell)
{
	if (!shell)
		return NULL;
	while (shell->sessions->all) {
		struct kernel_conn *c = shell->sessions->all->conn;

		pump_lost(&c->pump, clock_mono_ns());
		drop(c);
	}
	fd_close(shell->listener.fd);
	free(shell);
	return NULL;
}
