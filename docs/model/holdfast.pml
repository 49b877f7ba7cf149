/* holdfast.pml - hold, commit, lease, term, vote and promotion of one VM: three parties, one fault
 * more than they can see. Read README.md first: what is abstracted, the bounds, how to run it.
 *
 *	P  the primary's agent, its guest and its hold (hostagent/vm/vm.c, ebpf/hold.bpf.c)
 *	G  the gateway (gateway/vm/fsm.c) with its journal
 *	S  the standby's agent with its copy (hostagent/standby/)
 *
 * The network is what has been said: a set of messages that only grows. Each may arrive late, twice,
 * after younger ones, or never. What is deliverable at the end of a run was not lost for good, since
 * every order and answer is repeated until it is known. Everything here is a step that cannot be
 * undone, so each run ends, and what it ends in is checked.
 */
#ifndef POLICY
#define POLICY 0 /* gateway lost: HOLD, UNPROTECTED or DIRECT */
#endif
#define HOLD	    0
#define UNPROTECTED 1
#define DIRECT	    2

#ifndef EPOCHS
#define EPOCHS 2
#endif
#define TERMS 3
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef BEATS
#define BEATS 1 /* renewals; then P is silent */
#endif
#ifndef CUTS
#define CUTS 2 /* power cuts of everything, with COLD */
#endif
#ifndef SKIPS
#define SKIPS 0 /* ticks that P's clock may lose against the others' */
#endif
#if defined(BUG_PATIENCE_WITHOUT_DRIFT)
#define PATIENCE (LEASE + SKIPS)
#else
#define PATIENCE (1 + SKIPS + 1) /* the guest stands still one tick before */
#endif
#if defined(BUG_LEASE_LONGER_THAN_PATIENCE)
#define LEASE (PATIENCE + 1)
#else
#define LEASE 1
#endif

#define HAS(set, n)  ((set >> (n)) & 1)
#define ADD(set, n)  set = set | (1 << (n))
#define MAX(a, b)    (a > b -> a : b)

/* P and S may believe that G is lost when it is not: their links to it are cut, its own are not. */
#if defined(NO_CUT)
#define G_SEEMS_LOST (!g_alive)
#else
#define G_SEEMS_LOST true
#endif

/* ---- properties; pan prints the number of the one that does not hold */
#define ONE_OWNER_SPEAKS	       1
#define NO_RELEASED_OUTPUT_IS_LOST     2
#define IT_ENDS_WITH_AN_OWNER	       3
#define OLD_GUEST_STANDS_STILL	       4
#define NO_VOTE_WHILE_GATEWAY_IS_THERE 5
#define A_CHANGE_OF_THE_TABLE	       6
#define VERIFY_SAYS_WHAT_IS_TRUE       7
#define THE_LAST_COPY_STAYS	       8

#if defined(ONLY)
#define IS_CHECKED(property) (property == ONLY)
#else
#define IS_CHECKED(property) true
#endif

byte broken;

inline must(property, holds)
{
	if
	:: !IS_CHECKED(property) || (holds)
	:: else -> broken = property; assert(broken != property)
	fi
}

/* ---- P */
mtype = {PRIMARY, RUNNING, FENCED};
mtype = {DROP, HOLDING, PASS};
bool p_alive = true, p_host = true; /* the agent; the machine with the guest */
bool p_run = true;		    /* the guest runs */
mtype p_role = PRIMARY;		    /* on file */
byte p_term = 1;		    /* on file */
mtype p_mode = HOLDING;		    /* pinned in the kernel; DROP once the agent is dead */
byte p_epoch = 1;		    /* the open one; each has output */
byte p_held;			    /* set of sealed epochs whose output this agent keeps */
byte p_lease = LEASE;		    /* ticks left */
byte p_asked;			    /* term that it asks S for */
bool p_full = true;		    /* the next epoch is a FULL one */
#if defined(RECOPY)
bool p_copies, p_stuck, p_copied;   /* it copies a disk again, and seals nothing; for good; it did so once */
#define P_COPIES p_copies
#else
#define P_COPIES false
#endif
#if defined(END)
bool p_ended;			    /* its old guest was ended; it stands by */
#endif
#if defined(MOVE)
bool p_moved;			    /* it has carried the order MOVE out, or begun to */
bool p_stop;			    /* its guest stands still for the move */
bool p_let;			    /* it has let go of the guest: it speaks no more */
byte p_last;			    /* the guest's last epoch */
#define P_STOPS p_stop
#define P_LET	p_let
#else
#define P_STOPS false
#define P_LET	false
#endif
byte p_released;		    /* last epoch of which output left */
bool p_free;			    /* output left that no epoch holds */

/* ---- G; g_term, g_owner_s and g_state are the journal */
mtype = {PROTECTED, PROMOTING, FAILED, ALONE}; /* ALONE: VM_UNPROTECTED */
bool g_alive = true, g_gone;	    /* gone: for good */
byte g_term = 1;
bool g_owner_s;
mtype g_state = PROTECTED;
byte g_committed;
byte g_silence;			    /* ticks since the last lease was granted, at most PATIENCE */
bool g_ordered;			    /* this run of G has ordered what the state wants */
#if defined(MOVE)
mtype = {NO_MOVE, ORDERED, OVER};
mtype g_move = NO_MOVE;		    /* one, in term 1; OVER: done, given up, or forgotten */
#endif

/* ---- S; all but s_alive is on file */
mtype = {COPY, OWNER, STOPPED};
bool s_alive = true, s_gone;
mtype s_phase = COPY;
byte s_term = 1;
byte s_complete;
byte s_vote;
byte s_silence = PATIENCE;	    /* ticks since it granted a lease (direct only) */
byte s_base;			    /* the epoch that its guest went on from */
bool s_spoke;

/* ---- the network */
byte epoch_term[EPOCHS + 1], epoch_full;
byte m_epoch_pg, m_epoch_gs, m_ack, m_commit; /* sets of epochs */
byte m_promote, m_promoted, m_refused, m_fence, m_unprotect, m_stop, m_stopped; /* sets of terms */
byte m_ask, m_vote;
byte m_lowest[TERMS + 2]; /* of PROMOTE, by its term */
byte m_beat_g, m_beat_s, m_grant; /* of the youngest beat only; older ones change nothing */
byte beat_age = LEASE;
bool m_verdict;
#if defined(LIE) || defined(BUG_ONE_VOICE)
byte m_lie; /* P's, who is fenced: that it runs the guest in this term */
#endif
#if defined(STOP)
byte m_drop; /* STANDBY_STOP once a protection has ended; a set of terms */
#endif
#if defined(END)
byte m_start; /* STANDBY_START for P; a set of terms */
#endif
#if defined(BUG_ONE_VOICE) || defined(OLD_JOURNAL)
bool m_fence_s;
#endif
#if defined(MOVE)
bool m_move, m_go_on; /* MOVE, and PROTECT of the same term */
byte m_let;	      /* the answer to MOVE: the last epoch; 0: none */
#endif
#if defined(COLD)
/* ---- a power cut of everything. The disks keep: G's journal; p_role, p_term; s_ran, s_copy; and each guest's own
 * disk, which has all that the guest has let clients know. */
