/* test_inspect_parse.c - tests that output recorded from Debian's QEMU 7.2 is parsed, and that
 * other output is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/inspect_parse.h"

static const char ramblocks[] =
	"              Block Name    PSize              Offset               Used              "
	"Total\r\n"
	"            holdfast-ram    4 KiB  0x0000000000000000 0x0000000140000000 "
	"0x0000000140000000\r\n"
	"    /rom@etc/acpi/tables    4 KiB  0x00000001400c0000 0x0000000000020000 "
	"0x0000000000200000\r\n"
	"                 pc.bios    4 KiB  0x0000000140000000 0x0000000000040000 "
	"0x0000000000040000\r\n"
	"0000:00:01.0/virtio-net-pci.rom    4 KiB  0x0000000140080000 0x0000000000040000 "
	"0x40000\r\n"
	"                  pc.rom    2 MiB  0x0000000140040000 0x0000000000020000 "
	"0x0000000000020000\r\n"
	"   0000:00:02.0/vga.vram    4 KiB  0x0000000010080000 0x0000000001000000 "
	"0x0000000001000000\r\n";

static const char mtree[] =
	"FlatView #0\r\n AS \"I/O\", root: io\r\n Root memory region: io\r\n"
	"  0000000000000000-0000000000000007 (prio 0, i/o): pc.ram\r\n\r\n"
	"FlatView #1\r\n AS \"memory\", root: system\r\n AS \"cpu-memory-0\", root: system\r\n"
	" Root memory region: system\r\n"
	"  00000000000c0000-00000000000c0fff (prio 0, rom): pc.bios @0000000000020000\r\n"
	"  0000000000001000-00000000000bffff (prio 0, ram): pc.ram\r\n"
	"  0000000100000000-00000001bfffffff (prio 0, ram): pc.ram @0000000080000000\r\n"
	"  00000000febc1000-00000000febc1fff (prio 1, i/o): ahci\r\n"
	"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n";

static void test_ramblocks(void **state)
{
	struct inspect_ramblock blocks[INSPECT_RAMBLOCKS_MAX];
	struct error error;
	uint32_t n;

	(void)state;
	assert_int_equal(inspect_parse_ramblocks(ramblocks, blocks, &n, &error), 0);
	assert_int_equal(n, 6);
	assert_string_equal(blocks[0].name, "holdfast-ram");
	assert_int_equal(blocks[0].used_bytes, UINT64_C(5) << 30);
	assert_string_equal(blocks[3].name, "0000:00:01.0/virtio-net-pci.rom");
	assert_int_equal(blocks[5].used_bytes, 16 << 20);
	assert_int_equal(blocks[5].hva, 0);
	/* QEMU 8.1 and later have two more columns. */
	assert_int_equal(inspect_parse_ramblocks(
		" 0000:00:02.0/vga.vram 4 KiB  0x4080000 0x1000000 0x1000000 0x00007f16b2c00000 rw"
		"\r\n", blocks, &n, &error), 0);
	assert_int_equal(blocks[0].hva, UINT64_C(0x7f16b2c00000));
	/* An unknown line is an error; it is not skipped. */
	assert_int_equal(inspect_parse_ramblocks("  pc.ram  lots\r\n", blocks, &n, &error),
			 -EPROTO);
	assert_non_null(strstr(error.text, "pc.ram  lots"));
}

static void test_too_many_ramblocks(void **state)
{
	static char text[INSPECT_RAMBLOCKS_MAX * 2 * 64];
	struct inspect_ramblock blocks[INSPECT_RAMBLOCKS_MAX];
	struct error error;
	uint32_t n;

	(void)state;
	for (unsigned int i = 0; i <= INSPECT_RAMBLOCKS_MAX; i++)
		strcat(text, "a 4 KiB 0x0 0x1000 0x1000\n");
	assert_int_equal(inspect_parse_ramblocks(text, blocks, &n, &error), -E2BIG);
}

static void test_hva(void **state)
{
	uint64_t hva = 0;

	(void)state;
	assert_int_equal(inspect_parse_hva(
		"Host virtual address for 0x0 (pc.ram) is 0x7f3c2fe00000\r\n", "pc.ram", &hva), 0);
	assert_int_equal(hva, UINT64_C(0x7f3c2fe00000));
	assert_int_equal(
		inspect_parse_hva("Host virtual address for 0x0 (vga) is 0x7f3c2fe00000\r\n",
				  "pc.ram", &hva),
		-EPROTO);
	assert_int_equal(inspect_parse_hva(
		"Host virtual address for 0x0 (pc.ram) is 0x7f3c2fe00001\r\n", "pc.ram", &hva),
		-EPROTO);
	assert_int_equal(
		inspect_parse_hva("No memory is mapped at address 0xf\r\n", "pc.ram", &hva),
		-ENOENT);
	assert_int_equal(inspect_parse_hva("Memory at address 0xfec00000 is not RAM\r\n", "pc.ram",
					   &hva), -ENOENT);
	assert_int_equal(inspect_parse_hva("", "pc.ram", &hva), -EPROTO);
}

static void test_guest_addr(void **state)
{
	uint64_t at = 0;

	(void)state;
	assert_int_equal(inspect_parse_guest_addr(mtree, "pc.ram", &at), 0);
	assert_int_equal(at, 0x1000);
	assert_int_equal(inspect_parse_guest_addr(mtree, "pc.bios", &at), 0);
	assert_int_equal(at, 0xfffc0000);
	assert_int_equal(inspect_parse_guest_addr(mtree, "pc.rom", &at), -ENOENT);
}

