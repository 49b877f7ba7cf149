#include "standby/standby.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/text.h"
#include "link/link.h"
#include "supervision/progress.h"
#include "standby/standby_private.h"
#include "vmm/vcpus.h"

#define START_TIMEOUT_MS   60000
#define PROMOTE_TIMEOUT_MS 20000
#define DRILL_TIMEOUT_NS   (30 * CLOCK_NS_PER_S)
#define LINK_BACKOFF_NS	   (2 * CLOCK_NS_PER_S)
#define QEMU_BACKOFF_NS	   (10 * CLOCK_NS_PER_S)
#define ROOM_BACKOFF_NS	   (10 * CLOCK_NS_PER_S)

/* ---- state and snapshot */

static const char *state_name(enum standby_state state)
{
	return wire_state_name((uint8_t)state);
}

void standby_set_state(struct standby *sb, enum standby_state state)
{
	if (sb->state == state)
		return;
	log_info("epoch=%" PRIu64 " vm=%s state %s -> %s", epochlog_complete(&sb->log),
		 sb->config.vm, state_name(sb->state), state_name(state));
	sb->state = state;
	sb->dirty = true;
}

void standby_set_text(struct standby *sb, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)text_vput(sb->text, sizeof(sb->text), format, args);
	va_end(args);
	sb->dirty = true;
}

void standby_progress_on(struct standby *sb)
{
	sb->rf.progress = sb->qemu.progress = sb->rehearsal.progress = sb->config.progress;
}

void standby_progress_off(struct standby *sb)
{
	progress_end(sb->config.progress);
	sb->rf.progress = sb->qemu.progress = sb->rehearsal.progress = NULL;
}

static size_t add_stat(char *stats, size_t at, const char *key, uint64_t value)
{
	int n = snprintf(stats + at, STANDBY_STATS_MAX - at, "standby_%s=%" PRIu64 "\n", key,
			 value);

	return n > 0 && at + (size_t)n < STANDBY_STATS_MAX ? at + (size_t)n : at;
}

/* Add to @stats how much space an epoch can take, and how much it may need. The space that an
 * arriving epoch already takes counts as free. */
static size_t add_room(const struct standby *sb, char *stats, size_t at)
{
	uint64_t arrived = sb->log.fd >= 0 ? sb->log.bytes : 0, reserve = sb->log.reserve_bytes;

	if (!sb->is_room_known)
		return at;
	at = add_stat(stats, at, "room_free_bytes",
		      room_free_bytes(&sb->room, sb->rf.dir) +
			      (arrived > reserve ? arrived - reserve : 0));
	return add_stat(stats, at, "room_needed_bytes", sb->room_needed_bytes);
}

static void fill_stats(const struct standby *sb, char stats[STANDBY_STATS_MAX])
{
	const struct epochlog_stats *s = &sb->log.stats;
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{"epochs_complete", s->epochs_complete},
		{"epochs_full", s->epochs_full},
		{"epochs_discarded", s->epochs_discarded},
		{"epochs_refused", s->epochs_refused},
		{"frames_dropped", s->frames_dropped},
		{"bytes_buffered", s->bytes_buffered},
		{"pages_applied", s->pages_applied},
		{"ram_checked_pages", sb->rf.n_checked},
		{"ram_differing_pages", sb->rf.n_differ},
		{"disk_records", sb->images.n_records},
		{"disk_bytes", sb->images.bytes_written},
		{"disk_checked_blocks", sb->images.n_checked},
		{"disk_differing_blocks", sb->images.n_differ},
		{"disk_log_entries", sb->durable.n_entries},
		{"disk_log_us", sb->durable.append_ns / CLOCK_NS_PER_US},
		{"apply_last_us", s->apply_last_ns / CLOCK_NS_PER_US},
		{"apply_max_us", s->apply_max_ns / CLOCK_NS_PER_US},
		{"apply_total_us", s->apply_total_ns / CLOCK_NS_PER_US},
		{"connects", sb->n_connects},
		{"direct", sb->is_direct},
		{"votes", sb->n_votes},
		{"qemu_starts", sb->n_qemu_starts},
		{"rehearsals", sb->n_rehearsals},
		{"drills", sb->n_drills},
		{"drill_last_epoch", sb->drilled.epoch},
		{"drill_last_ms", sb->drilled.ms},
		{"drill_last_passed", sb->drilled.number > 0 && sb->drilled.result == 0},
		{"promote_total_us", sb->times.total_ns / CLOCK_NS_PER_US},
		{"promote_apply_us", sb->times.apply_ns / CLOCK_NS_PER_US},
		{"promote_disks_us", sb->times.disks_ns / CLOCK_NS_PER_US},
		{"promote_blocks_us", sb->times.blocks_ns / CLOCK_NS_PER_US},
		{"promote_load_us", sb->times.load_ns / CLOCK_NS_PER_US},
		{"promote_record_us", sb->times.record_ns / CLOCK_NS_PER_US},
		{"promote_clock_us", sb->times.clock_ns / CLOCK_NS_PER_US},
		{"clock_forward_ms", sb->clocked.step_ns / CLOCK_NS_PER_MS},
		{"promote_cont_us", sb->times.cont_ns / CLOCK_NS_PER_US},
	};
	size_t at = 0;
	int n;

	stats[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		at = add_stat(stats, at, rows[i].key, rows[i].value);
	at = add_room(sb, stats, at);
	if (!sb->served.term)
		return;
	n = snprintf(stats + at, STANDBY_STATS_MAX - at,
		     "promoted_term=%" PRIu64 "\npromoted_running=%d\npromoted_vcpu_us=%" PRIu64
		     "\n",
		     sb->served.term, sb->times.is_running, sb->served.vcpu_ns / CLOCK_NS_PER_US);
	if (n < 0 || at + (size_t)n >= STANDBY_STATS_MAX)
		stats[at] = '\0';
}