bool cut;
byte n_cuts;
byte s_ran;		 /* S's role file: its guest may have run in this term; 0: it stood by, or stopped */
bool s_blank;		 /* S has lost its files */
bool s_fenced;		 /* S's role file: fenced, in s_fterm */
byte s_fterm;
byte s_copy;		 /* S's images are this epoch, whole; 0: no copy */
bool p_up, s_up, c_up;	 /* P, S, G are there again */
bool hears_p, hears_s;	 /* G hears them */
bool p_cold, s_cold;	 /* the guest runs there since a cold start */
bool p_spoke;		 /* and has spoken */
bool c_start;		 /* this run of G has decided */
bool p_dead, s_dead;	 /* never back */
byte n_flaps;
byte c_start_p, c_start_s, c_fence_p, c_fence_s; /* START and FENCE; sets of terms */
#define COLD_TERMS 6
#endif
bool m_nothing_held; /* S says at the opening of a stream: RESUME(0) */
#if defined(VERIFY)
byte m_hash;	     /* set of epochs that carry hashes of the guest's memory as it was at their seal */
byte s_compare;	     /* S has applied this epoch, and has not compared its hashes; 0: nothing to compare */
bool s_wrong, n_wrong; /* a page of the copy is wrong; this has happened */
/* The copy is compared with an epoch's hashes before the next epoch is applied. */
#if defined(BUG_VERIFY_WRONG_EPOCH)
#define S_COMPARES false
#else
#define S_COMPARES (s_compare != 0)
#endif
#else
#define S_COMPARES false
#endif

#if defined(OLD_JOURNAL)
bool g_is_old; /* G has an old journal, and hosts obey it */
#endif
#if defined(OLD_GATEWAY)
bool g_is_old; /* an old copy of G has its place: journal and incarnation are those of before */
#endif

byte n_crashes, n_beats, n_skips;
bool calm; /* no more faults: what is dead stays dead, beats arrive in time */

/* ---- what a client sees */
inline p_speaks(n) /* output of epochs <= n */
{
	p_released = MAX(p_released, n);
	must(NO_RELEASED_OUTPUT_IS_LOST, s_phase != OWNER || n <= s_base);
	must(ONE_OWNER_SPEAKS, !s_spoke);
}

inline p_speaks_freely()
{
	p_free = true;
	must(ONE_OWNER_SPEAKS, !s_spoke);
	must(NO_RELEASED_OUTPUT_IS_LOST, s_phase != OWNER);
}

/* ---- P */
inline p_release(n)
{
	k = 1;
	do
	:: k <= n -> p_held = p_held & ~(1 << k); k++
	:: else -> break
	od;
	p_speaks(n);
	k = 0;
}

#if defined(BUG_RELEASE_BEFORE_COMMIT)
#define COMMITTED(n) (n < p_epoch)
#else
#define COMMITTED(n) (HAS(m_commit, n) || (POLICY == DIRECT && p_term > 1 && HAS(m_ack, n)))
#endif
#define MAY_RELEASE(n) (n <= EPOCHS && p_alive && HAS(p_held, n) && epoch_term[n] == p_term && \
			p_mode == HOLDING && COMMITTED(n))
#if defined(BUG_NO_LEASE)
#define LEASED true
#else
#define LEASED (p_lease > 0)
#endif
#if defined(BUG_VERDICT_KEEPS_OUTPUT)
#define KEPT p_held
#else
#define KEPT 0
#endif

/* G's incarnation is lower than that of the gateway which both hosts have obeyed: they take nothing of it, and
 * tell it nothing. */
#if defined(OLD_GATEWAY) && !defined(BUG_OBEYS_OLDER_GATEWAY)
#define G_OBEYED (g_alive && !g_is_old)
#else
#define G_OBEYED g_alive
#endif
/* A host is in a newer term than G's journal, and the other has not confirmed it: G begins no term, orders nothing. */
#if defined(BUG_CONFLICT_ACTS)
#define G_MAY_ACT G_OBEYED
#elif defined(OLD_JOURNAL)
#define G_MAY_ACT (G_OBEYED && s_term <= g_term && p_term <= g_term)
#elif defined(LIE)
#define G_MAY_ACT (G_OBEYED && m_lie <= g_term)
#else
#define G_MAY_ACT G_OBEYED
#endif

#define P_SERVES (p_alive && p_role == PRIMARY)
#define G_PROTECTS (G_OBEYED && g_state == PROTECTED)
#define G_MAY_END  (G_MAY_ACT && g_state == PROTECTED)
#define S_COPIES (s_alive && s_phase == COPY)
#define S_IS_DIRECT (POLICY == DIRECT && S_COPIES && s_vote && s_vote == s_term)
/* Its beats get an answer; one is under way. */
#define ANSWERED  (P_SERVES && !P_LET && ((G_PROTECTS && g_term == p_term) || (S_IS_DIRECT && s_vote == p_term)))
#define UNDER_WAY (m_grant || (G_PROTECTS && m_beat_g == g_term) || (S_IS_DIRECT && m_beat_s == s_vote))

inline p_enter(t) /* a term that it agreed to: what was said in the old one is void */
{
	p_term = t;
	p_asked = 0;
#if defined(MOVE)
	p_lease = (p_stop -> 0 : p_lease); /* it goes on with a lease of the new term */
	p_stop = false; p_let = false;
#endif
	m_beat_g = 0; m_beat_s = 0; m_grant = 0;
	beat_age = LEASE;
	p_held = 0;
	m_epoch_pg = 0; m_epoch_gs = 0;
}

inline p_fence(t)
{
	p_role = FENCED;
	p_enter(t);
	p_mode = DROP; p_run = false; p_lease = 0
}

#if defined(END)
inline p_end() /* a guest that has ended by itself has nothing to lose */
{
	p_ended = true;
	must(NO_RELEASED_OUTPUT_IS_LOST, m_verdict || (s_phase == OWNER && p_released <= s_base))
}
#endif

