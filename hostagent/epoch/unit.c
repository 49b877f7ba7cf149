#include "epoch/unit.h"

#include <errno.h>
#include <stdlib.h>

int unit_init(struct unit *unit)
{
	unit->payloads = malloc((size_t)UNIT_FRAMES_MAX * WIRE_PAYLOAD_MAX);
	return unit->payloads ? 0 : -ENOMEM;
}

void unit_done(struct unit *unit)
{
	free(unit->payloads);
	unit->payloads = NULL;
}

void unit_begin(struct unit *unit, uint64_t features)
{
	unit->n_items = unit->n_whole = 0;
	unit->n_frames = 1;
	unit->frames[0].plain_size = 0;
	unit->n_encoded = unit->n_finished = 0;
	unit->pages = (struct page_encoder){.features = features};
	unit->packing = (struct packer_counts){0};
}

bool unit_is_full(const struct unit *unit)
{
	return unit->n_items + unit->n_whole == UNIT_PAGES;
}

void unit_add_item(struct unit *unit, uint32_t index, const uint8_t *page, uint8_t *reference)
{
	unit->items[unit->n_items++] = (struct page_item){index, page, reference};
}

uint8_t *unit_payload(const struct unit *unit, uint32_t i)
{
	return unit->payloads + (size_t)i * WIRE_PAYLOAD_MAX;
}

static struct unit_frame *next_frame(struct unit *unit)
{
	struct unit_frame *frame = &unit->frames[unit->n_frames++];

	frame->plain_size = 0;
	return frame;
}

uint8_t *unit_room(struct unit *unit)
{
	struct unit_frame *frame = &unit->frames[unit->n_frames - 1];

	if (WIRE_PAYLOAD_MAX - frame->plain_size < PAGE_RECORD_ROOM)
		frame = next_frame(unit);
	return unit_payload(unit, unit->n_frames - 1) + frame->plain_size;
}

void unit_wrote(struct unit *unit, size_t size)
{
	unit->frames[unit->n_frames - 1].plain_size += size;
	unit->n_whole++;
}

/* Fill the open frame with records of items. If there are more items, open another frame. */
static void encode_items(struct unit *unit)
{
	struct unit_frame *frame = &unit->frames[unit->n_frames - 1];
	size_t size;

	unit->n_encoded += (uint32_t)page_encode_batch(
		&unit->pages, unit->items + unit->n_encoded, unit->n_items - unit->n_encoded,
		unit_payload(unit, unit->n_frames - 1) + frame->plain_size,
		WIRE_PAYLOAD_MAX - frame->plain_size, &size);
	frame->plain_size += size;
	if (unit->n_encoded < unit->n_items)
		(void)next_frame(unit); /* the next unit_run() fills it */
}

bool unit_run(struct unit *unit, struct packer *packer)
{
	uint32_t i = unit->n_finished;
	struct unit_frame *frame = &unit->frames[i];

	if (i + 1 == unit->n_frames)
		encode_items(unit);
	frame->size = packer_pack(packer, unit->packs, unit_payload(unit, i), frame->plain_size,
				  &unit->packing);
	unit->n_finished++;
	return unit->n_finished < unit->n_frames;
}
