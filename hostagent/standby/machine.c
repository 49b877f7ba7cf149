/* Compares the primary's machine with the warm QEMU's (docs/wire-format.md 5.7.1), and keeps the
 * description of a promoted QEMU. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "standby/standby_private.h"

void standby_machine_reset(struct standby_machine *m)
{
	vmm_machine_done(&m->theirs);
	m->n_frames = 0;
	m->is_proved = false;
}

static int refuse(struct standby_machine *m, struct epochcheck_error *e, uint16_t code,
		  const char *text)
{
	standby_machine_reset(m);
	e->code = code;
	return error_set(&e->why, -EPROTO, "%s", text);
}

/* Compare the machines. Called when the primary's whole list has arrived. Returns 0 if they are the
 * same. */
static int compare(struct standby *sb, struct epochcheck_error *e)
{
	struct standby_machine *m = &sb->machine;
	char text[WIRE_TEXT_MAX / 2], differs[WIRE_TEXT_MAX];

	vmm_machine_sort(&m->theirs);
	if (vmm_machine_compare(&m->theirs, &sb->qemu.is.machine, text, sizeof(text)) < 0) {
		snprintf(differs, sizeof(differs), "the guests are built differently: %s", text);
		return refuse(m, e, WIRE_STREAM_ERROR_GEOMETRY, differs);
	}
	log_info("vm=%s the primary's machine is as this host's: %u properties compared",
		 sb->config.vm, m->theirs.n_items);
	vmm_machine_done(&m->theirs);
	m->is_proved = true;
	standby_rehearsal_begin(sb);
	return 0;
}

static int take_items(struct standby_machine *m, const struct wire_frame *frame,
		      struct epochcheck_error *e, bool *ret_is_last)
{
	char text[WIRE_ERROR_TEXT_SIZE];
	struct wire_machine_iter iter;
	struct wire_machine_item item;
	struct wire_error wire;
	int r = wire_machine_begin(frame, &iter, &wire);

	while (r >= 0 && (r = wire_machine_next(&iter, &item, &wire)) > 0)
		if (vmm_machine_add(&m->theirs, item.key, item.value) < 0)
			return refuse(m, e, WIRE_STREAM_ERROR_LIMIT,
				      "too many properties in MACHINE");
	if (r < 0)
		return refuse(m, e, WIRE_STREAM_ERROR_FORMAT,
			      wire_error_text(&wire, text, sizeof(text)));
	*ret_is_last = iter.is_last;
	return 0;
}

int standby_machine_frame(struct standby *sb, const struct wire_frame *frame,
			  struct epochcheck_error *ret_error)
{
	const struct epochcheck *check = &sb->log.check;
	struct standby_machine *m = &sb->machine;
	bool is_last;
	int r;

	if (frame->h.term == check->term && check->has_geometry &&
	    frame->h.generation < check->generation)
		return 0; /* a frame of an older generation, from the gateway's buffer: ignore it */
	if (frame->h.term != check->term || !check->has_geometry ||
	    frame->h.generation != check->generation || check->inside || m->is_proved ||
	    m->n_frames == WIRE_MACHINE_FRAMES_MAX)
		return refuse(m, ret_error, WIRE_STREAM_ERROR_ORDER,
			      "MACHINE where it has no place");
	m->n_frames++;
	r = take_items(m, frame, ret_error, &is_last);
	return r < 0 || !is_last ? r : compare(sb, ret_error);
}

int standby_machine_need(struct standby *sb, struct epochcheck_error *ret_error)
{
	if (sb->machine.is_proved || !(sb->machine.features & WIRE_FEATURE_MACHINE))
		return 0;
	return refuse(
		&sb->machine, ret_error, WIRE_STREAM_ERROR_GEOMETRY,
		"the primary's agent does not say what its machine is made of; update that agent");
}

void standby_keep_description(struct standby *sb)
{
	pthread_mutex_lock(&sb->lock);
	vmm_description_done(&sb->promoted);
	if (vmm_description_copy(&sb->qemu.is, &sb->promoted) < 0)
		log_debug("vm=%s no memory for a description, ignoring", sb->config.vm);
	pthread_mutex_unlock(&sb->lock);
}

int standby_describe(struct standby *sb, struct vmm_description *ret)
{
	int r;

	pthread_mutex_lock(&sb->lock);
	r = vmm_description_copy(&sb->promoted, ret);
	pthread_mutex_unlock(&sb->lock);
	return r;
}