proctype P()
{
	byte k, n;

end:	do
	/* seal: guest stopped, hold's counter moved, guest resumed; then sent */
	:: atomic { P_SERVES && p_run && p_mode == HOLDING && p_epoch <= EPOCHS && !P_COPIES ->
		epoch_term[p_epoch] = p_term;
		if
		:: p_full -> ADD(epoch_full, p_epoch); p_full = false
		:: else
		fi;
		ADD(p_held, p_epoch);
		ADD(m_epoch_pg, p_epoch);
#if defined(VERIFY)
		if
		:: true
		:: ADD(m_hash, p_epoch)
		fi;
#endif
		p_epoch++;
	   }
#if defined(RECOPY)
	/* a disk falls out of step; the copy ends with a FULL epoch, or never */
	:: atomic { P_SERVES && p_run && p_term == 1 && !p_copied && !calm ->
		p_copied = true; p_copies = true;
		if
		:: true
		:: p_stuck = true
		fi
	   }
	:: atomic { P_SERVES && p_copies && !p_stuck -> p_copies = false; p_full = true }
#endif
	:: atomic { m_nothing_held && P_SERVES -> m_nothing_held = false; p_full = true }
	/* COMMIT(n) of its own term, while the lease lasts */
#if defined(LIMIT_STALL_IN_RELEASE)
	:: MAY_RELEASE(1) && LEASED -> atomic { p_release(1) }
	:: MAY_RELEASE(2) && LEASED -> atomic { p_release(2) }
#else
	:: atomic { MAY_RELEASE(1) && LEASED -> p_release(1) }
	:: atomic { MAY_RELEASE(2) && LEASED -> p_release(2) }
#if EPOCHS > 2
	:: atomic { MAY_RELEASE(3) && LEASED -> p_release(3) }
#endif
#endif
	/* a beat; the lease that answers it counts from now */
	:: atomic { (calm -> ANSWERED && p_lease == 0 && !UNDER_WAY : P_SERVES && n_beats < BEATS) ->
		n_beats = (calm -> n_beats : n_beats + 1);
		m_beat_g = (g_gone -> 0 : p_term);
		m_beat_s = (POLICY == DIRECT && p_term > 1 -> p_term : 0);
		m_grant = 0;
		beat_age = 0;
	   }
	:: atomic { P_SERVES && m_grant == p_term && m_grant ->
#if defined(BUG_LEASE_FROM_RECEIPT)
		p_lease = LEASE;
#else
		p_lease = MAX(p_lease, LEASE - beat_age);
#endif
#if defined(MOVE) && !defined(BUG_MOVE_KEEPS_LEASE)
		p_lease = (p_let -> 0 : p_lease);
#endif
		m_grant = 0;
		beat_age = LEASE;
#if defined(BUG_MOVE_KEEPS_LEASE)
		p_run = (p_lease > 0 || p_run);
#else
		p_run = ((p_lease > 0 && !P_STOPS) || p_run);
#endif
	   }
#if defined(MOVE)
	/* MOVE: the guest stops, its last epoch is sealed and sent */
	:: atomic { P_SERVES && m_move && !p_moved && p_term == 1 && p_run && LEASED && p_mode == HOLDING &&
		    p_epoch <= EPOCHS && !P_COPIES ->
		p_moved = true; p_stop = true; p_run = false;
		epoch_term[p_epoch] = p_term;
		if
		:: p_full -> ADD(epoch_full, p_epoch); p_full = false
		:: else
		fi;
		ADD(p_held, p_epoch);
		ADD(m_epoch_pg, p_epoch);
		p_last = p_epoch;
		p_epoch++;
	   }
	/* all is committed and released: it lets go of the guest, and then says so */
	:: atomic { P_SERVES && p_stop && !p_let && p_term == 1 && p_held == 0 && LEASED ->
		p_let = true;
#if !defined(BUG_MOVE_KEEPS_LEASE)
		p_lease = 0;
#endif
		m_let = p_last
	   }
	/* the lease was over before: the guest goes on with the next one */
	:: atomic { P_SERVES && p_stop && !p_let && !LEASED -> p_stop = false }
	:: atomic { P_SERVES && m_go_on && p_stop && p_term == 1 ->
		m_go_on = false; p_stop = false; p_let = false;
		p_run = (p_lease > 0)
	   }
#endif
	/* the lease is over: the guest stops, the hold releases nothing (MAY_RELEASE) */
	:: atomic { P_SERVES && p_run && !LEASED -> p_run = false }
#if !defined(COLD) /* its role file says PRIMARY on; here it does not */
	/* its guest has ended by itself */
	:: atomic { P_SERVES && p_run && n_crashes < CRASHES && !calm ->
		n_crashes++;
		p_run = false; p_epoch = EPOCHS + 1; m_beat_g = 0; m_beat_s = 0;
		p_held = KEPT;
#if !defined(BUG_VERDICT_KEEPS_OUTPUT)
		p_lease = 0; p_role = FENCED; /* it serves no more in this term, and says so */
#endif
		m_verdict = true;
	   }
#endif
	/* orders */
	:: atomic { p_alive && m_fence >> (p_term + 1) -> p_fence((HAS(m_fence, 3) -> 3 : 2)) }
#if defined(END)
	/* STANDBY_START: who is fenced already ends the old guest, who serves is only fenced */
	:: atomic { (P_SERVES || (p_alive && p_role == FENCED)) && !p_ended && m_start >> (p_term + 1) ->
#if defined(BUG_END_UNFENCED)
		p_fence((HAS(m_start, 3) -> 3 : 2));
		p_end()
#else
		if
		:: p_role == FENCED -> p_end()
		:: else -> p_fence((HAS(m_start, 3) -> 3 : 2))
		fi
#endif
	   }
#endif
	:: atomic { P_SERVES && m_unprotect >> p_term ->
		p_enter((HAS(m_unprotect, 3) -> 3 : 2));
		p_role = RUNNING; p_mode = PASS; p_run = true; p_lease = 0
	   }
	/* the gateway is lost: a new term by the standby's vote */
#if POLICY != HOLD
	:: atomic { P_SERVES && p_lease == 0 && G_SEEMS_LOST && p_term == 1 &&
		    p_asked == 0 -> p_asked = 2; ADD(m_ask, 2) }
	:: atomic { P_SERVES && p_asked == 2 && p_term == 1 && HAS(m_vote, 2) ->
		p_enter(2);
#if POLICY == UNPROTECTED
		p_role = RUNNING; p_mode = PASS; p_run = true
#else
		p_full = true; /* held output of the old term is dropped ... */
		n_beats = 0;   /* ... and the guest waits for a lease of S */
#if defined(BUG_DIRECT_WITHOUT_LEASE)
		p_run = true
#endif
#endif
	   }
#endif
	:: atomic { p_host && p_role == RUNNING && p_run && p_mode == PASS && !p_free ->
		p_speaks_freely() }
#if defined(LIE)
	:: atomic { p_alive && p_role == FENCED && m_lie == 0 && g_term < TERMS -> m_lie = g_term + 1 }
#endif
#if defined(BUG_RESTART_OPENS_HOLD)
	:: atomic { p_host && p_role == PRIMARY && p_run && p_mode == PASS && !p_free ->
		p_speaks_freely() }
#endif
	od
}

