/* witness.bpf.c - samples frames that reach the guest, and sends signed samples to the gateway,
 * entirely in the kernel.
 *
 *	to the guest
 *	  |  witness_sample (each tap, tc egress): count; one frame per interval is cloned
 *	  v                                                |
 *	[tap]                                            [hfwN]==veth==[hfvN]
 *	                                                                 |  witness_emit (tc ingress)
 *	                                                                 v
 *	                        Ethernet, IPv4, UDP, the datagram signed with SipHash-2-4 --> [backup device]
 *                              if there is a second path: a clone, signed again --> [client device]
 *
 * witness_sample always returns TC_ACT_UNSPEC, so no frame to the guest is changed or dropped. The
 * programs work without the agent: the tc filters keep the programs alive, and the programs keep
 * the maps alive. witness_emit sends or drops each clone, so no clone enters the host's network
 * stack.
 *
 * witness_emit resizes the clone and overwrites all of its bytes, so it needs no headroom.
 * Transmit checksum offload is off on hfwN. So the kernel completes a clone's own checksum before
 * witness_emit runs. With offload on, the kernel would write that checksum into our datagram.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "datagram.bpf.h"
#include "hold_shared.h"
#include "witness_shared.h"

#define MARK 0x77697431U /* mark of clones and of the datagrams made from them */
#define VLAN_TAG 4
/* TC_PRIO_CONTROL: a priority queue sends these datagrams before replication traffic */
#define PRIORITY_CONTROL 7

/* This map has one element, a struct witness_control. witness_emit writes the sequence numbers. The
 * agent writes the rest through mmap. The map is pinned. Its pin is open to root only, because the
 * map contains the keys that sign datagrams. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct witness_control);
} witness_control SEC(".maps");

/* This map has one element, a struct witness_state, which both programs write. The map is
 * pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct witness_state);
} witness_state SEC(".maps");

/* The map hold_sent of a hold of the same VM. Each tap has a hold of its own. The hold's programs
 * write the map; the witness only reads it. The value is declared with a size and without a type,
 * because bpftool 7.1 does not find the size of a type that is used only here. */
struct hold_sent_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct hold_sent));
};

/* Each value of this map is the map hold_sent of one hold. The keys have no meaning. The loader
 * fills the map. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WITNESS_TAPS_MAX);
	__type(key, __u32);
	__array(values, struct hold_sent_map);
} hold_sents SEC(".maps");

/* A constant that the loader sets before it loads the programs. */
const volatile __u32 helper_ifindex = 0; /* ifindex of hfwN */

static __always_inline void count(__u64 *what)
{
	__sync_fetch_and_add(what, 1);
}

SEC("tc")
int witness_sample(struct __sk_buff *skb)
{
	__u32 zero = 0, mark;
	const volatile struct witness_control *control;
	struct witness_state *state = bpf_map_lookup_elem(&witness_state, &zero);
	__u64 now_ns, last_ns;

	/* Do not sample our own datagrams: this host's bridge can flood them to the guest. */
	if (!state || skb->mark == MARK)
		return TC_ACT_UNSPEC;
	count(&state->to_guest);
	control = bpf_map_lookup_elem(&witness_control, &zero);
	if (!control || !control->is_enabled)
		return TC_ACT_UNSPEC;
	now_ns = bpf_ktime_get_boot_ns();
	last_ns = *(volatile __u64 *)&state->sampled_ns;
	/* last_ns can be later than now_ns: perhaps another CPU took a sample after we read
	 * now_ns. */
	if (last_ns != 0 && (now_ns < last_ns || now_ns - last_ns < control->interval_ns))
		return TC_ACT_UNSPEC;
	/* If several CPUs reach this point at the same time, only one of them takes the sample. */
	if (__sync_val_compare_and_swap(&state->sampled_ns, last_ns, now_ns) != last_ns)
		return TC_ACT_UNSPEC;
	count(&state->sampled);
	__sync_lock_test_and_set(&state->token_ns, now_ns);
	mark = skb->mark;
	/* mark the clone, so that witness_emit can distinguish it from other frames on the helper
	 * device */
	skb->mark = MARK;
	if (bpf_clone_redirect(skb, helper_ifindex, 0) != 0)
		count(&state->failed_clone);
	skb->mark = mark;
	return TC_ACT_UNSPEC;
}