static void publish(struct standby *sb)
{
	bool changed;

	if (!sb->dirty)
		return;
	sb->dirty = false;
	pthread_mutex_lock(&sb->lock);
	changed = sb->status.state != sb->state || sb->status.stream_up != (sb->link != NULL) ||
		  strcmp(sb->status.text, sb->text) != 0 ||
		  sb->status.drilled.number != sb->drilled.number;
	sb->status.state = sb->state;
	sb->status.term = sb->rf.meta.term;
	sb->status.complete_epoch = sb->rf.meta.phase == RAMFILE_COPY
					    ? epochlog_complete(&sb->log)
					    : sb->rf.meta.applied_epoch;
	sb->status.applied_epoch = sb->rf.meta.applied_epoch;
	sb->status.qemu_pid = sb->qemu.pid;
	sb->status.disks_term = sb->disks_term;
	sb->status.disks_epoch = sb->disks_epoch;
	sb->status.is_torn = sb->images.torn.is_set;
	sb->status.guest_ended = standby_guest_has_ended(sb);
	sb->status.drilled = sb->drilled;
	sb->status.stream_up = sb->link != NULL;
	sb->status.is_direct = sb->is_direct;
	memcpy(sb->status.qmp, sb->qemu.qmp_path, sizeof(sb->status.qmp));
	memcpy(sb->status.text, sb->text, sizeof(sb->status.text));
	fill_stats(sb, sb->status.stats);
	pthread_mutex_unlock(&sb->lock);
	if (changed && sb->config.changed)
		sb->config.changed(sb->config.changed_arg);
}
_Static_assert(STANDBY_PATH_MAX == QEMU_PATH_MAX, "publish() copies it");

void standby_status(struct standby *sb, struct standby_status *ret_status)
{
	pthread_mutex_lock(&sb->lock);
	*ret_status = sb->status;
	pthread_mutex_unlock(&sb->lock);
}

/* ---- the thread */

/* Take the oldest command from the list. Returns NULL if there is none. *ret_closing: the thread
 * must end. */
static struct standby_command *next_command(struct standby *sb, bool *ret_closing)
{
	struct standby_command *command;

	pthread_mutex_lock(&sb->lock);
	command = sb->commands;
	if (command)
		sb->commands = command->next;
	*ret_closing = sb->closing;
	pthread_mutex_unlock(&sb->lock);
	return command;
}

static void carry_out_commands(struct standby *sb, bool *ret_closing)
{
	struct standby_command *command;

	while ((command = next_command(sb, ret_closing))) {
		standby_carry_out(sb, command);
		publish(sb); /* before the caller wakes up: it must see the new state */
		pthread_mutex_lock(&sb->lock);
		command->done = true;
		pthread_cond_broadcast(&sb->command_done);
		pthread_mutex_unlock(&sb->lock);
	}
}

