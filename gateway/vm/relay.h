/* relay.h - checks one VM's epoch stream on its way from primary to standby. Pure.
 *
 * The gateway commits what the standby acknowledges. So the relayed epochs must be complete, of the
 * current term, and in an unbroken sequence. To check this, the relay reads headers, EPOCH_BEGIN
 * and EPOCH_END. It does not read pages: wire/ checks their checksum, and the standby checks their
 * content.
 *
 * Where: session/session_stream.c asks the relay before it forwards a frame. Forwarded bytes go
 * straight into the standby's TLS ring, whose size is at most relay_bytes_max. While the ring is
 * full, the gateway does not read from the primary's connection.
 *
 *	  RESUME sent
 *	 ─────────────► WANT_GEOMETRY ──GEOMETRY──► WANT_BEGIN ──EPOCH_BEGIN──► IN_EPOCH
 *	                                                ▲                           │
 *	                                                └─────────EPOCH_END─────────┘
 * In IN_EPOCH, the relay accepts PAGES, DEVICE, CLOCK, DISK and RAM_HASH frames. Their sequence
 * numbers grow by one from frame to frame. MACHINE frames can come between GEOMETRY and the first
 * epoch, and HASHES_WANT frames anywhere after GEOMETRY. Each RESUME begins a new generation.
 * Frames of an older generation are dropped.
 *
 * Threads: the gateway's loop.
 */
#ifndef VM_RELAY_H
#define VM_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hist.h"
#include "wire/frame.h"
#include "wire/msg.h"

/* maximum number of unacknowledged epochs whose sizes and times the relay keeps; agents have far
 * fewer in flight */
#define VM_RELAY_IN_FLIGHT_MAX 64

enum vm_relay_phase {
	/* the primary's frames are dropped, because there was no RESUME yet or the stream broke */
	VM_RELAY_CLOSED,
	VM_RELAY_WANT_GEOMETRY,
	VM_RELAY_WANT_BEGIN,
	VM_RELAY_IN_EPOCH,
};

enum vm_relay_verdict {
	VM_RELAY_FORWARD = 0,
	/* drop the frame, because the relay is closed, or because the primary sent the frame before
	 * our RESUME arrived there */
	VM_RELAY_DROP	 = 1,
};

struct vm_relay {
	enum vm_relay_phase phase;
	uint64_t term;
	uint32_t generation;
	/* the epoch being relayed. Between epochs: the last epoch that ended. After a RESUME, until
	 * its first epoch: the epoch that the RESUME named */
	uint64_t epoch;
	/* last epoch with WIRE_FLAG_UNHELD, after whose seal the guest's output was not held; 0:
	 * none in this term */
	uint64_t unheld_epoch;
	/* last epoch whose EPOCH_END was forwarded on the standby's present stream */
	uint64_t sent_epoch;
	uint32_t n_frames;	 /* frames of the epoch being relayed */
	uint64_t payload_bytes;	 /* payload bytes of the epoch being relayed */
	uint64_t begin_ns;	 /* when the epoch being relayed began */
	uint32_t n_machine;	 /* number of MACHINE frames in this generation */
	/* true if no more MACHINE frames are allowed: the last one has come, or an epoch has
	 * begun */
	bool machine_is_over;
	struct {
		uint64_t epoch, bytes, begin_ns, end_ns;
	} in_flight[VM_RELAY_IN_FLIGHT_MAX]; /* sizes and times of unacknowledged epochs,
					      * indexed by epoch modulo the array's size */
	/* Counts since the gateway's start. */
	uint64_t bytes_total, frames_total, epochs_total, dropped_total, errors_total, acks_total;
	uint64_t full_total;	    /* number of FULL epochs, which need no earlier epoch */
	uint64_t last_epoch_bytes;  /* size of the last acknowledged epoch */
	/* for the last acknowledged epoch: time from forwarding EPOCH_END to EPOCH_ACK */
	uint64_t last_ack_ns;
	struct hist ack_ns, epoch_bytes;
};

/* A zeroed struct vm_relay is a closed relay. */

/* Begin a new sequence of frames, because RESUME(@epoch, @generation) of @term is sent to the
 * primary. */
void vm_relay_resume(struct vm_relay *relay, uint64_t term, uint64_t epoch, uint32_t generation);

/* Note that the standby opened a new stream and has @epoch whole. From now on, acknowledgements of
 * later epochs that were sent on the standby's old stream are refused. */
void vm_relay_standby_reset(struct vm_relay *relay, uint64_t epoch);

/* Drop all frames until the next RESUME. */
void vm_relay_close(struct vm_relay *relay);

/* Check a frame of the primary's stream. Returns 0 and sets *ret_verdict to what to do with the
 * frame. If the frame breaks the stream, closes the relay and returns -EPROTO: *ret_code (a
 * WIRE_STREAM_ERROR_ number) and *ret_error say why, and the caller should end the connection. */
int vm_relay_frame(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		   enum vm_relay_verdict *ret_verdict, uint16_t *ret_code, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check an EPOCH_ACK of @epoch, and measure how long the acknowledgement took. Returns 0 if the
 * epoch was forwarded whole, or -EPROTO if it was not. */
int vm_relay_ack(struct vm_relay *relay, uint64_t epoch, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Returns how long ago the first of the epochs after @acknowledged was forwarded whole. Returns 0
 * if there is no such epoch. */
uint64_t vm_relay_unacknowledged_ns(const struct vm_relay *relay, uint64_t acknowledged,
				    uint64_t now_ns);

#endif
