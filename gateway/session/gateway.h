/* gateway.h - the context that ties VMs, sessions, journal and operators together.
 *
 * Why: sessions (frames) and control (operators) both feed the same state machines; the actions that
 * come out are carried out here, in order, in one place.
 *
 * Where: main makes it; session/ and control/ call it; it calls vm/ and sessions' send functions.
 *
 *	session ─ frame ──► gateway_step ─► vm_fsm_step ─► actions ─► journal ┄┄ durable ┄► sessions, sinks
 *	control ─ verb ───►      │                                      │
 *	main ─ tick ──────►      │                                      └┄ failed: the machine is put back,
 *	                         │                                         nothing follows
 *	                         '── a step waits for the disk: into this VM's inbox, until it is over
 *
 * The record is written by journal_thread.h. Meanwhile this VM stands still, as if the loop had blocked
 * for it alone: its inputs wait in order (inbox.h), what follows from the step waits. Other VMs go on,
 * and so do the leases of this one as long as the record changes neither term nor owner.
 *
 * Threads: one, the gateway's loop. Nothing here blocks (but for tests without a journal_thread).
 * Memory is taken at start.
 */
#ifndef SESSION_GATEWAY_H
#define SESSION_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/counters.h"
#include "base/rate.h"
#include "session/admission.h"
#include "session/inbox.h"
#include "vm/fsm.h"
#include "vm/journal.h"
#include "vm/journal_thread.h"
#include "vm/relay.h"
#include "wire/tls.h"
#include "witness/witness_rx.h"

#define GATEWAY_VMS_MAX	  64
#define GATEWAY_HOSTS_MAX (2 * GATEWAY_VMS_MAX)

struct probes;
struct prober;
struct session;

/* What an agent said last about a VM. */
struct gateway_report {
	uint64_t at_ns; /* 0: never */
	uint64_t term, epoch;
	uint8_t role, state, verdict;
	char text[WIRE_TEXT_MAX + 1];
	char stats[WIRE_STATS_MAX + 1];
	char told_text[WIRE_TEXT_MAX + 1]; /* what the last event of this host said that it cannot do */
	uint64_t told_ns;
};

struct gateway_host {
	char name[WIRE_NAME_MAX + 1];
	struct session *control; /* NULL: not connected */
	char source[16];     /* address that it said HELLO from last; "" never */
	struct rate log_rate; /* of lines that it can cause at will */
	char configured[16]; /* address that a VM's file gives it on the backup network; "" none */
};

/* The witness key of a VM's owner. */
struct gateway_witness {
	uint64_t term;		      /* that it is for; 0: there is none */
	uint8_t owner;		      /* whose it is */
	uint64_t sent_on;	      /* number of the control connection that it went to; 0: none */
	uint64_t sent_ns;	      /* when */
	uint64_t failed_ns;	      /* when one could not be made; 0: it could */
	uint64_t n_bad_mac_said;      /* view's figure when the last event told of forgeries ... */
	uint64_t said_ns;	      /* ... then */
};

/* A step that waits until its journal record is durable; see gateway.c. */
struct gateway_pending {
	bool waiting;		    /* the members below but inbox and retry are valid */
	bool said;		    /* the event that the disk does not answer was given */
	bool in_step;		    /* actions are being carried out: what they bring about waits too */
	uint64_t since_ns;
	struct vm_fsm before;	    /* put back when the record cannot be written; its record is durable */
	struct inbox_entry in;	    /* what the step was told */
	struct vm_actions actions;  /* of the step; those before `at` are done */
	size_t at;
	struct inbox inbox;	    /* what came since */
	struct inbox_entry retry;   /* an input that nobody repeats, and that had no effect ... */
	uint64_t retry_ns;	    /* ... is given again then; 0: there is none */
};

struct gateway_vm {
	struct vm_config config;
	size_t index;			  /* in gateway->vms, and in the witness receiver */
	struct gateway_witness witness;
	/* Where each host's datagrams come from in the client network, host byte order; 0: none may. */
	uint32_t witness_sources[2];
	struct vm_fsm fsm; /* may be ahead of the journal: gateway_is_durable() */
	struct gateway_pending pending;
	struct vm_relay relay;
	struct gateway_host *host[2];
	struct session *stream[2];	  /* [0] primary's, [1] standby's; NULL: none */
	bool knows_standby;		  /* a standby's stream was open since the start */
	uint64_t standby_features;	  /* what the last one understands */
	struct gateway_report report[2]; /* by host */
	uint32_t order_seq;
	struct prober *prober; /* borrowed; NULL: no address of this VM is to be probed */
};

