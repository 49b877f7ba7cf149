/* Carries out the orders of the gateway (START, PROMOTE, STOP, FENCE and others), and handles a
 * QEMU that ends by itself. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "standby/inherit.h"
#include "supervision/progress.h"
#include "standby/standby_private.h"

#define DISK_LOG_PATH_ROOM 4096 /* a longer path is cut, so its file will not be found */

void standby_set_warm(struct standby *sb)
{
	/* If QEMU is being started again, the state is STARTING, even if an epoch becomes complete
	 * meanwhile. */
	if (sb->want_qemu && sb->qemu.pid <= 0) {
		standby_set_state(sb, STANDBY_STATE_STARTING);
		return;
	}
	standby_set_state(sb, epochlog_complete(&sb->log) ? STANDBY_STATE_READY
							 : STANDBY_STATE_WARM);
}

/* ---- QEMU */

/* Check that the command has the RAM size of the copy. If the operator has changed the command
 * since, ramfile_reserve() would drop the copy. Returns 0 or -EINVAL. */
static int check_ram(const struct standby *sb, struct error *ret_error)
{
	if (!epochlog_complete(&sb->log) || !sb->rf.ram ||
	    sb->rf.ram_bytes == sb->qemu.cmdline.ram_bytes)
		return 0;
	return error_set(ret_error, -EINVAL,
			 "command_file %s says -m %" PRIu64
			 "M, but the copy of the guest has %" PRIu64 " MiB",
			 sb->config.command_file, sb->qemu.cmdline.ram_bytes >> 20,
			 sb->rf.ram_bytes >> 20);
}

int standby_start_process(struct standby *sb, struct error *ret_error)
{
	int r;

	r = check_ram(sb, ret_error);
	if (r < 0)
		return r;
	/* START has reserved RAM, but a purge may have freed it: reserve it again. Reserve no
	 * buffer for epochs: a promotion needs none, and must not fail for lack of one. */
	r = ramfile_reserve(&sb->rf, sb->qemu.cmdline.ram_bytes);
	if (r < 0)
		return error_set(ret_error, r, "cannot reserve guest RAM in %s: %s", sb->rf.dir,
				 strerror(-r));
	standby_set_state(sb, STANDBY_STATE_STARTING);
	standby_rehearsal_end(sb); /* its QEMU may have an older command */
	r = qemu_start(&sb->qemu, sb->config.start_timeout_ms, ret_error);
	if (r < 0)
		return r;
	r = standby_reserve_blocks(sb, ret_error);
	if (r == 0)
		r = standby_check_disks(sb, ret_error);
	if (r < 0) {
		if (qemu_kill(&sb->qemu) < 0)
			log_error("vm=%s QEMU pid %d cannot be killed", sb->config.vm,
				  (int)sb->qemu.pid);
		return r;
	}
	sb->must_rehearse |= sb->qemu.is_other_machine;
	if (sb->qemu.is_other_machine)
		/* close the stream: the next stream begins with MACHINE frames, so the machines are
		 * compared again */
		standby_stream_close(sb);
	sb->qemu.is_other_machine = false;
	if (!sb->qemu.adopted)
		sb->n_qemu_starts++;
	log_info("vm=%s QEMU pid %d is warm%s", sb->config.vm, (int)sb->qemu.pid,
		 sb->qemu.adopted ? ", adopted" : "");
	standby_served_prepare(sb);
	standby_backoff_reset(&sb->qemu_backoff);
	standby_set_text(sb, "%s", "");
	standby_set_warm(sb);
	return 0;
}

bool standby_guest_has_ended(const struct standby *sb)
{
	return sb->rf.meta.phase != RAMFILE_COPY && sb->qemu.end.is_set;
}

static void say_guest_ended(struct standby *sb)
{
	const char *why = sb->qemu.end.how.text;

	log_error("vm=%s the promoted guest has ended: %s", sb->config.vm, why);
	standby_set_text(sb, "the promoted guest has ended: %s", why);
	standby_set_state(sb, STANDBY_STATE_FAILED);
}

