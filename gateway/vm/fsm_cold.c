/* fsm_cold.c - a cold start: the guest runs nowhere, and no host has a copy of its memory, because
 * both hosts have lost their power. Decides which host's disks are the newest, and starts the guest
 * there, once (docs/decisions/0056-cold-start.md).
 *
 *	 both hosts report `cold`        which are the newest          the other is fenced
 *	 ───────────────────────► told ──────────────────────► PROMOTING ─────────────────► START
 *	 or the owner does, alone        policy, or an operator         (a new term)
 *
 * The hosts report what their own disks say: the host's role and the role's term, and whether the
 * images are sound. The journal can only forbid a cold start. So a lost journal does not prevent
 * it: the two hosts are two voices (rule 5 of fsm.h), and a host that ran the guest has recorded
 * that on its disk.
 *
 * The report of one host is enough only if this host is the owner in the journal. No other host can
 * have run the guest later, because the journal would then have a later term. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "vm/fsm_private.h"

/* How long the reports must say that the guest runs nowhere. A host that was just booted reports
 * that it has no guest, until it finds a guest that was started there automatically. */
#define SETTLE_NS CLOCK_NS_PER_S
/* How long to wait for the other host to come back, before the guest is started on the owner
 * alone. */
#define ALONE_NS (30 * CLOCK_NS_PER_S)

static bool is_there(const struct vm_host *host)
{
	return host->up && host->reported;
}

/* Returns what host @h reports about itself. A standby that has got no epoch yet has no copy of the
 * memory, so it counts like a host that has lost its copy. */
static struct vm_cold_word word_of(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *host = &fsm->host[h];

	if (!is_there(host))
		return (struct vm_cold_word){.role = VM_COLD_NOT};
	if (host->cold.role == VM_COLD_NOT && h != fsm->record.owner && host->epoch == 0 &&
	    fsm->protection.complete == 0 && vm_agent_stands_by(host->agent_state))
		return (struct vm_cold_word){.role = VM_COLD_STANDBY,
					     .disk = host->cold.disk == VM_COLD_DISK_TORN
							     ? VM_COLD_DISK_TORN
							     : VM_COLD_DISK_NONE};
	return host->cold;
}

/* Returns the term in which the guest last ran on host @h, according to that host; 0: it did not
 * run there. */
static uint64_t ran_in(const struct vm_fsm *fsm, uint8_t h)
{
	enum vm_cold_role role = word_of(fsm, h).role;

	/* Use cold.ran, not the term that the host has reached: a START that failed there has
	 * raised that term. */
	return role == VM_COLD_PRIMARY || role == VM_COLD_RUNNING ? fsm->host[h].cold.ran : 0;
}

static bool is_promoting(const struct vm_fsm *fsm)
{
	return fsm->record.state == VM_PROMOTING || fsm->record.state == VM_FAILED;
}

/* Is the journal's owner the only host that has reported, and is its report enough? */
static bool is_alone(const struct vm_fsm *fsm)
{
	uint8_t owner = fsm->record.owner;

	/* an earlier start on the owner alone was given up: the owner can be chosen again */
	bool is_again = fsm->cold.is_lost && fsm->cold.was_certain_alone;

	return !fsm->host[vm_fsm_other(fsm)].up && ran_in(fsm, owner) > 0 &&
	       (!is_promoting(fsm) || is_again) && fsm->record.term > 0 && !vm_fsm_in_conflict(fsm);
}

/* Could the host without a seat have the guest, or have been the last to run it? Yes if it reports
 * that it has something of the guest. If it has not reported, the journal is believed. But a
 * journal that is lost or old does not know whether this host had a seat meanwhile. Then the host
 * must have reported. */
static bool is_spares(const struct vm_fsm *fsm)
{
	const struct vm_host *spare = &fsm->host[vm_fsm_spare(fsm)];

	if (vm_spare_has_something(fsm))
		return true;
	return (vm_fsm_in_conflict(fsm) || fsm->record.term == 0) && !is_there(spare);
}

