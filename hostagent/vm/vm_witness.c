#include "vm/vm_witness_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

/* Interval of checks of the routes to the gateway, which can change. */
#define REFRESH_NS (2 * CLOCK_NS_PER_S)
/* When to check again if the gateway's MAC address is not known. By then our connection or the
 * witness has made the kernel send an ARP request. */
#define RETRY_NS   (200 * CLOCK_NS_PER_MS)

void vm_witness_init(struct vm_witness *w, const struct agent_config *agent,
		     const struct agent_vm_config *config, const char *hold_pin_dir)
{
	*w = (struct vm_witness){.config = config, .gateway = agent->gateway,
				 .hold_pin_dir = hold_pin_dir, .due_ns = UINT64_MAX};
	memcpy(w->gateway_text, agent->gateway_text, sizeof(w->gateway_text));
	pthread_mutex_init(&w->lock, NULL);
	/* The suffix has a plus, which no VM's name has, so this is no VM's hold. (bpffs allows no
	 * dot in a name.) */
	if (snprintf(w->pin_dir, sizeof(w->pin_dir), "%s+witness", hold_pin_dir) >=
	    (int)sizeof(w->pin_dir))
		w->pin_dir[0] = '\0';
}

void vm_witness_done(struct vm_witness *w)
{
	if (access(w->hold_pin_dir, F_OK) < 0)
		vm_witness_end(w);
	witness_mirror_leave(w->witness);
	w->witness = NULL;
	explicit_bzero(&w->key, sizeof(w->key));
	pthread_mutex_destroy(&w->lock);
}

void vm_witness_offer(struct vm_witness *w, const struct wire_witness_key *key, uint64_t term)
{
	pthread_mutex_lock(&w->lock);
	w->key = *key;
	w->key_term = term;
	w->key_due_ns = 0;
	pthread_mutex_unlock(&w->lock);
}

uint64_t vm_witness_due_ns(struct vm_witness *w, uint64_t term)
{
	uint64_t due_ns = w->due_ns;

	pthread_mutex_lock(&w->lock);
	if (w->key.key_id != 0 && w->key_term <= term && w->key_due_ns < due_ns)
		due_ns = w->key_due_ns;
	pthread_mutex_unlock(&w->lock);
	return due_ns;
}

static void set_witness(struct vm_witness *w, struct witness_mirror *witness, bool is_failed)
{
	pthread_mutex_lock(&w->lock);
	w->witness = witness;
	w->is_failed = is_failed;
	pthread_mutex_unlock(&w->lock);
}

static int open_witness(struct vm_witness *w)
{
	struct witness_mirror_config config = {
		.vm = w->config->name,
		.taps = &w->config->taps,
		.pin_dir = w->pin_dir,
		.hold_pin_dir = w->hold_pin_dir,
		.gateway_be32 = w->gateway.ip_be32,
		.interval_ns = w->config->witness_ns,
	};
	struct error error;
	struct witness_mirror *witness;
	int r = witness_mirror_open(&config, &witness, &error);

	if (r < 0) {
		if (!w->is_failed) /* read without the lock: only this thread changes it */
			log_warn("vm=%s no witness: %s; it is protected all the same; trying again",
				 w->config->name, error.text);
		set_witness(w, NULL, true);
		return r;
	}
	log_info("vm=%s witness %s, at most one datagram in %" PRIu64 " ms", w->config->name,
		 witness_mirror_is_taken_over(witness) ? "taken over" : "set up",
		 w->config->witness_ns / CLOCK_NS_PER_MS);
	set_witness(w, witness, false);
	memset(w->is_way_told, 0, sizeof(w->is_way_told));
	return 0;
}

static const char *explain_way(int r)
{
	switch (r) {
	case -ENOENT:
		return "its MAC address is not known";
	case -ENOTSUP:
		return "it is this host, not reached by Ethernet, or by the backup network's "
		       "device";
	default:
		return strerror(-r);
	}
}

/* Check the routes to the gateway, and set when to check them again. */
static void refresh(struct vm_witness *w)
{
	static const char *const networks[WITNESS_N_PATHS] = {
		[WITNESS_BACKUP] = "the backup network",
		[WITNESS_CLIENT] = "the client network",
	};
	int ways[WITNESS_N_PATHS];

	witness_mirror_refresh(w->witness, ways);
	w->due_ns = clock_mono_ns() + REFRESH_NS;
	for (size_t i = 0; i < WITNESS_N_PATHS; i++) {
		if (ways[i] == -ENOENT)
			w->due_ns = clock_mono_ns() + RETRY_NS;
		if (ways[i] < 0 && !w->is_way_told[i])
			log_warn(
				"vm=%s the witness has no way to gateway %s by %s: %s; trying "
				"again",
				w->config->name, w->gateway_text, networks[i],
				explain_way(ways[i]));
		w->is_way_told[i] = ways[i] < 0;
	}
}

