/* config.h - reads the gateway's configuration: one file for the gateway, and one per VM in vm_dir.
 *
 * A VM's file is vm_dir/NAME.ini, and NAME must equal the key `name` in the file. So two files
 * cannot describe the same VM.
 * Where: main.c calls it.
 * Threads: the gateway's loop. It reads all files at start-up, and the VMs' files again at SIGHUP
 * (reloading.h).
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

#define GATEWAY_PATH_SIZE  256
#define GATEWAY_PORT_KERNEL "kernel"

struct gw_config {
	char port[GATEWAY_PATH_SIZE];	   /* DPDK device, or "kernel" (for tests only) */
	char address[64];		   /* our IPv4 address/prefix on the backup network */
	char next_hop[64];		   /* router to other networks; "": none */
	char probe_port[GATEWAY_PATH_SIZE]; /* DPDK device in the client network; "": none */
	struct config_prefix probe_address; /* our address in the client network */
	uint64_t probe_interval_ns;
	/* where agents connect; if `port` is a DPDK device, only the TCP port is used */
	struct config_address listen;
	struct config_address management;
	char ca[GATEWAY_PATH_SIZE], crl[GATEWAY_PATH_SIZE], cert[GATEWAY_PATH_SIZE],
		key[GATEWAY_PATH_SIZE];
	char state_dir[GATEWAY_PATH_SIZE], vm_dir[GATEWAY_PATH_SIZE];
	char cores[64]; /* cores for DPDK's helper threads; "": the calling thread's cores */
	uint32_t mtu;
	int hugepages;		   /* enum port_hugepages */
	uint64_t memory_bytes;	   /* memory for DPDK; 0: as much as the port needs */
	uint64_t suspect_ns, progress_ns, confirm_ns, patience_ns, shadow_timeout_ns;
	uint64_t beat_timeout_ns, lease_ns, release_ns, restart_grace_ns, standby_timeout_ns,
		held_copy_max_ns, order_timeout_ns, move_timeout_ns, answer_within_ns,
		handshake_timeout_ns, idle_timeout_ns;
	int standby_lost;	   /* enum gw_standby_lost */
	uint64_t relay_bytes_max, events_bytes_max;
	uint32_t n_sessions_max, n_handshakes_max;
	/* UDP port for witness datagrams; if the file says 0, gw_config_load() stores the port
	 * number of `listen` */
	uint32_t witness_port;
	uint32_t witness_rekey_s;
	int log_level;		   /* enum log_level */
};

enum gw_standby_lost {
	GW_STANDBY_LOST_UNPROTECTED = 0,
	GW_STANDBY_LOST_HOLD	    = 1,
};

enum gw_witness_paths {
	GW_WITNESS_BACKUP = 0,
	GW_WITNESS_BOTH	  = 1, /* through both the backup and the client network */
};

/* Who begins a new protection after a guest has lost its protection. */
enum gw_reprotect {
	GW_REPROTECT_ASK  = 0, /* an operator */
	GW_REPROTECT_AUTO = 1, /* the gateway */
};

/* Who starts a guest that runs nowhere after a power failure. */
enum gw_cold_start {
	GW_COLD_START_ASK    = 0, /* an operator */
	GW_COLD_START_NEWEST = 1, /* the gateway, from the newest disks */
};

struct gw_vm_config {
	char name[CONFIG_NAME_SIZE], primary[CONFIG_NAME_SIZE], standby[CONFIG_NAME_SIZE];
	char spare[CONFIG_NAME_SIZE]; /* "": none */
	uint64_t spare_after_ns;
	char fence_command[GATEWAY_PATH_SIZE]; /* command run by /bin/sh; "": none */
	uint64_t fence_timeout_ns;
	bool fence_required;
	int reprotect; /* enum gw_reprotect */
	int cold_start; /* enum gw_cold_start */
	/* Addresses to probe, in network byte order. An address of 0 is not probed. */
	uint32_t guest_address;
	uint8_t guest_mac[6]; /* all 0: use the MAC in the guest's ARP replies */
	struct config_ports guest_ports;
	/* addresses of the hosts in the client network */
	uint32_t primary_address, standby_address, spare_address;
	/* addresses of the hosts in the backup network */
	uint32_t primary_backup, standby_backup, spare_backup;
	int witness_paths; /* enum gw_witness_paths */
	/* why the file cannot be used; "": it can be used. If not "", only `fault` and `name` are
	 * valid */
	char fault[640];
};

extern const struct config_key gw_config_keys[];
extern const size_t gw_n_config_keys;
extern const struct config_key gw_vm_config_keys[];
extern const size_t gw_n_vm_config_keys;

/* Read the gateway's file @path and check it, including the rules that involve several keys.
 * Returns 0. On error returns -errno and sets *ret_error. */
int gw_config_load(const char *path, struct gw_config *ret_config, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Parse the gateway's own address on the backup network. Returns 0, or -EINVAL if it is missing or
 * malformed. */
int gw_config_address(const struct gw_config *config, struct config_prefix *ret_address)
	__attribute__((warn_unused_result));

/* Read all *.ini files in @config's vm_dir, in the order of their names, and check that their
 * addresses fit the gateway's networks. Each file fills one element of @ret_vms, which has room for
 * @n_max elements. If a file is unusable, its element says why in `fault`; other VMs are not
 * affected. Returns 0 and sets *ret_n to the number of files. Returns -errno and sets *ret_error if
 * the directory cannot be read or has more than @n_max files. */
int gw_config_load_vms(const struct gw_config *config, struct gw_vm_config *ret_vms, size_t n_max,
		       size_t *ret_n, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
