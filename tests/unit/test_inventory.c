/* Tests inventory.h:
 *	- the list of a guest's parts, made from QEMU's output;
 *	- the comparison of two such lists;
 *	- the mark, a hash over the sections of a saved state;
 *	- the check of taps. */
#include "vmm/inventory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "vmm/sections.h"
#include "vmm/taps.h"

static const char network[] =
	"virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:48:46:01\r\n"
	" \\ n0: index=0,type=tap,ifname=tap0,script=no,downscript=no\r\n";
static const char memory[] =
	"              Block Name    PSize              Offset               Used              "
	"Total\r\n"
	"                  pc.ram    4 KiB  0x0000000000000000 0x0000000010000000 "
	"0x0000000010000000\r\n"
	"    0000:00:03.0/virtio-net-pci.rom    4 KiB  0x0000000010080000 0x0000000000040000 "
	"0x0000000000040000\r\n";
static const char devices[] =
	"[{\"name\":\"type\",\"type\":\"string\"},"
	"{\"name\":\"net0\",\"type\":\"child<virtio-net-pci>\"}]";

static void add_devices(struct vmm_inventory *in, const char *text)
{
	json_t *list = json_loads(text, 0, NULL);

	assert_non_null(list);
	assert_int_equal(vmm_inventory_add_devices(in, list), 0);
	json_decref(list);
}

static void read_all(struct vmm_inventory *in, const char *net, const char *ram, const char *dev)
{
	in->n = 0;
	add_devices(in, dev);
	assert_int_equal(vmm_inventory_add_network(in, net), 0);
	assert_int_equal(vmm_inventory_add_memory(in, ram), 0);
}

static struct vmm_inventory base, now;
static struct vmm_change change;

static int set_up(void **state)
{
	(void)state;
	read_all(&base, network, memory, devices);
	return 0;
}

static void the_same_is_no_change(void **state)
{
	(void)state;
	assert_int_equal(base.n, 4); /* the card's ROM is not counted as a separate part */
	read_all(&now, network, memory, devices);
	assert_false(vmm_inventory_differs(&base, &now, &change));
}

static void a_device_is_named_and_needs_no_silence(void **state)
{
	(void)state;
	read_all(&now, network, memory, devices);
	add_devices(&now, "[{\"name\":\"rng1\",\"type\":\"child<virtio-rng-pci>\"}]");
	assert_true(vmm_inventory_differs(&base, &now, &change));
	assert_string_equal(change.text, "added: device rng1 (virtio-rng-pci)");
	assert_false(change.is_net);
	/* A device that is missing now is a change, too: the standby would have a device that the
	 * guest no longer has. */
	assert_true(vmm_inventory_differs(&now, &base, &change));
	assert_string_equal(change.text, "gone: device rng1 (virtio-rng-pci)");
	assert_false(change.is_net);
}

static void what_can_send_frames_is_told_apart(void **state)
{
	static const char *const more[] = {
		("net1: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:01\r\n \\ u1: "
		 "index=0,type=user,net=10.0.2.0\r\n"),
		"u1: index=0,type=user,net=10.0.2.0\r\n",
		"filters:\r\n  - f0: type=filter-mirror,queue=all,outdev=c0\r\n",
		"hub 0\r\n \\ hub0port1: #net1: index=0,type=user,net=10.0.2.0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		read_all(&now, network, memory, devices);
		assert_int_equal(vmm_inventory_add_network(&now, more[i]), 0);
		assert_true(vmm_inventory_differs(&base, &now, &change));
		assert_true(change.is_net);
	}
	assert_true(vmm_inventory_differs(&now, &base, &change));
	assert_false(change.is_net); /* a part that is gone cannot send frames */
}

/* The memory of a back end has no name until a device uses the memory. The inventory must include
 * it even before that. */
static void memory_without_a_device_is_seen(void **state)
{
	(void)state;
	read_all(&now, network, memory, devices);
	assert_int_equal(
		vmm_inventory_add_memory(
			&now,
			"                         "
			"    4 KiB  0x0000000010100000 0x0000000008000000 0x0000000008000000\r\n"),
		0);
	assert_true(vmm_inventory_differs(&base, &now, &change));
	assert_non_null(strstr(change.text, "memory"));
}

