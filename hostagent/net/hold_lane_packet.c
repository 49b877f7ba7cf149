/* The lane of a packet socket, for a guest with offloads. See hold_lane.h.
 *
 * The socket is on hfoN. It receives the frames that hold_tap sends there. It also sends the
 * released frames. With each frame the kernel gives a virtio_net_hdr. This header says what the
 * guest left for the host to do (checksum, segmentation). The lane stores the header before the
 * frame, and returns the header to the kernel with the frame.
 *
 *     a slot of the arena:  | 4 spare | 10 virtio_net_hdr | 12 MAC addresses | type, the rest ... |
 *     with a VLAN tag:      | 10 virtio_net_hdr | 12 MAC addresses | 4 tag | type, the rest ...   |
 *
 * The kernel removes the outer VLAN tag from each frame, and reports the tag separately. A packet
 * socket cannot send a separate tag. So the lane puts the tag back into the frame.
 */
#include "net/hold_lane.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* Options that Debian 12's C library does not have. */
#ifndef SO_RCVMARK
#define SO_RCVMARK 75 /* since Linux 5.19 */
#endif

#define TAG_BYTES   4U
#define MACS_BYTES  (2U * ETH_ALEN)
#define HEAD_BYTES  ((uint32_t)sizeof(struct virtio_net_hdr))
#define FRAME_ROOM  (TAG_BYTES + HEAD_BYTES + HOLD_GSO_FRAME_MAX)
/* How many bytes the kernel counts for a short frame in a socket's queue, in addition to the
 * frame's own bytes. */
#define QUEUE_FRAME_BYTES 1024U
#define FULL_NS (200 * CLOCK_NS_PER_MS)

/* What the kernel reports in addition to a frame. */
struct beside {
	bool is_ours; /* hold_tap sent the frame */
	uint32_t mark;
	bool has_tag;
	uint16_t tpid, tci;
};

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int bind_to(int fd, const char *out)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(out),
	};

	if (address.sll_ifindex == 0)
		return -ENODEV;
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

static int queue_bytes(const struct hold_config *hold)
{
	uint64_t bytes = (uint64_t)hold->frames_max * QUEUE_FRAME_BYTES;

	if (hold->bytes_max > INT_MAX / 4 || bytes + 2 * hold->bytes_max > INT_MAX / 2)
		return INT_MAX / 2;
	return (int)(bytes + 2 * hold->bytes_max);
}

static int set_options(int fd, const struct hold_lane_config *config)
{
	int filter = hold_prog_take_fd(config->prog), bytes = queue_bytes(config->hold);
	const struct {
		int level, name, value;
	} options[] = {
		{SOL_PACKET, PACKET_VNET_HDR, 1},
		{SOL_PACKET, PACKET_AUXDATA, 1},
		{SOL_PACKET, PACKET_IGNORE_OUTGOING, 1},
		/* Bypass the device's queue. Then send() reports whether the kernel has dropped the
		 * frame. */
		{SOL_PACKET, PACKET_QDISC_BYPASS, 1},
		{SOL_SOCKET, SO_RCVMARK, 1},
		{SOL_SOCKET, SO_MARK, (int)HOLD_MARK},
		{SOL_SOCKET, SO_RCVBUFFORCE, bytes},
		{SOL_SOCKET, SO_SNDBUFFORCE, bytes},
		{SOL_SOCKET, SO_ATTACH_BPF, filter},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(options) / sizeof(options[0]); i++)
		r = set_int(fd, options[i].level, options[i].name, options[i].value);
	return r;
}

static void close_lane(struct hold_lane *lane)
{
	struct hold_packet *p = &lane->packet;

	if (p->is_open)
		fd_close(p->fd);
	hold_arena_done(&p->arena);
	*p = (struct hold_packet){0};
}

static int open_lane(struct hold_lane *lane, const struct hold_lane_config *config,
		     struct error *ret_error)
{
	struct hold_packet *p = &lane->packet;
	const char *what = "memory";
	int r;

