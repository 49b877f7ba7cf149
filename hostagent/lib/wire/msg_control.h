/* msg_control.h - the frames of the control connection between an agent and a gateway,
 * apart from DRAIN and DRAIN_STATE (msg_drain.h).
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_CONTROL_H
#define WIRE_MSG_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "wire/frame.h"
#include "wire/limits.h"

/* BEAT, and BEAT_ACK, which returns the mono_ns of the BEAT that it answers. */
struct wire_beat {
	uint64_t mono_ns; /* the agent's CLOCK_BOOTTIME; only the agent can interpret it */
};
int wire_beat_encode(const struct wire_beat *beat, struct bytes_writer *w) WIRE_CHECKED;
int wire_beat_decode(const struct wire_frame *frame, struct wire_beat *ret_beat,
		     struct wire_error *error) WIRE_CHECKED;

enum wire_state {
	WIRE_STATE_IDLE		    = 0,
	WIRE_STATE_ATTACHING	    = 1,
	WIRE_STATE_SYNCING	    = 2,
	WIRE_STATE_PROTECTED	    = 3,
	/* the agent was restarted: the hold is closed, and the agent waits for orders */
	WIRE_STATE_LOST		    = 4,
	WIRE_STATE_FENCED	    = 5,
	WIRE_STATE_RUNNING	    = 6, /* the guest runs unprotected */
	WIRE_STATE_STANDBY_STARTING = 7,
	WIRE_STATE_STANDBY_WARM	    = 8, /* has no complete epoch yet */
	WIRE_STATE_STANDBY_READY    = 9, /* has a complete epoch */
	WIRE_STATE_PROMOTING	    = 10,
	WIRE_STATE_FAILED	    = 11,
	WIRE_STATE_COUNT	    = 12,
};

enum wire_verdict {
	WIRE_VERDICT_NONE     = 0,
	WIRE_VERDICT_EXITED   = 1, /* the guest's process is gone */
	WIRE_VERDICT_PAUSED   = 2, /* the guest was paused, but not by us */
	WIRE_VERDICT_SHUTDOWN = 3, /* the guest shut itself down */
	WIRE_VERDICT_COUNT    = 4,
};

/* These four functions return the name of a number as a constant string in lower case, for example
 * "standby-ready"; "unknown" if the number has no name. */
const char *wire_state_name(uint8_t state);
const char *wire_verdict_name(uint8_t verdict);
const char *wire_verb_name(uint8_t verb);
const char *wire_vm_role_name(uint8_t role);

/* REPORT. Header: term; epoch is the standby's last complete or the primary's last committed
 * epoch. */
struct wire_report {
	char vm[WIRE_NAME_MAX + 1];
	uint8_t role;			/* enum wire_vm_role */
	uint8_t state;			/* enum wire_state */
	uint8_t verdict;		/* enum wire_verdict */
	char text[WIRE_TEXT_MAX + 1];	/* human-readable */
	char stats[WIRE_STATS_MAX + 1]; /* see wire_stats_is_valid() */
};
int wire_report_encode(const struct wire_report *report, struct bytes_writer *w) WIRE_CHECKED;
int wire_report_decode(const struct wire_frame *frame, struct wire_report *ret_report,
		       struct wire_error *error) WIRE_CHECKED;

enum wire_verb {
	WIRE_VERB_STANDBY_START = 1,
	WIRE_VERB_STANDBY_STOP	= 2,
	WIRE_VERB_PROTECT	= 3,
	WIRE_VERB_UNPROTECT	= 4,
	/* header: term is the new term; epoch is the lowest epoch with which the standby may
	 * promote its guest */
	WIRE_VERB_PROMOTE	= 5,
	/* header: term is the new term, in which the agent no longer owns the VM */
	WIRE_VERB_FENCE		= 6,
	/* the owner compares all of the standby's copy with the guest, and answers when the
	 * comparison has ended. Only with WIRE_FEATURE_VERIFY */
	WIRE_VERB_VERIFY	= 7,
	/* header: term is the present term. The owner stops the guest, makes a last epoch, waits
	 * for the COMMIT of this epoch and lets go of the guest. The answer's header has the
	 * number of this epoch. A later PROTECT in the same term lets the guest run on */
	WIRE_VERB_MOVE		= 8,
	/* header: term is the new term. Boot the guest from this host's disks. If the agent keeps a
	 * QEMU of the guest stopped that somebody started here after the host's boot, let the guest
	 * in that QEMU run instead. Sent only to a host whose REPORT has the key `cold` */
	WIRE_VERB_START		= 12,
	/* a drill: the standby's host starts its copy of the guest without a connection to the
	 * network, checks whether the guest works, ends it, and then answers. Only with
	 * WIRE_FEATURE_DRILL */
	WIRE_VERB_DRILL		= 14,
	WIRE_VERB_COUNT
};

