/* handed.h - what an engine hands on to the engine of the next program of this agent.
 *
 * Why: the agent's program can be replaced by another version while guests are protected. The next
 * program must continue without a full copy. So it gets what would otherwise be lost:
 * - the userfaultfd, whose marks show which pages were written
 * - the rings of the disks, with their servers
 * - the number and the device state of the last epoch, on which the next epoch builds
 * - the times until which this host may run the guest and release its output.
 *
 *	engine_hand_on() ─► struct handed ─► handed_encode() ─► bytes in a memfd
 *	                                                            │ exec (replace/onward.h)
 *	engine_open()   ◄─ struct handed ◄─ handed_decode() ◄───────┘
 *
 * When an engine hands its guest on, the guest is stopped, all epochs are committed, and all output
 * has left. So this record has no frames, no pages and no epochs.
 *
 * The record has the numbers of descriptors: they stay open over exec, with the same numbers. Pages
 * of the reference are not handed on. The next engine sends a changed page whole once, and then
 * deltas again.
 *
 * Where: engine_handed.c makes and uses this record, vm/vm_replace.c passes it on. Pure, except
 * that `device` and `facts` are allocated. Threads: any.
 */
#ifndef EPOCH_HANDED_H
#define EPOCH_HANDED_H

#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "wire/limits.h"

#define HANDED_PATH_MAX 107 /* the longest path of a unix socket */

/* One disk of the guest. Its mirror is READY (vmm/mirror.h). */
struct handed_disk {
	char name[WIRE_DISK_NAME_MAX + 1];
	int ring_fd;
	int lifeline_fd, log_fd; /* descriptors of the disk's server (disk/server.h) */
	pid_t server_pid;
	/* the ring's counts (disk/ring.h) when the mirror was begun. If a count has grown since, a
	 * write was lost */
	uint64_t overflows, disconnections;
};

struct handed {
	uint64_t term;
	uint64_t epoch;	     /* the last epoch; it is committed, and its output has left */
	pid_t pid;	     /* pid of QEMU */
	char qmp[HANDED_PATH_MAX + 1]; /* path of QEMU's monitor */
	uint32_t n_pages;    /* number of pages in all of the guest's memory blocks together */
	int uffd;
	uint64_t fault_ns;   /* the result of track_fault_ns() */
	/* until when this host may run the guest, and release its output; see lease_resume() */
	uint64_t until_ns, release_ns;
	/* when we told QEMU to stop the guest, and when QEMU had stopped it (CLOCK_MONOTONIC) */
	uint64_t stopped_ns, stop_seen_ns;
	struct handed_disk disk[WIRE_DISKS_MAX];
	uint32_t n_disks;
	uint8_t *device;     /* device state of the last epoch; heap */
	uint32_t device_size;
	/* what QEMU has reported about the guest (facts.h), so that the next program need not ask
	 * QEMU while the guest stands still; heap. If facts_size is 0, the next program must ask
	 * QEMU */
	uint8_t *facts;
	uint32_t facts_size;
};

/* The largest sizes, in bytes: of `facts`, and of an encoded struct handed. */
#define HANDED_FACTS_MAX (UINT32_C(1) << 22)
#define HANDED_BYTES_MAX ((size_t)WIRE_BLOB_MAX + HANDED_FACTS_MAX + 8192)

/* Encode @handed. If @w has too little room, @w->bad is set. */
void handed_encode(const struct handed *handed, struct bytes_writer *w);

/* Decode a struct handed. Returns 0, and the caller must call handed_done(), which frees only
 * memory;
 * -EPROTO: the bytes are not those of a struct handed, or a value is out of its bounds;
 * -ENOMEM.
 * On error *ret_handed is unchanged, and needs no handed_done(). */
int handed_decode(struct bytes_reader *r, struct handed *ret_handed)
	__attribute__((warn_unused_result));

/* Free the memory of @handed. Closes no descriptor. */
void handed_done(struct handed *handed);

/* Call @each with every descriptor in @handed. */
void handed_each_fd(const struct handed *handed, void (*each)(int fd));

#endif
