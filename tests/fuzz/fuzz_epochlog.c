/* fuzz_epochlog.c - gives a standby any bytes as the frames of an epoch stream.
 *
 * The standby's check of the frames must not read or write out of bounds. If the check accepts an
 * epoch as complete, the standby must be able to apply that epoch. Applying the epoch a second time
 * must change neither the copy of the guest nor the disk.
 * The copy and the disk are in memory. The copy's directory does not exist, so every operation on
 * its files fails. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

#include "standby/apply.h"
#include "standby/epochcheck.h"

#define TERM	  7u
#define RAM_PAGES 8u
#define ROM_PAGES 1u
#define DISK_BYTES 16384u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void geometry(struct wire_geometry *g)
{
	memset(g, 0, sizeof(*g));
	strcpy(g->machine, "pc");
	strcpy(g->qemu_version, "7.2");
	g->n_vcpus = 1;
	g->ram_bytes = RAM_PAGES * WIRE_PAGE_SIZE;
	g->n_blocks = 2;
	strcpy(g->blocks[0].name, "pc.ram");
	g->blocks[0].kind = WIRE_BLOCK_RAM;
	g->blocks[0].size_bytes = g->ram_bytes;
	strcpy(g->blocks[1].name, "pc.bios");
	g->blocks[1].kind = WIRE_BLOCK_OTHER;
	g->blocks[1].size_bytes = ROM_PAGES * WIRE_PAGE_SIZE;
}

/* Correct the frame's checksum, which a fuzzer cannot guess. */
static void mend(uint8_t *at, size_t left)
{
	struct iovec piece = {at + WIRE_HEADER_SIZE, bytes_get_be32(at + 4)};
	struct wire_header h = {.type = at[0], .flags = at[1], .seq = bytes_get_be32(at + 24),
				.generation = bytes_get_be32(at + 28),
				.term = bytes_get_be64(at + 8), .epoch = bytes_get_be64(at + 16)};

	if (piece.iov_len <= left - WIRE_HEADER_SIZE)
		(void)!wire_frame_seal(at, &h, &piece, 1); /* fails if the bytes are not a frame */
}

static uint8_t ram[RAM_PAGES * WIRE_PAGE_SIZE], rom[ROM_PAGES * WIRE_PAGE_SIZE];
static uint8_t blob[WIRE_BLOB_MAX + WIRE_PAGE_SIZE];

static uint8_t disk_before[DISK_BYTES];
static struct images images;

/* Give the guest the disk vda, on a file in memory. */
static void reset_disk(void)
{
	struct image *vda = &images.item[0];

	if (!images.is_open) {
		images.n = 1;
		images.is_open = true;
		memset(disk_before, 0x5a, sizeof(disk_before));
		strcpy(vda->name, "vda");
		vda->path = "memory";
		vda->bytes = DISK_BYTES;
		vda->fd = memfd_create("vda", MFD_CLOEXEC);
	}
	if (pwrite(vda->fd, disk_before, DISK_BYTES, 0) != DISK_BYTES)
		abort();
}

static void read_disk(uint8_t content[DISK_BYTES])
{
	/* one byte larger than the disk, to notice a disk that has grown */
	static uint8_t all[DISK_BYTES + 1];

	if (pread(images.item[0].fd, all, sizeof(all), 0) != DISK_BYTES)
		abort();
	memcpy(content, all, DISK_BYTES);
}

static void apply_once(const uint8_t *data, size_t size, const struct wire_geometry *g)
{
	struct ramfile rf = {.dir = "/nonexistent/holdfast", .dir_fd = -1, .lock_fd = -1,
			     .meta = {.term = TERM}, .ram = ram, .ram_bytes = sizeof(ram),
			     .has_geometry = true, .geometry = *g,
			     .n_pages = RAM_PAGES + ROM_PAGES, .rom = rom,
			     .rom_bytes = sizeof(rom), .blob = blob, .blob_bytes = WIRE_PAGE_SIZE};
	struct error error;
	uint64_t n_pages;

	/* -ENOENT is allowed: only the device file could not be written. -EINVAL is allowed too:
	 * the epoch has another layout. */
	if (apply_epoch(&rf, &images, data, size, &n_pages, &error) == -EBADMSG)
		abort();
}

/* Apply the epoch twice, as happens if the agent is killed after the last record. Both times must
 * give the same copy. */
static void apply(const uint8_t *data, size_t size, const struct wire_geometry *g)
{
	static uint8_t ram_once[sizeof(ram)], rom_once[sizeof(rom)];
	static uint8_t disk_once[DISK_BYTES], disk_twice[DISK_BYTES];
	struct apply_info info;

	if (apply_check(data, size, TERM, &images, &info) != 0)
		abort();
	apply_once(data, size, g);
	memcpy(ram_once, ram, sizeof(ram));
	memcpy(rom_once, rom, sizeof(rom));
	read_disk(disk_once);
	apply_once(data, size, g);
	read_disk(disk_twice);
	if (memcmp(ram_once, ram, sizeof(ram)) != 0 || memcmp(rom_once, rom, sizeof(rom)) != 0 ||
	    memcmp(disk_once, disk_twice, DISK_BYTES) != 0)
		abort();
}

/* The content of a standby's epoch file: the last GEOMETRY and the frames of one epoch. */
struct file {
	uint8_t *bytes; /* has room for the whole input */
	size_t geometry_size, size;
};

static void take(struct file *file, int verdict, const uint8_t *frame, size_t size,
		 const struct wire_geometry *g)
{
	if (verdict == EPOCHCHECK_GEOMETRY)
		file->size = 0;
	if (verdict == EPOCHCHECK_BEGIN)
		file->size = file->geometry_size;
	memcpy(file->bytes + file->size, frame, size);
	file->size += size;
	if (verdict == EPOCHCHECK_GEOMETRY)
		file->geometry_size = size;
	if (verdict == EPOCHCHECK_COMPLETE)
		apply(file->bytes, file->size, g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	const uint8_t *at = copy, *end = copy + size;
	struct file file = {.bytes = malloc(size ? size : 1)};
	struct epochcheck_error error;
	struct wire_frame frame;
	struct wire_geometry g;
	struct epochcheck c;

	if (!copy || !file.bytes)
		abort();
	memcpy(copy, data, size);
	memset(ram, 0x5a, sizeof(ram));
	memset(rom, 0x5a, sizeof(rom));
	geometry(&g);
	reset_disk();
	epochcheck_init(&c, TERM, 0, 1 << 20);
	c.images = &images;
	while ((size_t)(end - at) >= WIRE_HEADER_SIZE) {
		const uint8_t *frame_at = at;
		int r;

		mend(copy + (at - copy), (size_t)(end - at));
		if (wire_frame_decode(&at, end, &frame, NULL) < 0)
			break;
		r = epochcheck_frame(&c, &frame, &g, &error);
		if (r < 0 || r == EPOCHCHECK_DROP)
			break;
		take(&file, r, frame_at, (size_t)(at - frame_at), &g);
	}
	epochcheck_done(&c);
	free(file.bytes);
	free(copy);
	return 0;
}
