#include "networks/witnessing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "ebpf/shield_prog.h"
#include "port/port.h"
#include "stack/filter.h"

/* Offsets and values that distinguish a witness datagram from other frames (IPv4 without
 * options). */
#define ETHERTYPE_AT   12
#define ETHERTYPE_IPV4 0x0800
#define PROTOCOL_AT    23
#define PROTOCOL_UDP   17
#define UDP_PORT_AT    36
#define FRAME_MIN      42 /* size of a frame up to the end of its UDP header */

/* A flood is not reported if it begins sooner than this after the last reported flood began. */
#define TELL_NS (60 * CLOCK_NS_PER_S)

_Static_assert(SHIELD_SLOTS == WITNESS_RX_SLOTS, "a slot for each key");
_Static_assert(sizeof(((struct shield_key *)0)->key) == WIRE_WITNESS_KEY_SIZE, "one kind of key");

static const char *const networks[WIRE_WITNESS_N_PATHS] = {
	[WIRE_WITNESS_BACKUP] = "backup",
	[WIRE_WITNESS_CLIENT] = "client",
};

void witnessing_open(struct witnessing *w, struct fleet *fleet, struct port *port,
		     enum wire_witness_path path, const struct config_prefix *own)
{
	int r = port_filter(port, -1);

	_Static_assert(PORT_MAC_BYTES == FILTER_MAC_BYTES, "one kind of MAC");
	*w = (struct witnessing){.fleet = fleet, .port = port, .path = path};
	memcpy(w->rules.mac, port_mac(port), sizeof(w->rules.mac));
	w->rules.address = ntohl(own->ip_be32);
	w->rules.mask = own->bits ? UINT32_MAX << (32 - own->bits) : 0;
	if (r == -ENOTSUP)
		return;
	if (r == 0)
		r = shield_prog_open(own->ip_be32, fleet->config.witness_port, path, &w->prog);
	if (r < 0)
		log_warn(
			"the kernel takes no program for the port in the %s network: %s%s; a flood "
			"of UDP will not be kept off, going on without",
			networks[path], strerror(-r), r == -EPERM ? " (it needs CAP_BPF)" : "");
}

void witnessing_close(struct witnessing *w)
{
	w->prog = shield_prog_close(w->prog);
}

static void count_unwanted(struct witnessing *w, uint64_t n)
{
	w->n_unwanted += n;
	counters_add(&w->fleet->counters.udp_unwanted, n);
}

bool witnessing_input(struct witnessing *w, const uint8_t *data, size_t size, uint64_t now_ns)
{
	struct fleet *fleet = w->fleet;
	struct filter_view view;

	/* Nearly all frames are TCP. So first check two fields, to exclude TCP frames quickly. */
	if (!fleet || size < FRAME_MIN || data[PROTOCOL_AT] != PROTOCOL_UDP ||
	    bytes_get_be16(data + ETHERTYPE_AT) != ETHERTYPE_IPV4)
		return false;
	if (bytes_get_be16(data + UDP_PORT_AT) != fleet->config.witness_port ||
	    filter_frame(&w->rules, data, size, &view) != FILTER_UDP) {
		count_unwanted(w, 1);
		return false;
	}
	(void)witness_rx_input(fleet->witness, w->path, view.source, data + view.payload_at,
			       view.payload_size, now_ns); /* witness_rx_input()
							    * counts the datagram */
	return true;
}

/* ---- the shield ---- */

/* Read from the kernel how many datagrams the shield has dropped, and add them to the gateway's
 * counts. */
