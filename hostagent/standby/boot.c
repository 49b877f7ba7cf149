/* Boots the guest from this host's images, without a copy of its memory: a cold start, after both
 * hosts have lost their memory (docs/decisions/0056-cold-start.md). See standby_private.h.
 *
 * The command file says how to run the guest's QEMU, as for a promotion, but QEMU is started
 * without -incoming. After the start the guest is like a promoted one: it outlives the agent, and
 * it can be protected from here. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "standby/standby_private.h"
#include "supervision/progress.h"

#define RECORD_MAX_NS (20 * CLOCK_NS_PER_S)

/* Does the guest run here already? Returns 1: yes, and the term of @c is now recorded as its term;
 * 0: no; -errno: see c->error. */
static int is_here(struct standby *sb, struct standby_command *c)
{
	struct ramfile_meta meta = sb->rf.meta;
	int r;

	if (c->term < meta.term)
		return error_set(&c->error, -ESTALE,
				 "term %" PRIu64 " is older than term %" PRIu64
				 ", which was accepted here", c->term, meta.term);
	if (meta.phase == RAMFILE_COPY || qemu_find(&sb->qemu) < 0)
		return 0;
	if (meta.phase != RAMFILE_RUNNING)
		return error_set(&c->error, -EBUSY,
				 "a promotion in term %" PRIu64 " was not completed here",
				 meta.term);
	meta.term = c->term;
	r = ramfile_store_meta(&sb->rf, &meta);
	return r < 0 ? error_set(&c->error, r, "cannot record the term: %s", strerror(-r)) : 1;
}

/* Replay the disk log. Even if this host was not booted, the images can lack writes that only the
 * log has: after the daemon of a qcow2 image has died, or after the copy was dropped while an epoch
 * was not applied as a whole. Returns 0 or -errno. */
static int replay_log(struct standby *sb, struct error *ret_error)
{
	struct disklog_state log_state;
	int r;

	progress_begin(sb->config.progress, "began to replay", "the disk log", 0);
	sb->disks_epoch = 0;
	r = durable_recover(&sb->durable, &log_state, ret_error);
	if (r > 0) {
		log_info("vm=%s the images hold epoch %" PRIu64 " of term %" PRIu64,
			 sb->config.vm, log_state.epoch, log_state.term);
		sb->disks_term = log_state.term;
		sb->disks_epoch = log_state.epoch;
	}
	return r < 0 ? r : 0;
}

/* Hand the images over to QEMU, as a promotion does. First replay the disk log into them, and write
 * them to the disk. Does not end the log yet: if QEMU does not start, the log still describes the
 * images. */
static int leave_images(struct standby *sb, struct error *ret_error)
{
	int r;

	if (sb->images.n == 0)
		return 0;
	images_close(&sb->images);
	r = replay_log(sb, ret_error);
	if (r == 0)
		r = images_open_to_sync(&sb->images, ret_error);
	if (r == 0)
		r = images_sync(&sb->images, ret_error);
	if (r == 0)
		return images_hand_over(&sb->images, ret_error);
	images_close(&sb->images);
	return r;
}

int standby_do_own(struct standby *sb, struct standby_command *c)
{
	int r = durable_end(&sb->durable, &c->error);

	if (r < 0)
		log_warn("vm=%s the disk log of the copy that was here cannot be ended: %s, "
			 "ignoring: the role file says that the guest runs here",
			 sb->config.vm, c->error.text);
	return r;
}

void standby_own_disks(struct standby *sb)
{
	struct standby_command c = {.order = STANDBY_ORDER_OWN};
	struct error error;

	(void)!standby_submit(sb, &c, &error); /* the error is logged already */
}

/* Before the guest can run, record that it may have run: first on the disk, then in `meta` for the
 * next agent. Then end the disk log, so that it is never replayed over the guest's new writes. If
 * this agent dies before it has ended the log, the role file on the disk tells the next agent to do
 * so. */
static int record_start(struct standby *sb, const struct ramfile_meta *meta,
			struct error *ret_error)
{
	int r = sb->config.may_run ? sb->config.may_run(sb->config.changed_arg, meta->term,
							RECORD_MAX_NS, ret_error)
				   : 0;

