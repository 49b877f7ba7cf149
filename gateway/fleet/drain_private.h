/* drain_private.h - declarations shared by the two files of the drain's state machine (drain.h).
 * drain.c handles the phases. drain_ask.c decides whether a drain begins or is refused.
 *
 * Where: these two files only. Threads: the gateway's loop. Nothing here blocks or allocates.
 */
#ifndef FLEET_DRAIN_PRIVATE_H
#define FLEET_DRAIN_PRIVATE_H

#include "fleet/drain.h"

/* One call of drain_step(). */
struct drain_turn {
	struct drain *d;
	const struct drain_input *in;
	struct drain_actions *out;
};

/* Does the guest run on this host? Also true if this is uncertain. */
static inline bool drain_is_here(const struct drain_view *v)
{
	return v->place == VM_DRAIN_MOVABLE || v->place == VM_DRAIN_BUSY ||
	       v->place == VM_DRAIN_STUCK;
}

/* Is a copy kept on this host? Also true if the end of the copy is not confirmed yet. */
static inline bool drain_has_copy(const struct drain_view *v)
{
	return v->place == VM_DRAIN_COPY || v->place == VM_DRAIN_ENDING;
}

static inline bool drain_can_move_now(const struct drain_view *v)
{
	return v->place == VM_DRAIN_MOVABLE;
}

/* Returns true if the guest has a copy now, or is about to get one, but would have none while the
 * host is drained. */
static inline bool drain_loses_copy(const struct drain_view *v)
{
	return !v->has_third && (v->place == VM_DRAIN_MOVABLE || v->place == VM_DRAIN_BUSY ||
				 v->place == VM_DRAIN_COPY || v->is_spare);
}

/* Returns true if the guest or the copy must stay on this host: the guest would otherwise have no
 * copy, and no operator has agreed to that. */
static inline bool drain_is_kept(const struct drain *d, const struct drain_view *v)
{
	return d->keeps_copies && drain_loses_copy(v);
}

/* Append an action of @kind to this turn's actions. Returns it; the caller fills in its members. */
struct drain_action *drain_act(struct drain_turn *s, enum drain_action_kind kind);

/* Tell all operators a text about the VM with index @vm. If @vm is DRAIN_VMS_MAX, the text is about
 * the host. */
void drain_say(struct drain_turn *s, size_t vm, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Answer the request @op_id. Does nothing if @op_id is 0. @code is a constant. */
void drain_reply(struct drain_turn *s, uint64_t op_id, bool ok, const char *code,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Change the phase to @phase. If this phase waits for the disk (drain_is_storing()), add the action
 * DRAIN_ACT_STORE. */
void drain_enter(struct drain_turn *s, enum drain_phase phase);

/* Write the names of the VMs for which @test holds to @text, such as "web1, web2". Returns their
 * number. */
unsigned int drain_names_of(const struct drain_turn *s, bool (*test)(const struct drain_view *v),
			    char *text, size_t size);

/* Is a guest or a copy on the host? */
bool drain_has_left(const struct drain_turn *s);

/* Tell operators about each guest that stands in the way of the drain, and why it does.
 * @with_copies: also about each VM that would have no copy. */
void drain_name_obstacles(struct drain_turn *s, bool with_copies);

/* Handle DRAIN_IN_ASKED and DRAIN_IN_GUARD. */
void drain_on_asked(struct drain_turn *s);
void drain_on_guard(struct drain_turn *s);

#endif
