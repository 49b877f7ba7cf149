#include "standby/ramfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "supervision/progress.h"
#include "wire/frame.h"

#define META_ROOM 128
/* enough for `device`, which usually has 80 KB and rarely ten times as much */
#define ROOM_BYTES (1 << 20)
#define PATH_ROOM 192 /* directory, "/", and the longest of our file names */

static const char *path_of(const struct ramfile *rf, const char *name, char path[PATH_ROOM])
{
	snprintf(path, PATH_ROOM, "%s/%s", rf->dir, name);
	return path;
}

/* Replace the file @name. While it is replaced, both the old and the new file exist. If the file
 * system is full, remove the file `room`, whose pages the new file can then use. Afterwards, make
 * `room` again from the old file's pages. */
static int replace(struct ramfile *rf, const char *name, const void *data, size_t size)
{
	char path[PATH_ROOM];
	int r;

	ramfile_step(rf);
	r = fd_write_file_atomic(path_of(rf, name, path), data, size);
	if (r != -ENOSPC || unlinkat(rf->dir_fd, "room", 0) < 0)
		return r;
	r = fd_write_file_atomic(path, data, size);
	/* ignore an error: another program may have taken the space meanwhile */
	(void)!ramfile_reserve_room(rf);
	return r;
}

int ramfile_reserve_room(struct ramfile *rf)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, "room", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	return fallocate(fd, 0, 0, ROOM_BYTES) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}

/* ---- meta */

static const char *const phase_names[] = {
	[RAMFILE_COPY] = "copy", [RAMFILE_PROMOTED] = "promoted", [RAMFILE_RUNNING] = "running"};

static const char *const vote_names[] = {[RAMFILE_VOTE_NONE] = "",
					 [RAMFILE_VOTE_UNPROTECTED] = " vote=unprotected",
					 [RAMFILE_VOTE_DIRECT] = " vote=direct"};
static const char *const lost_names[] = {[false] = "", [true] = " disks=lost"};

static size_t format_meta(const struct ramfile_meta *meta, char text[META_ROOM])
{
	return (size_t)snprintf(text, META_ROOM,
				"holdfast-standby 1 term=%" PRIu64 " applied=%" PRIu64
				" phase=%s%s%s\n",
				meta->term, meta->applied_epoch, phase_names[meta->phase],
				vote_names[meta->vote], lost_names[meta->disks_lost]);
}

static int load_meta(struct ramfile *rf)
{
	char path[PATH_ROOM], phase[16], again[META_ROOM];
	AUTO_FREE char *text = NULL;
	struct ramfile_meta meta;
	size_t size;
	int r;

	r = fd_read_file(path_of(rf, "meta", path), META_ROOM, &text, &size);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	if (sscanf(text, "holdfast-standby 1 term=%" SCNu64 " applied=%" SCNu64 " phase=%15[a-z]",
		   &meta.term, &meta.applied_epoch, phase) != 3 ||
	    meta.term > WIRE_TERM_MAX || meta.applied_epoch > WIRE_EPOCH_MAX)
		return -EBADMSG;
	meta.disks_lost = strstr(text, lost_names[true]) != NULL;
	for (size_t i = 0; i < ARRAY_SIZE(phase_names) * ARRAY_SIZE(vote_names); i++) {
		meta.phase = (enum ramfile_phase)(i / ARRAY_SIZE(vote_names));
		meta.vote = (enum ramfile_vote)(i % ARRAY_SIZE(vote_names));
		/* Accept the file only if its content is exactly what we would write. */
		if (strcmp(phase, phase_names[meta.phase]) == 0 &&
		    format_meta(&meta, again) == size && memcmp(again, text, size) == 0) {
			rf->meta = meta;
			return 0;
		}
	}
	return -EBADMSG;
}

int ramfile_store_meta(struct ramfile *rf, const struct ramfile_meta *meta)
{
	char text[META_ROOM];
	int r = replace(rf, "meta", text, format_meta(meta, text));

	if (r == 0)
		rf->meta = *meta;
	return r;
}

/* ---- mapped files */

