/* Describes the guest's machine to the standby; see engine_private.h and docs/wire-format.md
 * 5.7.1. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define FRAME_MAX 65536u
/* A list of items up to this size always fits into WIRE_MACHINE_FRAMES_MAX frames. (Each frame can
 * have unused room at its end.) */
#define LIST_MAX                                                                                   \
	(WIRE_MACHINE_FRAMES_MAX * (FRAME_MAX - WIRE_HEADER_SIZE - 1 - 2 * (WIRE_LABEL_MAX + 1)))

_Static_assert(VMM_MACHINE_KEY_MAX <= WIRE_LABEL_MAX && VMM_MACHINE_VALUE_MAX <= WIRE_LABEL_MAX,
	       "an item of a machine is one of MACHINE");

static int check_size(const struct vmm_machine *m, struct error *ret_error)
{
	size_t size = 0;

	for (uint32_t i = 0; i < m->n_items; i++)
		size += 2 + strlen(m->items[i].key) + strlen(m->items[i].value);
	if (size <= LIST_MAX)
		return 0;
	snprintf(
		ret_error->text, sizeof(ret_error->text),
		"the guest has too many devices to compare them with the standby's (%zu bytes of "
		"%u)",
		size, (unsigned)LIST_MAX);
	return -E2BIG;
}

int engine_machine_open(struct engine_machine *m, struct qmp *qmp,
			const struct vmm_description *known, struct error *ret_error)
{
	struct vmm_description is = {0};
	int r = vmm_describe_again(qmp, known, &is, ret_error);

	if (r == 0)
		r = check_size(&is.machine, ret_error);
	if (r < 0) {
		vmm_description_done(&is);
		return r;
	}
	engine_machine_done(m);
	m->is = is;
	return 0;
}

void engine_machine_done(struct engine_machine *m)
{
	vmm_description_done(&m->is);
}

int engine_machine_check(struct engine *e)
{
	struct vmm_machine devices = {0};
	struct error error = {""};
	bool is_same;
	int r = vmm_describe_devices(e->guest.qmp, &devices, &error);

	if (r == 0) {
		is_same = vmm_machine_is_same(&e->machine.is.devices, &devices);
		vmm_machine_done(&devices);
		if (is_same)
			return 0;
		r = engine_machine_open(&e->machine, e->guest.qmp, NULL, &error);
	}
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "vm=%s %s", e->config.vm, error.text);
		return r;
	}
	engine_stream_close(e, "the guest's devices have changed; beginning anew");
	return -ESTALE;
}

/* Send one frame with as many items from machine.at on as fit. *ret_next: index of the first item
 * that was not sent. */
static int send_frame(struct engine *e, uint32_t *ret_next)
{
	uint8_t buffer[FRAME_MAX];
	struct wire_header header = {
		.type = WIRE_MACHINE, .term = e->term, .generation = e->stream.generation};
	uint32_t next = e->machine.at;
	struct bytes_writer w;
	size_t size;
	int r;

	r = wire_frame_begin(buffer, sizeof(buffer), &w);
	if (r == 0)
		r = wire_machine_encode(true, &w);
	while (r == 0 && next < e->machine.is.machine.n_items) {
		r = wire_machine_item_encode(&w, e->machine.is.machine.items[next].key,
					     e->machine.is.machine.items[next].value);
		next += r == 0;
	}
	if (r == -ENOBUFS && next > e->machine.at) {
		struct bytes_writer first;

		r = wire_frame_begin(buffer, sizeof(buffer), &first);
		if (r == 0) /* mark the frame, in its first byte, as not the last */
			r = wire_machine_encode(false, &first);
	}
	if (r == 0)
		r = wire_frame_finish(buffer, &w, &header, &size);
	if (r == 0)
		r = link_send_frame(e->stream.link, buffer, size);
	if (r == 0)
		*ret_next = next;
	return r;
}

int engine_machine_send(struct engine *e)
{
	do {
		int r = send_frame(e, &e->machine.at);

		if (r < 0)
			return r;
	} while (e->machine.at < e->machine.is.machine.n_items);
	e->stream.opening = OPENING_SENT;
	return 0;
}