bool vm_cold_is_nowhere(const struct vm_fsm *fsm)
{
	uint8_t other = vm_fsm_other(fsm), owner = fsm->record.owner;
	struct vm_cold_word own = word_of(fsm, owner), word = word_of(fsm, other);
	enum vm_state state = fsm->record.state;

	if (vm_fsm_has_spare(fsm) && is_spares(fsm))
		return false;
	/* The owner still has the guest's QEMU, and keeps it stopped. So no cold start is needed:
	 * the order PROTECT lets the guest continue. */
	if ((state == VM_SYNCING || state == VM_PROTECTED) && own.has_qemu &&
	    own.disk != VM_COLD_DISK_UNSOUND)
		return false;
	if (is_alone(fsm))
		return true;
	if (own.role == VM_COLD_NOT || word.role == VM_COLD_NOT)
		return false;
	return ran_in(fsm, owner) > 0 || ran_in(fsm, other) > 0 ||
	       own.disk == VM_COLD_DISK_COPY || word.disk == VM_COLD_DISK_COPY;
}

bool vm_cold_waits(const struct vm_fsm *fsm, uint8_t h)
{
	uint8_t other = vm_fsm_beside(fsm, h);
	struct vm_cold_word word = word_of(fsm, h), peer = word_of(fsm, other);

	return word.role >= VM_COLD_STANDBY && !word.has_qemu &&
	       (!is_there(&fsm->host[other]) || (peer.role != VM_COLD_NOT && !peer.has_qemu));
}

/* ---- which disks are the newest */

struct choice {
	/* starting the guest from @host's disks loses nothing that a client has seen */
	bool is_certain;
	uint8_t host;
	char why[VM_TEXT_MAX / 2];
};

static struct choice uncertain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct choice uncertain(const char *format, ...)
{
	struct choice c = {.is_certain = false};
	va_list args;

	va_start(args, format);
	(void)text_vput(c.why, sizeof(c.why), format, args);
	va_end(args);
	return c;
}

/* Host @best ran the guest last. Choose between its disks and the copy of them on the other
 * host. */
static struct choice by_disks(const struct vm_fsm *fsm, uint8_t best)
{
	uint8_t other = vm_fsm_beside(fsm, best);
	struct vm_cold_word word = word_of(fsm, other);
	struct choice c = {.is_certain = true, .host = best};

	switch (word_of(fsm, best).disk) {
	case VM_COLD_DISK_OWN:
		(void)text_put(c.why, sizeof(c.why), "%s ran it last, in term %" PRIu64,
			       vm_host_name(fsm, best), ran_in(fsm, best));
		return c;
	case VM_COLD_DISK_UNSOUND:
		if (word.disk != VM_COLD_DISK_COPY || word.term != ran_in(fsm, best))
			return uncertain("%s ran it last, but ignored its flushes, and %s has no "
					 "whole copy of that term", vm_host_name(fsm, best),
					 vm_host_name(fsm, other));
		c.host = other;
		(void)text_put(c.why, sizeof(c.why),
			       "%s ran it last, but ignored its flushes; %s has all that was "
			       "committed, epoch %" PRIu64, vm_host_name(fsm, best),
			       vm_host_name(fsm, other), word.epoch);
		return c;
	case VM_COLD_DISK_COPY:
	case VM_COLD_DISK_TORN:
	case VM_COLD_DISK_NONE:
	default:
		return uncertain("%s ran it last, and has no disk of it: nothing is left there",
				 vm_host_name(fsm, best));
	}
}

/* According to both hosts' reports, @best ran the guest last. Check whether the journal forbids
 * starting the guest there. Returns
 * 0: the journal does not forbid it;
 * 1: the journal forbids it, and *ret has the reason;
 * 2: an earlier run of this gateway has already decided; *ret is that decision. */
static int ask_journal(const struct vm_fsm *fsm, uint8_t best, struct choice *ret)
{
	uint8_t owner = fsm->record.owner, other = vm_fsm_other(fsm);
	struct vm_cold_word word = word_of(fsm, owner);
	/* A standby that was told to stop has files too: it has no role, but knows the term. */
	bool has_files = word.role >= VM_COLD_STANDBY ||
			 (word.role == VM_COLD_NONE && fsm->host[owner].term == fsm->record.term);

	if (vm_fsm_in_conflict(fsm))
		return 0;
	/* In PROMOTING and FAILED only a cold start fences the other host. So if that host is
	 * fenced, an earlier cold start has begun. */
	if (is_promoting(fsm) && word_of(fsm, other).role == VM_COLD_FENCED) {
		if (word.disk != VM_COLD_DISK_OWN && word.disk != VM_COLD_DISK_COPY) {
			*ret = uncertain("%s was chosen before, and has no whole disk",
					 vm_host_name(fsm, owner));
			return 1;
		}
		*ret = (struct choice){.is_certain = true, .host = owner};
		(void)text_put(ret->why, sizeof(ret->why), "%s was chosen before, and %s is fenced",
			       vm_host_name(fsm, owner), vm_host_name(fsm, other));
		return 2;
	}
	if (is_promoting(fsm) ? has_files : best == owner)
		return 0;
	*ret = uncertain("%s owned it by the journal, and has no file that says so",
			 vm_host_name(fsm, owner));
	return 1;
}

