/* Rehearses a takeover: a second QEMU loads the first epoch before this epoch is acknowledged. See
 * rehearse.h for the reasons. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "standby/standby_private.h"
#include "standby/promote.h"
#include "standby/rehearse.h"

static int start(struct standby *sb, struct error *ret_error)
{
	struct qemu *q = &sb->rehearsal;
	int r = qemu_init(q, sb->config.vm, "rehearsal", sb->config.run_dir, sb->ram_path,
			  ret_error);

	if (r == 0) {
		q->is_rehearsal = true;
		r = rehearse_words(&sb->qemu.cmdline, q->qmp_path, q->pid_path, REHEARSE_VIEW,
				   &q->cmdline);
		if (r < 0)
			(void)error_set(ret_error, r, "%s", strerror(-r));
	}
	return r < 0 ? r : qemu_spawn(q, ret_error);
}

/* Continue without a rehearsal. That the second QEMU did not start does not show that the machine
 * is wrong: probably the warm QEMU uses something that the second QEMU needs too. */
static void do_without(struct standby *sb, const struct error *why)
{
	log_warn("vm=%s the takeover cannot be rehearsed, ignoring: %s", sb->config.vm, why->text);
	standby_rehearsal_end(sb);
	sb->must_rehearse = false;
}

void standby_rehearsal_begin(struct standby *sb)
{
	struct error error = {""};

	if (!sb->must_rehearse || sb->is_direct || sb->rf.meta.vote != RAMFILE_VOTE_NONE ||
	    sb->rehearsal.pid > 0)
		return;
	standby_rehearsal_end(sb);
	if (start(sb, &error) < 0)
		do_without(sb, &error);
}

void standby_rehearsal_end(struct standby *sb)
{
	if (sb->rehearsal.pid > 0 && qemu_kill(&sb->rehearsal) < 0)
		log_error("vm=%s QEMU pid %d, of a rehearsal, cannot be killed", sb->config.vm,
			  (int)sb->rehearsal.pid);
	if (sb->rehearsal.ram_path) {
		/* not needed any more: each rehearsal's QEMU makes its own socket */
		(void)unlink(sb->rehearsal.qmp_path);
		qemu_done(&sb->rehearsal);
	}
	memset(&sb->rehearsal, 0, sizeof(sb->rehearsal));
	sb->rehearsal.pid = sb->rehearsal.pidfd = -1;
}

void standby_rehearsal_sweep(struct standby *sb)
{
	struct error error;

	if (qemu_init(&sb->rehearsal, sb->config.vm, "rehearsal", sb->config.run_dir, sb->ram_path,
		      &error) == 0 &&
	    qemu_end(&sb->rehearsal, &error) < 0)
		log_warn("vm=%s a QEMU of an earlier rehearsal does not end: %s, ignoring",
			 sb->config.vm, error.text);
	standby_rehearsal_end(sb);
}

/* Drop a first copy. Otherwise this host would report an epoch that no QEMU can load. */
static void drop_copy(struct standby *sb)
{
	int r = epochlog_set_term(&sb->log, sb->rf.meta.term);

	if (r < 0)
		log_error("vm=%s the epoch that cannot be loaded stays in %s: %s", sb->config.vm,
			  sb->rf.dir, strerror(-r));
}

/* Load the epoch into the rehearsal's QEMU once. Returns 0; 1 if no QEMU could be started: continue
 * without a rehearsal; or an error of promote_rehearse(). */
static int rehearse_once(struct standby *sb, struct error *ret_error)
{
	struct qemu *q = &sb->rehearsal;
	int r = qemu_await(q, sb->config.start_timeout_ms, ret_error);

	if (r < 0) /* the QEMU that was started early may have ended long ago: start another */
		r = qemu_start(q, sb->config.start_timeout_ms, ret_error);
	if (r < 0)
		return 1;
	return promote_rehearse(&sb->log, q, sb->config.promote_timeout_ms * CLOCK_NS_PER_MS,
				ret_error);
}

static bool was_killed(struct qemu *q)
{
	return qemu_exited(q) && q->end.signal != 0;
}

/* A signal has ended QEMU, for example because memory has run out. This does not show that the
 * epoch cannot be loaded, so try it with another QEMU. Returns like rehearse_once(). */
static int rehearse_again(struct standby *sb, struct error *ret_error)
{
	log_warn("vm=%s a takeover is rehearsed again: %s", sb->config.vm, ret_error->text);
	standby_rehearsal_end(sb);
	return start(sb, ret_error) < 0 ? 1 : rehearse_once(sb, ret_error);
}

/* The rehearsal of a complete epoch has failed with @r. @was_held: there was a copy before this
 * epoch. It was acknowledged, and may be the only one, so it is kept whatever has failed. Returns
 * like standby_rehearse(). */
static int failed(struct standby *sb, int r, bool was_held, const struct error *why,
		  struct epochcheck_error *ret_error)
{
	sb->must_rehearse = true;
	/* The epoch could not even be applied. It is kept, as it would be without a rehearsal, and
	 * the next epoch is rehearsed. */
	if (was_held && sb->log.pending)
		return 0;
	/* If this host was only too busy, the next epoch may be loaded. If QEMU has refused the
	 * state of a kept copy, this host opens no stream any more (want_stream): on a new stream
	 * it would report this epoch, and the gateway would count the epoch as acknowledged. */
	ret_error->code = was_held && r != -EIO ? WIRE_STREAM_ERROR_APPLY
						: WIRE_STREAM_ERROR_GEOMETRY;
	(void)error_set(&ret_error->why, -EPROTO, "a rehearsed takeover fails: %s%s",
			TEXT_SHORT(600, why->text),
			was_held && r == -EIO ? "; the copy is kept: then `holdfastctl "
						"unprotect` and `protect`"
					      : "");
	if (!was_held)
		drop_copy(sb);
	else if (r == -EIO)
		sb->want_stream = false;
	return -EPROTO;
}

int standby_rehearse(struct standby *sb, struct epochcheck_error *ret_error)
{
	bool was_held = sb->rf.meta.applied_epoch > 0;
	uint64_t begin_ns = clock_mono_ns();
	struct error error = {""};
	int r;

	/* The warm QEMU may have been started again after the stream was opened, and may then need
	 * a rehearsal. */
	if (sb->machine.is_proved)
		standby_rehearsal_begin(sb);
	if (sb->rehearsal.pid <= 0)
		return 0;
	standby_progress_on(sb);
	r = rehearse_once(sb, &error);
	if (r < 0 && was_killed(&sb->rehearsal))
		r = rehearse_again(sb, &error);
	if (r < 0 && was_killed(&sb->rehearsal))
		r = -EAGAIN; /* QEMU has not refused the state: the next epoch may be loaded */
	standby_progress_off(sb);
	if (r > 0) {
		do_without(sb, &error);
		return 0;
	}
	standby_rehearsal_end(sb);
	if (r < 0)
		return failed(sb, r, was_held, &error, ret_error);
	sb->must_rehearse = false;
	sb->n_rehearsals++;
	log_info("epoch=%" PRIu64 " vm=%s takeover rehearsed in %" PRIu64 " ms",
		 epochlog_complete(&sb->log), sb->config.vm,
		 (clock_mono_ns() - begin_ns) / CLOCK_NS_PER_MS);
	return 0;
}
