#include "wire_samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int encode_hello(struct bytes_writer *w)
{
	return wire_hello_encode(&(struct wire_hello){.version_min = 1, .version_max = 1,
						      .kind = WIRE_KIND_CONTROL}, w);
}

static int encode_hello_stream(struct bytes_writer *w)
{
	return wire_hello_encode(&(struct wire_hello){.version_min = 1, .version_max = 3,
						      .features_required = 1,
						      .features_optional = 0x8000000000000002,
						      .kind = WIRE_KIND_STREAM,
						      .role = WIRE_VM_ROLE_STANDBY,
						      .vm   = "web1"}, w);
}

static int encode_hello_peer(struct bytes_writer *w)
{
	return wire_hello_encode(&(struct wire_hello){.version_min = 1,
						      .version_max = 1,
						      .features_required = 1,
						      .features_optional = 14,
						      .kind = WIRE_KIND_PEER,
						      .role = WIRE_VM_ROLE_PRIMARY,
						      .vm = "web1"},
				 w);
}

static int encode_claim(struct bytes_writer *w)
{
	return wire_claim_encode(&(struct wire_claim){.mode = WIRE_CLAIM_DIRECT}, w);
}

static int encode_vote(struct bytes_writer *w)
{
	return wire_vote_encode(&(struct wire_vote){.answer = 0,
						    .text = "the gateway was heard 120 ms ago"}, w);
}

static int encode_drain(struct bytes_writer *w)
{
	struct wire_drain drain = {.what = WIRE_DRAIN_GOES_DOWN, .limit_s = 60};

	for (uint8_t i = 0; i < WIRE_BOOT_SIZE; i++)
		drain.boot[i] = i;
	return wire_drain_encode(&drain, w);
}

static int encode_drain_state(struct bytes_writer *w)
{
	return wire_drain_state_encode(&(struct wire_drain_state){.state = WIRE_DRAIN_RUNS,
								  .n_left = 3,
								  .text = "web1 runs on beta"},
				       w);
}

#define INCARNATION UINT64_C(0x69001234abcd)

static int encode_welcome_incarnation(struct bytes_writer *w)
{
	return wire_welcome_encode(&(struct wire_welcome){.version = 1, .features = 0x171,
							  .gateway = "gw-1",
							  .incarnation = INCARNATION}, w);
}

static int encode_welcome(struct bytes_writer *w)
{
	return wire_welcome_encode(&(struct wire_welcome){.version = 1, .features = 1,
							  .gateway = "gw-1"}, w);
}

static int encode_refused(struct bytes_writer *w)
{
	return wire_failure_encode(
		&(struct wire_failure){.code = WIRE_REFUSED_STALE_TERM,
				       .text = "term 9 rules web1 \xe2\x80\x93 stop"},
		w);
}

static int encode_stream_error(struct bytes_writer *w)
{
	return wire_failure_encode(&(struct wire_failure){.code = WIRE_STREAM_ERROR_EPOCH,
							  .text = "epoch 9 does not stand on 7"},
				   w);
}

static int encode_beat(struct bytes_writer *w)
{
	return wire_beat_encode(&(struct wire_beat){.mono_ns = 0x0102030405060708}, w);
}

static int encode_report(struct bytes_writer *w)
{
	static const struct wire_report report = {
		.vm = "web1", .role = WIRE_VM_ROLE_PRIMARY, .state = WIRE_STATE_PROTECTED,
		.verdict = WIRE_VERDICT_PAUSED, .text = "paused by someone else",
		.stats = "epochs=812\npause_ms_p99=4.25\nlast_error=\n"};

	return wire_report_encode(&report, w);
}

static int encode_order(struct bytes_writer *w)
{
	return wire_order_encode(&(struct wire_order){.order_id = 0x1122334455667788,
						      .verb = WIRE_VERB_PROMOTE, .vm = "web1"}, w);
}

static int encode_order_incarnation(struct bytes_writer *w)
{
	return wire_order_encode(&(struct wire_order){.order_id = 0x1122334455667788,
						      .verb = WIRE_VERB_PROMOTE, .vm = "web1",
						      .incarnation = INCARNATION}, w);
}

