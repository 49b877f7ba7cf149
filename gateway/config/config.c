#include "config/config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "port/port.h"
#include "wire/limits.h"
#include "wire/msg.h"
#include "wire/text.h"

#define KEY(name_, type_, member_, default_, min_, max_, help_)                                    \
	CONFIG_KEY("gateway", name_, type_, struct gw_config, member_, default_, min_, max_, help_)
#define KEY_ENUM(name_, names_, member_, default_, help_)                                          \
	CONFIG_KEY_ENUM("gateway", name_, names_, struct gw_config, member_, default_, help_)
#define VM_KEY(name_, help_)                                                                       \
	CONFIG_KEY("vm", #name_, NAME, struct gw_vm_config, name_, NULL, 0, 0, help_)
#define VM_PROBE(name_, type_, help_)                                                              \
	CONFIG_KEY("vm", #name_, type_, struct gw_vm_config, name_, "", 0, 0, help_)

static const struct config_enum_name standby_lost_names[] = {
	{"unprotected", GW_STANDBY_LOST_UNPROTECTED},
	{"hold", GW_STANDBY_LOST_HOLD},
	{NULL, 0},
};

static const struct config_enum_name witness_paths_names[] = {
	{"backup", GW_WITNESS_BACKUP},
	{"both", GW_WITNESS_BOTH},
	{NULL, 0},
};

static const struct config_enum_name reprotect_names[] = {
	{"ask", GW_REPROTECT_ASK},
	{"auto", GW_REPROTECT_AUTO},
	{NULL, 0},
};

static const struct config_enum_name cold_start_names[] = {
	{"ask", GW_COLD_START_ASK},
	{"newest", GW_COLD_START_NEWEST},
	{NULL, 0},
};

static const struct config_enum_name hugepages_names[] = {
	{"auto", PORT_HUGEPAGES_AUTO},
	{"yes", PORT_HUGEPAGES_YES},
	{"no", PORT_HUGEPAGES_NO},
	{NULL, 0},
};

static const struct config_enum_name log_level_names[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warn", LOG_LEVEL_WARN},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
	{NULL, 0},
};

const struct config_key gw_config_keys[] = {
	KEY("port", STRING, port, NULL, 0, 0,
	    "DPDK device on the backup network, as \"net_af_packet0,iface=bk0\" or a PCI address; "
	    "\"kernel\" is a test shell over kernel sockets"),
	KEY("address", STRING, address, "", 0, 0,
	    "own IPv4 address and prefix on the backup network; needed with a DPDK port"),
	KEY("next_hop", STRING, next_hop, "", 0, 0, "IPv4 router to agents in other networks"),
	KEY("probe_port", STRING, probe_port, "", 0, 0,
	    "DPDK device in the client network, from which guests and hosts are probed while there "
	    "is doubt, as \"net_af_packet1,iface=cl0\" or a PCI address"),
	KEY("probe_address", PREFIX, probe_address, "", 0, 0,
	    "the gateway's own address there, nobody else's; needed with probe_port"),
	KEY("probe_interval_ms", MS, probe_interval_ns, "20", 5, 1000,
	    "from one probe of an address to the next while there is doubt"),
	KEY("listen", ADDRESS, listen, NULL, 0, 0,
	    "address and TCP port for agents; with a DPDK port the address is the one above"),
	KEY("management", ADDRESS, management, NULL, 0, 0,
	    "address and TCP port for holdfastctl, on a kernel interface"),
	KEY("ca", PATH, ca, NULL, 0, 0, "PEM file of the CA that all certificates are from"),
	KEY("crl", PATH, crl, "", 0, 0, "PEM file of the CA's revocation list"),
	KEY("cert", PATH, cert, NULL, 0, 0, "PEM file of this gateway's certificate"),
	KEY("key", PATH, key, NULL, 0, 0, "PEM file of its key, not readable by others"),
	KEY("state_dir", PATH, state_dir, "/var/lib/holdfast", 0, 0,
	    "directory of the journal of terms and of events.jsonl"),
	KEY("vm_dir", PATH, vm_dir, "/etc/holdfast/vms", 0, 0,
	    "directory of one NAME.ini for each VM"),
	KEY("suspect_ms", MS, suspect_ns, "80", 20, 60000,
	    "no beat for this long, and longer than usual: begin to ask (docs/liveness.md)"),
	KEY("progress_ms", MS, progress_ns, "300", 50, 60000,
	    "no epoch for this long, and longer than usual: begin to ask"),
	KEY("confirm_ms", MS, confirm_ns, "120", 40, 60000,
	    "asked through both networks, no answer for this long: promote"),
	KEY("beat_timeout_ms", MS, beat_timeout_ns, "500", 50, 60000,
	    "the same while the primary's host cannot be asked through the client network"),
	KEY("patience_ms", MS, patience_ns, "3000", 100, 600000,
	    "a host that lives without replicating is waited for this long, then promote"),
	KEY("shadow_beat_timeout_ms", MS, shadow_timeout_ns, "0", 0, 60000,
	    "tell, by an event, when a detector that knows beats alone would promote; 0: do not"),
	KEY("lease_ms", MS, lease_ns, "2000", 100, WIRE_LEASE_MS_MAX,
	    "for how long a primary's guest may run without hearing from this gateway"),
	KEY("release_ms", MS, release_ns, "150", 20, WIRE_LEASE_MS_MAX,
	    "for how long its output may leave without; nobody is promoted before that is over"),
	KEY("restart_grace_ms", MS, restart_grace_ns, "3000", 0, 600000,
	    "after a start, judge no host before it was seen once or this has passed"),
	KEY("standby_timeout_ms", MS, standby_timeout_ns, "5000", 100, 600000,
	    "how long a standby may keep epochs from being committed before standby_lost applies"),
	KEY_ENUM("standby_lost", standby_lost_names, standby_lost, "unprotected",
		 "go on unprotected in a new term, or hold all output until it is back"),
	KEY("held_copy_max_ms", MS, held_copy_max_ns, "20000", 100, 3600000,
	    "how long output may wait for a copy of the disks before standby_lost applies"),
	KEY("answer_within_ms", MS, answer_within_ns, "5000", 100, 600000,
	    "how long a promoted guest may take to answer before there is an alarm"),
	KEY("move_timeout_ms", MS, move_timeout_ns, "2000", 100, 60000,
	    "how long a move may take until the owner has let go of the guest"),
	KEY("order_timeout_ms", MS, order_timeout_ns, "30000", 100, 3600000,
	    "how long an order may go on without any move before it has failed"),
	KEY("handshake_timeout_ms", MS, handshake_timeout_ns, "5000", 100, 60000,
	    "from the connection to its HELLO"),
	KEY("idle_timeout_ms", MS, idle_timeout_ns, "10000", 500, 600000,
	    "silence after which a control connection is closed"),
	KEY("relay_bytes_max", SIZE, relay_bytes_max, "4M", 262144, 268435456,
	    "bytes queued towards one peer before its source is no longer read"),
	KEY("events_bytes_max", SIZE, events_bytes_max, "8M", 65536, 1073741824,
	    "size of events.jsonl before it becomes events.jsonl.1"),
	KEY("sessions_max", U32, n_sessions_max, "0", 0, 1024,
	    "agents' connections at one time; 0 is what the configured VMs and hosts need, at "
	    "least 128"),
	KEY("handshakes_max", U32, n_handshakes_max, "0", 0, 1024,
	    "of them, without a HELLO so far; beyond it the oldest of the greediest address goes; "
	    "0 is one for each host and two for each VM, at least 32"),
	KEY("witness_port", U32, witness_port, "0", 0, 65535,
	    "UDP port for what the primaries' kernels say of their guests; 0 is the port of "
	    "listen"),
	KEY("witness_rekey_s", U32, witness_rekey_s, "600", 1, 86400,
	    "seconds after which a primary's kernel gets another key to sign that with"),
	KEY("mtu", U32, mtu, "1500", 576, 1500, "MTU of the backup network"),
	KEY_ENUM("hugepages", hugepages_names, hugepages, "auto",
		 "take DPDK's memory from 2 MiB pages: when enough are free, always, or never"),
	KEY("memory", SIZE, memory_bytes, "0", 0, 0, "DPDK's memory; 0 is what the port needs"),
	KEY("cores", STRING, cores, "", 0, 0, "cores for DPDK's helper threads, as \"0-3\""),
	KEY_ENUM("log_level", log_level_names, log_level, "info",
		 "what is logged; HOLDFAST_LOG overrides it"),
};
const size_t gw_n_config_keys = ARRAY_SIZE(gw_config_keys);

const struct config_key gw_vm_config_keys[] = {
	VM_KEY(name, "the VM's name; the file is NAME.ini"),
	VM_KEY(primary, "host that owns the guest until the first promotion"),
	VM_KEY(standby, "the other host"),
	VM_PROBE(spare, STRING,
		 "a third host, which takes the place of a host that keeps the copy and is away"),
	CONFIG_KEY("vm", "spare_after_ms", MS, struct gw_vm_config, spare_after_ns, "60000", 1000,
		   86400000, "how long that host must be away before the spare takes its place"),
	CONFIG_KEY(
		"vm", "fence_command", STRING, struct gw_vm_config, fence_command, "", 0, 0,
		"shell command that isolates HOLDFAST_HOST before a promotion that follows from "
		"its silence; status 0: done"),
	CONFIG_KEY("vm", "fence_timeout_ms", MS, struct gw_vm_config, fence_timeout_ns, "10000",
		   100, 600000, "the command is killed, and has failed, after this long"),
	CONFIG_KEY("vm", "fence_required", BOOL, struct gw_vm_config, fence_required, "yes", 0, 0,
		   "promote nobody when the command fails; no: promote all the same"),
	CONFIG_KEY_ENUM(
		"vm", "reprotect", reprotect_names, struct gw_vm_config, reprotect, "ask",
		"after a failover, or when a protection has ended by a fault: wait for "
		"`holdfastctl protect`, or protect the guest again once both hosts are ready"),
	CONFIG_KEY_ENUM(
		"vm", "cold_start", cold_start_names, struct gw_vm_config, cold_start, "ask",
		"after a power failure of both hosts: wait for `holdfastctl start`, or start the "
		"guest from the newest disks once both hosts are back"),
	VM_PROBE(guest_address, IPV4, "the guest's address, to be probed from probe_port"),
	VM_PROBE(guest_mac, MAC,
		 "the guest's MAC, so that probes reach it while its ARP answers are held"),
	VM_PROBE(guest_ports, PORTS, "TCP ports of the guest's services, each probed with a SYN"),
	VM_PROBE(primary_address, IPV4, "the host `primary` in the client network"),
	VM_PROBE(standby_address, IPV4, "the host `standby` in the client network"),
	VM_PROBE(spare_address, IPV4, "the host `spare` in the client network"),
	VM_PROBE(primary_backup, IPV4, "the host `primary` on the backup network"),
	VM_PROBE(standby_backup, IPV4, "the host `standby` on the backup network"),
	VM_PROBE(spare_backup, IPV4, "the host `spare` on the backup network"),
	CONFIG_KEY_ENUM(
		"vm", "witness_paths", witness_paths_names, struct gw_vm_config, witness_paths,
		"backup",
		"networks by which the owner's kernel sends what it says of the guest: the backup "
		"network, or both; both needs probe_port, primary_address and standby_address, and "
		"spare_address if there is a spare"),
};
const size_t gw_n_vm_config_keys = ARRAY_SIZE(gw_vm_config_keys);

static int complain(struct error *ret_error, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int complain(struct error *ret_error, const char *file, const char *format, ...)
{
	char what[ERROR_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)text_vput(what, sizeof(what), format, args);
	va_end(args);
	return error_set(ret_error, -EINVAL, "%.255s: %s", file, what);
}

int gw_config_address(const struct gw_config *config, struct config_prefix *ret_address)
{
	static const struct config_key key = {.type = CONFIG_PREFIX, .size = sizeof(*ret_address)};
	char expected[64];

	return config_convert(&key, config->address, ret_address, expected, sizeof(expected));
}

static bool is_kernel(const struct gw_config *config)
{
	return strcmp(config->port, GATEWAY_PORT_KERNEL) == 0;
}

static int check_probe_port(const struct gw_config *config, const char *path,
			    struct error *ret_error)
{
	size_t size = strcspn(config->probe_port, ",");

	if (!config->probe_port[0])
		return !config->probe_address.ip_be32
			       ? 0
			       : complain(ret_error, path,
					  "probe_address is set, but probe_port is not");
	if (!config->probe_address.ip_be32)
		return complain(
			ret_error, path,
			"probe_port = %.60s needs probe_address = IPv4/BITS, an address of the "
			"gateway's own in the client network",
			config->probe_port);
	if (is_kernel(config))
		return complain(ret_error, path, "probe_port needs a DPDK port, not port = kernel");
	if (size == strcspn(config->port, ",") &&
	    strncmp(config->port, config->probe_port, size) == 0)
		return complain(ret_error, path,
				"port and probe_port are both the device %.*s; number them, as "
				"net_af_packet0 and net_af_packet1", (int)size, config->port);
	return 0;
}

int gw_config_load(const char *path, struct gw_config *ret_config, struct error *ret_error)
{
	struct gw_config config = {0};
	struct config_prefix own;
	struct in_addr next_hop;
	int r = config_load(path, gw_config_keys, gw_n_config_keys, &config, ret_error);

	if (r < 0)
		return r;
	/* our own address, and the router to other networks */
	if (!is_kernel(&config) && !config.address[0])
		return complain(
			ret_error, path,
			"port = %.60s needs address = IPv4/BITS, the gateway's own address on "
			"the backup network",
			config.port);
	if (!is_kernel(&config) && gw_config_address(&config, &own) < 0)
		return complain(ret_error, path, "address = %.40s is no IPv4/BITS", config.address);
	if (config.next_hop[0] && inet_pton(AF_INET, config.next_hop, &next_hop) != 1)
		return complain(ret_error, path, "next_hop = %.40s is no IPv4 address",
				config.next_hop);
	/* times and limits that depend on each other */
	if (config.standby_timeout_ns < config.beat_timeout_ns)
		return complain(ret_error, path,
				"standby_timeout_ms is shorter than beat_timeout_ms");
	if (config.patience_ns < config.beat_timeout_ns)
		return complain(ret_error, path, "patience_ms is shorter than beat_timeout_ms");
	if (config.beat_timeout_ns < config.suspect_ns)
		return complain(ret_error, path, "beat_timeout_ms is shorter than suspect_ms");
	if (config.witness_port == 0)
		config.witness_port = config.listen.port;
	if (config.lease_ns >= config.patience_ns)
		return complain(ret_error, path,
				"lease_ms must be shorter than patience_ms: a host that "
				"was given up has to be silent by then");
	if (config.release_ns > config.lease_ns)
		return complain(ret_error, path, "release_ms is longer than lease_ms");
	if (config.n_sessions_max != 0 && config.n_handshakes_max > config.n_sessions_max)
		return complain(ret_error, path, "handshakes_max is larger than sessions_max");
	r = check_probe_port(&config, path, ret_error);
	if (r == 0)
		*ret_config = config;
	return r;
}

/* Check that the address @ip_be32 can be reached by ARP from our address @own: it is a host's
 * address in the same network. An @ip_be32 of 0 (no address) is accepted. Returns 0 or -EINVAL. */
static int check_address(const char *path, const char *key, uint32_t ip_be32, const char *own_key,
			 const struct config_prefix *own, struct error *ret_error)
{
	uint32_t mask = own->bits ? UINT32_MAX << (32 - own->bits) : 0;
	uint32_t ip = ntohl(ip_be32), us = ntohl(own->ip_be32);
	char text[INET_ADDRSTRLEN];

	if (ip_be32 == 0)
		return 0;
	(void)inet_ntop(AF_INET, &(struct in_addr){ip_be32}, text, sizeof(text));
	if (ip == us)
		return complain(ret_error, path, "%s = %s is the gateway's own %s", key, text,
				own_key);
	if ((ip & mask) != (us & mask))
		return complain(ret_error, path,
				"%s = %s is outside of the network of %s; ARP does not reach it",
				key, text, own_key);
	if (own->bits < 31 && ((ip & ~mask) == 0 || (ip & ~mask) == ~mask))
		return complain(ret_error, path,
				"%s = %s is that network's own or broadcast address", key, text);
	return 0;
}

/* Check that no two of @n addresses are the same. An address of 0 means "no address". */
static int check_different(const char *path, const uint32_t *addresses, const char *const *keys,
			   size_t n, struct error *ret_error)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			if (addresses[i] && addresses[i] == addresses[j])
				return complain(ret_error, path, "%s and %s are the same address",
						keys[i], keys[j]);
		}
	}
	return 0;
}

