/* epochcheck.h - checks that a sequence of frames is a whole, well-formed epoch. Pure.
 *
 * Why: applying an acknowledged epoch must not fail because of its content. So each frame is
 * checked when it arrives, before it is stored.
 *
 * Where: epochlog.c uses it for frames from the network, and the fuzz target. apply.c uses it for a
 * stored epoch, which is read again after a restart. Calls wire/msg.h, codec. Threads: one.
 * Allocates memory only when a GEOMETRY arrives: for the marks of DUP records, 1/16384 of the
 * guest's size.
 *
 *	             GEOMETRY(new generation)              EPOCH_BEGIN(last+1)
 *	  [no stream] ───────────────────────► [between] ────────────────────► [inside] ─┐ PAGES,
 *	       ▲           any violation            ▲            EPOCH_END         │  ▲───┘ ...
 *	       └────────────────────────────────────┴──────────────────────────────┘
 *
 * The frames within an epoch are PAGES, DEVICE, DISK, CLOCK and RAM_HASH. The drawing shows an
 * ordinary epoch, whose number is the last epoch's plus 1. A FULL epoch can have any higher number.
 * Frames of an older generation are dropped; the gateway's relay buffer can send such frames.
 */
#ifndef STANDBY_EPOCHCHECK_H
#define STANDBY_EPOCHCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/marks.h"
#include "standby/images.h"
#include "wire/msg.h"

/* Why an epoch or frame was refused; sent in a STREAM_ERROR. */
struct epochcheck_error {
	uint16_t code; /* enum wire_stream_error_code */
	struct error why;
};

enum epochcheck_verdict {
	EPOCHCHECK_DROP	    = 0, /* a frame of an older generation: drop it */
	/* a new generation of the stream begins: discard the unfinished epoch, if there is one */
	EPOCHCHECK_GEOMETRY = 1,
	EPOCHCHECK_BEGIN    = 2, /* first frame of an epoch */
	EPOCHCHECK_INSIDE   = 3, /* another frame of the epoch */
	EPOCHCHECK_COMPLETE = 4, /* EPOCH_END, and all its totals are right */
};

struct epochcheck {
	uint64_t term;	     /* frames of any other term are refused */
	uint64_t last_epoch; /* last complete epoch of the term; 0: none */
	/* largest size of one epoch: all of its frames and the stored GEOMETRY together */
	uint64_t bytes_max;
	/* the guest's disks on this host, whose names and sizes are known; borrowed; NULL: none */
	struct images *images;

	/* State of the stream; valid while has_geometry. */
	bool has_geometry;
	uint32_t generation;
	struct wire_geometry geometry;
	uint64_t n_pages;
	/* The caller sets this after it has sent hashes of the copy in this generation: then KEEP
	 * records are allowed. Cleared at a new generation. */
	bool may_keep;

	/* State of the epoch that is arriving; valid while inside. */
	bool inside;
	bool full;
	bool has_device, has_clock, has_keep, has_dup;
	uint64_t epoch;
	uint32_t n_frames; /* frames so far: also the number (seq) that the next frame must have */
	uint32_t n_records;
	uint32_t n_hashes; /* pages in RAM_HASH frames so far */
	uint64_t payload_bytes;
	uint64_t frame_bytes;  /* size of the frames so far and of the stored GEOMETRY */
	uint64_t geometry_bytes; /* size of the GEOMETRY frame */
	uint32_t blob_bytes;   /* size of the device blob, as the DEVICE frames say */

	/* marks of the epoch's pages, see check_dup(); the memory is used again for the next
	 * stream */
	struct marks marks;

	uint8_t plain[WIRE_PAYLOAD_MAX]; /* payload of a packed frame while it is checked */
};

/* If @frame has WIRE_FLAG_LZ4, unpack it into @scratch (WIRE_PAYLOAD_MAX bytes). *ret_plain borrows
 * its payload from @scratch then; otherwise from @frame.
 * Frames are stored packed, as they arrived, and unpacked each time that they are read. So their
 * checksums stay valid, and less is written.
 * Returns 0, or -EPROTO with *ret_error. */
int epochcheck_unpack(const struct wire_frame *frame, uint8_t *scratch,
		      struct wire_frame *ret_plain, struct wire_error *ret_error)
	__attribute__((warn_unused_result));

/* Initialize *c, which may contain anything. @last_epoch: the last complete epoch of @term. Until
 * the caller sets c->images, the guest has no disks. Free *c with epochcheck_done(). */
void epochcheck_init(struct epochcheck *c, uint64_t term, uint64_t last_epoch, uint64_t bytes_max);
void epochcheck_done(struct epochcheck *c); /* accepts a zeroed struct */

/* Forget the stream and an unfinished epoch. The next frame must be a GEOMETRY, of any
 * generation. */
void epochcheck_reset(struct epochcheck *c);

/* Check the next frame, whose header wire_frame_decode() has accepted. @ours: the warm QEMU's
 * geometry; a GEOMETRY frame that differs from it is refused. NULL: the geometry is not compared.
 * Returns an enum epochcheck_verdict (>= 0). After COMPLETE, c->last_epoch is the number of the
 * complete epoch.
 * -EPROTO: the frame is refused;
 * -ENOMEM: there is no memory for the marks.
 * On error *ret_error says why, and the stream is reset (epochcheck_reset()). */
int epochcheck_frame(struct epochcheck *c, const struct wire_frame *frame,
		     const struct wire_geometry *ours, struct epochcheck_error *ret_error)
	__attribute__((warn_unused_result));

/* Can a standby with the geometry @ours take over from a primary with the geometry @primary?
 * Returns 0 if it can; -ESTALE if it cannot, and *ret_error names what differs. */
int epochcheck_geometry(const struct wire_geometry *primary, const struct wire_geometry *ours,
			struct error *ret_error) __attribute__((warn_unused_result));

#endif
