/* Tests rewrite, which makes the standby's QEMU command from the primary's. Covers the options, all
 * forms of disks, --map, and the obstacles that rewrite reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "inspect/option.h"
#include "inspect/rewrite.h"

#define WORDS_MAX 64

static struct vmm_info info = {.machine = "pc-i440fx-7.2", .ram_bytes = 64 << 20};
static struct vmm_disks disks = {
	.n = 2,
	.disks =
		{{.name = "root", .source = "root", .node = "root-image", .file = "/i/a.qcow2"},
		 {.name = "virtio0", .source = "virtio0", .node = "#block1", .file = "/i/b,c.raw"}},
};
static struct vmm_disks no_disks;
/* What a manager passed to QEMU: a socket, and a log file. */
static const struct descriptors descriptors = {
	.n = 2, .list = {{31, -1, "/run/m/chan.sock"}, {6, 7, "/var/log/m/serial.log"}}};
static struct vmm_obstacles obstacles;
static struct vmm_taps taps = {.n = 1, .taps = {{.name = "tap7", .fd = 12}}};

/* Rewrite @text, whose words are separated by '|'. Returns the standby's words, joined by '|' and
 * without the program, or the first obstacle. The caller frees the text. */
static char *rewritten(const char *text, const struct vmm_disks *with, struct rewrite_map *maps,
		       size_t n_maps)
{
	AUTO_FREE char *copy = strdup(text);
	char *words[WORDS_MAX] = {"qemu"}, *result = NULL, *save;
	struct rewrite_input input = {
		.words = words,
		.n_words = 1,
		.program = "/usr/bin/qemu",
		.cwd = "/vm",
		.descriptors = &descriptors,
		.own_dir = "/dev/shm/holdfast/vm",
		.taps = &taps,
		.info = &info,
		.disks = with,
		.maps = maps,
		.n_maps = n_maps,
	};
	struct rewrite rewrite;
	size_t size;
	FILE *out;

	for (char *word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save))
		words[input.n_words++] = word;
	memset(&obstacles, 0, sizeof(obstacles));
	assert_int_equal(rewrite_make(&input, &rewrite, &obstacles), 0);
	if (obstacles.n > 0) {
		rewrite_done(&rewrite);
		return strdup(obstacles.items[0].text);
	}
	assert_string_equal(rewrite.command.words[0], "/usr/bin/qemu");
	out = open_memstream(&result, &size);
	for (size_t i = 1; i < rewrite.command.n_words; i++)
		fprintf(out, "%s%s", i > 1 ? "|" : "", rewrite.command.words[i]);
	fclose(out);
	rewrite_done(&rewrite);
	return result;
}

#define M	 "-machine|pc-i440fx-7.2|-m|64|"
#define TAP_TAIL ",script=no,downscript=no"