static void restart_qemu(struct standby *sb, uint64_t now_ns)
{
	struct error error;
	int r;

	if (!sb->want_qemu || sb->qemu.pid > 0 || now_ns < sb->qemu_backoff.next_ns)
		return;
	r = standby_load_command(sb, &error);
	if (r >= 0)
		r = standby_start_process(sb, &error);
	if (r < 0) {
		log_warn("vm=%s QEMU does not start: %s", sb->config.vm, error.text);
		standby_set_text(sb, "%s", error.text);
		standby_backoff_failed(&sb->qemu_backoff, clock_mono_ns());
	}
}

void standby_check_qemu(struct standby *sb, uint64_t now_ns)
{
	/* If an order has noticed QEMU's end, the order has handled it, and sb->qemu.pid is 0. */
	if (sb->qemu.pid > 0 && qemu_exited(&sb->qemu)) {
		sb->dirty = true;
		if (standby_guest_has_ended(sb)) {
			say_guest_ended(sb);
			return;
		}
		log_warn("vm=%s the warm %s", sb->config.vm, sb->qemu.end.how.text);
		standby_set_text(sb, "the warm %s; starting it again", sb->qemu.end.how.text);
		standby_set_state(sb, sb->want_qemu ? STANDBY_STATE_STARTING : STANDBY_STATE_IDLE);
		standby_backoff_failed(&sb->qemu_backoff, now_ns);
	}
	restart_qemu(sb, now_ns);
}

/* ---- START */

/* Check that the guest does not run on this host: beside the guest itself, no copy may be kept
 * here. Returns 0; -EBUSY: the guest runs here. */
static int check_no_guest(struct standby *sb, struct error *ret_error)
{
	if (sb->rf.meta.phase == RAMFILE_COPY || qemu_find(&sb->qemu) == -ESRCH)
		return 0;
	return error_set(ret_error, -EBUSY,
			 "the guest itself runs here (QEMU pid %d, promoted in term %" PRIu64
			 "); it cannot be its own standby",
			 (int)sb->qemu.pid, sb->rf.meta.term);
}

/* Set the state FAILED, and say why in the status. Returns @r. */
static int start_failed(struct standby *sb, int r, const struct error *why)
{
	standby_set_text(sb, "%s", why->text);
	standby_set_state(sb, STANDBY_STATE_FAILED);
	return r;
}

/* Enter @term. A copy of an older term is dropped, because it is too old for a promotion. A
 * complete copy of @term is kept. But if the command has another RAM size than this copy, the order
 * fails. */
static int enter_term(struct standby *sb, uint64_t term, struct error *ret_error)
{
	bool resized = sb->rf.ram && sb->rf.ram_bytes != sb->qemu.cmdline.ram_bytes;
	int r;

	if (term == sb->rf.meta.term && sb->rf.meta.phase == RAMFILE_COPY) {
		r = check_ram(sb, ret_error);
		if (r < 0)
			return start_failed(sb, r, ret_error);
		if (!resized)
			return 0;
	}
	drill_cancel(sb);
	standby_stream_close(sb);
	/* the primary may be another host now, with another clock */
	clockview_reset(&sb->clock);
	r = epochlog_set_term(&sb->log, term);
	if (r < 0)
		return error_set(ret_error, r, "cannot enter term %" PRIu64 ": %s", term,
				 strerror(-r));
	return r;
}

/* Read the command file. If the command has changed, end the warm QEMU. Returns 0, or -errno with
 * the state FAILED. */
static int load_for_start(struct standby *sb, struct error *ret_error)
{
	int r = standby_load_command(sb, ret_error);

	if (r > 0) {
		r = qemu_kill(&sb->qemu);
		if (r < 0)
			(void)error_set(ret_error, r,
					"the QEMU of the command before does not end: %s",
					strerror(-r));
	}
	return r < 0 ? start_failed(sb, r, ret_error) : r;
}

/* Open this host's images of the guest's disks, and check that no other QEMU uses them. Called
 * before a QEMU is started with them. */
