/* Encodes and decodes MACHINE, the list of the devices and properties of the primary's machine. */
#include "wire/msg_machine.h"

#include "wire/msg_cursor.h"

static bool value_is_valid(const char *bytes, size_t size)
{
	return size == 0 || wire_label_bytes_are_valid(bytes, size);
}

int wire_machine_encode(bool is_last, struct bytes_writer *w)
{
	bytes_write_u8(w, is_last ? 0 : 1);
	return write_result(w);
}

int wire_machine_item_encode(struct bytes_writer *w, const char *key, const char *value)
{
	size_t size = 2 + strnlen(key, WIRE_LABEL_MAX + 1) + strnlen(value, WIRE_LABEL_MAX + 1);

	if (w->bad || (size_t)(w->end - w->at) < size)
		return -ENOBUFS;
	if (write_string(w, 1, wire_label_bytes_are_valid, key, WIRE_LABEL_MAX) < 0 ||
	    write_string(w, 1, value_is_valid, value, WIRE_LABEL_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_machine_begin(const struct wire_frame *frame, struct wire_machine_iter *ret_iter,
		       struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_MACHINE, error);
	uint8_t more = cursor_u8(&c, "more", 0, 1);

	if (c.failed)
		return -EPROTO;
	*ret_iter = (struct wire_machine_iter){.r = c.r, .payload = c.start, .is_last = more == 0};
	return 0;
}

int wire_machine_next(struct wire_machine_iter *iter, struct wire_machine_item *ret_item,
		      struct wire_error *error)
{
	struct cursor c = {
		.r = iter->r, .start = iter->payload, .error = error, .type = WIRE_MACHINE};

	if (bytes_left(&iter->r) == 0)
		return 0;
	cursor_string(&c, "item key", 1, wire_label_bytes_are_valid, ret_item->key,
		      sizeof(ret_item->key));
	cursor_string(&c, "item value", 1, value_is_valid, ret_item->value,
		      sizeof(ret_item->value));
	if (c.failed)
		return -EPROTO;
	iter->r = c.r;
	return 1;
}

int wire_machine_check(const struct wire_frame *frame, bool *ret_is_last, struct wire_error *error)
{
	struct wire_machine_iter iter;
	struct wire_machine_item item;
	int r = wire_machine_begin(frame, &iter, error);

	if (r < 0)
		return r;
	while ((r = wire_machine_next(&iter, &item, error)) > 0)
		;
	if (r == 0)
		*ret_is_last = iter.is_last;
	return r;
}
