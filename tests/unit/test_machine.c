/* Tests machine.c and qtree.c: the list of a machine's parts, and how two lists are compared. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vmm/qtree.h"

/* Output of QEMU 7.2, shortened. The test replaces @NIC and @ISA. */
static const char tree[] =
	"bus: main-system-bus\r\n"
	"  type System\r\n"
	"  dev: ioapic, id \"\"\r\n"
	"    gpio-in \"\" 24\r\n"
	"    version = 32 (0x20)\r\n"
	"    mmio 00000000fec00000/0000000000001000\r\n"
	"  dev: i440FX-pcihost, id \"\"\r\n"
	"    bypass-iommu = false\r\n"
	"    bus: pci.0\r\n"
	"      type PCI\r\n"
	"%s"
	"      dev: PIIX3, id \"\"\r\n"
	"        addr = 01.0\r\n"
	"        bus: isa.0\r\n"
	"          type ISA\r\n"
	"%s"
	"          dev: isa-serial, id \"\"\r\n"
	"            index = 0 (0x0)\r\n";

#define NIC(addr, id, vectors, mac, netdev, bar)                                                   \
	"      dev: virtio-net-pci, id \"" id "\"\r\n"                                             \
	"        vectors = " vectors "\r\n"                                                        \
	"        addr = " addr "\r\n"                                                              \
	"        romfile = \"/usr/" netdev "/efi-virtio.rom\"\r\n"                                 \
	"        class Ethernet controller, addr 00:" addr                                         \
	", pci id 1af4:1000 (sub 1af4:0001)\r\n"                                                   \
	"        bar 0: i/o at " bar "\r\n"                                                        \
	"        bus: virtio-bus\r\n"                                                              \
	"          type virtio-pci-bus\r\n"                                                        \
	"          dev: virtio-net-device, id \"\"\r\n"                                            \
	"            mac = \"" mac "\"\r\n"                                                        \
	"            netdev = \"" netdev "\"\r\n"
#define MAC	   "52:54:00:48:46:01"
#define GOOD_NIC   NIC("02.0", "", "4 (0x4)", MAC, "n0", "0xc000 [0xc01f]")
#define BALLOON	   "      dev: virtio-balloon-pci, id \"\"\r\n        addr = 03.0\r\n"
#define SERIAL	   "          dev: isa-serial, id \"\"\r\n            index = 1 (0x1)\r\n"

static struct vmm_machine machine_of(const char *nic, const char *isa)
{
	struct vmm_machine m = {0};
	struct error error;
	char text[8192];

	snprintf(text, sizeof(text), tree, nic, isa);
	assert_int_equal(qtree_parse(text, &m, &error), 0);
	vmm_machine_sort(&m);
	return m;
}

static const char *value_of(const struct vmm_machine *m, const char *key)
{
	for (uint32_t i = 0; i < m->n_items; i++)
		if (strcmp(m->items[i].key, key) == 0)
			return m->items[i].value;
	return NULL;
}

static void test_places(void **state)
{
	struct vmm_machine m = machine_of(BALLOON GOOD_NIC, SERIAL);

	(void)state;
	assert_string_equal(value_of(&m, "device ioapic#0"), "ioapic");
	assert_string_equal(value_of(&m, "device pci.0/02.0"), "virtio-net-pci");
	assert_string_equal(value_of(&m, "device pci.0/02.0 (virtio-net-pci) vectors"), "4 (0x4)");
	assert_string_equal(value_of(&m, "device pci.0/02.0 (virtio-net-pci) PCI id"),
			    "1af4:1000 (sub 1af4:0001)");
	assert_string_equal(value_of(&m, "device pci.0/02.0 (virtio-net-pci) romfile"),
			    "efi-virtio.rom");
	assert_string_equal(value_of(&m, "device pci.0/02.0/virtio-bus/virtio-net-device#0 "
					 "(virtio-net-device) mac"), "\"" MAC "\"");
	/* QEMU lists the newest device first, but #0 is the oldest. */
	assert_string_equal(value_of(&m, "device pci.0/01.0/isa.0/isa-serial#0 (isa-serial) index"),
			    "0 (0x0)");
	assert_string_equal(value_of(&m, "device pci.0/01.0/isa.0/isa-serial#1 (isa-serial) index"),
			    "1 (0x1)");
	vmm_machine_done(&m);
}

