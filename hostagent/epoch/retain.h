/* retain.h - encoded epochs, from their first frame until their commit.
 *
 * Why: encoding makes frames faster than a link takes them, and after a broken connection the
 * stream must go on from the standby's last complete epoch. So encoded epochs are kept until they
 * are committed. A FULL epoch is too large for that: its frames are dropped as they are sent, and
 * if the stream breaks it starts anew. An epoch that fills the backlog limit by itself is treated
 * the same way: it could never be committed.
 *
 *	chunks of one epoch (256 KiB each, taken from a free list)
 *	+--------------------------------+   +-----------------------------+
 *	| meta payload  meta payload ... | → | meta payload ...            |
 *	+--------------------------------+   +-----------------------------+
 *	      ▲ retain_next(): next frame to send        ▲ retain_reserve(): room for the next frame
 *
 * Where: encoder (writes), stream (sends, resends, drops on commit). Threads: the engine's.
 */
#ifndef EPOCH_RETAIN_H
#define EPOCH_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETAIN_CHUNK_BYTES ((size_t)256 << 10)

struct retain;

/* One frame as it is kept. Its header is made when the frame is sent, since it carries the
 * generation. */
struct retain_frame {
	uint64_t epoch;
	uint32_t seq;
	uint8_t type;
	uint8_t flags;
	const uint8_t
		*payload; /* borrowed until the epoch is dropped (or the frame sent, if FULL) */
	size_t size;
};

/* @payload_max: largest payload of a frame, well below RETAIN_CHUNK_BYTES. @bytes_max: most bytes
 * to hold (backlog limit), at least RETAIN_BYTES_MIN. 0; -ENOMEM; -EINVAL. */
#define RETAIN_BYTES_MIN ((size_t)1 << 20)
int retain_new(size_t payload_max, size_t bytes_max, struct retain **ret)
	__attribute__((warn_unused_result));
struct retain *retain_free(struct retain *retain); /* accepts NULL, returns NULL */

/* Start epoch @epoch (greater than all before). @is_kept: keep its frames until the epoch is
 * dropped; else keep each frame only until it is sent. 0; -ENOMEM. */
int retain_begin(struct retain *retain, uint64_t epoch, bool is_kept)
	__attribute__((warn_unused_result));

/* Can retain_reserve() be called for @n_frames more frames without -ENOBUFS? */
bool retain_has_room(const struct retain *retain, uint32_t n_frames);

/* Room for the payload of the next frame (payload_max bytes) of the epoch begun last; borrowed
 * until retain_add(). 0; -ENOBUFS: bytes_max reached (send and commit first); -ENOMEM. */
int retain_reserve(struct retain *retain, uint8_t **ret_payload)
	__attribute__((warn_unused_result));

/* @size bytes were written to what retain_reserve() gave: they are the next frame. */
void retain_add(struct retain *retain, uint8_t type, uint8_t flags, size_t size);

/* For when retain_reserve() has no room, and the epoch begun last is the only one (a commit could
 * drop nothing): from now on keep its frames only until they are sent. True: done, sending makes
 * room; false: it is not the only epoch, or was not kept anyway. */
bool retain_let_go(struct retain *retain);

/* The next frame to send, without taking it. 0; -EAGAIN: all that was added is sent. */
int retain_next(struct retain *retain, struct retain_frame *ret_frame)
	__attribute__((warn_unused_result));
void retain_sent(
	struct retain *retain); /* the frame that retain_next() gave was taken by the link */

/* Drop all epochs <= @epoch (committed). */
void retain_drop(struct retain *retain, uint64_t epoch);
void retain_drop_all(struct retain *retain);

/* Send again, starting with the epoch after @epoch. 0; -ESTALE: some of what was begun after @epoch
 * is no longer kept (only a FULL epoch helps). */
int retain_rewind(struct retain *retain, uint64_t epoch) __attribute__((warn_unused_result));

uint32_t retain_n_epochs(const struct retain *retain); /* begun, not dropped */
size_t retain_bytes(const struct retain *retain);      /* memory in use by chunks of epochs */
uint64_t
retain_unsent_bytes(const struct retain *retain); /* payload that retain_next() will give */
uint32_t retain_frames_in_epoch(const struct retain *retain); /* frames of the epoch begun last */

#endif
