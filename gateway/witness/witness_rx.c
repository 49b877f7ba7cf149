#include "witness/witness_rx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counters.h"

#define KEYS_PER_VM 2 /* key[0] is the current one, key[1] the previous one */
#define DRIFT	    1000 /* clocks drift apart by less than one part in 1000 */

/* The sequence numbers seen with one key on one path. */
struct window {
	uint64_t newest; /* the highest number accepted; 0: none */
	uint64_t seen;	 /* bit i: number newest - 1 - i was accepted */
};

struct key {
	struct wire_witness_mac *mac;
	uint8_t bytes[WIRE_WITNESS_KEY_SIZE]; /* the key itself, kept for witness_rx_get_key() */
	/* the host's address for each path; 0: accept nothing on that path */
	uint32_t addresses[WIRE_WITNESS_N_PATHS];
	struct window windows[WIRE_WITNESS_N_PATHS];
	uint64_t good_until_ns; /* UINT64_MAX: valid without end */
};

/* Limits how many macs are checked. The credit, in ns, grows with time. Each check uses a part of
 * the credit. */
struct bucket {
	uint64_t credit_ns;
	uint64_t at_ns;
};

struct vm {
	struct key key[KEYS_PER_VM];
	uint32_t newest_key_id; /* id of the key that signed the view's sample; 0: none */
	struct bucket buckets[WIRE_WITNESS_N_PATHS];
	/* how many shares of the checking work the VM has ("Bound on work" in witness_rx.h): one
	 * for each path on which its keys allow datagrams */
	size_t n_shares;
	bool clock_known;
	/* the gateway's clock minus the primary's (signed): the smallest difference seen */
	uint64_t clock_ahead_ns;
	uint64_t clock_at_ns;	/* when clock_ahead_ns was last updated */
	struct witness_view view;
};

struct witness_rx {
	/* The key id in each slot; 0: no key. key[i] of VM v has the slot v * KEYS_PER_VM + i. The
	 * ids have their own array, so that a search reads little memory. */
	uint32_t key_ids[WITNESS_RX_SLOTS];
	size_t n_slots; /* all slots that were ever in use are below this number */
	size_t n_shares; /* shares of all VMs together */
	struct bucket common;
	uint64_t counters[WIRE_WITNESS_N_PATHS][WITNESS_RX_N_VERDICTS];
	struct vm vms[WITNESS_RX_VMS_MAX];
};

_Static_assert(WITNESS_RX_SLOTS == WITNESS_RX_VMS_MAX * KEYS_PER_VM, "a slot for each key");
_Static_assert(WIRE_WITNESS_WINDOW == 64, "window.seen has a bit for each");

int witness_rx_new(struct witness_rx **ret_rx)
{
	struct witness_rx *rx = calloc(1, sizeof(*rx));

	if (!rx)
		return -ENOMEM;
	*ret_rx = rx;
	return 0;
}

struct witness_rx *witness_rx_free(struct witness_rx *rx)
{
	if (!rx)
		return NULL;
	for (size_t i = 0; i < WITNESS_RX_VMS_MAX; i++)
		witness_rx_clear(rx, i);
	free(rx);
	return NULL;
}

/* ---- keys ---- */

static void drop_key(struct witness_rx *rx, size_t vm, size_t which)
{
	struct key *key = &rx->vms[vm].key[which];

	wire_witness_mac_free(key->mac);
	explicit_bzero(key, sizeof(*key));
	rx->key_ids[vm * KEYS_PER_VM + which] = 0;
}

/* Was any datagram with this key accepted? */
static bool is_used(const struct key *key)
{
	return key->windows[WIRE_WITNESS_BACKUP].newest > 0 ||
	       key->windows[WIRE_WITNESS_CLIENT].newest > 0;
}

/* Count the VM's shares again, because its keys have changed. */
static void count_shares(struct witness_rx *rx, struct vm *v)
{
	rx->n_shares -= v->n_shares;
	v->n_shares = 0;
	for (size_t path = 0; path < WIRE_WITNESS_N_PATHS; path++)
		v->n_shares += v->key[0].addresses[path] != 0 || v->key[1].addresses[path] != 0;
	rx->n_shares += v->n_shares;
}

