#include "config/agent_config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/page.h"
#include "config/settle.h"
#include "epoch/stage.h"
#include "epoch/throttle.h"
#include "epoch/engine.h"
#include "epoch/workers.h"
#include "peer/agree.h"
#include "wire/text.h"

static const struct config_enum_name log_levels[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
	{NULL, 0},
};

static const struct config_enum_name codecs[] = {
	{"auto", PAGE_FEATURE_XRLE | PAGE_FEATURE_BITMAP | PAGE_FEATURE_DUP},
	{"xrle", PAGE_FEATURE_XRLE},
	{"bitmap", PAGE_FEATURE_BITMAP},
	{NULL, 0},
};

static const struct config_enum_name second_stages[] = {
	{"auto", STAGE_AUTO},
	{"lz4", STAGE_LZ4},
	{"off", STAGE_OFF},
	{NULL, 0},
};

static const struct config_enum_name clocks[] = {
	{"correct", ENGINE_CLOCK_CORRECT},
	{"off", ENGINE_CLOCK_OFF},
	{NULL, 0},
};

static const struct config_enum_name disk_flushes[] = {
	{"in-pause", false},
	{"outside", true},
	{NULL, 0},
};

static const struct config_enum_name durabilities[] = {
	{"standby", AGENT_DURABILITY_STANDBY},
	{"both", AGENT_DURABILITY_BOTH},
	{"memory", AGENT_DURABILITY_MEMORY},
	{NULL, 0},
};

static const struct config_enum_name gateway_lost_policies[] = {
	{"hold", AGREE_HOLD},
	{"direct", AGREE_DIRECT},
	{"unprotected", AGREE_UNPROTECTED},
	{NULL, 0},
};

static const struct config_enum_name fenced_guests[] = {
	{"keep", AGENT_FENCED_GUEST_KEEP},
	{"end", AGENT_FENCED_GUEST_END},
	{NULL, 0},
};

#define AGENT struct agent_config
#define VM    struct agent_vm_config

static const struct config_key agent_keys[] = {
	CONFIG_KEY("agent", "gateway", ADDRESS, AGENT, gateway, NULL, 0, 0,
		   "gateway's address and port in the backup network"),
	CONFIG_KEY("agent", "ca", PATH, AGENT, ca, NULL, 0, 0, "certificate of the CA (PEM)"),
	CONFIG_KEY("agent", "crl", PATH, AGENT, crl, "", 0, 0, "revocation list (PEM)"),
	CONFIG_KEY("agent", "cert", PATH, AGENT, cert, NULL, 0, 0,
		   "this host's certificate (PEM); its name in it is the host's name"),
	CONFIG_KEY("agent", "key", PATH, AGENT, key, NULL, 0, 0, "this host's private key (PEM)"),
	CONFIG_KEY("agent", "vm_dir", PATH, AGENT, vm_dir, "/etc/holdfast/vms", 0, 0,
		   "directory with one .ini file per virtual machine"),
	CONFIG_KEY("agent", "run_dir", PATH, AGENT, run_dir, "/run/holdfast", 0, 0,
		   "sockets, pid files and roles; lost at reboot"),
	CONFIG_KEY("agent", "role_dir", PATH, AGENT, role_dir, "/var/lib/holdfast-agent", 0, 0,
		   "roles that must outlive a boot; on a disk"),
	CONFIG_KEY("agent", "pin_dir", PATH, AGENT, pin_dir, "/sys/fs/bpf/holdfast", 0, 0,
		   "directory on a bpffs for the holds"),
	CONFIG_KEY("agent", "beat_ms", MS, AGENT, beat_ns, "50", 10, 1000,
		   "interval between beats to the gateway"),
	CONFIG_KEY(
		"agent", "peer_listen", STRING, AGENT, peer_listen, "", 0, 0,
		"ADDRESS:PORT for other hosts' agents while there is no gateway; unset: none are "
		"served"),
	CONFIG_KEY_ENUM("agent", "log_level", log_levels, AGENT, log_level, "info",
			"least severe line that is logged"),
};

