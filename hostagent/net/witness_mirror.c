#include "net/witness_mirror.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "ebpf/hold_prog.h"
#include "ebpf/witness_prog.h"
#include "net/hold_check.h"
#include "net/holds.h"
#include "net/nl.h"

_Static_assert(TAP_NAMES_MAX == WITNESS_TAPS_MAX, "the programs take all taps of a guest");

/* MTU of the helper pair: every frame that a tap can carry must fit. */
#define HELPER_MTU 65535

/* Offsets in the 42-byte header of struct witness_path. */
#define HEADER_ADDRESS_AT 30 /* destination address */
#define HEADER_PORT_AT	  36

struct witness_mirror {
	struct nl nl;
	struct witness_prog prog;
	int helper;		/* ifindex of hfwN; 0: there is none */
	/* the gateway's addresses; 0: send nothing by this path */
	uint32_t address_be32[WITNESS_N_PATHS];
	uint16_t port;		/* the gateway's UDP port; 0: not known yet */
	bool is_taken_over;
	char vm[HOLD_VM_NAME_MAX + 1];
	char alias[NL_ALIAS_MAX];
};

static void make_alias(const char *vm, char ret[NL_ALIAS_MAX])
{
	snprintf(ret, NL_ALIAS_MAX, "holdfast-witness:%s", vm);
}

/* Collects the links of this VM's witness, except those named in `keep`. */
struct leftovers {
	const char *alias;
	const char *keep[2]; /* names of links to keep; NULL: none */
	/* large enough: each start of an agent removes all leftovers */
	int ifindex[8];
	int n;
};

static void note_leftover(const struct nl_link *link, void *arg)
{
	struct leftovers *l = arg;

	for (int i = 0; i < 2; i++) {
		if (l->keep[i] && strcmp(link->name, l->keep[i]) == 0)
			return;
	}
	if (strcmp(link->alias, l->alias) == 0 && strcmp(link->kind, "veth") == 0 &&
	    l->n < (int)(sizeof(l->ifindex) / sizeof(l->ifindex[0])))
		l->ifindex[l->n++] = link->ifindex;
}

static int remove_links(struct nl *nl, const char *alias, const char *keep_a, const char *keep_b)
{
	struct leftovers l = {.alias = alias, .keep = {keep_a, keep_b}};
	int r = nl_link_each(nl, note_leftover, &l);

	for (int i = 0; r == 0 && i < l.n; i++) {
		r = nl_link_delete(nl, l.ifindex[i]);
		if (r == -ENODEV) /* this link was removed together with its peer */
			r = 0;
	}
	return r;
}

static int set_up_link(struct witness_mirror *w, const char *name, int *ret_ifindex)
{
	struct nl_link link;
	int r = nl_link_get(&w->nl, name, 0, &link);

	if (r == 0)
		r = nl_link_configure(&w->nl, link.ifindex, w->alias, HELPER_MTU);
	if (r == 0)
		r = nl_link_checksum_off(&w->nl, name);
	if (r == 0)
		r = nl_link_up(&w->nl, link.ifindex, true);
	if (r == 0)
		*ret_ifindex = link.ifindex;
	return r;
}

/* Create the helper pair. If there is a pair with our alias already, use that pair: samples may be
 * on their way through it. */
static int open_helper(struct witness_mirror *w, const struct nl_link *tap, int *ret_in,
		       struct error *ret_error)
{
	char out_name[IFNAMSIZ], in_name[IFNAMSIZ];
	struct nl_link out;
	int r;

	snprintf(out_name, sizeof(out_name), "hfw%d", tap->ifindex);
	snprintf(in_name, sizeof(in_name), "hfv%d", tap->ifindex);
	r = remove_links(&w->nl, w->alias, out_name, in_name);
	if (r == 0)
		r = nl_link_get(&w->nl, out_name, 0, &out);
	if (r == 0 && strcmp(out.alias, w->alias) != 0)
		return error_set(ret_error, -EEXIST, "a network device %s is in the way and not "
				 "ours: rename or remove it", out.name);
	if (r == -ENODEV) {
		r = nl_veth_create(&w->nl, out_name, in_name, HELPER_MTU);
		if (r == 0)
			r = nl_link_get(&w->nl, out_name, 0, &out);
	}
	if (r == 0) {
		w->helper = out.ifindex;
		r = set_up_link(w, in_name, ret_in);
	}
	if (r == 0)
		r = set_up_link(w, out_name, &w->helper);
	return r < 0 ? error_set(ret_error, r, "cannot make the veth pair %s and %s: %s", out_name,
				 in_name, strerror(-r)) : 0;
}

