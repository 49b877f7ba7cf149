#include "vm/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sum_line.h"
#include "base/text.h"

#define HEADER	       "holdfast-journal 1\n"
#define LINE_BYTES_MAX VM_JOURNAL_LINE_MAX
#define WANTED	       " want=protect"
#define WITH	       " with="

struct vm_journal {
	char path[PATH_MAX];
	int lock_fd;
	/* the journal, open with O_APPEND; -1: the last write failed, so the file must be rewritten
	 * first */
	int fd;
	unsigned n_lines; /* lines appended since the last rewrite */
	struct vm_journal_table table;
};

size_t vm_journal_format(const struct vm_journal_entry *entry, char *text, size_t size)
{
	int n = snprintf(text, size, "%s term=%" PRIu64 " owner=%s state=%s wall=%" PRIu64 "%s%s%s",
			 entry->vm, entry->term, entry->owner, vm_state_name(entry->state),
			 entry->wall_ns, entry->is_wanted ? WANTED : "",
			 entry->with[0] ? WITH : "", entry->with);

	return n < 0 ? 0 : sum_line_append(text, (size_t)n, size);
}

static int complain(struct error *ret_error, const char *name, unsigned line, const char *format,
		    ...) __attribute__((format(printf, 4, 5)));
static int complain(struct error *ret_error, const char *name, unsigned line, const char *format,
		    ...)
{
	char what[ERROR_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	(void)text_vput(what, sizeof(what), format, args);
	va_end(args);
	return error_set(ret_error, -EINVAL, "%s:%u: %s", name, line, what);
}

static struct vm_journal_entry *find(struct vm_journal_table *table, const char *vm)
{
	for (size_t i = 0; i < table->n; i++) {
		if (strcmp(table->list[i].vm, vm) == 0)
			return &table->list[i];
	}
	return NULL;
}

/* Parse @rest, the optional words at the end of a line. Returns false if @rest has anything
 * else. */
static bool parse_rest(const char *rest, struct vm_journal_entry *ret_entry)
{
	ret_entry->is_wanted = strncmp(rest, WANTED, sizeof(WANTED) - 1) == 0;
	if (ret_entry->is_wanted)
		rest += sizeof(WANTED) - 1;
	ret_entry->with[0] = '\0';
	if (!*rest)
		return true;
	if (strncmp(rest, WITH, sizeof(WITH) - 1) != 0)
		return false;
	rest += sizeof(WITH) - 1;
	(void)snprintf(ret_entry->with, sizeof(ret_entry->with), "%s", rest);
	return strcmp(ret_entry->with, rest) == 0 && wire_name_is_valid(rest) &&
	       strcmp(rest, ret_entry->owner) != 0;
}

/* Parse @line, which is NUL-terminated and has no newline. Returns NULL if the line is good. If it
 * is not, returns a text that says what is wrong. */
static const char *parse_line(char *line, struct vm_journal_entry *ret_entry)
{
	char *sum_at = strstr(line, " sum=");
	char state[16];
	char *end;
	int n = -1;

	if (!sum_at || strlen(sum_at + 5) != 16)
		return "no checksum";
	errno = 0;
	if (strtoull(sum_at + 5, &end, 16) != sum_line_of(line, (size_t)(sum_at - line)) || *end ||
	    sum_at[5] == '-' || sum_at[5] == '+')
		return "the checksum is wrong";
	*sum_at = '\0';
	if (sscanf(line, "%63s term=%" SCNu64 " owner=%63s state=%15s wall=%" SCNu64 "%n",
		   ret_entry->vm, &ret_entry->term, ret_entry->owner, state, &ret_entry->wall_ns,
		   &n) != 5 ||
	    n < 0 || !parse_rest(line + n, ret_entry))
		return "not 'VM term= owner= state= wall= [want=protect] [with=]'";
	if (!wire_name_is_valid(ret_entry->vm) || !wire_name_is_valid(ret_entry->owner))
		return "a name is not [a-z0-9-]";
	if (ret_entry->term > WIRE_TERM_MAX)
		return "the term is out of range";
	if (vm_state_parse(state, &ret_entry->state) < 0)
		return "unknown state";
	return NULL;
}

static const char *merge(struct vm_journal_table *table, const struct vm_journal_entry *entry)
{
	struct vm_journal_entry *old = find(table, entry->vm);

	if (!old) {
		if (table->n == VM_JOURNAL_VMS_MAX)
			return "too many VMs";
		old = &table->list[table->n++];
	} else if (entry->term < old->term) {
		return "the term goes down";
	}
	*old = *entry;
	return NULL;
}

/* ---- unreadable lines ---- */

static bool is_twice_in(const char *text, const char *word)
{
	const char *first = strstr(text, word);

	return first && strstr(first + 1, word);
}

/* Read the VM's name at the beginning of @text. Returns false if there is no valid name, or if
 * @text looks like two lines without a newline between them. */
static bool read_name(const char *text, char ret_name[WIRE_NAME_MAX + 1])
{
	size_t size = strcspn(text, " ");

	if (size == 0 || size > WIRE_NAME_MAX || is_twice_in(text, " term=") ||
	    is_twice_in(text, " owner=") || is_twice_in(text, " state=") ||
	    is_twice_in(text, " sum="))
		return false;
	memcpy(ret_name, text, size);
	ret_name[size] = '\0';
	return wire_name_is_valid(ret_name);
}

/* Would the line @text have the right checksum if it began with the name @vm? */
static bool fits_name(const char *text, const char *vm)
{
	char line[LINE_BYTES_MAX + WIRE_NAME_MAX + 1];
	const char *rest = strchr(text, ' ');
	char *sum_at;

	if (!rest)
		return false;
	(void)snprintf(line, sizeof(line), "%s%s", vm, rest);
	sum_at = strstr(line, " sum=");
	return sum_at && strlen(sum_at + 5) == 16 &&
	       strtoull(sum_at + 5, NULL, 16) == sum_line_of(line, (size_t)(sum_at - line));
}

bool vm_journal_table_doubt(const struct vm_journal_table *table, const char *vm,
			    struct error *ret_error)
{
	const struct vm_journal_entry *last = find((struct vm_journal_table *)table, vm);

	for (size_t i = table->n_damaged; i-- > 0;) {
		const struct vm_journal_damage *d = &table->damaged[i];
		char name[WIRE_NAME_MAX + 1];
		bool is_named = read_name(d->text, name);

		if ((last && last->line > d->line) ||
		    (is_named && strcmp(name, vm) != 0 && !fits_name(d->text, vm)))
			continue;
		(void)error_set(ret_error, 0,
				"a line of the journal cannot be read (%s), and %s: \"%.80s\"; "
				"nothing is ordered and no lease given until both hosts confirm "
				"the last term that can be read (%" PRIu64
				"), or `holdfastctl owner %s HOST` names the host whose guest is "
				"the right one",
				d->wrong,
				is_named ? "it may be the newest of this VM"
					 : "whose it is cannot be read either, so it may be the "
					   "newest of this VM",
				d->text, last ? last->term : 0, vm);
		return true;
	}
	return false;
}

/* Store the unreadable line of @size bytes at @at in @table. Returns false if there are too many of
 * them. */
static bool keep_damaged(struct vm_journal_table *table, const char *at, size_t size,
			 const char *wrong)
{
	struct vm_journal_damage *d = &table->damaged[table->n_damaged];
	char name[WIRE_NAME_MAX + 1];
	size_t n = size < LINE_BYTES_MAX ? size : LINE_BYTES_MAX - 1;

	if (table->n_damaged == VM_JOURNAL_DAMAGED_MAX)
		return false;
	table->n_damaged++;
	memcpy(d->text, at, n);
	d->text[n] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (d->text[i] < ' ' || d->text[i] > '~')
			d->text[i] = '?';
	}
	if (d->text[0] != '?' && (n < size || !read_name(d->text, name))) {
		memmove(d->text + 1, d->text, n < LINE_BYTES_MAX - 1 ? n + 1 : n);
		/* make the name unreadable, so that the line puts all VMs in doubt */
		d->text[0] = '?';
		d->text[LINE_BYTES_MAX - 1] = '\0';
	}
	d->wrong = wrong;
	d->line = table->n_lines;
	return true;
}