static int check_vm_probes(const struct gw_config *config, const char *path,
			   const struct gw_vm_config *vm, struct error *ret_error)
{
	const uint32_t client[] = {vm->guest_address, vm->primary_address, vm->standby_address,
				   vm->spare_address};
	const uint32_t backup[] = {vm->primary_backup, vm->standby_backup, vm->spare_backup};
	static const char *const client_keys[] = {"guest_address", "primary_address",
						  "standby_address", "spare_address"};
	static const char *const backup_keys[] = {"primary_backup", "standby_backup",
						  "spare_backup"};
	static const uint8_t no_mac[6];
	struct config_prefix own;
	int r = 0;

	/* the keys that describe the guest */
	if (!vm->guest_address && (vm->guest_ports.n || memcmp(vm->guest_mac, no_mac, 6) != 0))
		return complain(ret_error, path, "guest_ports and guest_mac need guest_address");
	if (vm->guest_mac[0] & 1)
		return complain(ret_error, path, "guest_mac is a group's address, not a guest's");
	/* in each network, all addresses must differ and ARP must reach them */
	r = check_different(path, client, client_keys, ARRAY_SIZE(client), ret_error);
	if (r == 0)
		r = check_different(path, backup, backup_keys, ARRAY_SIZE(backup), ret_error);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(client); i++) {
		if (config->probe_port[0])
			r = check_address(path, client_keys[i], client[i], "probe_address",
					  &config->probe_address, ret_error);
	}
	for (size_t i = 0; r == 0 && !is_kernel(config) && i < ARRAY_SIZE(backup); i++) {
		if (backup[i] && gw_config_address(config, &own) < 0)
			return complain(ret_error, path, "%s: the gateway's address = %.40s is no "
					"IPv4/BITS", backup_keys[i], config->address);
		if (backup[i])
			r = check_address(path, backup_keys[i], backup[i], "address", &own,
					  ret_error);
	}
	return r;
}

