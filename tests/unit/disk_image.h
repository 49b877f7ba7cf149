/* disk_image.h - applies the records of a disk ring to an image in memory, as a standby does. */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

#include <stdlib.h>
#include <string.h>

#include "disk/ring.h"

/* Apply all records of @ring, from its tail to its head, to @image, and release them. Returns the
 * number of records, or the error of disk_ring_read(). */
static inline int disk_image_apply(struct disk_ring *ring, uint8_t *image)
{
	uint64_t pos = disk_ring_tail(ring), end = disk_ring_head(ring);
	struct disk_record record;
	int r, n = 0;

	while ((r = disk_ring_read(ring, &pos, end, &record)) == 1) {
		if (record.op == DISK_WRITE)
			memcpy(image + record.offset, record.data, record.bytes);
		else
			memset(image + record.offset, 0, record.bytes);
		n++;
	}
	if (r < 0)
		return r;
	disk_ring_release(ring, pos);
	return n;
}

#endif