static const struct config_key vm_keys[] = {
	CONFIG_KEY("vm", "name", NAME, VM, name, NULL, 0, 0, "name of the virtual machine"),
	CONFIG_KEY("vm", "qmp", PATH, VM, qmp, "", 0, 0,
		   "QMP socket of the running QEMU; unset on a host that is only the standby"),
	CONFIG_KEY("vm", "tap", STRING, VM, tap, NULL, 0, 0,
		   "the guest's tap device on this host; with several cards: all taps, with blanks "
		   "between them"),
	CONFIG_KEY("vm", "epoch_min_ms", MS, VM, epoch_min_ns, "2", 0, 10000,
		   "least time between two seals"),
	CONFIG_KEY("vm", "epoch_max_ms", MS, VM, epoch_max_ns, "100", 1, 10000,
		   "longest epoch while nothing is held"),
	CONFIG_KEY(
		"vm", "pause_share_max", U32, VM, pause_share_max, "20", 1, 90,
		"most percent of what the guest would have computed that pauses may take from it"),
	CONFIG_KEY("vm", "wall_share_max", U32, VM, wall_share_max, "20", 1, 90,
		   "most percent of all time that pauses may take while the guest's clock is not "
		   "corrected"),
	CONFIG_KEY_ENUM(
		"vm", "clock", clocks, VM, clock, "correct",
		"give the guest's clock back what pauses take from it; off: leave it alone"),
	CONFIG_KEY("vm", "clock_step_max_ms", MS, VM, clock_step_max_ns, "10000", 1, 86400000,
		   "longest jump that the guest's clock may make when a pause is given back"),
	CONFIG_KEY("vm", "clock_alarm_percent", U32, VM, clock_alarm_percent, "5", 1, 100,
		   "an event tells when pauses took that much of the last minute from the guest's "
		   "clock"),
	CONFIG_KEY("vm", "epochs_in_flight", U32, VM, epochs_in_flight, "4", 1, 32,
		   "epochs that may be uncommitted"),
	CONFIG_KEY("vm", "stretch_max_ms", MS, VM, stretch_max_ns, "500", 10, 60000,
		   "an epoch that takes longer to the standby throttles the guest"),
	CONFIG_KEY("vm", "copy_max_ms", MS, VM, copy_max_ns, "100", 1, 10000,
		   "an epoch that is copied for longer in its pause throttles the guest"),
	CONFIG_KEY(
		"vm", "throttle_max", U32, VM, throttle_max, "80", 0, THROTTLE_PERCENT_LIMIT,
		"most percent of its time that a throttled guest stands still; 0: never throttle"),
	CONFIG_KEY("vm", "held_frames_max", U32, VM, held_frames_max, "4096", 64, 65536,
		   "frames that the hold of each card may keep"),
	CONFIG_KEY("vm", "held_bytes_max", SIZE, VM, held_bytes_max, "8M", 65536, 1073741824,
		   "bytes of frames that the hold of each card may keep"),
	CONFIG_KEY("vm", "backlog_bytes_max", SIZE, VM, backlog_bytes_max, "256M", 1048576,
		   UINT64_C(1) << 40, "bytes of encoded epochs that may be uncommitted"),
	CONFIG_KEY("vm", "witness_ms", MS, VM, witness_ns, "10", 0, 1000,
		   "the kernel sends the gateway at most one sample of the clients' traffic in "
		   "that time; 0: none"),
	CONFIG_KEY("vm", "reference_bytes", SIZE, VM, reference_bytes, "0", 0, UINT64_C(1) << 44,
		   "memory for the pages that deltas are taken against; 0: a quarter of guest RAM"),
	CONFIG_KEY("vm", "encode_threads", U32, VM, encode_threads, "0", 0, WORKERS_THREADS_MAX,
		   "threads that encode epochs; 0: a quarter of the CPUs, 1 to 4"),
	CONFIG_KEY_ENUM(
		"vm", "codec", codecs, VM, codec, "auto",
		"classes of pages: auto takes the shortest for each, of both forms of deltas and "
		"duplicates; xrle and bitmap use that form alone"),
	CONFIG_KEY_ENUM("vm", "second_stage", second_stages, VM, second_stage, "auto",
			"LZ4 over the deltas: auto uses it while the link is the bottleneck"),
	CONFIG_KEY_ENUM(
		"vm", "gateway_lost", gateway_lost_policies, VM, gateway_lost, "hold",
		"without a gateway: hold all output; or, when the other host agrees, stream to it "
		"directly; or go on unprotected"),
	CONFIG_KEY("vm", "gateway_lost_ms", MS, VM, gateway_lost_ns, "2000", 100, 600000,
		   "without a gateway: nothing was heard of it for this time"),
	CONFIG_KEY("vm", "peer", STRING, VM, peer, "", 0, 0,
		   "the VM's other host, as NAME@ADDRESS:PORT: the name in its certificate, and "
		   "its peer_listen; with a spare both others, with a blank between them"),
	CONFIG_KEY_ENUM("vm", "fenced_guest", fenced_guests, VM, fenced_guest, "keep",
			"the stopped guest of a host that was outvoted, when this host is to be "
			"the standby: an operator ends its QEMU; or the agent does"),
	CONFIG_KEY("vm", "fenced_guest_keep_s", U32, VM, fenced_guest_keep_s, "0", 0, 31622400,
		   "fenced_guest = end keeps that guest for a look for that long after the fence"),
	CONFIG_KEY("vm", "copy_keep_s", U32, VM, copy_keep_s, "60", 0, 31622400,
		   "after the end of a protection the standby keeps the copy's memory for that "
		   "long; a new one then sends only what differs"),
	CONFIG_KEY("vm", "disk_ring_bytes", SIZE, VM, disk_ring_bytes, "64M", 1048576,
		   UINT64_C(4) << 30,
		   "for each disk: limit of the guest's writes that are not committed; beyond it "
		   "the guest's writes wait, and after a second the disk is copied again"),
	CONFIG_KEY_ENUM("vm", "disk_flushes", disk_flushes, VM, disk_flushes, "in-pause",
			"this host's images, while the guest is protected: flushed in each pause; "
			"or outside of it, never, since the standby keeps the guest's writes"),
	CONFIG_KEY("vm", "disk_copy_bytes_per_s", SIZE, VM, disk_copy_bytes_per_s, "0", 0,
		   UINT64_C(1) << 40, "limit of a disk's first copy; 0: no limit"),
	CONFIG_KEY("vm", "disk_verify_bytes_per_s", SIZE, VM, disk_verify_bytes_per_s, "32M", 0,
		   UINT64_C(1) << 40,
		   "how fast the standby's copies of the disks are verified; 0: never"),
	CONFIG_KEY("vm", "disk_verify_every_ms", MS, VM, disk_verify_every_ns, "0", 0,
		   UINT64_C(366) * 86400000,
		   "time from the end of one verification to the next; 0: none but after each "
		   "copy, and when an operator asks"),
	CONFIG_KEY("vm", "ram_copy_bytes_per_s", SIZE, VM, ram_copy_bytes_per_s, "0", 0,
		   UINT64_C(1) << 40,
		   "limit of what a copy of RAM sends while output is not held; 0: no limit"),
	CONFIG_KEY("vm", "ram_verify_bytes_per_s", SIZE, VM, ram_verify_bytes_per_s, "8M", 0,
		   UINT64_C(1) << 40,
		   "how fast the standby's copy of RAM is verified, at most 1 MiB in an epoch; 0: "
		   "never"),
	CONFIG_KEY("vm", "ram_verify_every_ms", MS, VM, ram_verify_every_ns, "3600000", 0,
		   UINT64_C(366) * 86400000,
		   "time from the end of one verification to the next; 0: none but after each full "
		   "copy, and when an operator asks"),
	CONFIG_KEY("vm", "disks", LIST, VM, disks, "", 0, 0,
		   "the guest's writable disks, as NAME:PATH or NAME:qcow2:PATH, with blanks "
		   "between: each one's name in QEMU, and its image on this host"),
	CONFIG_KEY_ENUM("vm", "disk_durability", durabilities, VM, disk_durability, "standby",
			"where disk writes are on a disk before output is released"),
	CONFIG_KEY("standby", "disk_log", PATH, VM, disk_log, "", 0, 0,
		   "log of disk writes, on a disk; unset: the path of the first disk with .hflog"),
	CONFIG_KEY("standby", "disk_log_bytes", SIZE, VM, disk_log_bytes, "256M", 1048576,
		   UINT64_C(1) << 40, "size of that log when it is made"),
	CONFIG_KEY("standby", "state_dir", PATH, VM, state_dir, "", 0, 0,
		   "directory on tmpfs for the guest's copy; unset: never the standby"),
	CONFIG_KEY("standby", "command_file", PATH, VM, command_file, "", 0, 0,
		   "file with the QEMU command line of the same devices, without -qmp"),
	CONFIG_KEY("standby", "drill_dir", PATH, VM, drill_dir, "/var/lib/holdfast/drill", 0, 0,
		   "where a drill puts second copies of the disks"),
	CONFIG_KEY("standby", "drill_address", STRING, VM, drill_address, "", 0, 0,
		   "this host's address in a drill, as 192.0.2.250/24"),
	CONFIG_KEY("standby", "drill_probe", STRING, VM, drill_probe, "", 0, 0,
		   "what must answer in a drill, as 192.0.2.7:5432"),
	CONFIG_KEY("standby", "drill_script", PATH, VM, drill_script, "", 0, 0,
		   "program that looks at the guest of a drill, and must end with status 0"),
	CONFIG_KEY("standby", "drill_timeout_ms", MS, VM, drill_timeout_ns, "30000", 100, 3600000,
		   "longest time for the guest's answer, and for drill_script"),
	CONFIG_KEY("standby", "log_bytes_max", SIZE, VM, log_bytes_max, "0", 0, 0,
		   "most bytes of one buffered epoch; 0: twice the RAM"),
};

