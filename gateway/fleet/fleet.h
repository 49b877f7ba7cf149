/* fleet.h - all VMs and hosts of this gateway. Only this directory gives inputs to the VMs' state
 * machines and carries out their actions. So the actions of a state machine keep their order,
 * whether an agent or an operator caused them.
 *
 *      session ─ frame ─► fleet_step ─► vm_fsm_step ─► actions ─► journal ┄ durable ┄► links, sinks
 *	control ─ verb ──►     │                                      │
 *      main ─ tick ─────►     │                                      └┄ failed: the state is
 *                             │                                         restored, no action follows
 *	                       '── a step waits for the disk: the input goes to this VM's inbox
 *
 * The journal's thread writes the record of each step (journal_thread.h). Until the record is
 * durable, the VM's new inputs wait in its inbox (inbox.h), and so do the step's remaining actions.
 * Other VMs continue. The waiting VM's owner (the host that runs the guest) still gets leases,
 * except if the record changes the term or the owner.
 *
 * Where: main makes the fleet; session/ and control/ call it. The fleet calls vm/. It reaches
 * connections and operators only through tables of functions (link.h, struct fleet_sinks). These
 * functions never call back into the fleet within a step.
 *
 * Time: @now_ns is the monotonic time at which this iteration of the gateway's loop began.
 * Threads: one, the gateway's loop. Nothing here blocks, except in tests without a journal_thread.
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
#include "fleet/fleet_disk.h"
#include "fleet/inbox.h"
#include "fleet/link.h"
#include "vm/fsm.h"
#include "vm/health.h"
#include "vm/journal.h"
#include "vm/journal_thread.h"
#include "vm/relay.h"
#include "wire/frame.h"
#include "witness/witness_rx.h"

#define FLEET_VMS_MAX	  64
#define FLEET_HOSTS_MAX (VM_HOSTS * FLEET_VMS_MAX)

struct probes;
struct prober;

/* number of keys in an agent's stats for which each new value causes an event (tell_news()) */
#define FLEET_N_NEWS 3u

#define FLEET_FENCE_FAULT_MAX 400

#define FLEET_N_TOLD 8 /* number of reported reasons that are remembered */

/* A reason why a host cannot work for a VM. Operators know it: an event has reported it. */
struct fleet_told {
	uint64_t at_ns; /* when the event was given; 0: there was no event */
	uint8_t state;	/* the agent's state at that time */
	char text[WIRE_TEXT_MAX + 1];
};

/* An agent's last report about a VM. */
struct fleet_report {
	uint64_t at_ns; /* when the report came; 0: never */
	uint64_t term, epoch;
	uint8_t role, state, verdict;
	char text[WIRE_TEXT_MAX + 1];
	char stats[WIRE_STATS_MAX + 1];
	struct health_signs signs; /* what `stats` says about the VM's health */
	/* told: the reasons that the latest events gave why this host cannot work for the VM, in no
	 * order. told_last: the last of these reasons; NULL if the host has reported without a
	 * reason since */
	struct fleet_told told[FLEET_N_TOLD];
	const struct fleet_told *told_last;
	uint64_t told_ns; /* when the latest event about such a reason was given */
	struct rate numbers_rate; /* limits events whose texts differ only in their numbers */
	/* for each of the FLEET_N_NEWS keys, the value that an event has reported last. The keys
	 * are about the copy of the disks, the verification of the disks, and that of RAM */
	char told_news[FLEET_N_NEWS][WIRE_STATS_VALUE_MAX + 1];
};

/* A certificate or revocation list that expires soon. */
struct fleet_end {
	int64_t at_s; /* time of expiry, in s since 1970; 0: none expires soon */
	bool is_alarm; /* true if it expires so soon that `holdfastctl check` fails */
	char text[ERROR_TEXT_BYTES];
};

#define FLEET_END_ALARM_S INT64_C(604800) /* expiry within this time sets is_alarm */

