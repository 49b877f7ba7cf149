#include "witnessing.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "port/port.h"
#include "stack/filter.h"

/* Where an IPv4 frame without options has what tells a witness datagram from the rest. */
#define PROTOCOL_AT  23
#define PROTOCOL_UDP 17
#define UDP_PORT_AT  36
#define FRAME_MIN    42 /* to the end of UDP's header */

bool witnessing_input(struct gateway *gw, const struct filter_rules *rules, const uint8_t *data,
		      size_t size, uint64_t now_ns)
{
	struct filter_view view;

	/* Nearly all frames are TCP: two fields say so before anything is parsed. */
	if (size < FRAME_MIN || data[PROTOCOL_AT] != PROTOCOL_UDP ||
	    bytes_get_be16(data + UDP_PORT_AT) != gw->config.witness_port)
		return false;
	if (filter_frame(rules, data, size, &view) != FILTER_UDP)
		return false;
	(void)witness_rx_input(gw->witness, view.source, data + view.payload_at, view.payload_size,
			       now_ns); /* it counts */
	return true;
}

/* The program that goes with today's keys, or none. */
static int set_filter(struct gateway *gw, struct port *port)
{
	struct sock_filter insns[SHIELD_INSNS_MAX];
	uint32_t key_ids[SHIELD_KEYS_MAX];
	size_t n = 0;

	if (gw->shield.is_up) {
		n = witness_rx_key_ids(gw->witness, key_ids, SHIELD_KEYS_MAX);
		n = shield_program(gw->config.witness_port, key_ids, n, insns);
	}
	return port_filter(port, insns, n);
}

void witnessing_shield(struct gateway *gw, struct port *port, uint64_t now_ns)
{
	bool was_up = gw->shield.is_up;
	bool changed = shield_look(&gw->shield, witness_rx_refused(gw->witness), now_ns);
	int r;

	/* While it is up the keys may change: a look later the program follows. */
	if (!changed && !(was_up && gw->shield.looked_ns == now_ns))
		return;
	r = set_filter(gw, port);
	if (r < 0 && r != -ENOTSUP)
		log_limited(LOG_LEVEL_WARN, "the kernel takes no filter for the port: %s, ignoring",
			    strerror(-r));
	if (r < 0 || !changed || !gw->shield.is_up)
		return;
	if (now_ns - gw->shield.told_ns >= SHIELD_TELL_NS || gw->shield.told_ns == 0) {
		gw->shield.told_ns = now_ns;
		gateway_event(gw, "", "witness",
			      "a flood of datagrams that are none: the kernel drops those that name no key");
		log_warn("a flood of witness datagrams that are none: the kernel drops those that name no key");
	}
}
