#include "reloading.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "fence/fence.h"
#include "fleet/drains.h"
#include "networks/probing.h"
#include "vm/fsm_look.h"
#include "vms.h"

/* What the files say, and how many changes followed from this. The one variable of this type is
 * static, because it is large. */
struct found {
	struct gw_vm_config vms[FLEET_VMS_MAX];
	size_t n;
	struct vm_journal_table journal;
	unsigned int n_added, n_changed, n_wrong;
};

static void say(const struct reloading *r, uint64_t now_ns, const char *vm, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void say(const struct reloading *r, uint64_t now_ns, const char *vm, const char *format, ...)
{
	char text[ERROR_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)text_vput(text, sizeof(text), format, args);
	va_end(args);
	fleet_event(r->fleet, now_ns, vm, "config", text);
}

static size_t index_of(const struct reloading *r, const char *name)
{
	size_t i = 0;

	while (i < r->fleet->n_vms && strcmp(r->fleet->vms[i]->config.name, name) != 0)
		i++;
	return i;
}

static bool is_same(const struct gw_vm_config *a, const struct gw_vm_config *b)
{
	return memcmp(a, b, sizeof(*a)) == 0; /* both were zeroed before they were filled */
}

static bool is_same_pair(const struct gw_vm_config *a, const struct gw_vm_config *b)
{
	return strcmp(a->primary, b->primary) == 0 && strcmp(a->standby, b->standby) == 0;
}

/* Returns the name of a changed setting that takes effect only after a restart, or NULL if there is
 * none. */
static const char *needs_restart(const struct gw_vm_config *old, const struct gw_vm_config *new)
{
	if (!is_same_pair(old, new))
		return "primary or standby";
	return old->witness_paths != new->witness_paths ? "witness_paths" : NULL;
}

/* Is there room for one more VM? The limits of hosts and connections were fixed at the gateway's
 * start. */
static bool has_room(const struct reloading *r)
{
	const struct session_config *limits = &r->sessions->config;
	size_t n_needed = r->fleet->n_hosts + VM_HOSTS + VM_STREAMS * (r->fleet->n_vms + 1);

	return r->fleet->n_vms < FLEET_VMS_MAX && r->fleet->n_hosts + VM_HOSTS <= FLEET_HOSTS_MAX &&
	       n_needed + limits->n_handshakes_max <= limits->n_sessions_max;
}

static bool has_room_for_host(const struct reloading *r)
{
	const struct session_config *limits = &r->sessions->config;
	size_t n_needed = r->fleet->n_hosts + 1 + VM_STREAMS * r->fleet->n_vms;

	return r->fleet->n_hosts < FLEET_HOSTS_MAX &&
	       n_needed + limits->n_handshakes_max <= limits->n_sessions_max;
}

/* Change the VM's spare from that in @old to that in @new; each can be none. Returns NULL if the
 * spare is now as in @new, or a text that says why it cannot be changed. */
static const char *change_spare(const struct reloading *r, struct fleet_vm *vm,
				const struct gw_vm_config *old, const struct gw_vm_config *new,
				uint64_t now_ns)
{
	int e;

	if (strcmp(old->spare, new->spare) == 0)
		return NULL;
	if (vm_fsm_spare(&vm->fsm) != VM_HOST_THIRD)
		return "spare: it names the host that has a seat now; `protect --with` another "
		       "host first";
	if (*new->spare && !has_room_for_host(r))
		return "spare: there is no room for one more host; set sessions_max larger, and "
		       "restart the gateway";
	e = fleet_set_spare(r->fleet, vm, new->spare, now_ns);
	if (e == -EPERM)
		return "spare: who owns the guest is not clear, or the spare of before still has "
		       "something of the guest; `holdfastctl vm show`, then send SIGHUP again";
	if (e == -EBUSY || e == -ENOSPC)
		return "spare: the VM waits for the disk, or there are too many hosts; send SIGHUP "
		       "again";
	if (e < 0)
		log_warn("vm=%s its spare must connect again: %s", new->name, strerror(-e));
	return NULL;
}

/* Write to @ret_text the names of the keys that differ, each after a space. Names that do not fit
 * are left out. */
static void name_changes(const struct gw_vm_config *old, const struct gw_vm_config *new,
			 char *ret_text, size_t size)
{
	size_t at = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < gw_n_vm_config_keys; i++) {
		const struct config_key *key = &gw_vm_config_keys[i];
		const char *a = (const char *)old + key->offset;
		const char *b = (const char *)new + key->offset;

		if (memcmp(a, b, key->size) == 0 || at + strlen(key->name) + 2 > size)
			continue;
		at += (size_t)snprintf(ret_text + at, size - at, " %s", key->name);
	}
}

