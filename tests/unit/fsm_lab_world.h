/* fsm_lab_world.h - the world of fsm_lab.h: the agents' true state, the journal on the disk, the
 * virtual clock, and what was seen of the state machine's actions.
 */
#ifndef TESTS_FSM_LAB_WORLD_H
#define TESTS_FSM_LAB_WORLD_H

#include <string.h>

#include "base/clock.h"
#include "vm/fsm.h"

#define MS CLOCK_NS_PER_MS

/* The true state of one agent. The state machine learns it only from messages. */
struct lab_peer {
	bool up;	  /* the control connection is open */
	bool streaming;
	uint8_t state;
	uint64_t term;
	uint64_t complete; /* on the standby: its last complete epoch of `term` */
	uint64_t committed; /* on the primary: last COMMIT received in `term` */
	/* on the primary: the guest stands still for a move, and none of its output is released */
	bool is_let_go;
	uint64_t let_go_epoch; /* last epoch of that guest; valid if is_let_go */
	struct vm_cold_word cold; /* what the agent reports after a power failure */
	bool is_guest_found;	  /* the restarted agent has found the guest that it had */
	struct {
		bool due;
		uint8_t verb;
		uint64_t term, epoch, id;
	} order; /* the last order; `due` is true until the agent carries it out */
};

struct lab {
	struct vm_config config;
	struct vm_fsm fsm;
	struct vm_record journal; /* the VM's record on the disk */
	struct lab_peer peer[VM_HOSTS];
	uint64_t now_ns;
	/* passed with every tick: the standby takes no more data, or owes an acknowledgement */
	bool standby_owes;
	/* bytes of the owner's epochs relayed so far; grows while the owner is alive */
	uint64_t relayed_bytes;
	/* largest epoch of committed_term that the gateway has committed; a restart of the gateway
	 * does not change it */
	uint64_t committed;
	uint64_t committed_term;
	/* last epoch whose output was not held; epochs up to it may be committed in any state of
	 * the VM */
	uint64_t unheld;
	/* last term for which the standby voted while cut off from the gateway */
	uint64_t voted_term;
	uint64_t next_order_id;
	bool journal_fails;
	/* when the lease that was granted last ends: after that its host must not release output */
	uint64_t release_until_ns;
	bool fence_runs; /* the fence command for fence_term is running */
	uint64_t fence_term;
	unsigned n_moved;   /* promotions for which the old owner had let go of the guest */
	/* how often an owner resumed a guest that it had let go of for a move */
	unsigned n_gone_on;
	struct vm_fsm before; /* the state before the present step */
	bool is_forced;	      /* the test lets an operator accept losses */
	/* the last term that began by this; a copy of an older term may lack epochs */
	uint64_t forced_term;
	unsigned n_starts;    /* START orders so far */
	/* seat changes; orders to the host without a seat */
	unsigned n_seated, n_spare_orders;
	unsigned n_promotions, n_commits, n_closes, n_resumes, n_failed_writes;
	unsigned n_taken[32]; /* how many journaled changes matched each of lab_rows */
	uint64_t resume_epoch;
	struct vm_action last_order[VM_HOSTS];
	struct vm_action last_reply;
	bool replied;
	unsigned n_replies;
	char last_event[VM_TEXT_MAX], last_state[VM_TEXT_MAX];
	char last_move[VM_TEXT_MAX], last_verify[VM_TEXT_MAX];
	unsigned n_stream_events;
};

/* Returns the host that has no seat (it is neither owner nor standby) according to the journal.
 * Computed here without the state machine's own code. */
static inline uint8_t lab_spare(const struct lab *lab)
{
	return (uint8_t)(2 - lab->journal.seatless);
}

static inline uint8_t lab_beside(const struct lab *lab, uint8_t h)
{
	return (uint8_t)(3 - lab_spare(lab) - h);
}

static inline void lab_init(struct lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	strcpy(lab->config.name, "web1");
	strcpy(lab->config.host[0], "alpha");
	strcpy(lab->config.host[1], "beta");
	lab->config.liveness = (struct liveness_config){500 * MS, 3000 * MS};
	lab->config.detector = (struct detector_config){.suspect_min_ns = 80 * MS,
							.progress_min_ns = 300 * MS,
							.confirm_ns = 120 * MS,
							.beat_timeout_ns = 500 * MS,
							.patience_ns = 3000 * MS,
							.restart_grace_ns = 3000 * MS};
	lab->config.standby_timeout_ns = 5000 * MS;
	lab->config.held_copy_max_ns = 20000 * MS;
	lab->config.order_timeout_ns = 30000 * MS;
	lab->config.move_timeout_ns = 2000 * MS;
	lab->config.answer_within_ns = 5000 * MS;
	lab->config.spare_after_ns = 60000 * MS;
	lab->now_ns = 1000 * MS;
	lab->next_order_id = 1;
	vm_fsm_init(&lab->fsm, &lab->config, &lab->journal, lab->next_order_id, lab->now_ns);
}

#endif