static int encode_order_done(struct bytes_writer *w)
{
	return wire_order_done_encode(&(struct wire_order_done){.order_id = 0x1122334455667788,
								.status   = WIRE_ORDER_REFUSED,
								.vm	  = "web1",
								.text = "no complete epoch"}, w);
}

static int encode_witness_key_to(uint32_t client_address, struct bytes_writer *w)
{
	struct wire_witness_key key = {.vm = "web1", .key_id = 0x01020304, .port = 7401,
				       .client_address = client_address};

	for (uint8_t i = 0; i < sizeof(key.key); i++)
		key.key[i] = i;
	return wire_witness_key_encode(&key, w);
}

static int encode_witness_key(struct bytes_writer *w)
{
	return encode_witness_key_to(0, w);
}

static int encode_witness_key_client(struct bytes_writer *w)
{
	return encode_witness_key_to(0xc6120203, w);
}

static int encode_lease(struct bytes_writer *w)
{
	return wire_lease_encode(&(struct wire_lease){.vm = "web1", .beat_ns = 0x0102030405060708,
						      .lease_ms = 2000, .release_ms = 150}, w);
}

static int encode_lease_incarnation(struct bytes_writer *w)
{
	return wire_lease_encode(&(struct wire_lease){.vm = "web1", .beat_ns = 0x0102030405060708,
						      .lease_ms = 2000, .release_ms = 150,
						      .incarnation = INCARNATION}, w);
}

static int encode_geometry(struct bytes_writer *w)
{
	static const struct wire_geometry geometry = {
		.machine = "pc-i440fx-7.2", .qemu_version = "7.2.22 (Debian)", .n_vcpus = 2,
		.ram_bytes = 256ULL << 20, .n_nics = 1,
		.nics = {{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}}, .n_blocks = 2,
		.blocks = {{"pc.ram", WIRE_BLOCK_RAM, 256ULL << 20},
			   {"/rom@etc/acpi/tables", WIRE_BLOCK_OTHER, 131072}}};

	return wire_geometry_encode(&geometry, w);
}

static int encode_machine(struct bytes_writer *w)
{
	int r = wire_machine_encode(true, w);

	if (r == 0)
		r = wire_machine_item_encode(w, "CPU 0", "qemu64-x86_64-cpu");
	if (r == 0)
		r = wire_machine_item_encode(w, "device pci.0/02.0 (virtio-net-pci) romfile", "");
	return r;
}

static int encode_epoch_begin(struct bytes_writer *w)
{
	return wire_epoch_begin_encode(&(struct wire_epoch_begin){.previous_epoch = 811}, w);
}

static int encode_full_begin(struct bytes_writer *w)
{
	return wire_epoch_begin_encode(&(struct wire_epoch_begin){.previous_epoch = 0}, w);
}

int wire_sample_record(struct bytes_writer *w, uint8_t class, uint32_t index, const uint8_t *data,
		       size_t size)
{
	uint8_t *p;

	if (w->bad || (size_t)(w->end - w->at) < WIRE_RECORD_HEADER_SIZE + size)
		return -ENOBUFS;
	p = bytes_reserve(w, WIRE_RECORD_HEADER_SIZE + size);
	wire_record_put_header(p, class, index, size);
	if (size > 0)
		memcpy(p + WIRE_RECORD_HEADER_SIZE, data, size);
	return 0;
}

static int encode_pages(struct bytes_writer *w)
{
	/* The example of codec/bitmap.h: in a page of zeros, byte 5 becomes 7 and bytes 64..127
	 * become 1. */
	static const uint8_t maps[] = {0x20, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0};
	uint8_t page[WIRE_PAGE_SIZE], bitmap[1 + 64 + sizeof(maps)] = {7};

	memset(bitmap + 1, 1, 64);
	memcpy(bitmap + 65, maps, sizeof(maps));

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 7);
	if (wire_sample_record(w, WIRE_CLASS_ZERO, 0, NULL, 0) < 0 ||
	    wire_sample_record(w, WIRE_CLASS_XRLE, 65535, (const uint8_t *)"\x05\x02\xaa\xbb", 4) <
		    0 ||
	    wire_sample_record(w, WIRE_CLASS_BITMAP, 4660, bitmap, sizeof(bitmap)) < 0)
		return -EINVAL;
	return wire_sample_record(w, WIRE_CLASS_RAW, 258, page, sizeof(page));
}

