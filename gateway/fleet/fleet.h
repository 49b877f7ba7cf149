/* fleet.h - all VMs and hosts of this gateway, and the one place that feeds their state machines.
 *
 * Why: connections (frames) and control (operators) feed the same machines. What the machines then
 * order is carried out here, in order, in one place.
 *
 *	session ─ frame ──► fleet_step ─► vm_fsm_step ─► actions ─► journal ┄┄ durable ┄► links, sinks
 *	control ─ verb ───►     │                                      │
 *	main ─ tick ──────►     │                                      └┄ failed: the machine is put back,
 *	                        │                                         nothing follows
 *	                        '── a step waits for the disk: into this VM's inbox, until it is over
 *
 * journal_thread.h writes the record. Meanwhile this VM waits, as if the loop had blocked for it
 * alone: its inputs queue in order (inbox.h), and so does what follows from the step. Other VMs go
 * on. So do this VM's leases, as long as the record changes neither term nor owner.
 *
 * Where: main makes it; session/ and control/ call it. It calls vm/, and connections and operators
 * only through tables of functions (link.h, struct fleet_sinks): nothing of these runs within a
 * step. Only this room calls the machines' functions that change them.
 *
 * Time: @now_ns is the monotonic time of the loop's turn.
 * Threads: one, the gateway's loop. Nothing here blocks (except in tests without a journal_thread).
 * Memory is allocated at start.
 */
#ifndef FLEET_FLEET_H
#define FLEET_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rate.h"
#include "fleet/counters.h"
#include "fleet/inbox.h"
#include "fleet/link.h"
#include "vm/fsm.h"
#include "vm/journal.h"
#include "vm/journal_thread.h"
#include "vm/relay.h"
#include "wire/frame.h"
#include "witness/witness_rx.h"

#define FLEET_VMS_MAX	  64
#define FLEET_HOSTS_MAX (2 * FLEET_VMS_MAX)

struct probes;
struct prober;

/* An agent's last report about a VM. */
struct fleet_report {
	uint64_t at_ns; /* 0: never */
	uint64_t term, epoch;
	uint8_t role, state, verdict;
	char text[WIRE_TEXT_MAX + 1];
	char stats[WIRE_STATS_MAX + 1];
	char told_text[WIRE_TEXT_MAX + 1]; /* the hindrance that the last
					    * event about this host named */
	uint64_t told_ns;
};

struct fleet_host {
	char name[WIRE_NAME_MAX + 1];
	struct fleet_link *control; /* NULL: not connected */
	char source[16];     /* address of its last HELLO; "" never */
	struct rate log_rate; /* for log lines that the host can cause at will */
	char configured[16]; /* its address on the backup network in a VM's file; "" none */
};

/* The witness key of a VM's owner. */
struct fleet_witness {
	uint64_t term;		      /* the key's term; 0: there is no key */
	uint8_t owner;		      /* the key's owner */
	uint64_t sent_on;	      /* number of the control connection it was sent on; 0: none */
	uint64_t sent_ns;	      /* when it was sent */
	uint64_t failed_ns;	      /* when making one failed; 0: it did not */
	uint64_t n_bad_mac_said;      /* forgeries counted when the last event told of them ... */
	uint64_t said_ns;	      /* ... and when that was */
};

/* A step that waits until its journal record is durable; see fleet_step.c. */
struct fleet_pending {
	bool waiting;		    /* the members below except inbox and retry are valid */
	bool said;		    /* the event about a disk that does not answer was given */
	uint64_t since_ns;
	struct vm_fsm before;	    /* the machine before the step, restored if the
				     * record cannot be written; its record is durable */
	struct inbox_entry in;	    /* the step's input */
	struct vm_actions actions;  /* the step's actions; those before `at` are done */
	size_t at;
	struct inbox inbox;	    /* inputs that came since */
	struct inbox_entry retry;   /* an input that had no effect and that nobody repeats ... */
	uint64_t retry_ns;	    /* ... give it again at this time; 0: there is none */
};

struct fleet_vm {
	struct vm_config config;
	size_t index;			  /* in fleet->vms, and in the witness receiver */
	struct fleet_witness witness;
	/* Source address of each host's datagrams in the
	 * client network, host byte order; 0: accept none. */
	uint32_t witness_sources[2];
	struct vm_fsm fsm; /* may be ahead of the journal: fleet_is_durable() */
	struct fleet_pending pending;
	struct vm_relay relay;
	struct fleet_host *host[2];
	struct fleet_link *stream[2];	  /* by enum vm_stream_index; NULL: none */
	bool knows_standby;		  /* some standby's stream was open since the start */
	uint64_t standby_features;	  /* what the last standby understands */
	struct fleet_report report[2]; /* by host */
	struct prober *prober; /* borrowed; NULL: this VM has no address to probe */
};

