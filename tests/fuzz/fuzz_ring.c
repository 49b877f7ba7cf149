/* fuzz_ring.c - reads a disk's ring whose memory a broken or hostile writer has filled.
 *
 * Input:
 *	1 byte   where in the ring the records begin
 *	2 bytes  the distance from there to the head (big-endian)
 *	rest     the bytes of the records
 *
 * The target checks:
 * - There is no crash.
 * - Each record lies within the disk and ends at or before the head.
 * - All bytes of each record can be read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "disk/ring_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_BYTES 0x123456u
#define BYTES_MAX  (256u * 1024)

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check(const struct disk_ring *ring, const struct disk_record *record, uint64_t begin,
		  uint64_t pos, uint64_t end)
{
	volatile uint8_t sum = 0;

	must(pos > begin && pos <= end);
	must(record->bytes > 0 && record->offset < DISK_BYTES);
	must(record->bytes <= DISK_BYTES - record->offset);
	must((record->op == DISK_WRITE) == (record->data != NULL));
	if (!record->data)
		return;
	must(record->bytes <= pos - begin - DISK_RING_HEADER_BYTES);
	must(record->data >= ring->data);
	for (uint32_t i = 0; i < record->bytes; i++)
		sum = (uint8_t)(sum + record->data[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct disk_ring *ring, *writer;
	struct disk_record record;
	struct error error;
	uint64_t pos, end, begin;
	int r;

	if (!ring) {
		must(disk_ring_new(DISK_RING_SOFT_MIN, DISK_BYTES, &ring, &error) == 0);
		must(disk_ring_map(disk_ring_fd(ring), &writer) == 0);
	}
	if (size < 3 || size > BYTES_MAX)
		return 0;
	/* If the first byte is odd, the records begin near the ring's end and continue at its
	 * start. */
	begin = data[0] & 1 ? ring->data_bytes - data[0] / 2 * 8 : data[0] / 2 * 8;
	end = begin + ((uint64_t)data[1] << 8 | data[2]) * 8;
	ring->tail = begin;
	atomic_store(&writer->header->head, end);
	memset(writer->data + begin % ring->data_bytes, 0, BYTES_MAX);
	memcpy(writer->data + begin % ring->data_bytes, data + 3, size - 3);
	pos = begin;
	while ((r = disk_ring_read(ring, &pos, disk_ring_head(ring), &record)) == 1) {
		check(ring, &record, begin, pos, end);
		begin = pos;
	}
	must(r == 0 || r == -EBADMSG);
	must(r < 0 || pos == end);
	must(disk_ring_waiting(ring) <= ring->data_bytes);
	disk_ring_release(ring, pos);
	must(disk_ring_tail(ring) == pos);
	return 0;
}