int witness_rx_set_key(struct witness_rx *rx, size_t vm, uint32_t key_id,
		       const uint8_t key[WIRE_WITNESS_KEY_SIZE],
		       const uint32_t addresses[WIRE_WITNESS_N_PATHS], bool clock_new,
		       uint64_t now_ns)
{
	struct wire_witness_mac *mac;
	struct vm *v;
	uint32_t *ids;
	int r;

	if (vm >= WITNESS_RX_VMS_MAX || key_id == 0)
		return -EINVAL;
	for (size_t i = 0; i < rx->n_slots; i++) {
		if (rx->key_ids[i] == key_id)
			return -EINVAL;
	}
	r = wire_witness_mac_new(key, &mac);
	if (r < 0)
		return r;
	v = &rx->vms[vm];
	ids = &rx->key_ids[vm * KEYS_PER_VM];
	if (is_used(&v->key[0])) {
		drop_key(rx, vm, 1);
		v->key[1] = v->key[0];
		ids[1] = ids[0];
		explicit_bzero(&v->key[0], sizeof(v->key[0])); /* the key has moved to key[1] */
	}
	drop_key(rx, vm, 0); /* frees the current key if it was never used */
	v->key[0] = (struct key){.mac = mac, .good_until_ns = UINT64_MAX};
	memcpy(v->key[0].addresses, addresses, sizeof(v->key[0].addresses));
	memcpy(v->key[0].bytes, key, sizeof(v->key[0].bytes));
	v->key[1].good_until_ns = UINT64_MAX;
	ids[0] = key_id;
	if ((vm + 1) * KEYS_PER_VM > rx->n_slots)
		rx->n_slots = (vm + 1) * KEYS_PER_VM;
	if (clock_new)
		v->clock_known = false;
	for (size_t path = 0; path < WIRE_WITNESS_N_PATHS; path++)
		v->buckets[path].at_ns = now_ns;
	count_shares(rx, v);
	return 0;
}

void witness_rx_clear(struct witness_rx *rx, size_t vm)
{
	for (size_t which = 0; which < KEYS_PER_VM; which++)
		drop_key(rx, vm, which);
	count_shares(rx, &rx->vms[vm]);
	rx->vms[vm] = (struct vm){0};
}

void witness_rx_tick(struct witness_rx *rx, uint64_t now_ns)
{
	for (size_t i = 0; i < rx->n_slots / KEYS_PER_VM; i++) {
		if (rx->vms[i].key[1].mac && now_ns >= rx->vms[i].key[1].good_until_ns) {
			drop_key(rx, i, 1);
			count_shares(rx, &rx->vms[i]);
		}
	}
}

/* Find the key with @key_id. If there is such a key and it is valid now, returns true and sets
 * *ret_vm and *ret_which. Otherwise returns false. */
static bool find_key(const struct witness_rx *rx, uint32_t key_id, uint64_t now_ns, size_t *ret_vm,
		     size_t *ret_which)
{
	for (size_t i = 0; i < rx->n_slots; i++) {
		if (rx->key_ids[i] != key_id)
			continue;
		*ret_vm = i / KEYS_PER_VM;
		*ret_which = i % KEYS_PER_VM;
		return key_id != 0 &&
		       now_ns < rx->vms[*ret_vm].key[*ret_which].good_until_ns;
	}
	return false;
}

/* ---- the window ---- */

static bool is_seen(const struct window *window, uint64_t sequence)
{
	uint64_t behind;

	if (sequence > window->newest)
		return false;
	behind = window->newest - sequence;
	if (behind == 0 || behind > WIRE_WITNESS_WINDOW)
		return true;
	return window->seen >> (behind - 1) & 1;
}

/* Record @sequence, which was not seen before. Returns true if it is now the newest. */
static bool move_window(struct window *window, uint64_t sequence)
{
	uint64_t ahead;

	if (sequence < window->newest) {
		window->seen |= UINT64_C(1) << (window->newest - sequence - 1);
		return false;
	}
	ahead = sequence - window->newest;
	window->seen = ahead < 64 ? window->seen << ahead : 0;
	if (ahead <= 64)
		window->seen |= UINT64_C(1) << (ahead - 1); /* the previous newest */
	window->newest = sequence;
	return true;
}

/* ---- the bound on work ---- */

static bool take(struct bucket *b, uint64_t cost_ns, uint64_t now_ns)
{
	uint64_t most_ns = cost_ns * WITNESS_RX_BURST;

	b->credit_ns += now_ns > b->at_ns ? now_ns - b->at_ns : 0;
	if (b->credit_ns > most_ns)
		b->credit_ns = most_ns;
	b->at_ns = now_ns;
	if (b->credit_ns < cost_ns)
		return false;
	b->credit_ns -= cost_ns;
	return true;
}

