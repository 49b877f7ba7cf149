#include "epoch/handed.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void encode_text(struct bytes_writer *w, const char *text)
{
	size_t size = strlen(text);

	bytes_write_u8(w, (uint8_t)size);
	bytes_write(w, text, size);
}

static void encode_disk(struct bytes_writer *w, const struct handed_disk *disk)
{
	encode_text(w, disk->name);
	bytes_write_be32(w, (uint32_t)disk->ring_fd);
	bytes_write_be32(w, (uint32_t)disk->lifeline_fd);
	bytes_write_be32(w, (uint32_t)disk->log_fd);
	bytes_write_be32(w, (uint32_t)disk->server_pid);
	bytes_write_be64(w, disk->overflows);
	bytes_write_be64(w, disk->disconnections);
}

void handed_encode(const struct handed *h, struct bytes_writer *w)
{
	bytes_write_be64(w, h->term);
	bytes_write_be64(w, h->epoch);
	bytes_write_be32(w, (uint32_t)h->pid);
	encode_text(w, h->qmp);
	bytes_write_be32(w, h->n_pages);
	bytes_write_be32(w, (uint32_t)h->uffd);
	bytes_write_be64(w, h->fault_ns);
	bytes_write_be64(w, h->until_ns);
	bytes_write_be64(w, h->release_ns);
	bytes_write_be64(w, h->stopped_ns);
	bytes_write_be64(w, h->stop_seen_ns);
	bytes_write_be32(w, h->n_disks);
	for (uint32_t i = 0; i < h->n_disks; i++)
		encode_disk(w, &h->disk[i]);
	bytes_write_be32(w, h->device_size);
	bytes_write(w, h->device, h->device_size);
	bytes_write_be32(w, h->facts_size);
	bytes_write(w, h->facts, h->facts_size);
}

/* Read a descriptor or a pid: a number from @least to INT_MAX. */
static int decode_number(struct bytes_reader *r, int least)
{
	uint32_t number = bytes_read_be32(r);

	if (number > INT_MAX || (int)number < least)
		r->bad = true;
	return r->bad ? -1 : (int)number;
}

static void decode_text(struct bytes_reader *r, size_t max, char *ret_text)
{
	size_t size = bytes_read_u8(r);
	const uint8_t *text = bytes_take(r, size);

	if (!text || size == 0 || size > max || memchr(text, '\0', size)) {
		r->bad = true;
		return;
	}
	memcpy(ret_text, text, size);
	ret_text[size] = '\0';
}

static void decode_disk(struct bytes_reader *r, struct handed_disk *disk)
{
	decode_text(r, WIRE_DISK_NAME_MAX, disk->name);
	disk->ring_fd = decode_number(r, 0);
	disk->lifeline_fd = decode_number(r, 0);
	disk->log_fd = decode_number(r, 0);
	disk->server_pid = decode_number(r, 1);
	disk->overflows = bytes_read_be64(r);
	disk->disconnections = bytes_read_be64(r);
}

static void decode_numbers(struct bytes_reader *r, struct handed *h)
{
	h->term = bytes_read_be64(r);
	h->epoch = bytes_read_be64(r);
	h->pid = decode_number(r, 1);
	decode_text(r, HANDED_PATH_MAX, h->qmp);
	h->n_pages = bytes_read_be32(r);
	h->uffd = decode_number(r, 0);
	h->fault_ns = bytes_read_be64(r);
	h->until_ns = bytes_read_be64(r);
	h->release_ns = bytes_read_be64(r);
	h->stopped_ns = bytes_read_be64(r);
	h->stop_seen_ns = bytes_read_be64(r);
	h->n_disks = bytes_read_be32(r);
	if (h->term == 0 || h->epoch == 0 || h->epoch == UINT64_MAX || h->fault_ns == 0 ||
	    h->n_disks > WIRE_DISKS_MAX)
		r->bad = true;
}

/* Read a size and that many bytes, and copy the bytes. Returns 0, and the caller frees *ret;
 * -EPROTO: the size is over @max, or bytes are missing; -ENOMEM. */
static int decode_bytes(struct bytes_reader *r, uint32_t max, uint8_t **ret, uint32_t *ret_size)
{
	uint32_t size = bytes_read_be32(r);
	const uint8_t *from = size <= max ? bytes_take(r, size) : NULL;

	if (!from || r->bad)
		return -EPROTO;
	*ret = malloc(size + 1);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, from, size);
	*ret_size = size;
	return 0;
}

int handed_decode(struct bytes_reader *r, struct handed *ret_handed)
{
	struct handed h = {0};
	int result;

	decode_numbers(r, &h);
	for (uint32_t i = 0; !r->bad && i < h.n_disks; i++)
		decode_disk(r, &h.disk[i]);
	result = decode_bytes(r, WIRE_BLOB_MAX, &h.device, &h.device_size);
	if (result == 0 && h.device_size == 0)
		result = -EPROTO;
	if (result == 0)
		result = decode_bytes(r, HANDED_FACTS_MAX, &h.facts, &h.facts_size);
	if (result < 0) {
		handed_done(&h);
		return result;
	}
	*ret_handed = h;
	return 0;
}

void handed_done(struct handed *handed)
{
	free(handed->device);
	free(handed->facts);
	handed->device = handed->facts = NULL;
	handed->device_size = handed->facts_size = 0;
}

void handed_each_fd(const struct handed *handed, void (*each)(int fd))
{
	each(handed->uffd);
	for (uint32_t i = 0; i < handed->n_disks; i++) {
		each(handed->disk[i].ring_fd);
		each(handed->disk[i].lifeline_fd);
		each(handed->disk[i].log_fd);
	}
}