/* A VM that cannot be looked after: its file, or its rows of the journal, are of no use. */
struct gateway_fault {
	char name[WIRE_NAME_MAX + 1];
	char text[VM_JOURNAL_ERROR_BYTES];
};

struct gateway_counters {
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
	uint64_t witness[WIRE_WITNESS_N_PATHS][WITNESS_RX_N_VERDICTS]; /* copied from witness_rx_count() */
	uint64_t udp_unwanted,	/* UDP that is for nobody here, where witness datagrams are taken */
		shield_dropped; /* of all these, what the kernel dropped (witnessing.h) */
	uint64_t refused_version, refused_feature, refused_duplicate, refused_stale_term,
		refused_unknown_vm, refused_identity, refused_bad_frame, refused_bad_checksum,
		refused_not_asked, refused_busy, refused_evicted, refused_old_gateway, refused_timeout, refused_slow;
	uint64_t refused_tls_expired, refused_tls_not_yet_valid, refused_tls_self_signed,
		refused_tls_unknown_ca, refused_tls_revoked, refused_tls_bad_identity,
		refused_wrong_role, refused_tls_no_certificate, refused_tls_bad_certificate,
		refused_tls_old_version, refused_tls_peer_refused, refused_tls_protocol;
};
extern const struct counters_row gateway_counter_rows[];
extern const size_t gateway_n_counter_rows;

/* Where operators listen. Strings of @action are valid during the call. */
struct gateway_sinks {
	/* False: it was one too many, and is not kept. */
	bool (*event)(void *arg, const char *vm, const char *kind, const char *from, const char *to,
		      const char *text);
	void (*reply)(void *arg, uint64_t op_id, bool ok, const char *code, const char *text);
	void *arg;
};

struct gateway_config {
	struct wire_tls_context *tls;	  /* server side; borrowed */
	struct vm_journal *journal;	  /* borrowed */
	struct journal_thread *journal_thread; /* borrowed, over it; NULL: append at once, as tests do */
	uint64_t relay_bytes_max;	  /* ciphertext queued towards one peer */
	uint64_t beat_timeout_ns;	  /* a connection silent this long may be replaced */
	uint64_t handshake_timeout_ns;	  /* until HELLO was accepted */
	uint64_t idle_timeout_ns;	  /* of a control connection */
	uint32_t lease_ms;		  /* given with each answer to a beat; 0: none */
	uint32_t release_ms;		  /* the same for its output; <= lease_ms */
	uint32_t n_sessions_max;	  /* both: 0 until admission_settle() */
	uint32_t n_handshakes_max;
	uint64_t incarnation;		  /* of this start, vm/incarnation.h; 0: none is said */
	/* Hosts have obeyed @above: begin to record a larger incarnation. 0: recorded() tells the
	 * end; -EBUSY: one is being recorded; other -errno. NULL: it cannot. */
	int (*take_over)(void *arg, uint64_t above);
	/* It ended with @result, as all that the journal's thread writes of the incarnation. The
	 * number that is on file now, or 0: the old one is. */
	uint64_t (*recorded)(void *arg, int result);
	void *take_over_arg; /* of both */
	uint64_t (*clock_ns)(void);	  /* to measure handshakes with; NULL: clock_mono_ns */
	uint64_t first_order_id;	  /* larger than any of an earlier run: wall clock */
	/* Run @vm's fence command against its host @host; how it ended comes as VM_IN_FENCED, later.
	 * NULL: no VM has a command. */
	void (*fence)(void *arg, const struct gateway_vm *vm, uint8_t host, uint64_t term);
	void *fence_arg;
	uint64_t witness_rekey_ns;
	uint16_t witness_port;		  /* UDP; 0: nobody takes witness datagrams, give no keys */
	uint32_t client_address;	  /* ours in the client network, where they are taken too, host byte order;
					   * 0: they are not, and no VM has witness_sources */
};