int vm_journal_parse(const char *name, const char *text, size_t size,
		     struct vm_journal_table *ret_table, bool *ret_torn, struct error *ret_error)
{
	static const char next_step[] =
		"restore the file from a copy, or move it away: then each VM starts without a term "
		"and the agents' terms are adopted";
	size_t at = sizeof(HEADER) - 1;
	AUTO_FREE struct vm_journal_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	if (size < at || memcmp(text, HEADER, at) != 0)
		return complain(ret_error, name, 1, "not a journal of this version; %s", next_step);
	*ret_torn = false;
	for (unsigned n = 2; at < size; n++) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t length = newline ? (size_t)(newline - text) - at : size - at;
		bool last = !newline || newline + 1 == text + size;
		struct vm_journal_entry entry = {0};
		char line[LINE_BYTES_MAX + 1];
		const char *wrong;

		/* Drop an incomplete last line, because the append that wrote it never returned. */
		if (last && (!newline || memchr(text + at, '\0', length))) {
			*ret_torn = true;
			break;
		}
		/* Keep an unreadable line, rather than guess its content. */
		entry.line = ++table->n_lines;
		wrong = "damaged";
		if (length <= LINE_BYTES_MAX && !memchr(text + at, '\0', length)) {
			memcpy(line, text + at, length);
			line[length] = '\0';
			wrong = parse_line(line, &entry);
		}
		if (!wrong)
			wrong = merge(table, &entry);
		if (wrong && !keep_damaged(table, text + at, length, wrong))
			return complain(ret_error, name, n, "%s, and so are many before it; %s",
					wrong, next_step);
		at += length + 1;
	}
	*ret_table = *table;
	return 0;
}