static uint64_t next_deadline_ns(const struct standby *sb)
{
	uint64_t next = UINT64_MAX;

	if (sb->want_stream && !sb->link && sb->config.gateway)
		next = sb->link_backoff.next_ns;
	if (sb->state == STANDBY_STATE_RUNNING && sb->served.look_ns < next)
		next = sb->served.look_ns;
	if (sb->want_qemu && sb->qemu.pid <= 0 && sb->qemu_backoff.next_ns < next)
		next = sb->qemu_backoff.next_ns;
	if (sb->is_room_short && sb->room_backoff.next_ns < next)
		next = sb->room_backoff.next_ns;
	if (sb->purge_ns > 0 && sb->purge_ns < next)
		next = sb->purge_ns;
	return next;
}

static void wait_for_work(struct standby *sb, bool more)
{
	struct pollfd fds[4 + IMAGES_MAX] = {{.fd = sb->wake_fd, .events = POLLIN},
					     {.fd = sb->qemu.pidfd, .events = POLLIN},
					     {.fd = -1},
					     {.fd = -1}};
	uint64_t now_ns = clock_mono_ns(), count;
	uint32_t n_images = images_watch(&sb->images, fds + 4);

	if (sb->link) {
		/* link_events() returns bits of epoll; for IN and OUT, poll() has the same
		 * values. */
		fds[2].fd = link_fd(sb->link);
		fds[2].events = (short)link_events(sb->link);
	}
	if (sb->peer.link) {
		fds[3].fd = link_fd(sb->peer.link);
		fds[3].events = (short)link_events(sb->peer.link);
	}
	if (poll(fds, 4 + n_images, more ? 0 : clock_poll_ms(now_ns, next_deadline_ns(sb))) > 0 &&
	    (fds[0].revents & POLLIN))
		/* does not block. The count is not needed: the eventfd only wakes this thread */
		(void)!read(sb->wake_fd, &count, sizeof(count));
}

static void *run(void *arg)
{
	struct standby *sb = arg;
	bool closing = false, more = false;

	standby_rehearsal_sweep(sb);
	drill_sweep(sb);
	standby_resume(sb);
	while (!closing) {
		publish(sb);
		wait_for_work(sb, more);
		carry_out_commands(sb, &closing);
		if (closing)
			break;
		standby_check_images(sb);
		standby_check_qemu(sb, clock_mono_ns());
		standby_purge(sb, clock_mono_ns());
		standby_reserve_again(sb, clock_mono_ns());
		if (sb->state == STANDBY_STATE_RUNNING)
			standby_served_look(sb, clock_mono_ns());
		standby_peer_take(sb);
		standby_peer_run(sb);
		standby_stream_connect(sb, clock_mono_ns());
		more = standby_stream_run(sb);
		sb->dirty |= torn_settle(&sb->images, &sb->durable);
		drill_step(sb);
	}
	drill_close(sb);
	standby_stream_close(sb);
	sb->peer.link = link_free(sb->peer.link);
	return NULL;
}

static void wake(struct standby *sb)
{
	uint64_t one = 1;

	/* ignore an error: if the eventfd is full, the thread is awake already */
	(void)!write(sb->wake_fd, &one, sizeof(one));
}

int standby_submit(struct standby *sb, struct standby_command *command, struct error *ret_error)
{
	struct standby_command **at;

	pthread_mutex_lock(&sb->lock);
	for (at = &sb->commands; *at; at = &(*at)->next)
		;
	*at = command;
	wake(sb);
	while (!command->done)
		pthread_cond_wait(&sb->command_done, &sb->lock);
	pthread_mutex_unlock(&sb->lock);
	if (command->result < 0)
		*ret_error = command->error;
	return command->result;
}

void standby_take_peer(struct standby *sb, struct link *link, uint64_t term, uint16_t version,
		       uint64_t features)
{
	pthread_mutex_lock(&sb->lock);
	/* the primary has connected again, so it has given up its earlier connection: close that */
	link_free(sb->offer.link);
	sb->offer = (struct standby_peer){link, term, version, features};
	wake(sb);
	pthread_mutex_unlock(&sb->lock);
}

int standby_start_qemu(struct standby *sb, uint64_t term, struct error *ret_error)
{
	struct standby_command c = {.order = STANDBY_ORDER_START, .term = term};

	return standby_submit(sb, &c, ret_error);
}

int standby_promote(struct standby *sb, uint64_t term, uint64_t min_epoch, uint64_t *ret_epoch,
		    struct error *ret_error)
{
	struct standby_command c = {
		.order = STANDBY_ORDER_PROMOTE, .term = term, .epoch = min_epoch};
	int r = standby_submit(sb, &c, ret_error);

