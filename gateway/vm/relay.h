/* relay.h - checks one VM's epoch stream on its way from primary to standby. Pure.
 *
 * Why: the gateway commits what the standby acknowledges, so it must know that what it passed on was
 * one unbroken run of epochs of the current term. It does so from headers, EPOCH_BEGIN and
 * EPOCH_END alone: pages are never decoded here (their checksum is wire's, their meaning the
 * standby's).
 *
 * Where: session/session_stream.c asks before each frame it forwards; the bytes themselves go
 * straight into the standby's TLS ring (bounded by relay_bytes_max; no room: the primary's
 * connection is not read any further).
 *
 *	  resume(k, g)
 *	 ──────────────► WANT_GEOMETRY ──GEOMETRY──► WANT_BEGIN ──EPOCH_BEGIN──► IN_EPOCH
 *	  frames of older g are dropped                  ▲      PAGES, DEVICE: seq + 1 │
 *	                                                 └────────EPOCH_END────────────┘
 *	  MACHINE: behind GEOMETRY, ahead of the generation's first epoch
 *
 * Threads: the gateway's loop.
 */
#ifndef VM_RELAY_H
#define VM_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hist.h"
#include "wire/frame.h"
#include "wire/msg.h"

#define VM_RELAY_IN_FLIGHT_MAX 64 /* epochs sent and not acknowledged; agents stop at far fewer */

enum vm_relay_phase {
	VM_RELAY_CLOSED, /* no RESUME yet: the primary may send nothing */
	VM_RELAY_WANT_GEOMETRY,
	VM_RELAY_WANT_BEGIN,
	VM_RELAY_IN_EPOCH,
};

enum vm_relay_verdict {
	VM_RELAY_FORWARD = 0,
	VM_RELAY_DROP	 = 1, /* of an older generation: sent before our RESUME arrived */
};

struct vm_relay {
	enum vm_relay_phase phase;
	uint64_t term;
	uint32_t generation;
	uint64_t epoch;		 /* in work, or the last one that ended (k after RESUME) */
	uint64_t unheld_epoch;	 /* last with WIRE_FLAG_UNHELD; those behind it lie in the hold */
	uint64_t sent_epoch;	 /* last whose EPOCH_END was forwarded on this standby stream */
	uint32_t n_frames;	 /* of the epoch in work */
	uint64_t payload_bytes;	 /* of the epoch in work */
	uint64_t begin_ns;	 /* when the epoch in work began */
	uint32_t n_machine;	 /* MACHINE frames of this generation */
	bool machine_is_over;	 /* the last of them came, or an epoch began */
	struct {
		uint64_t epoch, bytes, begin_ns, end_ns;
	} in_flight[VM_RELAY_IN_FLIGHT_MAX]; /* by epoch modulo size */
	/* figures since start */
	uint64_t bytes_total, frames_total, epochs_total, dropped_total, errors_total, acks_total;
	uint64_t full_total;	    /* epochs that stand alone */
	uint64_t last_epoch_bytes;  /* of the last acknowledged epoch */
	uint64_t last_ack_ns;	    /* EPOCH_END forwarded -> EPOCH_ACK, of the same */
	struct hist ack_ns, epoch_bytes;
};

/* All zero is a closed relay. */

/* A RESUME(@epoch, @generation) of @term goes to the primary: what follows starts anew. */
void vm_relay_resume(struct vm_relay *relay, uint64_t term, uint64_t epoch, uint32_t generation);

/* The standby's stream is a new one that holds @epoch: older acknowledgements cannot come. */
void vm_relay_standby_reset(struct vm_relay *relay, uint64_t epoch);

/* No more frames until the next RESUME. */
void vm_relay_close(struct vm_relay *relay);

/* Check a frame of the primary (any WIRE_GEOMETRY..WIRE_CLOCK). 0: *ret_verdict says what to do
 * with it. -EPROTO: it breaks the stream: *ret_code is a WIRE_STREAM_ERROR_ number and @ret_text
 * (WIRE_TEXT_MAX + 1) a sentence; the relay is closed, the connection should be. */
int vm_relay_frame(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		   enum vm_relay_verdict *ret_verdict, uint16_t *ret_code, char *ret_text)
	__attribute__((warn_unused_result));

/* Check an EPOCH_ACK. 0: it stands for an epoch that was forwarded whole; -EPROTO: it does not. */
int vm_relay_ack(struct vm_relay *relay, uint64_t epoch, uint64_t now_ns)
	__attribute__((warn_unused_result));

#endif
