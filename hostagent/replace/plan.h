/* plan.h - decides by which steps one program of the agent gives way to the next, and when the
 * present program goes on instead.
 *
 * Why: two programs must never act at the same time. Exec makes sure of that: the next program
 * begins in the same process, after the old program has ended. Also, a guest must not stand still
 * for long because another guest is not ready. This file makes sure of that.
 *
 *	        plan_ask()            it is good           all rest            all have yielded
 *	IDLE ─────────────► CHECKING ───────────► RESTING ──────────► YIELDING ────────────► GOING: exec
 *	  ▲                    │ it is bad           │ too late,         │ too late, or one cannot
 *	  ├────────────────────┘                     ▼ one cannot        ▼
 *	  └──────── after PLAN_TRIES tries ◄────── WAITING ◄─────────────┘
 *	                                             └─ after PLAN_WAIT_NS ─► RESTING
 *
 * - CHECKING: the next program runs as a child. It finds out whether it can read our files, and the
 *   record that we would hand on. Everything else goes on as usual.
 * - RESTING: the VMs' workers finish their work, and then rest. No guest is stopped yet. If one
 *   guest cannot yield, none is asked to.
 * - YIELDING: each guest is stopped at the end of its last epoch, and stands still until all are
 *   stopped.
 * - WAITING: all guests go on here, and another try follows.
 *
 * Where: agent_replace.c feeds it and carries out its actions. Pure: the time is passed in.
 * Threads: one at a time.
 */
#ifndef REPLACE_PLAN_H
#define REPLACE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PLAN_CHECK_NS (20 * CLOCK_NS_PER_S)
#define PLAN_REST_NS  (5 * CLOCK_NS_PER_S)
/* The longest time in YIELDING: no guest stands still for longer than this, even if other guests
 * are late or the try fails. The time includes up to 200 ms in which the guests still run, while
 * the engines wait for the commits of earlier epochs. */
#define PLAN_YIELD_NS (300 * CLOCK_NS_PER_MS)
#define PLAN_WAIT_NS  (2 * CLOCK_NS_PER_S)
#define PLAN_TRIES    5u

enum plan_phase {
	PLAN_IDLE,
	PLAN_CHECKING,
	PLAN_RESTING,
	PLAN_YIELDING,
	PLAN_WAITING,
	PLAN_GOING,
};

struct plan {
	enum plan_phase phase;
	uint64_t since_ns; /* when the phase began */
	uint32_t n_tries;  /* failed tries since plan_ask() */
};

/* What the caller has found out, as input of plan_step(). */
struct plan_view {
	enum { PLAN_CHECK_RUNS, PLAN_CHECK_GOOD, PLAN_CHECK_BAD } check;
	bool all_rest;
	bool all_yielded;
	bool one_cannot; /* a guest cannot yield, or an order has arrived */
};

enum plan_action {
	PLAN_DO_NOTHING,
	PLAN_DO_CHECK,	 /* start the next program's check */
	PLAN_DO_REST,	 /* let all workers rest */
	PLAN_DO_YIELD,	 /* let all guests yield */
	PLAN_DO_GO_ON,	 /* let all guests and workers go on here; another try follows */
	PLAN_DO_GIVE_UP, /* let all guests and workers go on here; no other try follows */
	PLAN_DO_REFUSE,	 /* the check failed or took too long; this program goes on */
	PLAN_DO_EXEC,	 /* hand everything on, and run the next program */
};

void plan_init(struct plan *plan);

/* Begin a replacement. Returns PLAN_DO_CHECK; or PLAN_DO_NOTHING if a replacement is under way. */
enum plan_action plan_ask(struct plan *plan, uint64_t now_ns) __attribute__((warn_unused_result));

/* Continue the replacement. Returns what the caller must do now. After doing it, call this again,
 * until it returns PLAN_DO_NOTHING. */
enum plan_action plan_step(struct plan *plan, const struct plan_view *view, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Is a replacement under way? Then call plan_step() every few ms. */
bool plan_is_under_way(const struct plan *plan);

/* Do guests stand still, or will they soon? Then the caller must do nothing that can block. */
bool plan_is_pressing(const struct plan *plan);

#endif
