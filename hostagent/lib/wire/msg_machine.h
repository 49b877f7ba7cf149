/* msg_machine.h - MACHINE, the list of the devices and properties of the primary's machine.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_MACHINE_H
#define WIRE_MSG_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* One item of MACHINE, a list of the devices and properties of the primary's machine. The list is
 * sent in one or more frames after GEOMETRY. */
struct wire_machine_item {
	/* a device's place or a property's name: printable ASCII, not empty */
	char key[WIRE_LABEL_MAX + 1];
	char value[WIRE_LABEL_MAX + 1]; /* printable ASCII */
};

struct wire_machine_iter {
	struct bytes_reader r;	/* the part of the payload that was not read yet */
	const uint8_t *payload; /* the payload's first byte, for offsets in errors */
	bool is_last;		/* this is the last frame of the list */
};

/* Start a MACHINE payload; wire_machine_item_encode() appends the items. Returns what every encoder
 * returns. */
int wire_machine_encode(bool is_last, struct bytes_writer *w) WIRE_CHECKED;

/* Append one item. Returns what every encoder returns. But after -ENOBUFS, @w is unchanged and
 * usable: finish this frame and put the item into the next frame. */
int wire_machine_item_encode(struct bytes_writer *w, const char *key,
			     const char *value) WIRE_CHECKED;

/* Start reading the items of a MACHINE frame. Returns 0, or -EPROTO if the frame is of another
 * type, or its field `more` is out of bounds. */
int wire_machine_begin(const struct wire_frame *frame, struct wire_machine_iter *ret_iter,
		       struct wire_error *error) WIRE_CHECKED;

/* Read the next item. Returns
 * 1: *ret_item is set;
 * 0: the payload has no more items;
 * -EPROTO: the item is truncated, or its key or value is not a valid text. *ret_item may be changed
 * then. */
int wire_machine_next(struct wire_machine_iter *iter, struct wire_machine_item *ret_item,
		      struct wire_error *error) WIRE_CHECKED;

/* Check a whole MACHINE frame, for a relay that does not use its items. Returns 0 and sets
 * *ret_is_last, or returns -EPROTO. */
int wire_machine_check(const struct wire_frame *frame, bool *ret_is_last,
		       struct wire_error *error) WIRE_CHECKED;

#endif