static int encode_pages_dup(struct bytes_writer *w)
{
	if (wire_sample_record(w, WIRE_CLASS_DUP, 4660, (const uint8_t *)"\0\0\1\2", 4) < 0)
		return -EINVAL;
	return wire_sample_record(w, WIRE_CLASS_ZERO, 258, NULL, 0);
}

/* Encode a PAGES payload with a ZERO record for page 258, packed as 8 LZ4 literals. */
static int encode_pages_lz4(struct bytes_writer *w)
{
	static const uint8_t block[] = {0x80, 1, 0, 0, 0, 0, 0, 1, 2};

	return wire_lz4_encode(&(struct wire_lz4){8, block, sizeof(block)}, w);
}

static int encode_device(struct bytes_writer *w)
{
	if (wire_device_encode(79000, w) < 0 ||
	    wire_sample_record(w, WIRE_CLASS_XRLE, 19, (const uint8_t *)"\x00\x01z", 3) < 0)
		return -EINVAL;
	return wire_sample_record(w, WIRE_CLASS_ZERO, 3, NULL, 0);
}

static int encode_disk(struct bytes_writer *w)
{
	static uint8_t hash[WIRE_DISK_HASH_SIZE];
	static const struct wire_disk_record records[] = {
		{WIRE_DISK_WRITE, 6, UINT64_C(0x1122334455), (const uint8_t *)"change"},
		{WIRE_DISK_ZERO, WIRE_DISK_RANGE_MAX, UINT64_C(1) << 40, NULL},
		{WIRE_DISK_DISCARD, 4096, WIRE_DISK_SIZE_MAX - 4096, NULL},
		{WIRE_DISK_HASH, 6, UINT64_C(0x1122334455), hash},
	};
	int r = wire_disk_encode("vda", w);

	wire_disk_hash(UINT64_C(0x0102030405060708), "change", 6, hash);
	for (size_t i = 0; r == 0 && i < sizeof(records) / sizeof(records[0]); i++)
		r = wire_disk_record_encode(w, &records[i]);
	return r;
}

/* Encode a DISK payload that has only the name, packed as 4 LZ4 literals. */
static int encode_disk_lz4(struct bytes_writer *w)
{
	static const uint8_t block[] = {0x40, 3, 'v', 'd', 'a'};

	return wire_lz4_encode(&(struct wire_lz4){4, block, sizeof(block)}, w);
}

static int encode_disk_checked(struct bytes_writer *w)
{
	return wire_disk_checked_encode(
		&(struct wire_disk_checked){.name = "vda",
					    .n_checked = 64,
					    .n_differ = 2,
					    .offset = {65536, UINT64_C(0x1122334400)}},
		w);
}

static int encode_hashes_want(struct bytes_writer *w)
{
	return wire_hashes_want_encode(
		&(struct wire_hashes_want){.disk = "vda",
					   .seed = UINT64_C(0x1122334455667788),
					   .first = 4096,
					   .n = 65536},
		w);
}

static int encode_hashes(struct bytes_writer *w)
{
	uint8_t hash[2 * WIRE_HASH_SIZE];

	for (uint8_t i = 0; i < sizeof(hash); i++)
		hash[i] = i;
	return wire_hashes_encode(&(struct wire_hashes){.seed = UINT64_C(0x1122334455667788),
							.first = 4096,
							.n_zero = 3,
							.n = 2,
							.hash = hash},
				  w);
}