struct gateway {
	struct gateway_config config;
	struct gateway_sinks sinks;
	struct gateway_counters counters;
	struct witness_rx *witness;
	uint32_t next_key_id, key_id_step; /* random; see witness_keys.c */
	struct gateway_vm *vms[GATEWAY_VMS_MAX];
	size_t n_vms;
	struct gateway_fault faults[GATEWAY_VMS_MAX];
	size_t n_faults;
	struct gateway_host hosts[GATEWAY_HOSTS_MAX];
	size_t n_hosts;
	struct session *sessions; /* all, newest first */
	struct session *dirty;	  /* those with something to do for their shell; see session.h */
	struct admission admission;
	uint64_t younger; /* highest incarnation above ours that a host said it has obeyed; 0: none */
	uint64_t takeover_op; /* waits for the disk; 0: none */
	struct probes *probes;	  /* borrowed; NULL: none */
	uint64_t now_ns;	  /* set by whoever enters: shells, control, main */
	uint8_t scratch[WIRE_FRAME_MAX]; /* one frame being built */
};

/* 0 or -ENOMEM. The sinks may be set later, before the first input. */
int gateway_new(const struct gateway_config *config, struct gateway **ret_gateway)
	__attribute__((warn_unused_result));
/* Frees VMs; all sessions must have ended. NULL is fine. Returns NULL. */
struct gateway *gateway_free(struct gateway *gw);

/* Add a VM, with what the journal holds of it. 0; -EEXIST: the name is taken; -ENOSPC; -ENOMEM;
 * -EINVAL: the journal's owner is none of the two hosts (@ret_error, VM_JOURNAL_ERROR_BYTES, says
 * what to do). */
int gateway_add_vm(struct gateway *gw, const struct vm_config *config, uint64_t now_ns,
		   char *ret_error) __attribute__((warn_unused_result));

/* @name is not looked after, for the reason in @text: shown to operators. */
void gateway_add_fault(struct gateway *gw, const char *name, const char *text);

/* Why @name is not looked after; NULL: there is no such fault. */
const char *gateway_find_fault(const struct gateway *gw, const char *name);

struct gateway_vm *gateway_find_vm(struct gateway *gw, const char *name);
struct gateway_host *gateway_find_host(struct gateway *gw, const char *name);

/* Which of @vm's hosts @host is: 0, 1, or -ENOENT. */
int gateway_vm_host(const struct gateway_vm *vm, const struct gateway_host *host);

/* One input to one VM. now_ns is filled in. 0: taken, now or when the disk allows; -EBUSY: too much
 * waits for the disk already (a command was answered so); other -errno: the journal could not be
 * written. On error the input had no effect. When a write fails later, the connection whose input it
 * was is ended, as its caller does on an error: it comes back and says it again. */
int gateway_step(struct gateway *gw, struct gateway_vm *vm, struct vm_input *in);

/* Carry on with the steps whose records are on disk now, or failed. When journal_thread_fd() is
 * readable. */
void gateway_journal_done(struct gateway *gw);

/* Does the journal hold @vm's present term and owner? Nothing may be said in them before. */
static inline bool gateway_is_durable(const struct gateway_vm *vm)
{
	const struct vm_record *durable = &vm->pending.before.record;

	return !vm->pending.waiting || (durable->term == vm->fsm.record.term &&
					durable->owner == vm->fsm.record.owner);
}

/* Time for all VMs and sessions. Call at gateway_deadline_ns() at the latest. */
void gateway_tick(struct gateway *gw, uint64_t now_ns);
uint64_t gateway_deadline_ns(const struct gateway *gw, uint64_t now_ns);

/* What the kernel of the present owner of @vm said of the guest, in this term; never NULL, its
 * n_accepted may be 0. Valid until the VM's term or owner changes: ask anew in each step. */
static inline const struct witness_view *gateway_witness(const struct gateway *gw,
							 const struct gateway_vm *vm)
{
	return witness_rx_view(gw->witness, vm->index);
}

/* An operator says that the younger gateways are gone for good: take an incarnation above theirs,
 * and have all agents connect anew, once it is durable. 0: @op_id (not 0) gets its reply then;
 * -ENOENT: no host has obeyed a younger one; -EBUSY: one is being recorded; other -errno: it cannot
 * be recorded. takeover.c. */
int gateway_take_over(struct gateway *gw, uint64_t op_id) __attribute__((warn_unused_result));

/* For gateway.c: the journal's thread has recorded an incarnation, or failed. */
void gateway_recorded(struct gateway *gw, int result);

/* For session/ and main. @vm: a name or "". */
void gateway_event(struct gateway *gw, const char *vm, const char *kind, const char *text);

/* The refused_* counter of a TLS connection, of an agent or an operator, that ended with @failure. Never
 * NULL. */
uint64_t *gateway_tls_counter(struct gateway *gw, enum wire_tls_failure failure);

/* All counters, relays summed in, as name=value lines. */
void gateway_print_counters(struct gateway *gw, struct bytes_writer *w);

#endif