static int open_images(struct standby *sb, struct error *ret_error)
{
	int r;

	if (epochlog_complete(&sb->log) == 0)
		images_forget_loss(&sb->images); /* no copy relies on the lost writes */
	r = images_open(&sb->images, ret_error);
	return r < 0 ? r : images_check_free(&sb->images, ret_error);
}

static void name_disk_log(const struct standby *sb, char path[DISK_LOG_PATH_ROOM])
{
	if (sb->config.disk_log && *sb->config.disk_log)
		snprintf(path, DISK_LOG_PATH_ROOM, "%s", sb->config.disk_log);
	else
		snprintf(path, DISK_LOG_PATH_ROOM, "%s.hflog", sb->images.item[0].path);
}

/* Open the disk log before epochs arrive. With disk_durability = memory, epochs are not logged: if
 * there is a log of an earlier time, end it (NO_COPY). */
static int open_disk_log(struct standby *sb, struct error *ret_error)
{
	char path[DISK_LOG_PATH_ROOM];
	int r;

	if (sb->images.n == 0)
		return 0;
	name_disk_log(sb, path);
	if (sb->config.disk_log_bytes > 0 && !sb->durable.log)
		progress_begin(sb->config.progress, "began to make", "the disk log", 0);
	r = durable_open(&sb->durable, &sb->rf, &sb->images, path, sb->config.disk_log_bytes,
			 ret_error);
	if (r == 0 && sb->config.disk_log_bytes == 0) {
		r = durable_end(&sb->durable, ret_error);
		if (r == 0)
			durable_close(&sb->durable);
	}
	sb->log.durable = sb->durable.log ? &sb->durable : NULL;
	return r;
}

static int do_start(struct standby *sb, struct standby_command *c)
{
	int r;

	sb->disks_epoch = 0; /* a new copy may follow, and change the images */
	if (c->term < sb->rf.meta.term || c->term < sb->promise_term)
		return error_set(
			&c->error, -ESTALE,
			"term %" PRIu64 " is older than term %" PRIu64 ", which was accepted here",
			c->term,
			sb->promise_term > sb->rf.meta.term ? sb->promise_term : sb->rf.meta.term);
	r = check_no_guest(sb, &c->error);
	if (r == 0)
		r = load_for_start(sb, &c->error);
	if (r == 0)
		r = enter_term(sb, c->term, &c->error);
	if (r < 0)
		return r;
	sb->purge_ns = 0;
	r = open_images(sb, &c->error);
	if (r == 0)
		r = open_disk_log(sb, &c->error);
	if (r == 0)
		r = standby_reserve(sb, &c->error);
	if (r == 0)
		r = standby_start_process(sb, &c->error);
	if (r < 0) {
		sb->purge_ns = clock_mono_ns() + sb->config.copy_keep_ns;
		images_close(&sb->images);
		return start_failed(sb, r, &c->error);
	}
	sb->want_qemu = true;
	sb->want_stream = true;
	sb->must_rehearse = true;
	standby_backoff_reset(&sb->link_backoff);
	return 0;
}

/* ---- PROMOTE */

static int already_promoted(struct standby *sb, struct standby_command *c)
{
	if (sb->rf.meta.phase == RAMFILE_RUNNING && sb->qemu.pid > 0) {
		c->ret_epoch = sb->rf.meta.applied_epoch;
		return 1;
	}
	if (sb->rf.meta.phase == RAMFILE_PROMOTED && qemu_find(&sb->qemu) == 0)
		return 0;
	return error_set(&c->error, -EIO,
			 "the guest was promoted here in term %" PRIu64 ", but its QEMU has ended",
			 sb->rf.meta.term);
}

/* Start a QEMU for a promotion. Read the command file again, because the operator may have
 * corrected it after a failed try. If the file cannot be used now, use the command that was read
 * before. */