static int encode_ram_hash(struct bytes_writer *w)
{
	static uint8_t page[WIRE_PAGE_SIZE], hashes[2 * WIRE_HASH_SIZE];
	struct wire_ram_hash hash = {.seed = UINT64_C(0x0102030405060708),
				     .first_page = 65534, .n_pages = 2, .hashes = hashes};

	memset(page, 0, sizeof(page));
	wire_hash(hash.seed, page, WIRE_PAGE_SIZE, hashes);
	memset(page, 0xa5, sizeof(page));
	wire_hash(hash.seed, page, WIRE_PAGE_SIZE, hashes + WIRE_HASH_SIZE);
	return wire_ram_hash_encode(&hash, w);
}

static int encode_ram_checked(struct bytes_writer *w)
{
	return wire_ram_checked_encode(
		&(struct wire_ram_checked){.n_checked = 256, .n_differ = 2, .page = {65534, 65600}},
		w);
}

static int encode_epoch_end(struct bytes_writer *w)
{
	return wire_epoch_end_encode(&(struct wire_epoch_end){.n_frames = 3, .n_records = 3,
							      .payload_bytes = 4159}, w);
}

static int encode_clock(struct bytes_writer *w)
{
	return wire_clock_encode(&(struct wire_clock){.saved_ticks = UINT64_C(0x1122334455667788),
						      .saved_ns = 5000000000,
						      .mono_ns = 1000000000000,
						      .ticks = UINT64_C(0x1122334455e00000),
						      .ns = 5004000000,
						      .ticks_per_s = 2400000000},
				 w);
}

