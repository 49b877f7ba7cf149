/* msg_disk.h - DISK, the changes of one disk within an epoch, and DISK_CHECKED.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_DISK_H
#define WIRE_MSG_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* What a record of DISK does to its bytes of the disk. The numbers are never reused. */
enum wire_disk_op {
	WIRE_DISK_WRITE	  = 1,
	WIRE_DISK_ZERO	  = 2, /* the bytes are zero now */
	WIRE_DISK_DISCARD = 3, /* the guest no longer needs the bytes; they are zero now */
	WIRE_DISK_HASH	  = 4, /* changes no bytes: the bytes must have this hash now */
};

/* A record of DISK: one change of a disk. Records are applied in their order in the epoch. Each
 * record gives new content for some bytes of the disk. So applying all records of an epoch a second
 * time does not change the disk. */
struct wire_disk_record {
	uint8_t op;	     /* enum wire_disk_op */
	/* 1..WIRE_DISK_RANGE_MAX; in a WRITE, at most as many as fit into a frame; in a HASH, at
	 * most WIRE_DISK_HASHED_MAX */
	uint32_t bytes;
	uint64_t offset;     /* start on the disk; offset + bytes <= WIRE_DISK_SIZE_MAX */
	/* in place in the frame. WRITE: the bytes; HASH: WIRE_DISK_HASH_SIZE bytes, see
	 * wire_disk_hash(); else NULL */
	const uint8_t *data;
};

/* Compute the data of a HASH record for @bytes at @data: the seed, then XXH3-128 with this seed.
 * The sender chooses the seed at random, so that a guest cannot prepare two contents with the same
 * hash. */
void wire_disk_hash(uint64_t seed, const void *data, size_t bytes,
		    uint8_t ret_hash[WIRE_DISK_HASH_SIZE]);
/* Returns the seed in the data of a HASH record. */
uint64_t wire_disk_hash_seed(const uint8_t hash[WIRE_DISK_HASH_SIZE]);

struct wire_disk_iter {
	struct bytes_reader r;	/* the part of the payload that was not read yet */
	const uint8_t *payload; /* the payload's first byte, for offsets in errors */
	char name[WIRE_DISK_NAME_MAX + 1]; /* the disk of all records in the frame */
};

/* Returns true if @name can be the name of a disk: 1..WIRE_DISK_NAME_MAX bytes of printable
 * ASCII. */
bool wire_disk_name_is_valid(const char *name);

/* Returns true if op, bytes and offset are within the bounds of the format. */
bool wire_disk_record_is_valid(const struct wire_disk_record *record);

/* Start reading the records of a DISK frame. Returns 0, or -EPROTO if the frame is of another type,
 * or is packed, or the disk's name is not valid. */
int wire_disk_begin(const struct wire_frame *frame, struct wire_disk_iter *ret_iter,
		    struct wire_error *error) WIRE_CHECKED;

/* Read the next record. Returns
 * 1: *ret_record is set. The caller must check that the record lies within the disk;
 * 0: the payload has no more records;
 * -EPROTO: the record is truncated, or a field is out of its bounds. */
int wire_disk_next(struct wire_disk_iter *iter, struct wire_disk_record *ret_record,
		   struct wire_error *error) WIRE_CHECKED;

/* Start a DISK payload with records of the disk @name. Returns what every encoder returns. */
int wire_disk_encode(const char *name, struct bytes_writer *w) WIRE_CHECKED;

/* Append one record, with the data of a HASH or WRITE (at most WIRE_PAYLOAD_MAX bytes). Returns
 * what every encoder returns. But after -ENOBUFS, @w is unchanged and usable: finish this frame and
 * put the record into the next frame. */
int wire_disk_record_encode(struct bytes_writer *w,
			    const struct wire_disk_record *record) WIRE_CHECKED;

/* DISK_CHECKED: what the standby found when it compared the HASH records of the header's epoch with
 * its image of one disk. */
struct wire_disk_checked {
	char name[WIRE_DISK_NAME_MAX + 1];
	uint32_t n_checked; /* number of HASH records, at least 1 */
	uint32_t n_differ;  /* how many of these records did not match */
	/* the offsets of the first WIRE_DISK_DIFFER_MAX records that did not match */
	uint64_t offset[WIRE_DISK_DIFFER_MAX];
};
int wire_disk_checked_encode(const struct wire_disk_checked *checked,
			     struct bytes_writer *w) WIRE_CHECKED;
int wire_disk_checked_decode(const struct wire_frame *frame, struct wire_disk_checked *ret_checked,
			     struct wire_error *error) WIRE_CHECKED;

#endif
