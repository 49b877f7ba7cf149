#include "fleet/witness_keys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

/* if a key could not be made, how long to wait before another try */
#define RETRY_NS CLOCK_NS_PER_S
/* shortest time between two events about forgeries, for each VM */
#define TELL_NS	 (10 * CLOCK_NS_PER_S)

static bool fill_random(void *data, size_t size)
{
	return getrandom(data, size, GRND_NONBLOCK) == (ssize_t)size;
}

/* Returns the next key id, or 0 if no random bytes are available yet. */
static uint32_t next_key_id(struct fleet *fleet)
{
	if (fleet->key_id_step == 0) {
		if (!fill_random(&fleet->next_key_id, sizeof(fleet->next_key_id)) ||
		    !fill_random(&fleet->key_id_step, sizeof(fleet->key_id_step)))
			return 0;
		fleet->key_id_step |= 1;
	}
	fleet->next_key_id += fleet->key_id_step;
	if (fleet->next_key_id == 0)
		fleet->next_key_id += fleet->key_id_step;
	return fleet->next_key_id;
}

/* Parse the address in @peer, a text such as "198.18.1.2:40000", into host byte order. Returns
 * false if @peer has another form. */
static bool parse_peer(const char *peer, uint32_t *ret_address)
{
	char text[INET_ADDRSTRLEN];
	const char *colon = strchr(peer, ':');
	struct in_addr in;

	if (!colon || (size_t)(colon - peer) >= sizeof(text))
		return false;
	memcpy(text, peer, (size_t)(colon - peer));
	text[colon - peer] = '\0';
	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret_address = ntohl(in.s_addr);
	return true;
}

/* Make a new key and send it to @vm's owner on @link. */
static int give_key(struct fleet *fleet, struct fleet_vm *vm, struct fleet_link *link,
		    uint64_t now_ns)
{
	struct wire_witness_key key = {.port = fleet->config.witness_port,
				       .key_id = next_key_id(fleet)};
	uint8_t owner = vm->fsm.record.owner;
	uint32_t addresses[WIRE_WITNESS_N_PATHS] = {0};
	int r = -EAGAIN;

	memcpy(key.vm, vm->config.name, sizeof(key.vm));
	if (!parse_peer(link->peer, &addresses[WIRE_WITNESS_BACKUP]))
		return -EINVAL;
	if (link->features & WIRE_FEATURE_WITNESS_PATHS)
		addresses[WIRE_WITNESS_CLIENT] = vm->witness_sources[owner];
	if (addresses[WIRE_WITNESS_CLIENT] != 0)
		key.client_address = fleet->config.client_address;
	if (key.key_id != 0 && fill_random(key.key, sizeof(key.key)))
		r = witness_rx_set_key(fleet->witness, vm->index, key.key_id, key.key, addresses,
				       link->number != vm->witness.sent_on, now_ns);
	if (r == 0) {
		fleet->links->witness_key(link, vm->fsm.record.term, &key);
		counters_add(&fleet->counters.witness_keys, 1);
		log_info("vm=%s host=%s term=%" PRIu64 " witness key %08" PRIx32 "%s",
			 vm->config.name, vm->config.host[owner], vm->fsm.record.term, key.key_id,
			 key.client_address ? ", by the client network too" : "");
	}
	explicit_bzero(&key, sizeof(key));
	return r;
}

/* If the agent of @vm's owner understands keys and has reported that it protects the VM, returns
 * that agent's control connection. If not, returns NULL. */
static struct fleet_link *key_taker(struct fleet_vm *vm)
{
	uint8_t owner = vm->fsm.record.owner;
	const struct vm_host *host = &vm->fsm.host[owner];
	struct fleet_link *link = vm->host[owner]->control;

	if (!link || !(link->features & WIRE_FEATURE_WITNESS))
		return NULL;
	if (!fleet_is_durable(vm) || !host->reported || host->term != vm->fsm.record.term)
		return NULL;
	return host->agent_state == WIRE_STATE_ATTACHING ||
	       host->agent_state == WIRE_STATE_SYNCING ||
	       host->agent_state == WIRE_STATE_PROTECTED ? link : NULL;
}

void witness_keys_offer(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	struct fleet_witness *w = &vm->witness;
	struct fleet_link *link = fleet->config.witness_port ? key_taker(vm) : NULL;
	bool again;
	int r;

	if (!link)
		return;
	again = w->term != 0 && link->number == w->sent_on;
	if (again && now_ns - w->sent_ns < fleet->config.witness_rekey_ns)
		return;
	if (!again && w->failed_ns != 0 && now_ns - w->failed_ns < RETRY_NS)
		return;
	r = give_key(fleet, vm, link, now_ns);
	w->failed_ns = r < 0 ? now_ns : 0;
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s cannot make a witness key: %s, trying again",
			    vm->config.name, strerror(-r));
		return;
	}
	w->term = vm->fsm.record.term;
	w->owner = vm->fsm.record.owner;
	w->sent_on = link->number;
	w->sent_ns = now_ns;
}

void witness_keys_follow(struct fleet *fleet, struct fleet_vm *vm)
{
	if (vm->witness.term == 0 || (vm->witness.term == vm->fsm.record.term &&
				      vm->witness.owner == vm->fsm.record.owner))
		return;
	witness_rx_clear(fleet->witness, vm->index);
	vm->witness = (struct fleet_witness){0};
}

/* Give an event if forged witness datagrams arrived. */
static void tell_forgeries(struct fleet *fleet, struct fleet_vm *vm, uint64_t now_ns)
{
	const struct witness_view *view = fleet_witness_view(fleet, vm);
	struct fleet_witness *w = &vm->witness;
	char text[128];

	if (view->n_bad_mac == w->n_bad_mac_said ||
	    (w->said_ns != 0 && now_ns - w->said_ns < TELL_NS))
		return;
	(void)snprintf(text, sizeof(text),
		       "%" PRIu64 " forged witness datagrams from the address of %s, ignoring them",
		       view->n_bad_mac - w->n_bad_mac_said, vm->config.host[w->owner]);
	w->n_bad_mac_said = view->n_bad_mac;
	w->said_ns = now_ns;
	log_warn("vm=%s %s", vm->config.name, text);
	fleet_event(fleet, now_ns, vm->config.name, "witness", text);
}

void witness_keys_tick(struct fleet *fleet, uint64_t now_ns)
{
	witness_rx_tick(fleet->witness, now_ns);
	for (size_t i = 0; i < fleet->n_vms; i++) {
		witness_keys_offer(fleet, fleet->vms[i], now_ns);
		tell_forgeries(fleet, fleet->vms[i], now_ns);
	}
}

void witness_keys_count(struct fleet *fleet)
{
	for (unsigned int path = 0; path < WIRE_WITNESS_N_PATHS; path++) {
		for (unsigned int v = 0; v < WITNESS_RX_N_VERDICTS; v++)
			fleet->counters.witness[path][v] =
				witness_rx_count(fleet->witness, path, v);
	}
}