struct fleet_host {
	char name[WIRE_NAME_MAX + 1];
	struct fleet_link *control; /* the host's control connection; NULL: not connected */
	char source[16];     /* the address from which the host last said HELLO; "": never */
	struct rate log_rate; /* limits log lines that the host can cause at will */
	struct rate drain_rate; /* limits how many DRAIN messages are obeyed */
	/* when operators were last told that the host's certificate will expire, in s since 1970;
	 * 0: never */
	int64_t end_told_s;
	struct fleet_end end; /* expiry of the certificate of `control`, as last checked */
	/* the host's address on the backup network, from a VM's file; "": the files give none */
	char configured[16];
	/* the incarnation of the younger gateway that the host says it has obeyed (fleet.younger);
	 * 0: none. While this number is above our incarnation, the host accepts nothing from us */
	uint64_t obeyed;
};

/* The witness key of a VM's owner. */
struct fleet_witness {
	uint64_t term;                /* the term for which the key is valid; 0: there is no key */
	uint8_t owner;		      /* index of the host that has the key */
	/* number of the control connection on which the key was sent; 0: not sent */
	uint64_t sent_on;
	uint64_t sent_ns;	      /* when the key was sent */
	/* when the last try to make a key failed; 0: it succeeded, or there was none */
	uint64_t failed_ns;
	uint64_t n_bad_mac_said; /* number of forged datagrams, as the last event reported it */
	uint64_t said_ns;	      /* when the last event about forged datagrams was given */
};

/* The latest step of a VM's state machine. If the step has a journal record, its actions wait until
 * the record is durable. See fleet_step.c. */
struct fleet_pending {
	/* true while the step waits; if it is false, only inbox, retry, retry_ns and no_tick_ns are
	 * valid */
	bool waiting;
	bool said;                  /* true once an event has said that the disk does not answer */
	uint64_t since_ns;
	/* copy of the state machine from before the step, restored if the step's record cannot be
	 * written */
	struct vm_fsm before;
	struct inbox_entry in;	    /* the step's input */
	struct vm_actions actions;  /* the step's actions; those before `at` are done */
	size_t at;
	struct inbox inbox;	    /* inputs that have come since the step began to wait */
	/* an input whose step was undone, and which nobody will send again */
	struct inbox_entry retry;
	/* when to give `retry` to the state machine again; 0: `retry` is empty */
	uint64_t retry_ns;
	/* no tick before this time, because a record could not be written; 0: none has failed */
	uint64_t no_tick_ns;
};

struct fleet_vm {
	struct vm_config config;
	size_t index; /* index in fleet->vms and in the witness receiver */
	struct fleet_witness witness;
	/* Source address of each host's witness datagrams in the client network, in host byte
	 * order; 0: accept no datagrams from that host. */
	uint32_t witness_sources[VM_HOSTS];
	/* the VM's state machine; its record may not be durable yet, see fleet_is_durable() */
	struct vm_fsm fsm;
	struct fleet_pending pending;
	struct vm_relay relay;
	/* by enum vm_host_index; host[VM_HOST_THIRD] is NULL if the VM has no spare */
	struct fleet_host *host[VM_HOSTS];
	struct fleet_link *stream[VM_STREAMS];	  /* the attached streams, by enum
					   * vm_stream_index; NULL: none */
	/* true once any standby of this VM has opened a stream since the gateway's start */
	bool knows_standby;
	uint64_t standby_features;	  /* features that the last standby understood */
	struct fleet_report report[VM_HOSTS]; /* last report of each host, by enum vm_host_index */
	/* why the fence command cannot be run, as seen at the start or at the last reload; "": it
	 * can be run, or there is no command, or this cannot be determined */
	char fence_fault[FLEET_FENCE_FAULT_MAX];
	struct prober *prober; /* borrowed; NULL: this VM has no address to probe */
	const struct fleet_disk *disk; /* points to the fleet's member `disk` */
	struct health_watch health; /* the health word, and since when it has applied */
	uint64_t health_ns;	    /* when `health` was last judged */
};

/* A VM that cannot be protected, because its file or its journal lines are unusable. */
struct fleet_fault {
	char name[WIRE_NAME_MAX + 1];
	char text[ERROR_TEXT_BYTES];
};

/* Callbacks with which the fleet reaches operators. The strings passed to them are valid only
 * during the call. */
struct fleet_sinks {
	/* Give operators an event. Returns false if the event was not kept, because there were too
	 * many. */
	bool (*event)(void *arg, uint64_t now_ns, const char *vm, const char *kind,
		      const char *from, const char *to, const char *text);
	void (*reply)(void *arg, uint64_t op_id, bool ok, const char *code, const char *text);
	/* Report the progress of request @op_id to the operator who waits for it. */
	void (*progress)(void *arg, uint64_t op_id, const char *text);
	void *arg;
};

