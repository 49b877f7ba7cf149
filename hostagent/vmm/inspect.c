#include "vmm/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/error.h"
#include "base/text.h"
#include "vmm/inspect_parse.h"
#include "vmm/outside.h"
#include "vmm/ramlist.h"

#define QUERY_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
#define SWITCHES_BYTES	 256U

AUTO_DEFINE(json_t *, json_decref)

/* The state of one inspection, passed from step to step. */
struct inspection {
	struct qmp *qmp;
	struct vmm_info info;
	struct vmm_obstacles
		*obstacles; /* collects all obstacles; NULL: the first obstacle ends the
			     * inspection */
	struct error *error;
};

/* Note why this VM cannot be protected. Returns -ENOTSUP, or 0 if obstacles are collected. */
__attribute__((format(printf, 2, 3))) static int refuse(struct inspection *in, const char *format,
							...)
{
	struct error error;
	va_list args;

	va_start(args, format);
	(void)text_vput(error.text, sizeof(error.text), format, args);
	va_end(args);
	if (!in->obstacles)
		return error_set(in->error, -ENOTSUP, "%s", error.text);
	vmm_obstacles_add(in->obstacles, &error);
	return 0;
}

static int query(struct inspection *in, const char *command, json_t *args, json_t **ret_answer)
{
	int r = qmp_execute(in->qmp, command, args, QUERY_TIMEOUT_NS, ret_answer);

	if (r < 0)
		return error_set(in->error, r, "QEMU: %s: %s", command, qmp_error(in->qmp));
	return 0;
}

static int query_text(struct inspection *in, const char *command, char **ret_text)
{
	int r = qmp_hmp(in->qmp, command, QUERY_TIMEOUT_NS, ret_text);

	if (r < 0)
		return error_set(in->error, r, "QEMU: `%s`: %s", command, qmp_error(in->qmp));
	return 0;
}

static int odd_answer(struct inspection *in, const char *command)
{
	return error_set(in->error, -EPROTO, "QEMU's answer to %s is not understood", command);
}

/* Read a QOM property.
 * Returns 1, and the caller owns *ret_value;
 * 0: there is no such property;
 * -errno. */
static int get_property(struct inspection *in, const char *path, const char *property,
			json_t **ret_value)
{
	int r = qmp_execute(in->qmp, "qom-get",
			    json_pack("{s:s, s:s}", "path", path, "property", property),
			    QUERY_TIMEOUT_NS, ret_value);

	if (r == -EREMOTEIO)
		return 0;
	if (r < 0)
		return error_set(in->error, r, "QEMU: qom-get %s %s: %s", path, property,
				 qmp_error(in->qmp));
	return 1;
}

/* Copy the text @from, cut to @size bytes with its NUL. NULL counts as "". */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = from ? strnlen(from, size - 1) : 0;

	if (n > 0)
		memcpy(to, from, n);
	to[n] = '\0';
}

static int step_version(struct inspection *in)
{
	AUTO(json_decref) json_t *answer = NULL;
	const char *package = "";
	int major, minor, micro;
	int r = query(in, "query-version", NULL, &answer);

	if (r < 0)
		return r;
	if (json_unpack(answer, "{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", &major, "minor",
			&minor, "micro", &micro, "package", &package) < 0)
		return odd_answer(in, "query-version");
	(void)snprintf(in->info.qemu_version, sizeof(in->info.qemu_version), "%d.%d.%d %s", major,
		       minor, micro, package);
	return 0;
}

/* Get the machine's versioned name: "pc-i440fx-7.2" from "pc-i440fx-7.2-machine". */
static int step_machine(struct inspection *in)
{
	AUTO(json_decref) json_t *type = NULL;
	char *suffix;
	int r = get_property(in, "/machine", "type", &type);

	if (r <= 0 || !json_is_string(type))
		return r < 0 ? r : odd_answer(in, "qom-get /machine type");
	copy_text(in->info.machine, sizeof(in->info.machine), json_string_value(type));
	suffix = strstr(in->info.machine, "-machine");
	if (suffix)
		*suffix = '\0';
	return 0;
}

static int step_status(struct inspection *in)
{
	AUTO(json_decref) json_t *answer = NULL;
	int r = query(in, "query-status", NULL, &answer);

	if (r < 0)
		return r;
	in->info.running = json_is_true(json_object_get(answer, "running"));
	copy_text(in->info.runstate, sizeof(in->info.runstate),
		  json_string_value(json_object_get(answer, "status")));
	return 0;
}

