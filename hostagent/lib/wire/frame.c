#include "wire/frame.h"

#include <errno.h>
#include <stdio.h>

/* Makes xxhash.h define XXH3_state_t, because checksum() has such a struct on its stack. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

_Static_assert(WIRE_HEADER_SIZE == 40 && WIRE_HASHED_SIZE == 32, "docs/wire-format.md");

enum header_offset {
	AT_TYPE	      = 0,
	AT_FLAGS      = 1,
	AT_RESERVED   = 2,
	AT_SIZE	      = 4,
	AT_TERM	      = 8,
	AT_EPOCH      = 16,
	AT_SEQ	      = 24,
	AT_GENERATION = 28,
	AT_CHECKSUM   = 32,
};

#define AGENT_ANY                                                                                  \
	(WIRE_SENDER_AGENT_CONTROL | WIRE_SENDER_PRIMARY | WIRE_SENDER_STANDBY |                   \
	 WIRE_SENDER_PEER_PRIMARY)
/* Senders that answer a HELLO: the gateway, or the standby on a peer connection. */
#define GATEWAY_ANY                                                                                \
	(WIRE_SENDER_GATEWAY_CONTROL | WIRE_SENDER_GATEWAY_PRIMARY |                               \
	 WIRE_SENDER_GATEWAY_STANDBY | WIRE_SENDER_PEER_STANDBY)
/* Senders of the primary's stream, which reaches the standby through the gateway or directly. */
#define STREAMED    (WIRE_SENDER_PRIMARY | WIRE_SENDER_GATEWAY_STANDBY | WIRE_SENDER_PEER_PRIMARY)
/* Senders of the standby's answers, which reach the primary through the gateway or directly. */
#define ANSWERED    (WIRE_SENDER_STANDBY | WIRE_SENDER_GATEWAY_PRIMARY | WIRE_SENDER_PEER_STANDBY)

struct type_row {
	const char *name;      /* NULL: no such type */
	uint32_t payload_min;  /* bytes */
	uint32_t payload_max;
	uint8_t flags;	       /* mask of the flags that the type may have */
	uint8_t senders;       /* mask of enum wire_sender */
};

/* The least and the largest size of a payload follow from its fields in docs/wire-format.md. All
 * other checks are made by the decoder of the type (msg.h). A HELLO can be longer than this
 * version's HELLO, because later versions can append fields. */
