/* link_cut.bpf.c - drops frames between two ports of a switch, for bench_detector.
 *
 * The program is attached to the tc egress of every port of the switches. ingress_ifindex tells the
 * port through which a frame entered the switch, and thus the host that sent it. So bench_detector
 * can cut each direction between two hosts separately, or drop a share of the frames. Not every
 * kernel has netem and tc actions, which could do this too.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct link_pair {
	__u32 from, to; /* ifindex of the ports through which frames enter and leave */
};

struct link_loss {
	__u64 of_2_32; /* share of frames to drop, in units of 2^-32 */
	__u64 n_lost;
};

/* Maps a pair of ports to its loss. A pair that is not in the map loses nothing. bench_detector
 * writes the entries; this program only increases n_lost. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct link_pair);
	__type(value, struct link_loss);
} link_losses SEC(".maps");

SEC("tc")
int link_cut(struct __sk_buff *skb)
{
	struct link_pair pair = {skb->ingress_ifindex, skb->ifindex};
	struct link_loss *loss = bpf_map_lookup_elem(&link_losses, &pair);

	if (!loss || bpf_get_prandom_u32() >= loss->of_2_32)
		return TC_ACT_UNSPEC;
	__sync_fetch_and_add(&loss->n_lost, 1);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
