/* msg.h - encodes and decodes the payloads of all frame types. Each type has a struct, an encoder
 * and a decoder. This header includes its parts, one for each msg_*.c:
 *
 *	msg_open.h	HELLO, WELCOME, REFUSED, STREAM_ERROR; feature bits
 *	msg_control.h	control connection: BEAT, REPORT, ORDER, WITNESS_KEY, LEASE
 *	msg_drain.h	control connection: DRAIN, DRAIN_STATE
 *	msg_peer.h	peer connection: CLAIM, VOTE
 *	msg_stream.h	stream and peer connections: GEOMETRY, EPOCH_BEGIN to EPOCH_END, CLOCK
 *	msg_machine.h	MACHINE
 *	msg_disk.h	DISK, DISK_CHECKED
 *	msg_hashes.h	HASHES_WANT, HASHES
 *	msg_ram.h	RAM_HASH, RAM_CHECKED
 *
 * Why: daemons work with structs in host byte order; only lib/wire knows byte offsets.
 * Where: called by link, sessions, vm, epoch and standby; calls nothing but base/bytes.h.
 * Threads: any (no state). Nothing here allocates or blocks.
 *
 * Encoders write the payload to @w, a writer set by wire_frame_begin(). They return 0, or
 *      -EINVAL   a field of the struct breaks the format (name, text, bound)
 *      -ENOBUFS  there is no room
 * After an error @w is unusable (w->bad is set).
 *
 * Decoders take a frame whose header was accepted by wire_frame_decode(). They return 0, or
 *      -EPROTO   the frame has the wrong type, is truncated, has trailing bytes, or has a field
 *                that is out of bounds; *@error says which (@error can be NULL)
 * The struct is written on success only. Strings are copied and NUL-terminated. The data of records
 * are not copied, so they are valid only as long as the frame's buffer.
 *
 * The types EPOCH_ACK, COMMIT and RESUME have no struct here, because all of their content is in
 * the header. wire_empty_decode() checks that their payload is empty.
 */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include "base/bytes.h"
#include "base/error.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/msg_control.h"
#include "wire/msg_disk.h"
#include "wire/msg_drain.h"
#include "wire/msg_hashes.h"
#include "wire/msg_machine.h"
#include "wire/msg_open.h"
#include "wire/msg_peer.h"
#include "wire/msg_ram.h"
#include "wire/msg_stream.h"
#include "wire/page_record.h"
#include "wire/text.h"

#endif
