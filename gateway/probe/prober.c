#include "probe/prober.h"

#include <string.h>

#include "base/counters.h"
#include "probe/prober_private.h"

#define GUEST	    (PROBER_TARGETS - 1)
/* Replies to the latest ECHO_WINDOW echo requests are accepted; echo_answered has one bit for each
 * of these requests. */
#define ECHO_WINDOW 64
#define PORT_FIRST  49152 /* first of our source ports, which are IANA's dynamic range */

static const uint8_t broadcast[FRAMES_MAC_BYTES] = {255, 255, 255, 255, 255, 255};

void prober_init(struct prober *prober, struct probes *all, const struct prober_config *config)
{
	static const uint8_t no_mac[FRAMES_MAC_BYTES];
	struct prober_target *guest = &prober->targets[GUEST];

	*prober = (struct prober){.all = all, .interval_ns = config->interval_ns,
				  .n_ports = config->n_guest_ports, .is_sought = config->is_sought};
	for (size_t h = 0; h < PROBER_HOSTS; h++) {
		prober->targets[h] = (struct prober_target){.ip = config->host[h],
							    .net = PROBER_NET_CLIENT};
		prober->targets[PROBER_HOSTS + h] = (struct prober_target){
			.ip = config->host_backup[h], .net = PROBER_NET_BACKUP};
	}
	*guest = (struct prober_target){.ip = config->guest, .net = PROBER_NET_CLIENT};
	guest->fixed_mac = memcmp(config->guest_mac, no_mac, sizeof(no_mac)) != 0;
	guest->has_mac = guest->fixed_mac;
	memcpy(guest->mac, config->guest_mac, sizeof(guest->mac));
	memcpy(prober->ports, config->guest_ports, sizeof(prober->ports));
}

static bool is_reachable(const struct prober *prober, const struct prober_target *target)
{
	return target->ip != 0 && prober->all->ports[target->net].open;
}

/* ---- sending ---- */

static bool output(struct prober *prober, enum prober_net net, const uint8_t frame[FRAMES_BYTES])
{
	const struct prober_port *port = &prober->all->ports[net];

	if (port->output(port->output_arg, frame, FRAMES_BYTES) == 0)
		return true;
	counters_add(&prober->all->counters.lost, 1);
	return false;
}

/* Send a probe. If it was sent, count it: a probe that was not sent must not count as
 * unanswered. */
static bool send_probe(struct prober *prober, struct prober_target *target,
		       enum prober_method method, const uint8_t frame[FRAMES_BYTES],
		       uint64_t now_ns)
{
	struct prober_count *count = &target->by[method];

	if (!output(prober, target->net, frame))
		return false;
	count->sent++;
	count->round_sent++;
	count->unanswered++;
	target->unanswered++;
	if (count->first_sent_ns == 0)
		count->first_sent_ns = now_ns;
	count->last_sent_ns = now_ns;
	counters_add(&prober->all->counters.sent, 1);
	return true;
}

static void count_answer(struct prober *prober, struct prober_target *target,
			 enum prober_method method, uint64_t now_ns)
{
	struct prober_count *count = &target->by[method];

	count->answered++;
	count->round_answered++;
	count->unanswered = 0;
	target->unanswered = 0;
	count->last_answer_ns = now_ns;
	counters_add(&prober->all->counters.answered, 1);
}

/* Returns @target as the destination of a frame, with @mac as its MAC. */
static struct frames_end end_of(const struct prober_target *target, const uint8_t *mac)
{
	struct frames_end end = {.ip = target->ip};

	memcpy(end.mac, mac, sizeof(end.mac));
	return end;
}

static void send_arp(struct prober *prober, struct prober_target *target, uint64_t now_ns)
{
	bool known = target->has_mac && !target->arp_waits;
	struct frames_end to = end_of(target, known ? target->mac : broadcast);
	uint8_t frame[FRAMES_BYTES];

	frames_arp_request(frame, &prober->all->ports[target->net].us, &to);
	if (send_probe(prober, target, PROBER_ARP, frame, now_ns))
		target->arp_waits = true;
}

static void send_echo(struct prober *prober, struct prober_target *target, uint64_t now_ns)
{
	struct frames_end to = end_of(target, target->mac);
	uint8_t frame[FRAMES_BYTES];

	target->echo.seq++;
	frames_echo_request(frame, &prober->all->ports[target->net].us, &to, &target->echo);
	if (send_probe(prober, target, PROBER_ICMP, frame, now_ns))
		target->echo_answered <<= 1;
	else
		target->echo.seq--;
}

static void send_syn(struct prober *prober, struct prober_target *target, size_t i, uint64_t now_ns)
{
	struct frames_end to = end_of(target, target->mac);
	struct prober_syn *syn = &prober->syns[i];
	uint8_t frame[FRAMES_BYTES];

	if (!syn->waiting) {
		uint64_t random = prober->all->random(prober->all->random_arg);

		syn->tcp = (struct frames_tcp){
			.source_port =
				(uint16_t)(PORT_FIRST + (random >> 32) % (65536 - PORT_FIRST)),
			.dest_port = prober->ports[i],
			.seq = (uint32_t)random,
		};
	}
	frames_syn(frame, &prober->all->ports[target->net].us, &to, &syn->tcp);
	if (send_probe(prober, target, PROBER_TCP, frame, now_ns))
		syn->waiting = true;
}

