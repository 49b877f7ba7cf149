/* Makes the configuration of a VM's engine; see vm_private.h. */
#include "vm/vm_private.h"

/* Called on the engine's thread. Also wakes the worker, which may wait for the end of a move. */
static void engine_changed(void *arg)
{
	struct vm *vm = arg;

	pthread_mutex_lock(&vm->lock);
	pthread_cond_signal(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
	vm_wake_owner(vm);
}

void vm_engine_config(struct vm *vm, uint64_t term, struct engine_config *ret_config)
{
	const struct agent_config *config = vm->environment.config;

	*ret_config = (struct engine_config){
		.vm = vm->config->name,
		.taps = &vm->config->taps,
		.pin_dir = vm->pin_dir,
		.pacer = {.epoch_min_ns = vm->config->epoch_min_ns,
			  .epoch_max_ns = vm->config->epoch_max_ns,
			  .pause_share_max = vm->config->pause_share_max,
			  .wall_share_max = vm->config->wall_share_max,
			  .in_flight_max = vm->config->epochs_in_flight},
		.throttle = {.commit_max_ns = vm->config->stretch_max_ns,
			     .copy_max_ns = vm->config->copy_max_ns,
			     .percent_max = vm->config->throttle_max},
		.clock = (enum engine_clock)vm->config->clock,
		.clock_step_max_ns = vm->config->clock_step_max_ns,
		.clock_alarm_percent = vm->config->clock_alarm_percent,
		.held_frames_max = vm->config->held_frames_max,
		.held_bytes_max = vm->config->held_bytes_max,
		.disks = vm->disk_names,
		.n_disks = vm->config->n_disks,
		.run_dir = config->run_dir,
		.disk_ring_bytes = vm->config->disk_ring_bytes,
		.skips_flushes = vm->config->disk_flushes,
		.disk_copy_bytes_per_s = vm->config->disk_copy_bytes_per_s,
		.disk_verify_bytes_per_s = vm->config->disk_verify_bytes_per_s,
		.disk_verify_every_ns = vm->config->disk_verify_every_ns,
		.ram_copy_bytes_per_s = vm->config->ram_copy_bytes_per_s,
		.ram_verify_bytes_per_s = vm->config->ram_verify_bytes_per_s,
		.ram_verify_every_ns = vm->config->ram_verify_every_ns,
		.backlog_bytes_max = vm->config->backlog_bytes_max,
		.reference_bytes = vm->config->reference_bytes,
		.encode_threads = vm->config->encode_threads,
		.codec = (uint64_t)vm->config->codec,
		.second_stage = (enum stage_mode)vm->config->second_stage,
		.needs_lease = vm->needs_lease,
		.is_restart = vm->is_unsure || (vm->role == VM_ROLE_PRIMARY && vm->term == term),
		.gateway_address = config->gateway_text,
		.gateway_port = config->gateway.port,
		.tls = vm->environment.tls,
		.view = vm->environment.view,
		.progress = &vm->progress,
		.changed = engine_changed,
		.changed_arg = vm,
	};
	for (size_t i = 0; i < vm->config->n_peers; i++)
		ret_config->peers[i] = (struct engine_peer){
			.name = vm->config->peers[i].name,
			.address = vm->config->peers[i].address,
			.port = vm->config->peers[i].port,
		};
}
_Static_assert(ENGINE_PEERS_MAX == AGENT_PEERS_MAX, "vm_engine_config() copies them");
