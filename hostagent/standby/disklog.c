/* The log of disk writes, in a file on a disk; see disklog.h. */
#include "standby/disklog.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes xxhash.h define struct XXH3_state_t, which checksum() has on its stack. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/syncing.h"

#define HALVES	     2u
/* each entry begins at a multiple of this, so that no two entries share a sector of the disk */
#define ALIGN	     512u
#define HEADER_BYTES 56u
#define MAGIC	     UINT64_C(0x4846444c4f473031) /* "HFDLOG01" */
/* maximum number of pieces in one pwritev(2); below IOV_MAX */
#define PIECES_MAX   1000u
#define FILL_BYTES   ((size_t)1 << 20)

/* Offsets in an entry's header. All numbers are big-endian. The checksum covers the header before
 * the checksum, and the payload. */
enum header_offset {
	AT_MAGIC = 0,
	AT_SEQUENCE = 8,
	AT_TERM = 16,
	AT_EPOCH = 24,
	AT_SIZE = 32, /* size of the payload in bytes */
	AT_KIND = 40,
	AT_CHECKSUM = 48,
};

struct disklog {
	int fd;
	uint64_t half_bytes;
	unsigned half;	   /* the half of the file with the newest entries: 0 or 1 */
	uint64_t at;	   /* where the next entry begins, in bytes from the start of that half */
	uint64_t sequence; /* number of the next entry; the first entry has number 1 */
	uint64_t from;	   /* number of the first entry to replay; 0: replay the whole half */
	struct disklog_state state;
	char *path;
};

struct entry {
	uint64_t sequence, term, epoch, size, kind;
};

static uint64_t entry_bytes(uint64_t size)
{
	return (HEADER_BYTES + size + ALIGN - 1) / ALIGN * ALIGN;
}

static uint64_t checksum(const uint8_t *header, const struct iovec *pieces, size_t n_pieces)
{
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	/* These functions can fail only if their argument is NULL. */
	(void)XXH3_64bits_reset(&state);
	(void)XXH3_64bits_update(&state, header, AT_CHECKSUM);
	for (size_t i = 0; i < n_pieces; i++) {
		if (pieces[i].iov_len > 0)
			(void)XXH3_64bits_update(&state, pieces[i].iov_base, pieces[i].iov_len);
	}
	return XXH3_64bits_digest(&state);
}

/* ---- reading */

/* Read the entry at offset @at of @half. Its payload goes into *buffer, which this function
 * enlarges if needed, and which the caller frees. Returns 1; 0 if there is no whole entry;
 * -errno. */
static int read_entry(const struct disklog *log, unsigned half, uint64_t at,
		      struct entry *ret_entry, uint8_t **buffer, size_t *buffer_bytes)
{
	const uint64_t start = half * log->half_bytes + at;
	uint8_t header[HEADER_BYTES];
	struct iovec payload;
	int r;

	if (at + HEADER_BYTES > log->half_bytes)
		return 0;
	r = fd_read_at(log->fd, header, sizeof(header), start);
	if (r < 0)
		return r;
	*ret_entry = (struct entry){
		.sequence = bytes_get_be64(header + AT_SEQUENCE),
		.term = bytes_get_be64(header + AT_TERM),
		.epoch = bytes_get_be64(header + AT_EPOCH),
		.size = bytes_get_be64(header + AT_SIZE),
		.kind = bytes_get_be64(header + AT_KIND),
	};
	if (bytes_get_be64(header + AT_MAGIC) != MAGIC || ret_entry->sequence == 0 ||
	    ret_entry->size > log->half_bytes - HEADER_BYTES - at)
		return 0;
	if (ret_entry->size > *buffer_bytes) {
		uint8_t *larger = realloc(*buffer, ret_entry->size);

		if (!larger)
			return -ENOMEM;
		*buffer = larger;
		*buffer_bytes = ret_entry->size;
	}
	r = fd_read_at(log->fd, *buffer, ret_entry->size, start + HEADER_BYTES);
	if (r < 0)
		return r;
	payload = (struct iovec){*buffer, ret_entry->size};
	return checksum(header, &payload, 1) == bytes_get_be64(header + AT_CHECKSUM);
}

