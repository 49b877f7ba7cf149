/* takeover.c - an operator says that the younger gateways, which hosts have obeyed, are gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "session/session.h"

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
	if (fleet->sinks.reply)
		fleet->sinks.reply(fleet->sinks.arg, op_id, ok, code, text);
}

void fleet_recorded(struct fleet *fleet, int result)
{
	uint64_t number = 0;
	struct session *next;
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
	if (fleet->younger < number) /* else a host has meanwhile reported one that is younger still */
		fleet->younger = 0;
	/* The younger gateway may have granted leases until just now. */
	for (size_t i = 0; i < fleet->n_vms; i++)
		vm_fsm_granted(&fleet->vms[i]->fsm, fleet->now_ns);
	for (struct session *s = fleet->sessions; s; s = next) {
		next = s->next;
		session_end(s); /* its WELCOME named the old incarnation */
	}
	reply(fleet, true, "done", "this gateway is the youngest now; hosts connect anew");
}
