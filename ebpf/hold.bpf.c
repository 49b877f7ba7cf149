/* hold.bpf.c - the kernel's part of the hold, which keeps a guest's frames back until their epoch
 * is committed. This part stamps and redirects the frames, or drops them.
 *
 * hold_xdp runs on the guest's tap for each frame that the guest sends. It does not parse frames,
 * so it holds frames of every ethertype. What it does with a frame:
 *
 *	mode            | condition                  | verdict
 *	PASS            |                            | XDP_PASS, frame untouched
 *	HOLD, epoch > 0 | the agent's socket is open | XDP_REDIRECT, stamp in front
 *	                | no socket (agent dead)     | XDP_DROP
 *	                | frame too long, or no headroom | XDP_DROP
 *	any other case  |                            | XDP_DROP
 *
 * The stamp (the epoch and the time) is put in front of the frame with bpf_xdp_adjust_head. It is
 * not in the XDP metadata area, because tun's native path supports that only since Linux 6.15.
 *
 * hold_tap takes the place of hold_xdp if the guest uses offloads. Such a guest leaves checksums
 * and segmentation to the host. The kernel notes this work beside the frame, and an XDP redirect
 * loses the note. hold_tap runs at the tap's tc ingress (tcx), before any other filter there:
 *
 *      mode            | condition                   | verdict
 *      any             | hold_release's mark is set  | remove the mark, next filter
 *      PASS            |                             | next filter, frame untouched
 *      HOLD, epoch > 0 | our veth pair exists        | set mark to the epoch, redirect into hfbN
 *      any other case  |                             | drop
 *
 *	tap: hold_tap --> [hfbN]==veth==[hfoN] -- the agent's packet socket: hold_take
 *	                                       \- tc ingress: hold_sink drops all, counts
 *
 * hold_take is the filter of the agent's packet socket. For each frame that reaches hfoN, the
 * kernel runs hold_take first and hold_sink second. hold_take refuses frames that hold_tap did not
 * send. If the agent is dead, there is no socket, and hold_sink drops the only copy of the frame.
 *
 * hold_release runs at the tc ingress of hfbN, where the agent's released frames come out. It
 * passes each frame to the tap as if the guest had just sent it. So the tap's other filters, its
 * bridge port and all rules that name the tap work as without a hold. hold_tap sees the released
 * frame again, and recognizes it by its mark. hold_xdp does not see the released frame, because
 * native XDP runs only when QEMU writes to the tap.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "hold_shared.h"

/* This map has one element, a struct hold_control, which the agent writes through mmap. The map is
 * pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hold_control);
} hold_control SEC(".maps");

/* This map has the AF_XDP socket of the tap's receive queue 0. The agent writes the map. If the
 * agent dies, its socket closes, the kernel empties the map, and hold_xdp drops the frames. The map
 * is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hold_xsks SEC(".maps");

/* This map has a count of frames for each enum hold_counter and each CPU. The programs below write
 * the map. The map is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOLD_COUNTER_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hold_counters SEC(".maps");

/* This map has one element, a struct hold_sent. hold_xdp or hold_tap writes it, and the witness
 * reads it. The map is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hold_sent);
} hold_sent SEC(".maps");

/* hold_take and hold_sink see the same frame. Through this map, hold_take reports to hold_sink what
 * it did with the frame: 1 if it has let the frame into the agent's socket, 0 if not. The only key
 * is 0. The map is per CPU, because hold_sink sees each frame just after hold_take, on the same
 * CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hold_taken SEC(".maps");

/* Constants that the loader sets before it loads the programs. */
/* For hold_xdp: the longest frame that fits into a UMEM frame. For hold_tap: the longest frame to
 * hold, GSO frames excepted. */
const volatile __u32 max_frame_bytes = 0;
const volatile __u32 tap_ifindex = 0;
const volatile bool is_offload = false; /* true: hold_tap is attached to the tap; false: hold_xdp */

/* How many frames hold_release has passed to the tap since this agent loaded the program. The agent
 * uses this number to check whether released frames reach the tap. */
__u64 n_returned = 0;

/* How many frames hold_tap has sent to hfoN, and how many hold_sink has seen there, since this
 * agent loaded the programs. The agent uses these numbers to check whether held frames reach its
 * socket. */
__u64 n_captured = 0;
__u64 n_arrived = 0;

/* The ifindex of hfbN, the device into which hold_tap redirects frames; 0: there is no such device.
 * The agent writes it. */
__u32 capture_ifindex = 0;

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&hold_counters, &which);

	if (n)
		(*n)++;
}

/* Count a frame that the guest sent. Even a frame that will be dropped shows that the guest is
 * alive. */
static __always_inline void note_sent(__u64 now_ns)
{
	__u32 zero = 0;
	struct hold_sent *sent = bpf_map_lookup_elem(&hold_sent, &zero);

	if (!sent)
		return;
	__sync_fetch_and_add(&sent->frames, 1);
	sent->last_ns = now_ns;
}

static __always_inline int drop(__u32 why)
{
	count(why);
	return XDP_DROP;
}