/* Parse an address with a port, such as "198.18.1.2:7402". Returns 0 or -EINVAL. */
static int parse_endpoint(const char *text, struct config_address *ret_address)
{
	const char *colon = strchr(text, ':');
	struct in_addr ip;
	char address[16];
	unsigned long port;
	char *end;

	if (!colon || (size_t)(colon - text) >= sizeof(address) || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	memcpy(address, text, (size_t)(colon - text));
	address[colon - text] = '\0';
	port = strtoul(colon + 1, &end, 10);
	if (inet_pton(AF_INET, address, &ip) != 1 || *end || port == 0 || port > UINT16_MAX)
		return -EINVAL;
	*ret_address = (struct config_address){.ip_be32 = ip.s_addr, .port = (uint16_t)port};
	return 0;
}

/* Parse one word of `peer`, such as "beta@198.18.1.2:7402". Returns 0 or -EINVAL. */
static int parse_peer(const char *word, struct agent_peer *ret_peer)
{
	const char *at = strchr(word, '@');
	size_t size = at ? (size_t)(at - word) : 0;
	struct config_address address;

	if (size == 0 || size >= sizeof(ret_peer->name) || parse_endpoint(at + 1, &address) < 0)
		return -EINVAL;
	memcpy(ret_peer->name, word, size);
	ret_peer->name[size] = '\0';
	ret_peer->port = address.port;
	(void)inet_ntop(AF_INET, &(struct in_addr){address.ip_be32}, ret_peer->address,
			sizeof(ret_peer->address));
	return wire_name_is_valid(ret_peer->name) ? 0 : -EINVAL;
}

static int parse_peers(const char *path, struct agent_vm_config *vm, struct error *error)
{
	char text[sizeof(vm->peer)], *save = NULL;

	strcpy(text, vm->peer);
	for (char *word = strtok_r(text, " \t", &save); word;
	     word = strtok_r(NULL, " \t", &save)) {
		struct agent_peer *peer = &vm->peers[vm->n_peers];

		if (vm->n_peers == AGENT_PEERS_MAX)
			return error_set(error, -EINVAL, "%s: peer: more than %u hosts", path,
					 AGENT_PEERS_MAX);
		if (parse_peer(word, peer) < 0)
			return error_set(error, -EINVAL,
					 "%s: peer: '%s' is no NAME@ADDRESS:PORT, as "
					 "beta@198.18.1.2:7402", path, word);
		if (vm->n_peers > 0 && strcmp(vm->peers[0].name, peer->name) == 0)
			return error_set(error, -EINVAL, "%s: peer: %s is named twice", path,
					 peer->name);
		vm->n_peers++;
	}
	return 0;
}

/* The characters that are allowed in a disk's name (see vmm/disks.h). */
static const char disk_name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";

/* If there are the word @format and a colon at *at, and they end before @end, skip them. */
static bool skip_format(const char **at, const char *end, const char *format)
{
	size_t size = strlen(format);

	if ((size_t)(end - *at) <= size || memcmp(*at, format, size) != 0 || (*at)[size] != ':')
		return false;
	*at += size + 1;
	return true;
}

/* Parse one disk of the key `disks`, such as "root:/var/lib/web1.raw". @size: the length of
 * @word. */
static int parse_disk(const char *word, size_t size, struct agent_disk *ret_disk)
{
	const char *colon = memchr(word, ':', size), *end = word + size, *path;
	size_t name_size = colon ? (size_t)(colon - word) : 0;
	bool is_qcow2;

	if (name_size == 0 || name_size >= sizeof(ret_disk->name) ||
	    strspn(word, disk_name_chars) < name_size)
		return -EINVAL;
	path = colon + 1;
	is_qcow2 = skip_format(&path, end, "qcow2");
	if (!is_qcow2)
		(void)skip_format(&path, end, "raw"); /* "raw:" may be left out */
	if (end - path < 2 || *path != '/' || (size_t)(end - path) >= sizeof(ret_disk->path))
		return -EINVAL;
	memset(ret_disk, 0, sizeof(*ret_disk));
	memcpy(ret_disk->name, word, name_size);
	memcpy(ret_disk->path, path, (size_t)(end - path));
	ret_disk->is_qcow2 = is_qcow2;
	return 0;
}

static bool has_disk(const struct agent_vm_config *vm, const struct agent_disk *disk)
{
	for (uint32_t i = 0; i < vm->n_disks; i++) {
		if (strcmp(vm->disk[i].name, disk->name) == 0 ||
		    strcmp(vm->disk[i].path, disk->path) == 0)
			return true;
	}
	return false;
}

/* Check disk_durability and where the disk log will be. If the first image is a block device, a log
 * beside it would be in /dev, and so in memory. */
static int check_disk_log(const char *path, const struct agent_vm_config *vm, struct error *error)
{
	if (vm->disk_durability == AGENT_DURABILITY_BOTH && vm->disk_flushes)
		return error_set(error, -EINVAL,
				 "%s: disk_durability = both needs disk_flushes = in-pause: the "
				 "primary's image is on its disk only if it is flushed",
				 path);
	if (!*vm->state_dir || *vm->disk_log || vm->n_disks == 0 ||
	    vm->disk_durability == AGENT_DURABILITY_MEMORY ||
	    strncmp(vm->disk[0].path, "/dev/", strlen("/dev/")) != 0 ||
	    strncmp(vm->disk[0].path, "/dev/shm/", strlen("/dev/shm/")) == 0)
		return 0;
	return error_set(error, -EINVAL,
			 "%s: the first of the disks is a block device: set [standby] disk_log to "
			 "a path on a disk, or disk_durability = memory",
			 path);
}

static int parse_disks(const char *path, struct agent_vm_config *vm, struct error *error)
{
	const char *word = vm->disks + strspn(vm->disks, " \t");

	for (size_t size; *word; word += size, word += strspn(word, " \t")) {
		struct agent_disk disk;

		size = strcspn(word, " \t");
		if (parse_disk(word, size, &disk) < 0)
			return error_set(error, -EINVAL,
					 "%s: disks: %.*s is no NAME:PATH or NAME:qcow2:PATH, as "
					 "root:/var/lib/holdfast/web1.raw",
					 path, (int)size, word);
		if (has_disk(vm, &disk))
			return error_set(error, -EINVAL,
					 "%s: disks: %.*s has the name or the path of a disk "
					 "before it",
					 path, (int)size, word);
		if (vm->n_disks == WIRE_DISKS_MAX)
			return error_set(error, -EINVAL, "%s: disks: more than %d", path,
					 WIRE_DISKS_MAX);
		vm->disk[vm->n_disks++] = disk;
	}
	return check_disk_log(path, vm, error);
}

static int parse_taps(const char *path, struct agent_vm_config *vm, struct error *error)
{
	int r = tap_names_parse(vm->tap, &vm->taps);

	switch (r) {
	case -EEXIST:
		return error_set(error, -EINVAL,
				 "%s: tap: a tap is named twice; each card needs its own", path);
	case -E2BIG:
		return error_set(error, -EINVAL, "%s: tap: more than %u taps", path,
				 TAP_NAMES_MAX);
	case -EINVAL:
		return error_set(error, r,
				 "%s: tap: '%s' is no name of a tap, nor several with blanks "
				 "between them, as tap0 tap1; a name has at most %u characters",
				 path, vm->tap, TAP_NAME_BYTES - 1);
	}
	return r;
}

/* Check the settings that only a drill uses. Faults in them do not keep the VM from being
 * protected. */
static void check_drill(const char *path, struct agent_vm_config *vm)
{
	struct config_address target;
	struct config_prefix own;
	const struct config_key prefix = {.type = CONFIG_PREFIX, .size = sizeof(own)};
	char expected[160];

	if (*vm->drill_address &&
	    config_convert(&prefix, vm->drill_address, &own, expected, sizeof(expected)) < 0)
		snprintf(vm->drill_fault, sizeof(vm->drill_fault),
			 "%s: drill_address is no IPv4 address with a prefix length, such "
			 "as 192.0.2.250/24", path);
	else if (*vm->drill_probe && parse_endpoint(vm->drill_probe, &target) < 0)
		snprintf(vm->drill_fault, sizeof(vm->drill_fault),
			 "%s: drill_probe is no IPv4 address with a port, such as "
			 "192.0.2.7:5432", path);
}

/* Check what the key tables cannot express. */
static int check_vm(const char *path, struct agent_vm_config *vm, struct error *error)
{
	int r = parse_taps(path, vm, error);

	if (r < 0)
		return r;
	r = parse_peers(path, vm, error);
	if (r < 0)
		return r;
	if (vm->gateway_lost != AGREE_HOLD && vm->n_peers == 0)
		return error_set(error, -EINVAL,
				 "%s: gateway_lost other than hold needs peer = NAME@ADDRESS:PORT",
				 path);
	if (vm->epoch_max_ns < vm->epoch_min_ns || vm->epoch_max_ns == 0)
		return error_set(error, -EINVAL, "%s: epoch_max_ms must not be below epoch_min_ms",
				 path);
	if (!*vm->state_dir != !*vm->command_file)
		return error_set(error, -EINVAL,
				 "%s: [standby] needs both state_dir and command_file, or neither",
				 path);
	if (!*vm->qmp && !*vm->state_dir)
		return error_set(error, -EINVAL,
				 "%s: neither [vm] qmp nor [standby] state_dir is set: this host "
				 "could do nothing with the VM",
				 path);
	check_drill(path, vm);
	return parse_disks(path, vm, error);
}

/* Read the command file. Only a standby needs the command, so with a wrong file this host can still
 * be the primary. */
static void load_command(struct agent_vm_config *vm)
{
	size_t size;
	int r;

	if (!*vm->command_file)
		return;
	r = fd_read_trusted_file(vm->command_file, AGENT_COMMAND_MAX, &vm->command, &size);
	if (r < 0)
		snprintf(vm->standby_fault, sizeof(vm->standby_fault), "%s: command_file %s: %s",
			 vm->file, vm->command_file, fd_trust_text(r));
}

/* Record why a VM's file cannot be used. The VM then gets its name from the file's name. */
static void set_fault(struct agent_vm_config *vm, const char *path, const char *fault)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t size = strlen(name) - strlen(".ini");

	*vm = (struct agent_vm_config){0};
	if (size < sizeof(vm->name))
		memcpy(vm->name, name, size);
	if (!wire_name_is_valid(vm->name))
		vm->name[0] = '\0';
	snprintf(vm->file, sizeof(vm->file), "%s", path);
	snprintf(vm->fault, sizeof(vm->fault), "%s", fault);
}

