/* reference.h - the version of each page that the standby has: what deltas are taken against.
 *
 * Today a whole shadow of guest RAM in anonymous memory: a page that was never sent is all zero, and
 * so it is on the standby. The kernel backs only pages that were written, so a guest that uses a
 * quarter of its RAM costs a quarter. (A bounded store with replacement is the next step; callers
 * only ask for a page and may then overwrite it, so it can take this one's place.)
 *
 * Where: written by the encoder as it sends; owned by the epoch engine's thread. Never blocks but on
 * page faults.
 */
#ifndef EPOCH_REFERENCE_H
#define EPOCH_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

struct reference;

/* A reference for @n_pages pages, all zero. 0; -ENOMEM. The caller owns *ret, see reference_free. */
int reference_new(size_t n_pages, struct reference **ret) __attribute__((warn_unused_result));

/* Accepts NULL; returns NULL. */
struct reference *reference_free(struct reference *reference);

/* The page at @index (< n_pages), to read and to overwrite; valid until reference_free(). */
uint8_t *reference_page(struct reference *reference, size_t index);

/* Forget everything: all pages are zero again. 0 or -errno (the content is then undefined: free it). */
int reference_reset(struct reference *reference) __attribute__((warn_unused_result));

#endif