static void test_options(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		/* the standby's machine type is versioned */
		{"-M|pc|-m|64", "-machine|pc-i440fx-7.2|-m|64"},
		{"-m|64", "-m|64|-machine|pc-i440fx-7.2"},
		{"-nographic|-M|type=q35,accel=tcg|-machine|pc,usb=off|-m|64",
		 "-nographic|-machine|pc-i440fx-7.2,accel=tcg|-machine|usb=off|-m|64"},
		{"-M|pc", "-machine|pc-i440fx-7.2|-m|64M"},
		/* options that the agent sets itself are left out */
		{M "-qmp|unix:/q,server=on|-S|-daemonize|-pidfile|/"
		   "p|-incoming|defer|-snapshot|-loadvm|x|"
		   "-mem-path|/m|-mem-prealloc|-add-fd|fd=3,set=1|-cpu|max",
		 M "-cpu|max"},
		{"-M|pc,memory-backend=ram0|-m|64|-object|memory-backend-ram,id=ram0,size=64M",
		 "-machine|pc-i440fx-7.2|-m|64"},
		{M
		 "-object|{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"file\":\"/k\"}|-object|"
		 "iothread,id=t",
		 M "-object|iothread,id=t"},
		/* taps */
		{M "-netdev|tap,id=n,ifname=tap7", M "-netdev|tap,id=n,ifname=tap7" TAP_TAIL},
		{M "-netdev|{\"type\":\"tap\",\"fd\":\"33\",\"vhost\":true,\"id\":\"n\"}",
		 M "-netdev|tap,vhost=on,id=n,ifname=tap7" TAP_TAIL},
		{M "-netdev|bridge,id=n,br=br0,helper=/h",
		 M "-netdev|tap,id=n,ifname=tap7" TAP_TAIL},
		{M "-nic|tap,model=virtio,script=/up",
		 M "-nic|tap,model=virtio,script=no,ifname=tap7,"
		   "downscript=no"},
		{M "-nic|none", M "-nic|none"},
		/* sockets and files */
		{M "-serial|file:con|-monitor|unix:/m,server",
		 M "-serial|file:/vm/con|-monitor|unix:/m,server"},
		{M "-serial|mon:stdio|-monitor|stdio", M "-serial|stdio"},
		{M "-kernel|vmlinuz|-bios|b.bin|-append|a 'b'",
		 M "-kernel|/vm/vmlinuz|-bios|b.bin|-append|a 'b'"},
		{M "-chardev|socket,id=mon0,fd=5,server=on|-mon|chardev=mon0,mode=control", M},
		/* Descriptors whose path is known are replaced by the path. The log of fdset 4 is a
		 * pipe to a daemon, so it has no path. */
		{M "-chardev|socket,id=chan,fd=31,server=on",
		 M "-chardev|socket,id=chan,server=on,path=/dev/shm/holdfast/vm/chan,wait=off"},
		{M "-add-fd|set=7,fd=33|-chardev|file,id=s,path=/dev/fdset/7",
		 M "-chardev|file,id=s,path=/var/log/m/serial.log"},
		{M "-add-fd|set=4,fd=35|-chardev|pty,id=s,logfile=/dev/fdset/4,logappend=on",
		 M "-chardev|pty,id=s"},
		{M "-chardev|socket,id=look,path=/l,server=on|-mon|chardev=look",
		 M "-chardev|socket,id=look,path=/l,server=on|-mon|chardev=look"},
		{M "-device|{\"driver\":\"e1000\",\"id\":\"a\",\"bootindex\":1}",
		 M "-device|{\"driver\":\"e1000\",\"id\":\"a\",\"bootindex\":1}"},
		/* read-only media */
		{M "-cdrom|/iso|-drive|if=ide,media=cdrom|-drive|file=cd,readonly=on",
		 M "-cdrom|/iso|-drive|if=ide,media=cdrom|-drive|file=/vm/cd,readonly=on"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_FREE char *out = rewritten(rows[i].in, &no_disks, NULL, 0);
		size_t size = strlen(rows[i].out);

		/* M ends with a separator */
		if (size > 0 && rows[i].out[size - 1] == '|')
			size--;
		if (strlen(out) != size || strncmp(out, rows[i].out, size) != 0)
			fail_msg("%s\n gave %s\n not  %s", rows[i].in, out, rows[i].out);
	}
}

