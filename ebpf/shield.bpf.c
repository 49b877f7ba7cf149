/* shield.bpf.c - protects the gateway's packet socket from a flood of UDP. Of all UDP datagrams,
 * only genuine and new witness datagrams pass.
 *
 * This is a socket filter. The kernel runs it in softirq context for each frame. It returns how
 * many bytes the kernel copies into the socket's ring; 0 drops the frame. All frames except UDP
 * over IPv4 pass. A UDP datagram passes only if it is a witness datagram that
 * gateway/witness/witness_rx.h would accept too. One check is stricter here: the datagram's
 * sequence number must be higher than the sequence numbers of all datagrams that have passed.
 * witness_rx.h accepts any number that it has not seen before. The checks have the same order as in
 * witness_rx.h, cheap ones first.
 *
 * Frames are read with bpf_skb_load_bytes(), because a driver can leave a part of a frame in pages
 * outside the linear buffer. The program needs only CAP_BPF.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "datagram.bpf.h"
#include "shield_shared.h"

/* The program returns the maximum number of bytes to copy; 0 drops the frame. */
#define PASS_WHOLE	0x40000
#define NO_OPTIONS	0x45	/* first byte of an IPv4 header without options */
#define MORE_OR_OFFSET	0x3fff	/* a fragment has at least one of these bits set */

struct headers {
	__u8 unused[2]; /* aligns the addresses in `ip` */
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
};
_Static_assert(sizeof(struct headers) == 2 + WITNESS_HEADER_SIZE, "as on the wire");

/* The headers from `eth` on are read in two parts. The first part has KIND_SIZE bytes, and shows
 * whether the frame is UDP. The second part has REST_SIZE bytes. */
#define KIND_SIZE (sizeof(struct ethhdr) + __builtin_offsetof(struct iphdr, check))
#define REST_SIZE (WITNESS_HEADER_SIZE - KIND_SIZE)

/* This map gives, for each key_id, the slot of that key in shield_keys. The gateway writes the
 * map. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SHIELD_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} shield_slots SEC(".maps");

/* This map has a struct shield_key for each slot. The program writes `newest` and `bad_macs`. The
 * gateway writes the rest. The gateway maps this array into its memory, so that it can wipe old
 * keys. (A hash map would keep the bytes of a deleted element.) */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SHIELD_SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct shield_key);
} shield_keys SEC(".maps");

/* This map has one element, a struct shield_counts. The program counts; the gateway reads and
 * clears the counts through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct shield_counts);
} shield_counts SEC(".maps");

/* Constants that the loader sets before it loads the program. */
const volatile __be32 our_address = 0;
const volatile __be16 witness_port = 0;
/* the value that the field `path` must have in this network */
const volatile __be32 witness_path = 0;

static __always_inline bool is_for_us(struct __sk_buff *skb, const struct headers *h)
{
	return !skb->vlan_present && *(const __u8 *)&h->ip == NO_OPTIONS &&
	       !(h->ip.frag_off & bpf_htons(MORE_OR_OFFSET)) && h->ip.daddr == our_address &&
	       h->udp.dest == witness_port;
}

static __always_inline enum shield_verdict judge(struct __sk_buff *skb, struct headers *h)
{
	struct datagram d;
	struct shield_key *key;
	__u64 sequence, newest;
	__u32 key_id, *slot;

	if (bpf_skb_load_bytes(skb, KIND_SIZE, &h->ip.check, REST_SIZE) != 0 || !is_for_us(skb, h))
		return SHIELD_OTHER;
	if (h->udp.len != bpf_htons(sizeof(h->udp) + sizeof(d)) ||
	    bpf_skb_load_bytes(skb, WITNESS_HEADER_SIZE, &d, sizeof(d)) != 0 ||
	    d.magic != bpf_htonl(DATAGRAM_MAGIC))
		return SHIELD_MALFORMED;
	if (d.path != witness_path)
		return SHIELD_WRONG_PATH;
	key_id = bpf_ntohl(d.key_id);
	slot = bpf_map_lookup_elem(&shield_slots, &key_id);
	key = slot ? bpf_map_lookup_elem(&shield_keys, slot) : NULL;
	if (!key || key->key_id != key_id)
		return SHIELD_UNKNOWN_KEY;
	if (h->ip.saddr != key->address)
		return SHIELD_WRONG_ADDRESS;
	sequence = bpf_be64_to_cpu(d.sequence);
	newest = *(volatile __u64 *)&key->newest;
	if (sequence <= newest)
		return SHIELD_REPLAYED;
	if (datagram_mac(key->key, &d) != bpf_be64_to_cpu(d.mac)) {
		__sync_fetch_and_add(&key->bad_macs, 1);
		return SHIELD_BAD_MAC;
	}
	/* If several CPUs reach this point at the same time, only one of their datagrams passes. */
	return __sync_val_compare_and_swap(&key->newest, newest, sequence) == newest
		       ? SHIELD_PASSED
		       : SHIELD_REPLAYED;
}

SEC("socket")
int shield_socket(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct shield_counts *counts;
	struct headers h;
	enum shield_verdict verdict;

	if (bpf_skb_load_bytes(skb, 0, &h.eth, KIND_SIZE) != 0 ||
	    h.eth.h_proto != bpf_htons(ETH_P_IP) || h.ip.protocol != IPPROTO_UDP)
		return PASS_WHOLE;
	verdict = judge(skb, &h);
	counts = bpf_map_lookup_elem(&shield_counts, &zero);
	if (counts && verdict != SHIELD_PASSED && verdict != SHIELD_BAD_MAC)
		__sync_fetch_and_add(&counts->n[verdict & (SHIELD_N_VERDICTS - 1)], 1);
	return verdict == SHIELD_PASSED ? PASS_WHOLE : 0;
}

char shield_license[] SEC("license") = "Dual BSD/GPL";
