/* agent_config.h - reads the agent's two kinds of configuration files: agent.ini, and one VM.ini
 * per VM.
 *
 * A mistake in one VM's file must not leave the host's other VMs without an agent. So a wrong file
 * is not an error of the whole load: its VM is listed with the fault, and carries out no orders.
 * The VM's reports show the fault to the operator.
 *
 * Where: main.c loads the files once, at the start. Threads: any thread can read the result, which
 * does not change.
 */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "base/config.h"
#include "base/error.h"
#include "base/tap_names.h"
#include "wire/limits.h"

#define AGENT_PATH_MAX 192
#define AGENT_VMS_MAX  64u
#define AGENT_PEERS_MAX 2u /* a VM's other hosts: with a spare there are two */
#define AGENT_COMMAND_MAX 16384u /* largest size of a standby's QEMU command file */

/* One disk of the key `disks`. */
struct agent_disk {
	char name[WIRE_DISK_NAME_MAX + 1]; /* its name in QEMU on both hosts (vmm/disks.h) */
	char path[AGENT_PATH_MAX]; /* its image on this host: a file or a block device */
	bool is_qcow2;             /* the image's format is qcow2, not raw */
};

/* Which hosts must have an epoch's writes on their disks before the epoch's output is released
 * (docs/disks.md). */
enum agent_durability {
	AGENT_DURABILITY_STANDBY = 0,
	AGENT_DURABILITY_BOTH	 = 1,
	AGENT_DURABILITY_MEMORY	 = 2, /* none: in memory is enough */
};

/* What to do with a guest that was fenced on this host, if this host is to become the VM's
 * standby. */
enum agent_fenced_guest {
	AGENT_FENCED_GUEST_KEEP = 0, /* an operator ends its QEMU */
	AGENT_FENCED_GUEST_END	= 1, /* the agent ends its QEMU (vm/vm_end_private.h) */
};

/* The sections [vm] and [standby] of one VM's file. */
struct agent_vm_config {
	/* The VM's name. If the VM's file has errors: the file's name without .ini. If that is no
	 * valid name, or belongs to another VM: "". */
	char name[CONFIG_NAME_SIZE];
	/* path of the running QEMU's QMP socket, short enough for sockaddr_un; "" on a host that is
	 * only ever the standby */
	char qmp[104];
	/* the guest's taps, with blanks between them, and parsed: one for each network card */
	char tap[TAP_NAMES_TEXT_MAX];
	struct tap_names taps;
	uint64_t epoch_min_ns, epoch_max_ns;
	uint32_t pause_share_max, wall_share_max; /* percent */
	int clock;		   /* enum engine_clock */
	uint64_t clock_step_max_ns;
	uint32_t clock_alarm_percent;
	uint32_t epochs_in_flight;
	/* Limits: the guest is throttled if an epoch takes longer than stretch_max_ns to reach the
	 * standby, or if copying an epoch's pages during the pause takes longer than copy_max_ns */
	uint64_t stretch_max_ns, copy_max_ns;
	uint32_t throttle_max;		      /* percent */
	uint32_t held_frames_max;
	uint64_t held_bytes_max;
	uint64_t backlog_bytes_max;
	uint64_t disk_ring_bytes;
	uint64_t disk_copy_bytes_per_s;
	uint64_t disk_verify_bytes_per_s, disk_verify_every_ns;
	uint64_t ram_copy_bytes_per_s;
	uint64_t ram_verify_bytes_per_s, ram_verify_every_ns;
	int disk_flushes; /* 0: "in-pause"; 1: "outside", which sets engine_config.skips_flushes */
	/* shortest time between two witness datagrams; 0: this VM has no witness */
	uint64_t witness_ns;
	/* memory in bytes for the reference (copies of pages as the standby has them); 0 means a
	 * quarter of guest RAM */
	uint64_t reference_bytes;
	uint32_t encode_threads;  /* number of threads; 0 means workers_default_threads() */
	int codec;		  /* PAGE_FEATURE_* bits: delta classes that may be used */
	int second_stage;	  /* enum stage_mode */
	int gateway_lost;	  /* enum agree_policy */
	/* how long the gateway must be silent before it counts as lost */
	uint64_t gateway_lost_ns;
	int fenced_guest;	      /* enum agent_fenced_guest */
	/* for AGENT_FENCED_GUEST_END: how long the guest is kept before it is ended */
	uint32_t fenced_guest_keep_s;
	uint32_t copy_keep_s; /* how long a copy that is no longer wanted stays in memory */
	/* the VM's other hosts, in the form "NAME@ADDRESS:PORT NAME@ADDRESS:PORT"; "" if none is
	 * given. There is room for one host more than allowed, so that an error message can say
	 * that there are too many */
	char peer[(AGENT_PEERS_MAX + 1) * (CONFIG_NAME_SIZE + 24)];
	struct agent_peer {
		char name[CONFIG_NAME_SIZE], address[16];
		uint16_t port;
	} peers[AGENT_PEERS_MAX]; /* `peer`, parsed */
	size_t n_peers;
	/* the guest's disks, in the form "NAME:PATH NAME:qcow2:PATH ..."; "" if it has none. There
	 * is room for the longest names and paths, and for one disk more than allowed, so that the
	 * error message can say that there are too many */
	char disks[(WIRE_DISKS_MAX + 1) *
		   (WIRE_DISK_NAME_MAX + sizeof(":qcow2:") + AGENT_PATH_MAX)];
	struct agent_disk disk[WIRE_DISKS_MAX]; /* `disks`, parsed, in the same order */
	uint32_t n_disks;
	int disk_durability; /* enum agent_durability */
	/* on the standby, a directory on tmpfs; "" if this host is never the standby */
	char state_dir[AGENT_PATH_MAX];
	/* on the standby, the file with the complete QEMU command line */
	char command_file[AGENT_PATH_MAX];
	/* on the standby, the largest size of one buffered epoch in bytes; 0 means the default of
	 * standby/command.c */
	uint64_t log_bytes_max;
	/* on the standby, path of the disk log; "": PATH.hflog, with the PATH of the first disk's
	 * image */
	char disk_log[AGENT_PATH_MAX];
	/* Settings for drills (standby/drill.h); "": not set. drill_dir is always set */
	char drill_dir[AGENT_PATH_MAX];
	char drill_script[AGENT_PATH_MAX];
	char drill_address[32];
	char drill_probe[32];
	uint64_t drill_timeout_ns;
	uint64_t disk_log_bytes; /* size of a new disk log */
	char *command; /* content of command_file, owned; NULL if there is none */

