/* relay.h - checks one VM's epoch stream on its way from primary to standby. Pure.
 *
 * Why: the gateway commits what the standby acknowledges, so it must know that it passed on one
 * unbroken run of epochs of the current term. It checks headers, EPOCH_BEGIN and EPOCH_END only. It
 * never decodes pages: wire checks their checksum, the standby their content.
 *
 * Where: session/session_stream.c asks before it forwards a frame. The bytes go straight into the
 * standby's TLS ring, bounded by relay_bytes_max. When the ring is full the gateway stops reading
 * the primary's connection.
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

#include "base/error.h"
#include "base/hist.h"
#include "wire/frame.h"
#include "wire/msg.h"

#define VM_RELAY_IN_FLIGHT_MAX 64 /* epochs sent and not yet acknowledged;
				   * agents stop at far fewer */

enum vm_relay_phase {
	VM_RELAY_CLOSED, /* no RESUME yet: the primary's frames are dropped */
	VM_RELAY_WANT_GEOMETRY,
	VM_RELAY_WANT_BEGIN,
	VM_RELAY_IN_EPOCH,
};

enum vm_relay_verdict {
	VM_RELAY_FORWARD = 0,
	VM_RELAY_DROP	 = 1, /* of an older generation (sent before our
			       * RESUME arrived), or the relay is closed */
};

struct vm_relay {
	enum vm_relay_phase phase;
	uint64_t term;
	uint32_t generation;
	uint64_t epoch;		 /* being relayed, or the last one that ended (k after RESUME) */
	uint64_t unheld_epoch;	 /* last with WIRE_FLAG_UNHELD; output
				  * behind later epochs is held */
	uint64_t sent_epoch;	 /* last whose EPOCH_END was forwarded on this standby stream */
	uint32_t n_frames;	 /* of the epoch being relayed */
	uint64_t payload_bytes;	 /* of the epoch being relayed */
	uint64_t begin_ns;	 /* when the epoch being relayed began */
	uint32_t n_machine;	 /* MACHINE frames of this generation */
	bool machine_is_over;	 /* the last of them came, or an epoch began */
	struct {
		uint64_t epoch, bytes, begin_ns, end_ns;
	} in_flight[VM_RELAY_IN_FLIGHT_MAX]; /* indexed by epoch modulo the size */
	/* figures since start */
	uint64_t bytes_total, frames_total, epochs_total, dropped_total, errors_total, acks_total;
	uint64_t full_total;	    /* epochs that stand alone */
	uint64_t last_epoch_bytes;  /* of the last acknowledged epoch */
	uint64_t last_ack_ns;	    /* from forwarding its EPOCH_END to its EPOCH_ACK */
	struct hist ack_ns, epoch_bytes;
};

/* All zero is a closed relay. */

/* RESUME(@epoch, @generation) of @term goes to the primary: begin a new run of frames. */
void vm_relay_resume(struct vm_relay *relay, uint64_t term, uint64_t epoch, uint32_t generation);

/* The standby opened a new stream and holds @epoch: older acknowledgements cannot come any more. */
void vm_relay_standby_reset(struct vm_relay *relay, uint64_t epoch);

/* No more frames until the next RESUME. */
void vm_relay_close(struct vm_relay *relay);

/* Check a frame of the primary (any WIRE_GEOMETRY..WIRE_CLOCK). 0: *ret_verdict says what to do
 * with it. -EPROTO: it breaks the stream: *ret_code is a WIRE_STREAM_ERROR_ number and *ret_error
 * (WIRE_TEXT_MAX + 1) a sentence; the relay is closed, the connection should be. */
int vm_relay_frame(struct vm_relay *relay, const struct wire_frame *frame, uint64_t now_ns,
		   enum vm_relay_verdict *ret_verdict, uint16_t *ret_code, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Check an EPOCH_ACK. 0: that epoch was forwarded whole; -EPROTO: it was not. */
int vm_relay_ack(struct vm_relay *relay, uint64_t epoch, uint64_t now_ns)
	__attribute__((warn_unused_result));

#endif
