/* encoder.h - pages and device state in, frames of an epoch out.
 *
 * Why: one place knows the order of an epoch's frames and keeps the reference in step with what was
 * put into them: a page is compared with what the standby will have after all frames before it.
 *
 *	encoder_begin ─ encoder_page* ─ encoder_device ─ encoder_end
 *	EPOCH_BEGIN     PAGES...        DEVICE...        EPOCH_END     (into struct retain)
 *
 * A full backlog is -ENOBUFS with nothing done: let frames be sent and call again.
 * Where: the epoch engine. Threads: the engine's. Allocates in encoder_new only.
 */
#ifndef EPOCH_ENCODER_H
#define EPOCH_ENCODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/retain.h"

struct encoder;

/* What became of the pages since encoder_new(); device state not counted. */
struct encoder_counts {
	uint64_t n_unchanged, n_zero, n_delta, n_raw; /* pages by class */
	uint64_t n_epoch_pages;			      /* records in the epoch begun last */
	uint64_t epoch_bytes; /* frames of the epoch begun last, headers counted */
};

/* For a guest of @n_pages; writes into @retain, which stays the caller's. 0; -ENOMEM. */
int encoder_new(uint32_t n_pages, struct retain *retain, struct encoder **ret)
	__attribute__((warn_unused_result));
struct encoder *encoder_free(struct encoder *encoder); /* accepts NULL, returns NULL */

/* Start epoch @epoch on top of @previous. @is_full: it stands alone: the reference is forgotten, its
 * frames are not retained once sent. 0; -ENOBUFS; -ENOMEM (then only a FULL epoch may follow). */
int encoder_begin(struct encoder *encoder, uint64_t epoch, uint64_t previous, bool is_full)
	__attribute__((warn_unused_result));

/* Page @index is now as @page says. 0; -ENOBUFS; -ENOMEM. */
int encoder_page(struct encoder *encoder, uint32_t index, const uint8_t *page)
	__attribute__((warn_unused_result));

/* The device state is now @blob. Call it once per epoch; on -ENOBUFS call again with the same blob,
 * it goes on. 0; -ENOBUFS; -ENOMEM; -EFBIG: larger than WIRE_BLOB_MAX. */
int encoder_device(struct encoder *encoder, const uint8_t *blob, size_t size)
	__attribute__((warn_unused_result));

/* Finish the epoch. 0; -ENOBUFS; -ENOMEM. */
int encoder_end(struct encoder *encoder) __attribute__((warn_unused_result));

void encoder_get_counts(const struct encoder *encoder, struct encoder_counts *ret_counts);

#endif