static void send_rst(struct prober *prober, const struct prober_syn *syn)
{
	const struct prober_target *guest = &prober->targets[GUEST];
	struct frames_end to = end_of(guest, guest->mac);
	struct frames_tcp tcp = syn->tcp;
	uint8_t frame[FRAMES_BYTES];

	tcp.seq++;
	frames_rst(frame, &prober->all->ports[guest->net].us, &to, &tcp);
	counters_add(&prober->all->counters.replies, 1);
	(void)output(prober, guest->net, frame); /* if this RST is lost, the guest's own timer
						  * closes the connection */
}

/* Reset all SYNs that are still unanswered, and forget all SYNs. */
static void drop_syns(struct prober *prober)
{
	for (size_t i = 0; i < prober->n_ports; i++) {
		if (prober->syns[i].waiting)
			send_rst(prober, &prober->syns[i]);
	}
	memset(prober->syns, 0, sizeof(prober->syns));
}

static void end_round(struct prober *prober)
{
	prober->active = false;
	prober->all->n_active--;
	drop_syns(prober);
}

void prober_tick(struct prober *prober, uint64_t now_ns)
{
	if (prober->active && !prober->doubt && now_ns >= prober->try_until_ns)
		end_round(prober);
	if (!prober->active || now_ns < prober->next_ns)
		return;
	prober->next_ns += prober->interval_ns;
	if (prober->next_ns <= now_ns)
		/* probes that were missed are not sent later */
		prober->next_ns = now_ns + prober->interval_ns;
	for (size_t t = 0; t < PROBER_TARGETS; t++) {
		struct prober_target *target = &prober->targets[t];

		if (!is_reachable(prober, target))
			continue;
		send_arp(prober, target, now_ns);
		if (!target->has_mac)
			continue;
		send_echo(prober, target, now_ns);
		for (size_t i = 0; t == GUEST && i < prober->n_ports; i++)
			send_syn(prober, target, i, now_ns);
	}
}

static void begin_round(struct prober *prober, uint64_t now_ns)
{
	struct probes *all = prober->all;

	for (size_t t = 0; t < PROBER_TARGETS; t++) {
		struct prober_target *target = &prober->targets[t];
		uint64_t random = all->random(all->random_arg);

		for (size_t m = 0; m < PROBER_N_METHODS; m++) {
			target->by[m].round_sent = target->by[m].round_answered = 0;
			target->by[m].unanswered = 0;
			target->by[m].first_sent_ns = 0;
		}
		target->unanswered = 0;
		target->arp_waits = false;
		target->echo_answered = 0;
		target->echo = (struct frames_echo){.id = (uint16_t)random,
						    .seq = (uint16_t)(random >> 16),
						    .cookie = all->random(all->random_arg)};
	}
	drop_syns(prober);
	prober->next_ns = now_ns;
	prober->all->n_active += !prober->active;
	prober->active = true;
}

void prober_set_active(struct prober *prober, bool active, uint64_t now_ns)
{
	if (!prober || prober->doubt == active)
		return;
	prober->doubt = active;
	if (active)
		begin_round(prober, now_ns);
	else if (now_ns >= prober->try_until_ns)
		end_round(prober);
}

void prober_try(struct prober *prober, uint64_t until_ns, uint64_t now_ns)
{
	if (!prober)
		return;
	prober->try_until_ns = until_ns;
	if (!prober->active)
		begin_round(prober, now_ns);
}

bool prober_is_active(const struct prober *prober)
{
	return prober && prober->active;
}

/* ---- answers ---- */

static bool may_reply(struct prober *prober, uint64_t now_ns)
{
	if (now_ns - prober->replies_ns >= prober->interval_ns) {
		prober->replies_ns = now_ns;
		prober->n_replies = 0;
	}
	return prober->n_replies++ < PROBER_REPLIES_MAX;
}

static bool is_mac_of(const struct prober_target *target, const uint8_t *mac)
{
	return !target->fixed_mac || memcmp(target->mac, mac, FRAMES_MAC_BYTES) == 0;
}

static bool take_arp_request(struct prober *prober, struct prober_target *target,
			     const struct frames_view *view, uint64_t now_ns)
{
	const struct prober_port *port = &prober->all->ports[target->net];
	uint8_t frame[FRAMES_BYTES];

	if (!port->answers_arp || !is_mac_of(target, view->from.mac) ||
	    !may_reply(prober, now_ns))
		return false;
	frames_arp_reply(frame, &port->us, &view->from);
	counters_add(&prober->all->counters.replies, 1);
	return output(prober, target->net, frame);
}