/* Find QEMU's process by one of its threads. Do not use the peer of the monitor's socket, which can
 * be another process: a manager (libvirt) that made the socket and passed it to QEMU. */
static pid_t process_of_thread(long long tid)
{
	AUTO_FREE char *status = NULL;
	const char *at;
	char path[64];
	size_t size;

	(void)snprintf(path, sizeof(path), "/proc/%lld/status", tid);
	if (fd_read_file(path, 64 << 10, &status, &size) < 0)
		return 0;
	at = strstr(status, "\nTgid:");
	return at ? (pid_t)strtol(at + strlen("\nTgid:"), NULL, 10) : 0;
}

static int step_cpus(struct inspection *in)
{
	AUTO(json_decref) json_t *answer = NULL;
	const json_t *tid;
	int r = query(in, "query-cpus-fast", NULL, &answer);

	if (r < 0)
		return r;
	if (!json_is_array(answer) || json_array_size(answer) == 0)
		return odd_answer(in, "query-cpus-fast");
	in->info.n_vcpus = (uint32_t)json_array_size(answer);
	tid = json_object_get(json_array_get(answer, 0), "thread-id");
	in->info.pid = process_of_thread(json_integer_value(tid));
	if (in->info.pid <= 0)
		in->info.pid = qmp_pid(in->qmp);
	return 0;
}

/* Ask QEMU whether something prevents a migration of this VM. If so, the device state cannot be
 * saved either. */
static int step_blockers(struct inspection *in)
{
	AUTO(json_decref) json_t *answer = NULL;
	json_t *reason;
	size_t i;
	int r = query(in, "query-migrate", NULL, &answer);

	if (r < 0)
		return r;
	json_array_foreach(json_object_get(answer, "blocked-reasons"), i, reason)
	{
		r = refuse(
			in,
			"the VM's device state cannot be saved: %s (remove that device or option)",
			json_string_value(reason));
		if (r < 0)
			break;
	}
	return r;
}

/* Get the id of the machine's memory backend: "pc.ram" from "/objects/pc.ram". */
static int main_memory_id(struct inspection *in, char *ret_id, size_t size)
{
	AUTO(json_decref) json_t *backend = NULL;
	int r = get_property(in, "/machine", "memory-backend", &backend);
	const char *path = r > 0 ? json_string_value(backend) : NULL;
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (r < 0)
		return r;
	copy_text(ret_id, size, slash ? slash + 1 : path && *path ? path : "pc.ram");
	return 0;
}

/* Find a block's address in the process. If neither the monitor nor QEMU's own list gave the
 * address, ask the monitor for the address behind a guest address. This works only if the guest
 * maps the block. */
static int locate(struct inspection *in, const char *mtree, const struct inspect_ramblock *ram,
		  struct vmm_block *b)
{
	AUTO_FREE char *text = NULL;
	char command[64];
	uint64_t guest_addr;
	int r = 0;

	b->hva = ram->hva;
	if (b->hva)
		return 0;
	if (inspect_parse_guest_addr(mtree, ram->name, &guest_addr) < 0)
		return refuse(in,
			      "RAM block %s is not replicated: this QEMU neither tells its address"
			      " nor exports ram_list, and the guest does not map it: use QEMU 8.1"
			      " or later",
			      ram->name);
	(void)snprintf(command, sizeof(command), "gpa2hva 0x%" PRIx64, guest_addr);
	r = query_text(in, command, &text);
	if (r < 0)
		return r;
	if (inspect_parse_hva(text, ram->name, &b->hva) < 0)
		return odd_answer(in, command);
	return 0;
}

static uint64_t other_bytes(const struct vmm_info *info)
{
	return (uint64_t)info->n_pages * VMM_PAGE_BYTES - info->ram_bytes;
}

static int add_block(struct inspection *in, const char *mtree, const struct inspect_ramblock *ram,
		     enum vmm_block_kind kind)
{
	struct vmm_info *info = &in->info;
	struct vmm_block *b = &info->blocks[info->n_blocks];
	uint64_t n_pages = ram->used_bytes / VMM_PAGE_BYTES;