static void change(const struct reloading *r, struct found *found, size_t i,
		   const struct gw_vm_config *new, uint64_t now_ns)
{
	struct fleet_vm *vm = r->fleet->vms[i];
	struct vm_input policy = {.kind = VM_IN_POLICY};
	struct vm_config old;
	const char *restart = needs_restart(&r->vms[i], new);
	const char *spare;
	struct error why;
	char changes[256];
	int e;

	if (strcmp(r->vms[i].fence_command, new->fence_command) != 0 &&
	    fence_check(new->fence_command, &why) < 0) {
		found->n_wrong++;
		say(r, now_ns, new->name, "its file changes fence_command to one that cannot be "
		    "run: %s; nothing is changed", why.text);
		return;
	}
	spare = restart ? NULL : change_spare(r, vm, &r->vms[i], new, now_ns);
	if (spare) {
		found->n_wrong++;
		say(r, now_ns, new->name, "its file changes %s; nothing is changed", spare);
		return;
	}
	if (restart) {
		found->n_wrong++;
		/* Warn if primary or standby changes while there may be a copy. For a VM without a
		 * spare the journal names only the owner, so after a restart the gateway assumes
		 * that the other host in the file has the copy. */
		say(r, now_ns, new->name, "its file changes %s: nothing is changed until the "
		    "gateway is restarted%s", restart,
		    vm->fsm.record.state == VM_UNPROTECTED || is_same_pair(&r->vms[i], new)
			    ? ""
			    : "; unprotect it before, else a host without a copy is taken for the "
			      "one that has it");
		return;
	}
	old = vm->config;
	vms_describe(r->config, new, &vm->config);
	e = fleet_step(r->fleet, vm, &policy, now_ns);
	if (e == 0)
		e = probing_change(r->config, new, r->probes, vm, now_ns);
	if (e < 0) {
		found->n_wrong++;
		vm->config = old;
		say(r, now_ns, new->name, "its file has changed, but that cannot be carried out: "
		    "%s; nothing is changed, send SIGHUP again", strerror(-e));
		return;
	}
	if (new->witness_paths == GW_WITNESS_BOTH)
		vms_take_client_path(r->config, r->fleet, new);
	name_changes(&r->vms[i], new, changes, sizeof(changes));
	r->vms[i] = *new;
	vms_take_addresses(r->fleet, r->vms);
	found->n_changed++;
	say(r, now_ns, new->name, "its file was read again, changed:%s; reprotect = %s, "
	    "fence_command = %s", changes, new->reprotect == GW_REPROTECT_AUTO ? "auto" : "ask",
	    *new->fence_command ? new->fence_command : "(none)");
}

static void add(const struct reloading *r, struct found *found, const struct gw_vm_config *new,
		uint64_t now_ns)
{
	size_t i = r->fleet->n_vms;
	struct error why;
	int e = 0;

	if (!has_room(r))
		e = error_set(&why, -ENOSPC, "there is no room for one more VM: set sessions_max "
			      "larger and restart the gateway");
	else if (new->witness_paths == GW_WITNESS_BOTH && r->fleet->config.client_address == 0)
		e = error_set(&why, -ENOTSUP, "witness_paths = both is the first of this gateway: "
			      "restart it");
	else
		e = vms_add(r->config, r->fleet, new, &found->journal, &why);
	if (e == 0) {
		/* the VM is in the fleet: give it what other VMs get at the gateway's start */
		incarnating_mute(r->incarnating, r->fleet->vms[i], now_ns);
		r->vms[i] = *new;
		e = probing_change(r->config, new, r->probes, r->fleet->vms[i], now_ns);
		if (e < 0)
			log_warn("vm=%s its addresses are not probed: %s", new->name, strerror(-e));
		for (uint8_t h = 0; h < VM_HOSTS && e >= 0; h++)
			e = fleet_control_again(r->fleet, r->fleet->vms[i], h, now_ns);
		if (e < 0)
			log_warn("vm=%s a host must connect again: %s", new->name, strerror(-e));
		fleet_drains_added(r->fleet, r->fleet->vms[i]);
		fleet_drop_fault(r->fleet, new->name);
		found->n_added++;
		say(r, now_ns, new->name, "its file is new: it is looked after from now on");
		return;
	}
	found->n_wrong++;
	fleet_drop_fault(r->fleet, new->name);
	fleet_add_fault(r->fleet, new->name, why.text);
	say(r, now_ns, new->name, "it is not looked after: %s", TEXT_SHORT(600, why.text));
}

