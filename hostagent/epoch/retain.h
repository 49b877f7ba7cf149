/* retain.h - stores encoded epochs until they are committed (the backlog).
 *
 * Why: frames can be encoded faster than the link carries them, so they must wait. If the
 * connection is lost, epochs that the standby does not have whole must be sent again. So encoded
 * epochs are stored until they are committed.
 *
 * A FULL epoch is too large for this. Each of its frames is dropped once it is sent. If the stream
 * breaks, a new FULL epoch is made. If an ordinary epoch alone fills the whole backlog, its frames
 * are dropped in this way too.
 *
 *	chunks of one epoch (256 KiB each, taken from a free list)
 *	+--------------------------------+   +-----------------------------+
 *	| meta payload  meta payload ... | → | meta payload ...            |
 *	+--------------------------------+   +-----------------------------+
 *            ▲ retain_next(): next frame to send        ▲ retain_reserve(): room for the next frame
 *
 * Where: the encoder writes to it; the stream sends and resends from it, and drops epochs when they
 * are committed. Threads: the engine's.
 */
#ifndef EPOCH_RETAIN_H
#define EPOCH_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for two frames of the largest payload (128 KiB), with what precedes each. */
#define RETAIN_CHUNK_BYTES ((size_t)257 << 10)

struct retain;

/* One stored frame, without its header. The header is made when the frame is sent, because it
 * contains the stream's generation. */
struct retain_frame {
	uint64_t epoch;
	uint32_t seq;
	uint8_t type;
	uint8_t flags;
	const uint8_t
		*payload; /* borrowed until the epoch is dropped (or the frame sent, if FULL) */
	size_t size;
};

/* Make an empty store. @payload_max: the largest payload of a frame, well below RETAIN_CHUNK_BYTES.
 * @bytes_max: how many bytes can be stored (the backlog limit), at least RETAIN_BYTES_MIN. Returns
 * 0, -ENOMEM or -EINVAL. */
#define RETAIN_BYTES_MIN ((size_t)1 << 20)
int retain_new(size_t payload_max, size_t bytes_max, struct retain **ret)
	__attribute__((warn_unused_result));
struct retain *retain_free(struct retain *retain); /* accepts NULL, returns NULL */

/* Begin epoch @epoch. Its number must be greater than those of all earlier epochs. If @is_kept, the
 * epoch's frames are stored until the epoch is dropped. If not, each frame is stored only until it
 * is sent. Returns 0 or -ENOMEM. */
int retain_begin(struct retain *retain, uint64_t epoch, bool is_kept)
	__attribute__((warn_unused_result));

/* Can retain_reserve() be called for @n_frames more frames without -ENOBUFS? */
bool retain_has_room(const struct retain *retain, uint32_t n_frames);

/* Get room for the payload (payload_max bytes) of the latest epoch's next frame. The room is valid
 * until retain_add(). Returns 0; -ENOMEM; -ENOBUFS if bytes_max is reached, so that frames must be
 * sent or epochs committed first. */
int retain_reserve(struct retain *retain, uint8_t **ret_payload)
	__attribute__((warn_unused_result));

/* Add the next frame. Its payload is the first @size bytes of the room that retain_reserve()
 * gave. */
void retain_add(struct retain *retain, uint8_t type, uint8_t flags, size_t size);

/* Call this if retain_reserve() has no room. If only the latest epoch is stored, no commit can make
 * room. In this case, each frame of that epoch will be dropped once it is sent. Returns true: from
 * now on, sending makes room. If other epochs are stored too, or if an earlier call has already
 * returned true for this epoch, changes nothing and returns false. */
bool retain_let_go(struct retain *retain);

/* Get the next frame to send. Until retain_sent(), each call returns this frame. Returns 0, or
 * -EAGAIN if all frames that were added are sent. */
int retain_next(struct retain *retain, struct retain_frame *ret_frame)
	__attribute__((warn_unused_result));
void retain_sent(
	/* report that the link has accepted retain_next()'s frame */
	struct retain *retain);

/* Call this on a new, empty store if an earlier program of the agent made the epochs so far
 * (handed.h). @epoch was the last of them, and is committed. */
void retain_continue(struct retain *retain, uint64_t epoch);

/* Drop all epochs <= @epoch, because they are committed. */
void retain_drop(struct retain *retain, uint64_t epoch);
void retain_drop_all(struct retain *retain);

/* Go back, so that the epoch after @epoch is sent next. Returns 0. Returns -ESTALE if some frames
 * after @epoch are no longer stored; a FULL epoch must follow. */
int retain_rewind(struct retain *retain, uint64_t epoch) __attribute__((warn_unused_result));

uint32_t retain_n_epochs(const struct retain *retain); /* number of epochs that were begun and not
							* dropped */
size_t retain_bytes(const struct retain *retain);      /* memory in use by chunks of epochs */
uint64_t
retain_unsent_bytes(const struct retain *retain); /* payload bytes of the frames that are still to
						   * be sent */
uint32_t retain_frames_in_epoch(const struct retain *retain); /* number of frames in the latest
							       * epoch */

#endif
