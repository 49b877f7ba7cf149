/* test_standby_output.c - tests which part of the output of a QEMU that failed to start is
 * reported. The outputs in this test are from QEMU 7.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "standby/output.h"
#include "wire/text.h"

#define QEMU  "qemu-system-x86_64: "
#define WARNS QEMU "warning: TCG doesn't support requested feature: CPUID."

static void test_qemu(void **state)
{
	static const struct {
		const char *output, *cause;
	} rows[] = {
		{"", ""},
		{"\n \n", ""},
		{QEMU "-device nosuch: 'nosuch' is not a valid device model name\n",
		 QEMU "-device nosuch: 'nosuch' is not a valid device model name"},
		{QEMU "unsupported machine type\nUse -machine help to list supported machines\n",
		 QEMU "unsupported machine type | Use -machine help to list supported machines"},
		{QEMU "Not a migration stream\n" QEMU
		 "load of migration failed: Invalid argument",
		 QEMU "Not a migration stream | " QEMU
		 "load of migration failed: Invalid argument"},
		{WARNS "01H:ECX.pcid [bit 17]\n" WARNS "01H:ECX.x2apic [bit 21]\n" QEMU
		 "-device nosuch: 'nosuch' is not a valid device model name\n",
		 QEMU "-device nosuch: 'nosuch' is not a valid device model name"},
		/* in a rehearsal, the network cards are not connected on purpose, so this warning
		 * is left out */
		{QEMU "warning: hub 0 is not connected to host network\n" QEMU "Unknown savevm "
		 "section or instance 'x' 0\n" QEMU "load of migration failed: Invalid argument\n",
		 QEMU "Unknown savevm section or instance 'x' 0 | " QEMU
		 "load of migration failed: Invalid argument"},
		/* only warnings, because QEMU was killed */
		{WARNS "01H:ECX.pcid [bit 17]\n" WARNS "01H:ECX.x2apic [bit 21]\n" WARNS
		 "07H:EBX.hle [bit 4]\n",
		 WARNS "01H:ECX.pcid [bit 17] | ... | " WARNS "07H:EBX.hle [bit 4]"},
		/* a failed assertion of GLib */
		{"**\nERROR:../x.c:12:f: assertion failed: (a)\nBail out! ERROR:../x.c:12:f\n",
		 "ERROR:../x.c:12:f: assertion failed: (a) | Bail out! ERROR:../x.c:12:f"},
		{"first\r\n\tsecond\nthird\n\n", "first | ... | third"},
		{"the same\nother\nthe same\n", "the same"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char output[1024], text[601];

		strcpy(output, rows[i].output);
		output_cause(output, strlen(output), text, sizeof(text));
		assert_string_equal(text, rows[i].cause);
		assert_true(wire_text_is_valid(text));
	}
}

/* The output's two lines are each longer than the whole room. The first line gets two thirds of the
 * room, and "..." shows that each was cut. */
static void test_bounds(void **state)
{
	char output[4096], text[301];

	(void)state;
	memset(output, 'a', 1000);
	output[0] = 'c';
	output[1000] = '\n';
	memset(output + 1001, 'b', 1000);
	output_cause(output, 2001, text, sizeof(text));
	assert_int_equal(strlen(text), 300);
	assert_int_equal(text[0], 'c');
	assert_ptr_equal(strstr(text, "aaa... | bbb"), text + 193);
	assert_string_equal(text + 294, "bbb...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qemu),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