static void test_classify(void **state)
{
	static const struct {
		const char *name;
		enum inspect_use use;
	} cases[] = {
		{"holdfast-ram", INSPECT_REPLICATE_RAM},
		{"/objects/holdfast-ram", INSPECT_REPLICATE_RAM},
		{"pc.bios", INSPECT_REPLICATE_OTHER},
		{"pc.rom", INSPECT_SKIP},
		{"/rom@etc/acpi/tables", INSPECT_SKIP},
		{"/rom@etc/table-loader", INSPECT_SKIP},
		{"0000:00:01.0/virtio-net-pci.rom", INSPECT_SKIP},
		{"0000:00:02.0/vga.rom", INSPECT_SKIP},
		{"0000:00:02.0/vga.vram", INSPECT_REPLICATE_OTHER},
		{"0000:00:02.0/qxl.vrom", INSPECT_REPLICATE_OTHER},
		{"system.flash0", INSPECT_REPLICATE_OTHER},
		/* not the main memory of this type of machine */
		{"pc.ram", INSPECT_REPLICATE_OTHER},
		{"dimm1", INSPECT_REPLICATE_OTHER},
		{INSPECT_UNNAMED, INSPECT_REFUSE},
		{"0000:00:04.0/ivshmem.bar2", INSPECT_REFUSE},
		{"nvdimm1", INSPECT_REFUSE},
	};
	const char *hint;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(inspect_classify(cases[i].name, "holdfast-ram", &hint),
				 cases[i].use);
		assert_int_equal(hint != NULL, cases[i].use == INSPECT_REFUSE);
	}
}

static void test_mac_and_netdev(void **state)
{
	static const uint8_t expected[6] = {0x52, 0x54, 0, 0x12, 0x34, 0xff};
	uint8_t mac[6];

	(void)state;
	assert_int_equal(inspect_parse_mac("52:54:00:12:34:ff", mac), 0);
	assert_memory_equal(mac, expected, 6);
	assert_int_equal(inspect_parse_mac("52:54:00:12:34", mac), -EINVAL);
	assert_int_equal(inspect_parse_mac("52:54:00:12:34:ff:00", mac), -EINVAL);
	assert_null(inspect_foreign_netdev(" \\ n0: index=0,type=tap,ifname=t\r\n"));
	assert_string_equal(inspect_foreign_netdev(" \\ n0: index=0,type=vhost-user\r\n"),
			    "vhost-user");
}

#define NIC(name) name ": index=0,type=nic,model=x,macaddr=52:54:00:12:34:56\r\n"
#define TAP(name) " \\ " name ": index=0,type=tap,ifname=tap0,script=no\r\n"

static void test_untapped_cards(void **state)
{
	static const struct {
		const char *text;
		const char *cards[2]; /* "name backend type" */
	} rows[] = {
		{"", {NULL}},
		{NIC("a.0") TAP("n0"), {NULL}},
		{NIC("a.0") TAP("n0") NIC("a.1") TAP("n1"), {NULL}},
		{NIC("a.0"), {NULL}}, /* a card without a back end */
		{NIC("a.0") NIC("a.1") TAP("n1"), {NULL}},
		{NIC("a.0") TAP("n0") NIC("b") " \\ n1: index=0,type=user,net=10.0.2.0\r\n",
		 {"b n1 user"}},
		{NIC("a.0") " \\ n0: index=0,type=user\r\n" NIC("b") " \\ n1: index=0,type=socket,",
		 {"a.0 n0 user", "b n1 socket"}},
		{NIC("a.0") "filters:\r\n  - f0: type=filter-dump,file=/x\r\n"
			    " \\ n0: index=0,type=tapestry\r\n",
		 {"a.0 n0 tapestry"}},
		/* a back end that no card uses */
		{NIC("a.0") TAP("n0") "n1: index=0,type=user\r\n", {NULL}},
		/* two queues of one card */
		{NIC("a.0") TAP("n0") "a.0: index=1,type=nic,model=x\r\n"
		 " \\ n0: index=1,type=tap,fd=4\r\n", {NULL}},
		/* a hub is allowed only for a guest's only card */
		{"hub 0\r\n" " \\ hub0port1: n1: index=0,type=tap,ifname=t\r\n \\ hub0port0: "
		 NIC("a.0"), {NULL}},
		{"hub 0\r\n" " \\ hub0port1: n1: index=0,type=tap,ifname=t\r\n \\ hub0port0: "
		 NIC("a.0") NIC("b.0") TAP("n0"), {"a.0 hub0port0 hubport"}},
		/* The text is cut short: nothing past its end may be read, and a back end whose
		 * type is missing does not count as a tap. */
		{"a: index=0,type=nic,\n \\", {"a  "}},
		{"a: index=0,type=nic\n \\ n0: index=0,type=", {"a n0 "}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct inspect_card card;
		char text[256];
		uint32_t n = 0;

		for (; n < 2 && rows[i].cards[n]; n++) {
			assert_int_equal(inspect_untapped_card(rows[i].text, n, &card), 0);
			(void)snprintf(text, sizeof(text), "%s %s %s", card.name, card.backend,
				       card.type);
			assert_string_equal(text, rows[i].cards[n]);
		}
		assert_int_equal(inspect_untapped_card(rows[i].text, n, &card), -ENOENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ramblocks),
		cmocka_unit_test(test_too_many_ramblocks),
		cmocka_unit_test(test_hva),
		cmocka_unit_test(test_guest_addr),
		cmocka_unit_test(test_classify),
		cmocka_unit_test(test_mac_and_netdev),
		cmocka_unit_test(test_untapped_cards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