static uint8_t first_seat(const struct vm_fsm *fsm)
{
	return vm_fsm_spare(fsm) == VM_HOST_FIRST ? VM_HOST_SECOND : VM_HOST_FIRST;
}

/* Is the VM unprotected, and does the owner not say that its guest was protected to the end? If it
 * does, the order UNPROTECT was not carried out, and the standby may have all that clients saw. */
static bool is_released(const struct vm_fsm *fsm)
{
	return fsm->record.state == VM_UNPROTECTED &&
	       word_of(fsm, fsm->record.owner).role != VM_COLD_PRIMARY;
}

static struct choice choose(const struct vm_fsm *fsm)
{
	uint64_t seen = fsm->term_seen > fsm->record.term ? fsm->term_seen : fsm->record.term;
	uint8_t first = first_seat(fsm), second = vm_fsm_beside(fsm, first);
	uint8_t best = ran_in(fsm, first) > ran_in(fsm, second) ? first : second;
	struct choice c;

	for (uint8_t h = 0; h < VM_HOSTS; h++) {
		if (is_there(&fsm->host[h]) && fsm->host[h].term > seen)
			return uncertain("the term of %s is out of range", vm_host_name(fsm, h));
	}
	if (ran_in(fsm, vm_fsm_spare(fsm)) > ran_in(fsm, best))
		return uncertain("%s ran it last, and has no seat by the journal",
				 vm_host_name(fsm, vm_fsm_spare(fsm)));
	/* A standby that is cut off may have the guest's memory, which is newer than any disk. So
	 * the choice is not certain. */
	if (is_alone(fsm) && !is_released(fsm) && fsm->record.state != VM_PREPARING &&
	    !is_promoting(fsm))
		return uncertain("%s is not connected, and may still have a copy of its memory",
				 vm_host_name(fsm, vm_fsm_other(fsm)));
	if (is_alone(fsm))
		return by_disks(fsm, fsm->record.owner);
	if (ask_journal(fsm, best, &c))
		return c;
	if (ran_in(fsm, first) == ran_in(fsm, second))
		return uncertain(ran_in(fsm, first) ? "both hosts say that they ran it last"
						: "neither host says that it ran it");
	return by_disks(fsm, best);
}

static const char *describe_host(const struct vm_fsm *fsm, uint8_t h, char *text, size_t size)
{
	static const char *const disks[] = {
		[VM_COLD_DISK_NONE] = "no disk of it",
		[VM_COLD_DISK_OWN] = "its own disks",
		[VM_COLD_DISK_UNSOUND] = "disks without flushes",
		[VM_COLD_DISK_TORN] = "an unfinished copy",
	};
	struct vm_cold_word word = word_of(fsm, h);
	uint64_t term = ran_in(fsm, h);
	int n;

	if (!is_there(&fsm->host[h])) {
		(void)text_put(text, size, "%s is not connected", vm_host_name(fsm, h));
		return text;
	}
	if (word.disk == VM_COLD_DISK_COPY) {
		(void)text_put(text, size, "%s: a whole copy, epoch %" PRIu64 " of term %" PRIu64,
			       vm_host_name(fsm, h), word.epoch, word.term);
		return text;
	}
	n = snprintf(text, size, "%s: %s", vm_host_name(fsm, h), disks[word.disk]);
	if (term > 0 && n > 0 && (size_t)n < size)
		(void)text_put(text + n, size - (size_t)n, ", ran it in term %" PRIu64, term);
	return text;
}

