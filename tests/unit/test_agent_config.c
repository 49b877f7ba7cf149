/* Tests agent.ini and the VM files: which are accepted, and what the refusals say. An error in one
 * VM's file affects only that VM. */
#include "config/agent_config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "codec/page.h"
#include "peer/agree.h"

static char dir[] = "/tmp/holdfast-agent-XXXXXX";
static char agent_path[64], vm_path[64], other_path[64], command_path[64];

#define AGENT_INI                                                                                  \
	"[agent]\ngateway = 198.18.1.3:7400\nca = /c\ncert = /d\nkey = /e\nvm_dir = %s/vms\n"

static void put(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(const char *path, const char *format, ...)
{
	FILE *file = fopen(path, "w");
	va_list args;

	assert_non_null(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static int setup(void **state)
{
	char vms[64];

	(void)state;
	snprintf(vms, sizeof(vms), "%s/vms", dir);
	mkdir(vms, 0700);
	snprintf(agent_path, sizeof(agent_path), "%s/agent.ini", dir);
	snprintf(vm_path, sizeof(vm_path), "%s/vms/web1.ini", dir);
	snprintf(other_path, sizeof(other_path), "%s/vms/web2.ini", dir);
	snprintf(command_path, sizeof(command_path), "%s/command", dir);
	put(agent_path, AGENT_INI, dir);
	put(command_path, "qemu-system-x86_64 -m 256\n");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /run/q\n");
	return 0;
}

static int teardown(void **state)
{
	char vms[64];

	(void)state;
	unlink(agent_path);
	unlink(vm_path);
	unlink(other_path);
	unlink(command_path);
	snprintf(vms, sizeof(vms), "%s/vms", dir);
	return rmdir(vms);
}

static void a_plain_pair_of_files(void **state)
{
	struct agent_config config;
	struct error error;

	(void)state;
	put(other_path,
	    "[vm]\nname = web2\ntap = tap1\nepoch_max_ms = 25\ncodec = xrle\nwitness_ms = "
	    "0\n[standby]\nstate_dir = /s\n"
	    "command_file = %s\n",
	    command_path);
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.gateway_text, "198.18.1.3");
	assert_int_equal(config.gateway.port, 7400);
	assert_int_equal(config.n_vms, 2);
	assert_string_equal(config.vms[0].name, "web1");
	assert_int_equal(config.vms[0].epoch_max_ns, 100000000);
	assert_int_equal(config.vms[1].epoch_max_ns, 25000000);
	assert_int_equal(config.vms[0].codec,
			 PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP | PAGE_FEATURE_DUP);
	assert_int_equal(config.vms[1].codec, PAGE_FEATURE_XRLE);
	assert_int_equal(config.vms[0].witness_ns, 10000000);
	assert_int_equal(config.vms[1].witness_ns, 0);
	assert_int_equal(config.vms[0].ram_verify_bytes_per_s, 8 << 20);
	assert_int_equal(config.vms[0].ram_verify_every_ns, UINT64_C(3600) * 1000000000);
	assert_int_equal(config.vms[0].fenced_guest, AGENT_FENCED_GUEST_KEEP);
	assert_int_equal(config.vms[0].fenced_guest_keep_s, 0);
	assert_int_equal(config.vms[0].copy_keep_s, 60);
	assert_string_equal(config.vms[1].command, "qemu-system-x86_64 -m 256\n");
	agent_config_done(&config);
}

static void a_fenced_guest_may_be_ended(void **state)
{
	struct agent_config config;
	struct error error;

	(void)state;
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\nfenced_guest = end\n"
		     "fenced_guest_keep_s = 86400\ncopy_keep_s = 5\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.vms[0].fenced_guest, AGENT_FENCED_GUEST_END);
	assert_int_equal(config.vms[0].fenced_guest_keep_s, 86400);
	assert_int_equal(config.vms[0].copy_keep_s, 5);
	agent_config_done(&config);
}

static void expect_refused(int expected, const char *part)
{
	struct agent_config config;
	struct error error;
	int r = agent_config_load(agent_path, &config, &error);

	assert_int_equal(r, expected);
	if (!strstr(error.text, part))
		fail_msg("'%s' does not name '%s'", error.text, part);
}

/* Check that the file is refused: its VM is listed with a fault that has the text @part, and the
 * other VMs are not affected. If @part is "", check that there is no fault. */
static void expect_fault(const char *name, const char *part)
{
	struct agent_config config;
	struct error error;

	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.n_vms, 2);
	assert_string_equal(config.vms[0].name, name);
	if (!strstr(config.vms[0].fault, part) || !*part != !*config.vms[0].fault)
		fail_msg("'%s' does not name '%s'", config.vms[0].fault, part);
	assert_string_equal(config.vms[1].name, "web2");
	assert_string_equal(config.vms[1].fault, "");
	assert_string_equal(config.vms[1].qmp, "/q2");
	agent_config_done(&config);
}

/* Check that only drills are refused, because a key that only drills need is wrong: the VM has no
 * fault, and its drill_fault has the text @part. */
static void expect_drill_fault(const char *part)
{
	struct agent_config config;
	struct error error;

	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	if (!strstr(config.vms[0].drill_fault, part))
		fail_msg("'%s' does not name '%s'", config.vms[0].drill_fault, part);
	agent_config_done(&config);
}

static void faults_name_the_place(void **state)
{
	(void)state;
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqpm = /run/q\n");
	expect_fault("web1", "web1.ini:4");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /run/q\nfenced_guest = quit\n");
	expect_fault("web1", "web1.ini:5");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /run/q\nfenced_guest_keep_s = 1d\n");
	expect_fault("web1", "web1.ini:5");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /run/q\ncodec = gzip\n");
	expect_fault("web1", "web1.ini:5");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /run/q\nwitness_ms = 1001\n");
	expect_fault("web1", "web1.ini:5");
	put(vm_path, "[vm]\nname = Web1\ntap = tap0\nqmp = /run/q\n");
	expect_fault("web1", "web1.ini:2");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\n");
	expect_fault("web1", "neither [vm] qmp nor [standby] state_dir");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\n[standby]\nstate_dir = /s\n");
	expect_fault("web1", "command_file");
	put(vm_path,
	    "[vm]\nname = web1\ntap = tap0\nqmp = /q\nepoch_min_ms = 50\nepoch_max_ms = 20\n");
	expect_fault("web1", "epoch_max_ms must not be below");
}

/* `tap` lists one tap for each network card of the guest. */
static void taps_are_a_list(void **state)
{
	static const struct {
		const char *value, *fault;
	} rows[] = {
		{"tap0 sixteen--letters", "web1.ini: tap: 'tap0 sixteen--letters' is no name of a"},
		{"tap0 tap1 tap0", "web1.ini: tap: a tap is named twice"},
		{"1 2 3 4 5 6 7 8 9", "web1.ini: tap: more than 8 taps"},
	};
	struct agent_config config;
	struct error error;

	(void)state;
	put(vm_path, "[vm]\nname = web1\ntap = tap-web1 tap-db1\nqmp = /q\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_int_equal(config.vms[0].taps.n, 2);
	assert_string_equal(config.vms[0].taps.name[0], "tap-web1");
	assert_string_equal(config.vms[0].taps.name[1], "tap-db1");
	agent_config_done(&config);
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put(vm_path, "[vm]\nname = web1\ntap = %s\nqmp = /q\n", rows[i].value);
		expect_fault("web1", rows[i].fault);
	}
}

#define STANDBY "[standby]\nstate_dir = /s\ncommand_file = /c\n"

static void a_disk_log_is_on_a_disk(void **state)
{
	static const char begin[] = "[vm]\nname = web1\ntap = tap0\ndisks = vda:/dev/vda\n";
	struct agent_config config;
	struct error error;

	(void)state;
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	put(vm_path, "%s" STANDBY, begin);
	expect_fault("web1", "the first of the disks is a block device: set [standby] disk_log");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\ndisks = vda:/dev/shm/x.raw\n" STANDBY);
	expect_fault("web1", ""); /* accepted: this path in /dev is a file, not a device */
	put(vm_path, "%sdisk_durability = ram\n" STANDBY, begin);
	expect_fault("web1", "disk_durability");
	put(vm_path, "%sdisk_durability = both\ndisk_flushes = outside\n" STANDBY, begin);
	expect_fault("web1", "disk_durability = both needs disk_flushes = in-pause");
	put(vm_path, "%sdisk_durability = memory\n" STANDBY, begin);
	expect_fault("web1", "");
	put(vm_path, "%sdisk_durability = both\n" STANDBY
		     "disk_log = /var/lib/log\ndisk_log_bytes = 1M\n", begin);
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.vms[0].disk_durability, AGENT_DURABILITY_BOTH);
	assert_string_equal(config.vms[0].disk_log, "/var/lib/log");
	assert_int_equal(config.vms[0].disk_log_bytes, 1 << 20);
	agent_config_done(&config);
}