/* Store the sampled frame's size in @d, and its first bytes in d->head. The kernel can keep the
 * frame's VLAN tag outside of the frame. In this case, put the tag back in its place in d->head.
 * Returns 0, or less than 0 on failure. */
static __always_inline int fill(struct __sk_buff *skb, struct datagram *d)
{
	__u32 size = skb->len, n;
	__be16 *tag = (__be16 *)(d->head + 2 * ETH_ALEN);

	if (size < WITNESS_HEAD_MIN)
		return -1;
	if (skb->vlan_present) {
		n = size < WITNESS_HEAD_MAX - VLAN_TAG ? size : WITNESS_HEAD_MAX - VLAN_TAG;
		tag[0] = (__be16)skb->vlan_proto;
		tag[1] = bpf_htons((__u16)skb->vlan_tci);
		if (bpf_skb_load_bytes(skb, 2 * ETH_ALEN, tag + 2, n - 2 * ETH_ALEN) != 0)
			return -1;
		n += VLAN_TAG;
		size += VLAN_TAG;
	} else {
		n = size < WITNESS_HEAD_MAX ? size : WITNESS_HEAD_MAX;
		if (bpf_skb_load_bytes(skb, 2 * ETH_ALEN, tag, n - 2 * ETH_ALEN) != 0)
			return -1;
	}
	d->magic = bpf_htonl(DATAGRAM_MAGIC);
	d->frame_size = bpf_htons(size < 0xffff ? (__u16)size : 0xffff);
	d->head_size = bpf_htons((__u16)n);
	return (int)bpf_skb_load_bytes(skb, 0, d->head, 2 * ETH_ALEN);
}

/* Remove the VLAN tag that the kernel keeps outside of the frame. Otherwise the kernel would put
 * this tag into our datagram. After a removal the kernel moves the frame's next tag out of the
 * frame, so repeat the removal. Returns 0, or less than 0 on failure. */
static __always_inline int remove_tags(struct __sk_buff *skb)
{
	for (int i = 0; i < 3 && skb->vlan_present; i++) {
		if (bpf_skb_vlan_pop(skb) != 0)
			return -1;
	}
	return skb->vlan_present ? -1 : 0;
}

/* Fill in how many frames the guest has sent through all its cards, and when it sent the last. */
static __always_inline void fill_sent(struct datagram *d)
{
	__u64 frames = 0, last_ns = 0;
	__u32 zero = 0;

	for (__u32 i = 0; i < WITNESS_TAPS_MAX; i++) {
		void *map = bpf_map_lookup_elem(&hold_sents, &i);
		const volatile struct hold_sent *sent;
		__u64 at_ns;

		if (!map)
			continue;
		sent = bpf_map_lookup_elem(map, &zero);
		if (!sent)
			continue;
		frames += sent->frames;
		at_ns = sent->last_ns;
		if (at_ns > last_ns)
			last_ns = at_ns;
	}
	d->from_guest = bpf_cpu_to_be64(frames);
	d->from_guest_ns = bpf_cpu_to_be64(last_ns);
}

/* Resize the frame to the size of a datagram. Fill in the fields that are the same in both
 * datagrams of a sample. Returns 0, or less than 0 on failure. */
