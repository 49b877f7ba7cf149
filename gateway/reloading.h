/* reloading.h - reads the VMs' files again while the gateway runs (SIGHUP).
 *
 * Why: an operator must be able to add a VM, or change its policy, without an interruption for the
 * other VMs. A file that is wrong must change nothing: its VM continues with its last settings, and
 * an event names the wrong line.
 *
 *	in the file				what happens
 *	a new VM				it is looked after from now on
 *	reprotect, fence_*, addresses, ports	the new values count from now on
 *	spare					the new one counts, or an event says why not
 *	primary, standby, witness_paths		an event: restart the gateway for these; until
 *						then, nothing changes for the VM
 *	a wrong file				an event; nothing changes for its VM
 *	a fence_command that cannot be run:
 *	  it has changed			an event; nothing changes for its VM
 *	  it is as before			an event; other changes count
 *	no file any more			an event; the VM goes on with its last settings
 *	no file, but in the journal		an event and a fault, as at the start (vms.h)
 *
 * The gateway's own file is read only at its start.
 *
 * Where: main.c calls it. Threads: the gateway's loop. Blocks while it reads some small files. */
#ifndef GATEWAY_RELOADING_H
#define GATEWAY_RELOADING_H

#include <stdint.h>

#include "config/config.h"
#include "fleet/fleet.h"
#include "incarnating.h"
#include "probe/probes.h"
#include "session/session.h"

/* What reloading works on; all borrowed. */
struct reloading {
	const struct gw_config *config;
	struct fleet *fleet;
	struct sessions *sessions;
	struct gw_vm_config *vms; /* FLEET_VMS_MAX elements, in the order of fleet->vms */
	struct probes *probes;
	struct incarnating *incarnating;
};

/* Read the files of vm_dir and carry out what changed. Each change and each fault is one event of
 * the kind `config`. */
void reloading_run(const struct reloading *r, uint64_t now_ns);

#endif
