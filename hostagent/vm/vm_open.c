/* Opens and closes one VM on this host; see vm.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hurry.h"
#include "base/log.h"
#include "vm/vm_cold_private.h"
#include "vm/vm_private.h"

_Static_assert(sizeof((struct standby_disk){0}.name) == sizeof((struct agent_disk){0}.name),
	       "open_standby() copies it");

/* Open the standby, if the VM's file has a [standby] section. The standby continues with an earlier
 * agent's copy without an order, because that copy may be the only one. */
static void open_standby(struct vm *vm)
{
	struct standby_disk disks[WIRE_DISKS_MAX];
	struct error error;
	struct standby_config config = {
		.disks = disks,
		.n_disks = vm->config->n_disks,
		.role_dir = vm->environment.config->role_dir,
		.owns_disks = vm->role == VM_ROLE_PRIMARY || vm->role == VM_ROLE_RUNNING,
		.disk_log = vm->config->disk_log,
		.disk_log_bytes = vm->config->disk_durability == AGENT_DURABILITY_MEMORY
					  ? 0
					  : vm->config->disk_log_bytes,
		.vm = vm->config->name,
		.state_dir = vm->config->state_dir,
		.run_dir = vm->environment.config->run_dir,
		.command_file = vm->config->command_file,
		.taps = &vm->config->taps,
		.log_bytes_max = vm->config->log_bytes_max,
		.copy_keep_ns = vm->config->copy_keep_s * CLOCK_NS_PER_S,
		.drill_dir = vm->config->drill_dir,
		.drill_address = vm->config->drill_address,
		.drill_probe = vm->config->drill_probe,
		.drill_script = vm->config->drill_script,
		.drill_timeout_ns = vm->config->drill_timeout_ns,
		.clock_step_max_ns = vm->config->clock == ENGINE_CLOCK_CORRECT
					     ? vm->config->clock_step_max_ns
					     : 0,
		.gateway = &vm->gateway,
		.host = wire_tls_context_self(vm->environment.tls)->name,
		.gateway_lost = (uint8_t)vm->config->gateway_lost,
		.gateway_lost_ns = vm->config->gateway_lost_ns,
		.view = vm->environment.view,
		.progress = &vm->progress,
		.changed = vm_wake_owner,
		.changed_arg = vm,
		.may_run = vm_cold_may_run,
	};

	if (!*vm->config->state_dir)
		return;
	for (uint32_t i = 0; i < vm->config->n_disks; i++) {
		memcpy(disks[i].name, vm->config->disk[i].name, sizeof(disks[i].name));
		disks[i].path = vm->config->disk[i].path;
		disks[i].is_qcow2 = vm->config->disk[i].is_qcow2;
	}
	/* A wrong command file is not an error here: the file is read when it is needed, and may
	 * have been corrected by then. */
	if (standby_open(&config, &vm->standby, &error) == 0)
		return;
	wire_text_format(vm->standby_fault, "this host cannot stand by: %s", error.text);
	log_error("vm=%s %s; correct it and `systemctl reload holdfast-agent`", vm->config->name,
		  vm->standby_fault);
}

/* Adjust the role after a boot. No process, copy or hold from before the boot is left, and another
 * host may own the guest by now. */
static void after_boot(struct vm *vm)
{
	/* A guest that ran unprotected ended with the boot, and no other host has it. Somebody may
	 * start it again. */
	vm->is_unfound = vm->role == VM_ROLE_RUNNING;
	vm->is_unsure = vm->role == VM_ROLE_PRIMARY;
	if (vm->is_unsure)
		log_warn("vm=%s term=%" PRIu64
			 " this host was booted while it protected the guest: a "
			 "QEMU of it is kept "
			 "stopped until the gateway says who owns it",
			 vm->config->name, vm->term);
}

/* Log why this VM takes no orders on this host, and keep the reason for the reports. Other VMs are
 * not affected. */
static void set_fault(struct vm *vm, const char *text)
{
	wire_text_format(vm->fault, "no use can be made of this VM here: %s", text);
	log_error("vm=%s %s; correct it and `systemctl reload holdfast-agent`", vm->config->name,
		  vm->fault);
}

static int start(struct vm *vm)
{
	const struct agent_config *config = vm->environment.config;
	struct error error;
	bool is_booted = false;
	int r;

	(void)snprintf(vm->pin_dir, sizeof(vm->pin_dir), "%s/%s", config->pin_dir,
		       vm->config->name);
	vm_witness_init(&vm->witness, config, vm->config, vm->pin_dir);
	vm_tap_init(&vm->tap);
	if (*vm->config->fault)
		set_fault(vm, vm->config->fault);
	/* Load the role, and adjust it if the host was booted since. */
	r = vm_role_load(config->run_dir, config->role_dir, vm->config->name, &vm->role, &vm->term,
			 &is_booted);
	if (r < 0) {
		(void)error_set(
			&error, r,
			"%s/%s.role (or the one in %s): %s; remove it if this host owns nothing",
			config->run_dir, vm->config->name, config->role_dir,
			r == -EINVAL ? "damaged" : strerror(-r));
		set_fault(vm, error.text);
	}
	if (is_booted)
		after_boot(vm);
	else if (vm->role == VM_ROLE_PRIMARY && !vm->handed)
		log_warn("vm=%s term=%" PRIu64
			 " an earlier agent left this guest protected: its frames "
			 "are dropped until the gateway orders what to do",
			 vm->config->name, vm->term);
	/* Continue in that role. */
	if (!*vm->fault)
		open_standby(vm);
	if (vm->role == VM_ROLE_STANDBY) /* before the first report */
		vm_tap_begin(&vm->tap, vm->config->name, &vm->config->taps);
	r = -pthread_create(&vm->thread, NULL, vm_work, vm);
	if (r == 0 && vm->handed)
		hurry_thread(vm->thread);
	return r;
}

int vm_open(const struct vm_environment *environment, const struct agent_vm_config *config,
	    struct handed *handed, struct vm **ret_vm)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	pthread_condattr_t monotonic;
	int r;

	if (!vm)
		return -ENOMEM;
	vm->environment = *environment;
	vm->config = config;
	vm->handed = handed;
	vm->gateway = (struct link_config){
		.address = environment->config->gateway_text,
		.port = environment->config->gateway.port,
		.tls = environment->tls,
	};
	for (uint32_t i = 0; i < config->n_disks; i++)
		vm->disk_names[i] = config->disk[i].name;
	vm_guest_init(&vm->guest);
	progress_init(&vm->progress);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	r = start(vm);
	if (r < 0) {
		standby_close(vm->standby);
		vm_guest_done(&vm->guest);
		progress_done(&vm->progress);
		free(vm);
		return r;
	}
	*ret_vm = vm;
	return 0;
}

void vm_stop_worker(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->must_stop = true;
	pthread_cond_signal(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
	pthread_join(vm->thread, NULL);
}

void vm_close(struct vm *vm)
{
	if (!vm)
		return;
	if (!vm->is_handed_on)
		vm_stop_worker(vm);
	engine_close(vm->engine);
	vm_witness_done(&vm->witness);
	vm_tap_done(&vm->tap);
	standby_close(vm->standby);
	vm_cold_settle(vm);
	vm_guest_done(&vm->guest);
	progress_done(&vm->progress);
	pthread_cond_destroy(&vm->wake);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

int vm_check_role(const struct agent_config *config, const char *name)
{
	enum vm_role role;
	uint64_t term;
	bool is_booted;

	return vm_role_load(config->run_dir, config->role_dir, name, &role, &term, &is_booted);
}
