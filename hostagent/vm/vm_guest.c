#include "vm/vm_guest_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#define DEV_BYTES_MAX (1u << 20)

/* QEMU announces each card in rounds, with one RARP frame per round, padded to 60 bytes. It makes
 * five rounds at the end of the incoming migration, and five more for the command `announce-self`
 * of standby/promote.c. */
#define ANNOUNCE_BYTES	60u
#define ANNOUNCE_FRAMES 10u

void vm_guest_init(struct vm_guest *guest)
{
	memset(guest, 0, sizeof(*guest));
	pthread_mutex_init(&guest->lock, NULL);
	guest->pidfd = -1;
}

void vm_guest_done(struct vm_guest *guest)
{
	guest->pidfd = fd_close(guest->pidfd);
	pthread_mutex_destroy(&guest->lock);
}

/* ---- alive */

/* Find the process that listens at the socket @path. Returns 0; -ECONNREFUSED or -ENOENT: no
 * process listens; -EAGAIN: a process listens, but accepts no more connections now; other
 * -errno. */
static int find_listener(const char *path, pid_t *ret_pid)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*ret_pid = peer.pid;
	return 0;
}

static bool has_exited(int pidfd)
{
	struct pollfd fds = {.fd = pidfd, .events = POLLIN};

	return poll(&fds, 1, 0) > 0;
}

/* Find the state of the QEMU with the monitor @qmp. If its process was not known, find it and set
 * *ret_pid. */
static enum vm_guest_state look(struct vm_guest *guest, const char *qmp, pid_t *ret_pid)
{
	int r;

	if (guest->pidfd >= 0 && !has_exited(guest->pidfd))
		return VM_GUEST_ALIVE;
	guest->pidfd = fd_close(guest->pidfd);
	r = find_listener(qmp, ret_pid);
	if (r == -ECONNREFUSED || r == -ENOENT)
		return VM_GUEST_GONE;
	if (r < 0)
		return VM_GUEST_UNKNOWN;
	guest->pidfd = pidfd_open(*ret_pid, 0);
	if (guest->pidfd < 0) /* the process may have just ended: the next check will tell */
		return VM_GUEST_UNKNOWN;
	return has_exited(guest->pidfd) ? VM_GUEST_GONE : VM_GUEST_ALIVE;
}

bool vm_guest_look(struct vm_guest *guest, const char *qmp, uint64_t now_ns)
{
	pid_t pid = guest->pid;
	enum vm_guest_state state = *qmp ? look(guest, qmp, &pid) : VM_GUEST_UNKNOWN;
	bool changed;

	guest->look_at_ns = now_ns + VM_GUEST_LOOK_NS;
	pthread_mutex_lock(&guest->lock);
	changed = guest->state != state;
	guest->state = state;
	guest->pid = pid;
	pthread_mutex_unlock(&guest->lock);
	return changed;
}

enum vm_guest_state vm_guest_get(struct vm_guest *guest, pid_t *ret_pid)
{
	enum vm_guest_state state;

	pthread_mutex_lock(&guest->lock);
	state = guest->state;
	*ret_pid = guest->pid;
	pthread_mutex_unlock(&guest->lock);
	return state;
}

/* ---- frames */

int vm_guest_parse_dev(const char *dev, const char *tap, struct vm_guest_frames *ret_frames)
{
	size_t size = strlen(tap);

	for (const char *line = dev; line; line = strchr(line, '\n')) {
		line += strspn(line, " \n");
		if (size == 0 || strncmp(line, tap, size) != 0 || line[size] != ':')
			continue;
		if (sscanf(line + size + 1, "%" SCNu64 " %" SCNu64, &ret_frames->bytes,
			   &ret_frames->packets) == 2)
			return 0;
	}
	return -ENOENT;
}

/* Read the counters of each of @taps. */
static int read_frames(const struct tap_names *taps, struct vm_guest_frames *ret_frames)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	int r = fd_read_file("/proc/self/net/dev", DEV_BYTES_MAX, &text, &size);

	for (uint32_t i = 0; r == 0 && i < taps->n; i++)
		r = vm_guest_parse_dev(text, taps->name[i], &ret_frames[i]);
	return r < 0 || taps->n > 0 ? r : -ENOENT;
}

uint64_t vm_guest_own_frames(const struct vm_guest_frames *base, const struct vm_guest_frames *now)
{
	uint64_t packets = now->packets - base->packets, bytes = now->bytes - base->bytes;

	if (now->packets < base->packets || now->bytes < base->bytes)
		return 0; /* a different tap has that name now */
	if (packets > ANNOUNCE_FRAMES)
		return packets - ANNOUNCE_FRAMES;
	return bytes != packets * ANNOUNCE_BYTES; /* 1 if at least one frame was not an
						   * announcement */
}

void vm_guest_promoting(struct vm_guest *guest, const struct tap_names *taps, uint64_t term)
{
	struct vm_guest_frames base[TAP_NAMES_MAX] = {{0, 0}};
	bool knows = read_frames(taps, base) == 0;

	pthread_mutex_lock(&guest->lock);
	/* If the order is repeated, keep the counters of the first time. */
	if (guest->promoted_term != term) {
		guest->promoted_term = term;
		guest->promoted_ns = clock_mono_ns();
		guest->knows_frames = knows;
		memcpy(guest->base, base, sizeof(base));
	}
	pthread_mutex_unlock(&guest->lock);
}

int vm_guest_frames(struct vm_guest *guest, const struct tap_names *taps, uint64_t *ret_term,
		    uint64_t *ret_frames)
{
	struct vm_guest_frames base[TAP_NAMES_MAX], now[TAP_NAMES_MAX];
	uint64_t frames = 0;
	bool knows;

	pthread_mutex_lock(&guest->lock);
	knows = guest->promoted_term != 0 && guest->knows_frames;
	memcpy(base, guest->base, sizeof(base));
	*ret_term = guest->promoted_term;
	pthread_mutex_unlock(&guest->lock);
	if (!knows || read_frames(taps, now) < 0)
		return -ENOENT;
	for (uint32_t i = 0; i < taps->n; i++)
		frames += vm_guest_own_frames(&base[i], &now[i]);
	*ret_frames = frames;
	return 0;
}