/* A VM that cannot be protected: its file or its journal lines are unusable. */
struct fleet_fault {
	char name[WIRE_NAME_MAX + 1];
	char text[ERROR_TEXT_BYTES];
};

/* Callbacks of the operators' service. Strings are valid during the call. */
struct fleet_sinks {
	/* False: too many events, this one was not kept. */
	bool (*event)(void *arg, uint64_t now_ns, const char *vm, const char *kind,
		      const char *from, const char *to, const char *text);
	void (*reply)(void *arg, uint64_t op_id, bool ok, const char *code, const char *text);
	void *arg;
};

struct fleet_config {
	struct vm_journal *journal;	       /* borrowed */
	struct journal_thread *journal_thread; /* borrowed, writes `journal`; NULL:
						* append at once, as tests do */
	uint32_t lease_ms;   /* given with each answer to a beat; 0: none */
	uint32_t release_ms; /* a lease lets output leave this long; <= lease_ms */
	uint64_t incarnation; /* of this start, vm/incarnation.h; 0: not announced */
	/* Hosts have obeyed @above: begin to record a larger incarnation. 0: recorded() is called
	 * at the end; -EBUSY: one is being recorded; other -errno. NULL: not possible. */
	int (*take_over)(void *arg, uint64_t above);
	/* The journal's thread finished writing an incarnation, with @result. Returns the number
	 * now on file, or 0 if the old one still is. */
	uint64_t (*recorded)(void *arg, int result);
	void *take_over_arg;	 /* for both functions */
	uint64_t first_order_id; /* larger than any of an earlier run: wall clock */
	/* Run @vm's fence command against its host @host. VM_IN_FENCED reports its end later. NULL:
	 * no VM has a command. */
	void (*fence)(void *arg, const struct fleet_vm *vm, uint8_t host, uint64_t term,
		      uint64_t now_ns);
	void *fence_arg;
	uint64_t witness_rekey_ns;
	uint16_t witness_port; /* UDP; 0: witness datagrams are not taken, send no keys */
	/* Our address in the client network, where datagrams are taken too, host byte order. 0:
	 * they are not, and no VM has witness_sources. */
	uint32_t client_address;
};

struct fleet {
	struct fleet_config config;
	struct fleet_sinks sinks;
	const struct fleet_link_ops *links; /* set by session/ before the first connection */
	struct fleet_counters counters;
	struct witness_rx *witness;
	uint32_t next_key_id, key_id_step; /* random; see witness_keys.c */
	struct fleet_vm *vms[FLEET_VMS_MAX];
	size_t n_vms;
	struct fleet_fault faults[FLEET_VMS_MAX];
	size_t n_faults;
	struct fleet_host hosts[FLEET_HOSTS_MAX];
	size_t n_hosts;
	uint64_t younger; /* highest incarnation above ours that a host has obeyed; 0: none */
	uint64_t takeover_op; /* the take-over request that waits for the disk; 0: none */
	struct probes *probes; /* borrowed; NULL: none */
};

/* 0 or -ENOMEM. Set the sinks before the first input. */
int fleet_new(const struct fleet_config *config, struct fleet **ret_fleet)
	__attribute__((warn_unused_result));
/* Frees VMs. All links must have been detached. NULL is fine. Returns NULL. */
struct fleet *fleet_free(struct fleet *fleet);

/* Add a VM, with its journal record. 0; -EEXIST: the name is taken;
 * -ENOSPC; -ENOMEM; -EINVAL: the journal's owner is neither of the
 * two hosts (*ret_error says what to do). */