	if (info->n_blocks == VMM_BLOCKS_MAX)
		return refuse(in, "more than %u RAM blocks", VMM_BLOCKS_MAX);
	if (ram->used_bytes == 0 || ram->used_bytes % VMM_PAGE_BYTES != 0 ||
	    n_pages > UINT32_MAX - info->n_pages)
		return refuse(in, "RAM block %s has %" PRIu64 " bytes", ram->name, ram->used_bytes);
	copy_text(b->name, sizeof(b->name), kind == VMM_BLOCK_RAM ? "pc.ram" : ram->name);
	b->kind = kind;
	b->size_bytes = ram->used_bytes;
	b->first_page = info->n_pages;
	b->n_pages = (uint32_t)n_pages;
	info->n_pages += b->n_pages;
	info->n_blocks++;
	if (kind == VMM_BLOCK_RAM)
		info->ram_bytes += b->size_bytes;
	else if (other_bytes(info) > VMM_OTHER_BYTES_MAX)
		return refuse(in,
			      "RAM block %s (%" PRIu64 " KiB) is not replicated: blocks beside main"
			      " memory may have %" PRIu64 " MiB together; make it smaller, or give"
			      " more memory by -m",
			      b->name, b->size_bytes >> 10, VMM_OTHER_BYTES_MAX >> 20);
	return locate(in, mtree, ram, b);
}

/* Refuse a machine with blocks that we do not replicate, before any block is added. */
static int check_blocks(struct inspection *in, const struct inspect_ramblock *rams, uint32_t n_rams,
			const char *main_memory)
{
	const struct inspect_ramblock *largest = NULL;
	bool has_main = false;
	int r = 0;

	for (uint32_t i = 0; i < n_rams && r == 0; i++) {
		const char *hint;
		enum inspect_use use = inspect_classify(rams[i].name, main_memory, &hint);

		if (use == INSPECT_REFUSE)
			r = refuse(in, "RAM block %s (%" PRIu64 " KiB) is not replicated: %s",
				   rams[i].name, rams[i].used_bytes >> 10, hint);
		has_main |= use == INSPECT_REPLICATE_RAM;
		if (!largest || rams[i].used_bytes > largest->used_bytes)
			largest = &rams[i];
	}
	if (r == 0 && !has_main && largest)
		r = refuse(in,
			   "RAM block %s (%" PRIu64 " KiB) is not replicated: the machine has no"
			   " main memory named %s; give all memory by -m, without -numa memdev=",
			   largest->name, largest->used_bytes >> 10, main_memory);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct inspect_ramblock *)a)->name,
		      ((const struct inspect_ramblock *)b)->name);
}

static int add_blocks(struct inspection *in, const char *mtree, const struct inspect_ramblock *rams,
		      uint32_t n_rams, const char *main_memory, enum inspect_use use,
		      enum vmm_block_kind kind)
{
	const char *hint;
	int r = 0;

	for (uint32_t i = 0; i < n_rams && r == 0; i++)
		if (inspect_classify(rams[i].name, main_memory, &hint) == use)
			r = add_block(in, mtree, &rams[i], kind);
	return r;
}

static int step_blocks(struct inspection *in)
{
	AUTO_FREE char *text = NULL, *mtree = NULL;
	struct inspect_ramblock rams[INSPECT_RAMBLOCKS_MAX];
	char main_memory[64];
	uint32_t n_rams;
	int r = main_memory_id(in, main_memory, sizeof(main_memory));

	if (r == 0)
		r = query_text(in, "info ramblock", &text);
	if (r == 0)
		r = inspect_parse_ramblocks(text, rams, &n_rams, in->error);
	if (r == 0)
		r = check_blocks(in, rams, n_rams, main_memory);
	if (r == 0)
		r = query_text(in, "info mtree -f", &mtree);
	if (r < 0)
		return r;
	/* Blocks that are not in QEMU's list keep the address 0, and locate() tries another way. */
	(void)!ramlist_locate(in->info.pid, rams, n_rams);
	/* Put RAM first, and the other blocks in the order of their names, so that both hosts
	 * number the pages in the same way. QEMU lists blocks by size, and blocks of one size in
	 * the order in which they were made. */
	qsort(rams, n_rams, sizeof(rams[0]), by_name);
	if (r == 0)
		r = add_blocks(in, mtree, rams, n_rams, main_memory, INSPECT_REPLICATE_RAM,
			       VMM_BLOCK_RAM);
	if (r == 0)
		r = add_blocks(in, mtree, rams, n_rams, main_memory, INSPECT_REPLICATE_OTHER,
			       VMM_BLOCK_OTHER);
	return r;
}

