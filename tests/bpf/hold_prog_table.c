/* hold_prog_table - tests the BPF programs of the hold: it runs them on single packets, one table
 * row after another.
 *
 * A row has the content of the control map, a packet, and whether there is an AF_XDP socket. It
 * also has the expected verdict, packet and counter. The test runs in a network namespace of its
 * own. It attaches and pins nothing. Exit status: 0 pass, 1 fail, 77 skipped.
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

#include "base/cleanup.h"
#include "base/clock.h"
#include "hold.skel.h"
#include "ebpf/hold_shared.h"

#define FRAME_MAX 1776U
#define STAMP	  ((uint32_t)sizeof(struct hold_stamp))

static const uint8_t guest[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t other[6] = {0x52, 0x54, 0, 0, 0, 2};
static int n_failed;

struct row {
	const char *name;
	uint32_t mode;
	uint64_t epoch;
	bool has_socket;
	uint32_t queue;
	uint32_t size; /* size of the incoming packet */
	uint8_t type[2];
	uint32_t verdict;
	enum hold_counter counter;
};

#define HELD  XDP_REDIRECT, HOLD_COUNTER_HELD
#define MODE  XDP_DROP, HOLD_COUNTER_DROPPED_MODE
#define ALONE XDP_DROP, HOLD_COUNTER_DROPPED_NO_SOCKET
#define LONG  XDP_DROP, HOLD_COUNTER_DROPPED_LONG
#define PASS  XDP_PASS, HOLD_COUNTER_PASSED

static const struct row rows[] = {
	{"all zero", 0, 0, true, 0, 60, {0x08, 0x00}, MODE},
	{"drop", HOLD_MODE_DROP, 7, true, 0, 60, {0x08, 0x00}, MODE},
	{"hold, epoch 0", HOLD_MODE_HOLD, 0, true, 0, 60, {0x08, 0x00}, MODE},
	{"unknown mode 3", 3, 7, true, 0, 60, {0x08, 0x00}, MODE},
	{"unknown mode ~0", UINT32_MAX, 7, true, 0, 60, {0x08, 0x00}, MODE},
	{"pass IPv4", HOLD_MODE_PASS, 0, true, 0, 60, {0x08, 0x00}, PASS},
	{"pass, no socket", HOLD_MODE_PASS, 7, false, 0, 60, {0x08, 0x06}, PASS},
	{"pass, too long to hold", HOLD_MODE_PASS, 7, true, 0, 3000, {0x08, 0x00}, PASS},
	{"hold IPv4", HOLD_MODE_HOLD, 1, true, 0, 60, {0x08, 0x00}, HELD},
	{"hold IPv6", HOLD_MODE_HOLD, 2, true, 0, 86, {0x86, 0xdd}, HELD},
	{"hold ARP", HOLD_MODE_HOLD, 3, true, 0, 42, {0x08, 0x06}, HELD},
	{"hold RARP", HOLD_MODE_HOLD, 3, true, 0, 60, {0x80, 0x35}, HELD},
	{"hold VLAN", HOLD_MODE_HOLD, 4, true, 0, 64, {0x81, 0x00}, HELD},
	{"hold QinQ", HOLD_MODE_HOLD, 4, true, 0, 68, {0x88, 0xa8}, HELD},
	{"hold LLDP", HOLD_MODE_HOLD, 5, true, 0, 60, {0x88, 0xcc}, HELD},
	{"hold 802.3 length", HOLD_MODE_HOLD, 6, true, 0, 60, {0x00, 0x26}, HELD},
	{"hold unknown ethertype", HOLD_MODE_HOLD, 6, true, 0, 60, {0xff, 0xff}, HELD},
	{"hold runt, header only", HOLD_MODE_HOLD, 6, true, 0, 14, {0x08, 0x00}, HELD},
	{"hold 64-bit epoch", HOLD_MODE_HOLD, UINT64_MAX, true, 0, 60, {0x08, 0x00}, HELD},
	{"hold longest", HOLD_MODE_HOLD, 7, true, 0, FRAME_MAX, {0x08, 0x00}, HELD},
	{"hold too long", HOLD_MODE_HOLD, 7, true, 0, FRAME_MAX + 1, {0x08, 0x00}, LONG},
	{"hold jumbo", HOLD_MODE_HOLD, 7, true, 0, 3000, {0x08, 0x00}, LONG},
	{"hold, no socket", HOLD_MODE_HOLD, 7, false, 0, 60, {0x08, 0x00}, ALONE},
	{"hold ARP, no socket", HOLD_MODE_HOLD, 7, false, 0, 42, {0x08, 0x06}, ALONE},
	{"hold, second queue", HOLD_MODE_HOLD, 7, true, 1, 60, {0x08, 0x00}, ALONE},
};