static int start_for_promotion(struct standby *sb, struct error *ret_error)
{
	struct error fault = {""}, first;
	int r = standby_load_command(sb, &fault);

	if (r < 0)
		log_error("vm=%s %s; trying what was read before", sb->config.vm, fault.text);
	r = standby_start_process(sb, ret_error);
	if (r == 0 || !fault.text[0])
		return r;
	first = *ret_error;
	return error_set(ret_error, r, "%.500s; %.500s", first.text, fault.text);
}

/* Try to promote once. If this fails while the copy is intact, end QEMU, so that the next try
 * starts another. */
static int try_promote(struct standby *sb, struct standby_command *c)
{
	const struct promote_mark mark = {sb->config.may_run, sb->config.changed_arg};
	int r = 0;

	if (sb->rf.meta.phase == RAMFILE_COPY && !(sb->qemu.pid > 0 && sb->qemu.qmp))
		r = start_for_promotion(sb, &c->error);
	standby_set_state(sb, STANDBY_STATE_PROMOTING);
	sb->clocked.step_max_ns = sb->config.clock_step_max_ns;
	if (r == 0)
		r = promote_guest(&sb->log, &sb->qemu, c->term,
				  sb->config.promote_timeout_ms * CLOCK_NS_PER_MS, &sb->clock,
				  &sb->clocked, &mark, &sb->times, &c->error);
	if (r < 0 && sb->rf.meta.phase == RAMFILE_COPY && qemu_kill(&sb->qemu) < 0)
		log_error("vm=%s QEMU pid %d cannot be killed", sb->config.vm, (int)sb->qemu.pid);
	return r;
}

static int do_promote(struct standby *sb, struct standby_command *c)
{
	int r;

	r = standby_promoted_late(sb, c);
	if (r != 0)
		return r < 0 ? r : 0;
	r = promote_check(&sb->log, c->term, c->epoch, &c->error);
	if (r == -EALREADY) {
		r = already_promoted(sb, c);
		if (r != 0)
			return r < 0 ? r : 0;
	} else if (r < 0) {
		return r;
	}
	/* The order is accepted. From here on the old term is over on this host, even if the
	 * promotion fails. */
	sb->promise_term = c->term;
	sb->want_stream = false;
	drill_cancel(sb);
	standby_stream_close(sb);
	standby_await_mute(sb);
	(void)qemu_exited(&sb->qemu); /* if QEMU has exited, try_promote() starts another */
	r = try_promote(sb, c);
	if (r == -EIO) {
		log_warn("vm=%s promotion failed, trying once more: %s", sb->config.vm,
			 c->error.text);
		r = try_promote(sb, c);
	}
	if (r < 0) {
		if (sb->rf.meta.phase == RAMFILE_COPY)
			standby_say_way_out(sb, &c->error);
		log_error("vm=%s term=%" PRIu64 " promotion failed: %s", sb->config.vm, c->term,
			  c->error.text);
		standby_set_text(sb, "promotion failed: %s", c->error.text);
		standby_set_state(sb, STANDBY_STATE_FAILED);
		sb->want_qemu = false; /* no QEMU is started before the next order */
		return r;
	}
	sb->want_qemu = false;
	torn_end(&sb->images.torn);
	standby_keep_description(sb);
	standby_set_text(sb, "%s", "");
	standby_set_state(sb, STANDBY_STATE_RUNNING);
	standby_give_back(sb);
	standby_served_begin(sb);
	c->ret_epoch = sb->rf.meta.applied_epoch;
	log_info("epoch=%" PRIu64 " vm=%s promoted in term %" PRIu64 " in %" PRIu64 " us",
		 c->ret_epoch, sb->config.vm, c->term, sb->times.total_ns / CLOCK_NS_PER_US);
	return 0;
}

/* ---- STOP, FENCE */

/* Drop the copy, but keep its files for a while (copy_keep_ns): if the guest is protected again
 * soon, only what differs is sent (base.h). */
static int drop_copy(struct standby *sb)
{
	int r = epochlog_set_term(&sb->log, sb->rf.meta.term);

	sb->purge_ns = clock_mono_ns() + sb->config.copy_keep_ns;
	if (r == 0 && sb->config.copy_keep_ns == 0) {
		progress_begin(sb->config.progress, "began to remove", "its copy", 0);
		sb->purge_ns = 0;
		r = ramfile_purge(&sb->rf);
	}
	return r;
}