	if (r == 0)
		*ret_epoch = c.ret_epoch;
	return r;
}

int standby_stop(struct standby *sb, uint64_t term, bool purge, struct error *ret_error)
{
	struct standby_command c = {.order = STANDBY_ORDER_STOP, .term = term, .purge = purge};

	return standby_submit(sb, &c, ret_error);
}

int standby_fence(struct standby *sb, uint64_t term, struct error *ret_error)
{
	struct standby_command c = {.order = STANDBY_ORDER_FENCE, .term = term};

	return standby_submit(sb, &c, ret_error);
}

int standby_boot(struct standby *sb, uint64_t term, struct error *ret_error)
{
	struct standby_command c = {.order = STANDBY_ORDER_BOOT, .term = term};

	return standby_submit(sb, &c, ret_error);
}

int standby_inherit(struct standby *sb, const char *monitor, pid_t pid, struct error *ret_error)
{
	struct standby_command c = {
		.order = STANDBY_ORDER_INHERIT, .monitor = monitor, .pid = pid};

	return standby_submit(sb, &c, ret_error);
}

int standby_drill(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
{
	struct standby_command c = {.order = STANDBY_ORDER_DRILL};
	int r = standby_submit(sb, &c, ret_error);

	if (r == 0)
		*ret_number = c.ret_number;
	return r;
}

/* ---- open, close */

static void warn_when_on_disk(const struct standby *sb)
{
	struct statfs fs;

	if (statfs(sb->config.state_dir, &fs) == 0 && fs.f_type != TMPFS_MAGIC)
		log_warn("vm=%s state_dir %s is not on tmpfs: each epoch will wait for that disk",
			 sb->config.vm, sb->config.state_dir);
}

static int open_copy(struct standby *sb, struct error *ret_error)
{
	int r = ramfile_open(sb->config.state_dir, &sb->rf);
	struct error lost;

	if (r == -EBUSY)
		(void)error_set(ret_error, r, "state_dir %s is in use by another agent",
				sb->config.state_dir);
	else if (r == -EBADMSG)
		(void)error_set(ret_error, r,
				"state_dir %s holds files that are not this standby's; if no guest "
				"runs on them, remove the directory",
				sb->config.state_dir);
	else if (r < 0)
		(void)error_set(ret_error, r, "state_dir %s: %s", sb->config.state_dir,
				strerror(-r));
	if (r < 0)
		return r;
	if (sb->rf.meta.phase == RAMFILE_COPY && images_have_lost(&sb->images, &lost)) {
		log_error("vm=%s %s: the copy of the guest is dropped", sb->config.vm, lost.text);
		r = epochlog_discard(&sb->rf);
		if (r < 0)
			return error_set(ret_error, r, "state_dir %s: %s", sb->config.state_dir,
					 strerror(-r));
	}
	r = epochlog_open(&sb->rf, &sb->images, sb->log_bytes_max, &sb->log);
	if (r < 0) {
		(void)error_set(ret_error, r,
				"state_dir %s: the complete epoch in it cannot be applied: %.600s; "
				"if no guest runs on the files, remove the directory",
				sb->config.state_dir, sb->log.why.text);
		images_close(&sb->images);
		ramfile_close(&sb->rf);
	}
	return r;
}

static int open_qemu(struct standby *sb, struct error *ret_error)
{
	struct error error;
	int r;

	if (!sb->config.vm || !wire_name_is_valid(sb->config.vm) || !sb->config.state_dir ||
	    !sb->config.run_dir || !sb->config.command_file)
		return error_set(
			ret_error, -EINVAL,
			"a standby needs a valid VM name, state_dir, run_dir and command_file");
	r = fd_mkdir_p(sb->config.run_dir, 0755);
	if (r < 0)
		return error_set(ret_error, r, "run_dir %s: %s", sb->config.run_dir, strerror(-r));
	if (sb->config.state_dir[0] != '/' || sb->config.run_dir[0] != '/' ||
	    strlen(sb->config.state_dir) >= sizeof(sb->rf.dir))
		return error_set(
			ret_error, -EINVAL,
			"state_dir and run_dir must be absolute paths, state_dir under %zu bytes",
			sizeof(sb->rf.dir));
	snprintf(sb->ram_path, sizeof(sb->ram_path), "%.127s/ram", sb->config.state_dir);
	r = qemu_init(&sb->qemu, sb->config.vm, "standby", sb->config.run_dir, sb->ram_path,
		      ret_error);
	sb->qemu.taps = sb->config.taps;
	if (r == 0 && standby_load_command(sb, &error) < 0) {
		standby_set_text(sb, "%s", error.text);
		log_error("vm=%s %s", sb->config.vm, error.text);
	}
	return r;
}

static void no_string(const char **text)
{
	if (!*text)
		*text = "";
}

static void set_defaults(struct standby *sb)
{
	if (!sb->config.start_timeout_ms)
		sb->config.start_timeout_ms = START_TIMEOUT_MS;
	if (!sb->config.promote_timeout_ms)
		sb->config.promote_timeout_ms = PROMOTE_TIMEOUT_MS;
	if (!sb->config.drill_timeout_ns)
		sb->config.drill_timeout_ns = DRILL_TIMEOUT_NS;
	no_string(&sb->config.drill_dir);
	no_string(&sb->config.drill_address);
	no_string(&sb->config.drill_probe);
	no_string(&sb->config.drill_script);
	sb->link_backoff.max_ns = LINK_BACKOFF_NS;
	sb->qemu_backoff.max_ns = QEMU_BACKOFF_NS;
	sb->room_backoff.max_ns = ROOM_BACKOFF_NS;
	standby_backoff_reset(&sb->link_backoff);
	standby_backoff_reset(&sb->qemu_backoff);
}

static int start_thread(struct standby *sb, struct error *ret_error)
{
	int r;

	sb->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = sb->wake_fd < 0 ? -errno : 0;
	if (r == 0) {
		/* Before the thread starts, so that the first order sees a guest that runs
		 * already. */
		standby_resume_promoted(sb);
		sb->dirty = true;
		publish(sb);
		r = -pthread_create(&sb->thread, NULL, run, sb);
	}
	if (r < 0) {
		(void)error_set(ret_error, r, "cannot start the standby's thread: %s",
				strerror(-r));
		sb->wake_fd = fd_close(sb->wake_fd);
	}
	return r;
}

int standby_open(const struct standby_config *config, struct standby **ret_standby,
		 struct error *ret_error)
{
	struct standby *sb = calloc(1, sizeof(*sb));
	int r;

	if (!sb)
		return error_set(ret_error, -ENOMEM, "out of memory");
	sb->config = *config;
	r = images_init(&sb->images, config->disks, config->n_disks, ret_error);
	if (r == 0 && config->run_dir && config->vm)
		r = images_name_views(&sb->images, config->run_dir, config->vm, ret_error);
	if (r < 0) {
		free(sb);
		return r;
	}
	torn_init(&sb->images.torn, config->role_dir, config->vm);
	sb->config.disks = NULL; /* not needed any more: `images` has the names and paths */
	pthread_mutex_init(&sb->lock, NULL);
	pthread_cond_init(&sb->command_done, NULL);
	r = open_qemu(sb, ret_error);
	if (r < 0)
		goto free_it;
	set_defaults(sb);
	r = open_copy(sb, ret_error);
	if (r < 0)
		goto done_qemu;
	warn_when_on_disk(sb);
	standby_recover_disks(sb);
	/* An earlier agent may have given the primary a LEASE just before it ended. So assume that
	 * one was given now. */
	if (sb->rf.meta.vote == RAMFILE_VOTE_DIRECT)
		sb->granted_ns = clock_mono_ns();
	r = start_thread(sb, ret_error);
	if (r < 0)
		goto close_copy;
	*ret_standby = sb;
	return 0;
close_copy:
	images_close(&sb->images);
	epochlog_close(&sb->log);
	durable_close(&sb->durable);
	ramfile_close(&sb->rf);
done_qemu:
	qemu_done(&sb->qemu);
free_it:
	free(sb);
	return r;
}

void standby_close(struct standby *sb)
{
	if (!sb)
		return;
	pthread_mutex_lock(&sb->lock);
	sb->closing = true;
	wake(sb);
	pthread_mutex_unlock(&sb->lock);
	pthread_join(sb->thread, NULL);
	link_free(sb->offer.link);
	standby_machine_reset(&sb->machine);
	vmm_description_done(&sb->promoted);
	room_release(&sb->room);
	vcpus_close(sb->served.vcpus);
	images_close(&sb->images);
	epochlog_close(&sb->log);
	durable_close(&sb->durable);
	ramfile_close(&sb->rf);
	qemu_done(&sb->qemu);
	fd_close(sb->wake_fd);
	pthread_cond_destroy(&sb->command_done);
	pthread_mutex_destroy(&sb->lock);
	free(sb);
}
