/* gateway.h - the context that ties VMs, sessions, journal and operators together.
 *
 * Why: sessions (frames) and control (operators) feed the same state machines. The resulting
 * actions are carried out here, in order, in one place.
 *
 * Where: main makes it; session/ and control/ call it; it calls vm/ and sessions' send functions.
 *
 *	session ─ frame ──► fleet_step ─► vm_fsm_step ─► actions ─► journal ┄┄ durable ┄► sessions, sinks
 *	control ─ verb ───►      │                                      │
 *	main ─ tick ──────►      │                                      └┄ failed: the machine is put back,
 *	                         │                                         nothing follows
 *	                         '── a step waits for the disk: into this VM's inbox, until it is over
 *
 * journal_thread.h writes the record. Meanwhile this VM waits, as if the loop had blocked for it
 * alone: its inputs queue in order (inbox.h), and so does what follows from the step. Other VMs go
 * on. So do this VM's leases, as long as the record changes neither term nor owner.
 *
 * Threads: one, the gateway's loop. Nothing here blocks (except in tests without a journal_thread).
 * Memory is allocated at start.
 */
#ifndef SESSION_GATEWAY_H
#define SESSION_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/error.h"
#include "base/rate.h"
#include "session/admission.h"
#include "fleet/inbox.h"
#include "vm/fsm.h"
#include "vm/journal.h"
#include "vm/journal_thread.h"
#include "vm/relay.h"
#include "wire/tls.h"
#include "witness/witness_rx.h"

#define FLEET_VMS_MAX	  64
#define FLEET_HOSTS_MAX (2 * FLEET_VMS_MAX)

struct probes;
struct prober;
struct session;

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
	struct session *control; /* NULL: not connected */
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

/* A step that waits until its journal record is durable; see gateway.c. */
struct fleet_pending {
	bool waiting;		    /* the members below except inbox and retry are valid */
	bool said;		    /* the event about a disk that does not answer was given */
	bool in_step;		    /* actions are being carried out: inputs
				     * that they cause must wait too */
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
	struct session *stream[2];	  /* [0] primary's, [1] standby's; NULL: none */
	bool knows_standby;		  /* some standby's stream was open since the start */
	uint64_t standby_features;	  /* what the last standby understands */
	struct fleet_report report[2]; /* by host */
	uint32_t order_seq;
	struct prober *prober; /* borrowed; NULL: this VM has no address to probe */
};

/* A VM that cannot be protected: its file or its journal lines are unusable. */
struct fleet_fault {
	char name[WIRE_NAME_MAX + 1];
	char text[ERROR_TEXT_BYTES];
};

struct fleet_counters {
	uint64_t sessions_opened, sessions_closed, sessions_now, handshakes_now, closing_now;
	uint64_t bytes_in, bytes_out, frames_in, frames_out;
	uint64_t beats, leases, reports, orders_sent, orders_done, resumes, commits;
	uint64_t epoch_acks, epoch_acks_stale;
	uint64_t relay_frames, relay_bytes, relay_dropped, relay_blocked, relay_errors;
	uint64_t journal_writes, journal_errors;
	uint64_t events, events_suppressed, promotions;
	uint64_t probes_sent, probes_answered, probe_replies, probes_lost, probes_malformed,
		probes_stray; /* copied from probes_get_counters() when printed */
	uint64_t witness_keys;
	uint64_t witness[WIRE_WITNESS_N_PATHS][WITNESS_RX_N_VERDICTS]; /* copied from
									* witness_rx_count() */
	uint64_t udp_unwanted,	/* UDP for no service here, on ports that take witness datagrams */
		shield_dropped; /* the part of these that the kernel dropped (witnessing.h) */
	uint64_t refused_version, refused_feature, refused_duplicate, refused_stale_term,
		refused_unknown_vm, refused_identity, refused_bad_frame, refused_bad_checksum,
		refused_not_asked, refused_busy, refused_evicted, refused_old_gateway, refused_timeout, refused_slow;
	uint64_t refused_tls_expired, refused_tls_not_yet_valid, refused_tls_self_signed,
		refused_tls_unknown_ca, refused_tls_revoked, refused_tls_bad_identity,
		refused_wrong_role, refused_tls_no_certificate, refused_tls_bad_certificate,
		refused_tls_old_version, refused_tls_peer_refused, refused_tls_protocol;
};
extern const struct counters_row fleet_counter_rows[];
extern const size_t fleet_n_counter_rows;

/* Callbacks of the operators' service. Strings are valid during the call. */
struct fleet_sinks {
	/* False: too many events, this one was not kept. */
	bool (*event)(void *arg, const char *vm, const char *kind, const char *from, const char *to,
		      const char *text);
	void (*reply)(void *arg, uint64_t op_id, bool ok, const char *code, const char *text);
	void *arg;
};