/* Forget each unreadable line if a later line of the same VM is readable. */
static void forget_damaged(struct vm_journal_table *table)
{
	size_t n = 0;

	for (size_t i = 0; i < table->n_damaged; i++) {
		struct vm_journal_damage d = table->damaged[i];
		char name[WIRE_NAME_MAX + 1];
		const struct vm_journal_entry *last =
			read_name(d.text, name) ? find(table, name) : NULL;

		if (!last || last->line < d.line)
			table->damaged[n++] = d;
	}
	table->n_damaged = n;
}

/* Write line number @line, with its newline, to @text. Returns its size, or 0 if a later line has
 * replaced it. */
static size_t format_line(const struct vm_journal_table *table, uint32_t line, char *text,
			  size_t size)
{
	for (size_t i = 0; i < table->n; i++) {
		if (table->list[i].line == line)
			return vm_journal_format(&table->list[i], text, size);
	}
	for (size_t i = 0; i < table->n_damaged; i++) {
		if (table->damaged[i].line == line)
			return (size_t)snprintf(text, size, "%s\n", table->damaged[i].text);
	}
	return 0;
}

/* Replace the file by a new one with the header, the last entry of each VM and the unreadable
 * lines. Leaves the new file open for appending. */
static int rewrite(struct vm_journal *journal)
{
	size_t capacity = sizeof(HEADER) +
			  (journal->table.n + VM_JOURNAL_DAMAGED_MAX) * (LINE_BYTES_MAX + 2);
	AUTO_FREE char *text = malloc(capacity);
	size_t size = sizeof(HEADER) - 1;
	int r;

	if (!text)
		return -ENOMEM;
	memcpy(text, HEADER, size);
	forget_damaged(&journal->table);
	for (uint32_t line = 1; line <= journal->table.n_lines; line++)
		size += format_line(&journal->table, line, text + size, capacity - size);
	r = fd_write_file_atomic(journal->path, text, size);
	if (r < 0)
		return r;
	journal->fd = fd_close(journal->fd);
	journal->fd = open(journal->path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (journal->fd < 0)
		return -errno;
	journal->n_lines = 0;
	return 0;
}

static int lock_dir(struct vm_journal *journal, const char *dir, struct error *ret_error)
{
	char path[PATH_MAX];
	int r = fd_mkdir_p(dir, 0700);

	if (r == 0 && (snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path) ||
		       snprintf(journal->path, sizeof(journal->path), "%s/journal", dir) >=
			       (int)sizeof(journal->path)))
		r = -ENAMETOOLONG;
	if (r == 0) {
		journal->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (journal->lock_fd < 0)
			r = -errno;
	}
	if (r < 0)
		return error_set(ret_error, r, "cannot use state_dir %.250s: %s; is it writable?",
				 dir, strerror(-r));
	if (flock(journal->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(ret_error, -EBUSY,
				 "state_dir %.250s is locked: another holdfast-gateway runs with "
				 "it; stop it, or give this one its own state_dir",
				 dir);
	return 0;
}

static int read_file(const char *path, struct vm_journal_table *ret_table, bool *ret_torn,
		     struct error *ret_error)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	int r = fd_read_file(path, VM_JOURNAL_BYTES_MAX, &text, &size);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set(ret_error, r, "%.250s: cannot read: %s", path, strerror(-r));
	return vm_journal_parse(path, text, size, ret_table, ret_torn, ret_error);
}

int vm_journal_read(const char *dir, struct vm_journal_table *ret_table, struct error *ret_error)
{
	char path[PATH_MAX];
	bool torn;

	memset(ret_table, 0, sizeof(*ret_table));
	if (snprintf(path, sizeof(path), "%s/journal", dir) >= (int)sizeof(path))
		return error_set(ret_error, -ENAMETOOLONG, "state_dir %s is too long", dir);
	return read_file(path, ret_table, &torn, ret_error);
}

static int load(struct vm_journal *journal, struct error *ret_error)
{
	bool torn = false;
	int r = read_file(journal->path, &journal->table, &torn, ret_error);

	if (r == 0 && torn)
		log_warn("%s: the last line is cut (power loss during an append); dropped, nothing "
			 "had followed from it", journal->path);
	return r;
}

int vm_journal_open(const char *dir, struct vm_journal **ret_journal, struct error *ret_error)
{
	struct vm_journal *journal = calloc(1, sizeof(*journal));
	int r;

	if (!journal)
		return -ENOMEM;
	journal->fd = journal->lock_fd = -1;
	r = lock_dir(journal, dir, ret_error);
	if (r < 0)
		goto out;
	r = load(journal, ret_error);
	if (r < 0)
		goto out;
	r = rewrite(journal);
	if (r < 0) {
		(void)error_set(ret_error, r,
				"%.250s: cannot write: %s; free some space or fix the permissions",
				journal->path, strerror(-r));
		goto out;
	}
	*ret_journal = journal;
	return 0;
out:
	vm_journal_close(journal);
	return r;
}

struct vm_journal *vm_journal_close(struct vm_journal *journal)
{
	if (!journal)
		return NULL;
	fd_close(journal->fd);
	fd_close(journal->lock_fd);
	free(journal);
	return NULL;
}

const struct vm_journal_entry *vm_journal_table_find(const struct vm_journal_table *table,
						     const char *vm)
{
	return find((struct vm_journal_table *)table, vm);
}

const struct vm_journal_table *vm_journal_get_table(const struct vm_journal *journal)
{
	return journal ? &journal->table : NULL;
}

static int append_line(struct vm_journal *journal, const struct vm_journal_entry *entry)
{
	char line[LINE_BYTES_MAX + 1];
	size_t size = vm_journal_format(entry, line, sizeof(line));
	int r;

	if (size == 0)
		return -EINVAL;
	r = fd_write_all(journal->fd, line, size);
	if (r < 0)
		return r;
	FAULT_POINT(FAULT_GATEWAY_JOURNAL);
	if (fdatasync(journal->fd) < 0)
		return -errno;
	journal->n_lines++;
	return 0;
}

int vm_journal_append(struct vm_journal *journal, const char *vm, const char *owner, uint64_t term,
		      enum vm_state state, bool is_wanted, const char *with)
{
	struct vm_journal_entry *slot = find(&journal->table, vm);
	struct vm_journal_entry old = {0};
	int r = -EIO;

	if (slot && term < slot->term)
		return -ESTALE;
	if (!slot) {
		if (journal->table.n == VM_JOURNAL_VMS_MAX)
			return -ENOSPC;
		slot = &journal->table.list[journal->table.n++];
	} else {
		old = *slot;
	}
	*slot = (struct vm_journal_entry){.term = term, .state = state, .is_wanted = is_wanted,
					  .wall_ns = clock_wall_ns(),
					  .line = ++journal->table.n_lines};
	(void)snprintf(slot->vm, sizeof(slot->vm), "%s", vm);
	(void)snprintf(slot->owner, sizeof(slot->owner), "%s", owner);
	(void)snprintf(slot->with, sizeof(slot->with), "%s", with);
	if (journal->fd >= 0 && journal->n_lines < VM_JOURNAL_LINES_MAX)
		r = append_line(journal, slot);
	if (r < 0) {
		/* After a failed write or fsync, the file's content is unknown: rewrite the whole
		 * file. */
		journal->fd = fd_close(journal->fd);
		r = rewrite(journal);
	}
	if (r == 0)
		return 0;
	if (old.vm[0])
		*slot = old;
	else
		journal->table.n--;
	return r;
}