	*p = (struct hold_packet){.prog = config->prog};
	r = hold_arena_init(&p->arena, config->hold->frames_max + HOLD_LANE_BATCH,
			    config->hold->bytes_max, (HOLD_LANE_BATCH + 2ULL) * FRAME_ROOM);
	if (r < 0)
		return error_set(ret_error, r,
				 "no memory for %" PRIu64 " held bytes (%s): lower bytes_max",
				 config->hold->bytes_max, strerror(-r));
	/* Give no protocol here, so that the socket receives nothing before it is bound. */
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = p->fd < 0 ? -errno : 0;
	p->is_open = r == 0;
	if (r == 0) {
		what = "set the options of";
		r = set_options(p->fd, config);
	}
	if (r == 0) {
		what = "bind";
		r = bind_to(p->fd, config->out);
	}
	if (r < 0) {
		close_lane(lane);
		return error_set(ret_error, r, "cannot %s the packet socket on the release device "
				 "%s of VM %s: %s", what, config->out, config->hold->vm,
				 strerror(-r));
	}
	return 0;
}

static int get_fd(const struct hold_lane *lane)
{
	return lane->packet.fd;
}

static struct beside read_beside(struct msghdr *m)
{
	struct beside b = {0};
	struct tpacket_auxdata aux;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_MARK) {
			memcpy(&b.mark, CMSG_DATA(c), sizeof(b.mark));
			b.is_ours = (b.mark & ~HOLD_EPOCH_MASK) == HOLD_EPOCH_MARK;
		}
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
			memcpy(&aux, CMSG_DATA(c), sizeof(aux));
			b.has_tag = (aux.tp_status & TP_STATUS_VLAN_VALID) != 0;
			b.tpid = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid :
									      ETH_P_8021Q;
			b.tci = aux.tp_vlan_tci;
		}
	}
	return b;
}

/* The mark has the low bits of an epoch. Returns that epoch: the newest that has these bits and is
 * not after the current epoch. */
static uint64_t whole_epoch(const struct hold_lane *lane, uint32_t mark)
{
	uint64_t now = __atomic_load_n(&lane->packet.prog->control->epoch, __ATOMIC_RELAXED);

	return now - ((now - mark) & HOLD_EPOCH_MASK);
}