static int step_netdevs(struct inspection *in)
{
	AUTO_FREE char *text = NULL;
	struct inspect_card card;
	const char *type;
	int r = query_text(in, "info network", &text);

	if (r < 0)
		return r;
	type = inspect_foreign_netdev(text);
	if (type)
		return refuse(
			in,
			"a %s network back end writes guest memory from outside of QEMU, where it"
			" cannot be tracked: use -netdev tap,vhost=off",
			type);
	for (uint32_t i = 0; r == 0 && inspect_untapped_card(text, i, &card) == 0; i++)
		r = refuse(in,
			   "network card %s has the back end %s of type %s, whose frames cannot be "
			   "held: give it a tap (-netdev tap,ifname=TAP), or remove the card",
			   card.name, card.backend, card.type);
	return r;
}

/* Find out which of @properties the NIC has, and which of these are on. For those that are on,
 * write the text that would turn them off, "NAME=off,...", to @ret_off. Returns the number of
 * properties that the NIC has, or -errno. */
static int get_switches(struct inspection *in, const struct vmm_nic *nic,
			const char *const *properties, size_t n, char ret_off[SWITCHES_BYTES])
{
	size_t size = 0;
	int n_known = 0;

	ret_off[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		AUTO(json_decref) json_t *value = NULL;
		int r = get_property(in, nic->qom_path, properties[i], &value);

		if (r < 0)
			return r;
		n_known += r > 0;
		if (r > 0 && json_is_true(value) && size < SWITCHES_BYTES)
			size += (size_t)snprintf(ret_off + size, SWITCHES_BYTES - size, "%s%s=off",
						 size ? "," : "", properties[i]);
	}
	return n_known;
}

/* Find out whether the card can let the guest leave work on its frames (checksums, segmentation) to
 * the host. The properties of a virtio-net card say so. (host_ecn has no effect without tso.) Other
 * models have no such properties. Some of them, such as e1000e and vmxnet3, always leave this work
 * to the host on a tap. So every other model counts as a card that does. The offloads of frames
 * *to* the guest (guest_csum, guest_tso4, ...) do not matter, because those frames are not held. */
static int check_offloads(struct inspection *in, struct vmm_nic *nic)
{
	static const char *const from_guest[] = {"csum",      "gso",	  "host_tso4",
						 "host_tso6", "host_ufo", "host_uso"};
	/* new in QEMU 10.2 */
	static const char *const tunnels[] = {"host_tunnel", "host_tunnel_csum"};
	char off[SWITCHES_BYTES];
	int r = get_switches(in, nic, from_guest, ARRAY_SIZE(from_guest), off);

	if (r < 0)
		return r;
	nic->is_offload = r == 0 || *off;
	r = get_switches(in, nic, tunnels, ARRAY_SIZE(tunnels), off);
	if (r < 0 || !*off)
		return r < 0 ? r : 0;
	return refuse(
		in,
		"network device %s (%s) lets the guest send tunnelled frames that the host must"
		" cut into segments, and these cannot be held: add to its -device: %s",
		nic->name, nic->type, off);
}

static int add_nic(struct inspection *in, const char *path, const char *type, const char *netdev)
{
	struct vmm_nic *nic = &in->info.nics[in->info.n_nics];
	AUTO(json_decref) json_t *mac = NULL;
	const char *name = strrchr(path, '/');
	int r;

	if (in->info.n_nics == VMM_NICS_MAX)
		return refuse(in, "more than %u network devices", VMM_NICS_MAX);
	copy_text(nic->name, sizeof(nic->name), name ? name + 1 : path);
	copy_text(nic->type, sizeof(nic->type), type);
	copy_text(nic->qom_path, sizeof(nic->qom_path), path);
	copy_text(nic->netdev, sizeof(nic->netdev), netdev);
	r = get_property(in, path, "mac", &mac);
	if (r < 0)
		return r;
	if (!json_is_string(mac) || inspect_parse_mac(json_string_value(mac), nic->mac) < 0)
		return odd_answer(in, "qom-get mac");
	r = check_offloads(in, nic);
	if (r == 0)
		in->info.n_nics++;
	return r;
}

/* If @child, an entry of qom-list, is a device, check the device. If the device is a network card,
 * add it to the NICs. */