	char file[AGENT_PATH_MAX + 64];	/* path of the VM's file */
	/* why the VM cannot be used; "" if it can. With a fault, only name and file are valid */
	char fault[ERROR_TEXT_BYTES];
	/* why this host cannot be the standby; "" if it can. With a fault, command is NULL */
	char standby_fault[ERROR_TEXT_BYTES];
	/* why a drill would fail; "": no reason is known. Other orders are not affected */
	char drill_fault[ERROR_TEXT_BYTES];
};

struct agent_config {
	struct config_address gateway;
	char gateway_text[16]; /* the gateway's address as numeric text */
	char ca[AGENT_PATH_MAX], crl[AGENT_PATH_MAX], cert[AGENT_PATH_MAX], key[AGENT_PATH_MAX];
	char vm_dir[AGENT_PATH_MAX];
	char run_dir[AGENT_PATH_MAX];
	char role_dir[AGENT_PATH_MAX]; /* on a disk: its files must survive a reboot */
	char pin_dir[AGENT_PATH_MAX];
	uint64_t beat_ns;
	/* ADDRESS:PORT at which this host accepts connections of other hosts; "" if it accepts
	 * none */
	char peer_listen[24];
	/* peer_listen, parsed; the port is 0 if it is not set */
	struct config_address peer_listen_at;
	int log_level; /* enum log_level */
	struct agent_vm_config *vms; /* sorted by file name; owned */
	uint32_t n_vms;
};

/* Read @path and every *.ini file in its vm_dir. If a VM's file is wrong, this is no error: the VM
 * is in *ret_config with its fault ("FILE:LINE: what is wrong, expected what").
 * Returns 0: the caller must free *ret_config with agent_config_done();
 * -errno: @path or its vm_dir is wrong. *ret_error names file and line, and says what was
 * expected. */
int agent_config_load(const char *path, struct agent_config *ret_config,
		      struct error *ret_error) __attribute__((warn_unused_result));
void agent_config_done(struct agent_config *config); /* accepts a zeroed struct */

/* Print every key with type, default and meaning. */
void agent_config_print_help(FILE *out);
/* Print the values in force, file by file. VMs with a fault are left out. */
void agent_config_print(FILE *out, const struct agent_config *config);

#endif
