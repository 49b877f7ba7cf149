/* frame.h - encodes and decodes frames. A frame has a 40-byte header, which includes a checksum,
 * and a payload.
 *
 * Why: everything between an agent and a gateway is sent as frames inside TLS 1.3. The gateway
 * relays some frames from the primary to the standby, and TLS ends at the gateway. The checksum
 * protects a frame on the whole way from the primary to the standby.
 *
 * Where: called by hostagent/link, the gateway's sessions and the standby; calls libxxhash.
 * Threads: any (no state). Nothing here allocates, blocks or copies a payload.
 *
 *	off size field				off size field
 *	0   1    type				16  8    epoch
 *	1   1    flags				24  4    seq
 *	2   2    reserved, 0			28  4    generation
 *      4   4    payload size                   32  8    XXH3-64 over bytes 0..31 and the payload
 *	8   8    term				40  n    payload
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "wire/limits.h"

/* for encoders and decoders (msg.h): the caller must check the result */
#define WIRE_CHECKED __attribute__((warn_unused_result))

/* Frame types. The comments give sender and receiver: A = agent, P = primary's agent, S = standby's
 * agent, G = gateway. If P connects directly to S, without G:
 *      P sends to S   HELLO, BEAT, CLAIM and the frames P>G>S
 *      S sends to P   WELCOME, REFUSED, VOTE, LEASE, RESUME, EPOCH_ACK and the frames S>G>P
 * Never reuse a number. */
enum wire_type {
	WIRE_HELLO	  = 0x01, /* A>G: first frame of a connection */
	WIRE_WELCOME	  = 0x02, /* G>A: accepts the connection that HELLO opened */
	WIRE_REFUSED	  = 0x03, /* G>A: last frame of a connection */
	WIRE_BEAT	  = 0x10, /* A>G */
	WIRE_BEAT_ACK	  = 0x11, /* G>A */
	WIRE_REPORT	  = 0x12, /* A>G */
	WIRE_ORDER	  = 0x13, /* G>A */
	WIRE_ORDER_DONE	  = 0x14, /* A>G */
	WIRE_WITNESS_KEY  = 0x15, /* G>A */
	WIRE_LEASE	  = 0x16, /* G>A, S>P */
	WIRE_CLAIM	  = 0x17, /* P>S */
	WIRE_VOTE	  = 0x18, /* S>P */
	WIRE_RESUME	  = 0x20, /* G>P */
	WIRE_GEOMETRY	  = 0x21, /* P>G>S */
	WIRE_EPOCH_BEGIN  = 0x22, /* P>G>S */
	WIRE_PAGES	  = 0x23, /* P>G>S */
	WIRE_DEVICE	  = 0x24, /* P>G>S */
	WIRE_EPOCH_END	  = 0x25, /* P>G>S */
	WIRE_MACHINE	  = 0x26, /* P>G>S */
	WIRE_CLOCK	  = 0x27, /* P>G>S */
	WIRE_EPOCH_ACK	  = 0x28, /* S>G */
	WIRE_COMMIT	  = 0x29, /* G>P */
	WIRE_STREAM_ERROR = 0x2a, /* S>G>P, P>G */
	WIRE_DISK	  = 0x2b, /* P>G>S */
	WIRE_DISK_CHECKED = 0x2c, /* S>G>P */
	WIRE_HASHES_WANT  = 0x2d, /* P>G>S */
	WIRE_HASHES	  = 0x2e, /* S>G>P */
	WIRE_RAM_HASH	  = 0x2f, /* P>G>S */
	WIRE_RAM_CHECKED  = 0x30, /* S>G>P */
	WIRE_DRAIN	  = 0x31, /* A>G */
	WIRE_DRAIN_STATE  = 0x32, /* G>A */
};

/* Flags of the header. The meaning of a bit depends on the frame type; see docs/wire-format.md.
 *      FULL     in EPOCH_BEGIN: the epoch is based on no earlier epoch; a page without a record is
 *               zero
 *      UNHELD   in EPOCH_BEGIN: after this seal the guest's output was not held, so the standby
 *               must not take over with this epoch
 *      LZ4      in PAGES, DEVICE and DISK: the payload is a struct wire_lz4 */
#define WIRE_FLAG_FULL 0x01
#define WIRE_FLAG_UNHELD 0x02
#define WIRE_FLAG_LZ4  0x01

/* Who sends a frame, and on which kind of connection. Each is a bit, for wire_type_allowed(). */
enum wire_sender {
	WIRE_SENDER_AGENT_CONTROL   = 0x01,
	WIRE_SENDER_PRIMARY	    = 0x02, /* agent, stream connection with role primary */
	WIRE_SENDER_STANDBY	    = 0x04, /* agent, stream connection with role standby */
	WIRE_SENDER_GATEWAY_CONTROL = 0x08, /* gateway, on an agent's control connection */
	WIRE_SENDER_GATEWAY_PRIMARY = 0x10, /* gateway, on the primary's stream connection */
	WIRE_SENDER_GATEWAY_STANDBY = 0x20, /* gateway, on the standby's stream connection */
	WIRE_SENDER_PEER_PRIMARY    = 0x40, /* primary's agent, on a peer connection */
	WIRE_SENDER_PEER_STANDBY    = 0x80, /* standby's agent, on a peer connection */
};