static int look_at_child(struct inspection *in, const char *parent, const json_t *child)
{
	AUTO(json_decref) json_t *netdev = NULL;
	const char *name = json_string_value(json_object_get(child, "name"));
	const char *type = json_string_value(json_object_get(child, "type"));
	char path[160], device[64];
	const char *why;
	int r;

	if (!name || !type || sscanf(type, "child<%63[^>]>", device) != 1)
		return 0;
	/* /machine/unattached has the objects that the machine made by itself. Of these, only
	 * objects named "device[N]" are devices. */
	if (strcmp(parent, "/machine/unattached") == 0 && strncmp(name, "device[", 7) != 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%s", parent, name);
	why = vmm_outside_device(device);
	r = why ? refuse(in, "device %s (%s) %s", path, device, why) : 0;
	if (r == 0)
		r = get_property(in, path, "netdev", &netdev);
	if (r <= 0 || !json_is_string(netdev) || *json_string_value(netdev) == '\0')
		return r < 0 ? r : 0;
	return add_nic(in, path, device, json_string_value(netdev));
}

static int step_devices(struct inspection *in)
{
	static const char *const parents[] = {"/machine/peripheral", "/machine/peripheral-anon",
					      "/machine/unattached"};

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		AUTO(json_decref) json_t *children = NULL;
		size_t n;
		int r = query(in, "qom-list", json_pack("{s:s}", "path", parents[i]), &children);

		n = json_array_size(children);
		for (size_t k = 0; k < n && r == 0; k++)
			r = look_at_child(in, parents[i], json_array_get(children, k));
		if (r < 0)
			return r;
	}
	return 0;
}

static int step_outside(struct inspection *in)
{
	struct vmm_obstacles found = {0};
	int r = vmm_outside_ask(in->qmp, &found, in->error);

	for (uint32_t i = 0; r == 0 && i < found.n; i++)
		r = refuse(in, "%s", found.items[i].text);
	return r;
}

/* Read the current MAC addresses, since a guest can change the address given on the command
 * line. */
static int step_macs(struct inspection *in)
{
	AUTO(json_decref) json_t *answer = NULL;
	size_t n;
	int r = qmp_execute(in->qmp, "query-rx-filter", NULL, QUERY_TIMEOUT_NS, &answer);

	if (r == -EREMOTEIO)
		return 0; /* no NIC has a receive filter */
	if (r < 0)
		return error_set(in->error, r, "QEMU: query-rx-filter: %s", qmp_error(in->qmp));
	n = json_array_size(answer);
	for (size_t i = 0; i < n; i++) {
		const char *name, *mac;

		if (json_unpack(json_array_get(answer, i), "{s:s, s:s}", "name", &name, "main-mac",
				&mac) < 0)
			return odd_answer(in, "query-rx-filter");
		for (uint32_t k = 0; k < in->info.n_nics; k++)
			/* For a device that has no id, the name in this answer differs from the
			 * name in our list. But if both lists have only one card, it is the same
			 * card. */
			if ((strcmp(in->info.nics[k].name, name) == 0 ||
			     (n == 1 && in->info.n_nics == 1)) &&
			    inspect_parse_mac(mac, in->info.nics[k].mac) < 0)
				return odd_answer(in, "query-rx-filter");
	}
	return 0;
}

static int inspect(struct inspection *in, struct vmm_info *ret_info)
{
	static int (*const steps[])(struct inspection *in) = {
		step_version, step_machine, step_status,  step_cpus, step_blockers,
		step_blocks,  step_netdevs, step_devices, step_outside,
		step_macs,
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](in);

		if (r < 0)
			return r;
	}
	*ret_info = in->info;
	return 0;
}

int vmm_inspect(struct qmp *q, struct vmm_info *ret_info, struct error *ret_error)
{
	struct inspection in = {.qmp = q, .error = ret_error};

	return inspect(&in, ret_info);
}

int vmm_inspect_all(struct qmp *q, struct vmm_info *ret_info, struct vmm_obstacles *obstacles,
		    struct error *ret_error)
{
	struct inspection in = {.qmp = q, .obstacles = obstacles, .error = ret_error};

	return inspect(&in, ret_info);
}

void vmm_obstacles_add(struct vmm_obstacles *obstacles, const struct error *obstacle)
{
	if (obstacles->n < VMM_OBSTACLES_MAX)
		obstacles->items[obstacles->n++] = *obstacle;
	else
		obstacles->n_dropped++;
}