static void disks_are_pairs_of_name_and_path(void **state)
{
	struct agent_config config;
	struct error error;
	char line[160] = "";

	(void)state;
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n"
		     "disks = vda:/a.raw \t drive-1:/dev/b:c \n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_int_equal(config.vms[0].n_disks, 2);
	assert_string_equal(config.vms[0].disk[0].name, "vda");
	assert_string_equal(config.vms[0].disk[0].path, "/a.raw");
	assert_string_equal(config.vms[0].disk[1].name, "drive-1");
	assert_string_equal(config.vms[0].disk[1].path, "/dev/b:c");
	assert_false(config.vms[0].disk[0].is_qcow2);
	assert_int_equal(config.vms[1].n_disks, 0);
	assert_int_equal(config.vms[0].disk_durability, AGENT_DURABILITY_STANDBY);
	assert_string_equal(config.vms[0].disk_log, "");
	assert_int_equal(config.vms[0].disk_log_bytes, 256 << 20);
	agent_config_done(&config);
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n"
		     "disks = vda:qcow2:/a.qcow2 vdb:raw:/b\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_true(config.vms[0].disk[0].is_qcow2);
	assert_string_equal(config.vms[0].disk[0].path, "/a.qcow2");
	assert_false(config.vms[0].disk[1].is_qcow2);
	assert_string_equal(config.vms[0].disk[1].path, "/b");
	agent_config_done(&config);
#define WRONG(value, says)                                                                         \
	do {                                                                                       \
		put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\ndisks = %s\n", value);     \
		expect_fault("web1", says);                                                        \
	} while (0)
	WRONG("vda", "web1.ini: disks: vda is no NAME:PATH");
	WRONG("vda:/a vdb:", "disks: vdb: is no NAME:PATH");
	WRONG(":/a", "disks: :/a is no NAME:PATH");
	WRONG("/machine/x:/a", "disks: /machine/x:/a is no NAME:PATH");
	WRONG("vda:a.raw", "vda:a.raw is no NAME:PATH");
	WRONG("vda:qcow2:", "vda:qcow2: is no NAME:PATH");
	WRONG("vda:qcow2:a", "vda:qcow2:a is no NAME:PATH");
	WRONG("vda:vmdk:/a", "vda:vmdk:/a is no NAME:PATH or NAME:qcow2:PATH");
	WRONG("vda:/a vdb:qcow2:/a", "vdb:qcow2:/a has the name or the path");
	WRONG("vda:/a vdb:/b vda:/c", "vda:/c has the name or the path of a disk before it");
	WRONG("vda:/a vdb:/a", "vdb:/a has the name or the path");
	for (char disk = 'a'; disk <= 'q'; disk++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%c:/%c ", disk, disk);
	WRONG(line, "disks: more than 16");
	WRONG("abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz-abcdefghij:/a", "is no NAME");
#undef WRONG
}

/* A VM's file may name the maximum number of disks, each on a line of the maximum length. */
static void many_disks_take_a_line_each(void **state)
{
	char text[8192] = "[vm]\nname = web1\ntap = tap0\nqmp = /q\n";
	struct agent_config config;
	struct error error;
	char path[181];

	(void)state;
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	path[0] = '/';
	for (char disk = 'a'; disk <= 'p'; disk++) {
		path[1] = disk;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "disks = dsk%c:%s\n",
			 disk, path);
	}
	put(vm_path, "%s", text);
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_int_equal(config.vms[0].n_disks, WIRE_DISKS_MAX);
	assert_string_equal(config.vms[0].disk[0].name, "dska");
	assert_string_equal(config.vms[0].disk[WIRE_DISKS_MAX - 1].path, path);
	agent_config_done(&config);
	put(vm_path, "%sdisks = one:/more\n", text);
	expect_fault("web1", "disks: more than 16");
	put(vm_path, "%sdisks = one:/much%s\n", text, path);
	expect_fault("web1", "line of 197 bytes, expected at most 196; a list may have several");
}

static void a_missing_command_hinders_only_the_standby(void **state)
{
	struct agent_config config;
	struct error error;

	(void)state;
	put(vm_path,
	    "[vm]\nname = web1\ntap = tap0\nqmp = /q\n[standby]\nstate_dir = /s\ncommand_file = "
	    "/none\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_non_null(
		strstr(config.vms[0].standby_fault, "web1.ini: command_file /none: No such file"));
	assert_string_equal(config.vms[0].qmp, "/q");
	assert_null(config.vms[0].command);
	agent_config_done(&config);
}

/* If two VMs' files name the same tap, disk or other resource of the agent, both files are
 * refused. */
static void of_two_files_with_one_thing_neither_counts(void **state)
{
	static const struct {
		const char *web1, *web2, *fault;
	} rows[] = {
		{"tap = t0 t1\nqmp = /q1\n", "tap = t2 t1\nqmp = /q2\n", "the same tap, t1"},
		{"tap = t0\nqmp = /q1\n", "tap = t1\nqmp = /q1\n", "the same qmp, /q1"},
		{"tap = t0\nqmp = /q1\ndisks = a:/d1 b:/d2\n",
		 "tap = t1\nqmp = /q2\ndisks = a:/d3 c:/d2\n", "the same disk, /d2"},
		{"tap = t0\n[standby]\nstate_dir = /s\ncommand_file = /c\n",
		 "tap = t1\n[standby]\nstate_dir = /s\ncommand_file = /e\n",
		 "the same state_dir, /s"},
		{"tap = t0\nqmp = /q1\ndisks = a:/d1\n", "tap = t1\nqmp = /q2\ndisks = a:/d2\n",
		 NULL},
	};
	struct agent_config config;
	struct error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put(vm_path, "[vm]\nname = web1\n%s", rows[i].web1);
		put(other_path, "[vm]\nname = web2\n%s", rows[i].web2);
		assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
		assert_int_equal(config.n_vms, 2);
		for (int k = 0; k < 2; k++) {
			if (!rows[i].fault)
				assert_string_equal(config.vms[k].fault, "");
			else if (!strstr(config.vms[k].fault, rows[i].fault))
				fail_msg("%s: '%s'", rows[i].fault, config.vms[k].fault);
		}
		agent_config_done(&config);
	}
}