static uint8_t *map(int fd, uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(uint8_t **p, uint64_t *size)
{
	if (*p)
		(void)munmap(*p, *size); /* fails only for bad arguments */
	*p = NULL;
	*size = 0;
}

/* Files are reserved and mapped in pieces of this size, and progress is reported after each
 * piece. */
#define PIECE_BYTES (UINT64_C(64) << 20)

static uint64_t piece(uint64_t size, uint64_t done)
{
	return size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
}

/* Make the file @name @size bytes long, reserve all its pages, and map it. */
static int map_reserved(struct ramfile *rf, const char *name, uint64_t size, uint8_t **ret_at)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	uint8_t *at;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	progress_begin(rf->progress, "reserved", "of guest RAM", size);
	for (uint64_t done = 0; done < size; done += PIECE_BYTES) {
		if (fallocate(fd, 0, (off_t)done, (off_t)piece(size, done)) < 0 &&
		    errno != EOPNOTSUPP)
			return -errno;
		progress_to(rf->progress, done + piece(size, done));
	}
	at = map(fd, size);
	if (!at)
		return -errno;
	/* Fill the page tables now, so that the first epochs cause no page faults. If this fails,
	 * only the first epochs are slower. */
	progress_begin(rf->progress, "mapped", "of guest RAM", size);
	for (uint64_t done = 0; done < size; done += PIECE_BYTES) {
		(void)madvise(at + done, piece(size, done), MADV_POPULATE_WRITE);
		progress_to(rf->progress, done + piece(size, done));
	}
	*ret_at = at;
	return 0;
}

int ramfile_reserve(struct ramfile *rf, uint64_t ram_bytes)
{
	struct stat st;
	uint8_t *at;
	int r;

	if (rf->ram && rf->ram_bytes == ram_bytes &&
	    (rf->reserved || rf->meta.phase != RAMFILE_COPY))
		return 0;
	if (rf->meta.phase != RAMFILE_COPY)
		return -EBUSY;
	if (fstatat(rf->dir_fd, "ram", &st, 0) == 0 && (uint64_t)st.st_size != ram_bytes) {
		r = ramfile_purge(rf);
		if (r < 0)
			return r;
	}
	r = map_reserved(rf, "ram", ram_bytes, &at);
	if (r < 0)
		return r;
	unmap(&rf->ram, &rf->ram_bytes);
	rf->ram = at;
	rf->ram_bytes = ram_bytes;
	rf->reserved = true;
	return 0;
}

/* ---- layout */

static bool same_layout(const struct wire_geometry *a, const struct wire_geometry *b)
{
	if (a->n_blocks != b->n_blocks)
		return false;
	for (unsigned i = 0; i < a->n_blocks; i++) {
		if (a->blocks[i].kind != b->blocks[i].kind ||
		    a->blocks[i].size_bytes != b->blocks[i].size_bytes ||
		    strcmp(a->blocks[i].name, b->blocks[i].name) != 0)
			return false;
	}
	return true;
}

/* Make @g the present layout, and resize `rom` to fit it. */
static int use_layout(struct ramfile *rf, const struct wire_geometry *g)
{
	uint64_t rom_bytes = 0;
	uint8_t *rom = NULL;
	int r;

	for (unsigned i = 0; i < g->n_blocks; i++) {
		if (g->blocks[i].kind == WIRE_BLOCK_OTHER)
			rom_bytes += g->blocks[i].size_bytes;
	}
	unmap(&rf->rom, &rf->rom_bytes);
	rf->has_geometry = false;
	if (rom_bytes) {
		r = map_reserved(rf, "rom", rom_bytes, &rom);
		if (r < 0)
			return r;
	}
	rf->rom = rom;
	rf->rom_bytes = rom_bytes;
	rf->geometry = *g;
	rf->n_pages = wire_geometry_pages(g);
	rf->has_geometry = true;
	return 0;
}

bool ramfile_has_layout(const struct ramfile *rf, const struct wire_geometry *g)
{
	return rf->has_geometry && same_layout(&rf->geometry, g);
}

int ramfile_layout(struct ramfile *rf, const struct wire_geometry *g)
{
	uint8_t payload[WIRE_FRAME_MAX / 4];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	unsigned n_ram = 0;
	int r;

	if (ramfile_has_layout(rf, g))
		return 0;
	for (unsigned i = 0; i < g->n_blocks; i++) {
		if (g->blocks[i].kind != WIRE_BLOCK_RAM)
			continue;
		if (g->blocks[i].size_bytes != rf->ram_bytes || ++n_ram > 1)
			return -EINVAL;
	}
	if (n_ram != 1)
		return -EINVAL;
	r = wire_geometry_encode(g, &w);
	if (r == 0)
		r = replace(rf, "geometry", payload, (size_t)(w.at - payload));
	if (r == 0)
		r = use_layout(rf, g);
	return r;
}

