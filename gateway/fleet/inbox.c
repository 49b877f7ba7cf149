#include "fleet/inbox.h"

#include <errno.h>
#include <string.h>

static void point_at_copies(struct inbox_entry *e)
{
	if (e->in.text)
		e->in.text = e->text;
	if (e->in.throttle_why)
		e->in.throttle_why = e->throttle_why;
}

static void drop(struct inbox *box, size_t i)
{
	box->n--;
	for (; i < box->n; i++) {
		box->list[i] = box->list[i + 1];
		point_at_copies(&box->list[i]);
	}
}

/* Does the newer @in make @old pointless? */
static bool replaces(const struct vm_input *in, const struct vm_input *old)
{
	if (in->kind != old->kind || in->host != old->host)
		return false;
	switch (in->kind) {
	case VM_IN_SEEN:
	case VM_IN_OBEYS_ANOTHER:
	case VM_IN_REPORT:
		return true;
	case VM_IN_EPOCH_ACK:
		return in->term == old->term && in->epoch >= old->epoch;
	case VM_IN_ORDER_DONE:
		return in->order_id == old->order_id;
	case VM_IN_CONTROL_DOWN:
		return true;
	case VM_IN_STREAM_DOWN:
	case VM_IN_STREAM_REFUSED:
	case VM_IN_STREAM_FAILED:
		return in->role == old->role;
	default:
		return false;
	}
}

/* Does @in end what @old began? */
static bool cancels(const struct vm_input *in, const struct vm_input *old)
{
	if (in->host != old->host)
		return false;
	if (in->kind == VM_IN_CONTROL_DOWN)
		return old->kind == VM_IN_CONTROL_UP;
	return in->kind == VM_IN_STREAM_DOWN && old->kind == VM_IN_STREAM_UP && in->role == old->role;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memmove(to, from, n);
	to[n] = '\0';
}

void inbox_copy(struct inbox_entry *e, const struct vm_input *in)
{
	e->in = *in;
	e->in.evidence = NULL;
	if (in->text)
		copy_text(e->text, sizeof(e->text), in->text);
	if (in->throttle_why)
		copy_text(e->throttle_why, sizeof(e->throttle_why), in->throttle_why);
	point_at_copies(e);
}

int inbox_put(struct inbox *box, const struct vm_input *in)
{
	if (in->kind == VM_IN_TICK)
		return 0;
	for (size_t i = box->n; i-- > 0;) {
		if (replaces(in, &box->list[i].in) || cancels(in, &box->list[i].in))
			drop(box, i);
	}
	if (box->n == INBOX_MAX)
		return -EBUSY;
	inbox_copy(&box->list[box->n++], in);
	return 0;
}

bool inbox_take(struct inbox *box, struct inbox_entry *ret_entry)
{
	if (box->n == 0)
		return false;
	*ret_entry = box->list[0];
	point_at_copies(ret_entry);
	drop(box, 0);
	return true;
}
