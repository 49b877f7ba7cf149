/* shield_prog_table - tests the BPF program of the shield: it runs the program on single frames,
 * one table row after another.
 *
 * A row has the keys and a frame. It says whether the frame must pass and which count must grow.
 * The gateway's own code signs the valid datagrams (wire/witness.h), loads the program and sets the
 * keys. The program must need no privilege except CAP_BPF, so the test first drops all others. It
 * attaches and pins nothing. Exit status: 0 pass, 1 fail.
 *
 * In a test run (BPF_PROG_TEST_RUN) the kernel removes the Ethernet header before it calls a socket
 * filter. On a packet socket it does not. So the test puts a second Ethernet header in front of
 * each frame, and the program sees the whole frame here, too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

#include <bpf/bpf.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "ebpf/shield_prog.h"
#include "wire/witness.h"

#define OURS	  UINT32_C(0xc6120101) /* 198.18.1.1 */
#define ALPHA	  UINT32_C(0xc6120102)
#define BETA	  UINT32_C(0xc6120103)
#define PORT	  7400
#define ETHERNET  14
#define HEADERS	  42
#define FRAME	  (HEADERS + WIRE_WITNESS_SIZE)
#define FRAME_MAX 256

/* Kernels before 6.8 refuse to attach a larger program to a socket (net.core.optmem_max). */
#define PROGRAM_BYTES_MAX 20480

static const struct {
	uint32_t slot, key_id, address;
	uint64_t newest;
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
} keys[] = {
	{0, 7, ALPHA, 0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
	{127, 0xfffffff0, BETA, 1000, {0xff, 0xfe, 7, [15] = 0x80}},
};

static struct shield_prog *prog;
static int n_failed, n_rows;

static void expect(bool is_true, const char *row, const char *what)
{
	if (is_true)
		return;
	printf("FAIL: %s: %s\n", row, what);
	n_failed++;
}

/* ---- frames ---- */

struct frame {
	uint8_t fill[ETHERNET]; /* the kernel removes these bytes */
	uint8_t data[FRAME_MAX];
	uint32_t size;
};

static void sign(struct frame *f, size_t which)
{
	struct wire_witness_mac *mac;

	if (wire_witness_mac_new(keys[which].key, &mac) < 0) {
		expect(false, "all", "no SipHash");
		return;
	}
	expect(wire_witness_mac_sign(mac, f->data + HEADERS) == 0, "all", "signed");
	wire_witness_mac_free(mac);
}

/* Make a valid datagram that is signed with keys[@which]. */
static void make_frame(struct frame *f, size_t which, uint64_t sequence)
{
	uint8_t *ip = f->data + ETHERNET, *udp = ip + 20, *d = f->data + HEADERS;

	memset(f, 0, sizeof(*f));
	f->size = FRAME;
	memset(f->data, 2, 12);
	bytes_put_be16(f->data + 12, 0x0800);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, FRAME - ETHERNET);
	bytes_put_be16(ip + 6, 0x4000); /* don't fragment */
	ip[8] = 64;
	ip[9] = 17;
	bytes_put_be32(ip + 12, keys[which].address);
	bytes_put_be32(ip + 16, OURS);
	bytes_put_be16(udp, 40000);
	bytes_put_be16(udp + 2, PORT);
	bytes_put_be16(udp + 4, 8 + WIRE_WITNESS_SIZE);
	memcpy(d, "HFW1", 4);
	bytes_put_be32(d + 4, keys[which].key_id);
	bytes_put_be64(d + 8, sequence);
	bytes_put_be64(d + 16, 123456789);
	bytes_put_be16(d + 48, 60);
	bytes_put_be16(d + 50, 60);
	for (uint8_t i = 0; i < 60; i++)
		d[56 + i] = (uint8_t)(i * 7 + 1);
	sign(f, which);
}

/* Run the program on the frame. Returns how many bytes of the frame pass. */
static uint32_t run(struct frame *f, const char *row)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->fill,
		    .data_size_in = f->size + ETHERNET, .repeat = 1);

	memcpy(f->fill, f->data, ETHERNET);
	n_rows++;
	expect(bpf_prog_test_run_opts(shield_prog_fd(prog), &opts) == 0, row, "it does not run");
	return opts.retval;
}

/* Check that only @verdict's count grew, by one; for SHIELD_BAD_MAC, this is the count of
 * keys[@which]. If @verdict is SHIELD_PASSED or SHIELD_N_VERDICTS, check that no count grew. */