static void expect(bool is_true, const char *row, const char *what)
{
	if (is_true)
		return;
	printf("FAIL: %s: %s\n", row, what);
	n_failed++;
}

static uint64_t counter(const struct hold_skel *skel, uint32_t which)
{
	int n_cpus = libbpf_num_possible_cpus();
	AUTO_FREE uint64_t *values = calloc((size_t)(n_cpus > 0 ? n_cpus : 1), sizeof(*values));
	uint64_t sum = 0;

	if (!values || n_cpus < 1 ||
	    bpf_map_lookup_elem(bpf_map__fd(skel->maps.hold_counters), &which, values) < 0)
		return 0;
	for (int i = 0; i < n_cpus; i++)
		sum += values[i];
	return sum;
}

static struct hold_sent sent(const struct hold_skel *skel)
{
	struct hold_sent value = {0};
	uint32_t zero = 0;

	(void)bpf_map_lookup_elem(bpf_map__fd(skel->maps.hold_sent), &zero, &value);
	return value;
}

static void make_packet(uint8_t *p, uint32_t size, const uint8_t *source, const uint8_t *type)
{
	for (uint32_t i = 0; i < size; i++)
		p[i] = (uint8_t)i;
	memcpy(p, other, 6);
	memcpy(p + 6, source, 6);
	memcpy(p + 12, type, 2);
}

static void check_out(const struct row *row, const uint8_t *in, const uint8_t *out, uint32_t size,
		      uint64_t t0_ns)
{
	struct hold_stamp stamp;

	if (row->verdict == XDP_PASS)
		expect(size == row->size && memcmp(out, in, size) == 0, row->name, "frame changed");
	if (row->verdict != XDP_REDIRECT)
		return;
	memcpy(&stamp, out, sizeof(stamp));
	expect(size == row->size + STAMP, row->name, "packet out is not stamp and frame");
	expect(stamp.epoch == row->epoch, row->name, "stamped with another epoch");
	expect(stamp.time_ns >= t0_ns && stamp.time_ns <= clock_mono_ns(), row->name,
	       "stamped with another time");
	expect(memcmp(out + STAMP, in, row->size) == 0, row->name, "frame changed");
}

static void run_row(const struct hold_skel *skel, const struct row *row, int xsk, uint32_t ifindex)
{
	struct hold_control control = {.mode = row->mode, .epoch = row->epoch};
	struct xdp_md ctx = {.data_end = row->size, .ingress_ifindex = ifindex,
			     .rx_queue_index = row->queue};
	uint8_t in[4096], out[4096 + STAMP];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = row->size,
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	uint32_t zero = 0;
	uint64_t t0_ns = clock_mono_ns(), before = counter(skel, row->counter);
	struct hold_sent sent_before = sent(skel), sent_after;
	int xsks = bpf_map__fd(skel->maps.hold_xsks), r;

	make_packet(in, row->size, guest, row->type);
	r = bpf_map_update_elem(bpf_map__fd(skel->maps.hold_control), &zero, &control, BPF_ANY);
	expect(r == 0, row->name, "control map");
	r = row->has_socket ? bpf_map_update_elem(xsks, &zero, &xsk, BPF_ANY) :
			      bpf_map_delete_elem(xsks, &zero);
	expect(r == 0 || r == -ENOENT, row->name, "socket map");
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.hold_xdp), &opts);
	expect(r == 0, row->name, "test run");
	expect(opts.retval == row->verdict, row->name, "verdict");
	expect(counter(skel, row->counter) == before + 1, row->name, "counter");
	sent_after = sent(skel);
	expect(sent_after.frames == sent_before.frames + 1, row->name, "frames the guest sent");
	expect(sent_after.last_ns >= t0_ns && sent_after.last_ns <= clock_mono_ns(), row->name,
	       "time of the last one sent");
	if (r == 0 && opts.retval == row->verdict)
		check_out(row, in, out, opts.data_size_out, t0_ns);
}

