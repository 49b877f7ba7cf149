/* limits.h - every limit that the wire format sets, and related sizes.
 *
 * Why: each size, count and index that a peer controls is compared with one of these before use.
 * docs/wire-format.md is normative; change both in the same commit.
 * Threads: any; there are constants only.
 */
#ifndef WIRE_LIMITS_H
#define WIRE_LIMITS_H

#include <stdint.h>

#define WIRE_VERSION	     1	      /* the only version of the format so far */
#define WIRE_HEADER_SIZE     40	      /* bytes before the payload */
#define WIRE_HASHED_SIZE     32	      /* header bytes that the checksum covers */
#define WIRE_PAYLOAD_MAX     131072   /* bytes after the header */
#define WIRE_FRAME_MAX	     (WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX)

/* The largest term, epoch and incarnation. Terms and epochs count events of one VM, so even with a
 * hundred events per second they reach this limit only after millions of years. A larger number can
 * only come from damage or malice. If a number near 2^64 were accepted, soon no larger number would
 * be left. */
#define WIRE_TERM_MAX	     ((UINT64_C(1) << 56) - 1)
#define WIRE_EPOCH_MAX	     WIRE_TERM_MAX
#define WIRE_INCARNATION_MAX WIRE_TERM_MAX
/* the largest allowed jump of the term: an agent or gateway refuses a term further ahead of its
 * own */
#define WIRE_TERM_JUMP_MAX   (UINT64_C(1) << 20)

#define WIRE_NAME_MAX        63       /* bytes in a VM, host, gateway or operator name */
#define WIRE_LABEL_MAX       255      /* bytes in a machine type, QEMU version, RAM block name */
/* bytes in a human-readable text, and in an order's argument */
#define WIRE_TEXT_MAX	     1024
#define WIRE_STATS_MAX	     8192     /* bytes in a report's statistics */
#define WIRE_STATS_KEY_MAX   63	      /* bytes in one key of the statistics */
#define WIRE_STATS_VALUE_MAX 127      /* bytes in one value of the statistics */

#define WIRE_VCPUS_MAX	     4096
#define WIRE_NICS_MAX	     16
#define WIRE_BLOCKS_MAX	     64	      /* RAM and ROM blocks of one guest */
#define WIRE_PAGE_SIZE	     4096
#define WIRE_MACHINE_FRAMES_MAX 16     /* MACHINE frames of one list */
/* pages in all blocks together: an index has 32 bits */
#define WIRE_PAGES_MAX          0xffffffffULL
#define WIRE_BLOB_MAX	     (16u << 20)   /* bytes of device state in one epoch */

#define WIRE_RECORD_HEADER_SIZE 8     /* bytes before a page record's data */
#define WIRE_RECORD_SIZE_MAX	(WIRE_RECORD_HEADER_SIZE + WIRE_PAGE_SIZE)
#define WIRE_BITMAP_SIZE_MIN	12    /* least data of a BITMAP record: one changed byte */
/* maximum data of a BITMAP record: a page with a longer delta is sent RAW */
#define WIRE_BITMAP_SIZE_MAX	4032
#define WIRE_DUP_SIZE		4     /* data of a DUP record: a page index */

#define WIRE_DISKS_MAX		16    /* disks of one guest that are replicated */
#define WIRE_DISK_NAME_MAX      63    /* bytes in a disk's name (must not exceed WIRE_LABEL_MAX) */
#define WIRE_DISK_HEADER_SIZE	16    /* bytes before a disk record's data */
/* maximum number of the disk's bytes in one ZERO or DISCARD record; the data of a WRITE must fit
 * into its frame */
#define WIRE_DISK_RANGE_MAX	(UINT32_C(1) << 31)
#define WIRE_DISK_SIZE_MAX	(UINT64_C(1) << 63) /* bytes of one disk */
#define WIRE_DISK_HASH_SIZE	24    /* data of a HASH record: seed and hash */
#define WIRE_DISK_HASHED_MAX    65536 /* maximum number of the disk's bytes in one HASH record */
#define WIRE_DISK_DIFFER_MAX	64    /* maximum number of offsets in one DISK_CHECKED frame */
#define WIRE_HASH_SIZE		16    /* one hash in HASHES and RAM_HASH */
#define WIRE_HASHES_MAX		4096  /* maximum number of hashes in one HASHES frame */
#define WIRE_HASH_BLOCK_SIZE	65536 /* bytes of a disk for which there is one hash */
/* in HASHES_WANT and HASHES: the numbers of all pages and of all blocks of a disk are below this */
#define WIRE_HASH_UNITS_MAX	(WIRE_DISK_SIZE_MAX / WIRE_HASH_BLOCK_SIZE)
#define WIRE_RAM_HASHES_MAX	1024  /* maximum number of pages in one RAM_HASH frame */
#define WIRE_RAM_DIFFER_MAX	64    /* maximum number of page indexes in one RAM_CHECKED frame */

/* highest frequency of a processor's time-stamp counter */
#define WIRE_TICKS_PER_S_MAX	100000000000ULL
#define WIRE_WITNESS_KEY_SIZE 16      /* a SipHash key */
#define WIRE_LEASE_MS_MAX     600000  /* the longest lease, ms */
#define WIRE_DRAIN_LIMIT_S_MAX 86400  /* the longest time that a drain may take */
#define WIRE_BOOT_SIZE	      16      /* bytes in a boot's id (the kernel's boot_id) */
/* lease_ms of the leases that a standby gives on a peer connection; their release_ms is less */
#define WIRE_DIRECT_LEASE_MS  2000

_Static_assert(WIRE_PAYLOAD_MAX >= WIRE_STATS_MAX + WIRE_TEXT_MAX + 256, "a REPORT fits a frame");
_Static_assert(WIRE_PAYLOAD_MAX >= WIRE_BLOCKS_MAX * (WIRE_LABEL_MAX + 10) + 1024,
	       "a GEOMETRY fits a frame");

#endif
