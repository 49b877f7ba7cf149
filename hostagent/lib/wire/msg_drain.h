/* msg_drain.h - DRAIN and DRAIN_STATE, with which a host asks the gateway to drain it.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_DRAIN_H
#define WIRE_MSG_DRAIN_H

#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

enum wire_drain_what {
	WIRE_DRAIN_IS_UP     = 1, /* the host is up, in the boot `boot` */
	WIRE_DRAIN_GOES_DOWN = 2, /* the host is going down: drain it */
};

/* DRAIN. The payload names no host: it is about the sending host, which the gateway knows from the
 * certificate. */
struct wire_drain {
	uint8_t what;	  /* enum wire_drain_what */
	uint32_t limit_s; /* GOES_DOWN: how long the host can wait, 1 or more; else 0 */
	uint8_t boot[WIRE_BOOT_SIZE]; /* id of the host's present boot */
};
int wire_drain_encode(const struct wire_drain *drain, struct bytes_writer *w) WIRE_CHECKED;
int wire_drain_decode(const struct wire_frame *frame, struct wire_drain *ret_drain,
		      struct wire_error *error) WIRE_CHECKED;

enum wire_drain_progress {
	WIRE_DRAIN_NOT	   = 0, /* the host is not being drained, or no longer */
	WIRE_DRAIN_RUNS	   = 1, /* the host is being drained */
	WIRE_DRAIN_DONE	   = 2, /* the drain has ended; see n_left */
};

/* DRAIN_STATE: the progress of this host's drain. */
struct wire_drain_state {
	uint8_t state;		      /* enum wire_drain_progress */
	/* what is left on the host: guests that may still run there, and copies that it keeps */
	uint16_t n_left;
	char text[WIRE_TEXT_MAX + 1]; /* human-readable */
};
int wire_drain_state_encode(const struct wire_drain_state *state,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_drain_state_decode(const struct wire_frame *frame, struct wire_drain_state *ret_state,
			    struct wire_error *error) WIRE_CHECKED;

#endif
