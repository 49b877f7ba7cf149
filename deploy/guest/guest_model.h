/* guest_model.h - models what a request does to guest memory, so that the client can predict the
 * checksum in the reply.
 *
 * Each connection owns a window of pages, used as a ring. A DIRTY request for n pages starts at the
 * page after the last page of the previous request. For each page, the request adds the page's old
 * seed to the connection's running checksum. Then the request writes a new seed into the page, and
 * a pattern derived from that seed. Layout of a page:
 *
 *      offset 0    seed
 *      offset 8    n_bytes, how much of the page is used
 *      offset 16   the pattern: mix(seed + 2), mix(seed + 3), ... up to offset n_bytes
 *
 * The service does this with real pages (guest_page_*). The client does it with the seeds alone
 * (guest_model_*). The two checksums agree only if the guest's memory holds what the client's
 * requests wrote. A page is torn if its pattern does not match its seed. The service finds torn
 * pages without the client.
 *
 * Service and client must apply the same requests in the same order. Memory: the client needs 8
 * bytes per page of the window. Threads: none of its own; one thread per object.
 */
#ifndef GUEST_MODEL_H
#define GUEST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_PAGE_SIZE 4096

struct guest_model {
	uint64_t *seeds;	/* seed of each page of the window, 0 if never written; owned */
	uint32_t window_pages;	/* size of @seeds */
	uint32_t next_page;	/* index of the page that the next request writes first */
	uint64_t checksum;	/* running checksum over all requests */
};

/* Returns a 64-bit hash of @x (the finaliser of splitmix64). */
uint64_t guest_mix(uint64_t x);

/* Returns the seed that request @seq writes into the page with number @index of the request's
 * pages; never 0. */
uint64_t guest_seed(uint64_t seq, uint32_t index);

/* Returns what @checksum becomes when a page whose seed was @old_seed is overwritten. */
uint64_t guest_checksum_add(uint64_t checksum, uint64_t old_seed);

/* Write @seed and its pattern into the first @n_bytes of @page (GUEST_BYTES_MIN ..
 * GUEST_BYTES_MAX). */
void guest_page_write(uint8_t *page, uint64_t seed, uint32_t n_bytes);

/* Returns the seed in @page, or 0 if the page was never written. If the page's pattern does not
 * match its seed, sets *ret_torn to true; otherwise leaves *ret_torn as it was. */
uint64_t guest_page_read(const uint8_t *page, bool *ret_torn);

/* Make a model of a window of pages that were never written. Returns 0 or -ENOMEM. */
int guest_model_init(struct guest_model *model, uint32_t window_pages)
	__attribute__((warn_unused_result));
void guest_model_done(struct guest_model *model); /* accepts a zeroed model */

/* Apply request @seq, which dirties @n_pages pages (at most the window's size). Returns the
 * checksum that the reply must have. */
uint64_t guest_model_dirty(struct guest_model *model, uint64_t seq, uint32_t n_pages);

#endif