void standby_purge(struct standby *sb, uint64_t now_ns)
{
	int r;

	if (sb->purge_ns == 0 || now_ns < sb->purge_ns)
		return;
	sb->purge_ns = 0;
	if (sb->want_qemu || sb->rf.meta.phase != RAMFILE_COPY || sb->rf.meta.applied_epoch > 0)
		return;
	r = ramfile_purge(&sb->rf);
	if (r < 0)
		log_warn("vm=%s the files of the last copy in %s cannot be removed, ignoring: they "
			 "only hold memory: %s", sb->config.vm, sb->rf.dir, strerror(-r));
	sb->dirty = true;
}

static int do_stop(struct standby *sb, struct standby_command *c)
{
	int r = check_no_guest(sb, &c->error);

	if (r < 0)
		return r;
	if (sb->rf.meta.vote != RAMFILE_VOTE_NONE && c->term <= sb->rf.meta.term)
		return error_set(&c->error, -ESTALE,
				 "this host voted for the primary in term %" PRIu64
				 ", which counts on it",
				 sb->rf.meta.term);
	sb->want_qemu = sb->want_stream = false;
	drill_cancel(sb);
	standby_stream_close(sb);
	r = qemu_end(&sb->qemu, &c->error);
	if (r < 0)
		return r;
	if (c->purge && sb->rf.meta.phase == RAMFILE_COPY)
		r = drop_copy(sb);
	if (r < 0)
		return error_set(&c->error, r, "cannot stop the standby: %s", strerror(-r));
	images_close(&sb->images);
	standby_give_back(sb);
	standby_set_text(sb, "%s", "");
	standby_set_state(sb, STANDBY_STATE_IDLE);
	return 0;
}

static int do_fence(struct standby *sb, struct standby_command *c)
{
	int r;

	if (c->term <= sb->rf.meta.term) {
		r = c->term == sb->rf.meta.term && sb->rf.meta.phase == RAMFILE_COPY ? 0 : -ESTALE;
		return error_set(&c->error, r,
				 "term %" PRIu64 " is not newer than term %" PRIu64
				 ", which is held here",
				 c->term, sb->rf.meta.term);
	}
	sb->want_qemu = sb->want_stream = false;
	drill_cancel(sb);
	standby_stream_close(sb);
	if (sb->rf.meta.phase != RAMFILE_COPY && qemu_find(&sb->qemu) == 0)
		r = qemu_kill(&sb->qemu);
	else
		r = qemu_end(&sb->qemu, &c->error);
	if (r == 0)
		r = epochlog_set_term(&sb->log, c->term);
	sb->purge_ns = clock_mono_ns() + sb->config.copy_keep_ns;
	if (r < 0) {
		if (!c->error.text[0])
			return error_set(&c->error, r, "cannot end the guest: %s", strerror(-r));
		return r;
	}
	images_close(&sb->images);
	standby_give_back(sb);
	standby_set_text(sb, "%s", "");
	standby_set_state(sb, STANDBY_STATE_IDLE);
	return 0;
}

static int do_inherit(struct standby *sb, struct standby_command *c)
{
	int r;

	if (sb->rf.meta.phase != RAMFILE_COPY || epochlog_complete(&sb->log) > 0 ||
	    sb->qemu.pid > 0)
		return 0;
	r = inherit_guest(&sb->rf, c->monitor, c->pid, &c->error);
	if (r < 0) {
		/* if this fails, the files only take memory */
		(void)!ramfile_purge(&sb->rf);
		return r;
	}
	sb->purge_ns = clock_mono_ns() + sb->config.copy_keep_ns;
	log_info("vm=%s the memory of the guest that was fenced here is kept for the next copy",
		 sb->config.vm);
	return 0;
}