/* The header's fields in host byte order. If a type does not use a field, the sender sets it to
 * 0. */
struct wire_header {
	uint8_t type;	       /* enum wire_type */
	uint8_t flags;	       /* WIRE_FLAG_*, by type */
	/* set by wire_frame_decode(). Functions that encode ignore it: they count the payload
	 * themselves */
	uint32_t payload_size;
	/* the frame's number within its epoch (EPOCH_BEGIN has 0). In frames that belong to no
	 * epoch, a counter */
	uint32_t seq;
	uint32_t generation;   /* the stream's generation, from RESUME; 0 on other connections */
	uint64_t term;
	uint64_t epoch;
};

/* One decoded frame. */
struct wire_frame {
	struct wire_header h;
	const uint8_t *payload; /* h.payload_size bytes inside the caller's buffer */
};

/* Describes where and how a peer broke the format. All strings are constant, so it is cheap to fill
 * the struct on the hot path. */
struct wire_error {
	uint8_t type;	    /* the frame's type; 0 if unknown */
	const char *field;  /* name of the field */
	const char *reason; /* what is wrong with the field */
	size_t offset;	    /* the field's offset in the payload or header, see in_header */
	/* true: `offset` counts from the start of the header; false: of the payload */
	bool in_header;
};

/* Room for the text of any wire_error. */
#define WIRE_ERROR_TEXT_SIZE 192

/* Write the error as text to @text (cut to @size, always terminated), for example "PAGES frame:
 * record size at payload offset 12: does not fit its class". Returns @text. */
char *wire_error_text(const struct wire_error *error, char *text, size_t size);

/* Returns a type's name as a constant string, for example "PAGES"; "UNKNOWN" if the number is no
 * type. */
const char *wire_type_name(uint8_t type);

/* Returns true if @sender (one WIRE_SENDER_ bit) may ever send @type. Whether the sender may send
 * @type in the connection's present state, the session must check (docs/wire-format.md, "Who may
 * send what"). */
bool wire_type_allowed(uint8_t type, unsigned sender);

/* Decode one frame from [*at, end).
 * @ret_frame: set on success; its payload points into the caller's bytes.
 * @error: may be NULL; set on -EPROTO and -EBADMSG.
 * Returns 0 and moves *at past the frame. On error *at is not moved:
 *      -EAGAIN   more bytes are needed
 *      -EPROTO   the type or a flag is unknown, reserved bytes are not 0, the payload's size is not
 *                allowed for the type, or the term or epoch is out of range
 *      -EBADMSG  the checksum is wrong
 * After -EPROTO or -EBADMSG the caller should close the connection. A bad header is reported as
 * soon as the whole header has arrived. */
int wire_frame_decode(const uint8_t **at, const uint8_t *end, struct wire_frame *ret_frame,
		      struct wire_error *error) __attribute__((warn_unused_result));

/* Returns the first byte of a decoded frame as it was received: its header, which the payload
 * follows. A relay sends the frame on in this form. */
static inline const uint8_t *wire_frame_start(const struct wire_frame *frame)
{
	return frame->payload - WIRE_HEADER_SIZE;
}

/* Returns the size of the frame as it was received, with its header. */
static inline size_t wire_frame_size(const struct wire_frame *frame)
{
	return WIRE_HEADER_SIZE + (size_t)frame->h.payload_size;
}

/* Start to build a frame in @buffer. *ret_payload becomes a writer for the payload, after the room
 * for the header. The payload is limited by @size and WIRE_PAYLOAD_MAX. Returns 0;
 * -ENOBUFS: @size has no room for a header. */
int wire_frame_begin(uint8_t *buffer, size_t size, struct bytes_writer *ret_payload)
	__attribute__((warn_unused_result));

/* Finish a frame begun in @buffer: write header and checksum in front of the payload that was
 * written with @payload. @header->payload_size is ignored.
 * Returns 0: the frame is in the first *ret_size bytes of @buffer. Errors:
 *      -EINVAL   the format does not allow the type, the flags, the payload's size, the term or the
 *                epoch
 *      -ENOBUFS  the payload did not fit (payload->bad) */
int wire_frame_finish(uint8_t *buffer, const struct bytes_writer *payload,
		      const struct wire_header *header, size_t *ret_size)
	__attribute__((warn_unused_result));

/* Encode only the header of a frame, with the checksum over the payload in the @n_pieces @pieces.
 * For senders that use writev(), and for relays that change only the header. Returns 0, or -EINVAL
 * in the cases of wire_frame_finish(). */
int wire_frame_seal(uint8_t ret_bytes[WIRE_HEADER_SIZE], const struct wire_header *header,
		    const struct iovec *pieces, size_t n_pieces)
	__attribute__((warn_unused_result));

#endif