/* What is known of the entries in one half of the file. */
struct chain {
	struct entry last; /* last.sequence is 0 if there is none */
	/* offset in the half, in bytes, at which the next entry would begin */
	uint64_t end;
	/* number of the newest entry whose kind is not WRITES; 0: none */
	uint64_t from;
};

/* Follow the entries of @half. If @each is not NULL, pass it the writes of each entry whose number
 * is at least @from. Returns 0; -ECANCELED if @each failed; or -errno. */
static int walk(const struct disklog *log, unsigned half, uint64_t from, disklog_fn each, void *arg,
		struct chain *ret_chain)
{
	size_t buffer_bytes = 0;
	uint8_t *buffer = NULL;
	struct entry entry;
	int r;

	memset(ret_chain, 0, sizeof(*ret_chain));
	while ((r = read_entry(log, half, ret_chain->end, &entry, &buffer, &buffer_bytes)) > 0) {
		/* After the newest entry there can be an old one, from an earlier use of this half.
		 * It ends the walk, because its number is not the next one. */
		if (ret_chain->last.sequence && entry.sequence != ret_chain->last.sequence + 1)
			r = 0;
		else if (each && entry.size > 0 && entry.sequence >= from)
			r = each(arg, buffer, entry.size) < 0 ? -ECANCELED : 1;
		if (r <= 0)
			break;
		ret_chain->last = entry;
		if (entry.kind != DISKLOG_WRITES)
			ret_chain->from = entry.sequence;
		ret_chain->end += entry_bytes(entry.size);
	}
	free(buffer);
	return r;
}

static bool is_copy(uint64_t kind)
{
	return kind == DISKLOG_WRITES || kind == DISKLOG_START;
}

static int write_pieces(int fd, const struct iovec *pieces, size_t n_pieces, uint64_t at);

/* Write the last entry of @chain, in @half, once more. Perhaps an earlier agent wrote it, but its
 * fdatasync() failed and the kernel gave the write up. The entry is then still in the page cache,
 * so it looks whole. If a power failure lost it later, a replay would end there and miss all
 * entries after it. */
static int write_last_again(const struct disklog *log, unsigned half, const struct chain *chain)
{
	const uint64_t at = chain->end - entry_bytes(chain->last.size);
	size_t size = HEADER_BYTES + chain->last.size;
	uint8_t *entry = malloc(size);
	struct iovec piece = {entry, size};
	int r;

	if (!entry)
		return -ENOMEM;
	r = fd_read_at(log->fd, entry, size, half * log->half_bytes + at);
	if (r == 0)
		r = write_pieces(log->fd, &piece, 1, half * log->half_bytes + at);
	free(entry);
	return r;
}

static int find_newest(struct disklog *log)
{
	struct chain chains[HALVES];

	for (unsigned i = 0; i < HALVES; i++) {
		int r = walk(log, i, 0, NULL, NULL, &chains[i]);

		if (r < 0)
			return r;
	}
	log->half = chains[1].last.sequence > chains[0].last.sequence;
	log->at = chains[log->half].end;
	log->sequence = chains[log->half].last.sequence + 1;
	log->from = chains[log->half].from;
	log->state = (struct disklog_state){
		.is_empty = log->sequence == 1,
		.is_copy = is_copy(chains[log->half].last.kind),
		.term = chains[log->half].last.term,
		.epoch = chains[log->half].last.epoch,
	};
	return log->state.is_empty ? 0 : write_last_again(log, log->half, &chains[log->half]);
}

struct replay {
	disklog_fn each;
	void *arg;
	int result;
};