static void run_release(const struct hold_skel *skel, const char *name, uint32_t mark,
			uint32_t verdict)
{
	static const uint8_t type[2] = {0x08, 0x06};
	uint8_t in[60], out[60];
	struct __sk_buff ctx = {.mark = mark};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = sizeof(in),
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &ctx, .ctx_size_out = sizeof(ctx),
		    .repeat = 1);
	uint64_t strays = counter(skel, HOLD_COUNTER_DROPPED_STRAY),
		 returned = skel->bss->n_returned;
	bool is_ours = verdict == TC_ACT_REDIRECT;
	int r;

	make_packet(in, sizeof(in), guest, type);
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.hold_release), &opts);
	expect(r == 0 && opts.retval == verdict, name, "verdict");
	expect(memcmp(in, out, sizeof(in)) == 0, name, "frame changed");
	/* For a guest with offloads, the mark must stay, because hold_tap still needs it. */
	expect(ctx.mark == (is_ours && !skel->rodata->is_offload ? 0 : mark), name, "mark");
	expect(skel->bss->n_returned == returned + is_ours, name, "frames returned");
	expect(counter(skel, HOLD_COUNTER_DROPPED_STRAY) == strays + !is_ours, name, "counter");
}

/* A row of hold_tap. */
struct tap_row {
	const char *name;
	uint32_t mode;
	uint64_t epoch;
	uint32_t out; /* capture_ifindex */
	uint32_t mark;
	uint32_t size;
	uint32_t gso_size;
	int verdict;
	uint32_t mark_after;
	int counter; /* -1: none: the frame goes to the socket, or the hold released it */
};

#define TO_PAIR(epoch)	   TC_ACT_REDIRECT, HOLD_EPOCH_MARK | ((epoch) & HOLD_EPOCH_MASK), -1
#define SHOT(mark, which) TC_ACT_SHOT, mark, HOLD_COUNTER_##which
#define LO		   1U /* the ifindex of lo, which plays the device hfbN */