static int check_vm_witness(const struct gw_config *config, const char *path,
			    const struct gw_vm_config *vm, struct error *ret_error)
{
	if (vm->witness_paths != GW_WITNESS_BOTH)
		return 0;
	if (!config->probe_port[0])
		return complain(ret_error, path,
				"witness_paths = both, but the gateway has no probe_port "
				"for what comes through the client network");
	if (!vm->primary_address || !vm->standby_address || (vm->spare[0] && !vm->spare_address))
		return complain(
			ret_error, path,
			"witness_paths = both needs primary_address and "
			"standby_address, and spare_address if there is a spare: nothing is taken "
			"from elsewhere in the client network");
	if (!wire_is_host_address(ntohl(config->probe_address.ip_be32)))
		return complain(ret_error, path,
				"witness_paths = both, but the gateway's probe_address is "
				"none that a host can have");
	return 0;
}

static int load_vm(const struct gw_config *config, const char *file, struct gw_vm_config *ret_vm,
		   struct error *ret_error)
{
	char path[PATH_MAX];
	struct gw_vm_config vm = {0};
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", config->vm_dir, file) >= (int)sizeof(path))
		return complain(ret_error, file, "the path is too long");
	r = config_load(path, gw_vm_config_keys, gw_n_vm_config_keys, &vm, ret_error);
	if (r < 0)
		return r;
	if (strncmp(file, vm.name, strlen(file) - strlen(".ini")) != 0 ||
	    strlen(vm.name) != strlen(file) - strlen(".ini"))
		return complain(ret_error, path, "name = %s, but the file is not %s.ini", vm.name,
				vm.name);
	if (strcmp(vm.primary, vm.standby) == 0)
		return complain(ret_error, path, "primary and standby are the same host");
	if (vm.spare[0] && !wire_name_is_valid(vm.spare))
		return complain(ret_error, path, "spare = '%.64s', expected a host's name",
				vm.spare);
	if (strcmp(vm.spare, vm.primary) == 0 || strcmp(vm.spare, vm.standby) == 0)
		return complain(ret_error, path, "spare = %s is the primary or the standby already",
				vm.spare);
	if (!vm.spare[0] && (vm.spare_address || vm.spare_backup))
		return complain(ret_error, path, "spare_address and spare_backup need spare");
	r = check_vm_probes(config, path, &vm, ret_error);
	if (r == 0)
		r = check_vm_witness(config, path, &vm, ret_error);
	if (r == 0)
		*ret_vm = vm;
	return r;
}

