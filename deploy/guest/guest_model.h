/* guest_model.h - what a request does to guest memory, so that the client can foretell the checksum.
 *
 * What: a connection owns a window of pages. DIRTY with number `seq` and n pages goes on, in a ring,
 * from where the last request stopped. Of each page it first takes the seed that an earlier request
 * left there into the connection's running checksum, then writes a seed of its own and a pattern
 * grown from it:
 *
 *	page   0 seed   8 n_bytes   16 pattern words mix(seed + 2), mix(seed + 3), ... up to n_bytes
 *
 * The service does this with real pages (guest_page_*), the client with the seeds alone
 * (guest_model_*): the checksums agree only while the guest's memory is what the client's requests
 * made it. A page whose pattern does not match its own seed is torn (the service sees that itself).
 *
 * Assumption: the two sides see the same requests in the same order. Worst case: a window of
 * GUEST_WINDOW_MAX_PAGES costs the client 8 bytes a page.
 * Threads: none of its own; one thread per object.
 */
#ifndef GUEST_MODEL_H
#define GUEST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#define GUEST_PAGE_SIZE 4096

struct guest_model {
	uint64_t *seeds;	/* of each page of the window; 0 = never written; owned */
	uint32_t window_pages;	/* size of @seeds */
	uint32_t next_page;	/* where the next request goes on */
	uint64_t checksum;	/* running, over all requests */
};

/* A well-spread 64-bit function of @x (the finaliser of splitmix64). */
uint64_t guest_mix(uint64_t x);

/* The seed that request @seq writes into its @index-th page; never 0. */
uint64_t guest_seed(uint64_t seq, uint32_t index);

/* The running checksum after meeting a page with @old_seed. */
uint64_t guest_checksum_add(uint64_t checksum, uint64_t old_seed);

/* Write @seed and its pattern into the first @n_bytes (GUEST_BYTES_MIN..MAX) of @page. */
void guest_page_write(uint8_t *page, uint64_t seed, uint32_t n_bytes);

/* The seed in @page, 0 when it was never written. *ret_torn is set to true when the page's pattern
 * is not the one of its seed, and left alone otherwise. */
uint64_t guest_page_read(const uint8_t *page, bool *ret_torn);

/* Make a model of a fresh window. 0; -ENOMEM. */
int guest_model_init(struct guest_model *model, uint32_t window_pages)
	__attribute__((warn_unused_result));
void guest_model_done(struct guest_model *model); /* accepts a zeroed model */

/* Apply request @seq; returns the checksum its reply must carry. @n_pages <= window. */
uint64_t guest_model_dirty(struct guest_model *model, uint64_t seq, uint32_t n_pages);

#endif