static void of_two_files_with_one_name_neither_counts(void **state)
{
	struct agent_config config;
	struct error error;

	(void)state;
	put(vm_path, "[vm]\nname = web3\ntap = tap0\nqmp = /q\n");
	put(other_path, "[vm]\nname = web3\ntap = tap1\nqmp = /q\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.n_vms, 2);
	assert_string_equal(config.vms[0].name, "web3");
	assert_string_equal(config.vms[1].name, "");
	for (int i = 0; i < 2; i++) {
		assert_non_null(strstr(config.vms[i].fault, "same name, web3"));
		assert_non_null(strstr(config.vms[i].fault, "web1.ini"));
		assert_non_null(strstr(config.vms[i].fault, "web2.ini"));
	}
	agent_config_done(&config);

	/* web1.ini is invalid, and web2.ini describes a VM named web1: web2.ini is used. */
	put(vm_path, "[vm]\nname = web1\n");
	put(other_path, "[vm]\nname = web1\ntap = tap1\nqmp = /q\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].name, "");
	assert_string_equal(config.vms[1].name, "web1");
	assert_string_equal(config.vms[1].fault, "");
	agent_config_done(&config);
}

static void a_missing_directory_is_named(void **state)
{
	(void)state;
	put(agent_path, "[agent]\ngateway = 198.18.1.3:7400\nca = /c\ncert = /d\nkey = /e\n"
			"vm_dir = /nowhere/vms\n");
	expect_refused(-ENOENT, "/nowhere/vms");
	put(agent_path, "[agent]\ngateway = 198.18.1.3\nca = /c\ncert = /d\nkey = /e\n");
	expect_refused(-EINVAL, "agent.ini:2");
}

static void the_other_host(void **state)
{
	static const char *const bad[] = {
		"198.18.1.2:7402",
		"@198.18.1.2:7402",
		"beta@198.18.1.2",
		"beta@198.18.1.2:",
		"beta@:7402",
		"beta@198.18.1.2:0",
		"beta@198.18.1.2:65536",
		"beta@198.18.1.2:7402x",
		"Beta@198.18.1.2:7402",
		"beta@198.18.1:7402",
		"beta@198.18.1.256:7402",
		"beta@a.host.of.many.letters:1",
		"beta@::1:7402",
	};
	struct agent_config config;
	struct error error;

	(void)state;
	put(agent_path, AGENT_INI "peer_listen = 198.18.1.1:7402\n", dir);
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\ngateway_lost = direct\n"
		     "gateway_lost_ms = 700\npeer = beta@198.18.1.2:7403\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.peer_listen_at.port, 7402);
	assert_int_equal(config.vms[0].gateway_lost, AGREE_DIRECT);
	assert_int_equal(config.vms[0].gateway_lost_ns, 700000000);
	assert_int_equal(config.vms[0].n_peers, 1);
	assert_string_equal(config.vms[0].peers[0].name, "beta");
	assert_string_equal(config.vms[0].peers[0].address, "198.18.1.2");
	assert_int_equal(config.vms[0].peers[0].port, 7403);
	agent_config_done(&config);
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\npeer = beta@198.18.1.2:7402  "
		     "gamma@198.18.1.4:7404\n"); /* with a spare */
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_int_equal(config.vms[0].n_peers, 2);
	assert_string_equal(config.vms[0].peers[0].name, "beta");
	assert_string_equal(config.vms[0].peers[1].name, "gamma");
	assert_string_equal(config.vms[0].peers[1].address, "198.18.1.4");
	assert_int_equal(config.vms[0].peers[1].port, 7404);
	agent_config_done(&config);
	put(other_path, "[vm]\nname = web2\ntap = tap1\nqmp = /q2\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\npeer = %s\n", bad[i]);
		expect_fault("web1", "is no NAME@ADDRESS:PORT");
	}
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n"
		     "peer = a@198.18.1.2:1 b@198.18.1.3:1 c@198.18.1.4:1\n");
	expect_fault("web1", "peer: more than 2 hosts");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n"
		     "peer = beta@198.18.1.2:7402 beta@198.18.1.4:7402\n");
	expect_fault("web1", "peer: beta is named twice");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n[standby]\n"
		     "drill_address = 192.0.2.250\n");
	expect_drill_fault("drill_address is no IPv4 address with a prefix length");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n[standby]\ndrill_probe = db:5432\n");
	expect_drill_fault("drill_probe is no IPv4 address with a port");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n[standby]\n"
		     "drill_address = 192.0.2.250/24\ndrill_probe = 192.0.2.7:5432\n");
	assert_int_equal(agent_config_load(agent_path, &config, &error), 0);
	assert_string_equal(config.vms[0].fault, "");
	assert_string_equal(config.vms[0].drill_fault, "");
	agent_config_done(&config);
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\ngateway_lost = unprotected\n");
	expect_fault("web1", "needs peer");
	put(vm_path, "[vm]\nname = web1\ntap = tap0\nqmp = /q\n");
	put(agent_path, AGENT_INI "peer_listen = 7402\n", dir);
	expect_refused(-EINVAL, "peer_listen is no ADDRESS:PORT");
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_plain_pair_of_files, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fenced_guest_may_be_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(faults_name_the_place, setup, teardown),
		cmocka_unit_test_setup_teardown(taps_are_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(a_disk_log_is_on_a_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(disks_are_pairs_of_name_and_path, setup, teardown),
		cmocka_unit_test_setup_teardown(many_disks_take_a_line_each, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_command_hinders_only_the_standby, setup,
						teardown),
		cmocka_unit_test_setup_teardown(of_two_files_with_one_thing_neither_counts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(of_two_files_with_one_name_neither_counts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_missing_directory_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_host, setup, teardown),
	};

	if (!mkdtemp(dir))
		return 1;
	return cmocka_run_group_tests(tests, NULL, remove_dir);
}
