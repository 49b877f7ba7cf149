/* witness_prog_table - tests the BPF programs of the witness: it runs them on single packets, one
 * table row after another.
 *
 * A row of witness_sample has the control map, the state map and a packet. It also has the expected
 * verdict, packet and counters. For a row of witness_emit, the gateway's code (wire/witness.h) also
 * reads and checks the datagram. The test reads datagrams for the client network from a tap. The
 * test runs in a network namespace of its own. It attaches and pins nothing. Exit status: 0 pass, 1
 * fail, 77 skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "ebpf/hold_shared.h"
#include "ebpf/witness_shared.h"
#include "wire/witness.h"
#include "witness.skel.h"

#define MARK	    0x77697431U
#define INTERVAL_NS UINT64_C(10000000)
#define NOWHERE	    999999U /* an ifindex that does not exist */

static const uint8_t keys[2][WIRE_WITNESS_KEY_SIZE] = {{1, 2, 3, 4, 5, 6, 7, 8, 9},
						       {0xff, 0xfe, 7}};
static int n_failed, n_rows;
static int tap_fd; /* the tap that receives the datagrams of the client path */
static uint32_t tap_ifindex;

static void expect(bool is_true, const char *row, const char *what)
{
	if (is_true)
		return;
	printf("FAIL: %s: %s\n", row, what);
	n_failed++;
}

static int open_tap(void)
{
	struct ifreq request = {.ifr_name = "client0", .ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 || control < 0 || ioctl(fd, TUNSETIFF, &request) < 0;

	tap_ifindex = if_nametoindex(request.ifr_name);
	request.ifr_flags = IFF_UP | IFF_NOARP;
	r = r || ioctl(control, SIOCSIFFLAGS, &request) < 0;
	if (control >= 0)
		close(control);
	return r ? -errno : fd;
}

/* Read the next frame from the tap into @frame, and skip IPv6 frames, which the kernel itself
 * sends. Returns the frame's size; 0: there is none. */
static size_t take(uint8_t frame[4096])
{
	ssize_t n;

	do {
		n = read(tap_fd, frame, 4096);
	} while (n > 14 && bytes_get_be16(frame + 12) == 0x86dd);
	return n > 0 ? (size_t)n : 0;
}

/* ---- witness_sample ---- */

struct sample_row {
	const char *name;
	bool is_enabled;
	int64_t last_ms; /* age of the last sample; < 0: no sample yet; 0: taken in the future */
	bool is_sampled;
	bool is_ours; /* the frame bears our mark */
};

static const struct sample_row sample_rows[] = {
	{"sample: not enabled", false, -1, false},
	{"sample: the first frame", true, -1, true},
	{"sample: in the interval", true, 5, false},
	{"sample: after the interval", true, 50, true},
	{"sample: another CPU was later", true, 0, false},
	{"sample: a datagram of ours", true, -1, false, true},
};

static void make_packet(uint8_t *p, uint32_t size, uint16_t type)
{
	for (uint32_t i = 0; i < size; i++)
		p[i] = (uint8_t)(i * 7 + 1);
	bytes_put_be16(p + 12, type);
}

static int put(const struct bpf_map *map, const void *value)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(map), &zero, value, BPF_ANY);
}

static struct witness_state get_state(const struct witness_skel *skel)
{
	struct witness_state state = {0};
	uint32_t zero = 0;

	(void)bpf_map_lookup_elem(bpf_map__fd(skel->maps.witness_state), &zero, &state);
	return state;
}

/* Run witness_sample on one packet. The helper device does not exist, so the program cannot send a
 * sample. The frame must still pass. */
