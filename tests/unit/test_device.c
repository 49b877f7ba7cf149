/* Tests a port's device strings: which are accepted or refused, and which defaults are added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "port/device.h"

static void test_good(void **state)
{
	struct device device;

	(void)state;
	assert_int_equal(device_parse("net_af_packet0,iface=bk0", &device), 0);
	assert_int_equal(device.kind, DEVICE_AF_PACKET);
	assert_string_equal(device.name, "net_af_packet0");
	assert_string_equal(device.interface, "bk0");
	assert_string_equal(device.args,
			    "iface=bk0,blocksz=65536,framesz=2048,framecnt=4096");

	assert_int_equal(device_parse("net_af_packet1,framecnt=64,iface=a", &device), 0);
	assert_string_equal(device.args, "framecnt=64,iface=a,blocksz=65536,framesz=2048");

	assert_int_equal(device_parse("net_af_xdp0,iface=bk0", &device), 0);
	assert_int_equal(device.kind, DEVICE_AF_XDP);
	assert_string_equal(device.args, "iface=bk0,busy_budget=0");

	assert_int_equal(device_parse("net_null0", &device), 0);
	assert_int_equal(device.kind, DEVICE_VDEV_OTHER);
	assert_string_equal(device.args, "");

	assert_int_equal(device_parse("0000:3b:00.0", &device), 0);
	assert_int_equal(device.kind, DEVICE_PCI);
	assert_string_equal(device.name, "0000:3b:00.0");
}

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} rows[] = {
		{ "", -EINVAL },
		{ "bk0", -EINVAL },
		{ "net_af_packet0", -EINVAL },
		{ "net_af_packet0,iface=", -EINVAL },
		{ "net_af_packet0,xiface=bk0", -EINVAL },
		{ "net_af_packet0,iface=abcdefghijklmnop", -EINVAL }, /* 16 characters: too long */
		{ "3b:00.0", -EINVAL },
		{ "0000:3g:00.0", -EINVAL },
	};
	struct device device;
	char large[400];
	size_t i;

	(void)state;
	memset(&device, 0x5a, sizeof(device));
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(device_parse(rows[i].text, &device), rows[i].rc);
	memset(large, 'x', sizeof(large) - 1);
	large[sizeof(large) - 1] = 0;
	memcpy(large, "net_", 4);
	assert_int_equal(device_parse(large, &device), -E2BIG);
	memcpy(large, "net_af_xdp0,iface=a,", 20);
	assert_int_equal(device_parse(large, &device), -E2BIG);
	large[20 + 240] = 0; /* fits alone, but not with the defaults */
	assert_int_equal(device_parse(large, &device), -E2BIG);
	assert_int_equal(((unsigned char *)&device)[0], 0x5a); /* untouched on failure */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
