/* vmm_mirror.c - drives vmm/disks.h and vmm/mirror.h against a running QEMU, for
 * tests/e2e/test_vmm_mirror.
 *
 * usage: vmm_mirror MONITOR
 * Reads commands from stdin, one per line. The last line of each answer is "done" or
 * "error -ERRNO TEXT":
 *      list                    "NAME SOURCE FORMAT SIZE FLAGS", a line for each writable disk
 * 	judge [NAME...]		vmm_check_disks() with these names
 * 	graph			the block nodes, jobs and edges between them
 * 	begin NAME SOCKET	mirror_begin()
 * 	check			mirror_check(), "DONE BYTES"
 * 	wait CONDITION		wait until the mirror is in this condition, up to 10 s
 * 	condition		print the mirror's last known condition; read
 * 				no new events
 * 	why			mirror_error()
 * 	end, remove NAME	mirror_end(), mirror_remove()
 * 	qmp COMMAND		run it, without arguments
 * 	hmp LINE		run it, print its output
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/disks.h"
#include "vmm/mirror.h"
#include "vmm/qmp.h"

#define TIMEOUT_NS (20 * CLOCK_NS_PER_S)
#define WAIT_NS	   (10 * CLOCK_NS_PER_S)
#define NAMES_MAX  8u

static struct qmp *qmp;
static struct mirror mirror;
static struct error error;

static void take_event(void *arg, const char *event, const json_t *data)
{
	(void)arg;
	(void)mirror_take_event(&mirror, event, data);
}

static int find(const char *name, struct vmm_disk *ret_disk)
{
	struct vmm_disks disks;
	int r = vmm_disks_list(qmp, &disks, &error);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < disks.n; i++)
		if (strcmp(disks.disks[i].name, name) == 0) {
			*ret_disk = disks.disks[i];
			return 0;
		}
	return error_set(&error, -ENOENT, "the guest has no disk %s", name);
}

static int do_list(char *args)
{
	struct vmm_disks disks;
	int r = vmm_disks_list(qmp, &disks, &error);

	(void)args;
	for (uint32_t i = 0; r == 0 && i < disks.n; i++) {
		const struct vmm_disk *d = &disks.disks[i];

		printf("%s %s %s %" PRIu64 "%s%s%s%s\n", d->name, d->source, d->format,
		       d->size_bytes, d->is_direct ? " direct" : "",
		       d->is_no_flush ? " no-flush" : "", d->has_backing ? " backing" : "",
		       d->has_job ? " job" : "");
	}
	return r;
}

static int do_judge(char *args)
{
	const char *names[NAMES_MAX];
	char *save = NULL;
	size_t n = 0;

	for (char *word = strtok_r(args, " ", &save); word && n < NAMES_MAX;
	     word = strtok_r(NULL, " ", &save))
		names[n++] = word;
	return vmm_check_disks(qmp, (struct vmm_covered){names, n}, &error);
}

static int query(const char *command, json_t **ret_answer)
{
	int r = qmp_execute(qmp, command, NULL, TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(&error, r, "%s: %s", command, qmp_error(qmp)) : 0;
}

/* Print what must be the same after mirror_end(). Two things are left out: the amount of data in an
 * image, which can change, and the cache mode, which the guest's firmware chooses when it finds the
 * disk. */
static int do_graph(char *args)
{
	static const char *const commands[] = {"query-named-block-nodes", "query-block",
					       "x-debug-query-block-graph", "query-block-jobs"};
	int r = 0;

	(void)args;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(commands); i++) {
		json_t *answer = NULL, *entry;
		size_t at;

		r = query(commands[i], &answer);
		json_array_foreach(answer, at, entry)
		{
			json_t *inserted = json_object_get(entry, "inserted");

			(void)json_object_del(entry, "image");
			(void)json_object_del(inserted, "image");
			(void)json_object_del(inserted, "cache");
		}
		if (r == 0 && json_dumpf(answer, stdout, JSON_SORT_KEYS | JSON_INDENT(1)) < 0)
			r = -EIO;
		printf("\n");
		json_decref(answer);
	}
	return r;
}

static int do_begin(char *args)
{
	char *space = strchr(args, ' ');
	struct vmm_disk disk;
	int r;

	if (!space)
		return -EINVAL;
	*space = '\0';
	r = find(args, &disk);
	return r < 0 ? r : mirror_begin(&mirror, qmp, &disk, space + 1, 0, &error);
}

static int do_check(char *args)
{
	struct mirror_progress progress;
	int r = mirror_check(&mirror, qmp, &progress, &error);

	(void)args;
	if (r == 0 || r == -EAGAIN)
		printf("%" PRIu64 " %" PRIu64 "\n", progress.done_bytes, progress.bytes);
	if (r == -EAGAIN)
		(void)error_set(&error, r, "not in step");
	return r;
}

static int do_condition(char *args)
{
	(void)args;
	printf("%s\n", mirror_condition_name(mirror_condition(&mirror)));
	return 0;
}

static int do_wait(char *args)
{
	uint64_t deadline_ns = clock_mono_ns() + WAIT_NS;
	struct pollfd fd = {.fd = qmp_fd(qmp), .events = POLLIN};
	int r = qmp_pump(qmp);

	while (r == 0 && strcmp(mirror_condition_name(mirror_condition(&mirror)), args) != 0) {
		if (clock_mono_ns() > deadline_ns)
			return error_set(&error, -ETIMEDOUT, "still %s",
					 mirror_condition_name(mirror_condition(&mirror)));
		(void)poll(&fd, 1, 100);
		r = qmp_pump(qmp);
	}
	return r;
}

static int do_why(char *args)
{
	(void)args;
	printf("%s\n", mirror_error(&mirror));
	return 0;
}

static int do_end(char *args)
{
	(void)args;
	return mirror_end(&mirror, qmp, &error);
}

static int do_remove(char *args)
{
	return mirror_remove(qmp, args, &error);
}

static int do_qmp(char *args)
{
	return query(args, NULL);
}

static int do_hmp(char *args)
{
	char *text = NULL;
	int r = qmp_hmp(qmp, args, TIMEOUT_NS, &text);

	if (r < 0)
		return error_set(&error, r, "%s: %s", args, qmp_error(qmp));
	printf("%s\n", text);
	free(text);
	return 0;
}

static int run(char *line)
{
	static const struct {
		const char *verb;
		int (*run)(char *args);
	} verbs[] = {
		{"list", do_list},	     {"judge", do_judge}, {"graph", do_graph},
		{"begin", do_begin},	     {"check", do_check}, {"wait", do_wait},
		{"condition", do_condition}, {"why", do_why},	  {"end", do_end},
		{"remove", do_remove},	     {"qmp", do_qmp},	  {"hmp", do_hmp},
	};
	char *args = line + strcspn(line, " ");

	if (*args)
		*args++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].verb, line) == 0)
			return verbs[i].run(args);
	return error_set(&error, -EINVAL, "there is no command %s", line);
}

int main(int argc, char **argv)
{
	char line[1024];
	int r = argc == 2 ? qmp_open(argv[1], TIMEOUT_NS, &qmp) : -EINVAL;

	if (r < 0) {
		fprintf(stderr, "vmm_mirror: %s: %s\n", argc == 2 ? argv[1] : "usage: MONITOR",
			strerror(-r));
		return 1;
	}
	qmp_set_event_handler(qmp, take_event, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("done\n");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		error.text[0] = '\0';
		r = run(line);
		if (r < 0)
			printf("error %d %s\n", r, error.text);
		else
			printf("done\n");
	}
	qmp_close(qmp);
	return 0;
}