static void run_sample(const struct witness_skel *skel, const struct sample_row *row)
{
	struct witness_control control = {.is_enabled = row->is_enabled,
					  .interval_ns = INTERVAL_NS};
	struct witness_state state = {.to_guest = 41}, after;
	uint64_t now_ns = clock_mono_ns();
	uint8_t in[90], out[90];
	struct __sk_buff ctx = {.mark = row->is_ours ? MARK : 17, .priority = 3}, ctx_out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = sizeof(in),
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out), .repeat = 1);
	int r;

	n_rows++;
	if (row->last_ms == 0)
		state.sampled_ns = now_ns + UINT64_C(60000000000);
	else if (row->last_ms > 0)
		state.sampled_ns = now_ns - (uint64_t)row->last_ms * CLOCK_NS_PER_MS;
	/* an hour: no sample is due yet, even on a slow machine */
	if (row->last_ms == 5)
		control.interval_ns = UINT64_C(3600000000000);
	make_packet(in, sizeof(in), 0x0800);
	expect(put(skel->maps.witness_control, &control) == 0 &&
	       put(skel->maps.witness_state, &state) == 0, row->name, "maps");
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.witness_sample), &opts);
	after = get_state(skel);
	expect(r == 0 && opts.retval == (uint32_t)TC_ACT_UNSPEC, row->name, "verdict");
	expect(opts.data_size_out == sizeof(in) && memcmp(in, out, sizeof(in)) == 0, row->name,
	       "frame changed");
	expect(ctx_out.mark == ctx.mark && ctx_out.priority == 3, row->name,
	       "mark or priority changed");
	expect(after.to_guest == (row->is_ours ? 41 : 42), row->name, "counted or not");
	expect(after.sampled == row->is_sampled && after.failed_clone == row->is_sampled, row->name,
	       "sampled or not");
	expect(row->is_sampled ? after.token_ns >= now_ns && after.token_ns == after.sampled_ns
			       : after.token_ns == 0 && after.sampled_ns == state.sampled_ns,
	       row->name, "token");
}

/* ---- witness_emit ---- */

#define CLIENT_SEQUENCE 70 /* the client path's sequence number before the run */

/* What the row configures as the client network's device. */
enum client {
	NO_CLIENT,
	CLIENT_TAP,
	CLIENT_GONE,
};

struct emit_row {
	const char *name;
	uint32_t size; /* size of the packet that triggers the program */
	uint16_t type;
	bool has_token, has_mark;
	uint32_t key_slot, path_slot; /* the slots in use; the other slots hold garbage */
	uint32_t key_id;
	uint32_t ifindex;
	uint64_t sequence; /* the sequence number before the run */
	uint32_t verdict;
	enum client client;
};

#define GO   TC_ACT_REDIRECT
#define SHOT TC_ACT_SHOT

static const struct emit_row emit_rows[] = {
	{"emit: IPv4", 98, 0x0800, true, true, 0, 0, 7, 5, 0, GO},
	{"emit: header only", 14, 0x88b5, true, true, 0, 0, 7, 5, 1, GO},
	{"emit: ARP", 42, 0x0806, true, true, 0, 0, 7, 5, 2, GO},
	{"emit: one byte less than the head", 63, 0x0800, true, true, 1, 0, 7, 5, 3, GO},
	{"emit: exactly the head", 64, 0x0800, true, true, 1, 1, 7, 5, 3, GO},
	{"emit: one byte more", 65, 0x0800, true, true, 0, 1, 7, 5, 3, GO},
	{"emit: as long as the result", WITNESS_FRAME_SIZE, 0x86dd, true, true, 0, 0, 7, 5, 4, GO},
	{"emit: one longer", WITNESS_FRAME_SIZE + 1, 0x86dd, true, true, 0, 0, 7, 5, 4, GO},
	{"emit: VLAN tag in the frame", 200, 0x8100, true, true, 0, 0, 7, 5, 4, GO},
	{"emit: full size", 1514, 0x0800, true, true, 0, 0, UINT32_MAX, 5, UINT64_MAX - 2, GO},
	{"emit: jumbo", 3400, 0x0800, true, true, 0, 0, 7, 5, 4, GO},
	{"emit: no sample was taken", 98, 0x0800, false, true, 0, 0, 7, 5, 4, SHOT},
	{"emit: not a sample", 98, 0x0800, true, false, 0, 0, 7, 5, 4, SHOT},
	{"emit: neither", 98, 0x0800, false, false, 0, 0, 7, 5, 4, SHOT},
	{"emit: no key", 98, 0x0800, true, true, 0, 0, 0, 5, 4, SHOT},
	{"emit: no way", 98, 0x0800, true, true, 0, 0, 7, 0, 4, SHOT},
	{"emit: two paths", 98, 0x0800, true, true, 0, 0, 7, 5, 4, GO, CLIENT_TAP},
	{"emit: two paths, short", 14, 0x88b5, true, true, 1, 1, 7, 5, 4, GO, CLIENT_TAP},
	{"emit: two paths, jumbo", 3400, 0x0800, true, true, 1, 0, 7, 5, 4, GO, CLIENT_TAP},
	{"emit: the client path fails", 98, 0x0800, true, true, 0, 0, 7, 5, 4, GO, CLIENT_GONE},
	{"emit: only the client path", 98, 0x0800, true, true, 0, 0, 7, 0, 4, SHOT, CLIENT_TAP},
	{"emit: two paths, no key", 98, 0x0800, true, true, 0, 0, 0, 5, 4, SHOT, CLIENT_TAP},
	{"emit: two paths, no sample", 98, 0x0800, false, true, 0, 0, 7, 5, 4, SHOT, CLIENT_TAP},
};