SEC("xdp")
int hold_xdp(struct xdp_md *ctx)
{
	__u32 zero = 0;
	const volatile struct hold_control *control = bpf_map_lookup_elem(&hold_control, &zero);
	struct hold_stamp *stamp;
	__u64 epoch, now_ns = bpf_ktime_get_ns();
	__u32 mode;
	long verdict;

	/* use the boot-time clock, as the witness does for all times in its datagrams */
	note_sent(bpf_ktime_get_boot_ns());
	if (!control)
		return XDP_DROP;
	mode = control->mode;
	if (mode == HOLD_MODE_PASS) {
		count(HOLD_COUNTER_PASSED);
		return XDP_PASS;
	}
	/* The epoch changes only while the guest is stopped, so no frame is sent during a
	 * change. */
	epoch = control->epoch;
	if (mode != HOLD_MODE_HOLD || epoch == 0)
		return drop(HOLD_COUNTER_DROPPED_MODE);
	if (ctx->data_end - ctx->data > max_frame_bytes)
		return drop(HOLD_COUNTER_DROPPED_LONG);
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*stamp)) != 0)
		return drop(HOLD_COUNTER_DROPPED_STAMP);
	stamp = (void *)(long)ctx->data;
	if ((void *)(stamp + 1) > (void *)(long)ctx->data_end)
		return drop(HOLD_COUNTER_DROPPED_STAMP);
	stamp->epoch = epoch;
	stamp->time_ns = now_ns;
	/* If the queue has no socket in the map, the verdict is XDP_DROP. Only queue 0 can have a
	 * socket. */
	verdict = bpf_redirect_map(&hold_xsks, ctx->rx_queue_index, XDP_DROP);
	if (verdict != XDP_REDIRECT)
		return drop(HOLD_COUNTER_DROPPED_NO_SOCKET);
	count(HOLD_COUNTER_HELD);
	return XDP_REDIRECT;
}

static __always_inline int shoot(__u32 why)
{
	count(why);
	return TC_ACT_SHOT;
}

SEC("tc")
int hold_tap(struct __sk_buff *skb)
{
	__u32 zero = 0, mode, out = capture_ifindex;
	const volatile struct hold_control *control = bpf_map_lookup_elem(&hold_control, &zero);
	__u64 epoch;

	/* The guest cannot forge this mark: frames that QEMU writes to the tap have no mark. */
	if (skb->mark == HOLD_MARK) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	note_sent(bpf_ktime_get_boot_ns());
	if (!control)
		return TC_ACT_SHOT;
	mode = control->mode;
	if (mode == HOLD_MODE_PASS) {
		count(HOLD_COUNTER_PASSED);
		return TC_ACT_UNSPEC;
	}
	/* The epoch changes only while the guest is stopped. If the kernel delays a frame (RPS),
	 * hold_tap can stamp it with a later epoch than the one in which the guest sent it. This is
	 * harmless: the frame is only held longer. */
	epoch = control->epoch;
	if (mode != HOLD_MODE_HOLD || epoch == 0)
		return shoot(HOLD_COUNTER_DROPPED_MODE);
	if (skb->len > (skb->gso_size ? HOLD_GSO_FRAME_MAX : max_frame_bytes))
		return shoot(HOLD_COUNTER_DROPPED_LONG);
	if (out == 0)
		return shoot(HOLD_COUNTER_DROPPED_NO_SOCKET);
	skb->mark = HOLD_EPOCH_MARK | (epoch & HOLD_EPOCH_MASK);
	__sync_fetch_and_add(&n_captured, 1);
	return (int)bpf_redirect(out, 0);
}

static __always_inline bool is_captured(const struct __sk_buff *skb)
{
	return (skb->mark & ~HOLD_EPOCH_MASK) == HOLD_EPOCH_MARK;
}

SEC("socket")
int hold_take(struct __sk_buff *skb)
{
	__u32 zero = 0, *taken;

	if (!is_captured(skb))
		return 0;
	taken = bpf_map_lookup_elem(&hold_taken, &zero);
	if (taken)
		*taken = 1;
	return -1; /* let the whole frame into the socket */
}

SEC("tc")
int hold_sink(struct __sk_buff *skb)
{
	__u32 zero = 0, *taken = bpf_map_lookup_elem(&hold_taken, &zero);

	if (!is_captured(skb))
		return shoot(HOLD_COUNTER_DROPPED_STRAY);
	__sync_fetch_and_add(&n_arrived, 1);
	if (!taken || *taken == 0)
		return shoot(HOLD_COUNTER_DROPPED_NO_SOCKET);
	*taken = 0;
	return shoot(HOLD_COUNTER_HELD);
}

SEC("tc")
int hold_release(struct __sk_buff *skb)
{
	/* Some programs of the host (LLDP, DHCP) send frames on all devices. Drop them: they do not
	 * have our mark. */
	if (skb->mark != HOLD_MARK) {
		count(HOLD_COUNTER_DROPPED_STRAY);
		return TC_ACT_SHOT;
	}
	if (!is_offload)
		skb->mark = 0; /* with offloads, hold_tap needs the mark, and removes it */
	__sync_fetch_and_add(&n_returned, 1);
	return (int)bpf_redirect(tap_ifindex, BPF_F_INGRESS);
}

char hold_license[] SEC("license") = "Dual BSD/GPL";
