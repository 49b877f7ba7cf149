/* takeover.c - an operator says that the younger gateways, which hosts have obeyed, are gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "session/session.h"

int gateway_take_over(struct gateway *gw, uint64_t op_id)
{
	int r;

	if (!gw->younger || !gw->config.take_over)
		return -ENOENT;
	if (gw->takeover_op)
		return -EBUSY;
	r = gw->config.take_over(gw->config.take_over_arg, gw->younger);
	if (r == 0)
		gw->takeover_op = op_id;
	return r;
}

static void reply(struct gateway *gw, bool ok, const char *code, const char *text)
{
	uint64_t op_id = gw->takeover_op;

	gw->takeover_op = 0;
	if (gw->sinks.reply)
		gw->sinks.reply(gw->sinks.arg, op_id, ok, code, text);
}

void gateway_recorded(struct gateway *gw, int result)
{
	uint64_t number = 0;
	struct session *next;
	char text[128];

	if (gw->config.recorded)
		number = gw->config.recorded(gw->config.take_over_arg, result);
	if (!gw->takeover_op)
		return;
	if (!number) {
		(void)snprintf(text, sizeof(text), "cannot record it in state_dir: %s",
			       strerror(result < 0 ? -result : EIO));
		reply(gw, false, "journal", text);
		return;
	}
	gw->config.incarnation = number;
	if (gw->younger < number) /* else a host has meanwhile reported one that is younger still */
		gw->younger = 0;
	/* The younger gateway may have granted leases until just now. */
	for (size_t i = 0; i < gw->n_vms; i++)
		vm_fsm_granted(&gw->vms[i]->fsm, gw->now_ns);
	for (struct session *s = gw->sessions; s; s = next) {
		next = s->next;
		session_end(s); /* its WELCOME named the old incarnation */
	}
	reply(gw, true, "done", "this gateway is the youngest now; hosts connect anew");
}
