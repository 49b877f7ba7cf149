#include "control/events.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#define TAIL_BYTES 4096 /* more than any one line */

struct events {
	char path[PATH_MAX];
	int fd;
	uint64_t bytes, bytes_max;
	uint64_t first_seq, next_seq;
	uint64_t n_unwritten;
	struct event ring[EVENTS_RING_MAX];
};

/* The number of the last whole line of the file. 0: none. */
static uint64_t last_seq(int fd, uint64_t size)
{
	char tail[TAIL_BYTES + 1];
	uint64_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
	ssize_t n = pread(fd, tail, TAIL_BYTES, (off_t)from);
	uint64_t seq = 0;

	if (n <= 0)
		return 0;
	tail[n] = '\0';
	for (char *at = tail; (at = strstr(at, "\"seq\":")) != NULL; at++) {
		uint64_t value = strtoull(at + 6, NULL, 10);

		if (value > seq)
			seq = value;
	}
	return seq;
}

static int reopen(struct events *events)
{
	struct stat st;

	events->fd = open(events->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (events->fd < 0 || fstat(events->fd, &st) < 0)
		return -errno;
	events->bytes = (uint64_t)st.st_size;
	return 0;
}

int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
{
	struct events *events = calloc(1, sizeof(*events));
	int r = 0;

	if (!events)
		return -ENOMEM;
	events->fd = -1;
	events->bytes_max = bytes_max;
	if (snprintf(events->path, sizeof(events->path), "%s/events.jsonl", dir) >=
	    (int)sizeof(events->path))
		r = -ENAMETOOLONG;
	if (r == 0)
		r = reopen(events);
	if (r < 0) {
		events_close(events);
		return r;
	}
	events->next_seq = last_seq(events->fd, events->bytes) + 1;
	events->first_seq = events->next_seq;
	*ret_events = events;
	return 0;
}

struct events *events_close(struct events *events)
{
	if (!events)
		return NULL;
	fd_close(events->fd);
	free(events);
	return NULL;
}

char *events_format(const struct event *e)
{
	json_t *json = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "seq",
				 (json_int_t)e->seq, "wall", (json_int_t)e->wall_ns, "mono_ns",
				 (json_int_t)e->mono_ns, "vm", e->vm, "kind", e->kind, "from",
				 e->from, "to", e->to, "text", e->text);
	char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return line;
}

/* The file may not grow for ever: two files of bytes_max at most. */
static void rotate(struct events *events)
{
	char old[PATH_MAX + 2];

	if (events->bytes < events->bytes_max)
		return;
	(void)snprintf(old, sizeof(old), "%s.1", events->path);
	events->fd = fd_close(events->fd);
	if (rename(events->path, old) < 0)
		log_warn("cannot rename %s: %s, ignoring", events->path, strerror(errno));
	(void)!reopen(events); /* without a file the ring still serves; counted at each write */
}

static void append(struct events *events, const struct event *event)
{
	AUTO_FREE char *line = events_format(event);
	size_t size = line ? strlen(line) : 0;

	if (line) {
		line[size++] = '\n'; /* takes the place of the terminator */
		rotate(events);
	}
	if (!line || events->fd < 0 || fd_write_all(events->fd, line, size) < 0) {
		events->n_unwritten++;
		log_limited(LOG_LEVEL_WARN, "%s: cannot write, %llu events lost in the file",
			    events->path, (unsigned long long)events->n_unwritten);
		return;
	}
	events->bytes += size;
}

/* Copy, cut to @size with its terminator. */
static void copy(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	memcpy(to, from, n);
	to[n] = '\0';
}

void events_add(struct events *events, const char *vm, const char *kind, const char *from,
		const char *to, const char *text)
{
	struct event *e = &events->ring[events->next_seq % EVENTS_RING_MAX];
	char clean[WIRE_TEXT_MAX + 1];

	wire_text_format(clean, "%s", text); /* a cut text may end within a character */
	*e = (struct event){
		.seq = events->next_seq,
		.wall_ns = clock_wall_ns(),
		.mono_ns = clock_mono_ns(),
	};
	copy(e->vm, sizeof(e->vm), vm);
	copy(e->kind, sizeof(e->kind), kind);
	copy(e->from, sizeof(e->from), from);
	copy(e->to, sizeof(e->to), to);
	copy(e->text, sizeof(e->text), clean);
	wire_text_format(clean, "%s", e->text);
	copy(e->text, sizeof(e->text), clean);
	events->next_seq++;
	if (events->next_seq - events->first_seq > EVENTS_RING_MAX)
		events->first_seq = events->next_seq - EVENTS_RING_MAX;
	append(events, e);
}

uint64_t events_first_seq(const struct events *events)
{
	return events->first_seq;
}

uint64_t events_next_seq(const struct events *events)
{
	return events->next_seq;
}

const struct event *events_get(const struct events *events, uint64_t seq)
{
	if (seq < events->first_seq || seq >= events->next_seq)
		return NULL;
	return &events->ring[seq % EVENTS_RING_MAX];
}
