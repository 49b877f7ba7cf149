/* health_private.h - shared by health.c (the judgement) and health_text.c (its words).
 *
 * Threads: the gateway's loop only.
 */
#ifndef VM_HEALTH_PRIVATE_H
#define VM_HEALTH_PRIVATE_H

#include "vm/fsm_private.h"
#include "vm/health.h"

typedef const struct health_view view_t;

static inline uint8_t owner_of(view_t *v)
{
	return v->fsm->record.owner;
}

static inline uint8_t standby_of(view_t *v)
{
	return vm_fsm_other(v->fsm);
}

static inline const struct vm_host *owner(view_t *v)
{
	return &v->fsm->host[owner_of(v)];
}

static inline const struct vm_host *standby(view_t *v)
{
	return &v->fsm->host[standby_of(v)];
}

static inline const struct health_signs *owner_signs(view_t *v)
{
	return v->signs[owner_of(v)];
}

static inline const struct health_signs *standby_signs(view_t *v)
{
	return v->signs[standby_of(v)];
}

static inline uint64_t age_ns(view_t *v, uint64_t then_ns)
{
	return v->now_ns > then_ns ? v->now_ns - then_ns : 0;
}

/* Has host @h said nothing lately? */
static inline bool is_silent(view_t *v, uint8_t h)
{
	const struct vm_host *host = &v->fsm->host[h];

	return !host->up || !host->reported || v->reported_ns[h] == 0 ||
	       age_ns(v, v->reported_ns[h]) >= HEALTH_STALE_NS;
}

static inline bool is_in(view_t *v, enum vm_state state)
{
	return v->fsm->record.state == state;
}

static inline uint64_t unacknowledged_ns(view_t *v)
{
	if (v->relay->term != v->fsm->record.term)
		return 0;
	return vm_relay_unacknowledged_ns(v->relay, v->fsm->protection.complete, v->now_ns);
}

/* In health_text.c: copy @template to @text (@size bytes) with each {NAME} replaced by the text of
 * that part for @v (parts[] in health_text.c). An unknown {NAME} is left as it is. A longer text is
 * cut. */
void health_expand(view_t *v, const char *template, char *text, size_t size);

#endif
