/* detector.h - judges whether the clients of a guest are being served. If it judges that they are
 * not, the standby is promoted.
 *
 * Heartbeats alone are bad evidence. Under load they can stop although the guest is well, and they
 * can continue although the guest is dead. So the detector weighs evidence from several independent
 * paths. docs/liveness.md explains the detector. (Probing from the clients' side: Zou et al. 2014.)
 *
 *                   beat or epoch late,              host answers,           beats and epochs again
 *	             connection closed                witness arrives
 *       PROTECTED ─────────────────────► SUSPECT ──────────────────► DEGRADED ─────────► PROTECTED
 *	     ▲   beats and epochs again      │                            │
 *           └───────────────────────────────┤ nobody answers             │ nobody answers any more,
 *                                           ▼                            ▼ or the guest is gone, or
 *	                                   FAILED ◄───────────────────────┘ `patience` expired
 *
 * In DEGRADED the detector waits for up to patience_ns (`patience` above) for beats and epochs to
 * come again. When a link comes up again, TCP needs some time to recover. So if a sign of life
 * returns after an absence of at least DETECTOR_RETURN_NS, the wait begins anew. Here, signs of
 * life are beats, epochs, witness datagrams and answers on the backup network. In all, DEGRADED
 * lasts at most DETECTOR_PATIENCES times patience_ns.
 *
 * Pure: evidence and time in, a judgement out; no I/O, no clock, no allocation.
 * Where: the VM's state machine (vm/fsm.h) gives the detector evidence. When the detector says
 * FAILED and the standby is fit, the state machine promotes the standby.
 * Threads: any (no state of its own).
 *
 * Time. The detector has a clock of its own. The time on it is called the watched time. Between two
 * calls, the watched time advances by at most DETECTOR_STEP_MAX_NS. So if the gateway itself
 * stalls, no host is blamed for silence during the stall.
 *
 * Copies. While the guest's disks are copied again, no epoch can be made (docs/disks.md). During
 * the copy, each step of the copy counts as progress. Progress counts as late when half of
 * patience_ns has passed without a step. All other evidence counts as usual: a host whose beats
 * stop is found as fast as without a copy.
 *
 * Blindness. Silence of the primary on the client network counts only while that network works. In
 * the following two cases this silence does not count. FAILED then needs a silence of
 * beat_timeout_ns, as if there were no client network:
 * - The standby's host, which is probed in the same way at the same time (`reference`), is silent
 *   on the client network too. The network itself may be down.
 * - The primary is silent on the client network, but a beat or an answer on the backup network
 *   shows that it lives. Only its path through the client network is broken. This case ends when
 *   the primary answers on the client network again.
 */
#ifndef LIVENESS_DETECTOR_H
#define LIVENESS_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "liveness/jitter.h"

#define DETECTOR_STEP_MAX_NS   (30 * CLOCK_NS_PER_MS)
#define DETECTOR_RETURN_NS     (300 * CLOCK_NS_PER_MS)
#define DETECTOR_PATIENCES     3 /* DEGRADED lasts at most this many times patience_ns */
/* the host counts as silent after this many unanswered probes in a row */
#define DETECTOR_UNANSWERED    5
/* if the host answers this many probes through the backup network, at least one witness datagram
 * should have come in that time */
#define DETECTOR_PATH_ANSWERS  16
/* the guest can count as gone only after this many probes of it without a witness datagram */
#define DETECTOR_GUEST_UNSEEN  12
#define DETECTOR_TEXT_MAX      256

enum detector_state {
	DETECTOR_PROTECTED = 0, /* all is well */
	DETECTOR_SUSPECT   = 1, /* something is late: send probes */
	DETECTOR_DEGRADED  = 2, /* the host lives, but replication has stopped */
	DETECTOR_FAILED    = 3, /* the primary will not serve its clients: promote */
	DETECTOR_N_STATES,
};

const char *detector_state_name(enum detector_state state); /* returns a constant
							     * such as "PROTECTED" */

struct detector_config {
	uint64_t suspect_min_ns;  /* shortest time after which a beat counts as late */
	uint64_t progress_min_ns; /* shortest time after which an epoch counts as late */
	/* if the primary has been probed for this long and was silent on every path, it counts as
	 * gone */
	uint64_t confirm_ns;
	/* if the primary cannot be probed through a second network, it counts as gone when it has
	 * been silent for this long */
	uint64_t beat_timeout_ns;
	uint64_t patience_ns; /* how long to wait for a host that lives but does not replicate */
	/* how much time agents have to connect again after the gateway's start */
	uint64_t restart_grace_ns;
};

/* Counts of probes sent and answered since the gateway's start. */
struct detector_probe {
	uint64_t sent, answered;
};

/* What the gateway knows at a tick. All counts begin at zero at the gateway's start, and only grow.
 * If a source does not exist, its count stays zero. */