static void queues_of_a_card_count_once(void **state)
{
	(void)state;
	read_all(&now, network, memory, devices);
	assert_int_equal(
		vmm_inventory_add_network(&now, " \\ n0: index=1,type=tap,ifname=tap0\r\n"), 0);
	assert_false(vmm_inventory_differs(&base, &now, &change));
}

static void odd_answers_are_refused(void **state)
{
	json_t *odd = json_pack("[{s:i}]", "name", 1), *object = json_object();

	(void)state;
	now.n = 0;
	assert_int_equal(vmm_inventory_add_devices(&now, odd), -EPROTO);
	assert_int_equal(vmm_inventory_add_devices(&now, object), -EPROTO);
	assert_int_equal(vmm_inventory_add_memory(&now, "nonsense\n"), -EPROTO);
	json_decref(odd);
	json_decref(object);
	memset(&now, 0, sizeof(now));
	now.n = VMM_ITEMS_MAX;
	assert_int_equal(vmm_inventory_add_network(&now, network), -E2BIG);
	now.n = 0;
}

/* ---- sections */

struct blob {
	uint8_t data[1024];
	size_t size;
};

static void put(struct blob *b, const void *data, size_t size)
{
	memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void put_byte(struct blob *b, uint8_t byte)
{
	put(b, &byte, 1);
}

static void put_be32(struct blob *b, uint32_t v)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		put_byte(b, (uint8_t)(v >> shift));
}

static void begin(struct blob *b)
{
	b->size = 0;
	put_be32(b, 0x5145564d);
	put_be32(b, 3);
}

static void put_section(struct blob *b, uint32_t number, const char *name, uint32_t version,
			const char *data, size_t size)
{
	put_byte(b, 4);
	put_be32(b, number);
	put_byte(b, (uint8_t)strlen(name));
	put(b, name, strlen(name));
	put_be32(b, 0);
	put_be32(b, version);
	put(b, data, size);
	put_byte(b, 0x7e);
	put_be32(b, number);
}

static uint64_t mark_of(const char *data, size_t size, const char *last, uint32_t version,
			uint32_t number)
{
	struct blob b;

	begin(&b);
	put_section(&b, 1, "timer", 2, data, size);
	put_section(&b, number, last, version, "xyz", 3);
	put_byte(&b, 0);
	return vmm_sections_mark(b.data, b.size);
}

static void a_mark_follows_names_not_data(void **state)
{
	/* A device's data can look like a footer, but a footer is real only if a section's header
	 * follows. */
	static const char trap[] = "ab\x7e\x00\x00\x00\x01xx\x7e\x7e";
	uint64_t mark = mark_of("abcd", 4, "0000:00:03.0/virtio-net", 1, 2);

	(void)state;
	assert_true(mark != 0);
	assert_true(mark == mark_of("efghij", 6, "0000:00:03.0/virtio-net", 1, 2));
	assert_true(mark == mark_of(trap, sizeof(trap) - 1, "0000:00:03.0/virtio-net", 1, 77));
	assert_true(mark != mark_of("abcd", 4, "0000:00:04.0/virtio-net", 1, 2));
	assert_true(mark != mark_of("abcd", 4, "0000:00:03.0/virtio-net", 3, 2));
}

static void what_has_no_footers_is_marked_by_its_size(void **state)
{
	static const uint8_t zeros[64];
	struct blob b;

	(void)state;
	assert_true(vmm_sections_mark(zeros, 40) != vmm_sections_mark(zeros, 42));
	assert_true(vmm_sections_mark(zeros, 0) != 0);
	begin(&b);
	put_section(&b, 1, "timer", 2, "abcd", 4);
	put_byte(&b, 0);
	/* A blob that is cut at any place must have another mark, and nothing past its end may be
	 * read. */
	for (size_t size = 0; size < b.size; size++)
		assert_true(vmm_sections_mark(b.data, size) != vmm_sections_mark(b.data, b.size));
}

/* ---- taps */

