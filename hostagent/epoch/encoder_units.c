/* Implements the sink for several threads, which fills units. Any of the threads encodes a unit.
 * See encoder_private.h. */
#include "epoch/encoder_private.h"

#include <errno.h>
#include <string.h>

#include "epoch/retain.h"
#include "wire/msg.h"

/* Other threads are woken when this many units are submitted. With fewer units, it takes longer to
 * wake a thread and wait for it than to find the deltas. */
#define WAKE_UNITS 4u

/* Move a finished unit's frames into the backlog.
 * Returns 0;
 * -ENOBUFS: the backlog is full; call this again to continue;
 * -ENOMEM: the epoch is lost. */
static int collect_frames(struct encoder *e, const struct unit *unit)
{
	for (; e->n_collected < unit->n_frames; e->n_collected++) {
		const struct unit_frame *frame = &unit->frames[e->n_collected];
		uint8_t *payload;
		int r;

		if (frame->plain_size == 0)
			continue;
		r = retain_reserve(e->retain, &payload);
		if (r < 0)
			return r;
		memcpy(payload, unit_payload(unit, e->n_collected), frame->size);
		encoder_add_frame(e, WIRE_PAGES, 0, frame->size, frame->plain_size);
	}
	e->n_collected = 0;
	return 0;
}

static void add_figures(struct encoder *e, const struct unit *unit)
{
	e->n_records += unit->n_whole + unit->n_items - unit->pages.n_unchanged;
	e->pages.n_pages += unit->pages.n_pages;
	e->pages.n_unchanged += unit->pages.n_unchanged;
	for (size_t class = 0; class < PAGE_N_CLASSES; class++) {
		e->pages.n_records[class] += unit->pages.n_records[class];
		e->pages.bytes[class] += unit->pages.bytes[class];
	}
	packer_add_counts(&e->packing, &unit->packing);
}

/* Move the frames of all finished units into the backlog, in the order of submission. */
static int collect(struct encoder *e)
{
	const struct unit *unit;

	while ((unit = workers_collect(e->workers))) {
		int r = collect_frames(e, unit);

		if (r < 0)
			return r;
		add_figures(e, unit);
		for (uint32_t i = 0; i < unit->n_items; i++)
			reference_put(e->reference, unit->items[i].reference);
		workers_put(e->workers);
	}
	return 0;
}

static void submit(struct encoder *e)
{
	if (!e->unit)
		return;
	e->unit->packs = e->packs;
	e->n_submitted++;
	workers_submit(e->workers, e->n_submitted >= WAKE_UNITS);
	e->unit = NULL;
}

static int room(struct encoder *e, uint32_t index, uint8_t **ret_room)
{
	/* If the page's slot is pinned, a unit still has the page. A page must not be in two
	 * units. */
	if (reference_is_pinned(e->reference, index))
		return -EAGAIN;
	if (!e->unit) {
		e->unit = workers_get(e->workers);
		if (!e->unit)
			return -EAGAIN;
		unit_begin(e->unit, e->pages.features);
	}
	*ret_room = unit_room(e->unit);
	return 0;
}

static void submit_if_full(struct encoder *e)
{
	if (unit_is_full(e->unit))
		submit(e);
}

static void wrote(struct encoder *e, size_t size)
{
	unit_wrote(e->unit, size);
	submit_if_full(e);
}

static void add_item(struct encoder *e, uint32_t index, const uint8_t *page, uint8_t *reference)
{
	unit_add_item(e->unit, index, page, reference);
	submit_if_full(e);
}

static int end(struct encoder *e, int r, bool is_last)
{
	if (r < 0 && r != -EAGAIN)
		return -ENOMEM;
	if (r == 0 && !is_last)
		return 1;
	submit(e);
	/* Return 0 only when no thread reads the cursor's pages any more. Until then, help the
	 * other threads. */
	if (!workers_is_idle(e->workers))
		return workers_help(e->workers, &e->packer);
	e->n_submitted = 0;
	return 0;
}

/* Only collect() needs room in the backlog. While there is no room, finished frames stay in
 * their units. */
const struct page_sink encoder_units_sink = {
	.begin = collect,
	.room = room,
	.wrote = wrote,
	.add_item = add_item,
	.end = end,
};
