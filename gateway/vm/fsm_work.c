/* fsm_work.c - tracks how far each host has come with its orders.
 *
 * A guest of many GiB, a full backup link or a busy host can make any order slow. So the gateway
 * gives an order up only after order_timeout without progress:
 *
 *	 order sent ──────────────► progress ──────────────► progress ──► ... ──► answer
 *	            < order_timeout           < order_timeout
 *
 * The host reports its progress (REPORT; hostagent/supervision/progress.h). The key `step_moves` is
 * a count, the key `step` says in words what the host did last. If progress stops, the words become
 * part of the error. An operator can end a `protect` with `unprotect`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

void vm_on_work(struct vm_step *s, struct vm_host *host)
{
	struct vm_work *work = &host->work;

	/* The first report on a connection shows no progress, because work->n_moves is the count of
	 * an earlier connection. */
	if (work->is_known && s->in->n_moves > work->n_moves)
		work->moved_ns = s->now_ns;
	work->is_known = true;
	work->n_moves = s->in->n_moves;
	(void)text_put(work->step, sizeof(work->step), "%s", s->in->step ? s->in->step : "");
}

uint64_t vm_moved_ns(const struct vm_fsm *fsm, uint8_t h, uint64_t since_ns)
{
	uint64_t moved_ns = fsm->host[h].work.moved_ns;

	return moved_ns > since_ns ? moved_ns : since_ns;
}

bool vm_is_stuck(const struct vm_step *s, uint8_t h, uint64_t since_ns)
{
	return s->now_ns - vm_moved_ns(s->fsm, h, since_ns) >= s->fsm->config->order_timeout_ns;
}

const char *vm_describe_stuck(const struct vm_fsm *fsm, uint8_t h, char *text, size_t size)
{
	const struct vm_host *host = &fsm->host[h];
	double s = (double)fsm->config->order_timeout_ns / (double)CLOCK_NS_PER_S;

	if (!host->up)
		(void)text_put(text, size, "it is not connected");
	else if (host->work.step[0])
		(void)text_put(text, size, "it %s, and nothing more for %g s", host->work.step, s);
	else
		(void)text_put(text, size, "it has not answered, and nothing moved there, for %g s",
			       s);
	return text;
}

/* Format a size, such as "3.1 GiB". */
static const char *format_bytes(uint64_t bytes, char text[32])
{
	if (bytes >= UINT64_C(1) << 30)
		(void)text_put(text, 32, "%.1f GiB", (double)bytes / (1 << 30));
	else
		(void)text_put(text, 32, "%.1f MiB", (double)bytes / (1 << 20));
	return text;
}

const char *vm_describe_copy(const struct vm_fsm *fsm, char *text, size_t size)
{
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);
	const char *step = fsm->host[owner].work.step, *theirs = fsm->host[other].work.step;
	double s = (double)fsm->config->order_timeout_ns / (double)CLOCK_NS_PER_S;
	char sent[32], own[VM_TEXT_MAX / 2], copy[VM_TEXT_MAX / 2] = "";

	(void)format_bytes(fsm->protection.standby.sent_bytes, sent);
	if (step[0])
		(void)text_put(own, sizeof(own), "%s %s", vm_host_name(fsm, owner), step);
	else
		(void)text_put(own, sizeof(own), "%s sent %s of the first copy",
			       vm_host_name(fsm, owner), sent);
	/* If the standby reports a step, the stream waits for the standby. So do not name the link
	 * as a possible cause. */
	if (theirs[0])
		(void)text_put(copy, sizeof(copy), ", %s %s", vm_host_name(fsm, other), theirs);
	(void)text_put(text, size, "%s%s, and nothing more for %g s%s", own, copy, s,
		       theirs[0] ? "" : ": is its backup link full?");
	return text;
}