static bool take_arp_reply(struct prober *prober, struct prober_target *target,
			   const struct frames_view *view, uint64_t now_ns)
{
	const struct prober_count *count = &target->by[PROBER_ARP];

	if (count->round_answered >= count->round_sent || !is_mac_of(target, view->from.mac))
		return false;
	memcpy(target->mac, view->from.mac, sizeof(target->mac));
	target->has_mac = true;
	target->arp_waits = false;
	count_answer(prober, target, PROBER_ARP, now_ns);
	return true;
}

static bool take_echo(struct prober *prober, struct prober_target *target,
		      const struct frames_view *view, uint64_t now_ns)
{
	const struct prober_count *count = &target->by[PROBER_ICMP];
	uint16_t age = (uint16_t)(target->echo.seq - view->echo.seq);

	if (view->echo.id != target->echo.id || view->echo.cookie != target->echo.cookie ||
	    age >= ECHO_WINDOW || age >= count->round_sent ||
	    target->echo_answered & UINT64_C(1) << age)
		return false;
	target->echo_answered |= UINT64_C(1) << age;
	count_answer(prober, target, PROBER_ICMP, now_ns);
	return true;
}

static bool take_tcp(struct prober *prober, struct prober_target *target, enum frames_kind kind,
		     const struct frames_view *view, uint64_t now_ns)
{
	struct prober_syn *syn = NULL;

	for (size_t i = 0; i < prober->n_ports && target == &prober->targets[GUEST]; i++) {
		const struct frames_tcp *tcp = &prober->syns[i].tcp;

		if (tcp->dest_port != 0 && view->tcp.source_port == tcp->dest_port &&
		    view->tcp.dest_port == tcp->source_port && view->tcp_ack == tcp->seq + 1)
			syn = &prober->syns[i];
	}
	if (!syn)
		return false;
	if (kind == FRAMES_SYN_ACK && may_reply(prober, now_ns))
		/* answer a repeated SYN-ACK too, because the guest's connection is still open */
		send_rst(prober, syn);
	if (!syn->waiting)
		return false;
	syn->waiting = false;
	target->refused += kind == FRAMES_REFUSED;
	count_answer(prober, target, PROBER_TCP, now_ns);
	return true;
}

bool prober_take(struct prober *prober, enum prober_net net, enum frames_kind kind,
		 const struct frames_view *view, uint64_t now_ns)
{
	struct prober_target *target = NULL;
	bool is_sought;

	for (size_t t = 0; t < PROBER_TARGETS; t++) {
		if (prober->targets[t].ip == view->from.ip && prober->targets[t].net == net)
			target = &prober->targets[t];
	}
	/* An ARP request from one of the VM's hosts in the client network? These hosts are the
	 * first PROBER_HOSTS targets. */
	is_sought = prober->is_sought && kind == FRAMES_ARP_REQUEST && target &&
		    target < &prober->targets[PROBER_HOSTS];
	if (!(prober->active || is_sought) || !target || view->from.ip == 0)
		return false;
	switch (kind) {
	case FRAMES_ARP_REQUEST:
		return take_arp_request(prober, target, view, now_ns);
	case FRAMES_ARP_REPLY:
		return take_arp_reply(prober, target, view, now_ns);
	case FRAMES_ECHO_REPLY:
		return take_echo(prober, target, view, now_ns);
	case FRAMES_SYN_ACK:
	case FRAMES_REFUSED:
		return take_tcp(prober, target, kind, view, now_ns);
	case FRAMES_OTHER:
	case FRAMES_MALFORMED:
		break;
	}
	return false;
}

/* ---- figures ---- */

static void add_count(struct prober_count *all, const struct prober_count *count)
{
	all->sent += count->sent;
	all->answered += count->answered;
	all->round_sent += count->round_sent;
	all->round_answered += count->round_answered;
	if (count->first_sent_ns &&
	    (!all->first_sent_ns || count->first_sent_ns < all->first_sent_ns))
		all->first_sent_ns = count->first_sent_ns;
	if (count->last_sent_ns > all->last_sent_ns)
		all->last_sent_ns = count->last_sent_ns;
	if (count->last_answer_ns > all->last_answer_ns)
		all->last_answer_ns = count->last_answer_ns;
}

void prober_get(const struct prober *prober, enum prober_kind kind, unsigned int host,
		struct prober_figures *ret_figures)
{
	const struct prober_target *target;
	size_t t = GUEST;

	*ret_figures = (struct prober_figures){0};
	if (kind != PROBER_GUEST)
		t = (kind == PROBER_HOST_BACKUP ? PROBER_HOSTS : 0) + host % PROBER_HOSTS;
	if (!prober)
		return;
	target = &prober->targets[t];
	ret_figures->configured = is_reachable(prober, target);
	ret_figures->has_mac = target->has_mac;
	ret_figures->refused = target->refused;
	memcpy(ret_figures->by, target->by, sizeof(ret_figures->by));
	for (size_t m = 0; m < PROBER_N_METHODS; m++)
		add_count(&ret_figures->all, &target->by[m]);
	ret_figures->all.unanswered = target->unanswered;
}
