/* tls_pair.h - the two ends of a TLS connection, without a network between them.
 * For tests and benchmarks only.
 */
#ifndef TLS_PAIR_H
#define TLS_PAIR_H

#include <stddef.h>
#include <stdint.h>

#include "wire/tls.h"

/* Move up to @most bytes of ciphertext from @from to @to. Returns how many bytes were moved. */
static inline size_t carry(struct wire_tls *from, struct wire_tls *to, size_t most)
{
	size_t size, taken;
	const uint8_t *p = wire_tls_output(from, &size);

	if (size > most)
		size = most;
	taken = wire_tls_input(to, p, size);
	wire_tls_output_consume(from, taken);
	return taken;
}

/* Move bytes both ways until neither end has anything to send. */
static inline void shake(struct wire_tls *a, struct wire_tls *b)
{
	size_t moved;

	do {
		(void)!wire_tls_handshake(a);
		moved = carry(a, b, SIZE_MAX);
		(void)!wire_tls_handshake(b);
		moved += carry(b, a, SIZE_MAX);
	} while (moved > 0);
}

#endif
