/* Continues without a gateway that is lost: asks the VM's other hosts for their vote, one after the
 * other. If a host votes yes, continues as the policy `gateway_lost` says. Only the standby of this
 * term can vote yes (agree_vote()), so this host need not know which host is the standby. See
 * peer/agree.h and vm_private.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/gateway_view.h"
#include "peer/agree.h"
#include "peer/claim.h"
#include "vm/vm_private.h"

#define CLAIM_NS       (2 * CLOCK_NS_PER_S) /* longest wait for the other host's answer */
#define CLAIM_AGAIN_NS (500 * CLOCK_NS_PER_MS)

bool vm_peer_watches(const struct vm *vm)
{
	return vm->engine && vm->config->gateway_lost != AGREE_HOLD;
}

/* Continue in @term, for which the other host voted. First record the role and @term, because a
 * restarted agent must know them. @asked_ns: when we asked for the vote, in CLOCK_BOOTTIME. */
static void go_on(struct vm *vm, uint64_t term, uint64_t asked_ns)
{
	bool is_direct = vm->config->gateway_lost == AGREE_DIRECT;
	struct error error = {""};
	int r;

	r = vm_set_role(vm, is_direct ? VM_ROLE_PRIMARY : VM_ROLE_RUNNING, term, &error);
	if (r == 0)
		engine_move_end(vm->engine); /* the vote says that the guest goes on here */
	if (r == 0 && is_direct)
		engine_go_direct(vm->engine, term, asked_ns, vm->claim_next);
	else if (r == 0)
		r = engine_detach(vm_take_engine(vm), &error);
	if (vm->role != VM_ROLE_PRIMARY)
		vm_witness_end(&vm->witness);
	if (r < 0) /* vm_peer_look() asks again later, and the other host votes yes again */
		log_error("vm=%s term=%" PRIu64 " cannot go on without a gateway: %s",
			  vm->config->name, term, error.text);
}

void vm_peer_look(struct vm *vm)
{
	uint64_t now_ns = clock_mono_ns(), asked_ns = clock_boot_ns();
	const struct agent_peer *peer = &vm->config->peers[vm->claim_next];
	struct link_config link = {
		.address = peer->address,
		.port = peer->port,
		.peer_name = peer->name,
		.tls = vm->environment.tls,
	};
	struct claim claim = {.vm = vm->config->name, .term = vm->term,
			      .mode = (uint8_t)vm->config->gateway_lost};
	struct agree_primary primary = {
		.policy = (uint8_t)vm->config->gateway_lost,
		.gateway_silence_ns = gateway_view_silence_ns(vm->environment.view, now_ns),
		.gateway_lost_ns = vm->config->gateway_lost_ns,
	};
	struct engine_status status;
	struct error error;
	int r;

	engine_status(vm->engine, &status);
	primary.is_holding = status.is_holding;
	primary.is_outvoted = status.is_outvoted;
	/* While the stream goes directly to the other host, the two hosts have agreed already. This
	 * stays true if the stream breaks. */
	if (status.is_direct || now_ns < vm->claim_at_ns || !agree_may_claim(&primary))
		return;
	/* Ask one host. If it does not vote yes, ask the next host next time. */
	claim.epoch = status.committed_epoch;
	log_warn("vm=%s term=%" PRIu64 " nothing heard of the gateway for %" PRIu64
		 " ms: asking %s to go on %s",
		 vm->config->name, vm->term, primary.gateway_silence_ns / CLOCK_NS_PER_MS,
		 peer->name, agree_policy_name(primary.policy));
	r = claim_term(&link, &claim, now_ns + CLAIM_NS, &error);
	vm->claim_at_ns = clock_mono_ns() + CLAIM_AGAIN_NS;
	if (r == 0) {
		go_on(vm, claim.term + 1, asked_ns);
		return;
	}
	log_limited(LOG_LEVEL_WARN,
		    "vm=%s term=%" PRIu64 " no agreement with %s, output stays held: %s",
		    vm->config->name, vm->term, peer->name, error.text);
	vm->claim_next = (uint8_t)((vm->claim_next + 1u) % vm->config->n_peers);
}

uint16_t vm_take_peer(struct vm *vm, const struct peer_offer *offer, struct error *ret_error)
{
	bool is_known = false;

	for (size_t i = 0; i < vm->config->n_peers; i++)
		is_known |= strcmp(vm->config->peers[i].name, offer->host) == 0;
	if (!is_known)
		return error_set(ret_error, WIRE_REFUSED_IDENTITY,
				 "%s is no peer of %s in this host's file", offer->host,
				 vm->config->name);
	if (!vm->standby)
		return error_set(ret_error, WIRE_REFUSED_NOT_ASKED,
				 "this host has no [standby] section for %s", vm->config->name);
	standby_take_peer(vm->standby, offer->link, offer->term, offer->version, offer->features);
	return 0;
}
