#include "control/events.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "base/rate.h"
#include "base/spool.h"
#include "base/text.h"
#include "vm/health.h"

#define TAIL_BYTES   4096 /* how many bytes to search at a file's end; more than any line has */
#define SPOOL_BYTES  (256u << 10)
#define CLOSE_NS     (2 * CLOCK_NS_PER_S)
#define TELL_NS      CLOCK_NS_PER_S
/* number of VMs with limits of their own; all further VMs share the limits of the last one */
#define SOURCES_MAX  96

enum { VITAL, OTHERS };

/* One file and its spool. After events_open(), only the spool's thread changes the members, except
 * n_unwritten, which belongs to the loop. */
struct events_file {
	char path[PATH_MAX];
	int fd;
	uint64_t bytes, bytes_max;
	/* number of lines that did not fit into the spool; only the loop uses it */
	uint64_t n_unwritten;
	struct spool *spool;
};

struct ring {
	/* number of events added so far; the next event goes to index n_added % EVENTS_RING_MAX */
	uint64_t n_added;
	struct event list[EVENTS_RING_MAX];
};

struct event_source {
	char vm[WIRE_NAME_MAX + 1];
	struct rate rate[EVENTS_CLASSES];
	/* for each class, the newest suppressed change of state; its `to` is "" if there is none */
	struct event untold[EVENTS_CLASSES];
};

struct events {
	uint64_t next_seq;
	uint64_t ticked_ns;
	struct ring rings[EVENTS_CLASSES];
	struct event_source sources[SOURCES_MAX];
	size_t n_sources;
	/* audit.jsonl and events.jsonl. Each struct is allocated separately: if a file's thread
	 * hangs in a write, close_file() does not free that file's struct. */
	struct events_file *files[EVENTS_CLASSES];
};

/* Returns the highest sequence number near the file's end, or 0 if there is none. */
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

