/* msg_stream.h - the frames of stream and peer connections: GEOMETRY, EPOCH_BEGIN, PAGES, DEVICE,
 * CLOCK, EPOCH_END, and packed payloads. MACHINE, DISK, HASHES and RAM_HASH have their own headers.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_STREAM_H
#define WIRE_MSG_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/page_record.h"

/* Check a RESUME, EPOCH_ACK or COMMIT. Returns 0 if its payload is empty, else -EPROTO. */
int wire_empty_decode(const struct wire_frame *frame, struct wire_error *error) WIRE_CHECKED;

enum wire_block_kind {
	WIRE_BLOCK_RAM = 0,   /* main memory */
	WIRE_BLOCK_OTHER = 1, /* firmware, video RAM, a memory device */
};

struct wire_block {
	char name[WIRE_LABEL_MAX + 1]; /* QEMU's name of the block, printable ASCII, not empty */
	uint8_t kind;		       /* enum wire_block_kind */
	uint64_t size_bytes;	       /* > 0, a multiple of WIRE_PAGE_SIZE */
};

/* GEOMETRY: describes the machine and memory that the standby's guest must have. A page index
 * counts 4096-byte pages through all blocks, in the order of `blocks`. */
struct wire_geometry {
	char machine[WIRE_LABEL_MAX + 1];      /* printable ASCII, not empty */
	char qemu_version[WIRE_LABEL_MAX + 1]; /* printable ASCII, not empty */
	uint16_t n_vcpus;		       /* 1..WIRE_VCPUS_MAX */
	uint64_t ram_bytes;		       /* > 0 */
	uint8_t n_nics;			       /* <= WIRE_NICS_MAX */
	uint8_t nics[WIRE_NICS_MAX][6];	       /* MAC addresses */
	uint16_t n_blocks;		       /* 1..WIRE_BLOCKS_MAX */
	struct wire_block blocks[WIRE_BLOCKS_MAX];
};
int wire_geometry_encode(const struct wire_geometry *geometry, struct bytes_writer *w) WIRE_CHECKED;
int wire_geometry_decode(const struct wire_frame *frame, struct wire_geometry *ret_geometry,
			 struct wire_error *error) WIRE_CHECKED;

/* Returns the number of pages in all blocks together; at most WIRE_PAGES_MAX in a decoded
 * geometry. */
uint64_t wire_geometry_pages(const struct wire_geometry *geometry);

/* Compare the primary's geometry @theirs with the standby's geometry @ours. QEMU versions can
 * differ. Returns 0 if the standby can run the primary's guest. If not, returns -ESTALE, and
 * *ret_error says what differs ("machine: primary has pc-i440fx-7.2, standby has pc-q35-7.2"). */
int wire_geometry_compare(const struct wire_geometry *theirs, const struct wire_geometry *ours,
			  struct error *ret_error) WIRE_CHECKED;

/* EPOCH_BEGIN. Header: epoch is at least 1, flags may contain WIRE_FLAG_FULL and WIRE_FLAG_UNHELD,
 * seq is 0. */