static const struct tap_row tap_rows[] = {
	{"tap: all zero", 0, 0, LO, 0, 60, 0, SHOT(0, DROPPED_MODE)},
	{"tap: drop", HOLD_MODE_DROP, 7, LO, 0, 60, 0, SHOT(0, DROPPED_MODE)},
	{"tap: hold, epoch 0", HOLD_MODE_HOLD, 0, LO, 0, 60, 0, SHOT(0, DROPPED_MODE)},
	{"tap: unknown mode 3", 3, 7, LO, 0, 60, 0, SHOT(0, DROPPED_MODE)},
	{"tap: pass", HOLD_MODE_PASS, 0, 0, 0, 60, 0, TC_ACT_UNSPEC, 0, HOLD_COUNTER_PASSED},
	{"tap: pass, long", HOLD_MODE_PASS, 7, LO, 0, 3000, 0, TC_ACT_UNSPEC, 0,
	 HOLD_COUNTER_PASSED},
	{"tap: hold", HOLD_MODE_HOLD, 1, LO, 0, 60, 0, TO_PAIR(1U)},
	{"tap: hold, 64-bit epoch", HOLD_MODE_HOLD, UINT64_MAX, LO, 0, 60, 0, TO_PAIR(~0U)},
	{"tap: hold, foreign mark", HOLD_MODE_HOLD, 9, LO, 77, 60, 0, TO_PAIR(9U)},
	{"tap: hold longest", HOLD_MODE_HOLD, 7, LO, 0, FRAME_MAX, 0, TO_PAIR(7U)},
	{"tap: hold too long", HOLD_MODE_HOLD, 7, LO, 0, FRAME_MAX + 1, 0, SHOT(0, DROPPED_LONG)},
	{"tap: hold GSO", HOLD_MODE_HOLD, 7, LO, 0, 3000, 1448, TO_PAIR(7U)},
	{"tap: hold, no pair", HOLD_MODE_HOLD, 7, 0, 0, 60, 0, SHOT(0, DROPPED_NO_SOCKET)},
	{"tap: released, hold", HOLD_MODE_HOLD, 7, LO, HOLD_MARK, 60, 0, TC_ACT_UNSPEC, 0, -1},
	{"tap: released, drop", HOLD_MODE_DROP, 7, LO, HOLD_MARK, 60, 0, TC_ACT_UNSPEC, 0, -1},
};

static void run_tap(struct hold_skel *skel, const struct tap_row *row)
{
	static const uint8_t type[2] = {0x08, 0x00};
	struct hold_control control = {.mode = row->mode, .epoch = row->epoch};
	uint8_t in[4096], out[4096];
	struct __sk_buff ctx = {.mark = row->mark, .gso_size = row->gso_size,
				.gso_segs = row->gso_size ? 3 : 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = row->size,
		    .data_out = out, .data_size_out = sizeof(out), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &ctx, .ctx_size_out = sizeof(ctx),
		    .repeat = 1);
	bool is_released = row->mark == HOLD_MARK;
	uint32_t zero = 0;
	uint64_t before = row->counter < 0 ? 0 : counter(skel, (uint32_t)row->counter),
		 captured = skel->bss->n_captured, frames = sent(skel).frames;
	int r;

	skel->bss->capture_ifindex = row->out;
	make_packet(in, row->size, guest, type);
	r = bpf_map_update_elem(bpf_map__fd(skel->maps.hold_control), &zero, &control, BPF_ANY);
	expect(r == 0, row->name, "control map");
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.hold_tap), &opts);
	expect(r == 0, row->name, "test run");
	expect((int)opts.retval == row->verdict, row->name, "verdict");
	expect(memcmp(in, out, row->size) == 0, row->name, "frame changed");
	expect(ctx.mark == row->mark_after, row->name, "mark");
	expect(row->counter < 0 || counter(skel, (uint32_t)row->counter) == before + 1, row->name,
	       "counter");
	expect(skel->bss->n_captured == captured + (row->verdict == TC_ACT_REDIRECT), row->name,
	       "frames captured");
	expect(sent(skel).frames == frames + !is_released, row->name, "frames the guest sent");
}

/* Run hold_sink on a frame with @mark. If @has_socket, run the socket's filter before it. */
static void run_sink(const struct hold_skel *skel, const char *name, bool has_socket, uint32_t mark,
		     uint32_t which)
{
	static const uint8_t type[2] = {0x08, 0x06};
	uint8_t in[60];
	struct __sk_buff ctx = {.mark = mark};
	LIBBPF_OPTS(bpf_test_run_opts, take, .data_in = in, .data_size_in = sizeof(in),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	LIBBPF_OPTS(bpf_test_run_opts, sink, .data_in = in, .data_size_in = sizeof(in),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	bool is_ours = (mark & ~HOLD_EPOCH_MASK) == HOLD_EPOCH_MARK;
	uint64_t before = counter(skel, which), arrived = skel->bss->n_arrived;
	int r = 0;

	make_packet(in, sizeof(in), guest, type);
	if (has_socket) {
		r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.hold_take), &take);
		expect(r == 0 && take.retval == (is_ours ? UINT32_MAX : 0), name, "taken");
	}
	r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.hold_sink), &sink);
	expect(r == 0 && sink.retval == TC_ACT_SHOT, name, "verdict");
	expect(counter(skel, which) == before + 1, name, "counter");
	expect(skel->bss->n_arrived == arrived + is_ours, name, "frames arrived");
}