static int do_drill(struct standby *sb, struct standby_command *c)
{
	if (sb->state != STANDBY_STATE_READY)
		return error_set(&c->error, -ENODATA,
				 "there is no copy to try: this host's standby is not ready");
	return drill_begin(sb, &c->ret_number, &c->error);
}

static void say_recovered(struct standby *sb, const struct disklog_state *state)
{
	log_info("vm=%s this host has lost its copy of the guest; the images hold epoch %" PRIu64
		 " of term %" PRIu64, sb->config.vm, state->epoch, state->term);
	standby_set_text(sb,
			 "the copy of the guest is lost, but its disks are not: the images hold "
			 "epoch %" PRIu64 " of term %" PRIu64, state->epoch, state->term);
}

void standby_recover_disks(struct standby *sb)
{
	struct disklog_state state;
	char path[DISK_LOG_PATH_ROOM];
	struct error error;
	int r;

	if (sb->images.n == 0)
		return;
	name_disk_log(sb, path);
	r = durable_open(&sb->durable, &sb->rf, &sb->images, path, 0, &error);
	if (r == 0 && sb->durable.log)
		sb->log.durable = &sb->durable;
	/* The guest runs on the images, but an agent may have died before standby_own_disks() ended
	 * the log. */
	if (r == 0 && sb->config.owns_disks)
		r = durable_end(&sb->durable, &error);
	/* The copy on tmpfs is gone, so the images may lack writes that were logged. */
	else if (r == 0 && sb->rf.meta.phase == RAMFILE_COPY && sb->rf.meta.applied_epoch == 0)
		r = durable_recover(&sb->durable, &state, &error);
	if (r > 0) {
		say_recovered(sb, &state);
		sb->disks_term = state.term;
		sb->disks_epoch = state.epoch;
	}
	if (r < 0) {
		log_error("vm=%s %s", sb->config.vm, error.text);
		standby_set_text(sb, "%s", error.text);
	}
}

void standby_carry_out(struct standby *sb, struct standby_command *command)
{
	static int (*const handlers[])(struct standby *, struct standby_command *) = {
		[STANDBY_ORDER_START] = do_start,
		[STANDBY_ORDER_PROMOTE] = do_promote,
		[STANDBY_ORDER_STOP] = do_stop,
		[STANDBY_ORDER_FENCE] = do_fence,
		[STANDBY_ORDER_INHERIT] = do_inherit,
		[STANDBY_ORDER_DRILL] = do_drill,
		[STANDBY_ORDER_BOOT] = standby_do_boot,
		[STANDBY_ORDER_OWN] = standby_do_own,
	};

	command->error.text[0] = '\0';
	standby_progress_on(sb);
	command->result = handlers[command->order](sb, command);
	standby_progress_off(sb);
	sb->dirty = true;
}

/* ---- after an agent's restart */

void standby_resume_promoted(struct standby *sb)
{
	if (sb->rf.meta.phase == RAMFILE_COPY)
		return;
	if (qemu_find(&sb->qemu) < 0) {
		say_guest_ended(sb);
		return;
	}
	if (sb->rf.meta.phase == RAMFILE_RUNNING) {
		qemu_release_monitor(&sb->qemu);
		standby_set_state(sb, STANDBY_STATE_RUNNING);
		return;
	}
	standby_set_text(sb, "the agent ended in the middle of the promotion in term %" PRIu64
			    "; the same order, given again, completes it",
			 sb->rf.meta.term);
	standby_set_state(sb, STANDBY_STATE_PROMOTING);
}

void standby_resume(struct standby *sb)
{
	struct standby_command start = {.order = STANDBY_ORDER_START, .term = sb->rf.meta.term};

	if (sb->rf.ram) /* if an earlier agent has left `ram`, remove it later */
		sb->purge_ns = clock_mono_ns() + sb->config.copy_keep_ns;
	if (sb->rf.meta.phase != RAMFILE_COPY || !sb->rf.meta.term || !qemu_is_left(&sb->qemu))
		return;
	standby_carry_out(sb, &start);
	if (start.result < 0)
		log_warn("vm=%s cannot resume: %s", sb->config.vm, start.error.text);
}
