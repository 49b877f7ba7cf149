/* fuzz_xrle.c - decodes any bytes as a page record's data. The result must be exactly the error or
 * the page that the format prescribes. Then the target changes some bytes of a page. Every SIMD
 * form of the encoder must give the same delta for this change, and applying the delta must give
 * the changed page.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "codec/encode.h"
#include "codec/simd.h"
#include "codec/xrle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void decode(uint8_t class, const uint8_t *data, size_t size)
{
	uint8_t first[PAGE_BYTES], page[PAGE_BYTES], untouched[PAGE_BYTES];
	int expected = page_check(class, data, size);

	memset(untouched, 0xa5, sizeof(untouched));
	for (int form = 0; form < SIMD_N_FORMS; form++) {
		if (simd_set_form((enum simd_form)form) < 0)
			continue;
		memcpy(page, untouched, sizeof(page));
		must(page_apply(class, data, size, page) == expected);
		if (expected < 0)
			must(memcmp(page, untouched, sizeof(page)) == 0);
		if (form == 0)
			memcpy(first, page, sizeof(first));
		must(memcmp(page, first, sizeof(page)) == 0);
	}
}

static void encode(uint64_t features, const uint8_t *data, size_t size)
{
	uint8_t old[PAGE_BYTES], new[PAGE_BYTES], page[PAGE_BYTES], reference[PAGE_BYTES];
	uint8_t first[PAGE_RECORD_ROOM], record[PAGE_RECORD_ROOM];
	size_t first_size = 0;

	for (size_t i = 0; i < PAGE_BYTES; i++)
		old[i] = (uint8_t)(i * 7);
	memcpy(new, old, sizeof(new));
	for (size_t i = 0; i + 3 <= size; i += 3)
		new[bytes_get_be16(data + i) % PAGE_BYTES] = data[i + 2];
	for (int form = 0; form < SIMD_N_FORMS; form++) {
		struct page_encoder encoder = {.features = features};
		size_t record_size;

		if (simd_set_form((enum simd_form)form) < 0)
			continue;
		memcpy(reference, old, sizeof(reference));
		record_size = page_encode(&encoder, 1, new, reference, record);
		if (form == 0) {
			first_size = record_size;
			memcpy(first, record, record_size);
		}
		must(record_size == first_size && memcmp(record, first, record_size) == 0);
		must(memcmp(reference, new, sizeof(new)) == 0);
		memcpy(page, old, sizeof(page));
		if (record_size > 0)
			must(page_apply(record[0], record + PAGE_RECORD_HEADER_BYTES,
					record_size - PAGE_RECORD_HEADER_BYTES, page) == 0);
		must(memcmp(page, new, sizeof(new)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	decode(data[0], data + 1, size - 1);
	for (uint64_t features = 0; features < 4; features++)
		encode(features, data + 1, size - 1);
	return 0;
}