/* ---- G */

/* The gateway's own table of changes: fsm.c is built from the same text. @follows: two voices said so. */
#include "../../gateway/vm/fsm_table.h"
#define G_UNPROTECTED ALONE
#define G_PREPARING   0 /* not modelled: no state is 0 */
#define G_SYNCING     0
#define G_PROTECTED   PROTECTED
#define G_PROMOTING   PROMOTING
#define G_FAILED      FAILED
#define G_OWNER_KEPT  (owner_s == g_owner_s)
#define G_OWNER_OTHER (owner_s != g_owner_s)
#define G_OWNER_ANY   true
#define G_TERM_SAME   (t == g_term)
#define G_TERM_NEW    (t > g_term)
#define G_BY_OWN      true
#define G_BY_FOLLOW   follows
#define G_ROW(from, to, owner, term, by) || (g_state == G_##from && state == G_##to && \
					     G_OWNER_##owner && G_TERM_##term && G_BY_##by)

inline g_check(t, owner_s, state, follows)
{
	must(A_CHANGE_OF_THE_TABLE, false VM_TRANSITIONS(G_ROW))
}

inline g_enter(state)
{
	g_check(g_term, g_owner_s, state, false);
	g_state = state
}

inline g_journal(t, owner_s, state, follows)
{
	g_check(t, owner_s, state, follows);
#if defined(MOVE)
	g_move = OVER;
#endif
	g_term = t;
	g_owner_s = owner_s;
	g_state = state;
	g_ordered = false;
	g_committed = 0;
	g_silence = (state == ALONE -> PATIENCE : g_silence);
	m_beat_g = (m_beat_g >= t -> m_beat_g : 0);
}

#if defined(BUG_FAILOVER_AT_ONCE)
#define LEASE_OVER true
#else
#define LEASE_OVER (g_silence >= PATIENCE || m_verdict)
#endif

inline g_relay(n)
{
	m_epoch_pg = m_epoch_pg & ~(1 << n);
	ADD(m_epoch_gs, n);
}

inline g_commit(n)
{
	g_committed = MAX(g_committed, n);
	ADD(m_commit, n);
}

#if POLICY == DIRECT && !defined(FULL)
#define ORDER_TIMES_OUT false
#else
#define ORDER_TIMES_OUT (!calm)
#endif
#define MAY_RELAY(n)  (n <= EPOCHS && G_PROTECTS && HAS(m_epoch_pg, n) && epoch_term[n] == g_term)
#if defined(BUG_COMMIT_OF_OLD_TERM)
#define MAY_COMMIT(n) (n <= EPOCHS && g_alive && HAS(m_ack, n) && !HAS(m_commit, n))
#else
#define MAY_COMMIT(n) (n <= EPOCHS && G_PROTECTS && HAS(m_ack, n) && !HAS(m_commit, n) && \
		       epoch_term[n] == g_term)
#endif