static int load_geometry(struct ramfile *rf)
{
	struct wire_frame frame = {.h = {.type = WIRE_GEOMETRY}};
	char path[PATH_ROOM];
	AUTO_FREE char *data = NULL;
	struct wire_geometry g;
	size_t size;
	int r;

	r = fd_read_file(path_of(rf, "geometry", path), WIRE_PAYLOAD_MAX, &data, &size);
	if (r < 0)
		return r == -ENOENT ? 0 : r == -EFBIG ? -EBADMSG : r;
	frame.h.payload_size = (uint32_t)size;
	frame.payload = (const uint8_t *)data;
	if (wire_geometry_decode(&frame, &g, NULL) < 0)
		return -EBADMSG;
	return use_layout(rf, &g);
}

uint8_t *ramfile_page(struct ramfile *rf, uint64_t index)
{
	uint64_t first = 0, rom_offset = 0;

	for (unsigned i = 0; rf->has_geometry && i < rf->geometry.n_blocks; i++) {
		const struct wire_block *b = &rf->geometry.blocks[i];
		uint64_t n_pages = b->size_bytes / WIRE_PAGE_SIZE;

		if (index - first < n_pages) {
			uint64_t offset = (index - first) * WIRE_PAGE_SIZE;

			if (b->kind == WIRE_BLOCK_OTHER)
				return rf->rom + rom_offset + offset;
			return rf->ram ? rf->ram + offset : NULL;
		}
		first += n_pages;
		if (b->kind == WIRE_BLOCK_OTHER)
			rom_offset += b->size_bytes;
	}
	return NULL;
}

/* Copy pages from the files to @memory, or the other way if @writes. Pages of `ram` are contiguous,
 * so they are copied by one call. */
static int copy_pages(struct ramfile *rf, uint64_t index, uint32_t n_pages, uint8_t *memory,
		      bool writes)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, "ram", (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	uint32_t n;
	int r = 0;

	if (fd < 0)
		return -errno;
	for (; r == 0 && n_pages > 0; index += n, n_pages -= n, memory += n * WIRE_PAGE_SIZE) {
		uint8_t *page = ramfile_page(rf, index);
		uint64_t at = (uint64_t)((uintptr_t)page - (uintptr_t)rf->ram);
		uint64_t left = (rf->ram_bytes - at) / WIRE_PAGE_SIZE;

		n = 1;
		if (!page) {
			r = -EINVAL;
		} else if (at < rf->ram_bytes) {
			n = left < n_pages ? (uint32_t)left : n_pages;
			r = writes ? fd_write_at(fd, memory, n * WIRE_PAGE_SIZE, at)
				   : fd_read_at(fd, memory, n * WIRE_PAGE_SIZE, at);
		} else {
			memcpy(writes ? page : memory, writes ? memory : page, WIRE_PAGE_SIZE);
		}
	}
	return r;
}

int ramfile_read(struct ramfile *rf, uint64_t index, uint32_t n_pages, uint8_t *ret_pages)
{
	return copy_pages(rf, index, n_pages, ret_pages, false);
}

int ramfile_write(struct ramfile *rf, uint64_t index, uint32_t n_pages, const uint8_t *pages)
{
	/* The cast is safe: copy_pages() only reads @pages. */
	return copy_pages(rf, index, n_pages, (uint8_t *)(uintptr_t)pages, true);
}

const uint8_t *ramfile_reader_page(struct ramfile_reader *reader, uint64_t index)
{
	uint64_t left = reader->end - index;

	if (index >= reader->end)
		return NULL;
	if (index < reader->first || index - reader->first >= reader->n) {
		reader->first = index;
		reader->n = left < RAMFILE_READER_PAGES ? (uint32_t)left : RAMFILE_READER_PAGES;
		if (ramfile_read(reader->rf, index, reader->n, reader->room) < 0) {
			reader->n = 0;
			return NULL;
		}
	}
	return reader->room + (index - reader->first) * WIRE_PAGE_SIZE;
}

/* ---- device blob */