/* ORDER. Orders are idempotent: if an agent has already carried out an order, it answers the
 * repeated order with OK. */
struct wire_order {
	uint64_t order_id;
	uint8_t verb; /* enum wire_verb */
	char vm[WIRE_NAME_MAX + 1];
	char argument[WIRE_TEXT_MAX + 1];
	uint64_t incarnation; /* the gateway's incarnation, as in WELCOME; 0: none */
};
int wire_order_encode(const struct wire_order *order, struct bytes_writer *w) WIRE_CHECKED;
int wire_order_decode(const struct wire_frame *frame, struct wire_order *ret_order,
		      struct wire_error *error) WIRE_CHECKED;

enum wire_order_status {
	WIRE_ORDER_OK	   = 0,
	WIRE_ORDER_FAILED  = 1,
	WIRE_ORDER_REFUSED = 2,
};

struct wire_order_done {
	uint64_t order_id; /* the number of the ORDER */
	uint8_t status;	   /* enum wire_order_status */
	char vm[WIRE_NAME_MAX + 1];
	char text[WIRE_TEXT_MAX + 1];
};
int wire_order_done_encode(const struct wire_order_done *done, struct bytes_writer *w) WIRE_CHECKED;
int wire_order_done_decode(const struct wire_frame *frame, struct wire_order_done *ret_done,
			   struct wire_error *error) WIRE_CHECKED;

/* WITNESS_KEY. Header: term is the VM's term. From now on, the kernel of the agent's host signs
 * this VM's witness datagrams with this key (wire/witness.h). The struct has a secret: wipe it
 * after use. */
struct wire_witness_key {
	char vm[WIRE_NAME_MAX + 1];
	uint32_t key_id;			   /* > 0; every datagram carries it */
	uint16_t port; /* > 0; the gateway's UDP port; its address is that of this connection */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
	/* The gateway's address in the client network, in host byte order; 0: there is none. The
	 * agent sends the datagrams to this address, too. Always 0 unless
	 * WIRE_FEATURE_WITNESS_PATHS is in use */
	uint32_t client_address;
};
/* Returns true if @address (host byte order) can belong to a host. It must not be in 0.0.0.0/8,
 * 127.0.0.0/8 or 224.0.0.0/3. */
bool wire_is_host_address(uint32_t address);
int wire_witness_key_encode(const struct wire_witness_key *key,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_witness_key_decode(const struct wire_frame *frame, struct wire_witness_key *ret_key,
			    struct wire_error *error) WIRE_CHECKED;

/* LEASE. Header: term. The agent owns this VM in that term. It may run the guest until its own
 * clock shows beat_ns + lease_ms, and release output until beat_ns + release_ms. beat_ns is when
 * the agent SENT the beat, so a slow answer does not extend these times. */
struct wire_lease {
	char vm[WIRE_NAME_MAX + 1];
	uint64_t beat_ns;  /* mono_ns of the BEAT that this lease answers */
	uint32_t lease_ms; /* 1..WIRE_LEASE_MS_MAX */
	uint32_t release_ms; /* 1..lease_ms */
	uint64_t incarnation; /* the gateway's incarnation, as in WELCOME; 0: none */
};
int wire_lease_encode(const struct wire_lease *lease, struct bytes_writer *w) WIRE_CHECKED;
int wire_lease_decode(const struct wire_frame *frame, struct wire_lease *ret_lease,
		      struct wire_error *error) WIRE_CHECKED;

#endif