static void fill_control(struct witness_control *control, const struct emit_row *row)
{
	struct witness_path *path = &control->paths[WITNESS_BACKUP][row->path_slot];
	struct witness_path *client = &control->paths[WITNESS_CLIENT][!row->path_slot];

	memset(control, 0xa5, sizeof(*control));
	control->key_slot = row->key_slot;
	control->path_slot[WITNESS_BACKUP] = row->path_slot;
	control->path_slot[WITNESS_CLIENT] = !row->path_slot;
	control->keys[row->key_slot] = (struct witness_key){
		.sequence = {row->sequence, CLIENT_SEQUENCE}, .key_id = row->key_id};
	memcpy(control->keys[row->key_slot].key, keys[row->key_slot], WIRE_WITNESS_KEY_SIZE);
	path->ifindex = row->ifindex;
	client->ifindex = row->client == NO_CLIENT    ? 0
			  : row->client == CLIENT_TAP ? tap_ifindex
						      : NOWHERE;
	for (uint8_t i = 0; i < WITNESS_HEADER_SIZE; i++) {
		path->header[i] = (uint8_t)(200 + i);
		client->header[i] = (uint8_t)(100 + i);
	}
}

static void check_datagram(const struct emit_row *row, enum witness_path_number path,
			   const uint8_t *in, const uint8_t *out, uint64_t time_ns)
{
	uint32_t n = row->size < WIRE_WITNESS_HEAD_MAX ? row->size : WIRE_WITNESS_HEAD_MAX;
	struct wire_witness_mac *mac;
	struct wire_witness w;

	for (uint8_t i = 0; i < WITNESS_HEADER_SIZE; i++)
		expect(out[i] == (uint8_t)((path == WITNESS_CLIENT ? 100 : 200) + i), row->name,
		       "header");
	out += WITNESS_HEADER_SIZE;
	expect(wire_witness_decode(out, WIRE_WITNESS_SIZE, &w) == 0, row->name, "format");
	if (wire_witness_mac_new(keys[row->key_slot], &mac) == 0) {
		expect(wire_witness_mac_check(mac, out) == 0, row->name, "mac");
		wire_witness_mac_free(mac);
	}
	if (n_failed)
		return;
	expect(w.key_id == row->key_id, row->name, "key_id");
	expect((int)w.path == (int)path, row->name, "path");
	expect(w.sequence == (path == WITNESS_CLIENT ? CLIENT_SEQUENCE : row->sequence) + 1,
	       row->name, "sequence");
	expect(w.mono_ns == time_ns, row->name, "time");
	expect(w.to_guest == 1000 && w.from_guest == 33 && w.from_guest_ns == 44, row->name,
	       "counters");
	expect(w.frame_size == row->size && w.head_size == n, row->name, "sizes");
	expect(memcmp(w.head, in, n) == 0, row->name, "head");
	for (uint32_t i = n; i < WIRE_WITNESS_HEAD_MAX; i++)
		expect(w.head[i] == 0, row->name, "padding");
}