	if (r < 0)
		return r;
	r = ramfile_store_meta(&sb->rf, meta);
	if (r < 0)
		return error_set(ret_error, r, "cannot record the term: %s", strerror(-r));
	r = durable_end(&sb->durable, ret_error);
	if (r == 0)
		sb->disks_epoch = 0;
	return r;
}

/* Start QEMU, record that the guest runs here, and let the guest run. */
static int let_boot(struct standby *sb, uint64_t term, struct error *ret_error)
{
	struct ramfile_meta meta = {.term = term, .phase = RAMFILE_PROMOTED};
	int r;

	sb->qemu.boots = true;
	r = standby_start_process(sb, ret_error);
	sb->qemu.boots = false;
	if (r == 0)
		r = record_start(sb, &meta, ret_error);
	if (r < 0)
		return r;
	r = qmp_execute(sb->qemu.qmp, "cont", NULL,
			sb->config.promote_timeout_ms * CLOCK_NS_PER_MS, NULL);
	if (r < 0 && qemu_died(&sb->qemu))
		return error_set(ret_error, r, "%s", sb->qemu.end.how.text);
	if (r < 0)
		return error_set(ret_error, r, "QEMU: cont: %s", qmp_error(sb->qemu.qmp));
	sb->times.is_running = true;
	meta.phase = RAMFILE_RUNNING;
	r = ramfile_store_meta(&sb->rf, &meta);
	if (r < 0)
		log_error("vm=%s term=%" PRIu64 " cannot record that the guest runs: %s, ignoring",
			  sb->config.vm, term, strerror(-r));
	return 0;
}

/* End QEMU. After that this host has neither guest nor copy, so a later order can begin anew. */
static void give_up(struct standby *sb, uint64_t term)
{
	if (qemu_kill(&sb->qemu) < 0)
		log_error("vm=%s QEMU pid %d cannot be killed", sb->config.vm, (int)sb->qemu.pid);
	else if (epochlog_set_term(&sb->log, term) < 0)
		log_error("vm=%s term=%" PRIu64 " the failed start cannot be recorded, ignoring",
			  sb->config.vm, term);
	standby_set_state(sb, STANDBY_STATE_IDLE);
}

int standby_do_boot(struct standby *sb, struct standby_command *c)
{
	int r = is_here(sb, c);

	if (r != 0)
		return r < 0 ? r : 0;
	/* from here on this host has no copy of the guest */
	sb->want_qemu = sb->want_stream = false;
	standby_stream_close(sb);
	sb->purge_ns = 0;
	r = standby_load_command(sb, &c->error);
	if (r >= 0)
		r = qemu_end(&sb->qemu, &c->error);
	if (r == 0) {
		r = epochlog_set_term(&sb->log, c->term);
		if (r == 0)
			r = ramfile_purge(&sb->rf); /* a guest that boots needs empty RAM */
		standby_give_back(sb); /* no more epochs will arrive */
		if (r < 0)
			(void)error_set(&c->error, r, "state_dir %s: %s", sb->rf.dir, strerror(-r));
	}
	/* the images go to QEMU, then the guest is started on them */
	if (r == 0)
		r = leave_images(sb, &c->error);
	if (r == 0) {
		r = let_boot(sb, c->term, &c->error);
		if (r < 0)
			give_up(sb, c->term);
	}
	if (r < 0) {
		log_error("vm=%s term=%" PRIu64 " cannot start the guest from its disks: %s",
			  sb->config.vm, c->term, c->error.text);
		standby_set_text(sb, "the guest did not start: %s", c->error.text);
		return r;
	}
	torn_end(&sb->images.torn);
	qemu_release_monitor(&sb->qemu);
	standby_set_text(sb, "%s", "");
	standby_set_state(sb, STANDBY_STATE_RUNNING);
	standby_served_begin(sb);
	log_info("vm=%s term=%" PRIu64 " the guest was started from its disks, QEMU pid %d",
		 sb->config.vm, c->term, (int)sb->qemu.pid);
	return 0;
}