static int explain(const struct witness_mirror_config *config, enum witness_prog_step step, int r,
		   struct error *ret_error)
{
	char taps[TAP_NAMES_TEXT_MAX];

	switch (step) {
	case WITNESS_PROG_PIN_DIR:
		return error_set(ret_error, r, "cannot use %s: %s; is a bpffs mounted there?",
				 config->pin_dir, strerror(-r));
	case WITNESS_PROG_LOCK:
		return error_set(ret_error, r, "another process has the witness in %s",
				 config->pin_dir);
	case WITNESS_PROG_HOLD:
		return error_set(ret_error, r, "no hold of this VM in %s: %s", config->hold_pin_dir,
				 strerror(-r));
	case WITNESS_PROG_LOAD:
		return error_set(ret_error, r, "this kernel does not take the witness's programs "
				 "(%s); HOLDFAST_LOG=debug shows what it says", strerror(-r));
	case WITNESS_PROG_ATTACH:
		break;
	}
	return error_set(ret_error, r, "cannot attach to the taps (%s): %s; their clsact qdiscs "
			 "are the holds'", tap_names_print(config->taps, ", ", taps, sizeof(taps)),
			 strerror(-r));
}

static int open_all(struct witness_mirror *w, const struct witness_mirror_config *config,
		    struct error *ret_error)
{
	enum witness_prog_step step = WITNESS_PROG_PIN_DIR;
	struct witness_prog_config prog = {.pin_dir = config->pin_dir};
	char hold_pin_dirs[TAP_NAMES_MAX][HOLD_PIN_DIR_BYTES];
	struct nl_link tap;
	int r = nl_open(&w->nl);

	if (r < 0)
		return error_set(ret_error, r, "cannot open rtnetlink: %s", strerror(-r));
	for (uint32_t i = config->taps->n; i-- > 0;) { /* backwards: after the loop, `tap` is the
							* first tap, which names the helper */
		r = nl_link_get(&w->nl, config->taps->name[i], 0, &tap);
		if (r < 0)
			return error_set(ret_error, r, "tap %s: %s", config->taps->name[i],
					 strerror(-r));
		r = holds_find(config->hold_pin_dir, tap.ifindex, hold_pin_dirs[i]);
		if (r < 0)
			return error_set(ret_error, r, "no hold of this VM on tap %s in %s",
					 config->taps->name[i], config->hold_pin_dir);
		prog.hold_pin_dirs[i] = hold_pin_dirs[i];
		prog.taps.ifindex[i] = tap.ifindex;
	}
	prog.taps.n = config->taps->n;
	r = open_helper(w, &tap, &prog.helper_in, ret_error);
	if (r < 0)
		return r;
	prog.helper_out = w->helper;
	r = witness_prog_open(&w->prog, &prog, &step);
	if (r < 0)
		return explain(config, step, r, ret_error);
	w->is_taken_over = w->prog.is_taken_over;
	return 0;
}

static const struct witness_path *path_of(const struct witness_mirror *w,
					  enum witness_path_number number)
{
	const struct witness_control *control = w->prog.control;

	return &control->paths[number][control->path_slot[number] & 1];
}

/* Read the gateway's port and client address from the routes that an earlier agent left. This port
 * and this address are used until the next witness_mirror_set_key(). */
static void take_ways(struct witness_mirror *w)
{
	for (enum witness_path_number n = 0; n < WITNESS_N_PATHS; n++) {
		const struct witness_path *path = path_of(w, n);

		if (path->ifindex == 0)
			continue;
		w->port = bytes_get_be16(path->header + HEADER_PORT_AT);
		if (n == WITNESS_CLIENT)
			memcpy(&w->address_be32[n], path->header + HEADER_ADDRESS_AT, 4);
	}
}

int witness_mirror_open(const struct witness_mirror_config *config, struct witness_mirror **ret,
			struct error *ret_error)
{
	struct witness_mirror *w;
	int r;

	ret_error->text[0] = '\0';
	if (!*config->vm || strlen(config->vm) > HOLD_VM_NAME_MAX || config->interval_ns == 0 ||
	    config->taps->n == 0)
		return error_set(ret_error, -EINVAL,
				 "a witness needs a VM's name, its taps and an interval");
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_set(ret_error, -ENOMEM, "out of memory");
	strcpy(w->vm, config->vm);
	make_alias(w->vm, w->alias);
	w->address_be32[WITNESS_BACKUP] = config->gateway_be32;
	r = open_all(w, config, ret_error);
	if (r < 0) {
		/* Remove the helper pair, unless there is a pinned witness, which continues to send
		 * through the pair. */
		if (w->helper && access(config->pin_dir, F_OK) < 0 &&
		    nl_link_delete(&w->nl, w->helper) < 0)
			log_debug("vm=%s the veth pair stays, ignoring", w->vm);
		nl_close(&w->nl);
		free(w);
		return r;
	}
	take_ways(w);
	__atomic_store_n(&w->prog.control->interval_ns, config->interval_ns, __ATOMIC_RELEASE);
	*ret = w;
	return 0;
}

