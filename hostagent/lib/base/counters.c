#include "base/counters.h"

#include <inttypes.h>
#include <stdio.h>

void counters_print(const struct counters_row *rows, size_t n_rows, const void *const *structs,
		    size_t n_structs, struct bytes_writer *w)
{
	char line[128];

	for (size_t i = 0; i < n_rows; i++) {
		uint64_t sum = 0;
		int n;

		for (size_t j = 0; j < n_structs; j++) {
			const uint8_t *base = structs[j];

			sum += counters_get(
				(const uint64_t *)(const void *)(base + rows[i].offset));
		}
		n = snprintf(line, sizeof(line), "%s=%" PRIu64 "\n", rows[i].name, sum);
		if (n > 0 && (size_t)n < sizeof(line))
			bytes_write(w, line, (size_t)n);
		else
			w->bad = true;
	}
}