int ramfile_store_blob(struct ramfile *rf, uint32_t size)
{
	int r = replace(rf, "device", rf->blob, size);

	if (r < 0)
		return r;
	/* Zero the bytes after the blob's end: the deltas of the next epoch rely on that. */
	if (size < rf->blob_bytes)
		memset(rf->blob + size, 0, rf->blob_bytes - size);
	if (size % WIRE_PAGE_SIZE)
		memset(rf->blob + size, 0, WIRE_PAGE_SIZE - size % WIRE_PAGE_SIZE);
	rf->blob_bytes = size;
	return 0;
}

static int load_blob(struct ramfile *rf)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, "device", O_RDONLY | O_CLOEXEC);
	uint32_t size = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while ((n = read(fd, rf->blob + size, WIRE_BLOB_MAX + 1 - size)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		size += (uint32_t)n;
		if (size > WIRE_BLOB_MAX)
			return -EBADMSG;
	}
	rf->blob_bytes = size;
	return 0;
}

/* ---- open, close, purge */

static int open_dir(struct ramfile *rf)
{
	int r = fd_mkdir_p(rf->dir, 0700);

	if (r < 0)
		return r;
	rf->dir_fd = open(rf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rf->dir_fd < 0)
		return -errno;
	rf->lock_fd = openat(rf->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (rf->lock_fd < 0)
		return -errno;
	if (flock(rf->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

static int map_existing_ram(struct ramfile *rf)
{
	AUTO_CLOSE int fd = openat(rf->dir_fd, "ram", O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size == 0)
		return 0;
	rf->ram = map(fd, (uint64_t)st.st_size);
	if (!rf->ram)
		return -errno;
	rf->ram_bytes = (uint64_t)st.st_size;
	return 0;
}

int ramfile_open(const char *dir, struct ramfile *rf)
{
	void *blob;
	int r;

	memset(rf, 0, sizeof(*rf));
	rf->dir_fd = rf->lock_fd = -1;
	if (snprintf(rf->dir, sizeof(rf->dir), "%s", dir) >= (int)sizeof(rf->dir))
		return -ENAMETOOLONG;
	/* Map one page more than the largest blob has, for two reasons. The last piece of a blob is
	 * written as a whole page. And load_blob() asks for one byte more than is allowed, to
	 * notice a file that is too large. */
	blob = mmap(NULL, WIRE_BLOB_MAX + WIRE_PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (blob == MAP_FAILED)
		return -ENOMEM;
	rf->blob = blob;
	r = open_dir(rf);
	if (r == 0)
		r = load_meta(rf);
	if (r == 0)
		r = map_existing_ram(rf);
	if (r == 0)
		r = load_geometry(rf);
	if (r == 0)
		r = load_blob(rf);
	if (r < 0)
		ramfile_close(rf);
	return r;
}

void ramfile_close(struct ramfile *rf)
{
	uint64_t blob_room = WIRE_BLOB_MAX + WIRE_PAGE_SIZE;

	unmap(&rf->ram, &rf->ram_bytes);
	unmap(&rf->rom, &rf->rom_bytes);
	unmap(&rf->blob, &blob_room);
	rf->has_geometry = false;
	rf->lock_fd = fd_close(rf->lock_fd);
	rf->dir_fd = fd_close(rf->dir_fd);
}

int ramfile_purge(struct ramfile *rf)
{
	static const char *const names[] = {"ram", "rom", "device", "geometry", "spare", "room"};
	/* keep the vote: the primary counts on it */
	struct ramfile_meta meta = {.term = rf->meta.term, .vote = rf->meta.vote};
	struct dirent *entry;
	DIR *dir;
	int r;

	if (rf->meta.phase != RAMFILE_COPY)
		return -EBUSY;
	/* Record first in `meta` that there is no copy. If the agent dies before it has removed all
	 * files, the next agent ignores those that are left. */
	r = ramfile_store_meta(rf, &meta);
	if (r < 0)
		return r;
	dir = opendir(rf->dir);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "epoch-", 6) == 0)
			/* a file that is left is out of date, and ignored */
			(void)unlinkat(rf->dir_fd, entry->d_name, 0);
	}
	closedir(dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ramfile_step(rf);
		if (unlinkat(rf->dir_fd, names[i], 0) < 0 && errno != ENOENT)
			return -errno;
	}
	unmap(&rf->ram, &rf->ram_bytes);
	unmap(&rf->rom, &rf->rom_bytes);
	memset(rf->blob, 0, rf->blob_bytes);
	rf->blob_bytes = 0;
	rf->has_geometry = false;
	rf->reserved = false;
	return 0;
}