static __always_inline int prepare(struct __sk_buff *skb, const struct witness_state *state,
				   __u64 time_ns, struct datagram *d)
{
	if (fill(skb, d) != 0 || remove_tags(skb) != 0 ||
	    bpf_skb_change_tail(skb, WITNESS_FRAME_SIZE, 0) != 0)
		return -1;
	d->mono_ns = bpf_cpu_to_be64(time_ns);
	d->to_guest = bpf_cpu_to_be64(*(const volatile __u64 *)&state->to_guest);
	fill_sent(d);
	skb->priority = PRIORITY_CONTROL;
	return 0;
}

/* Returns the route in use for path @number. */
static __always_inline const struct witness_path *path_of(const struct witness_control *control,
							  enum witness_path_number number)
{
	return &control->paths[number][*(const volatile __u32 *)&control->path_slot[number] & 1];
}

/* Turn the frame into the datagram of one path. @skb is a clone of the sampled frame, so overwrite
 * every byte: only the bytes that @d contains may reach the gateway. Returns 0, or less than 0 on
 * failure. */
static __always_inline int write_frame(struct __sk_buff *skb, const struct witness_path *path,
				       enum witness_path_number number, struct witness_key *key,
				       struct datagram *d)
{
	d->path = bpf_htonl(number);
	d->sequence = bpf_cpu_to_be64(__sync_fetch_and_add(&key->sequence[number], 1) + 1);
	d->mac = bpf_cpu_to_be64(datagram_mac(key->key, d));
	if (bpf_skb_store_bytes(skb, 0, path->header, WITNESS_HEADER_SIZE,
				BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH) != 0 ||
	    bpf_skb_store_bytes(skb, WITNESS_HEADER_SIZE, d, sizeof(*d), BPF_F_RECOMPUTE_CSUM) != 0)
		return -1;
	return 0;
}

/* Send one sample through each path that has a route. First send a clone through the client
 * network, then the frame itself through the backup network. If one path fails, the sample is still
 * sent through the other path. */
static __always_inline int emit(struct __sk_buff *skb, struct witness_control *control,
				struct witness_state *state, __u64 time_ns)
{
	struct witness_key *key = &control->keys[*(const volatile __u32 *)&control->key_slot & 1];
	const struct witness_path *backup = path_of(control, WITNESS_BACKUP);
	const struct witness_path *client = path_of(control, WITNESS_CLIENT);
	struct datagram d = {0};

	if (key->key_id == 0 || prepare(skb, state, time_ns, &d) != 0)
		goto failed;
	d.key_id = bpf_htonl(key->key_id);
	if (client->ifindex != 0) {
		if (write_frame(skb, client, WITNESS_CLIENT, key, &d) == 0 &&
		    bpf_clone_redirect(skb, client->ifindex, 0) == 0)
			count(&state->sent[WITNESS_CLIENT]);
		else
			count(&state->failed_emit[WITNESS_CLIENT]);
	}
	if (backup->ifindex != 0 && write_frame(skb, backup, WITNESS_BACKUP, key, &d) == 0 &&
	    bpf_redirect(backup->ifindex, 0) == TC_ACT_REDIRECT) {
		count(&state->sent[WITNESS_BACKUP]);
		return TC_ACT_REDIRECT;
	}
failed:
	count(&state->failed_emit[WITNESS_BACKUP]);
	return TC_ACT_SHOT;
}

SEC("tc")
int witness_emit(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct witness_control *control = bpf_map_lookup_elem(&witness_control, &zero);
	struct witness_state *state = bpf_map_lookup_elem(&witness_state, &zero);
	__u64 time_ns;

	if (!control || !state)
		return TC_ACT_SHOT;
	/* Take the sample's time out of token_ns, so that only the first segment of a large clone
	 * is sent. A frame without our mark is not a sample: the host's own network stack has sent
	 * it on the helper device. */
	time_ns = skb->mark == MARK ? __sync_lock_test_and_set(&state->token_ns, 0) : 0;
	if (time_ns == 0) {
		count(&state->stray);
		return TC_ACT_SHOT;
	}
	return emit(skb, control, state, time_ns);
}

char witness_license[] SEC("license") = "Dual BSD/GPL";
