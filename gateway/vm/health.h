/* health.h - computes a VM's health word, which says whether a failover at this moment would lose
 * nothing.
 *
 * Why: operators and their monitoring need one answer, not a dozen figures. The word is SAFE only
 * if all that a failover needs is known to be in order, from reports that are fresh. In every other
 * case the word names what is missing, and two texts give the details and say what happens next.
 * A word that is not SAFE does not mean that something is lost.
 *
 *	  state machine ─┐
 *	  last reports ──┼─► health_judge: the first row ─► health_watch ─► word, since when
 *	  relay, time ───┘   of a table that applies        (SAFE only after HEALTH_SETTLE_NS)
 *
 * What the gateway cannot see is listed in docs/operations.md, "The health word".
 * Where: fleet/fleet_health.c calls these functions, for operators, counters and events. The word
 * decides nothing: promotions follow from fsm.h alone. Pure: no clock, no I/O, no allocation.
 * Threads: the gateway's loop.
 */
#ifndef VM_HEALTH_H
#define VM_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/rate.h"
#include "vm/fsm.h"
#include "vm/relay.h"

/* A report older than this says nothing about the present. Agents report every 200 ms. */
#define HEALTH_STALE_NS CLOCK_NS_PER_S
/* The standby is late if something has waited for it for this long. */
#define HEALTH_LATE_NS CLOCK_NS_PER_S
/* Replication counts as stopped if no epoch was committed for this time plus twice the owner's own
 * interval between epochs. */
#define HEALTH_COMMIT_NS (2 * CLOCK_NS_PER_S)
/* The word becomes SAFE only after nothing has been missing for this long. */
#define HEALTH_SETTLE_NS CLOCK_NS_PER_S

#define HEALTH_NEXT_MAX 256 /* size of the text that says what happens next */

/* The words in order of gravity. SAFE is the last. */
enum health_word {
	HEALTH_COLD,	      /* the guest runs nowhere, and no copy of its memory is left */
	HEALTH_CONFLICT,      /* who owns the guest is not clear */
	HEALTH_JOURNAL,	      /* the gateway's own disk does not answer */
	HEALTH_FAILED,	      /* a promotion failed, the operator decides */
	HEALTH_NOT_SERVED,    /* the guest is gone, or shows no sign that it serves */
	HEALTH_PROMOTING,
	HEALTH_UNPROTECTED,
	HEALTH_PREPARING,
	HEALTH_SYNCING,
	/* All words below belong to a VM that is PROTECTED. */
	HEALTH_OWNER_SILENT,  /* the owner's agent was not heard lately */
	HEALTH_PAUSED,	      /* somebody else paused the guest */
	HEALTH_IN_DOUBT,      /* the owner is suspected to have failed */
	HEALTH_NO_STANDBY,    /* the standby is silent, or could not take over */
	HEALTH_NO_FENCE,      /* a failover needs a fence command, which cannot be run */
	HEALTH_RAM,	      /* the standby's copy of RAM differs from the guest's RAM */
	/* the standby's disks differ, or may differ, from the guest's disks */
	HEALTH_DISKS,
	HEALTH_NOT_HELD,      /* output is not held until its commit, or this is not known */
	HEALTH_BEHIND,	      /* epochs are not acknowledged or not committed in time */
	HEALTH_NO_ROOM,	      /* the standby could not store a large epoch */
	HEALTH_NO_WAY,	      /* clients could not reach the guest on the standby */
	HEALTH_SAFE,
	HEALTH_N_WORDS,
};

/* What a host's last report says, in addition to what the state machine stores. If the report lacks
 * a key, the key's member is zero or false. A missing key must not count as good news. So if zero
 * would count as good news, or if a missing key needs a text of its own, there is also a member
 * whose name begins with "knows". */