static bool may_check(struct witness_rx *rx, struct vm *v, enum wire_witness_path path,
		      uint64_t now_ns)
{
	const uint64_t half_ns = 2 * CLOCK_NS_PER_MS / WITNESS_RX_CHECKS_PER_MS;

	return take(&v->buckets[path], half_ns * rx->n_shares, now_ns) ||
	       take(&rx->common, half_ns, now_ns);
}

/* ---- the evidence ---- */

/* Returns @ahead_ns - @than_ns as a signed number. Each argument is the difference between two
 * clocks modulo 2^64, so the two cannot be compared directly. */
static int64_t later_by_ns(uint64_t ahead_ns, uint64_t than_ns)
{
	return (int64_t)(ahead_ns - than_ns);
}

static void learn_clock(struct vm *v, uint64_t mono_ns, uint64_t now_ns)
{
	uint64_t ahead_ns = now_ns - mono_ns;
	uint64_t known_ns = v->clock_ahead_ns + (now_ns - v->clock_at_ns) / DRIFT;

	if (v->clock_known && later_by_ns(ahead_ns, known_ns) > 0)
		ahead_ns = known_ns;
	v->clock_ahead_ns = ahead_ns;
	v->clock_at_ns = now_ns;
	v->clock_known = true;
}

void witness_rx_clock(struct witness_rx *rx, size_t vm, uint64_t mono_ns, uint64_t now_ns)
{
	learn_clock(&rx->vms[vm], mono_ns, now_ns);
}

/* Returns how long the sample made at @mono_ns (by the primary's clock) was delayed on its way. The
 * message with the smallest delay counts as not delayed. The result is less than @now_ns, because
 * the sample's time must not become 0 ("never"). */
static uint64_t delay_ns(const struct vm *v, uint64_t mono_ns, uint64_t now_ns)
{
	int64_t late_ns = later_by_ns(now_ns - mono_ns, v->clock_ahead_ns);

	if (!v->clock_known || late_ns < 0 || now_ns == 0)
		return 0;
	return (uint64_t)late_ns < now_ns ? (uint64_t)late_ns : now_ns - 1;
}

static uint64_t grown(uint64_t before, uint64_t now)
{
	return now > before ? now - before : 0;
}

/* Update the view with the frame counts of @w. Samples of two CPUs can arrive slightly out of
 * order, so store only counts that have grown. If the newest sample comes again, through the second
 * path, nothing changes. */
static void count_frames(struct witness_view *view, const struct wire_witness *w, bool same_key)
{
	bool anew = !same_key && (w->to_guest < view->to_guest ||
				  w->from_guest < view->from_guest || w->mono_ns < view->mono_ns);

	if (same_key && w->mono_ns == view->mono_ns && w->to_guest == view->to_guest &&
	    w->from_guest == view->from_guest)
		return;
	if (anew || view->arrived_at_ns == 0) {
		view->to_guest = w->to_guest;
		view->from_guest = w->from_guest;
		view->mono_ns = w->mono_ns;
	}
	view->to_delta = grown(view->to_guest, w->to_guest);
	view->from_delta = grown(view->from_guest, w->from_guest);
	view->interval_ns = grown(view->mono_ns, w->mono_ns);
	view->to_guest += view->to_delta;
	view->from_guest += view->from_delta;
	view->mono_ns += view->interval_ns;
	if (view->from_delta > 0) {
		view->n_unanswered = 0;
		view->asked_at_ns = 0;
	} else if (view->to_delta > 0) {
		view->n_unanswered += view->to_delta;
		if (view->asked_at_ns == 0)
			view->asked_at_ns = view->made_at_ns;
	}
}

/* Update the view with @w, which is authentic and has the newest sequence number. */
static void take_sample(struct vm *v, const struct wire_witness *w, bool by_current_key,
			uint64_t now_ns)
{
	struct witness_view *view = &v->view;
	uint64_t made_at_ns, silent_ns;

	if (by_current_key) /* a sample with the previous key may have been made before the host,
			     * and so its clock, was restarted */
		learn_clock(v, w->mono_ns, now_ns);
	made_at_ns = now_ns - delay_ns(v, w->mono_ns, now_ns);
	view->n_timely += now_ns - made_at_ns < WITNESS_RX_LATE_NS;
	if (made_at_ns > view->paths[w->path].made_at_ns)
		view->paths[w->path].made_at_ns = made_at_ns;
	if (made_at_ns > view->made_at_ns)
		view->made_at_ns = made_at_ns;
	count_frames(view, w, w->key_id == v->newest_key_id);
	silent_ns = w->mono_ns - w->from_guest_ns;
	if (w->from_guest_ns != 0 && w->from_guest_ns <= w->mono_ns &&
	    silent_ns < view->made_at_ns && view->made_at_ns - silent_ns > view->answered_at_ns)
		view->answered_at_ns = view->made_at_ns - silent_ns;
	view->arrived_at_ns = now_ns;
	v->newest_key_id = w->key_id;
}