static void load_vm(const char *path, struct agent_vm_config *ret_vm)
{
	struct agent_vm_config vm = {0};
	struct error error;

	if (config_load(path, vm_keys, ARRAY_SIZE(vm_keys), &vm, &error) < 0 ||
	    check_vm(path, &vm, &error) < 0) {
		set_fault(ret_vm, path, error.text);
		return;
	}
	snprintf(vm.file, sizeof(vm.file), "%s", path);
	load_command(&vm);
	*ret_vm = vm;
}

static int is_ini(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && dot != entry->d_name && strcmp(dot, ".ini") == 0;
}

static int load_vms(struct agent_config *config, struct error *error)
{
	struct dirent **entries;
	char path[256];
	int n = scandir(config->vm_dir, &entries, is_ini, alphasort), r = 0;

	if (n < 0)
		return error_set(error, -errno, "%s: %s", config->vm_dir,
				 errno == ENOENT
					 ? "no such vm_dir; make it, with one .ini file per VM"
					 : strerror(errno));
	if ((unsigned)n > AGENT_VMS_MAX) {
		(void)error_set(error, -EINVAL, "%s: more than 64 VM files", config->vm_dir);
		r = -E2BIG;
	}
	config->vms = calloc((size_t)n + 1, sizeof(*config->vms));
	if (!config->vms)
		r = -ENOMEM;
	for (int i = 0; i < n; i++) {
		if (r == 0 && snprintf(path, sizeof(path), "%s/%s", config->vm_dir,
				       entries[i]->d_name) >= (int)sizeof(path)) {
			(void)error_set(error, -EINVAL, "%s: a file's name in it is too long",
					config->vm_dir);
			r = -ENAMETOOLONG;
		}
		if (r == 0)
			load_vm(path, &config->vms[config->n_vms++]);
		free(entries[i]);
	}
	free(entries);
	if (r == 0)
		agent_config_settle(config);
	return r;
}

