/* Tests the command line of a rehearsal: a QEMU with the same machine as the warm QEMU, but without
 * any shared resources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "standby/rehearse.h"

/* Turn the command line @text into the command line of a rehearsal. Write the rehearsal's arguments
 * to @ret, with spaces between them. */
static void rehearsed_with(const char *text, bool is_standby, enum rehearse_ram ram, char *ret,
			   size_t size)
{
	struct cmdline warm, own;
	struct error error;
	size_t used = 0;

	assert_int_equal(cmdline_parse(text, &warm, &error), 0);
	if (is_standby)
		assert_int_equal(cmdline_add_standby(&warm, "/s/ram", "/r/v.standby.qmp",
						     "/r/v.standby.pid"),
				 0);
	assert_int_equal(rehearse_words(&warm, "/r/v,1.qmp", "/r/v.pid", ram, &own), 0);
	assert_int_equal(own.ram_bytes, warm.ram_bytes);
	for (size_t i = 0; i < own.n_words; i++)
		used += (size_t)snprintf(ret + used, size - used, "%s%s", i ? " " : "",
					 own.words[i]);
	cmdline_done(&own);
	cmdline_done(&warm);
}

static void rehearsed(const char *text, bool is_standby, char *ret, size_t size)
{
	rehearsed_with(text, is_standby, REHEARSE_VIEW, ret, size);
}

static void test_options(void **state)
{
	static const struct {
		/* the expected command line, without its last arguments, which are always the
		 * same */
		const char *text, *want;
	} rows[] = {
		{"-netdev tap,id=n0,ifname=tap0,script=no -device e1000,netdev=n0",
		 "-netdev tap,ifname=hfr%d,script=no,downscript=no,id=n0 -device e1000,netdev=n0"},
		{"-netdev socket,id=a,connect=:1 -netdev tap,ifname=t,id=b,vnet_hdr=off",
		 "-netdev hubport,hubid=100,id=a -netdev "
		 "tap,ifname=hfr%d,script=no,downscript=no,id=b,vnet_hdr=off"},
		{"-netdev user,id=u,hostfwd=tcp::22-:22", "-netdev user,restrict=on,id=u"},
		{"-nic tap,model=virtio-net-pci,mac=52:54:00:00:00:01,ifname=tap0",
		 "-nic tap,ifname=hfr%d,script=no,downscript=no,model=virtio-net-pci,"
		 "mac=52:54:00:00:00:01"},
		{"-nic none", "-nic none"},
		{"-chardev socket,path=/a,,id=x,id=look,server=on -mon chardev=look,mode=control",
		 "-chardev null,id=look"},
		{"-serial file:/var/log/x -serial chardev:c -serial none",
		 "-serial null -serial chardev:c -serial none"},
		{"--vnc :1 -s -display gtk -monitor stdio -D /x -gdb tcp::1", "-display none"},
		{"-audiodev pa,id=snd -smp 2 -drive file=/a,if=none",
		 "-audiodev none,id=snd -smp 2 -drive file=/a,if=none"},
		{"-overcommit mem-lock=on -name a", "-name a"},
		{"-object rng-random,id=r -name a,b", "-object rng-random,id=r -name a,b"},
	};
	char text[1024], want[1024], got[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "q -m 64 %s", rows[i].text);
		snprintf(want, sizeof(want), "q -m 64 %s -display none", rows[i].want);
		rehearsed(text, false, got, sizeof(got));
		assert_string_equal(got, want);
	}
}

static void test_own_words(void **state)
{
	char got[2048];

	(void)state;
	rehearsed("q -m 64", true, got, sizeof(got));
	assert_non_null(strstr(got, "mem-path=/s/ram,share=off,prealloc=off"));
	assert_non_null(strstr(got, "-qmp unix:/r/v,,1.qmp,server=on,wait=off -pidfile /r/v.pid"));
	assert_non_null(strstr(got, "-S -incoming defer"));
	assert_null(strstr(got, "standby"));
}

/* The QEMU of a drill has its RAM file at the same path as the warm QEMU, but it is a different
 * file. */
static void test_drill(void **state)
{
	char got[2048];

	(void)state;
	rehearsed_with("q -m 64 -nic tap,ifname=t", true, REHEARSE_SAME_RAM, got, sizeof(got));
	assert_non_null(strstr(got, "mem-path=/s/ram,share=on,prealloc=off"));
	assert_non_null(strstr(got, "-nic tap,ifname=hfr%d"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_own_words),
		cmocka_unit_test(test_drill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
