/* plan.h - in which order an agent gives way to its next program, and when it goes on instead.
 *
 * Why: both programs must never act at once, and a guest must not stand still for long because
 * another one is not ready. The first is so by construction: the next program begins by exec, in
 * the same process, so the old one has ended. This file sees to the second.
 *
 *	        plan_ask()            it is good           all rest            all have yielded
 *	IDLE ─────────────► CHECKING ───────────► RESTING ──────────► YIELDING ────────────► GOING: exec
 *	  ▲                    │ it is bad           │ too late,         │ too late, or one cannot
 *	  ├────────────────────┘                     ▼ one cannot        ▼
 *	  └──────── after PLAN_TRIES tries ◄────── WAITING ◄─────────────┘
 *	                                             └─ after PLAN_WAIT_NS ─► RESTING
 *
 * - CHECKING: the next program runs as a child, and says whether it can read our files and what
 *   we would hand on. Nothing is given up meanwhile.
 * - RESTING: the VMs' workers finish what they do. No guest is stopped yet. If one cannot yield,
 *   none is asked to.
 * - YIELDING: the guests are stopped, each at its last epoch, and wait for each other.
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
/* A guest stands still for this long at most if it must wait for others, or if nothing comes of it.
 * Before that the engines wait for the commits of earlier epochs, for 200 ms at most. */
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
	uint32_t n_tries;  /* tries that came to nothing, since plan_ask() */
};

/* What is the case now. */
struct plan_view {
	enum { PLAN_CHECK_RUNS, PLAN_CHECK_GOOD, PLAN_CHECK_BAD } check;
	bool all_rest;
	bool all_yielded;
	bool one_cannot; /* a guest cannot yield, or an order came */
};

enum plan_action {
	PLAN_DO_NOTHING,
	PLAN_DO_CHECK,	 /* start the next program's check */
	PLAN_DO_REST,	 /* let all workers rest */
	PLAN_DO_YIELD,	 /* let all guests yield */
	PLAN_DO_GO_ON,	 /* let all guests and workers go on here; another try follows */
	PLAN_DO_GIVE_UP, /* the same, and no other try follows */
	PLAN_DO_REFUSE,	 /* the next program is not good: nothing was given up */
	PLAN_DO_EXEC,	 /* hand everything on, and run the next program */
};

void plan_init(struct plan *plan);

/* Somebody wants the program to be replaced. Returns PLAN_DO_CHECK, or PLAN_DO_NOTHING if that is
 * being done already. */
enum plan_action plan_ask(struct plan *plan, uint64_t now_ns) __attribute__((warn_unused_result));

/* Go on. Returns what is to be done now; call it again after that was done, until it returns
 * PLAN_DO_NOTHING. */
enum plan_action plan_step(struct plan *plan, const struct plan_view *view, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Is a replacement under way? Then call plan_step() every few ms. */
bool plan_is_under_way(const struct plan *plan);

/* Must the caller do nothing that can block? Guests stand still, or will soon. */
bool plan_is_pressing(const struct plan *plan);

#endif
