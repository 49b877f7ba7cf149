/* fuzz_witness.c - decodes any bytes as a witness datagram. The fields of an accepted datagram must
 * be within their bounds. The MAC check must refuse an unsigned datagram. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/witness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[WIRE_WITNESS_KEY_SIZE] = {1};
	static struct wire_witness_mac *mac;
	struct wire_witness w;
	/* exactly @size bytes, to notice a read past the end */
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy || (!mac && wire_witness_mac_new(key, &mac) < 0))
		abort();
	memcpy(copy, data, size);
	if (wire_witness_decode(copy, size, &w) == 0) {
		if (size != WIRE_WITNESS_SIZE || w.sequence == 0 || w.head < copy ||
		    w.head + w.head_size > copy + WIRE_WITNESS_SIGNED)
			abort();
		if (wire_witness_mac_sign(mac, copy) < 0 || wire_witness_mac_check(mac, copy) < 0)
			abort();
		copy[w.sequence % WIRE_WITNESS_SIZE] ^= 1;
		if (wire_witness_mac_check(mac, copy) == 0)
			abort();
	}
	free(copy);
	return 0;
}