static void check_counts(const char *row, enum shield_verdict verdict, size_t which)
{
	for (unsigned int v = 0; v < SHIELD_N_VERDICTS; v++)
		expect(shield_prog_take_count(prog, v) ==
		       (v == verdict && v != SHIELD_PASSED && v != SHIELD_BAD_MAC), row, "counts");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		expect(shield_prog_take_bad_macs(prog, keys[i].slot) ==
		       (verdict == SHIELD_BAD_MAC && i == which), row, "bad macs of a key");
}

static void check(struct frame *f, const char *row, enum shield_verdict verdict, size_t which)
{
	uint32_t passed = run(f, row);

	if (verdict == SHIELD_PASSED || verdict == SHIELD_N_VERDICTS)
		expect(passed >= f->size, row, "dropped");
	else
		expect(passed == 0, row, "passed");
	check_counts(row, verdict, which);
}

/* ---- one field wrong ---- */

/* the frame is not UDP over IPv4: it passes and is not counted */
#define NOT_LOOKED_AT SHIELD_N_VERDICTS

struct field_row {
	const char *name;
	uint32_t at, size; /* offset and size of the field in the frame */
	uint32_t value;
	enum shield_verdict verdict;
	bool sign_again; /* sign the datagram after the change */
};

static const struct field_row field_rows[] = {
	{"ARP", 12, 2, 0x0806, NOT_LOOKED_AT, false},
	{"IPv6", 12, 2, 0x86dd, NOT_LOOKED_AT, false},
	{"VLAN tag in the frame", 12, 2, 0x8100, NOT_LOOKED_AT, false},
	{"TCP", 23, 1, 6, NOT_LOOKED_AT, false},
	{"ICMP", 23, 1, 1, NOT_LOOKED_AT, false},
	{"IPv4 options", 14, 1, 0x46, SHIELD_OTHER, false},
	{"IPv5", 14, 1, 0x55, SHIELD_OTHER, false},
	{"first fragment", 20, 2, 0x2000, SHIELD_OTHER, false},
	{"later fragment", 20, 2, 0x0004, SHIELD_OTHER, false},
	{"to another address", 30, 4, OURS + 1, SHIELD_OTHER, false},
	{"to another port", 36, 2, 9, SHIELD_OTHER, false},
	{"UDP's size, one less", 38, 2, 135, SHIELD_MALFORMED, false},
	{"UDP's size, one more", 38, 2, 137, SHIELD_MALFORMED, false},
	{"magic", 42, 4, 0x48465732, SHIELD_MALFORMED, true},
	{"by the other path", 94, 4, 1, SHIELD_WRONG_PATH, true},
	{"by no path", 94, 4, 2, SHIELD_WRONG_PATH, true},
	{"key_id of nobody", 46, 4, 8, SHIELD_UNKNOWN_KEY, true},
	{"key_id 0", 46, 4, 0, SHIELD_UNKNOWN_KEY, true},
	{"from another address", 26, 4, OURS + 9, SHIELD_WRONG_ADDRESS, false},
	{"from another key's address", 26, 4, BETA, SHIELD_WRONG_ADDRESS, false},
	{"sequence 0", 50, 4, 0, SHIELD_REPLAYED, true},
	{"sequence, not signed", 54, 4, 77, SHIELD_BAD_MAC, false},
	{"first signed byte that may be anything", 58, 1, 0xff, SHIELD_BAD_MAC, false},
	{"last signed byte", 161, 1, 0xff, SHIELD_BAD_MAC, false},
	{"mac, first byte", 162, 1, 0x00, SHIELD_BAD_MAC, false},
	{"mac, last byte", 169, 1, 0x00, SHIELD_BAD_MAC, false},
};

static void put_field(struct frame *f, const struct field_row *row)
{
	uint8_t *at = f->data + row->at;

	/* Flip a byte of the MAC instead of setting it: it could already have the row's value. */
	if (row->size == 1)
		*at = row->at >= 162 ? *at ^ 1 : (uint8_t)row->value;
	else if (row->size == 2)
		bytes_put_be16(at, (uint16_t)row->value);
	else
		bytes_put_be32(at, row->value);
}

static void run_fields(void)
{
	struct frame f;

	for (size_t i = 0; i < ARRAY_SIZE(field_rows); i++) {
		const struct field_row *row = &field_rows[i];

		make_frame(&f, 0, row->verdict == SHIELD_REPLAYED ? 0 : 5);
		put_field(&f, row);
		if (row->sign_again)
			sign(&f, 0);
		check(&f, row->name, row->verdict, 0);
	}
	make_frame(&f, 0, 5);
	sign(&f, 1);
	check(&f, "signed with another VM's key", SHIELD_BAD_MAC, 0);
	make_frame(&f, 0, 5);
	check(&f, "none of it had an effect: the true one passes", SHIELD_PASSED, 0);
}

/* ---- cut short ---- */