static void test_differences(void **state)
{
	static const struct {
		const char *nic, *isa; /* of the standby; the primary has GOOD_NIC and "" */
		const char *says;      /* NULL: the same machine */
		const char *silent;    /* text that must not be in the message */
	} rows[] = {
		{GOOD_NIC, "", NULL, ""},
		/* Names and paths on the host do not count as differences. Values that the firmware
		 * sets do not count either. */
		{NIC("02.0", "net0", "4 (0x4)", MAC, "tap7", "0xffffffffffffffff [0x1e]"), "", NULL,
		 ""},
		{NIC("05.0", "", "4 (0x4)", MAC, "n0", ""), "",
		 "device pci.0/02.0: virtio-net-pci on the primary, nothing on the standby; device "
		 "pci.0/05.0: nothing on the primary, virtio-net-pci on the standby",
		 "vectors"},
		{"      dev: e1000, id \"\"\r\n        addr = 02.0\r\n", "",
		 "device pci.0/02.0: virtio-net-pci on the primary, e1000 on the standby", ";"},
		{NIC("02.0", "", "3 (0x3)", MAC, "n0", ""), "",
		 "device pci.0/02.0 (virtio-net-pci) vectors: 4 (0x4) on the primary, 3 (0x3) on "
		 "the standby",
		 ";"},
		{NIC("02.0", "", "4 (0x4)", "52:54:00:00:00:99", "n0", ""), "",
		 "mac: \"" MAC "\" on the primary", ";"},
		{"", "", "device pci.0/02.0: virtio-net-pci on the primary, nothing on the standby",
		 ";"},
		{BALLOON GOOD_NIC, "",
		 "device pci.0/03.0: nothing on the primary, virtio-balloon-pci on the standby",
		 ";"},
		/* the changed order of the devices is no difference; only the balloon is */
		{GOOD_NIC BALLOON, "", "virtio-balloon-pci", ";"},
		{GOOD_NIC, SERIAL,
		 "isa-serial#1: nothing on the primary, isa-serial on the standby", ";"},
		{BALLOON, SERIAL SERIAL, "; and 1 more", ""},
	};
	struct vmm_machine primary = machine_of(GOOD_NIC, "");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vmm_machine standby = machine_of(rows[i].nic, rows[i].isa);
		char text[600] = "";
		int r = vmm_machine_compare(&primary, &standby, text, sizeof(text));

		assert_int_equal(r, rows[i].says ? -EINVAL : 0);
		assert_int_equal(vmm_machine_is_same(&primary, &standby), r == 0);
		if (rows[i].says && !strstr(text, rows[i].says))
			fail_msg("row %zu: '%s' is not in: %s", i, rows[i].says, text);
		if (*rows[i].silent && strstr(text, rows[i].silent))
			fail_msg("row %zu: '%s' is in: %s", i, rows[i].silent, text);
		vmm_machine_done(&standby);
	}
	vmm_machine_done(&primary);
}

static void test_texts(void **state)
{
	struct vmm_machine a = {0}, b = {0};
	char long_a[600], long_b[600], text[32];

	(void)state;
	memset(long_a, 'x', sizeof(long_a));
	memset(long_b, 'x', sizeof(long_b));
	long_a[sizeof(long_a) - 1] = long_b[sizeof(long_b) - 1] = '\0';
	long_b[sizeof(long_b) - 2] = 'y';
	assert_int_equal(vmm_machine_add(&a, "key\n", long_a), 0);
	assert_int_equal(vmm_machine_add(&b, "key\t", long_b), 0);
	assert_string_equal(a.items[0].key, "key?");
	assert_int_equal(strlen(a.items[0].value), VMM_MACHINE_VALUE_MAX);
	/* Both values are cut because they are too long, but they still count as different. The
	 * message does not overflow its buffer. */
	assert_int_equal(vmm_machine_compare(&a, &b, text, sizeof(text)), -EINVAL);
	assert_int_equal(strlen(text), sizeof(text) - 1);
	vmm_machine_done(&a);
	vmm_machine_done(&b);
	vmm_machine_done(&b);
}

static void test_limits(void **state)
{
	static char text[8 << 20];
	struct vmm_machine m = {0};
	struct error error;
	size_t used;

	(void)state;
	strcpy(text, "unknown command: 'info qtree'");
	assert_int_equal(qtree_parse(text, &m, &error), -EPROTO);
	strcpy(text, "");
	assert_int_equal(qtree_parse(text, &m, &error), -EPROTO);
	strcpy(text, "bus: x\n  dev: without an id\n");
	assert_int_equal(qtree_parse(text, &m, &error), -EPROTO);
	used = (size_t)sprintf(text, "bus: x\n");
	for (unsigned i = 0; i < 5 * QTREE_DEVICES_MAX; i++)
		used += (size_t)sprintf(text + used, "  dev: x%u, id \"\"\n", i);
	assert_int_equal(qtree_parse(text, &m, &error), -E2BIG);
	used = (size_t)sprintf(text, "bus: x\n  dev: d, id \"\"\n");
	for (unsigned i = 0; i <= VMM_MACHINE_ITEMS_MAX; i++)
		used += (size_t)sprintf(text + used, "    p%u = 1\n", i);
	assert_int_equal(qtree_parse(text, &m, &error), -E2BIG);
	assert_true(strstr(error.text, "too many"));
	vmm_machine_done(&m);
	/* Devices can be nested to any depth: a path that is too long is cut, and nothing
	 * overflows. */
	used = (size_t)sprintf(text, "bus: x\n");
	for (unsigned i = 0; i < 200; i++)
		used += (size_t)sprintf(text + used, "%*sdev: d, id \"\"\n%*sbus: b\n",
					(int)(4 * i + 2), "", (int)(4 * i + 4), "");
	assert_int_equal(qtree_parse(text, &m, &error), 0);
	vmm_machine_done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