static void take_counts(struct witnessing *w)
{
	static const struct {
		enum shield_verdict theirs;
		enum witness_rx_verdict ours;
	} rows[] = {
		{SHIELD_MALFORMED, WITNESS_RX_MALFORMED},
		{SHIELD_WRONG_PATH, WITNESS_RX_WRONG_PATH},
		{SHIELD_UNKNOWN_KEY, WITNESS_RX_UNKNOWN_KEY},
		{SHIELD_WRONG_ADDRESS, WITNESS_RX_WRONG_ADDRESS},
		{SHIELD_REPLAYED, WITNESS_RX_REPLAYED},
	};
	struct witness_rx *rx = w->fleet->witness;
	uint64_t n = shield_prog_take_count(w->prog, SHIELD_OTHER), sum = n;

	count_unwanted(w, n);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		n = shield_prog_take_count(w->prog, rows[i].theirs);
		witness_rx_add_refused(rx, w->path, rows[i].ours, n);
		sum += n;
	}
	for (uint32_t slot = 0; slot < WITNESS_RX_SLOTS; slot++) {
		n = shield_prog_take_bad_macs(w->prog, slot);
		witness_rx_add_bad_macs(rx, slot, w->path, n);
		sum += n;
	}
	w->n_dropped += sum;
	counters_add(&w->fleet->counters.shield_dropped, sum);
}

/* If the shield is up (is_up), give the kernel the present keys. If it is down, remove all keys
 * from the kernel. Tries every slot even if one fails. Returns 0, or the last -errno. */
static int follow_keys(struct witnessing *w)
{
	int r = 0;

	for (uint32_t slot = 0; slot < WITNESS_RX_SLOTS; slot++) {
		struct witness_rx_key now;
		struct shield_key key = {0};
		bool is_given = w->shield.is_up &&
				witness_rx_get_key(w->fleet->witness, slot, w->path, &now);
		int q;

		if (is_given) {
			memcpy(key.key, now.key, sizeof(key.key));
			key.newest = now.newest;
			key.key_id = now.key_id;
			key.address = htonl(now.address);
			explicit_bzero(&now, sizeof(now));
		}
		q = shield_prog_set_key(w->prog, slot, is_given ? &key : NULL);
		explicit_bzero(&key, sizeof(key));
		r = q < 0 ? q : r;
	}
	return r;
}

/* Attach the shield. This is also called regularly while the shield is attached, to update the keys
 * and to repeat what has failed. Returns 0 or -errno. */
static int put_up(struct witnessing *w)
{
	/* give the program the keys first: it drops every datagram whose key it does not have */
	int r = follow_keys(w);

	return r < 0 ? r : port_filter(w->port, shield_prog_fd(w->prog));
}

static int take_down(struct witnessing *w)
{
	int r = port_filter(w->port, -1), q;

	take_counts(w);
	q = follow_keys(w);
	return r < 0 ? r : q;
}

static void tell(struct witnessing *w, uint64_t now_ns)
{
	char text[160];

	if (w->shield.is_up) {
		w->is_told = w->told_ns == 0 || now_ns - w->told_ns >= TELL_NS;
		w->dropped_before = w->n_dropped;
		(void)snprintf(text, sizeof(text),
			       "a flood of UDP that nobody wants in the %s network: the "
			       "kernel drops all but true witness datagrams",
			       networks[w->path]);
		if (w->is_told)
			w->told_ns = now_ns;
	} else {
		(void)snprintf(text, sizeof(text),
			       "the flood is over in the %s network: the kernel dropped %" PRIu64
			       " datagrams",
			       networks[w->path], w->n_dropped - w->dropped_before);
	}
	if (!w->is_told)
		return;
	log_warn("%s", text);
	fleet_event(w->fleet, now_ns, "", "witness", text);
}

void witnessing_shield(struct witnessing *w, uint64_t now_ns)
{
	struct fleet *fleet = w->fleet;
	bool changed;
	int r;

	if (!w->prog || !shield_is_due(&w->shield, now_ns))
		return;
	if (w->shield.is_up)
		take_counts(w);
	changed = shield_look(&w->shield,
			      witness_rx_refused(fleet->witness, w->path) + w->n_unwanted, now_ns);
	if (!changed && !w->shield.is_up)
		return;
	r = w->shield.is_up ? put_up(w) : take_down(w);
	if (r < 0)
		log_limited(LOG_LEVEL_WARN, "the port's program against a flood: %s", strerror(-r));
	else if (changed)
		tell(w, now_ns);
}
