/* detector.h - are the clients of this guest being served? The judgement that leads to a promotion.
 *
 * Why: heartbeats fail under load and promote without need, and the heartbeat of a host whose guest
 * is dead never fails. So the detector weighs evidence from several independent paths, and the
 * evidence sets the patience (design: "Liveness"; the idea of asking the clients' side: Zou et al.
 * 2014). docs/liveness.md has drawing and table.
 *
 *	             beat or epoch late,              host answers,           beats and epochs again
 *	             connection closed                witness arrives
 *	 PROTECTED ─────────────────────► SUSPECT ──────────────────► DEGRADED ─────────► PROTECTED
 *	     ▲   beats and epochs again      │                            │
 *	     └───────────────────────────────┤ nobody answers             │ nobody answers any more, or the
 *	                                     ▼                            ▼ guest is gone, or `patience` is over
 *	                                   FAILED ◄───────────────────────┘
 *
 * Patience is for what may come back, so it begins again when something does come back: beats,
 * epochs, witness or the backup network, after DETECTOR_RETURN_NS of silence. TCP needs a while
 * after a link is back. Three times at most.
 *
 * Pure: evidence and time in, a judgement out; no I/O, no clock, no allocation. Where: vm/fsm gives
 * it evidence, and promotes when it says FAILED (if the standby agrees). Threads: any (no state of
 * its own).
 *
 * Time. Every age is measured in watched time: from one step to the next at most
 * DETECTOR_STEP_MAX_NS pass, whatever the clock says. So if the gateway itself stalled, nobody is
 * blamed for what it did not see.
 *
 * Blindness. A path without an answer from the primary counts only if the path works at all: the
 * standby's host is asked the same way at the same time (`reference`). If that host is silent too,
 * the path counts for nothing, and the patience is `beat_timeout` as if there were no such path.
 * The same holds for a path on which the primary did not answer although it was heard on the other
 * one. That path is broken, and its silence proves nothing until the primary answers there again.
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
#define DETECTOR_PATIENCES     3      /* from the first doubt on, patience
				       * begins this often at most */
#define DETECTOR_UNANSWERED    5 /* this many probes in a row without
				  * an answer mean "nobody is there" */
#define DETECTOR_PATH_ANSWERS  16     /* this many answers through the backup
				       * network mean "witnesses would arrive" */
#define DETECTOR_GUEST_UNSEEN  12/* probes that the guest's port did not
				  * see although the host answers */
#define DETECTOR_TEXT_MAX      256

enum detector_state {
	DETECTOR_PROTECTED = 0, /* all is well */
	DETECTOR_SUSPECT   = 1, /* something is late: ask */
	DETECTOR_DEGRADED  = 2, /* the host lives, but replication has stopped */
	DETECTOR_FAILED    = 3, /* it will not serve its clients: promote */
	DETECTOR_N_STATES,
};

const char *detector_state_name(enum detector_state state); /* "PROTECTED"...; constant */

struct detector_config {
	uint64_t suspect_min_ns;   /* no beat is late before this */
	uint64_t progress_min_ns;  /* no epoch is late before this */
	uint64_t confirm_ns;	   /* silence on every path, while asking, that means "gone" */
	uint64_t beat_timeout_ns;  /* the same without a second network to ask through */
	uint64_t patience_ns;	   /* for a host that lives without replicating */
	uint64_t restart_grace_ns; /* after a start: time allowed until the agent comes back */
};

/* Probes sent and answered, both since the gateway's start. */
struct detector_probe {
	uint64_t sent, answered;
};

/* What the gateway knows at a tick. Counts are since its start and only grow. Zero where there is
 * no such source. */