static void describe_both(const struct vm_fsm *fsm, char *text, size_t size)
{
	uint8_t h = first_seat(fsm);
	char first[128], second[128];

	(void)text_put(text, size, "%s; %s", describe_host(fsm, h, first, sizeof(first)),
		       describe_host(fsm, vm_fsm_beside(fsm, h), second, sizeof(second)));
}

/* Does the policy let the gateway start the guest by itself? A guest that nobody wants protected
 * may have been switched off on purpose. */
static bool is_automatic(const struct vm_fsm *fsm)
{
	bool was_protected = fsm->record.state != VM_UNPROTECTED || fsm->record.is_wanted;

	/* If the journal is lost, a host's role file may say that the guest was protected. */
	for (uint8_t h = 0; h < VM_HOSTS && vm_fsm_in_conflict(fsm); h++)
		was_protected |= word_of(fsm, h).role == VM_COLD_PRIMARY;
	return fsm->config->cold_start_newest && !fsm->cold.has_failed && was_protected;
}

const char *vm_cold_describe(const struct vm_fsm *fsm, char *text, size_t size)
{
	struct choice c = choose(fsm);
	const char *vm = fsm->config->name;

	if (!c.is_certain)
		(void)text_put(text, size,
			       "%s; `holdfastctl start %s --on HOST --lose` starts what HOST "
			       "has", TEXT_SHORT(110, c.why), vm);
	else if (is_automatic(fsm) && fsm->is_barred[c.host])
		(void)text_put(text, size,
			       "%s; %s is drained: it is started there by itself after "
			       "`holdfastctl undrain %s`; `holdfastctl start %s` does not wait",
			       TEXT_SHORT(110, c.why), vm_host_name(fsm, c.host),
			       vm_host_name(fsm, c.host), vm);
	else if (is_automatic(fsm))
		(void)text_put(text, size, "%s: it is started on %s by itself%s",
			       TEXT_SHORT(110, c.why),
			       vm_host_name(fsm, c.host),
			       is_alone(fsm) ? ", once the other host was waited for" : "");
	else
		(void)text_put(text, size, "%s; `holdfastctl start %s` starts it on %s",
			       TEXT_SHORT(110, c.why),
			       vm, vm_host_name(fsm, c.host));
	return text;
}

/* ---- starting the guest */

/* Begin the cold start on @host. @reason says why @host was chosen. @may_fence: run the fence
 * command against the other host if that host is away. Returns true if the cold start has begun. */
static bool start(struct vm_step *s, uint8_t host, const char *reason, bool may_fence)
{
	struct vm_fsm *fsm = s->fsm;
	uint64_t before = fsm->record.term;
	uint8_t owner = fsm->record.owner;
	bool alone = !fsm->host[vm_fsm_beside(fsm, host)].up;
	struct choice c = choose(fsm);
	bool is_certain_alone = is_alone(fsm) && c.is_certain && c.host == host;
	bool is_torn = vm_cold_is_torn(fsm, host);

	vm_finish_op(s, false, "aborted", "the guest runs nowhere, and is started anew");
	s->may_resolve = true;
	vm_set_state(s, VM_PROMOTING, host, true, "cold start: %s%s", reason,
		     is_torn ? ", which are an unfinished copy" : "");
	s->may_resolve = false;
	if (fsm->record.term == before)
		return false;
	fsm->release_due = fsm->stop_due = fsm->fence_due = false;
	fsm->cold.is_start = true;
	fsm->cold.is_alone = alone;
	fsm->cold.was_certain_alone = is_certain_alone;
	fsm->cold.is_torn = is_torn;
	if (!alone || !may_fence || !fsm->config->has_fence_command)
		return true;
	fsm->fencing = VM_FENCING_DUE;
	/* An owner that is away may still run the guest, without a lease if it was unprotected. So
	 * the fence command must succeed, even if the start is requested again (fsm_lost.c). */
	if (owner != host)
		fsm->may_run[owner] = true;
	return true;
}

/* A host records the role FENCED before it stops the guest. So only its answer to the order FENCE
 * shows that the guest is stopped. */
bool vm_cold_is_fenced(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_order *order = &fsm->host[h].order;

	return is_there(&fsm->host[h]) && order->id && order->verb == WIRE_VERB_FENCE &&
	       order->term == fsm->record.term && order->done && order->ok;
}