/* Give the program the counts of one card's hold. */
static void put_sent(const struct witness_skel *skel, uint32_t slot, struct hold_sent sent)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "hold_sent", sizeof(uint32_t), sizeof(sent), 1,
				NULL);
	uint32_t zero = 0;

	expect(fd >= 0 && bpf_map_update_elem(fd, &zero, &sent, BPF_ANY) == 0 &&
	       bpf_map_update_elem(bpf_map__fd(skel->maps.hold_sents), &slot, &fd, BPF_ANY) == 0,
	       "a card", "its hold's counts");
	(void)close(fd);
}

static void run_emit(const struct witness_skel *skel, const struct emit_row *row)
{
	struct witness_state state = {.to_guest = 1000, .token_ns = row->has_token ? 123456 : 0},
			     after;
	struct witness_control control;
	uint8_t in[4096], out[4096], client[4096];
	bool is_emitted = row->has_token && row->has_mark && row->key_id != 0;
	bool by_client = is_emitted && row->client == CLIENT_TAP;
	struct __sk_buff ctx = {.mark = row->has_mark ? MARK : 0}, ctx_out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = row->size,
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &ctx_out,
		    .ctx_size_out = sizeof(ctx_out), .repeat = 1);
	int r;

	n_rows++;
	make_packet(in, row->size, row->type);
	fill_control(&control, row);
	expect(put(skel->maps.witness_control, &control) == 0 &&
	       put(skel->maps.witness_state, &state) == 0,
	       row->name, "maps");
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.witness_emit), &opts);
	after = get_state(skel);
	expect(r == 0 && opts.retval == row->verdict, row->name, "verdict");
	expect(row->has_mark ? after.token_ns == 0 : after.token_ns == state.token_ns, row->name,
	       "token");
	expect(after.sent[WITNESS_BACKUP] == (row->verdict == GO), row->name, "sent");
	expect(after.sent[WITNESS_CLIENT] == by_client, row->name, "sent by the client path");
	expect(after.failed_emit[WITNESS_CLIENT] == (is_emitted && row->client == CLIENT_GONE),
	       row->name, "failed on the client path");
	expect(after.stray == !(row->has_token && row->has_mark), row->name, "stray");
	expect(after.failed_emit[WITNESS_BACKUP] ==
		       (row->has_token && row->has_mark && row->verdict == SHOT),
	       row->name, "failed");
	if (by_client) {
		expect(take(client) == WITNESS_FRAME_SIZE, row->name, "size on the client path");
		check_datagram(row, WITNESS_CLIENT, in, client, 123456);
	}
	expect(take(client) == 0, row->name, "nothing else on the client path");
	if (row->verdict != GO || opts.retval != GO)
		return;
	expect(opts.data_size_out == WITNESS_FRAME_SIZE, row->name, "size");
	expect(ctx_out.mark == MARK && ctx_out.priority == 7, row->name, "mark and priority");
	check_datagram(row, WITNESS_BACKUP, in, out, 123456);
}

int main(void)
{
	struct witness_skel *skel;

	if (unshare(CLONE_NEWNET) < 0) {
		printf("SKIP: no network namespace: %s\n", strerror(errno));
		return 77;
	}
	tap_fd = open_tap();
	if (tap_fd < 0) {
		printf("SKIP: no tap: %s\n", strerror(-tap_fd));
		return 77;
	}
	skel = witness_skel__open();
	if (!skel)
		return 1;
	skel->rodata->helper_ifindex = NOWHERE;
	if (witness_skel__load(skel) < 0) {
		printf("FAIL: the programs do not load\n");
		witness_skel__destroy(skel);
		return 1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sample_rows); i++)
		run_sample(skel, &sample_rows[i]);
	put_sent(skel, 0, (struct hold_sent){.frames = 3, .last_ns = 44});
	put_sent(skel, WITNESS_TAPS_MAX - 1, (struct hold_sent){.frames = 30, .last_ns = 20});
	for (size_t i = 0; i < ARRAY_SIZE(emit_rows); i++)
		run_emit(skel, &emit_rows[i]);
	witness_skel__destroy(skel);
	printf("%s: %d rows\n", n_failed ? "FAIL" : "PASS", n_rows);
	return n_failed ? 1 : 0;
}