static void run_sizes(void)
{
	struct frame f;

	/* 20 bytes are the fewest that the kernel accepts. */
	for (uint32_t size = 20; size < FRAME; size++) {
		make_frame(&f, 0, 6);
		f.size = size;
		check(&f, "cut short",
		      size < 24	       ? NOT_LOOKED_AT
		      : size < HEADERS ? SHIELD_OTHER
				       : SHIELD_MALFORMED,
		      0);
	}
	make_frame(&f, 0, 6);
	f.size = FRAME + 20;
	check(&f, "padded", SHIELD_PASSED, 0);
}

/* ---- sequences ---- */

static void run_sequences(void)
{
	static const struct {
		const char *name;
		size_t which;
		uint64_t sequence;
		enum shield_verdict verdict;
	} rows[] = {
		{"the next", 0, 7, SHIELD_PASSED},
		{"the same again", 0, 7, SHIELD_REPLAYED},
		{"one before", 0, 6, SHIELD_REPLAYED},
		{"a gap", 0, 100, SHIELD_PASSED},
		{"in the gap", 0, 99, SHIELD_REPLAYED},
		{"another key's own", 1, 1001, SHIELD_PASSED},
		{"what user space had taken", 1, 1000, SHIELD_REPLAYED},
		{"far ahead", 1, UINT64_MAX - 1, SHIELD_PASSED},
		{"the last there is", 1, UINT64_MAX, SHIELD_PASSED},
		{"and again", 1, UINT64_MAX, SHIELD_REPLAYED},
	};
	struct frame f;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		make_frame(&f, rows[i].which, rows[i].sequence);
		check(&f, rows[i].name, rows[i].verdict, rows[i].which);
	}
}

/* ---- keys ---- */

static int give(size_t which)
{
	struct shield_key key = {.newest = keys[which].newest,
				 .key_id = keys[which].key_id,
				 .address = htonl(keys[which].address)};

	memcpy(key.key, keys[which].key, sizeof(key.key));
	return shield_prog_set_key(prog, keys[which].slot, &key);
}

static void run_keys(void)
{
	struct frame f;

	expect(give(0) == 0, "the same key again", "set");
	make_frame(&f, 0, 100);
	check(&f, "the same key again keeps its sequence", SHIELD_REPLAYED, 0);
	expect(shield_prog_set_key(prog, keys[0].slot, NULL) == 0, "no key", "set");
	make_frame(&f, 0, 101);
	check(&f, "no key any more", SHIELD_UNKNOWN_KEY, 0);
	expect(give(0) == 0, "a key anew", "set");
	check(&f, "a key anew", SHIELD_PASSED, 0);
}

/* Drop all capabilities but CAP_BPF: the gateway's unit grants neither CAP_SYS_ADMIN nor
 * CAP_PERFMON. */
static int keep_cap_bpf(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {0};

	sets[CAP_BPF / 32].effective = sets[CAP_BPF / 32].permitted = 1U << CAP_BPF % 32;
	return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

/* Test the program that is loaded for the client network's path. */
static void run_client_path(void)
{
	struct frame f;

	expect(shield_prog_open(htonl(OURS), PORT, WIRE_WITNESS_CLIENT, &prog) == 0 && give(0) == 0,
	       "client path", "opened");
	if (!prog)
		return;
	make_frame(&f, 0, 1);
	check(&f, "client path: one of the backup path", SHIELD_WRONG_PATH, 0);
	bytes_put_be32(f.data + HEADERS + 52, WIRE_WITNESS_CLIENT);
	check(&f, "client path: the same, changed", SHIELD_BAD_MAC, 0);
	sign(&f, 0);
	check(&f, "client path: one of its own", SHIELD_PASSED, 0);
	check(&f, "client path: again", SHIELD_REPLAYED, 0);
}

int main(void)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int r = keep_cap_bpf();

	if (r == 0)
		r = shield_prog_open(htonl(OURS), PORT, WIRE_WITNESS_BACKUP, &prog);
	if (r < 0) {
		printf("FAIL: the program does not load with CAP_BPF alone: %s\n", strerror(-r));
		return 1;
	}
	expect(bpf_obj_get_info_by_fd(shield_prog_fd(prog), &info, &size) == 0 &&
	       info.xlated_prog_len < PROGRAM_BYTES_MAX * 9 / 10, "all", "too large for a socket");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		expect(give(i) == 0, "all", "keys");
	run_fields();
	run_sizes();
	run_sequences();
	run_keys();
	prog = shield_prog_close(prog);
	run_client_path();
	shield_prog_close(prog);
	printf("%s: %d rows, %u bytes of program\n", n_failed ? "FAIL" : "PASS", n_rows,
	       info.xlated_prog_len);
	return n_failed ? 1 : 0;
}
