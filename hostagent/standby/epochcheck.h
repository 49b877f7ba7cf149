/* epochcheck.h - is this sequence of frames a whole, well-formed epoch? Pure: frames in, verdict
 * out.
 *
 * Why: an epoch is acknowledged only if applying it later cannot fail because of its content. Every
 * fault in it is found here, frame by frame as it arrives, before it is stored.
 *
 * Where: epochlog.c (frames from the network, and again when a stored epoch is read back after a
 * restart), fuzz target. Calls wire/msg.h, codec.
 * Threads: one. Allocates at a GEOMETRY only: 1/16384 of the guest's size, to follow DUP records.
 *
 *	             GEOMETRY(new generation)              EPOCH_BEGIN(last+1)
 *	  [no stream] ───────────────────────► [between] ────────────────────► [inside] ─┐ PAGES, DEVICE
 *	       ▲           any violation            ▲            EPOCH_END         │  ▲───┘
 *	       └────────────────────────────────────┴──────────────────────────────┘
 *
 * A FULL epoch may have any number above the last.
 * A frame of an older generation is dropped (the gateway may have had it in its relay buffer).
 */
#ifndef STANDBY_EPOCHCHECK_H
#define STANDBY_EPOCHCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/marks.h"
#include "wire/msg.h"

/* Why an epoch or frame was refused; the content of STREAM_ERROR. */
struct epochcheck_error {
	uint16_t code; /* enum wire_stream_error_code */
	struct error why;
};

enum epochcheck_verdict {
	EPOCHCHECK_DROP	    = 0, /* a frame of an older generation: drop it */
	EPOCHCHECK_GEOMETRY = 1, /* a stream starts (again): an unfinished epoch is void */
	EPOCHCHECK_BEGIN    = 2, /* first frame of an epoch */
	EPOCHCHECK_INSIDE   = 3, /* another frame of the epoch */
	EPOCHCHECK_COMPLETE = 4, /* EPOCH_END, all totals right */
};

struct epochcheck {
	uint64_t term;	     /* frames of any other term are refused */
	uint64_t last_epoch; /* last complete one of the term; 0: none */
	uint64_t bytes_max;  /* limit of one epoch: its frames and the stored GEOMETRY */

	/* The stream; valid while has_geometry. */
	bool has_geometry;
	uint32_t generation;
	struct wire_geometry geometry;
	uint64_t n_pages;

	/* The epoch; valid while inside. */
	bool inside;
	bool full;
	bool has_device, has_clock;
	uint64_t epoch;
	uint32_t n_frames; /* so far; also the next seq */
	uint32_t n_records;
	uint64_t payload_bytes;
	uint64_t frame_bytes;  /* so far, counted as in bytes_max */
	uint64_t geometry_bytes; /* size of the GEOMETRY frame */
	uint32_t blob_bytes;   /* blob size, as its DEVICE frames say */

	struct marks marks; /* of the epoch's pages, see check_dup(); kept from stream to stream */

	uint8_t plain[WIRE_PAYLOAD_MAX]; /* payload of a packed frame while it is checked */
};

/* Unpack @frame if it has WIRE_FLAG_LZ4. *ret_plain borrows @frame's payload or @scratch
 * (WIRE_PAYLOAD_MAX bytes). Frames are stored as they came and unpacked each time they are read: so
 * the checksum stays valid, less is written, and applying again reads the same bytes.
 * 0; -EPROTO with *ret_error. */
int epochcheck_unpack(const struct wire_frame *frame, uint8_t *scratch,
		      struct wire_frame *ret_plain, struct wire_error *ret_error)
	__attribute__((warn_unused_result));

/* Initialize @c, whatever its content. @last_epoch: last complete one of @term. End it with
 * epochcheck_done(). */
void epochcheck_init(struct epochcheck *c, uint64_t term, uint64_t last_epoch, uint64_t bytes_max);
void epochcheck_done(struct epochcheck *c); /* a zeroed one too */

/* Forget the stream and the epoch begun; the next frame must be GEOMETRY. Any generation will
 * do. */
void epochcheck_reset(struct epochcheck *c);

/* Look at the next frame (header accepted by wire_frame_decode()).
 * @ours: the warm QEMU's geometry; a GEOMETRY that differs is refused. NULL: not compared.
 * >= 0: enum epochcheck_verdict; COMPLETE also moves last_epoch on.
 * -EPROTO: refused, -ENOMEM: not now; *ret_error says why; the stream is reset. */
int epochcheck_frame(struct epochcheck *c, const struct wire_frame *frame,
		     const struct wire_geometry *ours, struct epochcheck_error *ret_error)
	__attribute__((warn_unused_result));

/* Can a standby with geometry @ours take over from @primary? 0: yes; -ESTALE: no, @ret_error names
 * both values. */
int epochcheck_geometry(const struct wire_geometry *primary, const struct wire_geometry *ours,
			struct error *ret_error) __attribute__((warn_unused_result));

#endif