static void take(const struct reloading *r, struct found *found, const struct gw_vm_config *new,
		 uint64_t now_ns)
{
	size_t i = index_of(r, new->name);

	if (new->fault[0]) {
		found->n_wrong++;
		say(r, now_ns, new->name, "%s; %s", TEXT_SHORT(600, new->fault),
		    i < r->fleet->n_vms ? "it goes on with its last settings"
					: "it is not looked after");
		if (i == r->fleet->n_vms) {
			fleet_drop_fault(r->fleet, new->name);
			fleet_add_fault(r->fleet, new->name, new->fault);
		}
	} else if (i == r->fleet->n_vms) {
		add(r, found, new, now_ns);
	} else if (!is_same(&r->vms[i], new)) {
		change(r, found, i, new, now_ns);
	}
}

static bool has_file(const struct found *found, const char *name)
{
	for (size_t i = 0; i < found->n; i++)
		if (strcmp(found->vms[i].name, name) == 0)
			return true;
	return false;
}

/* Report each VM whose file is gone: the VM continues. Drop the fault of each unusable file that is
 * gone, unless the journal says that its VM still needs somebody to look after it. */
static void look_for_missing(const struct reloading *r, const struct found *found, uint64_t now_ns)
{
	for (size_t i = 0; i < r->fleet->n_vms; i++) {
		const char *name = r->fleet->vms[i]->config.name;

		const struct vm_record *record = &r->fleet->vms[i]->fsm.record;

		if (has_file(found, name))
			continue;
		if (record->state == VM_UNPROTECTED && !record->is_wanted)
			say(r, now_ns, name,
			    "its file is gone: a restart of the gateway removes it");
		else
			say(r, now_ns, name, "its file is gone: it goes on with its last settings, "
			    "but after a restart of the gateway nobody looks after it, and a "
			    "protected guest is stopped; put the file back, or unprotect it");
	}
	for (size_t i = r->fleet->n_faults; i-- > 0;) {
		char name[WIRE_NAME_MAX + 1];

		memcpy(name, r->fleet->faults[i].name, sizeof(name));
		if (!has_file(found, name))
			fleet_drop_fault(r->fleet, name);
	}
	if (vms_note_lost(r->config, r->fleet, &found->journal) == 0)
		return;
	for (size_t i = 0; i < r->fleet->n_faults; i++) {
		const struct fleet_fault *fault = &r->fleet->faults[i];

		if (!has_file(found, fault->name))
			say(r, now_ns, fault->name, "it is not looked after: %s",
			    TEXT_SHORT(800, fault->text));
	}
}

/* Check again whether each VM's fence command can be run: its program may have appeared or
 * disappeared. */
static void look_at_fences(const struct reloading *r, uint64_t now_ns)
{
	for (size_t i = 0; i < r->fleet->n_vms; i++) {
		vms_check_fence(r->fleet, &r->vms[i]);
		if (r->fleet->vms[i]->fence_fault[0])
			say(r, now_ns, r->vms[i].name, "%s", r->fleet->vms[i]->fence_fault);
	}
}

void reloading_run(const struct reloading *r, uint64_t now_ns)
{
	static struct found found;
	struct error error;

	memset(&found, 0, sizeof(found));
	if (gw_config_load_vms(r->config, found.vms, FLEET_VMS_MAX, &found.n, &error) < 0 ||
	    vm_journal_read(r->config->state_dir, &found.journal, &error) < 0) {
		say(r, now_ns, "", "%s; no VM's settings were changed",
		    TEXT_SHORT(800, error.text));
		return;
	}
	r->fleet->n_more_faults = 0; /* counted again below */
	for (size_t i = 0; i < found.n; i++)
		take(r, &found, &found.vms[i], now_ns);
	look_for_missing(r, &found, now_ns);
	look_at_fences(r, now_ns);
	say(r, now_ns, "",
	    "the VMs' files were read again: %u added, %u changed, %u not carried out",
	    found.n_added, found.n_changed, found.n_wrong);
}