static uint16_t ip_checksum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += bytes_get_be16(header + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return (uint16_t)~sum;
}

/* Write the Ethernet, IPv4 and UDP headers of a datagram. The UDP checksum is 0 (none), because the
 * datagram's authentication code detects errors better. */
static void make_header(uint32_t address_be32, uint16_t port, const struct nl_route *route,
			const uint8_t source_mac[6], const uint8_t next_mac[6],
			uint8_t ret[WITNESS_HEADER_SIZE])
{
	uint8_t *ip = ret + 14, *udp = ip + 20;

	memset(ret, 0, WITNESS_HEADER_SIZE);
	memcpy(ret, next_mac, 6);
	memcpy(ret + 6, source_mac, 6);
	bytes_put_be16(ret + 12, 0x0800);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, WITNESS_FRAME_SIZE - 14);
	/* flag DF: do not fragment, so the identification can be 0 */
	bytes_put_be16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memcpy(ip + 12, &route->source_be32, 4);
	memcpy(ip + 16, &address_be32, 4);
	bytes_put_be16(ip + 10, ip_checksum(ip));
	bytes_put_be16(udp, port);
	bytes_put_be16(udp + 2, port);
	bytes_put_be16(udp + 4, 8 + WITNESS_DATAGRAM_SIZE);
}

static void enable(struct witness_mirror *w)
{
	struct witness_control *control = w->prog.control;
	bool is_ready = control->keys[control->key_slot & 1].key_id != 0 &&
			(path_of(w, WITNESS_BACKUP)->ifindex != 0 ||
			 path_of(w, WITNESS_CLIENT)->ifindex != 0);

	__atomic_store_n(&control->is_enabled, is_ready, __ATOMIC_RELEASE);
}

static void use_path(struct witness_mirror *w, enum witness_path_number n,
		     const struct witness_path *path)
{
	struct witness_control *control = w->prog.control;
	uint32_t slot = control->path_slot[n] & 1;

	if (memcmp(&control->paths[n][slot], path, sizeof(*path)) == 0)
		return;
	/* Wait before writing to the slot that is not in use. A program that has read the old index
	 * may still be using that slot. */
	hold_prog_quiesce();
	control->paths[n][!slot] = *path;
	__atomic_store_n(&control->path_slot[n], !slot, __ATOMIC_RELEASE);
}

/* Get the next hop's MAC address. In the client network, makes the kernel ask for the address:
 * perhaps this host sends only witness datagrams there, and for these the kernel does not ask. */
static int find_mac(struct witness_mirror *w, enum witness_path_number n,
		    const struct nl_route *route, uint8_t ret_mac[6])
{
	int r = n == WITNESS_CLIENT ? nl_neighbour_use(&w->nl, route->ifindex, route->next_be32)
				    : 0;

	return r < 0 ? r : nl_neighbour_get(&w->nl, route->ifindex, route->next_be32, ret_mac);
}

static int find_way(struct witness_mirror *w, enum witness_path_number n,
		    struct witness_path *ret_path)
{
	struct nl_route route;
	struct nl_link link;
	uint8_t mac[6];
	int r = nl_route_get(&w->nl, w->address_be32[n], &route);

	if (r < 0)
		return r;
	if (route.is_local ||
	    (n == WITNESS_CLIENT && (uint32_t)route.ifindex == path_of(w, WITNESS_BACKUP)->ifindex))
		return -ENOTSUP;
	r = nl_link_get(&w->nl, NULL, route.ifindex, &link);
	if (r == 0)
		r = link.is_ether ? find_mac(w, n, &route, mac) : -ENOTSUP;
	if (r < 0)
		return r;
	*ret_path = (struct witness_path){.ifindex = (uint32_t)route.ifindex};
	make_header(w->address_be32[n], w->port, &route, link.mac, mac, ret_path->header);
	return 0;
}

