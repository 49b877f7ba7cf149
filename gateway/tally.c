#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/spool.h"
#include "port/port.h"
#include "probe/prober.h"

size_t tally_format(struct fleet *fleet, const struct ports *ports, char *text, size_t size)
{
	struct bytes_writer w = {(uint8_t *)text, (uint8_t *)text + size, false};

	fleet_print_counters(fleet, &w);
	for (size_t net = 0; net < ports->n; net++) {
		const char *name = net == PROBER_NET_CLIENT ? "probe_port" : "port";
		size_t room = (size_t)(w.end - w.at);
		struct port_counters p;
		int n;

		port_get_counters(ports->slots[net].port, &p);
		n = snprintf(
			(char *)w.at, room,
			"%s_rx_frames=%" PRIu64 "\n%s_tx_frames=%" PRIu64 "\n%s_rx_missed=%" PRIu64
			"\n%s_wakes=%" PRIu64 "\n",
			name, p.rx_frames, name, p.tx_frames, name, p.rx_missed, name, p.wakes);
		if (n > 0 && (size_t)n < room)
			w.at += n;
	}
	return (size_t)((char *)w.at - text);
}

static void write_stdout(void *arg, const char *data, size_t size)
{
	(void)arg;
	/* ignore a failure, because nobody is left to report it to */
	(void)!fd_write_all(STDOUT_FILENO, data, size);
}

void tally_print(const char *text, size_t size)
{
	struct spool *out;

	if (size == 0 || spool_open(size, write_stdout, NULL, &out) < 0)
		return;
	(void)spool_put(out, text, size);
	(void)spool_close(out, CLOCK_NS_PER_S);
}