#define TERM 7
const struct wire_sample wire_samples[] = {
	{"hello-control", {.type = WIRE_HELLO, .term = TERM}, encode_hello},
	{"hello-stream", {.type = WIRE_HELLO, .term = TERM, .epoch = 811}, encode_hello_stream},
	{"hello-peer", {.type = WIRE_HELLO, .term = TERM}, encode_hello_peer},
	{"welcome", {.type = WIRE_WELCOME}, encode_welcome},
	{"welcome-incarnation", {.type = WIRE_WELCOME}, encode_welcome_incarnation},
	{"refused", {.type = WIRE_REFUSED, .term = 9}, encode_refused},
	{"beat", {.type = WIRE_BEAT, .seq = 41}, encode_beat},
	{"beat-ack", {.type = WIRE_BEAT_ACK, .seq = 41}, encode_beat},
	{"report", {.type = WIRE_REPORT, .seq = 42, .term = TERM, .epoch = 811}, encode_report},
	{"order", {.type = WIRE_ORDER, .seq = 1, .term = 8, .epoch = 811}, encode_order},
	{"order-incarnation",
	 {.type = WIRE_ORDER, .seq = 1, .term = 8, .epoch = 811},
	 encode_order_incarnation},
	{"order-done",
	 {.type = WIRE_ORDER_DONE, .seq = 1, .term = 8, .epoch = 0},
	 encode_order_done},
	{"witness-key", {.type = WIRE_WITNESS_KEY, .seq = 2, .term = TERM}, encode_witness_key},
	{"witness-key-client",
	 {.type = WIRE_WITNESS_KEY, .seq = 2, .term = TERM},
	 encode_witness_key_client},
	{"lease", {.type = WIRE_LEASE, .seq = 3, .term = TERM}, encode_lease},
	{"lease-incarnation",
	 {.type = WIRE_LEASE, .seq = 3, .term = TERM},
	 encode_lease_incarnation},
	{"claim", {.type = WIRE_CLAIM, .term = 8, .epoch = 811}, encode_claim},
	{"vote", {.type = WIRE_VOTE, .term = 8}, encode_vote},
	{"drain", {.type = WIRE_DRAIN, .seq = 4}, encode_drain},
	{"drain-state", {.type = WIRE_DRAIN_STATE, .seq = 5}, encode_drain_state},
	{"resume", {.type = WIRE_RESUME, .generation = 5, .term = TERM, .epoch = 811}, NULL},
	{"geometry", {.type = WIRE_GEOMETRY, .generation = 5, .term = TERM}, encode_geometry},
	{"machine", {.type = WIRE_MACHINE, .generation = 5, .term = TERM}, encode_machine},
	{"epoch-begin",
	 {.type = WIRE_EPOCH_BEGIN, .generation = 5, .term = TERM, .epoch = 812},
	 encode_epoch_begin},
	{"epoch-begin-unheld",
	 {.type = WIRE_EPOCH_BEGIN,
	  .flags = WIRE_FLAG_UNHELD,
	  .generation = 5,
	  .term = TERM,
	  .epoch = 812},
	 encode_epoch_begin},
	{"epoch-begin-full",
	 {.type = WIRE_EPOCH_BEGIN,
	  .flags = WIRE_FLAG_FULL,
	  .generation = 1,
	  .term = TERM,
	  .epoch = 1},
	 encode_full_begin},
	{"pages",
	 {.type = WIRE_PAGES, .seq = 1, .generation = 5, .term = TERM, .epoch = 812},
	 encode_pages},
	{"pages-dup",
	 {.type = WIRE_PAGES, .seq = 3, .generation = 5, .term = TERM, .epoch = 812},
	 encode_pages_dup},
	{"pages-lz4",
	 {.type = WIRE_PAGES,
	  .flags = WIRE_FLAG_LZ4,
	  .seq = 2,
	  .generation = 5,
	  .term = TERM,
	  .epoch = 812},
	 encode_pages_lz4},
	{"device",
	 {.type = WIRE_DEVICE, .seq = 2, .generation = 5, .term = TERM, .epoch = 812},
	 encode_device},
	{"clock",
	 {.type = WIRE_CLOCK, .seq = 3, .generation = 5, .term = TERM, .epoch = 812},
	 encode_clock},
	{"disk",
	 {.type = WIRE_DISK, .seq = 4, .generation = 5, .term = TERM, .epoch = 812},
	 encode_disk},
	{"disk-lz4",
	 {.type = WIRE_DISK,
	  .flags = WIRE_FLAG_LZ4,
	  .seq = 5,
	  .generation = 5,
	  .term = TERM,
	  .epoch = 812},
	 encode_disk_lz4},
	{"disk-checked",
	 {.type = WIRE_DISK_CHECKED, .generation = 5, .term = TERM, .epoch = 812},
	 encode_disk_checked},
	{"hashes-want", {.type = WIRE_HASHES_WANT, .generation = 5, .term = TERM},
	 encode_hashes_want},
	{"hashes", {.type = WIRE_HASHES, .generation = 5, .term = TERM}, encode_hashes},
	{"ram-hash",
	 {.type = WIRE_RAM_HASH, .seq = 6, .generation = 5, .term = TERM, .epoch = 812},
	 encode_ram_hash},
	{"ram-checked",
	 {.type = WIRE_RAM_CHECKED, .generation = 5, .term = TERM, .epoch = 812},
	 encode_ram_checked},
	{"epoch-end",
	 {.type = WIRE_EPOCH_END, .seq = 3, .generation = 5, .term = TERM, .epoch = 812},
	 encode_epoch_end},
	{"epoch-ack", {.type = WIRE_EPOCH_ACK, .generation = 5, .term = TERM, .epoch = 812}, NULL},
	{"commit", {.type = WIRE_COMMIT, .generation = 5, .term = TERM, .epoch = 812}, NULL},
	{"stream-error",
	 {.type = WIRE_STREAM_ERROR, .generation = 5, .term = TERM, .epoch = 811},
	 encode_stream_error},
};
const size_t n_wire_samples = sizeof(wire_samples) / sizeof(wire_samples[0]);

size_t wire_sample_build(const struct wire_sample *sample, uint8_t *buffer)
{
	struct bytes_writer w;
	size_t size;

	if (wire_frame_begin(buffer, WIRE_FRAME_MAX, &w) < 0 ||
	    (sample->encode && sample->encode(&w) < 0) ||
	    wire_frame_finish(buffer, &w, &sample->header, &size) < 0)
		return 0;
	return size;
}