struct detector_evidence {
	uint64_t witness;	  /* valid witness datagrams */
	uint64_t to_guest; /* frames sent to the guest, as counted in the last witness datagram */
	uint64_t from_guest;	  /* frames sent by the guest, including held frames,
				   * as counted in the last witness datagram */
	struct detector_probe host_client; /* probes of the primary's host
					    * through the client network */
	struct detector_probe host_backup; /* probes of the primary's host
					    * through the backup network */
	/* probes of the guest through the client network; answers can be held back until an epoch
	 * is committed */
	struct detector_probe guest;
	struct detector_probe reference;   /* probes of the standby's host
					    * through the client network */
	/* true if host_client can be probed: the host has an address in the client network, and the
	 * gateway has a port there */
	bool has_client_path;
	/* true if epochs should come now: the standby's stream is up, and the next epoch does not
	 * wait for the standby */
	bool expects_progress;
	bool is_paused; /* true while the agent reports that somebody else has paused the guest */
	/* true while the agent reports that no epoch can come before the guest's disks are copied
	 * again */
	bool is_copying;
	uint64_t copied; /* reports that this copy has made progress */
};

/* The kinds of signs of life. The detector remembers when it last saw each. */
enum detector_source {
	DETECTOR_BEAT,         /* an authentic frame from the agent on its control connection */
	DETECTOR_PROGRESS,     /* bytes of an epoch, or a commit */
	DETECTOR_COPIED,       /* a copy of the disks, for which the epochs wait, made progress */
	DETECTOR_WITNESS,
	DETECTOR_GUEST_SPOKE,  /* a witness datagram reported new frames from the guest */
	DETECTOR_HOST_CLIENT,
	DETECTOR_HOST_BACKUP,
	DETECTOR_GUEST_ANSWERED,
	DETECTOR_REFERENCE,
	DETECTOR_N_SOURCES,
};

/* The reason for the last change of state. */
enum detector_reason {
	DETECTOR_WELL,
	DETECTOR_NO_BEAT,
	DETECTOR_NO_PROGRESS,
	DETECTOR_CLOSED,       /* the agent's connection was closed */
	DETECTOR_ALIVE,	       /* the host shows signs of life */
	DETECTOR_ALL_SILENT,
	DETECTOR_GUEST_GONE,   /* the host answers, but the guest's QEMU process is gone */
	DETECTOR_OUT_OF_PATIENCE,
};

struct detector {
	enum detector_state state;
	enum detector_reason reason; /* why the state last changed */
	uint64_t clock_ns;	/* the watched time; begins at 1, so that 0 can mean "never" */
	uint64_t looked_ns;	/* @now_ns of the last call that advanced the watched time */
	/* when the present doubt began, in watched time; not valid in PROTECTED */
	uint64_t doubt_ns;
	/* when DEGRADED began, or when the guest's last pause ended if that was later */
	uint64_t degraded_ns;
	/* when the present wait for detector_config.patience_ns began, in watched time */
	uint64_t patience_ns;
	uint64_t seen_ns[DETECTOR_N_SOURCES]; /* when each source was last seen,
					       * in watched time; 0: never */
	struct jitter beat, progress;
	bool has_last;			   /* true after the first tick: `last` is valid */
	struct detector_evidence last;	   /* the evidence at the last tick */
	struct detector_evidence at_doubt; /* the evidence when the doubt began */
	struct detector_evidence at_witness; /* the evidence at the last witness datagram, or at
					      * the beginning of the doubt if that was later */
	/* value of host_client.sent at the host's last answer through the client network, or at the
	 * beginning of the doubt if that was later */
	uint64_t sent_at_answer;
	/* when the number of unanswered probes in a row on the client network reached
	 * DETECTOR_UNANSWERED; 0: the number is smaller */
	uint64_t unanswered_ns;
	/* true if only the host's path through the client network is broken: after unanswered_ns, a
	 * beat or an answer on the backup network has come */
	bool is_client_broken;
	bool is_open;		 /* true while the agent's control connection is up */
};

/* Begin to watch at @now_ns, with no sign of life seen yet. @is_open: is the agent's control
 * connection up? */
void detector_init(struct detector *d, bool is_open, uint64_t now_ns);

/* Note that a sign of life of the kind @source (BEAT or PROGRESS) was seen. */
void detector_saw(struct detector *d, enum detector_source source, uint64_t now_ns);

/* Note that the agent's control connection opened or closed. */
void detector_connection(struct detector *d, bool is_open, uint64_t now_ns);

/* Judge the evidence. Returns true if the state has changed. d->state is then the new state, and
 * d->reason and detector_describe() say why. Call this every 20 ms, and every 5 ms while in
 * doubt. */
bool detector_tick(struct detector *d, const struct detector_config *config,
		   const struct detector_evidence *evidence, uint64_t now_ns);

/* Should probes be sent now? */
static inline bool detector_asks(const struct detector *d)
{
	return d->state != DETECTOR_PROTECTED;
}

/* Describe the evidence for an operator, for example: "no beat 412 ms, epoch 433 ms ago, witness
 * 38 ms ago, guest answered 61 ms ago, host (client network) answered 12 ms ago". A text longer
 * than @size is cut. Returns @text. */
char *detector_describe(const struct detector *d, char *text, size_t size);

#endif