static int replay_one(void *arg, const uint8_t *payload, size_t size)
{
	struct replay *replay = arg;

	replay->result = replay->each(replay->arg, payload, size);
	return replay->result;
}

int disklog_replay(const struct disklog *log, disklog_fn each, void *arg)
{
	struct replay replay = {each, arg, 0};
	struct chain chain;
	int r = log->state.is_copy
			? walk(log, log->half, log->from, replay_one, &replay, &chain)
			: 0;

	return replay.result < 0 ? replay.result : r;
}

/* ---- open and close */

/* Fill the file with zeros, @bytes of them. */
static int fill(int fd, uint64_t bytes)
{
	uint8_t *zeros = calloc(1, FILL_BYTES);
	int r = zeros ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < bytes; at += FILL_BYTES) {
		uint64_t left = bytes - at;

		r = fd_write_all(fd, zeros, left < FILL_BYTES ? (size_t)left : FILL_BYTES);
	}
	free(zeros);
	return r == 0 && fsync(fd) < 0 ? -errno : r;
}

/* Make sure that the file's name, @path, is on the disk. */
static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd, r;

	if (!name)
		return -ENOMEM;
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
	fd_close(fd);
	free(name);
	return r;
}

/* Make the file under another name first, so that a file named @path always has its full size. */
static int make_file(const char *path, uint64_t bytes)
{
	char *work = NULL;
	int fd, r;

	if (asprintf(&work, "%s.new", path) < 0)
		return -ENOMEM;
	fd = open(work, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : fill(fd, bytes);
	if (r == 0 && rename(work, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(work); /* report the error in r, not one of unlink() */
	free(work);
	fd_close(fd);
	return r == 0 ? sync_directory(path) : r;
}

static int open_file(struct disklog *log, uint64_t bytes)
{
	struct stat st;
	int r;

	log->fd = open(log->path, O_RDWR | O_CLOEXEC);
	if (log->fd < 0 && errno == ENOENT && bytes > 0) {
		r = make_file(log->path, bytes);
		if (r < 0)
			return r;
		log->fd = open(log->path, O_RDWR | O_CLOEXEC);
	}
	if (log->fd < 0 || fstat(log->fd, &st) < 0)
		return -errno;
	log->half_bytes = (uint64_t)st.st_size / HALVES / ALIGN * ALIGN;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < DISKLOG_BYTES_MIN)
		return -EBADMSG;
	return find_newest(log);
}

int disklog_open(const char *path, uint64_t bytes, struct disklog **ret, struct error *ret_error)
{
	struct disklog *log;
	int r;

	if ((bytes > 0 && bytes < DISKLOG_BYTES_MIN) || bytes > DISKLOG_BYTES_MAX)
		return error_set(ret_error, -EINVAL, "%s: a disk log has 1 MiB to 1 TiB", path);
	log = calloc(1, sizeof(*log));
	if (!log)
		return error_set(ret_error, -ENOMEM, "%s: no memory", path);
	log->fd = -1;
	log->path = strdup(path);
	r = log->path ? open_file(log, bytes / HALVES / ALIGN * ALIGN * HALVES) : -ENOMEM;
	if (r < 0) {
		disklog_close(log);
		if (r == -EBADMSG)
			return error_set(ret_error, r,
					 "%s is not a disk log of this agent; move it away", path);
		return error_set(ret_error, r, "the disk log %s: %s", path, strerror(-r));
	}
	*ret = log;
	return 0;
}

struct disklog *disklog_close(struct disklog *log)
{
	if (!log)
		return NULL;
	fd_close(log->fd);
	free(log->path);
	free(log);
	return NULL;
}

void disklog_get_state(const struct disklog *log, struct disklog_state *ret_state)
{
	*ret_state = log->state;
}

/* ---- writing */

enum disklog_room disklog_room(const struct disklog *log, uint64_t size)
{
	if (size > log->half_bytes - HEADER_BYTES)
		return DISKLOG_TOO_LARGE;
	return log->at + HEADER_BYTES + size <= log->half_bytes ? DISKLOG_FITS
								: DISKLOG_NEEDS_SYNC;
}

static int write_pieces(int fd, const struct iovec *pieces, size_t n_pieces, uint64_t at)
{
	while (n_pieces > 0) {
		int n = n_pieces < PIECES_MAX ? (int)n_pieces : (int)PIECES_MAX;
		ssize_t done = pwritev(fd, pieces, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		at += (uint64_t)done;
		for (; n_pieces > 0 && (size_t)done >= pieces->iov_len; pieces++, n_pieces--)
			done -= (ssize_t)pieces->iov_len;
		if (n_pieces > 0 && done > 0) { /* a short write: write the rest of this piece */
			struct iovec rest = {(uint8_t *)pieces->iov_base + done,
					     pieces->iov_len - (size_t)done};
			int r = write_pieces(fd, &rest, 1, at);

			if (r < 0)
				return r;
			at += rest.iov_len;
			pieces++;
			n_pieces--;
		}
	}
	return 0;
}

static void put_header(uint8_t *header, const struct entry *entry)
{
	memset(header, 0, HEADER_BYTES);
	bytes_put_be64(header + AT_MAGIC, MAGIC);
	bytes_put_be64(header + AT_SEQUENCE, entry->sequence);
	bytes_put_be64(header + AT_TERM, entry->term);
	bytes_put_be64(header + AT_EPOCH, entry->epoch);
	bytes_put_be64(header + AT_SIZE, entry->size);
	bytes_put_be64(header + AT_KIND, entry->kind);
}

int disklog_append(struct disklog *log, uint64_t term, uint64_t epoch,
		   enum disklog_kind kind, const struct iovec *pieces, size_t n_pieces,
		   struct error *ret_error)
{
	struct entry entry = {.sequence = log->sequence, .term = term, .epoch = epoch,
			      .kind = kind};
	unsigned half = log->half;
	uint8_t header[HEADER_BYTES];
	struct iovec head = {header, sizeof(header)};
	uint64_t at = log->at, start;
	int r;

	/* where the entry goes: behind the newest one, or to the start of the other half */
	for (size_t i = 0; i < n_pieces; i++)
		entry.size += pieces[i].iov_len;
	switch (disklog_room(log, entry.size)) {
	case DISKLOG_TOO_LARGE:
		return error_set(ret_error, -EFBIG,
				 "epoch %" PRIu64 " has %" PRIu64 " bytes of disk writes, more "
				 "than half of the log %s",
				 epoch, entry.size, log->path);
	case DISKLOG_NEEDS_SYNC:
		half = (half + 1) % HALVES;
		at = 0;
		break;
	case DISKLOG_FITS:
		break;
	}
	/* the payload first, then the header: if the agent is killed in between, there is no new
	 * entry */
	start = half * log->half_bytes + at;
	put_header(header, &entry);
	bytes_put_be64(header + AT_CHECKSUM, checksum(header, pieces, n_pieces));
	r = write_pieces(log->fd, pieces, n_pieces, start + HEADER_BYTES);
	if (r == 0)
		r = write_pieces(log->fd, &head, 1, start);
	if (r == 0 && syncing_fdatasync(log->fd) < 0)
		r = -errno;
	if (r < 0)
		return error_set(ret_error, r, "the disk log %s: %s", log->path, strerror(-r));
	/* the entry is on the disk: it is the newest now */
	log->half = half;
	log->at = at + entry_bytes(entry.size);
	if (kind != DISKLOG_WRITES)
		log->from = log->sequence;
	else if (at == 0)
		log->from = 0;
	log->sequence++;
	log->state = (struct disklog_state){
		.is_copy = is_copy(kind), .term = term, .epoch = epoch};
	return 0;
}