int fleet_add_vm(struct fleet *fleet, const struct vm_config *config, uint64_t now_ns,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* An earlier start may have granted leases of @release_ns until just now: promote nobody before
 * they are over. */
void fleet_mute_after(struct fleet_vm *vm, uint64_t now_ns, uint64_t release_ns);

/* Note for operators that @name cannot be protected, and why (@text). */
void fleet_add_fault(struct fleet *fleet, const char *name, const char *text);

/* Why @name cannot be protected. NULL: it has no fault. */
const char *fleet_find_fault(const struct fleet *fleet, const char *name);

struct fleet_vm *fleet_find_vm(struct fleet *fleet, const char *name);
struct fleet_host *fleet_find_host(struct fleet *fleet, const char *name);

/* The index of @host among @vm's hosts: 0, 1, or -ENOENT. */
int fleet_vm_host(const struct fleet_vm *vm, const struct fleet_host *host);

/* ---- inputs ---- */

/* Give one input to one VM, at @now_ns. 0: taken, now or when the disk allows; -EBUSY: too much
 * waits for the disk already (a command was answered so); other -errno: the journal could not be
 * written. On error the input had no effect.
 *
 * If a write fails later, the connection that gave the input is ended, as its caller would do on an
 * error. The host connects again and repeats the input. */
int fleet_step(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
	       uint64_t now_ns);

/* @host's control connection @link was accepted: attach it, and tell all VMs of the host. Send
 * WELCOME before: orders may follow at once. 0; -errno of fleet_step(): end the connection. */
int fleet_control_up(struct fleet *fleet, struct fleet_host *host, struct fleet_link *link,
		     uint64_t now_ns) __attribute__((warn_unused_result));
/* Detach it, and tell. Does nothing if @link is not attached. */
void fleet_control_down(struct fleet *fleet, struct fleet_host *host, const struct fleet_link *link,
			uint64_t now_ns);

/* The same for a stream of @vm; @in is its VM_IN_STREAM_UP. */
int fleet_stream_up(struct fleet *fleet, struct fleet_vm *vm, struct fleet_link *link,
		    const struct vm_input *in, uint64_t now_ns) __attribute__((warn_unused_result));
/* True: it was attached. */
bool fleet_stream_down(struct fleet *fleet, struct fleet_vm *vm, const struct fleet_link *link,
		       uint8_t host, uint8_t role, uint64_t now_ns);

/* Any authentic byte of @vm's host @host shows that the host lives. */
void fleet_seen(struct fleet_vm *vm, uint8_t host, uint64_t now_ns);

/* @host sent a BEAT: tell @vm. @mono_ns: the host's clock. */
void fleet_beat(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t mono_ns,
		uint64_t now_ns);

/* May @host have a lease for @vm now? True: it is counted as granted from @now_ns on; send it.
 * Only an owner whose place another host could be promoted into needs one (docs/wire-format.md
 * 5.6.2). */
bool fleet_grant(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t now_ns);

/* @host's agent reports on @vm, in @term and @epoch. */
void fleet_take_report(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t term,
		       uint64_t epoch, const struct wire_report *msg, uint64_t now_ns);

/* @host has obeyed a gateway of incarnation @obeyed, younger than this one: tell all of its VMs and
 * the operator. *ret_error: the sentence for the host. */
void fleet_obeys_younger(struct fleet *fleet, struct fleet_host *host, uint64_t obeyed,
			 uint64_t now_ns, struct error *ret_error);

/* Go on with the steps whose records are now on disk or failed. Call when journal_thread_fd() is
 * readable. */
void fleet_journal_done(struct fleet *fleet, uint64_t now_ns);

/* Does the journal hold @vm's present term and owner? Send nothing in them before it does. */
static inline bool fleet_is_durable(const struct fleet_vm *vm)
{
	const struct vm_record *durable = &vm->pending.before.record;

	return !vm->pending.waiting || (durable->term == vm->fsm.record.term &&
					durable->owner == vm->fsm.record.owner);
}

/* Serve the deadlines of all VMs. Call at fleet_deadline_ns() at the latest. */
void fleet_tick(struct fleet *fleet, uint64_t now_ns);
uint64_t fleet_deadline_ns(const struct fleet *fleet, uint64_t now_ns);

/* What the kernel of @vm's present owner said of the guest in this term. Never NULL; its n_accepted
 * may be 0. Valid until the VM's term or owner changes: ask again in each step. */
static inline const struct witness_view *fleet_witness_view(const struct fleet *fleet,
							    const struct fleet_vm *vm)
{
	return witness_rx_view(fleet->witness, vm->index);
}

/* An operator says that the younger gateways are gone for good: take an incarnation above theirs
 * and, once it is durable, make all agents connect again. 0: @op_id (not 0) gets its reply then;
 * -ENOENT: no host has obeyed a younger one; -EBUSY: one is being recorded; other -errno: it cannot
 * be recorded. takeover.c. */
int fleet_take_over(struct fleet *fleet, uint64_t op_id) __attribute__((warn_unused_result));

/* The journal's thread has recorded an incarnation, or failed. fleet_journal_done() calls this. */
void fleet_recorded(struct fleet *fleet, int result, uint64_t now_ns);

/* Give operators an event. @vm: a name or "". */
void fleet_event(struct fleet *fleet, uint64_t now_ns, const char *vm, const char *kind,
		 const char *text);

#endif
