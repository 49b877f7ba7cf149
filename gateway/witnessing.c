#include "witnessing.h"

#include "base/bytes.h"
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
