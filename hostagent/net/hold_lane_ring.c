/* The lane of AF_XDP sockets: hold_ring.c has the rings, this file takes the stamps off. See
 * hold_lane.h. */
#include "net/hold_lane.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "net/hold_check.h"

_Static_assert(HOLD_RING_BATCH == HOLD_LANE_BATCH, "a batch of the lane is one of the ring");

static int open_lane(struct hold_lane *lane, const struct hold_lane_config *config,
		     struct error *ret_error)
{
	enum hold_ring_step step = HOLD_RING_MEMORY;
	int r = hold_ring_open(&lane->ring, config->hold->tap, config->out,
			       config->hold->frames_max + HOLD_RING_SPARE_FRAMES,
			       hold_ring_chunk_bytes(config->mtu), config->prog->xsks_fd, &step);

	return r < 0 ? hold_explain_ring(config->hold, step, r, ret_error) : 0;
}

static void close_lane(struct hold_lane *lane)
{
	hold_ring_close(&lane->ring);
}

static int get_fd(const struct hold_lane *lane)
{
	return xsk_socket__fd(lane->ring.in);
}

/* Take the stamp off. If the frame has no stamp, gives its chunk back to the kernel and returns
 * false. */
static bool read_stamp(struct hold_lane *lane, const struct hold_ring_frame *in,
		       struct hold_frame *ret)
{
	struct hold_stamp stamp;

	if (in->size_bytes <= sizeof(stamp)) {
		lane->n_bad_stamp++;
		hold_ring_recycle(&lane->ring, in->addr);
		return false;
	}
	memcpy(&stamp, hold_ring_data(&lane->ring, in->addr), sizeof(stamp));
	*ret = (struct hold_frame){
		.addr = in->addr + sizeof(stamp),
		.size_bytes = in->size_bytes - (uint32_t)sizeof(stamp),
		.epoch = stamp.epoch,
		.time_ns = stamp.time_ns,
	};
	return true;
}

static uint32_t receive(struct hold_lane *lane, struct hold_frame *ret, uint32_t n_max,
			bool *ret_is_empty)
{
	struct hold_ring_frame batch[HOLD_RING_BATCH];
	uint32_t n, n_good = 0;

	hold_ring_reap(&lane->ring);
	n = hold_ring_receive(&lane->ring, batch, n_max);
	for (uint32_t i = 0; i < n; i++)
		n_good += read_stamp(lane, &batch[i], &ret[n_good]);
	*ret_is_empty = n == 0;
	return n_good;
}

static void give_back(struct hold_lane *lane, const struct hold_frame *frame)
{
	hold_ring_recycle(&lane->ring, frame->addr);
}

static int send_one(struct hold_lane *lane, const struct hold_frame *frame)
{
	/* Always true: the ring has a slot for every frame of the UMEM. */
	return hold_ring_send(&lane->ring, frame->addr, frame->size_bytes);
}

static int flush(struct hold_lane *lane)
{
	return hold_ring_flush(&lane->ring);
}

static int reopen_out(struct hold_lane *lane, const char *out)
{
	return hold_ring_reopen_out(&lane->ring, out);
}

static uint32_t n_queued(const struct hold_lane *lane)
{
	return hold_ring_n_queued(&lane->ring);
}

static uint32_t n_sending(const struct hold_lane *lane)
{
	return lane->ring.n_sending;
}

static int read_socket_stats(int fd, struct xdp_statistics *ret)
{
	socklen_t size = sizeof(*ret);

	return getsockopt(fd, SOL_XDP, XDP_STATISTICS, ret, &size) < 0 ? -errno : 0;
}

static int read_stats(struct hold_lane *lane, struct hold_stats *ret)
{
	struct xdp_statistics in = {0}, out = {0};
	int r = read_socket_stats(get_fd(lane), &in);

	if (r == 0)
		r = read_socket_stats(hold_ring_out_fd(&lane->ring), &out);
	if (r < 0)
		return r;
	ret->dropped_bad_stamp = lane->n_bad_stamp;
	ret->kernel_rx_dropped = in.rx_dropped;
	ret->kernel_rx_ring_full = in.rx_ring_full;
	ret->kernel_rx_no_buffer = in.rx_fill_ring_empty_descs;
	ret->kernel_tx_invalid = out.tx_invalid_descs;
	return 0;
}

const struct hold_lane_ops hold_lane_ring = {
	.open = open_lane,
	.close = close_lane,
	.fd = get_fd,
	.receive = receive,
	.give_back = give_back,
	.send = send_one,
	.flush = flush,
	.reopen_out = reopen_out,
	.n_queued = n_queued,
	.n_sending = n_sending,
	.read_stats = read_stats,
};