/* Accept an authentic datagram: move the window, and update the view if the sample is the
 * newest. */
static void accept(struct vm *v, size_t which, const struct wire_witness *w, uint64_t now_ns)
{
	struct key *key = &v->key[which];
	bool first_of_key = !is_used(key);
	bool newest = move_window(&key->windows[w->path], w->sequence);

	v->view.n_accepted++;
	v->view.paths[w->path].n_accepted++;
	if (which == 0 && first_of_key && v->key[1].mac)
		v->key[1].good_until_ns = now_ns + WITNESS_RX_OVERLAP_NS;
	if (newest && (which == 0 || !is_used(&v->key[0])))
		take_sample(v, w, which == 0, now_ns);
}

static enum witness_rx_verdict judge(struct witness_rx *rx, enum wire_witness_path path,
				     uint32_t source, const uint8_t *data, size_t size,
				     uint64_t now_ns)
{
	struct wire_witness w;
	size_t vm, which;
	struct key *key;
	struct vm *v;

	if (wire_witness_decode(data, size, &w) < 0)
		return WITNESS_RX_MALFORMED;
	if (w.path != path)
		return WITNESS_RX_WRONG_PATH;
	if (!find_key(rx, w.key_id, now_ns, &vm, &which))
		return WITNESS_RX_UNKNOWN_KEY;
	v = &rx->vms[vm];
	key = &v->key[which];
	if (source != key->addresses[path] || source == 0)
		return WITNESS_RX_WRONG_ADDRESS;
	if (is_seen(&key->windows[path], w.sequence))
		return WITNESS_RX_REPLAYED;
	if (!may_check(rx, v, path, now_ns))
		return WITNESS_RX_OVER_LIMIT;
	if (wire_witness_mac_check(key->mac, data) < 0) {
		v->view.n_bad_mac++;
		return WITNESS_RX_BAD_MAC;
	}
	accept(v, which, &w, now_ns);
	return WITNESS_RX_ACCEPTED;
}

enum witness_rx_verdict witness_rx_input(struct witness_rx *rx, enum wire_witness_path path,
					 uint32_t source, const uint8_t *data, size_t size,
					 uint64_t now_ns)
{
	enum witness_rx_verdict verdict = judge(rx, path, source, data, size, now_ns);

	counters_add(&rx->counters[path][verdict], 1);
	return verdict;
}

const struct witness_view *witness_rx_view(const struct witness_rx *rx, size_t vm)
{
	return &rx->vms[vm].view;
}

bool witness_rx_get_key(const struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			struct witness_rx_key *ret_key)
{
	const struct key *key = &rx->vms[slot / KEYS_PER_VM].key[slot % KEYS_PER_VM];

	if (rx->key_ids[slot] == 0 || key->addresses[path] == 0)
		return false;
	ret_key->key_id = rx->key_ids[slot];
	ret_key->address = key->addresses[path];
	ret_key->newest = key->windows[path].newest;
	memcpy(ret_key->key, key->bytes, sizeof(ret_key->key));
	return true;
}

void witness_rx_add_refused(struct witness_rx *rx, enum wire_witness_path path,
			    enum witness_rx_verdict verdict, uint64_t n)
{
	counters_add(&rx->counters[path][verdict], n);
}

void witness_rx_add_bad_macs(struct witness_rx *rx, size_t slot, enum wire_witness_path path,
			     uint64_t n)
{
	rx->vms[slot / KEYS_PER_VM].view.n_bad_mac += n;
	counters_add(&rx->counters[path][WITNESS_RX_BAD_MAC], n);
}

uint64_t witness_rx_refused(const struct witness_rx *rx, enum wire_witness_path path)
{
	uint64_t sum = 0;

	for (unsigned int v = 0; v < WITNESS_RX_N_VERDICTS; v++) {
		if (v != WITNESS_RX_ACCEPTED)
			sum += counters_get(&rx->counters[path][v]);
	}
	return sum;
}

uint64_t witness_rx_count(const struct witness_rx *rx, enum wire_witness_path path,
			  enum witness_rx_verdict verdict)
{
	return counters_get(&rx->counters[path][verdict]);
}