static void test_disks(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"-drive|id=root,file=/i/"
		 "a.qcow2,format=qcow2,if=none,l2-cache-size=1M,discard=unmap|-drive|"
		 "file=/i/b,,c.raw,if=virtio,snapshot=on",
		 "-drive|id=root,file=/s/root,format=raw,if=none,discard=unmap|-drive|"
		 "file=/i/b,,c.raw,if=virtio,format=raw"},
		{"-drive|driver=qcow2,id=root,file.driver=file,file.filename=/i/a.qcow2|-hdb|/i/"
		 "b,c.raw",
		 "-drive|id=root,file=/s/root,format=raw|-drive|media=disk,index=1,file=/i/"
		 "b,,c.raw,"
		 "format=raw"},
		{"-blockdev|{\"driver\":\"file\",\"filename\":\"/i/"
		 "a.qcow2\",\"node-name\":\"f\",\"cache\":{\"direct\":"
		 "true}}|-blockdev|driver=qcow2,node-name=root-image,file=f,backing=base,lazy-"
		 "refcounts=on|"
		 "-blockdev|file,node-name=bf,filename=/"
		 "base|-blockdev|qcow2,node-name=base,file=bf|"
		 "-blockdev|file,node-name=iso,filename=/iso,read-only=on|/i/b,c.raw",
		 "-blockdev|driver=file,filename=/s/root,node-name=f,cache.direct=on|"
		 "-blockdev|driver=raw,node-name=root-image,file=f|"
		 "-blockdev|driver=file,node-name=iso,filename=/iso,read-only=on|"
		 "-drive|media=disk,index=0,file=/i/b,,c.raw,format=raw"},
	};
	struct rewrite_map maps[] = {{.name = "root", .there = "/s/root"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *out = NULL;

		assert_true(asprintf(&text, M "%s", rows[i].in) > 0);
		out = rewritten(text, &disks, maps, 1);
		if (strncmp(out, M, strlen(M)) != 0)
			fail_msg("%s", out);
		assert_string_equal(out + strlen(M), rows[i].out);
		assert_true(maps[0].is_used);
	}
}

/* The operator wants a qcow2 image for the standby. */
static void test_qcow2(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"-drive|id=root,file=/i/a.qcow2,format=qcow2,if=none",
		 "-drive|id=root,file=/s/root,format=qcow2,if=none"},
		{"-drive|id=root,file=/i/a.qcow2,if=none",
		 "-drive|id=root,file=/s/root,if=none,format=qcow2"},
		{"-blockdev|file,node-name=f,filename=/i/a.qcow2|-blockdev|raw,node-name=root-"
		 "image,file=f",
		 "-blockdev|driver=file,node-name=f,filename=/s/root|-blockdev|driver=qcow2,node-"
		 "name=root-image,file=f"},
		{"-blockdev|vmdk,node-name=root-image,file.driver=file,file.filename=/i/a.qcow2",
		 "-blockdev|driver=qcow2,node-name=root-image,file.driver=file,file.filename=/s/"
		 "root"},
	};
	struct rewrite_map maps[] = {{.name = "root", .there = "qcow2:/s/root"}};
	struct vmm_disks root = {.n = 1, .disks = {disks.disks[0]}};
	AUTO_FREE char *fault = rewritten(
		M "-blockdev|file,node-name=root-image,filename=/i/a.qcow2", &root, maps, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *out = NULL;

		assert_true(asprintf(&text, M "%s", rows[i].in) > 0);
		out = rewritten(text, &root, maps, 1);
		if (strncmp(out, M, strlen(M)) != 0)
			fail_msg("%s", out);
		assert_string_equal(out + strlen(M), rows[i].out);
	}
	assert_non_null(strstr(fault, "no block node with a format"));
}

static void test_maps(void **state)
{
	struct rewrite_map maps[] = {
		{.name = "tap7", .there = "tap9"},  {.name = "/dev/fdset/2", .there = "/con"},
		{.name = "chan", .there = "/chan"}, {.name = "127.0.0.1:1", .there = "0.0.0.0:1"},
		{.name = "vmlinuz", .there = "/k"}, {.name = "unused", .there = "/x"}};
	AUTO_FREE char *out = rewritten(M "-netdev|tap,id=n,fd=3|-serial|file:/dev/fdset/"
					  "2|-chardev|socket,id=chan,fd=4,server=on|"
					  "-vnc|127.0.0.1:1|-kernel|vmlinuz",
					&no_disks, maps, ARRAY_SIZE(maps));

	(void)state;
	assert_string_equal(
		out, M "-netdev|tap,id=n,ifname=tap9" TAP_TAIL "|-serial|file:/con|-chardev|"
		       "socket,id=chan,server=on,path=/chan,wait=off|-vnc|0.0.0.0:1|-kernel|/k");
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		assert_int_equal(maps[i].is_used, i != 5);
}