uint8_t vm_cold_verb(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *other = &fsm->host[vm_fsm_other(fsm)];
	bool is_fenced = vm_cold_is_fenced(fsm, vm_fsm_other(fsm));
	bool was_waited_for = fsm->stepped_ns - fsm->entered_ns >= ALONE_NS &&
			      liveness_silent_for(&other->live, ALONE_NS, fsm->stepped_ns);

	if (h != fsm->record.owner)
		return is_there(other) && !is_fenced ? WIRE_VERB_FENCE : 0;
	/* The agent on the other host lets nobody start the guest there, even if it is cut off. So
	 * if the other host is away, wait for it only for ALONE_NS. But a host that may run the
	 * guest must be fenced (fsm_lost.c). */
	return is_fenced || (!other->up && !fsm->may_run[vm_fsm_other(fsm)] &&
			     (fsm->cold.is_alone || was_waited_for))
		       ? WIRE_VERB_START
		       : 0;
}

static void tell(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	char next[VM_TEXT_MAX], hosts[VM_TEXT_MAX];
	uint8_t n = (uint8_t)(1 + !is_alone(fsm));

	if (fsm->cold.told >= n)
		return;
	fsm->cold.told = n;
	describe_both(fsm, hosts, sizeof(hosts));
	vm_event(s, "cold", "the guest runs nowhere. %s. %s", TEXT_SHORT(140, hosts),
		 TEXT_SHORT(170, vm_cold_describe(fsm, next, sizeof(next))));
}

void vm_cold_look(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	struct choice c;

	if (fsm->cold.is_start)
		return;
	if (!vm_cold_is_nowhere(fsm)) {
		/* keep has_failed: a start that has failed is not repeated automatically */
		fsm->cold = (struct vm_cold){
			.has_failed = fsm->cold.has_failed && fsm->record.state != VM_PROTECTED,
			.is_lost = fsm->cold.is_lost,
			.was_certain_alone = fsm->cold.was_certain_alone};
		return;
	}
	if (fsm->cold.since_ns == 0)
		fsm->cold.since_ns = s->now_ns;
	if (s->now_ns - fsm->cold.since_ns < SETTLE_NS)
		return;
	tell(s);
	if (!is_automatic(fsm) ||
	    (is_alone(fsm) && s->now_ns - fsm->cold.since_ns < ALONE_NS))
		return;
	c = choose(fsm);
	if (c.is_certain && !fsm->is_barred[c.host])
		(void)start(s, c.host, c.why, false);
}

/* ---- disks that are an unfinished copy */

bool vm_cold_is_torn(const struct vm_fsm *fsm, uint8_t h)
{
	struct vm_cold_word word = word_of(fsm, h);

	return word.role != VM_COLD_NOT && word.disk == VM_COLD_DISK_TORN;
}

void vm_cold_tell_torn(struct vm_step *s, uint8_t h)
{
	struct vm_host *host = &s->fsm->host[h];
	const struct vm_cold_word *word = &host->cold;
	bool is_torn = word->role != VM_COLD_NOT && word->disk == VM_COLD_DISK_TORN;

	if (is_torn && !host->is_torn_told)
		vm_event(s, "disk",
			 "the disks on %s are an unfinished copy: some blocks are of one moment, "
			 "others of another. The next protection there makes them whole",
			 vm_host_name(s->fsm, h));
	host->is_torn_told = is_torn;
}

/* Torn disks have some blocks of one moment and some of another, so the guest's file systems can be
 * damaged. `--lose` does not cover this: it accepts only that the newest writes are missing. So
 * refuse torn disks unless the operator gave `--torn`. Returns true if the command was refused. */
static bool refuse_torn(struct vm_step *s, uint8_t h)
{
	if (s->in->may_be_torn || !vm_cold_is_torn(s->fsm, h))
		return false;
	vm_reply(s, false, "torn",
		 "the disks on %s are an unfinished copy: some blocks are of one moment, others of "
		 "another, and %s may find its file systems damaged. --torn starts them all the "
		 "same", vm_host_name(s->fsm, h), s->fsm->config->name);
	return true;
}

/* ---- the command */

/* Is host @h away, or has it neither the guest nor a copy of the guest's memory, by its own report?
 * An older agent does not report this, but its state shows it. */
