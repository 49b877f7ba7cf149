#include "vmm/mirror.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PREFIX	       "holdfast-"
#define TIMEOUT_NS     (5 * CLOCK_NS_PER_S)
#define END_TIMEOUT_NS (10 * CLOCK_NS_PER_S)
#define END_POLL_MS    20 /* how often to check whether the job has ended, if no event comes */

/* The size of the pieces into which QEMU divides the disk for the first copy. */
#define GRANULARITY_BYTES 65536
/* The maximum number of bytes of the first copy that are sent and not yet confirmed. A `stop` waits
 * until the server has confirmed them. So this limit is smaller than QEMU's default of 10 MiB. */
#define COPY_BYTES (2 * 1024 * 1024)

AUTO_DEFINE(json_t *, json_decref)

/* ---- ids */

static uint32_t hash_name(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash;
}

void mirror_id(const char *name, char ret_id[MIRROR_ID_BYTES])
{
	const size_t room = MIRROR_ID_BYTES - sizeof(PREFIX);

	if (strlen(name) <= room)
		(void)snprintf(ret_id, MIRROR_ID_BYTES, PREFIX "%.*s", (int)room, name);
	else
		(void)snprintf(ret_id, MIRROR_ID_BYTES, PREFIX "%.*s-%08" PRIx32, (int)room - 9,
			       name, hash_name(name));
}

bool mirror_is_our_id(const char *id)
{
	return strncmp(id, PREFIX, strlen(PREFIX)) == 0;
}

/* ---- condition */

enum mirror_condition mirror_condition(const struct mirror *m)
{
	return m->condition;
}

const char *mirror_condition_name(enum mirror_condition condition)
{
	static const char *const names[] = {
		[MIRROR_OFF] = "off",
		[MIRROR_COPYING] = "copying",
		[MIRROR_READY] = "ready",
		[MIRROR_BROKEN] = "broken",
	};

	return names[condition];
}