/* The primary's file needs absolute paths, even if QEMU was started with relative ones. */
static void test_images(void **state)
{
	char *words[] = {"qemu", "-M", "pc", "-m", "64", "-hda", "disk.raw"};
	struct rewrite_map maps[] = {{.name = "hd", .there = "/s/hd"}};
	struct vmm_disks one = {.n = 1,
				.disks = {{.name = "hd", .source = "hd", .file = "disk.raw"}}};
	struct rewrite_input input = {
		.words = words,
		.n_words = ARRAY_SIZE(words),
		.program = "/usr/bin/qemu",
		.cwd = "/vm",
		.own_dir = "/dev/shm/holdfast/vm",
		.taps = &taps,
		.info = &info,
		.disks = &one,
		.maps = maps,
		.n_maps = 1,
	};
	struct rewrite rewrite;

	(void)state;
	memset(&obstacles, 0, sizeof(obstacles));
	assert_int_equal(rewrite_make(&input, &rewrite, &obstacles), 0);
	assert_int_equal(obstacles.n, 0);
	assert_string_equal(rewrite.image_here[0], "/vm/disk.raw");
	assert_string_equal(rewrite.image_there[0], "/s/hd");
	rewrite_done(&rewrite);
}

static void test_block_device(void **state)
{
	struct rewrite_map maps[] = {{.name = "root", .there = "/dev/vg/root"}};
	struct vmm_disks one = disks;
	AUTO_FREE char *out = NULL;

	(void)state;
	one.n = 1;
	out = rewritten(M "-blockdev|file,node-name=f,filename=/i/"
			  "a.qcow2|-blockdev|qcow2,node-name=root-image,file=f",
			&one, maps, 1);
	assert_string_equal(out, M "-blockdev|driver=host_device,node-name=f,filename=/dev/vg/root|"
				   "-blockdev|driver=raw,node-name=root-image,file=f");
}