struct wire_epoch_begin {
	/* the epoch on which the deltas of this epoch are based; without meaning if the flag FULL
	 * is set; always less than the header's epoch */
	uint64_t previous_epoch;
};
int wire_epoch_begin_encode(const struct wire_epoch_begin *begin,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_begin_decode(const struct wire_frame *frame, struct wire_epoch_begin *ret_begin,
			    struct wire_error *error) WIRE_CHECKED;

/* A record: one page (in PAGES) or one 4096-byte piece of the device-state blob (in DEVICE). */
struct wire_record {
	uint8_t class;	     /* enum wire_class */
	uint16_t size;	     /* bytes of data; a size that the class allows */
	uint32_t index;	     /* < the limit given to the iterator */
	/* in a DUP, the index of the page to copy (< the limit and different from `index`); else
	 * 0 */
	uint32_t source;
	const uint8_t *data; /* the data, in place in the frame */
};

struct wire_record_iter {
	struct bytes_reader r;	 /* the part of the payload that was not read yet */
	const uint8_t *payload;	 /* the payload's first byte, for offsets in errors */
	uint64_t n_pages;	 /* every index must be below this */
	uint8_t type;		 /* the frame's type */
	/* in a DEVICE frame, the size of the whole blob in bytes; else 0 */
	uint32_t blob_size;
};

/* The payload of a PAGES, DEVICE or DISK frame with WIRE_FLAG_LZ4: the plain payload, packed as an
 * LZ4 block (codec/lz4block.h). The receiver must unpack the payload first, because
 * wire_pages_begin(), wire_device_begin() and wire_disk_begin() refuse packed frames. */
struct wire_lz4 {
	uint32_t plain_size;  /* 1..WIRE_PAYLOAD_MAX */
	const uint8_t *block; /* in place in the frame */
	size_t block_size;    /* >= 1 */
};
int wire_lz4_encode(const struct wire_lz4 *lz4, struct bytes_writer *w) WIRE_CHECKED;
int wire_lz4_decode(const struct wire_frame *frame, struct wire_lz4 *ret_lz4,
		    struct wire_error *error) WIRE_CHECKED;

/* Start reading the records of a PAGES frame. @n_pages: from wire_geometry_pages(); every index
 * must be below it. Returns 0, or -EPROTO if the frame is of another type, or is packed. */
int wire_pages_begin(const struct wire_frame *frame, uint64_t n_pages,
		     struct wire_record_iter *ret_iter, struct wire_error *error) WIRE_CHECKED;

/* Start reading the records of a DEVICE frame; also checks the blob's size and stores it in
 * ret_iter->blob_size. Returns 0, or -EPROTO if the frame is of another type, packed or truncated,
 * or the blob's size is 0 or above WIRE_BLOB_MAX. */
int wire_device_begin(const struct wire_frame *frame, struct wire_record_iter *ret_iter,
		      struct wire_error *error) WIRE_CHECKED;

/* Read the next record. Returns 1 and sets *ret_record. Returns 0 if the payload has no more
 * records. Returns -EPROTO if the record is truncated, or its class, size, index or source is out
 * of bounds. Does not check whether a DUP record is allowed to copy its source page, because this
 * depends on all other records of the epoch. */
int wire_record_next(struct wire_record_iter *iter, struct wire_record *ret_record,
		     struct wire_error *error) WIRE_CHECKED;

/* Start a DEVICE payload. wire_record_put_header() writes the headers of the records that follow.
 * Returns what every encoder returns. */
int wire_device_encode(uint32_t blob_size, struct bytes_writer *w) WIRE_CHECKED;

/* CLOCK: how to set the guest's clocks forward at a promotion. The epoch's device state has the
 * values that the clocks had while the guest was stopped (vmm/clock_rules.h). */
struct wire_clock {
	uint64_t saved_ticks, saved_ns; /* the guest's clocks as saved in the device state */
	uint64_t mono_ns;	   /* a time on the primary's monotonic clock */
	uint64_t ticks, ns;	   /* what the guest's clocks must show at mono_ns */
	uint64_t ticks_per_s;	   /* 1..WIRE_TICKS_PER_S_MAX */
};
int wire_clock_encode(const struct wire_clock *clock, struct bytes_writer *w) WIRE_CHECKED;
int wire_clock_decode(const struct wire_frame *frame, struct wire_clock *ret_clock,
		      struct wire_error *error) WIRE_CHECKED;

/* EPOCH_END: the totals of the epoch. The receiver uses them to check that the whole epoch has
 * arrived. */
struct wire_epoch_end {
	uint32_t n_frames;	/* frames of this epoch before EPOCH_END, including EPOCH_BEGIN */
	uint32_t n_records;	/* records in its PAGES frames */
	uint64_t payload_bytes; /* payload bytes of these n_frames frames */
};
int wire_epoch_end_encode(const struct wire_epoch_end *end, struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_end_decode(const struct wire_frame *frame, struct wire_epoch_end *ret_end,
			  struct wire_error *error) WIRE_CHECKED;

enum wire_stream_error_code {
	WIRE_STREAM_ERROR_ORDER	   = 1, /* a frame out of sequence */
	WIRE_STREAM_ERROR_FORMAT   = 2, /* a frame or record broke the format */
	WIRE_STREAM_ERROR_GEOMETRY = 3, /* the standby's guest is built differently */
	WIRE_STREAM_ERROR_EPOCH    = 4, /* the epoch is not based on the standby's last epoch */
	WIRE_STREAM_ERROR_LIMIT    = 5, /* the epoch is larger than the receiver may buffer */
	WIRE_STREAM_ERROR_TERM     = 6, /* the frame's term is no longer the VM's current term */
	WIRE_STREAM_ERROR_APPLY	   = 7, /* the standby could not apply or store the epoch */
};

#endif