struct health_signs {
	bool knows_holding, is_holding; /* owner: all output is held until its commit */
	bool knows_direct, is_direct; /* owner: it streams to the standby without this gateway */
	bool knows_disks;     /* owner: has_disks and is_in_step are valid */
	bool has_disks;	      /* owner: the guest has disks */
	bool is_in_step;      /* owner: the mirrors of all disks are in step */
	/* owner: a block of the standby's image differed, and no whole verification has ended
	 * since */
	bool knows_differing, is_differing;
	bool knows_verify, has_verify_failed; /* owner: the verification gave up */
	char verify_why[128];
	/* owner: a page of the standby's RAM differed; the verification of RAM gave up. An agent
	 * that reports neither does not verify RAM, which does not count as a fault */
	bool is_ram_differing, has_ram_failed;
	char ram_why[128];
	/* owner: interval between two epochs; 99 % of the intervals are at most this long */
	uint64_t interval_ns;
	bool knows_room_free, knows_room_needed; /* standby: the next two members are valid */
	uint64_t room_free_bytes, room_needed_bytes;
	/* how far a copy has come; percent is above 100 if there is none. left_s is valid if
	 * knows_left is true */
	uint8_t copy_percent;
	bool knows_left;
	uint64_t left_s;
};

/* Everything that a judgement is based on. Pointers are borrowed. */
struct health_view {
	uint64_t now_ns;
	const struct vm_fsm *fsm;
	const struct vm_relay *relay;
	uint64_t reported_ns[VM_HOSTS]; /* when each host's last report came; 0: never */
	const struct health_signs *signs[VM_HOSTS];
	const char *text[VM_HOSTS]; /* the text of each host's last report; "" if there is none */
	/* how long a record has waited for the disk of state_dir; 0: no record waits */
	uint64_t journal_waits_ns;
	/* why the last write to the disk of state_dir failed (an errno); 0: it succeeded */
	int journal_error;
	const char *fence_fault; /* why the fence command cannot be run; "": no reason is known */
};

/* A judgement. */
struct health {
	enum health_word word;
	uint64_t since_ns;	   /* since when `word` has been the VM's word */
	char missing[VM_TEXT_MAX]; /* what is missing; "" in SAFE */
	char next[HEALTH_NEXT_MAX]; /* what happens next, or what the operator can do */
};

/* What is remembered between judgements. A zeroed struct is the watch of a VM that was never
 * judged. */
struct health_watch {
	struct health shown;
	bool is_begun;
	uint64_t clear_ns;       /* since when nothing has been missing; 0: something is missing */
	struct health told;	 /* what the last event reported */
	uint64_t n_changes;	 /* how often the word changed */
	struct rate rate;	 /* limits the events */
	struct rate grave_rate;  /* a second limit, for grave words only */
	/* when the last reported failure began; 0: none. Each failure is reported, see
	 * health_watch() */
	uint64_t failed_ns;
	/* a grave word whose event had to wait because of the limits; valid if is_late. The word is
	 * reported later, even if it no longer applies then */
	struct health late;
	bool is_late;
};

/* Returns a constant such as "SAFE" or "NO-STANDBY". */
const char *health_word_name(enum health_word word);

/* Does the word mean that the guest serves nobody until somebody acts (COLD to NOT-SERVED, PAUSED)?
 * A change to such a word must always be reported; see health_watch(). */
bool health_word_is_grave(enum health_word word);
/* Is @name the name of a grave word? */
bool health_name_is_grave(const char *name);

/* Read what a report's @stats say. The sender may have put anything there that is valid for
 * wire_stats_next(). */
void health_read_signs(const char *stats, struct health_signs *ret_signs);

/* Judge @view. Does not set since_ns. */
void health_judge(const struct health_view *view, struct health *ret_health);

/* Set *ret_health to what health_watch() would show now. Remembers nothing. */
void health_look(const struct health_watch *watch, const struct health_view *view,
		 struct health *ret_health);

/* Judge @view and remember the result in watch->shown. Call this at least twice a second. Returns
 * true if operators must get an event now: from *ret_from to watch->told. There is one event for
 * each change of the word, but if the word changes too often, some events are left out. These
 * changes are always reported:
 * - the last change, and each change to a grave word, perhaps 10 s late. If several grave words
 *   wait for their events, only the gravest of them is reported
 * - each failure (the VM's state has become FAILED again), at once. A promotion was tried before
 *   each failure, so failures cannot be frequent */
bool health_watch(struct health_watch *watch, const struct health_view *view,
		  enum health_word *ret_from);

#endif