static bool has_nothing(const struct vm_fsm *fsm, uint8_t h)
{
	const struct vm_host *host = &fsm->host[h];

	return !host->up || (host->reported && (host->cold.role != VM_COLD_NOT ||
						(host->epoch == 0 &&
						 (host->agent_state == WIRE_STATE_IDLE ||
						  host->agent_state == WIRE_STATE_FENCED))));
}

/* Refuse the command, because the guest runs, or may run somewhere. */
static void refuse_running(struct vm_step *s)
{
	const struct vm_fsm *fsm = s->fsm;
	const char *vm = fsm->config->name, *owner = vm_host_name(fsm, fsm->record.owner);
	char advice[VM_TEXT_MAX];

	if (vm_lost_is_start(fsm))
		vm_reply(s, false, "not-cold", "%s",
			 vm_lost_advice(fsm, advice, sizeof(advice)));
	else if (vm_has_guest(&fsm->host[fsm->record.owner]))
		vm_reply(s, false, "not-cold",
			 "%s runs on %s; `start` is for after a power failure", vm, owner);
	else
		vm_reply(s, false, "not-cold",
			 "%s may run, or a copy of its memory may be left: all its hosts must be "
			 "connected and report that they have neither; `holdfastctl vm show %s`. "
			 "If a host never comes back: --on OTHER --lose", vm, vm);
}

void vm_on_start(struct vm_step *s)
{
	struct vm_fsm *fsm = s->fsm;
	const char *vm = fsm->config->name;
	struct choice c = {.is_certain = false};
	bool is_nowhere = vm_cold_is_nowhere(fsm), is_unsure;
	uint8_t h = s->in->host;
	char hosts[VM_TEXT_MAX];

	if (s->in->is_host_named && h == vm_fsm_spare(fsm)) {
		vm_reply(s, false, "not-possible", "%s has no seat, so %s cannot be started there; "
			 "`protect %s --with %s` gives it one, once the guest runs",
			 vm_host_name(fsm, h), vm, vm, vm_host_name(fsm, h));
		return;
	}
	if (fsm->op.id || fsm->cold.is_start) {
		vm_reply(s, false, "busy",
			 "%s is being started, or an operator's request is running; try again when "
			 "`holdfastctl events` tells its end", vm);
		return;
	}
	if (is_nowhere)
		c = choose(fsm);
	if (!s->in->is_host_named)
		h = c.host;
	describe_both(fsm, hosts, sizeof(hosts));
	if (s->in->is_host_named && !fsm->host[h].up) {
		vm_reply(s, false, "not-connected",
			 "%s is not connected, so %s cannot be started there: is holdfast-agent "
			 "running on it?", vm_host_name(fsm, h), vm);
		return;
	}
	/* If it is not certain that the guest runs nowhere, an operator must know that the other
	 * host never comes back, and say so by `--on` and `--lose`. */
	if (!is_nowhere && !(s->in->is_host_named && s->in->may_lose &&
			     word_of(fsm, h).role != VM_COLD_NOT &&
			     has_nothing(fsm, vm_fsm_beside(fsm, h)) &&
			     !vm_spare_has_something(fsm))) {
		refuse_running(s);
		return;
	}
	if (!c.is_certain && !s->in->is_host_named) {
		vm_reply(s, false, "not-decided",
			 "%s. %s. Choose with --on HOST --lose", TEXT_SHORT(120, hosts),
		       TEXT_SHORT(100, c.why));
		return;
	}
	if (!(c.is_certain && h == c.host) && !s->in->may_lose) {
		vm_reply(s, false, "would-lose",
		       "%s does not have the newest, or it is not certain: %s. --lose starts "
		       "it all the same", vm_host_name(fsm, h), TEXT_SHORT(150, hosts));
		return;
	}
	if (vm_lost_refuse(s, h) || refuse_torn(s, h))
		return;
	is_unsure = fsm->may_run[vm_fsm_beside(fsm, h)];
	if (s->in->is_off_named)
		fsm->may_run[s->in->off] = false;
	fsm->cold.has_failed = false;
	if (start(s, h, c.is_certain && h == c.host ? c.why : "an operator chose these disks",
		  s->in->may_lose && !s->in->is_off_named &&
			  (h != fsm->record.owner || is_unsure)))
		vm_command_begin(s);
}