static int reopen(struct events_file *f)
{
	struct stat st;

	f->fd = open(f->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return -errno;
	f->bytes = (uint64_t)st.st_size;
	return 0;
}

/* If @size more bytes do not fit into bytes_max, rename the file to FILE.1 and begin a new file. */
static void make_room(struct events_file *f, size_t size)
{
	char old[PATH_MAX + 2];

	if (f->bytes == 0 || f->bytes + size <= f->bytes_max)
		return;
	(void)snprintf(old, sizeof(old), "%s.1", f->path);
	f->fd = fd_close(f->fd);
	if (rename(f->path, old) < 0)
		log_limited(LOG_LEVEL_WARN, "cannot rename %s: %s, ignoring", f->path,
			    strerror(errno));
	/* If this fails, no event is lost at once: events are also in memory. Each write then
	 * reports the missing file. */
	(void)!reopen(f);
}

/* Write @data, which consists of whole lines, to the file. Called on the spool's thread. */
static void write_file(void *arg, const char *data, size_t size)
{
	struct events_file *f = arg;
	int r;

	make_room(f, size);
	r = f->fd < 0 ? -EBADF : fd_write_all(f->fd, data, size);
	if (r < 0) {
		log_limited(LOG_LEVEL_WARN, "%s: cannot write: %s; events are lost in it", f->path,
			    strerror(-r));
		return;
	}
	f->bytes += size;
}

static void close_file(struct events_file *f)
{
	if (!f || !spool_close(f->spool, CLOSE_NS))
		return; /* the disk does not answer, so the thread still uses @f: do not free @f */
	fd_close(f->fd);
	free(f);
}

static int open_file(const char *dir, const char *name, uint64_t bytes_max,
		     struct events_file **ret_file, uint64_t *ret_last_seq)
{
	struct events_file *f = calloc(1, sizeof(*f));
	int r = 0;

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	f->bytes_max = bytes_max;
	if (snprintf(f->path, sizeof(f->path), "%s/%s", dir, name) >= (int)sizeof(f->path))
		r = -ENAMETOOLONG;
	if (r == 0)
		r = reopen(f);
	if (r == 0) {
		*ret_last_seq = last_seq(f->fd, f->bytes);
		r = spool_open(SPOOL_BYTES, write_file, f, &f->spool);
	}
	if (r < 0) {
		close_file(f);
		return r;
	}
	*ret_file = f;
	return 0;
}

int events_open(const char *dir, uint64_t bytes_max, struct events **ret_events)
{
	static const char *const names[EVENTS_CLASSES] = {"audit.jsonl", "events.jsonl"};
	struct events *events = calloc(1, sizeof(*events));
	uint64_t seq = 0;
	int r = 0;

	if (!events)
		return -ENOMEM;
	for (size_t i = 0; i < EVENTS_CLASSES && r == 0; i++) {
		r = open_file(dir, names[i], bytes_max, &events->files[i], &seq);
		if (r == 0 && seq >= events->next_seq)
			events->next_seq = seq + 1;
	}
	if (r < 0) {
		events_close(events);
		return r;
	}
	*ret_events = events;
	return 0;
}

struct events *events_close(struct events *events)
{
	if (!events)
		return NULL;
	for (size_t i = 0; i < EVENTS_CLASSES; i++)
		close_file(events->files[i]);
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

static void append(struct events *events, unsigned int class, const struct event *event)
{
	AUTO_FREE char *line = events_format(event);
	size_t size = line ? strlen(line) : 0;

	if (line)
		line[size++] = '\n'; /* overwrites the NUL */
	for (unsigned int i = class; i < EVENTS_CLASSES; i++) {
		struct events_file *f = events->files[i];

		if (line && spool_put(f->spool, line, size))
			continue;
		f->n_unwritten++;
		log_limited(LOG_LEVEL_WARN,
			    "%s: the disk is too slow, %" PRIu64 " events lost in the file",
			    f->path, f->n_unwritten);
	}
}

/* Returns the class of an event of @kind that reports a change to @to ("": no change). VITAL events
 * are important, and peers cannot cause many of them. Peers can cause events of the other class at
 * will. */
static unsigned int class_of(const char *kind, const char *to)
{
	static const char *const vital[] = {"state",   "operator",    "gateway",   "fence",
					    "journal", "certificate", "suppressed"};

	for (size_t i = 0; i < ARRAY_SIZE(vital); i++) {
		if (strcmp(vital[i], kind) == 0)
			return VITAL;
	}
	/* health_watch() limits the number of these events, whatever peers do */
	return strcmp(kind, "health") == 0 && health_name_is_grave(to) ? VITAL : OTHERS;
}

static struct event_source *find_source(struct events *events, const char *vm)
{
	struct event_source *s;

	for (size_t i = 0; i < events->n_sources; i++) {
		if (strcmp(events->sources[i].vm, vm) == 0)
			return &events->sources[i];
	}
	if (events->n_sources == SOURCES_MAX)
		return &events->sources[SOURCES_MAX - 1];
	s = &events->sources[events->n_sources++];
	(void)snprintf(s->vm, sizeof(s->vm), "%s", vm);
	return s;
}

static void keep(struct events *events, unsigned int class, const char *vm, const char *kind,
		 const char *from, const char *to, const char *text)
{
	struct ring *ring = &events->rings[class];
	struct event *e = &ring->list[ring->n_added % EVENTS_RING_MAX];
	char clean[WIRE_TEXT_MAX + 1];

	wire_text_format(clean, "%s", text);
	*e = (struct event){
		.seq = events->next_seq,
		.wall_ns = clock_wall_ns(),
		.mono_ns = clock_mono_ns(),
	};
	(void)text_copy(e->vm, sizeof(e->vm), vm);
	(void)text_copy(e->kind, sizeof(e->kind), kind);
	(void)text_copy(e->from, sizeof(e->from), from);
	(void)text_copy(e->to, sizeof(e->to), to);
	(void)text_copy(e->text, sizeof(e->text), clean);
	events->next_seq++;
	ring->n_added++;
	append(events, class, e);
}

static void tell_suppressed(struct events *events, struct event_source *s)
{
	uint64_t n[EVENTS_CLASSES];
	char text[160];

	for (unsigned int i = 0; i < EVENTS_CLASSES; i++)
		n[i] = rate_take_suppressed(&s->rate[i]);
	if (n[VITAL] + n[OTHERS] == 0)
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64 " events were too many, %" PRIu64
		       " of them of state or operators", n[VITAL] + n[OTHERS], n[VITAL]);
	keep(events, VITAL, s->vm, "suppressed", "", "", text);
	for (unsigned int i = 0; i < EVENTS_CLASSES; i++) {
		const struct event *e = &s->untold[i];

		if (e->to[0])
			keep(events, i, s->vm, e->kind, e->from, e->to, e->text);
		s->untold[i].to[0] = '\0';
	}
}

/* Returns true if the event must be stored even if there were too many events: the VM is FAILED,
 * and waits for an operator. Before it can fail again, there must be another attempt at a
 * promotion, so there cannot be many such events. */
static bool is_never_suppressed(unsigned int class, const char *to)
{
	return class == VITAL && strcmp(to, "FAILED") == 0;
}

bool events_add(struct events *events, uint64_t now_ns, const char *vm, const char *kind,
		const char *from, const char *to, const char *text)
{
	unsigned int class = class_of(kind, to);

	struct event_source *s = find_source(events, vm);

	if (!rate_pass(&s->rate[class], EVENTS_EVERY_NS,
		       class == VITAL ? EVENTS_BURST_VITAL : EVENTS_BURST_OTHERS, now_ns) &&
	    !is_never_suppressed(class, to)) {
		if (to[0]) {
			(void)text_copy(s->untold[class].kind, sizeof(s->untold[class].kind), kind);
			(void)text_copy(s->untold[class].from, sizeof(s->untold[class].from), from);
			(void)text_copy(s->untold[class].to, sizeof(s->untold[class].to), to);
			(void)text_copy(s->untold[class].text, sizeof(s->untold[class].text), text);
		}
		return false;
	}
	if (to[0])
		s->untold[class].to[0] = '\0'; /* the event that is now kept is
						* newer than the suppressed one */
	keep(events, class, vm, kind, from, to, text);
	return true;
}

void events_tick(struct events *events, uint64_t now_ns)
{
	if (now_ns - events->ticked_ns < TELL_NS)
		return;
	events->ticked_ns = now_ns;
	for (size_t i = 0; i < events->n_sources; i++)
		tell_suppressed(events, &events->sources[i]);
}

static uint64_t n_in(const struct ring *ring)
{
	return ring->n_added < EVENTS_RING_MAX ? ring->n_added : EVENTS_RING_MAX;
}

uint64_t events_count(const struct events *events)
{
	return n_in(&events->rings[VITAL]) + n_in(&events->rings[OTHERS]);
}

uint64_t events_next_seq(const struct events *events)
{
	return events->next_seq;
}

/* Returns the oldest event in @ring whose sequence number is at least @seq, or NULL if there is
 * none. Uses binary search, because sequence numbers grow along the ring. */
static const struct event *first_from(const struct ring *ring, uint64_t seq)
{
	uint64_t low = ring->n_added - n_in(ring), high = ring->n_added;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (ring->list[middle % EVENTS_RING_MAX].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ring->n_added ? &ring->list[low % EVENTS_RING_MAX] : NULL;
}

const struct event *events_from(const struct events *events, uint64_t seq)
{
	const struct event *vital = first_from(&events->rings[VITAL], seq);
	const struct event *other = first_from(&events->rings[OTHERS], seq);

	if (!vital || !other)
		return vital ? vital : other;
	return vital->seq < other->seq ? vital : other;
}
