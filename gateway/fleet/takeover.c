/* takeover.c - carries out an operator's `takeover`: this gateway replaces a younger gateway, which
 * is gone for good. (Younger: it has a larger incarnation than this one, and hosts have obeyed
 * it.) */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fleet/fleet_private.h"

int fleet_take_over(struct fleet *fleet, uint64_t op_id)
{
	int r;

	if (!fleet->younger || !fleet->config.take_over)
		return -ENOENT;
	if (fleet->takeover_op)
		return -EBUSY;
	r = fleet->config.take_over(fleet->config.take_over_arg, fleet->younger);
	if (r == 0)
		fleet->takeover_op = op_id;
	return r;
}

static void reply(struct fleet *fleet, bool ok, const char *code, const char *text)
{
	uint64_t op_id = fleet->takeover_op;

	fleet->takeover_op = 0;
	fleet_reply(fleet, op_id, ok, code, text);
}

/* End all connections, because their WELCOME named the old incarnation. The agents connect again
 * and get the new incarnation. */
static void end_all(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		if (fleet->hosts[i].control)
			fleet->links->end(fleet->hosts[i].control);
	}
	for (size_t i = 0; i < fleet->n_vms; i++) {
		for (size_t slot = 0; slot < VM_STREAMS; slot++) {
			if (fleet->vms[i]->stream[slot])
				fleet->links->end(fleet->vms[i]->stream[slot]);
		}
	}
}

void fleet_recorded(struct fleet *fleet, int result, uint64_t now_ns)
{
	uint64_t number = 0;
	char text[128];

	if (fleet->config.recorded)
		number = fleet->config.recorded(fleet->config.take_over_arg, result);
	if (!fleet->takeover_op)
		return;
	if (!number) {
		(void)snprintf(text, sizeof(text), "cannot record it in state_dir: %s",
			       strerror(result < 0 ? -result : EIO));
		reply(fleet, false, "journal", text);
		return;
	}
	fleet->config.incarnation = number;
	/* If a host has meanwhile reported a gateway with an even larger incarnation, leave
	 * `younger` as it is. */
	if (fleet->younger < number)
		fleet->younger = 0;
	/* The younger gateway may have granted a lease a moment ago. Until that lease has expired,
	 * promote no host. */
	for (size_t i = 0; i < fleet->n_vms; i++)
		fleet_granted(fleet->vms[i], now_ns);
	end_all(fleet);
	reply(fleet, true, "done", "this gateway is the youngest now; hosts connect anew");
}