/* Put @key back, so that the worker tries it again later, unless a newer key was offered
 * meanwhile. */
static void put_back(struct vm_witness *w, const struct wire_witness_key *key)
{
	pthread_mutex_lock(&w->lock);
	if (w->key.key_id == 0) {
		w->key = *key;
		w->key_due_ns = clock_mono_ns() + REFRESH_NS;
	}
	pthread_mutex_unlock(&w->lock);
}

static void take_key(struct vm_witness *w, const struct wire_witness_key *key)
{
	if (w->config->witness_ns == 0) { /* no witness is wanted, but an earlier agent may have
					   * left one */
		vm_witness_end(w);
		return;
	}
	if (!w->witness && open_witness(w) < 0) {
		put_back(w, key);
		return;
	}
	if (witness_mirror_set_key(w->witness, key->key_id, key->port, key->key,
				   htonl(key->client_address)) < 0)
		log_debug("vm=%s a witness key without id or port, ignoring", w->config->name);
	refresh(w);
	log_debug("vm=%s witness key=%u to %s:%u", w->config->name, key->key_id, w->gateway_text,
		  key->port);
}

void vm_witness_turn(struct vm_witness *w, bool is_primary, uint64_t term)
{
	struct wire_witness_key key = {0};
	uint64_t key_term;

	pthread_mutex_lock(&w->lock);
	key_term = w->key_term;
	if (key_term <= term && clock_mono_ns() >= w->key_due_ns) {
		key = w->key;
		explicit_bzero(&w->key, sizeof(w->key));
	}
	pthread_mutex_unlock(&w->lock);
	if (key.key_id != 0 && (key_term < term || !is_primary))
		log_info("vm=%s term=%" PRIu64 " a witness key of term %" PRIu64 " is not for what "
			 "this host is now, ignoring", w->config->name, term, key_term);
	else if (key.key_id != 0)
		take_key(w, &key);
	else if (w->witness && clock_mono_ns() >= w->due_ns)
		refresh(w);
	explicit_bzero(&key, sizeof(key));
}

void vm_witness_end(struct vm_witness *w)
{
	struct witness_mirror *witness = w->witness;
	int r;

	set_witness(w, NULL, false);
	w->due_ns = UINT64_MAX;
	r = witness ? witness_mirror_close(witness)
		    : witness_mirror_remove_left(w->config->name, &w->config->taps, w->pin_dir);
	if (r < 0)
		log_warn("vm=%s the witness could not be removed whole (%s), ignoring",
			 w->config->name, strerror(-r));
}

void vm_witness_report(struct vm_witness *w, char stats[WIRE_STATS_MAX + 1])
{
	struct witness_mirror_stats s = {0};
	const char *state = w->config->witness_ns == 0 ? "off" : "no-key", *client = NULL;
	int r;

	pthread_mutex_lock(&w->lock);
	if (w->witness) {
		witness_mirror_stats(w->witness, &s);
		state = s.is_enabled && s.has_way[WITNESS_BACKUP] ? "on" : "no-way";
		if (s.is_wanted[WITNESS_CLIENT])
			client = s.is_enabled && s.has_way[WITNESS_CLIENT] ? "on" : "no-way";
	} else if (w->is_failed) {
		state = "failed";
	}
	pthread_mutex_unlock(&w->lock);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"witness_key_id", s.key_id},	 {"witness_sent", s.sent[WITNESS_BACKUP]},
		{"witness_sampled", s.sampled},
		{"witness_failed", s.failed_clone + s.failed[WITNESS_BACKUP]},
		{"witness_to_guest", s.to_guest},
		{"witness_client_sent", s.sent[WITNESS_CLIENT]},
		{"witness_client_failed", s.failed[WITNESS_CLIENT]},
	};
	/* without a client network, leave out the last two rows */
	const size_t n_rows = client ? ARRAY_SIZE(rows) : ARRAY_SIZE(rows) - 2;

	r = wire_stats_add(stats, "witness", "%s", state);
	if (r == 0 && client)
		r = wire_stats_add(stats, "witness_client", "%s", client);
	for (size_t i = 0; i < n_rows && r == 0 && s.key_id != 0; i++)
		r = wire_stats_add(stats, rows[i].name, "%" PRIu64, rows[i].value);
	if (r < 0)
		log_limited(LOG_LEVEL_DEBUG, "vm=%s no room for the witness's figures, ignoring",
			    w->config->name);
}
