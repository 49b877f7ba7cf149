/* frame.h - the frame: a 40-byte header, a checksum, a payload.
 *
 * Why: everything between an agent and a gateway travels as frames inside TLS 1.3. TLS ends at the
 * gateway; the checksum does not: the standby checks each page against the primary's hash.
 *
 * Where: called by hostagent/link, the gateway's sessions and the standby; calls libxxhash.
 * Threads: any (no state). Nothing here allocates, blocks or copies a payload.
 *
 *	off size field				off size field
 *	0   1    type				16  8    epoch
 *	1   1    flags				24  4    seq
 *	2   2    reserved, 0			28  4    generation
 *	4   4    payload size			32  8    XXH3-64 over bytes 0..31 and the payload
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

/* A = agent, P = primary's agent, S = standby's agent, G = gateway. Never reuse a number. */
enum wire_type {
	WIRE_HELLO	  = 0x01, /* A>G: first frame of a connection */
	WIRE_WELCOME	  = 0x02, /* G>A: the only good answer to HELLO */
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
};

/* Flags, by type; docs/wire-format.md. */
#define WIRE_FLAG_FULL 0x01 /* EPOCH_BEGIN: the epoch stands alone; pages not mentioned are zero */
#define WIRE_FLAG_UNHELD 0x02 /* EPOCH_BEGIN: output left unheld after this seal: never take over */
#define WIRE_FLAG_LZ4  0x01 /* PAGES, DEVICE: the payload is a struct wire_lz4 */

/* The senders, each with its connection; bits, for wire_type_allowed(). */
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

/* The header's fields in host order. Senders leave fields that a type does not use at 0. */
struct wire_header {
	uint8_t type;	       /* enum wire_type */
	uint8_t flags;	       /* WIRE_FLAG_*, by type */
	uint32_t payload_size; /* set by decode; ignored by encode, which knows it */
	uint32_t seq; /* frame number within its epoch (EPOCH_BEGIN is 0), else a counter */
	uint32_t generation;   /* of the stream, from RESUME; 0 outside of streams */
	uint64_t term;
	uint64_t epoch;
};

/* One decoded frame. */
struct wire_frame {
	struct wire_header h;
	const uint8_t *payload; /* h.payload_size bytes inside the caller's buffer */
};

/* Where a peer broke the format. All strings are constant, so filling it is cheap on the hot
 * path. */
struct wire_error {
	uint8_t type;	    /* of the frame, 0 when not yet known */
	const char *field;  /* name of the field */
	const char *reason; /* what is wrong with it */
	size_t offset;	    /* of the field, from the start of the payload or of the header */
	bool in_header;	    /* the offset is from the start of the header */
};

/* Room for the text of any wire_error. */
#define WIRE_ERROR_TEXT_SIZE 192

/* Write "PAGES: record size at payload offset 12: larger than a page" to @text (cut to @size,
 * always terminated). Returns @text. */
char *wire_error_text(const struct wire_error *error, char *text, size_t size);

/* "PAGES", or "UNKNOWN" for a number that is no type. A constant string. */
const char *wire_type_name(uint8_t type);

/* True when @sender (one WIRE_SENDER_ bit) may send @type. When it may send it is for the session
 * to check (docs/wire-format.md, "Who may send what"). */
bool wire_type_allowed(uint8_t type, unsigned sender);

/* Decode one frame from [*at, end).
 * @ret_frame: set on success; its payload points into the caller's bytes.
 * @error: may be NULL; set on -EPROTO and -EBADMSG.
 * 0: *at was moved past the frame; -EAGAIN: more bytes are needed; -EPROTO: unknown type or flag,
 * reserved bytes not 0, payload size outside of the type's bounds; -EBADMSG: wrong checksum.
 * On any error nothing was consumed; after -EPROTO or -EBADMSG close the connection.
 * A bad header is reported as soon as the header has arrived, even without its payload. */
int wire_frame_decode(const uint8_t **at, const uint8_t *end, struct wire_frame *ret_frame,
		      struct wire_error *error) __attribute__((warn_unused_result));

/* The whole frame as it was received, for relaying it: header and payload are contiguous. */
static inline const uint8_t *wire_frame_start(const struct wire_frame *frame)
{
	return frame->payload - WIRE_HEADER_SIZE;
}

static inline size_t wire_frame_size(const struct wire_frame *frame)
{
	return WIRE_HEADER_SIZE + (size_t)frame->h.payload_size;
}

/* Start building a frame in @buffer. *ret_payload is a writer for the payload, placed after the
 * header and bounded by @size and WIRE_PAYLOAD_MAX. 0; -ENOBUFS: @size has no room for a header. */
int wire_frame_begin(uint8_t *buffer, size_t size, struct bytes_writer *ret_payload)
	__attribute__((warn_unused_result));

/* Finish a frame begun in @buffer: write header and checksum before the payload that @payload
 * wrote. @header: its payload_size is ignored.
 * 0: *ret_size bytes of @buffer are the frame; -EINVAL: type, flags or payload size are not allowed
 * by the format; -ENOBUFS: the payload did not fit (payload->bad). */
int wire_frame_finish(uint8_t *buffer, const struct bytes_writer *payload,
		      const struct wire_header *header, size_t *ret_size)
	__attribute__((warn_unused_result));

/* Encode only the header of a frame whose payload lies elsewhere, in the @n_pieces @pieces (for
 * scatter-gather senders and for relays that change only the header).
 * 0; -EINVAL as above. */
int wire_frame_seal(uint8_t ret_bytes[WIRE_HEADER_SIZE], const struct wire_header *header,
		    const struct iovec *pieces, size_t n_pieces)
	__attribute__((warn_unused_result));

#endif