static int is_ini(const struct dirent *entry)
{
	size_t size = strlen(entry->d_name);

	return entry->d_name[0] != '.' && size > 4 && strcmp(entry->d_name + size - 4, ".ini") == 0;
}

/* Mark @vm as unusable because of its file NAME.ini. Set the VM's name to NAME, and clear the rest
 * of @vm. */
static void set_fault(struct gw_vm_config *vm, const char *file, const char *text)
{
	size_t size = strlen(file) - strlen(".ini");
	char clean[WIRE_TEXT_MAX + 1];

	if (size >= sizeof(vm->name))
		size = sizeof(vm->name) - 1;
	*vm = (struct gw_vm_config){0};
	memcpy(vm->name, file, size);
	/* replace unprintable characters, because the name will be printed */
	for (char *c = vm->name; *c; c++) {
		if (*c <= ' ' || *c > '~')
			*c = '?';
	}
	wire_text_format(clean, "%s", text); /* the text quotes a file, which can have any bytes */
	(void)text_copy(vm->fault, sizeof(vm->fault), clean);
}

/* If two VMs' files give the same guest address, mark the VM of the later file as unusable
 * (set_fault()). */
static void check_guests(const char *dir, struct gw_vm_config *vms, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			struct error error;
			char file[CONFIG_NAME_SIZE + 8];

			if (!vms[i].guest_address || vms[i].guest_address != vms[j].guest_address)
				continue;
			(void)complain(&error, dir, "%s and %s have the same guest_address",
				       vms[i].name, vms[j].name);
			(void)snprintf(file, sizeof(file), "%s.ini", vms[j].name);
			set_fault(&vms[j], file, error.text);
		}
	}
}

int gw_config_load_vms(const struct gw_config *config, struct gw_vm_config *ret_vms, size_t n_max,
		       size_t *ret_n, struct error *ret_error)
{
	const char *dir = config->vm_dir;
	struct error error;
	struct dirent **entries;
	int n = scandir(dir, &entries, is_ini, alphasort), r = 0;
	size_t n_read = 0;

	if (n < 0) {
		r = -errno;
		(void)complain(ret_error, dir, "cannot read vm_dir: %s", strerror(-r));
		return r;
	}
	for (int i = 0; i < n; i++) {
		if (r == 0 && n_read == n_max)
			r = complain(ret_error, dir, "more than %zu VMs", n_max);
		if (r == 0 && load_vm(config, entries[i]->d_name, &ret_vms[n_read], &error) < 0)
			set_fault(&ret_vms[n_read], entries[i]->d_name, error.text);
		n_read += r == 0;
		free(entries[i]);
	}
	free(entries);
	check_guests(dir, ret_vms, n_read);
	if (r == 0)
		*ret_n = n_read;
	return r;
}