proctype G()
{
end:	do
	:: atomic { G_PROTECTS && m_beat_g == g_term ->
		m_beat_g = 0; m_grant = g_term; g_silence = 0 }
	:: atomic { MAY_RELAY(1) -> g_relay(1) }
	:: atomic { MAY_RELAY(2) -> g_relay(2) }
	:: atomic { MAY_COMMIT(1) -> g_commit(1) }
	:: atomic { MAY_COMMIT(2) -> g_commit(2) }
#if EPOCHS > 2
	:: atomic { MAY_RELAY(3) -> g_relay(3) }
	:: atomic { MAY_COMMIT(3) -> g_commit(3) }
#endif
	/* a failover: silence, a verdict, an operator, at any time. Journal, then order; and the order
	 * only once no lease is left. */
#if defined(BUG_JOURNAL_AFTER_ORDER)
	:: atomic { G_MAY_END && g_term < TERMS && !calm && LEASE_OVER && !HAS(m_promote, g_term + 1) ->
		m_lowest[g_term + 1] = MAX(g_committed, 1); ADD(m_promote, g_term + 1) }
	:: atomic { G_MAY_END && HAS(m_promote, g_term + 1) -> g_journal(g_term + 1, true, PROMOTING, false);
		g_ordered = true }
#else
	:: atomic { G_MAY_END && g_term < TERMS && (!calm || LEASE_OVER) ->
		m_lowest[g_term + 1] = MAX(g_committed, 1);
		g_journal(g_term + 1, true, PROMOTING, false);
	   }
#endif
#if defined(MOVE)
	/* a move: once P has let go, its lease is no matter */
	:: atomic { G_MAY_END && g_move == NO_MOVE && g_term == 1 && !calm -> g_move = ORDERED; m_move = true }
#if defined(BUG_MOVE_BY_REPORT)
	:: atomic { G_MAY_END && g_move != NO_MOVE && m_let && g_term == 1 ->
#else
	:: atomic { G_MAY_END && g_move == ORDERED && m_let && g_term == 1 ->
#endif
		m_lowest[2] = MAX(m_let, g_committed);
		g_journal(2, true, PROMOTING, false);
		g_silence = PATIENCE
	   }
	/* it is given up, for any reason */
	:: atomic { g_alive && g_move == ORDERED -> g_move = OVER; m_go_on = true }
	/* P reports that its guest stands still, and no move is under way */
	:: atomic { G_MAY_ACT && g_state == PROTECTED && g_term == p_term && g_move == OVER && P_SERVES && p_stop &&
		    !m_go_on -> m_go_on = true }
#endif
#if defined(RECOPY) && !defined(BUG_COPY_WITHOUT_LIMIT)
	/* P beats, and its copy comes no further, or takes too long */
	:: atomic { G_MAY_END && g_term < TERMS && P_SERVES && p_term == g_term && p_copies && p_stuck ->
		if
		:: m_lowest[g_term + 1] = MAX(g_committed, 1);
			g_journal(g_term + 1, true, PROMOTING, false)
		:: g_journal(g_term + 1, false, ALONE, false); ADD(m_unprotect, g_term)
		fi
	   }
#endif
	:: atomic { G_MAY_ACT && g_state == PROMOTING && !g_ordered && LEASE_OVER ->
		g_ordered = true; ADD(m_promote, g_term) }
	:: atomic { G_OBEYED && g_owner_s && g_state != ALONE && HAS(m_promoted, g_term) ->
		g_enter(ALONE); g_silence = PATIENCE }
#if defined(END)
	:: atomic { G_MAY_ACT && g_owner_s && g_state == ALONE && !HAS(m_fence, g_term) && !HAS(m_start, g_term) ->
		ADD(m_fence, g_term) }
	/* `protect`: P is to be the standby, once S has said that it runs the guest */
#if defined(BUG_END_UNCONFIRMED)
	:: atomic { G_MAY_ACT && g_state == PROMOTING && !HAS(m_start, g_term) -> ADD(m_start, g_term) }
#endif
	:: atomic { G_MAY_ACT && g_owner_s && g_state == ALONE && g_term < TERMS && HAS(m_promoted, g_term) && !calm ->
		g_journal(g_term + 1, true, ALONE, false); ADD(m_start, g_term) }
#else
	:: atomic { G_MAY_ACT && g_owner_s && g_state == ALONE && !HAS(m_fence, g_term) ->
		ADD(m_fence, g_term) }
#endif
	/* it said no, or nothing in time */
	:: atomic { g_alive && g_state == PROMOTING && g_ordered && !HAS(m_promoted, g_term) &&
		    (HAS(m_refused, g_term) || ORDER_TIMES_OUT) -> g_enter(FAILED) }
	/* the operator: try again, or give the guest back to P */
	:: atomic { G_MAY_ACT && g_state == FAILED && g_term < TERMS ->
		m_lowest[g_term + 1] = m_lowest[g_term];
		g_journal(g_term + 1, true, PROMOTING, false) }
#if defined(BUG_GIVE_BACK_UNASKED)
	:: atomic { G_MAY_ACT && g_state == FAILED && g_term < TERMS && s_alive && s_phase != OWNER ->
#else
	:: atomic { G_MAY_ACT && g_state == FAILED && !HAS(m_stop, g_term) -> ADD(m_stop, g_term) }
	:: atomic { G_MAY_ACT && g_state == FAILED && g_term < TERMS && HAS(m_stopped, g_term) ->
#endif
		g_journal(g_term + 1, false, ALONE, false); ADD(m_unprotect, g_term) }
	/* both hosts say that they had agreed on P in this very term: S takes no PROMOTE of it */
	:: atomic { G_MAY_ACT && g_state == FAILED && g_term < TERMS && HAS(m_vote, g_term) &&
		    P_SERVES && p_term == g_term ->
		g_journal(g_term + 1, false, ALONE, false); ADD(m_unprotect, g_term) }
	/* an operator's unprotect, or standby_lost = unprotected: P and G are two */
	:: atomic { G_MAY_END && g_term < TERMS && !calm -> g_journal(g_term + 1, false, ALONE, false);
		ADD(m_unprotect, g_term) }
#if defined(STOP)
	/* the protection has ended: S drops its copy, but not before P has reported that it runs the released guest */
#if defined(BUG_STOP_BEFORE_RELEASE)
	:: atomic { G_MAY_ACT && !g_owner_s && g_state == ALONE && !HAS(m_drop, g_term) -> ADD(m_drop, g_term) }
#else
	:: atomic { G_MAY_ACT && !g_owner_s && g_state == ALONE && !HAS(m_drop, g_term) && p_alive && p_run &&
		    p_role == RUNNING && p_term == g_term -> ADD(m_drop, g_term) }
#endif
#endif
#if POLICY != HOLD
	/* back again: P and S went on without it */
#if defined(BUG_ADOPT_WHAT_IS_DECIDED)
	:: atomic { g_alive && HAS(m_vote, 2) && (g_term < 2 || (g_term == 2 && g_state == ALONE)) ->
#elif defined(BUG_ADOPT_EQUAL_TERM)
	:: atomic { g_alive && HAS(m_vote, 2) &&
		    (g_term < 2 || (g_term == 2 && g_owner_s && g_state != ALONE)) ->
#else
	:: atomic { g_alive && HAS(m_vote, 2) && g_term < 2 ->
#endif
		g_journal(2, false, (POLICY == DIRECT -> PROTECTED : ALONE), true);
		m_lowest[3] = 1 }
#endif
#if defined(OLD_JOURNAL)
	/* an old journal: both hosts say that S owns the guest in a newer term */
	:: atomic { g_alive && g_is_old && s_phase == OWNER && s_alive && s_term > g_term &&
		    p_alive && p_role == FENCED && p_term == s_term ->
		g_journal(s_term, true, ALONE, true) }
	/* or, with nobody to confirm it, standby_lost = unprotected: the next term after all that were heard of */
	:: atomic { G_MAY_END && g_is_old && s_term > g_term && s_term < TERMS && !calm ->
		g_journal(s_term + 1, false, ALONE, false); ADD(m_unprotect, g_term) }
	/* whoever runs it in an older term is outvoted */
	:: atomic { G_MAY_ACT && g_is_old && !g_owner_s && g_state == ALONE && s_phase == OWNER &&
		    s_term < g_term && !m_fence_s -> m_fence_s = true }
#endif
#if defined(BUG_ONE_VOICE)
	/* the fenced P says that it runs the guest in a newer term, and is believed */
	:: atomic { g_alive && m_lie > g_term && g_state == ALONE -> g_journal(m_lie, false, ALONE, true);
		m_fence_s = true }
#endif
	od
}

/* ---- S */
#define MAY_TAKE(n) (n <= EPOCHS && S_COPIES && !S_COMPARES && epoch_term[n] == s_term && n > s_complete && \
		     (HAS(epoch_full, n) || n == s_complete + 1) && \
		     (HAS(m_epoch_gs, n) || (S_IS_DIRECT && HAS(m_epoch_pg, n))))

inline s_take(n)
{
	s_complete = n;
	ADD(m_ack, n);
#if defined(VERIFY)
	s_compare = (HAS(m_hash, n) -> n : s_compare);
	s_wrong = (HAS(epoch_full, n) -> false : s_wrong);
	if
	:: true
	:: !n_wrong -> n_wrong = true; s_wrong = true /* a write was missed, or lost */
	fi
#endif
}

#if defined(VERIFY)
/* Epochs change the page that is compared: it equals the hashes of the one epoch that was applied last, unless it is
 * wrong. If it differs, the next epoch has it whole. */
inline s_verify()
{
	if
	:: s_complete == s_compare && !s_wrong -> must(VERIFY_SAYS_WHAT_IS_TRUE, !s_wrong)
	:: else -> must(VERIFY_SAYS_WHAT_IS_TRUE, s_wrong); p_full = true
	fi;
	s_compare = 0
}
#endif

#if defined(BUG_STANDBY_IGNORES_VOTE)
#define VOTE_ALLOWS(t) true
#elif POLICY == UNPROTECTED && !defined(BUG_VOTE_BINDS_ITS_TERM_ONLY)
#define VOTE_ALLOWS(t) (s_vote == 0) /* what S holds is older than what P says from then on */
#else
#define VOTE_ALLOWS(t) (t > s_vote)
#endif
#if defined(BUG_STANDBY_IGNORES_EPOCH)
#define HOLDS_ENOUGH(t) true
#else
#define HOLDS_ENOUGH(t) (s_complete > 0 && s_complete >= m_lowest[t])
#endif
#if defined(BUG_PROMOTE_WITHOUT_STANDBY)
#define CONSENTS(t) true
#else
#define CONSENTS(t) (t > s_term && VOTE_ALLOWS(t) && HOLDS_ENOUGH(t))
#endif
#if defined(BUG_DIRECT_WITHOUT_PATIENCE)
#define S_LEASE_OVER true
#else
#define S_LEASE_OVER (s_silence >= PATIENCE)
#endif

inline s_promote(t)
{
	if
	:: CONSENTS(t) ->
		s_phase = OWNER;
#if defined(COLD) && !defined(BUG_COLD_ROLE_AFTER_RUN)
		s_ran = t; /* on the disk, before the guest's first instruction */
#endif
		s_term = t;
		s_base = s_complete;
		ADD(m_promoted, t);
		must(NO_RELEASED_OUTPUT_IS_LOST, p_released <= s_base && !p_free);
		must(OLD_GUEST_STANDS_STILL, !(P_SERVES && p_run))
	:: else -> ADD(m_refused, t)
	fi
}

#define ASKED_TO_PROMOTE(t) (HAS(m_promote, t) && !HAS(m_refused, t) && !HAS(m_promoted, t))

proctype S()
{
end:	do
	:: atomic { MAY_TAKE(1) -> s_take(1) }
	:: atomic { MAY_TAKE(2) -> s_take(2) }
#if EPOCHS > 2
	:: atomic { MAY_TAKE(3) -> s_take(3) }
#endif
#if defined(VERIFY)
	:: atomic { S_COPIES && s_compare -> s_verify() }
#endif
	:: atomic { s_alive && s_phase != OWNER && ASKED_TO_PROMOTE(2) && S_LEASE_OVER -> s_promote(2) }
	:: atomic { s_alive && s_phase != OWNER && ASKED_TO_PROMOTE(3) && S_LEASE_OVER -> s_promote(3) }
	/* its guest runs whether or not its agent does */
	:: atomic { s_phase == OWNER && !s_spoke && !s_gone -> s_spoke = true }
#if defined(BUG_COLD_ROLE_AFTER_RUN)
	:: atomic { s_phase == OWNER && s_spoke && !s_gone && s_ran == 0 -> s_ran = s_term }
#endif
#if defined(BUG_ONE_VOICE) || defined(OLD_JOURNAL)
	:: atomic { s_alive && s_phase == OWNER && m_fence_s -> s_phase = STOPPED }
#endif
	/* STANDBY_STOP: no promotion from here on; the answer says so */
	:: atomic { s_alive && s_phase != OWNER && m_stop != m_stopped && m_stop >> (s_vote + 1) ->
		s_phase = STOPPED; s_complete = 0; m_stopped = m_stop }
#if defined(STOP)
	:: atomic { s_alive && s_phase == COPY && m_drop >> (s_vote + 1) ->
		s_phase = STOPPED; s_complete = 0;
		must(THE_LAST_COPY_STAYS, p_role == RUNNING) }
#endif
#if POLICY != HOLD
#if defined(BUG_VOTE_AFTER_PROMOTION)
	:: atomic { s_alive && HAS(m_ask, 2) && !HAS(m_vote, 2) && G_SEEMS_LOST ->
#elif defined(BUG_VOTE_WITH_GATEWAY)
	:: atomic { s_alive && s_phase != OWNER && s_term < 2 && s_vote < 2 && HAS(m_ask, 2) ->
#else
	:: atomic { s_alive && s_phase != OWNER && (s_phase == COPY || POLICY == UNPROTECTED) &&
		    s_term < 2 && s_vote < 2 && HAS(m_ask, 2) && G_SEEMS_LOST ->
#endif
		must(NO_VOTE_WHILE_GATEWAY_IS_THERE, G_SEEMS_LOST);
		s_vote = 2; /* on file before it is said */
		ADD(m_vote, 2);
#if POLICY == DIRECT
		s_term = 2 /* the old copy stays until the FULL epoch is whole */
#endif
	   }
#endif
#if POLICY == DIRECT
	:: atomic { S_IS_DIRECT && m_beat_s == s_vote ->
		m_beat_s = 0; m_grant = s_vote; s_silence = 0 }
#endif
	od
}

/* ---- time: each tick is one for all; P's clock may lose one. Nobody's timer is late: an agent
 * that lives stops its guest before the next tick. */
proctype Clock()
{
end:	do
	:: atomic { !(P_SERVES && p_run && !LEASED) &&
		    !(calm && ANSWERED) &&
		    (p_lease > 0 || beat_age < LEASE || g_silence < PATIENCE ||
		     s_silence < PATIENCE) ->
		g_silence = (g_silence < PATIENCE -> g_silence + 1 : g_silence);
		s_silence = (s_silence < PATIENCE -> s_silence + 1 : s_silence);
		if
		:: n_skips < SKIPS && (p_lease > 0 || beat_age < LEASE) -> n_skips++
		:: true ->
			p_lease = (p_lease > 0 -> p_lease - 1 : 0);
			beat_age = (beat_age < LEASE -> beat_age + 1 : beat_age)
		fi
	   }
	od
}

/* ---- faults: any party, at any moment; back again or gone for good */
#define MAY_CRASH (n_crashes < CRASHES && !calm)

inline g_put_back()
{
	g_term = 1; g_owner_s = false; g_state = PROTECTED;
	g_committed = 0; g_ordered = false
}

proctype Faults()
{
end:	do
	:: atomic { MAY_CRASH && p_alive -> n_crashes++; p_alive = false; /* kill -9 of the agent */
		p_held = 0; p_lease = 0; p_asked = 0; p_full = true;
#if defined(MOVE)
		p_stop = false; p_let = false;
		m_let = 0; m_move = false; /* they end with the connection */
#endif
#if defined(RECOPY)
		p_copies = false;
#endif
		p_mode = (p_mode == HOLDING -> DROP : p_mode);
		m_beat_g = 0; m_beat_s = 0; m_grant = 0; beat_age = LEASE;
		if
		:: true
		:: p_host = false; p_run = false /* the host */
		fi }
	:: atomic { p_host && !p_alive -> p_alive = true; /* the pinned hold is taken over, closed */
#if defined(BUG_RESTART_OPENS_HOLD)
		p_mode = (p_role == PRIMARY -> PASS : p_mode) }
#else
		p_run = (p_role == PRIMARY -> LEASED : p_run); /* it has none yet */
		p_mode = (p_role == PRIMARY -> HOLDING : p_mode) }
#endif
	:: atomic { MAY_CRASH && g_alive -> n_crashes++; g_alive = false; g_committed = 0;
#if defined(MOVE)
		g_move = OVER;
#endif
		if
		:: true
		:: g_gone = true; m_beat_g = 0; g_silence = PATIENCE
		fi }
	:: atomic { !g_alive && !g_gone -> g_alive = true;
#if !defined(BUG_ORDER_NOT_REPEATED)
		g_ordered = false;
#else
		g_ordered = true;
#endif
		m_lowest[g_term] = 1; /* what was committed died with the last run */
#if defined(BUG_GATEWAY_FORGETS_TERM)
		g_term = 1; g_owner_s = false; g_state = PROTECTED;
#endif
#if defined(BUG_RESTART_WITHOUT_PATIENCE)
		g_silence = PATIENCE }
#else
		g_silence = 0 }
#endif
#if defined(OLD_JOURNAL)
	/* an old state_dir is put back, and an operator has said `takeover`: after the promotion was known to all */
	:: atomic { !calm && g_alive && !g_is_old && g_state == ALONE && g_owner_s && p_term == g_term ->
		g_is_old = true; g_put_back(); g_silence = 0 }
#endif
#if defined(OLD_GATEWAY)
	/* an old copy of G is started, at any moment, and has its place on the network from here on */
	:: atomic { !calm && g_alive && !g_is_old ->
		g_is_old = true; g_put_back(); g_silence = 0 }
#endif
#if defined(BUG_VOTE_NOT_WRITTEN)
	:: atomic { MAY_CRASH && s_alive -> n_crashes++; s_alive = false; s_vote = 0;
#else
	:: atomic { MAY_CRASH && s_alive -> n_crashes++; s_alive = false;
#endif
#if defined(VERIFY)
		s_compare = 0;
#endif
#if POLICY == DIRECT
		s_silence = 0; /* it does not know when it last granted a lease */
#endif
		if
		:: true
		:: s_gone = true
		:: s_phase == COPY -> s_complete = 0; m_nothing_held = true; /* reboot: tmpfs is gone */
			m_epoch_gs = 0; m_epoch_pg = 0
		fi }
	:: atomic { !s_alive && !s_gone -> s_alive = true; }
	:: atomic { !calm && (p_alive || !p_host) && (g_alive || g_gone) && (s_alive || s_gone) ->
		calm = true }
	od
}

#if defined(COLD)
inline c_forget() /* what is in memory and on the wire */
{
	p_up = false; s_up = false; c_up = false; hears_p = false; hears_s = false;
	p_cold = false; s_cold = false; c_start = false; n_flaps = 0;
	c_start_p = 0; c_start_s = 0; c_fence_p = 0; c_fence_s = 0
}

/* All power is gone, the first time. What the rules above need is gone, too. */
inline c_power_cut()
{
	cut = true; n_cuts = 1; calm = true;
	s_copy = (s_phase == COPY -> s_complete : 0);
	p_alive = false; p_host = false; p_run = false; p_held = 0; p_lease = 0; p_asked = 0; p_mode = DROP;
	p_epoch = 0; p_full = false;
	s_alive = false; s_gone = true; s_complete = 0; s_vote = 0; s_silence = PATIENCE;
	g_alive = false; g_gone = true; g_committed = 0; g_silence = PATIENCE; g_ordered = false;
	epoch_full = 0; epoch_term[1] = 0; epoch_term[2] = 0;
	m_epoch_pg = 0; m_epoch_gs = 0; m_ack = 0; m_commit = 0; m_promote = 0; m_promoted = 0; m_refused = 0;
	m_fence = 0; m_unprotect = 0; m_stop = 0; m_stopped = 0; m_ask = 0; m_vote = 0;
	m_lowest[1] = 0; m_lowest[2] = 0; m_lowest[3] = 0;
	m_beat_g = 0; m_beat_s = 0; m_grant = 0; beat_age = LEASE; m_nothing_held = false;
	n_crashes = CRASHES; n_beats = BEATS; n_skips = SKIPS;
	c_forget();
	if
	:: true
	:: p_dead = true
	:: s_dead = true
	:: s_blank = true; s_copy = 0
	fi
}

#define P_RAN (p_role == FENCED -> 0 : p_term)
#define S_RAN (s_blank || s_fenced -> 0 : s_ran)
#define S_NEWEST (S_RAN > P_RAN)
#define IS_PROMOTING (g_state == PROMOTING || g_state == FAILED)
#define BOTH (hears_p && hears_s && !p_cold && !s_cold)
/* An earlier run of G has chosen: only a cold start fences the other host in PROMOTING. */
#if defined(BUG_COLD_FORGETS_CHOICE)
#define CHOSEN false
#else
#define CHOSEN (IS_PROMOTING && (g_owner_s -> p_role == FENCED : s_fenced))
#endif
#if defined(BUG_COLD_IGNORES_JOURNAL)
#define ALLOWS(owner_s) true
#else
#define ALLOWS(owner_s) (IS_PROMOTING -> !(g_owner_s && s_blank) : g_owner_s == owner_s)
#endif
#if defined(NOFLUSH)
#define P_SOUND (p_role != PRIMARY)
#define S_HAS_COPY (s_copy > 0 && !s_fenced)
#else
#define P_SOUND true
#define S_HAS_COPY false
#endif
#if defined(BUG_COLD_ONE_WORD)
#define P_ALONE (hears_p && !hears_s && !p_cold)
#define S_ALONE (hears_s && !hears_p && !s_cold && (S_RAN > 0 || s_copy > 0))
#else
#define P_ALONE (hears_p && !hears_s && !p_cold && !g_owner_s && !IS_PROMOTING && P_RAN > 0 && P_SOUND && \
		 p_term <= g_term)
#define S_ALONE (hears_s && !hears_p && !s_cold && g_owner_s && !IS_PROMOTING && S_RAN > 0 && s_ran <= g_term)
#endif
#define LAST_TERM MAX(g_term, MAX((hears_p -> p_term : 0), (hears_s -> MAX(s_ran, s_fterm) : 0)))
#define MAY_CHOOSE (c_up && !c_start && LAST_TERM < COLD_TERMS)
#define CHOOSE_P (P_ALONE || (BOTH && (CHOSEN -> !g_owner_s : \
			      P_RAN > 0 && P_SOUND && !S_NEWEST && ALLOWS(false))))
