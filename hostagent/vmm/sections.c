#include "vmm/sections.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

/* Constants of QEMU's migration/savevm.h and migration/savevm.c; the same in all versions. */
#define FILE_MAGIC     UINT32_C(0x5145564d) /* "QEVM" */
#define FILE_HEAD      8u		    /* size of the file's head: magic, version */
#define SECTION_EOF    0x00u
#define SECTION_FULL   0x04u
#define SECTION_FOOTER 0x7eu
#define FOOTER_BYTES   5u  /* size of a footer: the byte SECTION_FOOTER, the section's number */
#define NAME_AT        6u  /* offset of the name, after type, number and length of the name */
#define HEAD_BYTES     14u /* size of a section's header without the name: type, number, length
			    * of the name, instance, version */

/* Returns the size of the section header at @at, or 0 if there is none. */
static size_t header_size(const uint8_t *at, const uint8_t *end)
{
	size_t left = (size_t)(end - at), name_size;

	if (left < HEAD_BYTES || at[0] != SECTION_FULL)
		return 0;
	name_size = at[NAME_AT - 1];
	if (name_size == 0 || left < HEAD_BYTES + name_size)
		return 0;
	for (size_t i = 0; i < name_size; i++)
		if (at[NAME_AT + i] < 0x20 || at[NAME_AT + i] > 0x7e)
			return 0;
	return HEAD_BYTES + name_size;
}

/* Find the footer of section @number at or after @at. Returns NULL if there is none. */
static const uint8_t *find_footer(const uint8_t *at, const uint8_t *end, uint32_t number)
{
	for (; (at = memchr(at, SECTION_FOOTER, (size_t)(end - at))); at++) {
		const uint8_t *next = at + FOOTER_BYTES;

		if ((size_t)(end - at) <= FOOTER_BYTES)
			return NULL;
		if (bytes_get_be32(at + 1) == number &&
		    ((*next == SECTION_EOF && next + 1 == end) || header_size(next, end) > 0))
			return at;
	}
	return NULL;
}

/* Returns the hash @mark with @data added to it (FNV-1a). */
static uint64_t mix(uint64_t mark, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		mark = (mark ^ data[i]) * UINT64_C(0x100000001b3);
	return mark;
}

uint64_t vmm_sections_mark(const uint8_t *blob, size_t size)
{
	const uint8_t *at = blob + FILE_HEAD, *end = blob + size;
	uint64_t mark = UINT64_C(0xcbf29ce484222325);
	bool is_whole = size > FILE_HEAD && bytes_get_be32(blob) == FILE_MAGIC;

	while (is_whole && *at != SECTION_EOF) {
		size_t head = header_size(at, end);
		uint32_t number = head > 0 ? bytes_get_be32(at + 1) : 0;

		/* leave out the section's number, because it depends on how many sections QEMU has
		 * ever made */
		if (head > 0)
			mark = mix(mark, at + NAME_AT - 1, head - NAME_AT + 1);
		at = head > 0 ? find_footer(at + head, end, number) : NULL;
		is_whole = at && at + FOOTER_BYTES < end;
		if (is_whole)
			at += FOOTER_BYTES;
	}
	return is_whole ? mark | 1 : (uint64_t)size | 1;
}
