#include "fleet/inbox.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

/* The strings that a peer sent with an input. inbox_copy() copies each of them. */
static const struct {
	size_t member; /* offset of the pointer (const char *) in struct inbox_entry */
	size_t copy, size;
} strings[] = {
#define STRING(name)                                                                               \
	{offsetof(struct inbox_entry, in.name), offsetof(struct inbox_entry, name),               \
	 sizeof(((struct inbox_entry *)NULL)->name)}
	STRING(text), STRING(throttle_why), STRING(clock_why), STRING(way), STRING(step),
#undef STRING
};

static const char **member(struct inbox_entry *e, size_t i)
{
	return (const char **)((char *)e + strings[i].member);
}

static char *copy(struct inbox_entry *e, size_t i)
{
	return (char *)e + strings[i].copy;
}

static void point_at_copies(struct inbox_entry *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (*member(e, i))
			*member(e, i) = copy(e, i);
	}
}

static void drop(struct inbox *box, size_t i)
{
	box->n--;
	for (; i < box->n; i++) {
		box->list[i] = box->list[i + 1];
		point_at_copies(&box->list[i]);
	}
}

/* Returns true if @in, the newer input, replaces @old: @old no longer matters. */
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

/* Returns true if @in, a "down", is about the same connection or stream as @old, an "up". The two
 * then cancel each other. */
static bool cancels(const struct vm_input *in, const struct vm_input *old)
{
	if (in->host != old->host)
		return false;
	if (in->kind == VM_IN_CONTROL_DOWN)
		return old->kind == VM_IN_CONTROL_UP;
	return in->kind == VM_IN_STREAM_DOWN && old->kind == VM_IN_STREAM_UP &&
	       in->role == old->role;
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
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		if (*member(e, i))
			copy_text(copy(e, i), strings[i].size, *member(e, i));
	}
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
