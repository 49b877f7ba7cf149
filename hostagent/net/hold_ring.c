#include "net/hold_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <bpf/bpf.h>

#include "base/clock.h"

#define QUEUE 0U
#define BUSY_WAIT_NS	(1 * CLOCK_NS_PER_S)
#define BUSY_PAUSE_MS	5
/* A socket option, new in Linux 6.17, that lets one sendto() send more than 32 frames. Older
 * kernels refuse it. */
#define XDP_MAX_TX_SKB_BUDGET_OPTION 9
#define TX_BUDGET		     512

uint32_t hold_ring_frame_max(uint32_t chunk_bytes)
{
	return chunk_bytes - HOLD_RING_HEADROOM_BYTES - (uint32_t)sizeof(struct hold_stamp);
}

uint32_t hold_ring_chunk_bytes(uint32_t mtu)
{
	/* The kernel accepts chunk sizes from 2048 bytes to a page. */
	static const uint32_t sizes[] = {2048, 4096};

	for (size_t i = 0; i < 2; i++) {
		if (mtu <= hold_ring_frame_max(sizes[i]) - HOLD_RING_LINK_BYTES)
			return sizes[i];
	}
	return 0;
}

static uint32_t round_up_pow2(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static int make_umem(struct hold_ring *ring, enum hold_ring_step *ret_step)
{
	struct xsk_umem_config config = {
		.fill_size = round_up_pow2(ring->n_frames),
		.comp_size = round_up_pow2(ring->n_frames),
		.frame_size = ring->chunk_bytes,
	};

	*ret_step = HOLD_RING_MEMORY;
	ring->area_bytes = (size_t)ring->n_frames * ring->chunk_bytes;
	ring->area = mmap(NULL, ring->area_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ring->area == MAP_FAILED) {
		ring->area = NULL;
		return -errno;
	}
	*ret_step = HOLD_RING_UMEM;
	return xsk_umem__create(&ring->umem, ring->area, ring->area_bytes, &ring->fill,
				&ring->in_done, &config);
}

/* Set CLOEXEC, which libxdp does not set. Otherwise a child process would inherit the socket, and
 * would keep the tap's queue busy after the agent's death. A child that another thread forks before
 * this call does inherit the socket. Until that child ends, the next agent gets -EBUSY. */
static int close_on_exec(const struct xsk_socket *socket)
{
	return fcntl(xsk_socket__fd(socket), F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

/* Create the receiving socket. While the queue is busy, try again: the kernel removes a killed
 * agent's socket from the queue some ms after the process has ended, without an event. */
static int make_in(struct hold_ring *ring, const char *tap)
{
	const struct xsk_socket_config config = {
		.rx_size = round_up_pow2(ring->n_frames),
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	uint64_t deadline_ns = clock_mono_ns() + BUSY_WAIT_NS;
	int r;

	for (;;) {
		r = xsk_socket__create(&ring->in, tap, QUEUE, ring->umem, &ring->rx, NULL, &config);
		if (r != -EBUSY || clock_mono_ns() >= deadline_ns)
			return r < 0 ? r : close_on_exec(ring->in);
		(void)poll(NULL, 0, BUSY_PAUSE_MS);
	}
}

static int make_out(struct hold_ring *ring, struct hold_ring_out *o, const char *out)
{
	const struct xsk_socket_config config = {
		.tx_size = round_up_pow2(ring->n_frames),
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	int r, fd, budget = TX_BUDGET;
	uint32_t mark = HOLD_MARK;
	uint64_t buffer = (uint64_t)ring->n_frames * ring->chunk_bytes * 2;
	int buffer_bytes = buffer > INT_MAX / 2 ? INT_MAX / 2 : (int)buffer;

	r = xsk_socket__create_shared(&o->socket, out, QUEUE, ring->umem, NULL, &o->tx, &o->fill,
				      &o->done, &config);
	if (r == 0)
		r = close_on_exec(o->socket);
	if (r < 0)
		return r;
	fd = xsk_socket__fd(o->socket);
	/* Make the send buffer large enough for all frames: with the default, a release of many
	 * frames stops half way. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof(buffer_bytes)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	(void)setsockopt(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET_OPTION, &budget, sizeof(budget));
	return 0;
}

static void close_out(struct hold_ring_out *o)
{
	if (o->socket)
		xsk_socket__delete(o->socket);
	*o = (struct hold_ring_out){0};
}

static void fill_all(struct hold_ring *ring)
{
	uint32_t at = 0;

	/* Cannot fail, nor can hold_ring_recycle(): the ring has a slot for every frame. */
	(void)xsk_ring_prod__reserve(&ring->fill, ring->n_frames, &at);
	for (uint32_t i = 0; i < ring->n_frames; i++)
		*xsk_ring_prod__fill_addr(&ring->fill, at + i) = (uint64_t)i * ring->chunk_bytes;
	xsk_ring_prod__submit(&ring->fill, ring->n_frames);
}

int hold_ring_open(struct hold_ring *ring, const char *tap, const char *out, uint32_t n_frames,
		   uint32_t chunk_bytes, int xsks_fd, enum hold_ring_step *ret_step)
{
	int r;

	*ring = (struct hold_ring){.n_frames = n_frames, .chunk_bytes = chunk_bytes};
	r = make_umem(ring, ret_step);
	if (r == 0) {
		*ret_step = HOLD_RING_IN;
		r = make_in(ring, tap);
	}
	if (r == 0) {
		*ret_step = HOLD_RING_OUT;
		r = make_out(ring, &ring->outs[0], out);
	}
	if (r == 0) {
		fill_all(ring);
		*ret_step = HOLD_RING_IN;
		r = xsk_socket__update_xskmap(ring->in, xsks_fd);
	}
	if (r < 0)
		hold_ring_close(ring);
	return r;
}

void hold_ring_close(struct hold_ring *ring)
{
	for (int i = 0; i < 2; i++)
		close_out(&ring->outs[i]);
	if (ring->in)
		xsk_socket__delete(ring->in);
	if (ring->umem)
		/* cannot fail: no socket uses the UMEM any more */
		(void)xsk_umem__delete(ring->umem);
	if (ring->area)
		(void)munmap(ring->area, ring->area_bytes); /* cannot fail: this is our mapping */
	*ring = (struct hold_ring){0};
}

int hold_ring_reopen_out(struct hold_ring *ring, const char *out)
{
	struct hold_ring_out *old = &ring->outs[ring->out_at], *next = &ring->outs[!ring->out_at];
	uint32_t n, from = 0, to = 0;
	int r = make_out(ring, next, out);

	if (r < 0) {
		close_out(next);
		return r;
	}
	hold_ring_reap(ring);
	n = hold_ring_n_queued(ring);
	from = *old->tx.consumer;
	/* cannot fail: the new ring is empty and as large as the old one */
	(void)xsk_ring_prod__reserve(&next->tx, n, &to);
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__tx_desc(&next->tx, to + i) =
			*xsk_ring_prod__tx_desc(&old->tx, from + i);
	xsk_ring_prod__submit(&next->tx, n);
	ring->n_sending = n;
	close_out(old);
	ring->out_at = !ring->out_at;
	return 0;
}

uint32_t hold_ring_receive(struct hold_ring *ring, struct hold_ring_frame *ret, uint32_t n_max)
{
	uint32_t at = 0, n = xsk_ring_cons__peek(&ring->rx, n_max, &at);

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&ring->rx, at + i);

		ret[i] = (struct hold_ring_frame){.addr = d->addr, .size_bytes = d->len};
	}
	if (n > 0)
		xsk_ring_cons__release(&ring->rx, n);
	return n;
}

void hold_ring_recycle(struct hold_ring *ring, uint64_t addr)
{
	uint32_t at;

	if (xsk_ring_prod__reserve(&ring->fill, 1, &at) != 1)
		/* cannot happen, because every frame has a slot; losing a chunk would be
		 * harmless */
		return;
	*xsk_ring_prod__fill_addr(&ring->fill, at) = addr - addr % ring->chunk_bytes;
	xsk_ring_prod__submit(&ring->fill, 1);
}

bool hold_ring_send(struct hold_ring *ring, uint64_t addr, uint32_t size_bytes)
{
	struct xsk_ring_prod *tx = &ring->outs[ring->out_at].tx;
	uint32_t at;

	if (xsk_ring_prod__reserve(tx, 1, &at) != 1)
		return false;
	*xsk_ring_prod__tx_desc(tx, at) = (struct xdp_desc){.addr = addr, .len = size_bytes};
	xsk_ring_prod__submit(tx, 1);
	ring->n_sending++;
	return true;
}

uint32_t hold_ring_n_queued(const struct hold_ring *ring)
{
	const struct xsk_ring_prod *tx = &ring->outs[ring->out_at].tx;

	return *tx->producer - __atomic_load_n(tx->consumer, __ATOMIC_ACQUIRE);
}

int hold_ring_flush(struct hold_ring *ring)
{
	uint32_t n_left = hold_ring_n_queued(ring), n_before;

	while (n_left > 0) {
		n_before = n_left;
		if (sendto(hold_ring_out_fd(ring), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
		    errno != EAGAIN && errno != EBUSY && errno != ENOBUFS && errno != EINTR)
			return -errno;
		/* The kernel also returns EAGAIN if it has sent some frames but not all. So check
		 * whether it has accepted any. */
		n_left = hold_ring_n_queued(ring);
		if (n_left == n_before)
			break;
		hold_ring_reap(ring);
	}
	return 0;
}

void hold_ring_reap(struct hold_ring *ring)
{
	struct xsk_ring_cons *done = &ring->outs[ring->out_at].done;
	uint32_t at = 0, n;

	while ((n = xsk_ring_cons__peek(done, HOLD_RING_BATCH, &at)) > 0) {
		for (uint32_t i = 0; i < n; i++)
			hold_ring_recycle(ring, *xsk_ring_cons__comp_addr(done, at + i));
		xsk_ring_cons__release(done, n);
		ring->n_sending -= n;
	}
}