/* Put the VLAN tag back. The top of this file shows the layout of @slot. */
static void insert_tag(uint8_t *slot, const struct beside *b)
{
	struct virtio_net_hdr head;
	uint16_t tag[2] = {htons(b->tpid), htons(b->tci)};

	memmove(slot, slot + TAG_BYTES, HEAD_BYTES + MACS_BYTES);
	memcpy(slot + HEAD_BYTES + MACS_BYTES, tag, TAG_BYTES);
	memcpy(&head, slot, HEAD_BYTES);
	if (head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		head.csum_start = (uint16_t)(head.csum_start + TAG_BYTES);
	if (head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		head.hdr_len = (uint16_t)(head.hdr_len + TAG_BYTES);
	memcpy(slot, &head, HEAD_BYTES);
}

/* Take one frame from the socket's queue. Returns 1;
 * 0: the frame was dropped;
 * -EAGAIN: the queue is empty;
 * other -errno, such as -ENETDOWN: the release device was removed. */
static int receive_one(struct hold_lane *lane, uint64_t now_ns, struct hold_frame *ret)
{
	struct hold_packet *p = &lane->packet;
	uint8_t *slot = hold_arena_reserve(&p->arena, FRAME_ROOM), nothing[1];
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(uint32_t)) +
			      CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control;
	/* If there is no room, only take the frame out of the queue, which drops the frame. */
	struct iovec iov = {.iov_base = slot ? slot + TAG_BYTES : nothing,
			    .iov_len = slot ? FRAME_ROOM - TAG_BYTES : sizeof(nothing)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(p->fd, &m, MSG_DONTWAIT);
	struct beside b;

	if (n < 0 && errno != EINVAL)
		return -errno;
	if (n < 0)
		m.msg_controllen = 0; /* the kernel has written no control data */
	b = read_beside(&m);
	/* EINVAL: no virtio_net_hdr can describe the frame, and the kernel has dropped it. */
	if (n < (ssize_t)(HEAD_BYTES + ETH_HLEN) || !slot ||
	    (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !b.is_ours) {
		lane->n_bad_stamp++;
		return 0;
	}
	if (b.has_tag)
		insert_tag(slot, &b);
	*ret = (struct hold_frame){
		.addr = hold_arena_commit(&p->arena, TAG_BYTES + (size_t)n) +
			(b.has_tag ? 0 : TAG_BYTES),
		.size_bytes = (uint32_t)n - HEAD_BYTES + (b.has_tag ? TAG_BYTES : 0),
		.epoch = whole_epoch(lane, b.mark),
		.time_ns = now_ns,
	};
	return 1;
}

static uint32_t receive(struct hold_lane *lane, struct hold_frame *ret, uint32_t n_max,
			bool *ret_is_empty)
{
	uint64_t now_ns = clock_mono_ns();
	uint32_t n = 0;
	int r = 0;

	while (n < n_max && r >= 0) {
		r = receive_one(lane, now_ns, &ret[n]);
		n += r > 0;
	}
	/* The kernel reports a broken device only once. So keep the error for flush(). */
	if (r < 0 && r != -EAGAIN)
		lane->packet.broken = r;
	*ret_is_empty = r < 0;
	return n;
}

static void give_back(struct hold_lane *lane, const struct hold_frame *frame)
{
	hold_arena_free(&lane->packet.arena, frame->addr);
}

static bool is_device_error(int error)
{
	return error == ENETDOWN || error == ENXIO || error == ENODEV || error == ENETUNREACH;
}

static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM || error == EINTR;
}

/* Give the kernel a frame, bypassing the device's queue. The kernel drops the frame if the frame
 * must be cut into segments. In this case, give the kernel the same frame again, through the queue.
 * Returns 0 or -errno. */
static int give(const struct hold_packet *p, const struct hold_frame *frame)
{
	const void *data = hold_arena_data(&p->arena, frame->addr);
	size_t size = HEAD_BYTES + frame->size_bytes;
	ssize_t n = send(p->fd, data, size, MSG_DONTWAIT);

	if (n < 0 && errno == ENOBUFS && set_int(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, 0) == 0) {
		n = send(p->fd, data, size, MSG_DONTWAIT);
		(void)!set_int(p->fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1); /* cannot fail */
	}
	return n < 0 ? -errno : 0;
}

/* Called when the kernel has not accepted the oldest frame. Returns 0: try again;
 * -ENOLINK: this has lasted for FULL_NS, for example because the pair has no carrier;
 * -EPROTO: this has lasted for FULL_NS even with a new pair, so the frame is bad. */
static int judge_full(struct hold_packet *p)
{
	uint64_t now_ns = clock_mono_ns();

	if (p->full_since_ns == 0)
		p->full_since_ns = now_ns;
	if (now_ns - p->full_since_ns < FULL_NS)
		return 0;
	return p->is_new_pair ? -EPROTO : -ENOLINK;
}

static int send_one(struct hold_lane *lane, const struct hold_frame *frame)
{
	struct hold_packet *p = &lane->packet;
	int r = give(p, frame);

	if (r < 0 && is_full(-r)) {
		r = judge_full(p);
		if (r != -EPROTO)
			return r;
	}
	if (r < 0 && is_device_error(-r))
		return r;
	p->full_since_ns = 0;
	p->is_new_pair = false;
	if (r < 0) /* the kernel refuses this frame: a bug, or a header that makes no sense */
		lane->n_refused++;
	give_back(lane, frame);
	return 1;
}

static int flush(struct hold_lane *lane)
{
	return lane->packet.broken;
}

static int reopen_out(struct hold_lane *lane, const char *out)
{
	int error, r = bind_to(lane->packet.fd, out);
	socklen_t size = sizeof(error);

	if (r < 0)
		return r;
	/* Clear the error of the previous device. */
	(void)getsockopt(lane->packet.fd, SOL_SOCKET, SO_ERROR, &error, &size);
	lane->packet.broken = 0;
	lane->packet.full_since_ns = 0;
	lane->packet.is_new_pair = true;
	return 0;
}

/* n_queued() and n_sending() of this lane. This lane queues no frames: the kernel sends an accepted
 * frame at once, and any other frame stays in the FIFO. */
static uint32_t none(const struct hold_lane *lane)
{
	(void)lane;
	return 0;
}

static int read_stats(struct hold_lane *lane, struct hold_stats *ret)
{
	struct tpacket_stats now;
	socklen_t size = sizeof(now);

	/* Reading sets the kernel's counters to 0. */
	if (getsockopt(lane->packet.fd, SOL_PACKET, PACKET_STATISTICS, &now, &size) < 0)
		return -errno;
	lane->packet.n_queue_full += now.tp_drops;
	ret->dropped_bad_stamp = lane->n_bad_stamp;
	ret->kernel_rx_dropped = lane->packet.n_queue_full;
	ret->kernel_tx_invalid = lane->n_refused;
	return 0;
}

const struct hold_lane_ops hold_lane_packet = {
	.open = open_lane,
	.close = close_lane,
	.fd = get_fd,
	.receive = receive,
	.give_back = give_back,
	.send = send_one,
	.flush = flush,
	.reopen_out = reopen_out,
	.n_queued = none,
	.n_sending = none,
	.read_stats = read_stats,
};
