#include "probe/probes.h"

#include <errno.h>
#include <stdlib.h>

#include "base/counters.h"
#include "probe/prober_private.h"

int probes_new(probes_random_fn random, void *random_arg, struct probes **ret_probes)
{
	struct probes *probes = calloc(1, sizeof(*probes));

	if (!probes)
		return -ENOMEM;
	probes->random = random;
	probes->random_arg = random_arg;
	*ret_probes = probes;
	return 0;
}

struct probes *probes_free(struct probes *probes)
{
	for (size_t i = 0; probes && i < probes->n; i++)
		free(probes->list[i]);
	free(probes);
	return NULL;
}

void probes_open_net(struct probes *probes, enum prober_net net, const struct frames_end *us,
		     bool answers_arp, probes_output_fn output, void *output_arg)
{
	probes->ports[net] = (struct prober_port){
		.open = true,
		.us = *us,
		.answers_arp = answers_arp,
		.output = output,
		.output_arg = output_arg,
	};
}

int probes_add(struct probes *probes, const struct prober_config *config,
	       struct prober **ret_prober)
{
	struct prober *prober;

	if (config->n_guest_ports > PROBER_PORTS_MAX || config->interval_ns == 0)
		return -EINVAL;
	if (probes->n == PROBES_MAX)
		return -ENOSPC;
	prober = malloc(sizeof(*prober));
	if (!prober)
		return -ENOMEM;
	prober_init(prober, probes, config);
	probes->list[probes->n++] = prober;
	probes->has_sought |= config->is_sought;
	*ret_prober = prober;
	return 0;
}

int probes_change(struct probes *probes, struct prober *prober, const struct prober_config *config,
		  uint64_t now_ns)
{
	bool doubt = prober->doubt;

	if (config->n_guest_ports > PROBER_PORTS_MAX || config->interval_ns == 0)
		return -EINVAL;
	prober->try_until_ns = 0;
	prober_set_active(prober, false, now_ns); /* this resets a SYN that is unanswered */
	prober_tick(prober, now_ns);
	prober_init(prober, probes, config);
	probes->has_sought |= config->is_sought;
	prober_set_active(prober, doubt, now_ns);
	return 0;
}

bool probes_active(const struct probes *probes)
{
	return probes->n_active > 0;
}

void probes_tick(struct probes *probes, uint64_t now_ns)
{
	for (size_t i = 0; probes->n_active > 0 && i < probes->n; i++)
		prober_tick(probes->list[i], now_ns);
}

uint64_t probes_deadline_ns(const struct probes *probes)
{
	uint64_t at_ns = UINT64_MAX;

	for (size_t i = 0; probes->n_active > 0 && i < probes->n; i++) {
		const struct prober *prober = probes->list[i];

		if (prober->active && prober->next_ns < at_ns)
			at_ns = prober->next_ns;
	}
	return at_ns;
}

bool probes_input(struct probes *probes, enum prober_net net, const void *data, size_t size,
		  uint64_t now_ns)
{
	struct frames_view view;
	enum frames_kind kind;
	bool taken = false;

	if (!probes->ports[net].open ||
	    (probes->n_active == 0 && !(probes->has_sought && net == PROBER_NET_CLIENT)))
		return false;
	kind = frames_parse(&probes->ports[net].us, data, size, &view);
	if (probes->n_active == 0 && kind != FRAMES_ARP_REQUEST)
		return false;
	if (kind == FRAMES_MALFORMED)
		counters_add(&probes->counters.malformed, 1);
	if (kind == FRAMES_OTHER || kind == FRAMES_MALFORMED)
		return false;
	/* An ARP reply counts for every prober that asked, because several VMs may share a host.
	 * Any other answer belongs to one prober. An ARP request must be answered only once. */
	for (size_t i = 0; i < probes->n && (!taken || kind == FRAMES_ARP_REPLY); i++)
		taken |= prober_take(probes->list[i], net, kind, &view, now_ns);
	/* do not count ARP requests as stray: any host may ask for our address */
	if (!taken && kind != FRAMES_ARP_REQUEST)
		counters_add(&probes->counters.stray, 1);
	return taken && kind != FRAMES_ARP_REPLY && kind != FRAMES_ARP_REQUEST;
}

void probes_get_counters(const struct probes *probes, struct probes_counters *ret_counters)
{
	*ret_counters = probes ? probes->counters : (struct probes_counters){0};
}
