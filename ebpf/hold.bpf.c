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
 * The stamp is put in front of the frame (bpf_xdp_adjust_head). The XDP metadata area is not used,
 * because tun's native path supports it only since Linux 6.15.
 *
 * hold_release runs at the end of our veth pair where released frames come out (hfbN, tc ingress).
 * It passes each frame to the tap as if the tap had received it from the guest. So the tap's tc
 * ingress filters, its bridge port and the rules that name the tap work as without a hold. hold_xdp
 * does not see the frame again, because native XDP runs only when QEMU writes to the tap.
 */
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

/* This map has an AF_XDP socket for each receive queue of the tap (only queue 0 is used). The agent
 * writes the map. If the agent dies, the agent's socket closes and the kernel empties the slot.
 * From then on hold_xdp drops the frames. The map is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hold_xsks SEC(".maps");

/* This map counts frames for each enum hold_counter and CPU. Both programs write the map. The map
 * is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOLD_COUNTER_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hold_counters SEC(".maps");

/* This map has one element, a struct hold_sent, which hold_xdp writes and the witness reads. The
 * map is pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hold_sent);
} hold_sent SEC(".maps");

/* Constants that the loader sets before it loads the programs. */
const volatile __u32 max_frame_bytes = 0; /* the longest frame that fits into a UMEM frame */
const volatile __u32 tap_ifindex = 0;

/* How many frames hold_release has passed to the tap since this agent loaded the program. The agent
 * reads this number to check whether the frames that it releases reach the tap. */
__u64 n_returned = 0;

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
	/* The last argument is the verdict if the queue's slot is empty or does not exist (a second
	 * queue has no slot). */
	verdict = bpf_redirect_map(&hold_xsks, ctx->rx_queue_index, XDP_DROP);
	if (verdict != XDP_REDIRECT)
		return drop(HOLD_COUNTER_DROPPED_NO_SOCKET);
	count(HOLD_COUNTER_HELD);
	return XDP_REDIRECT;
}

SEC("tc")
int hold_release(struct __sk_buff *skb)
{
	/* Drop frames without our mark: some programs of the host (LLDP, DHCP) send frames on all
	 * devices. */
	if (skb->mark != HOLD_MARK) {
		count(HOLD_COUNTER_DROPPED_STRAY);
		return TC_ACT_SHOT;
	}
	skb->mark = 0; /* a frame from the guest has no mark */
	__sync_fetch_and_add(&n_returned, 1);
	return (int)bpf_redirect(tap_ifindex, BPF_F_INGRESS);
}

char hold_license[] SEC("license") = "Dual BSD/GPL";