static void taps_are_exactly_what_the_file_allows(void **state)
{
#define HERE(name)	{name, VMM_TAP_HERE, 3}
#define ELSEWHERE(name) {name, VMM_TAP_ELSEWHERE, 4}
	static const struct {
		const char *allowed;
		struct vmm_taps taps;
		const char *words[2]; /* must be in the error; NULL, NULL: the taps are allowed */
	} rows[] = {
		{"tap0", {.taps = {HERE("tap0")}, .n = 1}, {NULL, NULL}},
		/* A queue that is switched off counts as lost. Lost queues are allowed. */
		{"tap0", {.taps = {HERE("tap0")}, .n = 1, .n_lost = 3}, {NULL, NULL}},
		{"tap0", {.taps = {HERE("tap1")}, .n = 1}, {"tap1", "tap0"}},
		{"tap0", {.taps = {HERE("tap0"), HERE("tap1")}, .n = 2}, {"tap1", "tap0"}},
		{"tap0", {.taps = {ELSEWHERE("tap0")}, .n = 1}, {"tap0", "namespace"}},
		{"tap0", {.taps = {HERE("tap0"), ELSEWHERE("tap0")}, .n = 2},
		 {"tap0", "namespace"}},
		{"tap0", {.taps = {HERE("tap0"), {"tap7", VMM_TAP_MACVTAP, 5}}, .n = 2},
		 {"tap7", "macvtap"}},
		{"tap0", {.n = 0, .n_lost = 1}, {"deleted", "tap0"}},
		{"tap0", {.n = 0}, {"no tap", "tap0"}},
		/* several cards; the order has no meaning */
		{"tap0 tap1", {.taps = {HERE("tap1"), HERE("tap0")}, .n = 2}, {NULL, NULL}},
		{"tap0 tap1", {.taps = {HERE("tap0")}, .n = 1}, {"tap tap0", "tap0 tap1"}},
		{"tap0 tap1", {.taps = {HERE("tap0")}, .n = 1, .n_lost = 1},
		 {"deleted", "named tap1 now"}},
		{"tap0 tap1", {.taps = {HERE("tap0"), ELSEWHERE("tap1")}, .n = 2},
		 {"tap1 (in another network namespace)", "tap0 tap1"}},
		{"tap0 tap1", {.taps = {HERE("tap0"), HERE("tap2")}, .n = 2},
		 {"taps tap0, tap2 open", "tap0 tap1"}},
		{"tap0 tap1", {.taps = {HERE("tap0"), HERE("tap2"), HERE("tap1")}, .n = 3},
		 {"allows only tap0 tap1", "tap2"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct error error = {""};
		struct tap_names allowed;

		assert_int_equal(tap_names_parse(rows[i].allowed, &allowed), 0);
		assert_int_equal(vmm_taps_judge(&rows[i].taps, &allowed, &error),
				 rows[i].words[0] ? -ENOTSUP : 0);
		for (int k = 0; k < 2 && rows[i].words[0]; k++)
			assert_non_null(strstr(error.text, rows[i].words[k]));
	}
}

/* QEMU's text and the kernel's list of descriptors show which tap each card uses. */
static void cards_are_found_by_their_taps(void **state)
{
	static const struct vmm_taps taps = {
		.taps = {{"tap0", VMM_TAP_HERE, 27}, {"tap1", VMM_TAP_HERE, 9}}, .n = 2};
	static const struct {
		const char *text;
		uint32_t offloads; /* bit i: taps[i] has offloads; n0 has them, n1 has none */
	} rows[] = {
		{" \\ n0: index=0,type=tap,ifname=tap0,script=no,downscript=no\r\n"
		 " \\ n1: index=0,type=tap,ifname=tap1,script=no\r\n", 1},
		{"c0: index=0,type=nic,macaddr=x\r\n \\ n0: index=0,type=tap,fd=9\r\n"
		 "c1: index=0,type=nic,macaddr=y\r\n \\ n1: index=0,type=tap,fd=27\r\n", 2},
		{" \\ n0: index=0,type=tap,ifname=tap1", 2},
		/* QEMU's text is empty or not understood: each card counts as having offloads */
		{"", 3},
		{" \\ n0: index=0,type=tap,fd=1\r\n", 3},
		{" \\ n0: index=0,type=tap,ifname=tap\r\n", 3},
		{" \\ n0: index=0,type=tap,ifname=tap00\r\n", 3},
		{" \\ n0: index=0,type=tap,helper=/x,br=tap0\r\n", 3},
		{" \\ n0: index=0,type=tap,", 3},
		{" \\ n0: index=0,type=tap", 3},
		{" \\ hub0port1: n0: index=0,type=tap,ifname=tap0\r\n", 3},
		{" \\ n00: index=0,type=tap,ifname=tap0\r\n", 3},
	};
	struct vmm_info info = {.nics = {{.netdev = "n1"}, {.netdev = "n0", .is_offload = true}},
				.n_nics = 2};
	struct tap_names names;

	(void)state;
	assert_int_equal(tap_names_parse("tap0 tap1", &names), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(vmm_taps_offloads(&taps, rows[i].text, &info, &names),
				 rows[i].offloads);
	assert_int_equal(tap_names_parse("tap1 tap0", &names), 0);
	assert_int_equal(vmm_taps_offloads(&taps, rows[0].text, &info, &names), 2);
	info.nics[1].is_offload = false;
	assert_int_equal(vmm_taps_offloads(&taps, "", &info, &names), 0);
	info.nics[0].is_offload = info.nics[1].is_offload = true;
	assert_int_equal(vmm_taps_offloads(&taps, rows[0].text, &info, &names), 3);
}

static void a_process_without_taps_has_none(void **state)
{
	struct vmm_taps taps;
	struct error error;

	(void)state;
	assert_int_equal(vmm_taps_read(getpid(), &taps, &error), 0);
	assert_int_equal(taps.n, 0);
	assert_int_equal(vmm_taps_read(0x3fffffff, &taps, &error), -ESRCH);
}

/* If a medium (such as a CD) is changed, the guest has changed, because the standby's drive still
 * has the old medium. */
static void a_medium_is_a_part(void **state)
{
	static const char *const texts[] = {
		("[{\"device\":\"\",\"qdev\":\"cdrom0\",\"removable\":true,"
		 "\"inserted\":{\"file\":\"/one.iso\",\"ro\":true}},"
		 "{\"device\":\"d0\",\"removable\":false,\"inserted\":{\"file\":\"/"
		 "d0\",\"ro\":true}}]"),
		("[{\"device\":\"\",\"qdev\":\"cdrom0\",\"removable\":true,"
		 "\"inserted\":{\"file\":\"/two.iso\",\"ro\":true}}]"),
		"[{\"device\":\"\",\"qdev\":\"cdrom0\",\"removable\":true}]",
	};
	static const char *const says[] = {
		"", "added: medium in cdrom0 (/two.iso); gone: medium in cdrom0 (/one.iso)",
		"gone: medium in cdrom0 (/one.iso)",
	};
	struct vmm_inventory in[3];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		json_t *list = json_loads(texts[i], 0, NULL);

		in[i].n = 0;
		assert_int_equal(vmm_inventory_add_media(&in[i], list), 0);
		json_decref(list);
	}
	assert_int_equal(in[0].n, 1); /* the file of a disk is not listed as a part */
	assert_int_equal(in[2].n, 0);
	for (size_t i = 1; i < 3; i++) {
		assert_true(vmm_inventory_differs(&in[0], &in[i], &change));
		assert_false(change.is_net);
		assert_string_equal(change.text, says[i]);
	}
}

/* A disk that has grown is a change of the guest: the standby's image is too small. */
static void the_size_of_a_disk_is_a_part(void **state)
{
	static const char format[] =
		"[{\"device\":\"root\",\"inserted\":{\"file\":\"/d\",\"ro\":false,"
		"\"image\":{\"virtual-size\":%d}}}]";
	struct vmm_inventory in[2] = {{0}};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char text[256];
		json_t *list;

		snprintf(text, sizeof(text), format, 4096 << i);
		list = json_loads(text, 0, NULL);
		assert_int_equal(vmm_inventory_add_disks(&in[i], list), 0);
		json_decref(list);
	}
	assert_true(vmm_inventory_differs(&in[0], &in[1], &change));
	assert_false(change.is_net);
	assert_string_equal(change.text,
			    "added: disk root of 8192 bytes; gone: disk root of 4096 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_is_no_change),
		cmocka_unit_test(a_device_is_named_and_needs_no_silence),
		cmocka_unit_test(what_can_send_frames_is_told_apart),
		cmocka_unit_test(memory_without_a_device_is_seen),
		cmocka_unit_test(queues_of_a_card_count_once),
		cmocka_unit_test(odd_answers_are_refused),
		cmocka_unit_test(a_mark_follows_names_not_data),
		cmocka_unit_test(what_has_no_footers_is_marked_by_its_size),
		cmocka_unit_test(taps_are_exactly_what_the_file_allows),
		cmocka_unit_test(cards_are_found_by_their_taps),
		cmocka_unit_test(a_process_without_taps_has_none),
		cmocka_unit_test(a_medium_is_a_part),
		cmocka_unit_test(the_size_of_a_disk_is_a_part),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