static void run_offload(struct hold_skel *skel)
{
	const uint32_t ours = HOLD_EPOCH_MARK | 5;

	for (size_t i = 0; i < ARRAY_SIZE(tap_rows); i++)
		run_tap(skel, &tap_rows[i]);
	run_sink(skel, "sink: to the socket", true, ours, HOLD_COUNTER_HELD);
	run_sink(skel, "sink: no socket", false, ours, HOLD_COUNTER_DROPPED_NO_SOCKET);
	run_sink(skel, "sink: stray, no mark", true, 0, HOLD_COUNTER_DROPPED_STRAY);
	run_sink(skel, "sink: stray, mark of a released frame", true, HOLD_MARK,
		 HOLD_COUNTER_DROPPED_STRAY);
	run_sink(skel, "sink: no socket after a stray", false, ours,
		 HOLD_COUNTER_DROPPED_NO_SOCKET);
}

/* Make a tap with two queues, so that a packet can claim to come from the second queue. Returns the
 * tap's ifindex, or 0 on failure. */
static uint32_t make_two_queues(int fds[2])
{
	struct ifreq request = {.ifr_name = "hfq",
				.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};

	for (int i = 0; i < 2; i++) {
		fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		if (fds[i] < 0 || ioctl(fds[i], TUNSETIFF, &request) < 0)
			return 0;
	}
	return if_nametoindex("hfq");
}

static struct hold_skel *load(uint32_t ifindex, bool is_offload)
{
	struct hold_skel *skel = hold_skel__open();

	if (!skel)
		return NULL;
	skel->rodata->max_frame_bytes = FRAME_MAX;
	skel->rodata->tap_ifindex = ifindex;
	skel->rodata->is_offload = is_offload;
	if (hold_skel__load(skel) == 0)
		return skel;
	printf("FAIL: the programs do not load\n");
	hold_skel__destroy(skel);
	return NULL;
}

int main(void)
{
	AUTO_CLOSE int xsk = -1, queue0 = -1, queue1 = -1;
	struct hold_skel *skel;
	uint32_t ifindex;
	int fds[2] = {-1, -1};

	if (unshare(CLONE_NEWNET) < 0) {
		printf("SKIP: no network namespace: %s\n", strerror(errno));
		return 77;
	}
	ifindex = make_two_queues(fds);
	queue0 = fds[0];
	queue1 = fds[1];
	xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (ifindex == 0 || xsk < 0) {
		printf("SKIP: needs /dev/net/tun and AF_XDP: %s\n", strerror(errno));
		return 77;
	}
	skel = load(ifindex, false);
	if (!skel)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		run_row(skel, &rows[i], xsk, ifindex);
	run_release(skel, "release: a frame of ours", HOLD_MARK, TC_ACT_REDIRECT);
	run_release(skel, "release: no mark", 0, TC_ACT_SHOT);
	run_release(skel, "release: another mark", HOLD_MARK + 1, TC_ACT_SHOT);
	hold_skel__destroy(skel);
	skel = load(ifindex, true);
	if (!skel)
		return 1;
	run_offload(skel);
	run_release(skel, "release: a frame of ours, offloads", HOLD_MARK, TC_ACT_REDIRECT);
	run_release(skel, "release: no mark, offloads", 0, TC_ACT_SHOT);
	hold_skel__destroy(skel);
	printf("%s: %zu rows\n", n_failed ? "FAIL" : "PASS",
	       ARRAY_SIZE(rows) + ARRAY_SIZE(tap_rows) + 10);
	return n_failed ? 1 : 0;
}