#define CHOOSE_S (S_ALONE || (BOTH && (CHOSEN -> g_owner_s : (S_NEWEST && ALLOWS(true)) || \
			      (!S_NEWEST && P_RAN > 0 && !P_SOUND && S_HAS_COPY && ALLOWS(false)))))
#define P_IS_FENCED (p_role == FENCED && p_term == g_term)
#define S_IS_FENCED (s_fenced && s_fterm == g_term)

inline c_choose(owner_s) /* a new term: the hosts are two voices */
{
	k = LAST_TERM + 1;
	g_check(k, owner_s, PROMOTING, true);
	g_term = k; k = 0; g_owner_s = owner_s; g_state = PROMOTING; c_start = true
}

proctype Cold()
{
	byte k;

end:	do
	:: atomic { !cut -> c_power_cut() }
	:: atomic { cut && n_cuts < CUTS -> n_cuts++; c_forget() }
	:: atomic { cut && !p_up && !p_dead -> p_up = true }
	:: atomic { cut && !s_up && !s_dead -> s_up = true }
	:: atomic { cut && !c_up -> c_up = true }
	:: atomic { c_up && p_up && !hears_p -> hears_p = true }
	:: atomic { c_up && s_up && !hears_s -> hears_s = true }
	/* G is restarted, or hears a host no more for a while */
	:: atomic { c_up && n_flaps < 2 -> n_flaps++; c_up = false; c_start = false; hears_p = false; hears_s = false }
	:: atomic { hears_p && n_flaps < 2 -> n_flaps++; hears_p = false }
	:: atomic { hears_s && n_flaps < 2 -> n_flaps++; hears_s = false }
	:: atomic { MAY_CHOOSE && CHOOSE_P -> c_choose(false) }
	:: atomic { MAY_CHOOSE && CHOOSE_S -> c_choose(true) }
	/* the other host is fenced, or away */
	:: atomic { c_up && c_start && g_owner_s && hears_p && !P_IS_FENCED && !HAS(c_fence_p, g_term) ->
		ADD(c_fence_p, g_term) }
	:: atomic { c_up && c_start && !g_owner_s && hears_s && !S_IS_FENCED && !HAS(c_fence_s, g_term) ->
		ADD(c_fence_s, g_term) }
	:: atomic { c_up && c_start && g_state == PROMOTING && !g_owner_s && (S_IS_FENCED || !hears_s) &&
		    !HAS(c_start_p, g_term) -> ADD(c_start_p, g_term) }
	:: atomic { c_up && c_start && g_state == PROMOTING && g_owner_s && (P_IS_FENCED || !hears_p) &&
		    !HAS(c_start_s, g_term) -> ADD(c_start_s, g_term) }
	/* the chosen host is away: the start is given up, and can be chosen again */
	:: atomic { c_up && c_start && g_state == PROMOTING && (g_owner_s -> !hears_s : !hears_p) ->
		g_enter(FAILED); c_start = false }
#if defined(LOST)
	/* an operator switches the host off that is away, and chooses the other one, whatever is lost */
	:: atomic { c_up && !c_start && g_state == FAILED && !g_owner_s && !hears_p && hears_s && !s_cold &&
		    LAST_TERM < COLD_TERMS ->
#if !defined(BUG_COLD_CHOOSES_UNFENCED)
		p_up = false; p_cold = false; c_start_p = 0; c_fence_p = 0;
#endif
		c_choose(true) }
#endif
	/* the owner reports that it runs the guest in this term, perhaps after the start was given up */
	:: atomic { c_up && IS_PROMOTING && !g_owner_s && hears_p && p_cold && p_term == g_term ->
		g_enter(ALONE) }
	:: atomic { c_up && IS_PROMOTING && g_owner_s && hears_s && s_cold && s_ran == g_term ->
		g_enter(ALONE) }
	/* a host carries out the newest order of a newer term */
	:: atomic { p_up && c_start_p >> (p_term + 1) ->
		do
		:: c_start_p >> (p_term + 1) -> p_term++
		:: else -> break
		od;
		p_role = RUNNING; p_cold = true; p_spoke = true;
		must(ONE_OWNER_SPEAKS, !s_cold);
		must(NO_RELEASED_OUTPUT_IS_LOST, !s_spoke)
	   }
	:: atomic { s_up && c_start_s >> (MAX(s_ran, s_fterm) + 1) ->
		must(NO_RELEASED_OUTPUT_IS_LOST, !p_spoke && (s_ran > 0 || (p_released <= s_copy && !p_free)));
		s_ran = MAX(s_ran, s_fterm);
		do
		:: c_start_s >> (s_ran + 1) -> s_ran++
		:: else -> break
		od;
		s_fenced = false; s_copy = 0; s_cold = true; s_spoke = true;
		must(ONE_OWNER_SPEAKS, !p_cold)
	   }
	:: atomic { p_up && c_fence_p >> (p_term + 1) -> p_role = FENCED; p_cold = false;
		do
		:: c_fence_p >> (p_term + 1) -> p_term++
		:: else -> break
		od
	   }
	:: atomic { s_up && c_fence_s >> (MAX(s_ran, s_fterm) + 1) -> s_fenced = true; s_cold = false;
		s_fterm = MAX(s_ran, s_fterm);
		do
		:: c_fence_s >> (s_fterm + 1) -> s_fterm++
		:: else -> break
		od
	   }
	od
}
/* One guest runs, unless a host is gone for good or its files are, or the owner's disks are torn and the other host
 * has no copy, or the bound of terms is reached. */
