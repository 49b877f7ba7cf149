/* retain.h - stores encoded epochs until they are committed (the backlog).
 *
 * Why: frames can be encoded faster than the link carries them, so frames must wait. If the
 * connection is lost, epochs that are not complete at the standby must be sent again. So encoded
 * epochs are stored until they are committed.
 *
 * A FULL epoch is too large for this. Each of its frames is dropped once it is sent. If the stream
 * breaks, a new FULL epoch is made. If one ordinary epoch fills the whole backlog, its frames are
 * dropped in the same way.
 *
 *	chunks of one epoch (257 KiB each, taken from a free list)
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

/* Room for two frames with the largest payload (128 KiB), and for what precedes each in the
 * chunk. */
#define RETAIN_CHUNK_BYTES ((size_t)257 << 10)

struct retain;

/* One stored frame, without a header. The header is made only when the frame is sent, because it
 * contains the stream's generation. */
struct retain_frame {
	uint64_t epoch;
	uint32_t seq;
	uint8_t type;
	uint8_t flags;
	const uint8_t
		*payload; /* borrowed until the epoch is dropped; if the epoch is not kept, until
			   * the frame is sent */
	size_t size;
};

/* Make an empty store. @payload_max: the largest payload of a frame, well below RETAIN_CHUNK_BYTES.
 * @bytes_max: how many bytes can be stored (the backlog limit), at least RETAIN_BYTES_MIN. Returns
 * 0; -ENOMEM; -EINVAL: one of these two values is out of its bounds. */
#define RETAIN_BYTES_MIN ((size_t)1 << 20)
int retain_new(size_t payload_max, size_t bytes_max, struct retain **ret)
	__attribute__((warn_unused_result));
struct retain *retain_free(struct retain *retain); /* accepts NULL, returns NULL */

/* Begin epoch @epoch. @epoch must be greater than the numbers of all stored epochs. If @is_kept,
 * the epoch's frames are stored until the epoch is dropped. If not, each frame is stored only until
 * it is sent. Returns 0 or -ENOMEM. */
int retain_begin(struct retain *retain, uint64_t epoch, bool is_kept)
	__attribute__((warn_unused_result));

/* Can retain_reserve() be called for @n_frames more frames without -ENOBUFS? */
bool retain_has_room(const struct retain *retain, uint32_t n_frames);

/* Get room for the payload of the latest epoch's next frame: payload_max bytes, valid until
 * retain_add().
 * Returns 0;
 * -ENOMEM;
 * -ENOBUFS: bytes_max is reached, so frames must be sent or epochs committed first. */
int retain_reserve(struct retain *retain, uint8_t **ret_payload)
	__attribute__((warn_unused_result));

/* Add the next frame. Its payload is the first @size bytes of the room that retain_reserve()
 * gave. */
void retain_add(struct retain *retain, uint8_t type, uint8_t flags, size_t size);

/* Call this if retain_reserve() has no room. If only one epoch is stored, no commit can make room.
 * So from now on each frame of this epoch is dropped when it was sent, which makes room. Returns
 * true in this case. If more epochs are stored, or frames are dropped in this way already, changes
 * nothing and returns false. */
bool retain_let_go(struct retain *retain);

/* Get the next frame to send. Until retain_sent(), each call returns this frame. Returns 0;
 * -EAGAIN: all frames that were added are sent. */
int retain_next(struct retain *retain, struct retain_frame *ret_frame)
	__attribute__((warn_unused_result));
/* Report that the link has accepted the frame that retain_next() returned. */
void retain_sent(
	struct retain *retain);

/* Call this on a new, empty store if an earlier program of the agent has made the epochs so far
 * (handed.h). @epoch: the last of these epochs, which is committed. */
void retain_continue(struct retain *retain, uint64_t epoch);

/* Drop all epochs <= @epoch, because they are committed. */
void retain_drop(struct retain *retain, uint64_t epoch);
void retain_drop_all(struct retain *retain);

/* Go back, so that the epoch after @epoch is sent next. Returns 0; -ESTALE: some frames after
 * @epoch are no longer stored, so a FULL epoch must follow. */
int retain_rewind(struct retain *retain, uint64_t epoch) __attribute__((warn_unused_result));

/* number of epochs that are begun and not dropped */
uint32_t retain_n_epochs(const struct retain *retain);
/* size of all chunks of the stored epochs */
size_t retain_bytes(const struct retain *retain);
/* payload bytes of the frames that are not sent yet */
uint64_t
retain_unsent_bytes(const struct retain *retain);
/* number of frames in the latest epoch so far */
uint32_t retain_frames_in_epoch(const struct retain *retain);

#endif