int agent_config_load(const char *path, struct agent_config *ret_config,
		      struct error *ret_error)
{
	struct agent_config config = {0};
	struct in_addr address;
	int r;

	r = config_load(path, agent_keys, ARRAY_SIZE(agent_keys), &config, ret_error);
	if (r < 0)
		return r;
	address.s_addr = config.gateway.ip_be32;
	(void)inet_ntop(AF_INET, &address, config.gateway_text, sizeof(config.gateway_text));
	if (*config.peer_listen && parse_endpoint(config.peer_listen, &config.peer_listen_at) < 0)
		return error_set(ret_error, -EINVAL,
				 "%s: peer_listen is no ADDRESS:PORT, as 198.18.1.2:7402", path);
	r = load_vms(&config, ret_error);
	if (r < 0) {
		agent_config_done(&config);
		return r;
	}
	*ret_config = config;
	return 0;
}

void agent_config_done(struct agent_config *config)
{
	for (uint32_t i = 0; i < config->n_vms; i++)
		free(config->vms[i].command);
	free(config->vms);
	config->vms = NULL;
	config->n_vms = 0;
}

void agent_config_print_help(FILE *out)
{
	fprintf(out, "agent.ini:\n");
	config_print_help(out, agent_keys, ARRAY_SIZE(agent_keys));
	fprintf(out, "\nVM files (vm_dir/NAME.ini):\n");
	config_print_help(out, vm_keys, ARRAY_SIZE(vm_keys));
}

void agent_config_print(FILE *out, const struct agent_config *config)
{
	config_print_values(out, agent_keys, ARRAY_SIZE(agent_keys), config);
	for (uint32_t i = 0; i < config->n_vms; i++) {
		if (*config->vms[i].fault)
			continue;
		fprintf(out, "\n# VM %s\n", config->vms[i].name);
		config_print_values(out, vm_keys, ARRAY_SIZE(vm_keys), &config->vms[i]);
	}
}