struct detector_evidence {
	uint64_t witness;	  /* good witness datagrams */
	uint64_t to_guest;	  /* frames that reached the guest, in the last datagram */
	uint64_t from_guest;	  /* ... and frames that the guest sent, held ones too */
	struct detector_probe host_client; /* the primary's host, through the client network */
	struct detector_probe host_backup; /* ... through the backup network */
	struct detector_probe guest;	   /* the guest, through the client
					    * network; answers may be held */
	struct detector_probe reference;   /* the standby's host, through the client network */
	bool has_client_path;  /* host_client can be probed: an address and a port are set */
	bool expects_progress; /* both streams are up, so epochs must come */
	bool is_paused;	       /* the agent says that somebody else paused the guest */
};

enum detector_source { /* signs that can be seen; each has the time when it was last seen */
	DETECTOR_BEAT,	       /* an authentic frame of the agent on its control connection */
	DETECTOR_PROGRESS,     /* bytes of an epoch, or a commit */
	DETECTOR_WITNESS,
	DETECTOR_GUEST_SPOKE,  /* a witness counted frames from the guest */
	DETECTOR_HOST_CLIENT,
	DETECTOR_HOST_BACKUP,
	DETECTOR_GUEST_ANSWERED,
	DETECTOR_REFERENCE,
	DETECTOR_N_SOURCES,
};

/* The reason for leaving PROTECTED, or for FAILED. */
enum detector_reason {
	DETECTOR_WELL,
	DETECTOR_NO_BEAT,
	DETECTOR_NO_PROGRESS,
	DETECTOR_CLOSED,       /* the agent's connection was closed */
	DETECTOR_ALIVE,	       /* the host shows signs of life */
	DETECTOR_ALL_SILENT,
	DETECTOR_GUEST_GONE,   /* the host answers, the guest's port sees nothing */
	DETECTOR_OUT_OF_PATIENCE,
};

struct detector {
	enum detector_state state;
	enum detector_reason reason; /* of the last change */
	uint64_t clock_ns;	/* watched time; begins at 1, so that 0 is "never" */
	uint64_t looked_ns;	/* the caller's time at the last step */
	uint64_t doubt_ns;	/* when doubt began (watched); valid unless PROTECTED */
	uint64_t degraded_ns;	/* when DEGRADED began */
	uint64_t patience_ns;	/* patience counts from here */
	uint64_t seen_ns[DETECTOR_N_SOURCES]; /* watched time; 0: never */
	struct jitter beat, progress;
	bool has_last;			   /* there was a tick before */
	struct detector_evidence last;	   /* at the last tick */
	struct detector_evidence at_doubt; /* when the doubt began */
	struct detector_evidence at_witness; /* when a witness last came, or the doubt began */
	uint64_t sent_at_answer; /* host_client.sent when it last answered, or the doubt began */
	uint64_t unanswered_ns;	 /* since when the last DETECTOR_UNANSWERED probes
				  * there are unanswered; 0: they are not */
	bool is_client_broken;	 /* ... and the primary was heard by
				  * beat or backup network since then */
	bool is_open;		 /* the agent's control connection is up */
};

/* Begin to watch at @now_ns; nothing was seen yet. @is_open: the agent's connection is up. */
void detector_init(struct detector *d, bool is_open, uint64_t now_ns);

/* @source (BEAT or PROGRESS) was seen. */
void detector_saw(struct detector *d, enum detector_source source, uint64_t now_ns);

/* The agent's control connection opened or closed. */
void detector_connection(struct detector *d, bool is_open, uint64_t now_ns);

/* Judge. True when the state changed: d->state, d->reason and detector_describe() give the new
 * state and the reason. Call it every 20 ms, in doubt every 5 ms. */
bool detector_tick(struct detector *d, const struct detector_config *config,
		   const struct detector_evidence *evidence, uint64_t now_ns);

/* Should probes be sent now? */
static inline bool detector_asks(const struct detector *d)
{
	return d->state != DETECTOR_PROTECTED;
}

/* The evidence in words for an operator: "no beat 412 ms, no epoch 433 ms, witness 38 ms ago, guest
 * spoke 61 ms ago, host answers (client network) 12 ms ago". Cut to @size. Returns @text. */
char *detector_describe(const struct detector *d, char *text, size_t size);

#endif