static const struct type_row types[] = {
	[WIRE_HELLO] = {"HELLO", 31, 1024, 0, AGENT_ANY},
	[WIRE_WELCOME] = {"WELCOME", 12, 19 + WIRE_NAME_MAX, 0, GATEWAY_ANY},
	[WIRE_REFUSED] = {"REFUSED", 4, 4 + WIRE_TEXT_MAX, 0, GATEWAY_ANY},
	[WIRE_BEAT] = {"BEAT", 8, 8, 0, WIRE_SENDER_AGENT_CONTROL | WIRE_SENDER_PEER_PRIMARY},
	[WIRE_BEAT_ACK] = {"BEAT_ACK", 8, 8, 0, WIRE_SENDER_GATEWAY_CONTROL},
	[WIRE_REPORT] = {"REPORT", 9, 8 + WIRE_NAME_MAX + WIRE_TEXT_MAX + WIRE_STATS_MAX, 0,
			 WIRE_SENDER_AGENT_CONTROL},
	[WIRE_ORDER] = {"ORDER", 13, 20 + WIRE_NAME_MAX + WIRE_TEXT_MAX, 0,
			WIRE_SENDER_GATEWAY_CONTROL},
	[WIRE_ORDER_DONE] = {"ORDER_DONE", 13, 12 + WIRE_NAME_MAX + WIRE_TEXT_MAX, 0,
			     WIRE_SENDER_AGENT_CONTROL},
	[WIRE_WITNESS_KEY] = {"WITNESS_KEY", 24, 27 + WIRE_NAME_MAX, 0,
			      WIRE_SENDER_GATEWAY_CONTROL},
	[WIRE_LEASE] = {"LEASE", 18, 25 + WIRE_NAME_MAX, 0,
			WIRE_SENDER_GATEWAY_CONTROL | WIRE_SENDER_PEER_STANDBY},
	[WIRE_CLAIM] = {"CLAIM", 1, 1, 0, WIRE_SENDER_PEER_PRIMARY},
	[WIRE_VOTE] = {"VOTE", 3, 3 + WIRE_TEXT_MAX, 0, WIRE_SENDER_PEER_STANDBY},
	[WIRE_RESUME] = {"RESUME", 0, 0, 0, WIRE_SENDER_GATEWAY_PRIMARY | WIRE_SENDER_PEER_STANDBY},
	[WIRE_GEOMETRY] = {"GEOMETRY", 28, WIRE_PAYLOAD_MAX, 0, STREAMED},
	[WIRE_EPOCH_BEGIN] = {"EPOCH_BEGIN", 8, 8, WIRE_FLAG_FULL | WIRE_FLAG_UNHELD, STREAMED},
	[WIRE_PAGES] = {"PAGES", 0, WIRE_PAYLOAD_MAX, WIRE_FLAG_LZ4, STREAMED},
	[WIRE_DEVICE] = {"DEVICE", 4, WIRE_PAYLOAD_MAX, WIRE_FLAG_LZ4, STREAMED},
	[WIRE_EPOCH_END] = {"EPOCH_END", 16, 16, 0, STREAMED},
	[WIRE_MACHINE] = {"MACHINE", 1, WIRE_PAYLOAD_MAX, 0, STREAMED},
	[WIRE_CLOCK] = {"CLOCK", 48, 48, 0, STREAMED},
	[WIRE_EPOCH_ACK] = {"EPOCH_ACK", 0, 0, 0, WIRE_SENDER_STANDBY | WIRE_SENDER_PEER_STANDBY},
	[WIRE_COMMIT] = {"COMMIT", 0, 0, 0, WIRE_SENDER_GATEWAY_PRIMARY},
	[WIRE_STREAM_ERROR] = {"STREAM_ERROR", 4, 4 + WIRE_TEXT_MAX, 0,
			       WIRE_SENDER_PRIMARY | WIRE_SENDER_STANDBY |
				       WIRE_SENDER_GATEWAY_PRIMARY | WIRE_SENDER_PEER_STANDBY},
	[WIRE_DISK] = {"DISK", 2, WIRE_PAYLOAD_MAX, WIRE_FLAG_LZ4, STREAMED},
	[WIRE_DISK_CHECKED] = {"DISK_CHECKED", 10,
			       9 + WIRE_DISK_NAME_MAX + 8 * WIRE_DISK_DIFFER_MAX, 0,
			       ANSWERED},
	[WIRE_HASHES_WANT] = {"HASHES_WANT", 21, 21 + WIRE_DISK_NAME_MAX, 0, STREAMED},
	[WIRE_HASHES] = {"HASHES", 25,
			 25 + WIRE_DISK_NAME_MAX + WIRE_HASH_SIZE * WIRE_HASHES_MAX, 0, ANSWERED},
	[WIRE_RAM_HASH] = {"RAM_HASH", 12 + WIRE_HASH_SIZE,
			   12 + WIRE_HASH_SIZE * WIRE_RAM_HASHES_MAX, 0, STREAMED},
	[WIRE_RAM_CHECKED] = {"RAM_CHECKED", 8, 8 + 4 * WIRE_RAM_DIFFER_MAX, 0, ANSWERED},
	[WIRE_DRAIN] = {"DRAIN", 5 + WIRE_BOOT_SIZE, 5 + WIRE_BOOT_SIZE, 0,
			WIRE_SENDER_AGENT_CONTROL},
	[WIRE_DRAIN_STATE] = {"DRAIN_STATE", 5, 5 + WIRE_TEXT_MAX, 0,
			      WIRE_SENDER_GATEWAY_CONTROL},
};

static const struct type_row *find_type(uint8_t type)
{
	if (type >= sizeof(types) / sizeof(types[0]) || !types[type].name)
		return NULL;
	return &types[type];
}

const char *wire_type_name(uint8_t type)
{
	const struct type_row *row = find_type(type);

	return row ? row->name : "UNKNOWN";
}

bool wire_type_allowed(uint8_t type, unsigned sender)
{
	const struct type_row *row = find_type(type);

	return row && (row->senders & sender);
}

char *wire_error_text(const struct wire_error *error, char *text, size_t size)
{
	snprintf(text, size, "%s frame: %s at %s offset %zu: %s",
		 error->type ? wire_type_name(error->type) : "unreadable", error->field,
		 error->in_header ? "header" : "payload", error->offset, error->reason);
	return text;
}

static int refuse(struct wire_error *error, uint8_t type, const char *field, size_t offset,
		  const char *reason, int code)
{
	if (error) {
		error->type	 = find_type(type) ? type : 0;
		error->field	 = field;
		error->reason	 = reason;
		error->offset	 = offset;
		error->in_header = true;
	}
	return code;
}

/* Hash the header's first 32 bytes and the payload; the checksum itself lies between them. */
static uint64_t checksum(const uint8_t *header, const struct iovec *pieces, size_t n_pieces)
{
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	/* These functions fail only if their argument is NULL. */
	(void)XXH3_64bits_reset(&state);
	(void)XXH3_64bits_update(&state, header, WIRE_HASHED_SIZE);
	for (size_t i = 0; i < n_pieces; i++) {
		if (pieces[i].iov_len > 0)
			(void)XXH3_64bits_update(&state, pieces[i].iov_base, pieces[i].iov_len);
	}
	return XXH3_64bits_digest(&state);
}

/* Check that a header's term and epoch are in range, even if its type does not use them: see
 * WIRE_TERM_MAX. */
static int check_numbers(const uint8_t *p, struct wire_error *error)
{
	if (bytes_get_be64(p + AT_TERM) > WIRE_TERM_MAX)
		return refuse(error, p[AT_TYPE], "term", AT_TERM, "out of range", -EPROTO);
	if (bytes_get_be64(p + AT_EPOCH) > WIRE_EPOCH_MAX)
		return refuse(error, p[AT_TYPE], "epoch", AT_EPOCH, "out of range", -EPROTO);
	return 0;
}

