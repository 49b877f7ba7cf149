/* Encodes and decodes RAM_HASH, hashes of pages within an epoch, and RAM_CHECKED. */
#include "wire/msg_ram.h"

#include "wire/msg_cursor.h"

#define HASH_HEADER_SIZE 12u /* seed and first page */

int wire_ram_hash_encode(const struct wire_ram_hash *hash, struct bytes_writer *w)
{
	if (hash->n_pages == 0 || hash->n_pages > WIRE_RAM_HASHES_MAX ||
	    hash->first_page > WIRE_PAGES_MAX - hash->n_pages)
		return write_invalid(w);
	bytes_write_be64(w, hash->seed);
	bytes_write_be32(w, hash->first_page);
	bytes_write(w, hash->hashes, (size_t)hash->n_pages * WIRE_HASH_SIZE);
	return write_result(w);
}

int wire_ram_hash_decode(const struct wire_frame *frame, struct wire_ram_hash *ret_hash,
			 struct wire_error *error)
{
	struct cursor c		  = cursor_begin(frame, WIRE_RAM_HASH, error);
	struct wire_ram_hash hash = {0};
	size_t size;

	hash.seed	= cursor_u64(&c, "seed");
	hash.first_page = cursor_u32(&c, "first page", 0, UINT32_MAX);
	size		= bytes_left(&c.r);
	hash.n_pages	= (uint32_t)(size / WIRE_HASH_SIZE);
	if (!c.failed && (size == 0 || size % WIRE_HASH_SIZE != 0))
		cursor_fail(&c, "hashes", HASH_HEADER_SIZE, "no whole number of hashes");
	if (!c.failed && (hash.n_pages > WIRE_RAM_HASHES_MAX ||
			  hash.first_page > WIRE_PAGES_MAX - hash.n_pages))
		cursor_fail(&c, "hashes", HASH_HEADER_SIZE, "too many pages");
	hash.hashes = cursor_take(&c, "hashes", size);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_hash = hash;
	return 0;
}

/* Returns how many page indexes a RAM_CHECKED lists if @n_differ pages differ. */
static uint32_t n_named(uint32_t n_differ)
{
	return n_differ < WIRE_RAM_DIFFER_MAX ? n_differ : WIRE_RAM_DIFFER_MAX;
}

int wire_ram_checked_encode(const struct wire_ram_checked *checked, struct bytes_writer *w)
{
	if (checked->n_checked == 0 || checked->n_differ > checked->n_checked)
		return write_invalid(w);
	bytes_write_be32(w, checked->n_checked);
	bytes_write_be32(w, checked->n_differ);
	for (uint32_t i = 0; i < n_named(checked->n_differ); i++)
		bytes_write_be32(w, checked->page[i]);
	return write_result(w);
}

int wire_ram_checked_decode(const struct wire_frame *frame, struct wire_ram_checked *ret_checked,
			    struct wire_error *error)
{
	struct cursor c			= cursor_begin(frame, WIRE_RAM_CHECKED, error);
	struct wire_ram_checked checked = {0};

	checked.n_checked = cursor_u32(&c, "pages checked", 1, UINT32_MAX);
	checked.n_differ  = cursor_u32(&c, "pages that differ", 0, checked.n_checked);
	for (uint32_t i = 0; !c.failed && i < n_named(checked.n_differ); i++)
		checked.page[i] = cursor_u32(&c, "page", 0, UINT32_MAX);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_checked = checked;
	return 0;
}