static void test_obstacles(void **state)
{
	static const struct {
		const char *in, *obstacle;
		bool has_disks;
	} rows[] = {
		{"-numa|node", "start the guest without NUMA", false},
		{"-readconfig|/f", "its content is not read", false},
		{"-object|memory-backend-file,id=d,mem-path=/x", "of type ram or memfd", false},
		{"-serial|file:/dev/fdset/2", "--map /dev/fdset/2=PATH", false},
		{"-chardev|socket,id=chan,fd=4", "--map chan=PATH", false},
		{"-netdev|socket,id=n,listen=:1", "cannot be held", false},
		{"-blockdev|{\"driver\":null}", "cannot be carried over", false},
		{"-cpu|max", "disk root (/i/a.qcow2) is writable, but no option", true},
		{"-drive|id=root,file=nbd://h/x", "no file or block device of this host", true},
		{"-drive|id=root,file=/i/a.qcow2,format=luks", "has the format luks", true},
		{"-blockdev|nbd,node-name=root-image,export=x", "has the block driver nbd", true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *out = NULL;

		assert_true(asprintf(&text, M "%s", rows[i].in) > 0);
		out = rewritten(text, rows[i].has_disks ? &disks : &no_disks, NULL, 0);
		if (!strstr(out, rows[i].obstacle))
			fail_msg("%s\n gave %s\n not  %s", rows[i].in, out, rows[i].obstacle);
	}
	/* all obstacles are reported at once */
	free(rewritten(M "-numa|node|-readconfig|/f|-object|memory-backend-file,id=d,size=1G",
		       &disks, NULL, 0));
	assert_int_equal(obstacles.n, 5);
}

/* The standby's parser must read back every printed word unchanged, whatever characters it
 * contains. */
static void test_print(void **state)
{
	static const char *const words[] = {
		"/usr/bin/q", "-append", "a b='c' \"d\" $e #f", "-x", "", "-m", "64", "a\nb"};
	struct cmdline command = {0}, read;
	struct error error;
	AUTO_FREE char *text = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_int_equal(cmdline_add(&command, words[i]), 0);
	text = rewrite_print(&command);
	assert_non_null(text);
	assert_int_equal(cmdline_parse(text, &read, &error), 0);
	assert_true(cmdline_is_same(&command, &read));
	assert_non_null(strstr(text, "\\\n\t-append "));
	cmdline_done(&command);
	cmdline_done(&read);
}

static void test_option(void **state)
{
	struct option_list list;
	AUTO_FREE char *text = NULL;

	(void)state;
	assert_int_equal(option_parse("tap,a=1,,2,flag,b=x,b=y,c.d=on", "type", &list), 0);
	assert_string_equal(option_get(&list, "type"), "tap");
	assert_string_equal(option_get(&list, "a"), "1,2");
	assert_string_equal(option_get(&list, "b"), "y");
	assert_null(option_get(&list, "c"));
	assert_true(option_is_on(&list, "c.d"));
	option_drop(&list, "c.");
	option_set(&list, "a", ",");
	option_set(&list, "new", "z");
	text = option_print(&list);
	assert_string_equal(text, "type=tap,a=,,,flag,b=x,b=y,new=z");
	option_done(&list);
	option_done(&list);
}

/* Each back end keeps its tap: by name, or by the descriptor that a manager passed to QEMU. */
static void test_several_taps(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{M "-netdev|tap,id=n,ifname=tap8|-netdev|tap,id=m,ifname=tap7",
		 M "-netdev|tap,id=n,ifname=db1" TAP_TAIL "|-netdev|tap,id=m,ifname=tap7" TAP_TAIL},
		{M "-netdev|tap,id=n,fd=12|-netdev|{\"type\":\"tap\",\"fd\":\"31\",\"id\":\"m\"}",
		 M "-netdev|tap,id=n,ifname=tap7" TAP_TAIL "|-netdev|tap,id=m,ifname=db1" TAP_TAIL},
		{M "-netdev|tap,id=n,fd=13|-netdev|tap,id=m,ifname=tap7",
		 "-netdev tap,id=n,fd=13: it is not known which of the guest's taps it has; start "
		 "the guest with ifname=TAP in it"},
		{M "-netdev|tap,id=n,ifname=tap7|-netdev|tap,id=m,ifname=tap7",
		 "QEMU command: -netdev tap,id=m,ifname=tap7,script=no,downscript=no: its tap tap7 "
		 "is that of another card, too; write another of the taps in the VM's file"},
	};
	const struct vmm_taps one = taps;

	(void)state;
	taps = (struct vmm_taps){
		.n = 2, .taps = {{.name = "tap7", .fd = 12}, {.name = "tap8", .fd = 31}}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rewrite_map maps[] = {{.name = "tap8", .there = "db1"}};
		AUTO_FREE char *out = rewritten(rows[i].in, &no_disks, maps, 1);

		assert_string_equal(out, rows[i].out);
	}
	struct rewrite_map same[] = {{.name = "tap8", .there = "tap7"}};
	AUTO_FREE char *out = rewritten(rows[0].in, &no_disks, same, 1);

	assert_string_equal(out, "the standby's tap for tap8 cannot be 'tap7': give --map tap8=TAP "
				 "with a name of at most 15 characters that no other card has");
	taps = one;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options), cmocka_unit_test(test_disks),
		cmocka_unit_test(test_qcow2),
		cmocka_unit_test(test_maps),	cmocka_unit_test(test_block_device),
		cmocka_unit_test(test_images),	cmocka_unit_test(test_obstacles),
		cmocka_unit_test(test_print),	cmocka_unit_test(test_option),
		cmocka_unit_test(test_several_taps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