/* Check a header whose payload has @size bytes. Returns 0, or returns -EPROTO and sets *error. */
static int check_header(const uint8_t *p, uint32_t size, struct wire_error *error)
{
	const uint8_t type	   = p[AT_TYPE];
	const struct type_row *row = find_type(type);

	if (!row)
		return refuse(error, type, "type", AT_TYPE, "not a known frame type", -EPROTO);
	if (p[AT_FLAGS] & ~row->flags)
		return refuse(error, type, "flags", AT_FLAGS, "unknown bit set", -EPROTO);
	if (bytes_get_be16(p + AT_RESERVED) != 0)
		return refuse(error, type, "reserved", AT_RESERVED, "not zero", -EPROTO);
	if (size < row->payload_min)
		return refuse(error, type, "payload size", AT_SIZE, "too small for this type",
			      -EPROTO);
	if (size > row->payload_max)
		return refuse(error, type, "payload size", AT_SIZE, "too large for this type",
			      -EPROTO);
	return check_numbers(p, error);
}

int wire_frame_decode(const uint8_t **at, const uint8_t *end, struct wire_frame *ret_frame,
		      struct wire_error *error)
{
	const uint8_t *p  = *at;
	const size_t left = (size_t)(end - p);
	struct iovec payload;
	uint32_t size;
	int r;

	if (left < WIRE_HEADER_SIZE)
		return -EAGAIN;
	size = bytes_get_be32(p + AT_SIZE);
	r    = check_header(p, size, error);
	if (r < 0)
		return r;
	if (left - WIRE_HEADER_SIZE < size)
		return -EAGAIN;
	payload.iov_base = (void *)(p + WIRE_HEADER_SIZE);
	payload.iov_len	 = size;
	if (checksum(p, &payload, 1) != bytes_get_be64(p + AT_CHECKSUM))
		return refuse(error, p[AT_TYPE], "checksum", AT_CHECKSUM,
			      "does not match the content", -EBADMSG);
	*ret_frame = (struct wire_frame){
		.h = {
			.type	      = p[AT_TYPE],
			.flags	      = p[AT_FLAGS],
			.payload_size = size,
			.seq	      = bytes_get_be32(p + AT_SEQ),
			.generation   = bytes_get_be32(p + AT_GENERATION),
			.term	      = bytes_get_be64(p + AT_TERM),
			.epoch	      = bytes_get_be64(p + AT_EPOCH),
		},
		.payload = p + WIRE_HEADER_SIZE,
	};
	*at = p + WIRE_HEADER_SIZE + size;
	return 0;
}

int wire_frame_seal(uint8_t ret_bytes[WIRE_HEADER_SIZE], const struct wire_header *header,
		    const struct iovec *pieces, size_t n_pieces)
{
	uint8_t bytes[WIRE_HEADER_SIZE] = {0};
	size_t size			= 0;

	for (size_t i = 0; i < n_pieces; i++) {
		if (pieces[i].iov_len > WIRE_PAYLOAD_MAX - size)
			return -EINVAL;
		size += pieces[i].iov_len;
	}
	bytes[AT_TYPE]	= header->type;
	bytes[AT_FLAGS] = header->flags;
	bytes_put_be32(bytes + AT_SIZE, (uint32_t)size);
	bytes_put_be64(bytes + AT_TERM, header->term);
	bytes_put_be64(bytes + AT_EPOCH, header->epoch);
	bytes_put_be32(bytes + AT_SEQ, header->seq);
	bytes_put_be32(bytes + AT_GENERATION, header->generation);
	if (check_header(bytes, (uint32_t)size, NULL) < 0)
		return -EINVAL;
	bytes_put_be64(bytes + AT_CHECKSUM, checksum(bytes, pieces, n_pieces));
	memcpy(ret_bytes, bytes, sizeof(bytes));
	return 0;
}

int wire_frame_begin(uint8_t *buffer, size_t size, struct bytes_writer *ret_payload)
{
	if (size < WIRE_HEADER_SIZE)
		return -ENOBUFS;
	if (size > WIRE_FRAME_MAX)
		size = WIRE_FRAME_MAX;
	*ret_payload = (struct bytes_writer){.at = buffer + WIRE_HEADER_SIZE, .end = buffer + size};
	return 0;
}

int wire_frame_finish(uint8_t *buffer, const struct bytes_writer *payload,
		      const struct wire_header *header, size_t *ret_size)
{
	struct iovec piece = {.iov_base = buffer + WIRE_HEADER_SIZE};
	int r;

	if (payload->bad)
		return -ENOBUFS;
	piece.iov_len = (size_t)(payload->at - buffer) - WIRE_HEADER_SIZE;
	r	      = wire_frame_seal(buffer, header, &piece, 1);
	if (r < 0)
		return r;
	*ret_size = WIRE_HEADER_SIZE + piece.iov_len;
	return 0;
}