const char *mirror_error(const struct mirror *m)
{
	return m->condition == MIRROR_BROKEN ? m->error.text : "";
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* Record that the mirror is broken, and that @what is the reason. @has_reason: @what comes from
 * QEMU. QEMU's first reason replaces our own guess, and is itself never replaced. */
static void set_broken(struct mirror *m, bool has_reason, const char *what)
{
	if (m->condition == MIRROR_BROKEN && (m->has_reason || !has_reason))
		return;
	m->condition = MIRROR_BROKEN;
	m->has_reason = has_reason;
	(void)error_set(&m->error, 0,
			"disk %s is not replicated any more: %s; it must be copied again", m->name,
			what);
}

static void take_ready(struct mirror *m, const json_t *data)
{
	(void)data;
	if (m->condition == MIRROR_COPYING)
		m->condition = MIRROR_READY;
}

static void take_error(struct mirror *m, const json_t *data)
{
	set_broken(m, true,
		   strcmp(text_of(data, "operation"), "read") == 0
			   ? "QEMU could not read the disk's image"
			   : "QEMU could not write to the replication server (holdfast's nbdkit): "
			     "it ended or refused a write");
}

static void take_completed(struct mirror *m, const json_t *data)
{
	const char *error = text_of(data, "error");
	char what[256];

	if (m->is_ending)
		return;
	(void)snprintf(what, sizeof(what), "QEMU's job %s ended: %.200s", m->id,
		       *error ? error : "someone else completed it (block-job-complete)");
	set_broken(m, true, what);
}

static void take_cancelled(struct mirror *m, const json_t *data)
{
	(void)data;
	if (!m->is_ending)
		set_broken(m, true, "someone else cancelled QEMU's job (block-job-cancel)");
}

/* When a job fails, its status becomes "aborting"; QEMU gives the reason later, in
 * BLOCK_JOB_COMPLETED. "null" means that the job is gone. "paused" is not a failure: a job is
 * paused for a moment while QEMU drains its requests. */
static void take_status(struct mirror *m, const json_t *data)
{
	const char *status = text_of(data, "status");

	if (!m->is_ending && (strcmp(status, "aborting") == 0 || strcmp(status, "null") == 0))
		set_broken(m, false, "QEMU's job failed");
}

bool mirror_take_event(struct mirror *m, const char *event, const json_t *data)
{
	static const struct {
		const char *event;
		const char *id_key;
		void (*take)(struct mirror *m, const json_t *data);
	} events[] = {
		{"BLOCK_JOB_READY", "device", take_ready},
		{"BLOCK_JOB_ERROR", "device", take_error},
		{"BLOCK_JOB_COMPLETED", "device", take_completed},
		{"BLOCK_JOB_CANCELLED", "device", take_cancelled},
		{"JOB_STATUS_CHANGE", "id", take_status},
	};
	enum mirror_condition before = m->condition;

	if (before == MIRROR_OFF)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (strcmp(events[i].event, event) == 0 &&
		    strcmp(text_of(data, events[i].id_key), m->id) == 0)
			events[i].take(m, data);
	return m->condition != before;
}

/* ---- progress */

static const json_t *find_job(const json_t *query_block_jobs, const char *id)
{
	size_t i;
	json_t *job;

	json_array_foreach(query_block_jobs, i,
			   job) if (strcmp(text_of(job, "device"), id) == 0) return job;
	return NULL;
}

static bool is_one_of(const char *text, const char *const *texts)
{
	for (; *texts; texts++)
		if (strcmp(*texts, text) == 0)
			return true;
	return false;
}

static int judge_health(const json_t *job, const char *id, struct error *ret_error)
{
	/* A job is "paused" or in "standby" while QEMU drains requests, or after an operator has
	 * paused it. In these states too, the guest's writes are copied. */
	static const char *const alive[] = {"created", "running", "paused",
					    "ready",   "standby", NULL};
	const char *error = text_of(job, "error"), *status = text_of(job, "status"),
		   *io_status = text_of(job, "io-status");

	if (*error)
		return error_set(ret_error, -EIO, "QEMU's job %s failed: %.200s", id, error);
	if (strcmp(io_status, "ok") != 0)
		return error_set(ret_error, -EIO, "QEMU's job %s could not write (io-status %.32s)",
				 id, io_status);
	if (!is_one_of(status, alive))
		return error_set(ret_error, -EIO, "QEMU's job %s is ending (status %.32s)", id,
				 status);
	return 0;
}

int mirror_judge(const json_t *query_block_jobs, const char *id,
		 struct mirror_progress *ret_progress, struct error *ret_error)
{
	const json_t *job = find_job(query_block_jobs, id);
	const json_t *len = json_object_get(job, "len"), *offset = json_object_get(job, "offset"),
		     *active = json_object_get(job, "actively-synced");
	struct mirror_progress progress = {
		.bytes = (uint64_t)json_integer_value(len),
		.done_bytes = (uint64_t)json_integer_value(offset),
		.is_ready = json_is_true(json_object_get(job, "ready")),
		.is_active = !active || json_is_true(active),
	};
	int r;

	if (!json_is_array(query_block_jobs) ||
	    (job && !(json_is_integer(len) && json_is_integer(offset))))
		return error_set(ret_error, -EPROTO,
				 "QEMU's answer to query-block-jobs is not understood");
	if (!job)
		return error_set(ret_error, -EIO, "QEMU has no job %s any more", id);
	r = judge_health(job, id, ret_error);
	if (r < 0)
		return r;
	*ret_progress = progress;
	return progress.is_ready && progress.is_active && progress.bytes == progress.done_bytes
		       ? 0
		       : -EAGAIN;
}

/* ---- commands */

/* Run a command. On error, *ret_error has the disk's name @name. */
static int execute(struct qmp *q, const char *name, const char *command, json_t *args,
		   json_t **ret_answer, struct error *ret_error)
{
	int r = qmp_execute(q, command, args, TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(ret_error, r, "disk %s: QEMU: %s: %s", name, command,
				 *qmp_error(q) ? qmp_error(q) : strerror(-r))
		     : 0;
}

int mirror_check(struct mirror *m, struct qmp *q, struct mirror_progress *ret_progress,
		 struct error *ret_error)
{
	AUTO(json_decref) json_t *jobs = NULL;
	struct error error;
	int r = execute(q, m->name, "query-block-jobs", NULL, &jobs, ret_error);

	if (r < 0)
		return r;
	r = mirror_judge(jobs, m->id, ret_progress, &error);
	if (r == -EIO) {
		set_broken(m, false, error.text);
		*ret_error = m->condition == MIRROR_BROKEN ? m->error : error;
	} else if (r < 0 && r != -EAGAIN) {
		*ret_error = error;
	}
	return r;
}

int mirror_set_speed(struct mirror *m, struct qmp *q, uint64_t speed, struct error *ret_error)
{
	return execute(q, m->name, "block-job-set-speed",
		       json_pack("{s:s, s:I}", "device", m->id, "speed", (json_int_t)speed), NULL,
		       ret_error);
}

/* Is there a job @id? Returns 1 if there is, 0 if there is none, or an error of qmp_execute(). */
static int look_for_job(struct qmp *q, const char *name, const char *id, struct error *ret_error)
{
	AUTO(json_decref) json_t *jobs = NULL;
	int r = execute(q, name, "query-block-jobs", NULL, &jobs, ret_error);

	return r < 0 ? r : find_job(jobs, id) != NULL;
}

/* End the job @id, if there is one, and wait for its end. */
static int remove_job(struct qmp *q, const char *name, const char *id, struct error *ret_error)
{
	uint64_t deadline_ns = clock_mono_ns() + END_TIMEOUT_NS;
	struct error error;
	int r = look_for_job(q, name, id, ret_error);

	if (r <= 0)
		return r;
	r = execute(q, name, "block-job-cancel", json_pack("{s:s, s:b}", "device", id, "force", 1),
		    NULL, &error);
	/* -EREMOTEIO: QEMU refuses the command if the job has ended in the meantime, or is
	 * ending */
	if (r < 0 && r != -EREMOTEIO)
		return error_set(ret_error, r, "%s", error.text);
	for (;;) {
		struct pollfd event = {.fd = qmp_fd(q), .events = POLLIN};

		r = look_for_job(q, name, id, ret_error);
		if (r <= 0)
			return r;
		if (clock_mono_ns() > deadline_ns)
			return error_set(ret_error, -ETIMEDOUT,
					 "disk %s: QEMU's job %s does not end; does its server "
					 "(holdfast's nbdkit) hang? kill it",
					 name, id);
		(void)poll(&event, 1, END_POLL_MS); /* an error only makes the wait shorter */
	}
}

/* Remove the node @id, if there is one. */
static int remove_node(struct qmp *q, const char *name, const char *id, struct error *ret_error)
{
	AUTO(json_decref) json_t *nodes = NULL;
	size_t i;
	json_t *node;
	int r = execute(q, name, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), &nodes,
			ret_error);

	if (r < 0)
		return r;
	json_array_foreach(nodes, i,
			   node) if (strcmp(text_of(node, "node-name"), id) ==
				     0) return execute(q, name, "blockdev-del",
						       json_pack("{s:s}", "node-name", id), NULL,
						       ret_error);
	return 0;
}

int mirror_remove(struct qmp *q, const char *name, struct error *ret_error)
{
	char id[MIRROR_ID_BYTES];
	int r;

	mirror_id(name, id);
	r = remove_job(q, name, id, ret_error);
	return r < 0 ? r : remove_node(q, name, id, ret_error);
}

static int add_node(const struct mirror *m, struct qmp *q, const char *socket_path,
		    struct error *ret_error)
{
	return execute(q, m->name, "blockdev-add",
		       json_pack("{s:s, s:s, s:s, s:i, s:{s:s, s:s}}", "driver", "nbd", "node-name",
				 m->id, "export", "", "reconnect-delay", 0, "server", "type",
				 "unix", "path", socket_path),
		       NULL, ret_error);
}

static int start_job(const struct mirror *m, struct qmp *q, const char *source, uint64_t speed,
		     struct error *ret_error)
{
	return execute(q, m->name, "blockdev-mirror",
		       json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:i}", "job-id",
				 m->id, "device", source, "target", m->id, "sync", "full",
				 "copy-mode", "write-blocking", "on-source-error", "report",
				 "on-target-error", "report", "speed", (json_int_t)speed,
				 "granularity", GRANULARITY_BYTES, "buf-size", COPY_BYTES),
		       NULL, ret_error);
}