#define COLD_ENDS (p_cold != s_cold || (!p_cold && !s_cold && \
		   (p_dead || s_dead || s_blank || g_term == COLD_TERMS || !P_SOUND)))
#endif

/* ---- the end: everything that could happen has happened */
#define P_SPEAKS ((p_host && p_role == RUNNING && p_mode == PASS) || \
		  (P_SERVES && p_run && p_mode == HOLDING && LEASED && S_COPIES && !P_COPIES && \
		   ((G_PROTECTS && g_term == p_term) || \
		    (POLICY == DIRECT && s_vote == p_term))))
#define S_SPEAKS (s_phase == OWNER && !s_gone)
/* Both hosts refuse the gateway that they hear, and say so. */
#if defined(OLD_GATEWAY)
#define IS_REFUSED g_is_old
#else
#define IS_REFUSED false
#endif
/* It holds because it has to, and says so: two are gone, or one is and the policy is to hold, or the
 * operator is asked. */
#define DECLARED_HOLD ((g_gone && POLICY == HOLD) || g_state == FAILED || s_gone || \
		       !p_host || (p_role == FENCED && m_verdict) || \
		       (g_gone && s_phase == STOPPED) || IS_REFUSED)

active proctype End()
{
	atomic {
		run P(); run G(); run S(); run Clock(); run Faults();
#if defined(COLD)
		run Cold();
#endif
	}
	timeout;
#if defined(COLD)
	must(IT_ENDS_WITH_AN_OWNER, COLD_ENDS)
#else
	must(IT_ENDS_WITH_AN_OWNER, P_SPEAKS != S_SPEAKS || (!P_SPEAKS && DECLARED_HOLD))
#endif
}