struct fleet_config {
	struct vm_journal *journal;	       /* borrowed */
	struct journal_thread *journal_thread; /* borrowed; writes `journal`; NULL:
						* write in the loop, as tests do */
	uint32_t lease_ms; /* length of the lease given with each answer to a beat; 0: give none */
	uint32_t release_ms; /* how long a lease lets a VM's owner release output; <= lease_ms */
	/* incarnation of this start of the gateway (vm/incarnation.h); 0: announce none */
	uint64_t incarnation;
	/* Begin to record a new incarnation above @above, the largest incarnation that any host has
	 * obeyed. NULL: no takeover is possible. Returns
	 * 0: the write has begun; the fleet calls recorded() when it has ended;
	 * -EBUSY: another record is being written;
	 * another -errno: the write could not begin. */
	int (*take_over)(void *arg, uint64_t above);
	/* Called when the write that take_over() began has ended. @result is 0 if it succeeded, or
	 * -errno. Returns the new incarnation if it is on the disk, or 0 if the disk still has the
	 * old one. */
	uint64_t (*recorded)(void *arg, int result);
	void *take_over_arg;	 /* @arg for take_over() and recorded() */
	/* number of the first order to an agent. It comes from the wall clock, so it is larger than
	 * all order ids of earlier runs */
	uint64_t first_order_id;
	/* Start @vm's fence command against its host @host. VM_IN_FENCED later reports the
	 * command's result. NULL if no VM has a fence command. */
	void (*fence)(void *arg, const struct fleet_vm *vm, uint8_t host, uint64_t term,
		      uint64_t now_ns);
	void *fence_arg;
	uint64_t witness_rekey_ns;
	uint16_t witness_port; /* UDP port for witness datagrams; 0: accept none, so send no keys */
	/* Our address in the client network, in host byte order. If it is 0, no witness datagrams
	 * are accepted in that network, and no VM has witness_sources. */
	uint32_t client_address;
};

struct fleet {
	struct fleet_config config;
	struct fleet_sinks sinks;
	const struct fleet_link_ops *links; /* set by session/ before the first connection */
	struct fleet_counters counters;
	struct witness_rx *witness;
	/* the last key id, and the step to the next id; both random at first (witness_keys.h) */
	uint32_t next_key_id, key_id_step;
	struct fleet_vm *vms[FLEET_VMS_MAX];
	size_t n_vms;
	struct fleet_fault faults[FLEET_VMS_MAX];
	size_t n_faults;
	/* number of faults since the start, or the last reload, for which `faults` had no room */
	size_t n_more_faults;
	struct fleet_host hosts[FLEET_HOSTS_MAX];
	size_t n_hosts;
	/* the highest incarnation above ours that a host has obeyed; 0: none. A gateway with an
	 * incarnation above ours is called "younger" */
	uint64_t younger;
	/* number of the operator's takeover request that waits for the disk; 0: none */
	uint64_t takeover_op;
	struct probes *probes; /* borrowed; NULL: none */
	struct fleet_disk disk;
	/* of the gateway's own certificates and revocation lists, the one that expires first */
	struct fleet_end end;
	struct fleet_drains *drains; /* opaque; fleet/drains.h */
};

/* Make a fleet without VMs. Set its sinks before the first input. Returns 0 or -ENOMEM. */
int fleet_new(const struct fleet_config *config, struct fleet **ret_fleet)
	__attribute__((warn_unused_result));
/* Free the fleet and its VMs. Detach all links first. NULL is fine. Returns NULL. */
struct fleet *fleet_free(struct fleet *fleet);

/* Add a VM in the state that its record in @journal gives. @journal is either the table of the open
 * journal (before the journal's thread runs) or a table that vm_journal_read() has read from the
 * journal's file. If the VM has `reprotect = ask`, the VM's record no longer says that the VM is to
 * be protected again (vm_record.is_wanted). If @journal is the table of the open journal, the
 * record on the disk is changed too. Returns 0. Errors, which add nothing:
 *      -EEXIST  the name is taken
 *      -ENOSPC  there are FLEET_VMS_MAX VMs already
 *      -ENOMEM  memory is short
 *      -EINVAL  the hosts in the journal do not match the VM's file; *ret_error says what to do */