void witness_mirror_refresh(struct witness_mirror *w, int ret_ways[WITNESS_N_PATHS])
{
	for (enum witness_path_number n = 0; n < WITNESS_N_PATHS; n++) {
		struct witness_path path = {0};

		ret_ways[n] = w->port != 0 && w->address_be32[n] != 0 ? find_way(w, n, &path) : 0;
		if (ret_ways[n] == 0)
			use_path(w, n, &path);
	}
	enable(w);
}

int witness_mirror_set_key(struct witness_mirror *w, uint32_t key_id, uint16_t port,
			   const uint8_t key[WITNESS_KEY_SIZE], uint32_t client_be32)
{
	struct witness_control *control = w->prog.control;
	struct witness_key *now = &control->keys[control->key_slot & 1];
	struct witness_key *next = &control->keys[!(control->key_slot & 1)];

	if (key_id == 0 || port == 0)
		return -EINVAL;
	w->port = port;
	/* the address has changed: stop sending to the old one */
	if (client_be32 != w->address_be32[WITNESS_CLIENT])
		use_path(w, WITNESS_CLIENT, &(struct witness_path){0});
	__atomic_store_n(&w->address_be32[WITNESS_CLIENT], client_be32, __ATOMIC_RELAXED);
	/* If the key is already in use, do not start its sequence again: a sequence number must be
	 * used only once per key. */
	if (now->key_id != key_id || memcmp(now->key, key, WITNESS_KEY_SIZE) != 0) {
		hold_prog_quiesce();
		*next = (struct witness_key){.key_id = key_id};
		memcpy(next->key, key, WITNESS_KEY_SIZE);
		__atomic_store_n(&control->key_slot, !(control->key_slot & 1), __ATOMIC_RELEASE);
		hold_prog_quiesce();
		explicit_bzero(now, sizeof(*now));
	}
	return 0;
}

static void free_witness(struct witness_mirror *w)
{
	witness_prog_done(&w->prog);
	nl_close(&w->nl);
	free(w);
}

int witness_mirror_close(struct witness_mirror *w)
{
	int r, q;

	if (!w)
		return 0;
	__atomic_store_n(&w->prog.control->is_enabled, 0, __ATOMIC_RELEASE);
	r = witness_prog_detach(&w->prog);
	hold_prog_quiesce();
	explicit_bzero(w->prog.control->keys, sizeof(w->prog.control->keys));
	q = nl_link_delete(&w->nl, w->helper);
	if (q != -ENODEV && r == 0)
		r = q;
	free_witness(w);
	return r;
}

void witness_mirror_leave(struct witness_mirror *w)
{
	if (w)
		free_witness(w);
}

bool witness_mirror_is_taken_over(const struct witness_mirror *w)
{
	return w->is_taken_over;
}

void witness_mirror_stats(const struct witness_mirror *w, struct witness_mirror_stats *ret)
{
	const volatile struct witness_control *control = w->prog.control;
	const volatile struct witness_state *state = w->prog.state;
	uint32_t slot = control->key_slot & 1;

	*ret = (struct witness_mirror_stats){
		.key_id = control->keys[slot].key_id,
		.is_enabled = control->is_enabled != 0,
		.to_guest = state->to_guest,
		.sampled = state->sampled,
		.failed_clone = state->failed_clone,
	};
	for (enum witness_path_number n = 0; n < WITNESS_N_PATHS; n++) {
		ret->is_wanted[n] = __atomic_load_n(&w->address_be32[n], __ATOMIC_RELAXED) != 0;
		ret->has_way[n] = path_of(w, n)->ifindex != 0;
		ret->sent[n] = state->sent[n];
		ret->failed[n] = state->failed_emit[n];
		ret->sequence[n] = control->keys[slot].sequence[n];
	}
}

int witness_mirror_remove_left(const char *vm, const struct tap_names *taps, const char *pin_dir)
{
	struct witness_prog_taps found = {0};
	char alias[NL_ALIAS_MAX];
	struct nl nl;
	int r, q;

	if (access(pin_dir, F_OK) < 0)
		return 0;
	r = nl_open(&nl);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < taps->n && r == 0; i++) {
		struct nl_link link;

		r = nl_link_get(&nl, taps->name[i], 0, &link);
		if (r == 0)
			found.ifindex[found.n++] = link.ifindex;
		r = r == -ENODEV ? 0 : r; /* the tap is gone, and its filter with it */
	}
	if (r == 0)
		r = witness_prog_remove_left(pin_dir, &found);
	if (r != -EBUSY) {
		make_alias(vm, alias);
		q = remove_links(&nl, alias, NULL, NULL);
		r = r < 0 ? r : q;
	}
	nl_close(&nl);
	return r;
}