struct fleet_config {
	struct wire_tls_context *tls;	  /* server side; borrowed */
	struct vm_journal *journal;	  /* borrowed */
	struct journal_thread *journal_thread; /* borrowed, writes `journal`; NULL:
						* append at once, as tests do */
	uint64_t relay_bytes_max;	  /* ciphertext queued towards one peer */
	uint64_t beat_timeout_ns;	  /* a connection silent this long may be replaced */
	uint64_t handshake_timeout_ns;	  /* until HELLO was accepted */
	uint64_t idle_timeout_ns;	  /* of a control connection */
	uint32_t lease_ms;		  /* given with each answer to a beat; 0: none */
	uint32_t release_ms;		  /* a lease lets output leave this long; <= lease_ms */
	uint32_t n_sessions_max;	  /* both: 0 until admission_settle() */
	uint32_t n_handshakes_max;
	uint64_t incarnation;		  /* of this start, vm/incarnation.h; 0: not announced */
	/* Hosts have obeyed @above: begin to record a larger incarnation. 0: recorded() is called
	 * at the end; -EBUSY: one is being recorded; other -errno. NULL: not possible. */
	int (*take_over)(void *arg, uint64_t above);
	/* The journal's thread finished writing an incarnation, with @result. Returns the number
	 * now on file, or 0 if the old one still is. */
	uint64_t (*recorded)(void *arg, int result);
	void *take_over_arg; /* for both functions */
	uint64_t (*clock_ns)(void);	  /* measures handshakes; NULL: clock_mono_ns */
	uint64_t first_order_id;	  /* larger than any of an earlier run: wall clock */
	/* Run @vm's fence command against its host @host. VM_IN_FENCED reports its end later. NULL:
	 * no VM has a command. */
	void (*fence)(void *arg, const struct fleet_vm *vm, uint8_t host, uint64_t term);
	void *fence_arg;
	uint64_t witness_rekey_ns;
	uint16_t witness_port;		  /* UDP; 0: witness datagrams are
					   * not taken, send no keys */
	uint32_t client_address;	  /* our address in the client network, where
					   * datagrams are taken too, host byte order; 0:
					   * they are not, and no VM has witness_sources */
};

struct fleet {
	struct fleet_config config;
	struct fleet_sinks sinks;
	struct fleet_counters counters;
	struct witness_rx *witness;
	uint32_t next_key_id, key_id_step; /* random; see witness_keys.c */
	struct fleet_vm *vms[FLEET_VMS_MAX];
	size_t n_vms;
	struct fleet_fault faults[FLEET_VMS_MAX];
	size_t n_faults;
	struct fleet_host hosts[FLEET_HOSTS_MAX];
	size_t n_hosts;
	struct session *sessions; /* all, newest first */
	struct session *dirty;	  /* those whose shell has something to do; see session.h */
	struct admission admission;
	uint64_t younger; /* highest incarnation above ours that a host has obeyed; 0: none */
	uint64_t takeover_op; /* the take-over request that waits for the disk; 0: none */
	struct probes *probes;	  /* borrowed; NULL: none */
	uint64_t now_ns;	  /* set by every caller: shells, control, main */
	uint8_t scratch[WIRE_FRAME_MAX]; /* one frame being built */
};

/* 0 or -ENOMEM. The sinks may be set later, but before the first input. */
int fleet_new(const struct fleet_config *config, struct fleet **ret_fleet)
	__attribute__((warn_unused_result));
/* Frees VMs; all sessions must have ended. NULL is fine. Returns NULL. */
struct fleet *fleet_free(struct fleet *fleet);

/* Add a VM, with its journal record. 0; -EEXIST: the name is taken;
 * -ENOSPC; -ENOMEM; -EINVAL: the journal's owner is neither of the
 * two hosts (*ret_error says what to do). */
int fleet_add_vm(struct fleet *fleet, const struct vm_config *config, uint64_t now_ns,
		   struct error *ret_error) __attribute__((warn_unused_result));

/* Note for operators that @name cannot be protected, and why (@text). */
void fleet_add_fault(struct fleet *fleet, const char *name, const char *text);

/* Why @name cannot be protected. NULL: it has no fault. */
const char *fleet_find_fault(const struct fleet *fleet, const char *name);

struct fleet_vm *fleet_find_vm(struct fleet *fleet, const char *name);
struct fleet_host *fleet_find_host(struct fleet *fleet, const char *name);

/* The index of @host among @vm's hosts: 0, 1, or -ENOENT. */
int fleet_vm_host(const struct fleet_vm *vm, const struct fleet_host *host);

/* Give one input to one VM. Sets now_ns. 0: taken, now or when the disk allows; -EBUSY: too much
 * waits for the disk already (a command was answered so); other -errno: the journal could not be
 * written. On error the input had no effect.
 *
 * If a write fails later, the connection that gave the input is ended, as its caller would do on an
 * error. The host connects again and repeats the input. */
int fleet_step(struct fleet *fleet, struct fleet_vm *vm, struct vm_input *in);

/* Go on with the steps whose records are now on disk or failed. Call when journal_thread_fd() is
 * readable. */
void fleet_journal_done(struct fleet *fleet);

/* Does the journal hold @vm's present term and owner? Send nothing in them before it does. */
static inline bool fleet_is_durable(const struct fleet_vm *vm)
{
	const struct vm_record *durable = &vm->pending.before.record;

	return !vm->pending.waiting || (durable->term == vm->fsm.record.term &&
					durable->owner == vm->fsm.record.owner);
}

/* Serve the deadlines of all VMs and sessions. Call at fleet_deadline_ns() at the latest. */
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

/* For gateway.c: the journal's thread has recorded an incarnation, or failed. */
void fleet_recorded(struct fleet *fleet, int result);

/* For session/ and main. @vm: a name or "". */
void fleet_event(struct fleet *fleet, const char *vm, const char *kind, const char *text);

/* The refused_* counter for a TLS connection (agent's or operator's) that ended with @failure.
 * Never NULL. */
uint64_t *fleet_tls_counter(struct fleet *fleet, enum wire_tls_failure failure);

/* Print all counters, with the relays' sums, as name=value lines. */
void fleet_print_counters(struct fleet *fleet, struct bytes_writer *w);

#endif