int fleet_add_vm(struct fleet *fleet, const struct vm_config *config,
		 const struct vm_journal_table *journal, uint64_t now_ns, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Make the host @name the spare of @vm; "": the VM has no spare from now on. Returns 0. Errors that
 * change nothing:
 *      -EBUSY   the host that the VM's file names as `spare` until now is owner or standby, or a
 *               step of @vm waits for the disk
 *      -EPERM   the VM is in conflict, or its present spare reports that it still has the guest or
 *               a copy of it
 *      -ENOSPC  the fleet has no room for one more host
 * Any other error is from fleet_step(). In this case @name is the spare now, but its connection
 * does not count until it connects again. */
int fleet_set_spare(struct fleet *fleet, struct fleet_vm *vm, const char *name, uint64_t now_ns)
	__attribute__((warn_unused_result));

/* Promote no host of @vm until all leases from an earlier start of the gateway have expired. The
 * last of these leases began at @now_ns or earlier. Each lasts at most @release_ns. */
void fleet_mute_after(struct fleet_vm *vm, uint64_t now_ns, uint64_t release_ns);

/* Note for operators that the VM @name cannot be protected, and why (@text). If `faults` is full,
 * only counts the fault in n_more_faults. */
void fleet_add_fault(struct fleet *fleet, const char *name, const char *text);

/* Remove the fault of @name, which can be protected now. Does nothing if @name has no fault. */
void fleet_drop_fault(struct fleet *fleet, const char *name);

/* Store in @end that a certificate or revocation list expires at @at_s; 0: none expires soon.
 * @now_s is the present time; both are in s since 1970. */
void fleet_set_end(struct fleet_end *end, int64_t at_s, int64_t now_s, const char *text);

/* Returns why @name cannot be protected, or NULL if it has no fault. */
const char *fleet_find_fault(const struct fleet *fleet, const char *name);

struct fleet_vm *fleet_find_vm(struct fleet *fleet, const char *name);
struct fleet_host *fleet_find_host(struct fleet *fleet, const char *name);

/* Returns the index of @host among @vm's hosts (enum vm_host_index), or -ENOENT if it is not one of
 * them. */
int fleet_vm_host(const struct fleet_vm *vm, const struct fleet_host *host);

/* ---- inputs ---- */

/* Give the input @in to @vm at @now_ns. If the record of @vm's last step is not durable yet, the
 * input waits in @vm's inbox. Returns 0 if @vm's state machine has handled the input, or will
 * handle it later. Errors:
 *      -EBUSY          the inbox is full; an operator's command has got an error reply
 *      another -errno  the journal could not be written
 * On error the input has no effect, and the caller should end the connection that it came from.
 *
 * If the journal cannot be written after this function has returned 0, the fleet ends that
 * connection. The host connects again and repeats the input. */
int fleet_step(struct fleet *fleet, struct fleet_vm *vm, const struct vm_input *in,
	       uint64_t now_ns);

/* Attach @link, @host's accepted control connection, and tell all VMs of the host. The caller must
 * have sent WELCOME before, because this call can already send orders. Returns 0, or -errno of
 * fleet_step(). After an error the caller must end the connection. */
int fleet_control_up(struct fleet *fleet, struct fleet_host *host, struct fleet_link *link,
		     uint64_t now_ns) __attribute__((warn_unused_result));
/* If @vm's host @h is connected, give @vm the input VM_IN_CONTROL_UP for it. Call this after the
 * host was added to @vm while the gateway runs. Returns 0, or -errno of fleet_step(). */
int fleet_control_again(struct fleet *fleet, struct fleet_vm *vm, uint8_t h, uint64_t now_ns)
	__attribute__((warn_unused_result));
/* Detach @link from @host, and tell every VM of @host that the host's control connection is gone.
 * Does nothing if @link is not attached. */
void fleet_control_down(struct fleet *fleet, struct fleet_host *host, const struct fleet_link *link,
			uint64_t now_ns);

/* Attach @link, an accepted stream of @vm. @in is the input VM_IN_STREAM_UP for @vm. Returns the
 * same as fleet_control_up(). */
int fleet_stream_up(struct fleet *fleet, struct fleet_vm *vm, struct fleet_link *link,
		    const struct vm_input *in, uint64_t now_ns) __attribute__((warn_unused_result));
/* Detach @link, the stream of @vm's host @host in the role @role, and tell @vm. Returns true if the
 * stream was attached. */
bool fleet_stream_down(struct fleet *fleet, struct fleet_vm *vm, const struct fleet_link *link,
		       uint8_t host, uint8_t role, uint64_t now_ns);

/* Note that authentic bytes came from @vm's host @host, so the host lives. */
void fleet_seen(struct fleet_vm *vm, uint8_t host, uint64_t now_ns);

/* Tell @vm that @host sent a BEAT. @mono_ns is the time of the host's clock in the BEAT. */
void fleet_beat(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t mono_ns,
		uint64_t now_ns);

/* Returns true if @host gets a lease for @vm now. In this case the function notes that the lease
 * was granted at @now_ns, and the caller must send it. Only an owner gets leases, and only while a
 * promotion might replace this owner (docs/wire-format.md 5.6.2). */
bool fleet_grant(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t now_ns);

/* Handle @msg, a REPORT in which @host's agent says that @vm is in @term and @epoch. */
void fleet_take_report(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t term,
		       uint64_t epoch, const struct wire_report *msg, uint64_t now_ns);

/* Tell all VMs of @host, and the operators, that @host has obeyed a younger gateway. @obeyed is the
 * younger gateway's incarnation, which is larger than ours. Sets *ret_error to the explanation that
 * the caller must send to the host. */
void fleet_obeys_younger(struct fleet *fleet, struct fleet_host *host, uint64_t obeyed,
			 uint64_t now_ns, struct error *ret_error);

/* Handle the results of the journal's thread. If a step's record was written, continue the step. If
 * the record could not be written, undo the step. Call this when journal_thread_fd() is
 * readable. */
void fleet_journal_done(struct fleet *fleet, uint64_t now_ns);

/* Are @vm's present term and owner in the journal on disk? If not, the caller must not yet send a
 * message that belongs to this term. */
static inline bool fleet_is_durable(const struct fleet_vm *vm)
{
	const struct vm_record *durable = &vm->pending.before.record;

	return !vm->pending.waiting || (durable->term == vm->fsm.record.term &&
					durable->owner == vm->fsm.record.owner);
}

/* Do everything that is due at @now_ns: for each VM, give ticks, report a slow disk, repeat an
 * undone input, send keys; also continue the drains. Call this at fleet_deadline_ns() at the
 * latest. */
void fleet_tick(struct fleet *fleet, uint64_t now_ns);
/* Returns when fleet_tick() must next be called. */
uint64_t fleet_deadline_ns(const struct fleet *fleet, uint64_t now_ns);

/* Returns what witness datagrams of @vm's present owner have said about the guest in this term.
 * Never NULL; if there were no datagrams, n_accepted is 0. The result is valid until the VM's term
 * or owner changes, so do not keep it beyond a step. */
static inline const struct witness_view *fleet_witness_view(const struct fleet *fleet,
							    const struct fleet_vm *vm)
{
	return witness_rx_view(fleet->witness, vm->index);
}

/* Take over from younger gateways (those with a larger incarnation), because an operator says that
 * they are gone for good. This gateway records an incarnation above theirs. When the record is
 * durable, all agents must connect again, and the operator's request @op_id (not 0) gets its reply.
 * See takeover.c. Returns 0 if the takeover has begun. Errors, after which there is no takeover:
 *      -ENOENT         no host has obeyed a younger gateway
 *      -EBUSY          an incarnation is being recorded already
 *      another -errno  the record cannot be written */
int fleet_take_over(struct fleet *fleet, uint64_t op_id) __attribute__((warn_unused_result));

/* Handle the result of recording an incarnation. fleet_journal_done() calls this. @result comes
 * from the journal's thread. */
void fleet_recorded(struct fleet *fleet, int result, uint64_t now_ns);

/* Set *ret_health to the health of @vm at @now_ns: whether a failover would lose nothing, and if
 * not, what is missing. All of the operators' verbs get this answer from here. */
void fleet_health(const struct fleet_vm *vm, uint64_t now_ns, struct health *ret_health);

/* Give operators an event. @vm is a VM's name, or "" if the event is not about one VM. */
void fleet_event(struct fleet *fleet, uint64_t now_ns, const char *vm, const char *kind,
		 const char *text);

#endif