int mirror_begin(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		 const char *socket_path, uint64_t speed, struct error *ret_error)
{
	struct error ignored;
	int r;

	if (m->condition != MIRROR_OFF)
		return error_set(ret_error, -EALREADY, "disk %s is being replicated already",
				 disk->name);
	if (disk->has_job)
		return error_set(ret_error, -EBUSY,
				 "disk %s: a block job of someone else's uses it (query-block-jobs "
				 "in QEMU's monitor): wait until it has ended, or cancel it",
				 disk->name);
	r = mirror_remove(q, disk->name, ret_error);
	if (r < 0)
		return r;
	*m = (struct mirror){.condition = MIRROR_COPYING};
	memcpy(m->name, disk->name, sizeof(m->name));
	mirror_id(m->name, m->id);
	r = add_node(m, q, socket_path, ret_error);
	if (r == 0) {
		r = start_job(m, q, disk->source, speed, ret_error);
		if (r < 0)
			/* an error here is ignored: the first error is reported */
			(void)remove_node(q, m->name, m->id, &ignored);
	}
	if (r < 0)
		*m = (struct mirror){0};
	return r;
}

int mirror_resume(struct mirror *m, struct qmp *q, const struct vmm_disk *disk,
		  struct error *ret_error)
{
	struct mirror_progress progress;
	int r;

	*m = (struct mirror){.condition = MIRROR_READY};
	memcpy(m->name, disk->name, sizeof(m->name));
	mirror_id(m->name, m->id);
	r = mirror_check(m, q, &progress, ret_error);
	if (r == -EAGAIN)
		r = error_set(ret_error, -EIO, "the mirror of disk %s is not whole", disk->name);
	if (r < 0)
		*m = (struct mirror){0};
	return r;
}

int mirror_end(struct mirror *m, struct qmp *q, struct error *ret_error)
{
	int r;

	if (m->condition == MIRROR_OFF)
		return 0;
	m->is_ending = true;
	r = mirror_remove(q, m->name, ret_error);
	if (r == 0)
		*m = (struct mirror){0};
	return r;
}
