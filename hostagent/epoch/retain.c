#include "epoch/retain.h"

#include <errno.h>
#include <stdlib.h>

/* Precedes each payload in its chunk. */
struct meta {
	size_t size;
	uint32_t seq;
	uint8_t type;
	uint8_t flags;
};

struct chunk {
	struct chunk *next;
	size_t used; /* bytes of data[] filled with complete frames */
	_Alignas(16) uint8_t data[RETAIN_CHUNK_BYTES];
};

struct record {
	struct record *next;
	uint64_t epoch;
	bool is_kept;
	bool is_partly_gone; /* some of its frames were sent and freed, so the epoch cannot be sent
			      * again */
	uint32_t n_frames;
	uint64_t added_bytes, unsent_bytes; /* payload bytes of all frames, and of the frames that
					     * are not sent yet */
	struct chunk *first, *last;
	struct chunk *send_chunk; /* chunk of the next frame to send; NULL: no frame was
				   * added yet */
	size_t send_offset;
};

struct retain {
	size_t payload_max, bytes_max;
	size_t bytes; /* size of the chunks of all records */
	uint64_t unsent_bytes; /* payload bytes not sent yet, in all records */
	struct record *first, *last;
	struct record *sending; /* first record that can have frames to send; NULL: none */
	struct chunk *free_chunks;
	uint64_t newest_epoch; /* newest epoch begun since the last retain_drop_all() */
};

static size_t meta_bytes(void)
{
	return (sizeof(struct meta) + 15) & ~(size_t)15;
}

static size_t frame_bytes(size_t payload_size)
{
	return meta_bytes() + ((payload_size + 15) & ~(size_t)15);
}

int retain_new(size_t payload_max, size_t bytes_max, struct retain **ret)
{
	struct retain *retain;

	if (frame_bytes(payload_max) > RETAIN_CHUNK_BYTES || bytes_max < RETAIN_BYTES_MIN)
		return -EINVAL;
	retain = calloc(1, sizeof(*retain));
	if (!retain)
		return -ENOMEM;
	retain->payload_max = payload_max;
	retain->bytes_max = bytes_max;
	*ret = retain;
	return 0;
}

static void give_chunk(struct retain *retain, struct chunk *chunk)
{
	chunk->next = retain->free_chunks;
	retain->free_chunks = chunk;
	retain->bytes -= sizeof(*chunk);
}

static void free_record(struct retain *retain, struct record *record)
{
	retain->unsent_bytes -= record->unsent_bytes;
	while (record->first) {
		struct chunk *chunk = record->first;

		record->first = chunk->next;
		give_chunk(retain, chunk);
	}
	free(record);
}

struct retain *retain_free(struct retain *retain)
{
	if (!retain)
		return NULL;
	retain_drop_all(retain);
	while (retain->free_chunks) {
		struct chunk *chunk = retain->free_chunks;

		retain->free_chunks = chunk->next;
		free(chunk);
	}
	free(retain);
	return NULL;
}

int retain_begin(struct retain *retain, uint64_t epoch, bool is_kept)
{
	struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	record->epoch = epoch;
	record->is_kept = is_kept;
	if (retain->last)
		retain->last->next = record;
	else
		retain->first = record;
	retain->last = record;
	if (!retain->sending)
		retain->sending = record;
	retain->newest_epoch = epoch;
	return 0;
}

static int add_chunk(struct retain *retain, struct record *record)
{
	struct chunk *chunk = retain->free_chunks;

	if (retain->bytes + sizeof(*chunk) > retain->bytes_max)
		return -ENOBUFS;
	if (chunk)
		retain->free_chunks = chunk->next;
	else
		chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	retain->bytes += sizeof(*chunk);
	chunk->next = NULL;
	chunk->used = 0;
	if (record->last)
		record->last->next = chunk;
	else
		record->first = chunk;
	record->last = chunk;
	if (!record->send_chunk) {
		record->send_chunk = chunk;
		record->send_offset = 0;
	}
	return 0;
}

bool retain_has_room(const struct retain *retain, uint32_t n_frames)
{
	return retain->bytes + (size_t)n_frames * sizeof(struct chunk) <= retain->bytes_max;
}

int retain_reserve(struct retain *retain, uint8_t **ret_payload)
{
	struct record *record = retain->last;
	struct chunk *chunk = record->last;
	int r;

	if (!chunk || chunk->used + frame_bytes(retain->payload_max) > RETAIN_CHUNK_BYTES) {
		r = add_chunk(retain, record);
		if (r < 0)
			return r;
		chunk = record->last;
	}
	*ret_payload = chunk->data + chunk->used + meta_bytes();
	return 0;
}

void retain_add(struct retain *retain, uint8_t type, uint8_t flags, size_t size)
{
	struct record *record = retain->last;
	struct chunk *chunk = record->last;
	struct meta *meta = (struct meta *)(void *)(chunk->data + chunk->used);

	*meta = (struct meta){.size = size, .seq = record->n_frames, .type = type, .flags = flags};
	chunk->used += frame_bytes(size);
	record->n_frames++;
	record->added_bytes += size;
	record->unsent_bytes += size;
	retain->unsent_bytes += size;
}

/* If all frames of the chunk with the next frame to send are sent, go to the next chunk. If the
 * epoch is not kept, free the old chunk. */
static void settle(struct retain *retain, struct record *record)
{
	while (record->send_chunk && record->send_offset == record->send_chunk->used &&
	       record->send_chunk->next) {
		struct chunk *done = record->send_chunk;

		record->send_chunk = done->next;
		record->send_offset = 0;
		if (!record->is_kept) {
			record->first = done->next;
			record->is_partly_gone = true;
			give_chunk(retain, done);
		}
	}
}

bool retain_let_go(struct retain *retain)
{
	struct record *record = retain->first;

	if (!record || record->next || !record->is_kept)
		return false;
	record->is_kept = false;
	while (record->first && record->first != record->send_chunk) {
		struct chunk *sent = record->first;

		record->first = sent->next;
		record->is_partly_gone = true;
		give_chunk(retain, sent);
	}
	return true;
}

int retain_next(struct retain *retain, struct retain_frame *ret_frame)
{
	for (struct record *record = retain->sending; record; record = record->next) {
		const struct meta *meta;

		retain->sending = record;
		settle(retain, record);
		if (!record->send_chunk || record->send_offset == record->send_chunk->used)
			continue;
		meta = (const struct meta *)(const void *)(record->send_chunk->data +
							   record->send_offset);
		*ret_frame = (struct retain_frame){
			.epoch = record->epoch,
			.seq = meta->seq,
			.type = meta->type,
			.flags = meta->flags,
			.payload = (const uint8_t *)meta + meta_bytes(),
			.size = meta->size,
		};
		return 0;
	}
	return -EAGAIN;
}

void retain_sent(struct retain *retain)
{
	struct record *record = retain->sending;
	const struct meta *meta = (const struct meta *)(const void *)(record->send_chunk->data +
								      record->send_offset);

	record->send_offset += frame_bytes(meta->size);
	record->unsent_bytes -= meta->size;
	retain->unsent_bytes -= meta->size;
	settle(retain, record);
}

void retain_drop(struct retain *retain, uint64_t epoch)
{
	while (retain->first && retain->first->epoch <= epoch) {
		struct record *record = retain->first;

		retain->first = record->next;
		if (!retain->first)
			retain->last = NULL;
		if (retain->sending == record)
			retain->sending = record->next;
		free_record(retain, record);
	}
}

void retain_continue(struct retain *retain, uint64_t epoch)
{
	retain->newest_epoch = epoch;
}

void retain_drop_all(struct retain *retain)
{
	retain_drop(retain, UINT64_MAX);
	retain->newest_epoch = 0;
}

int retain_rewind(struct retain *retain, uint64_t epoch)
{
	retain_drop(retain, epoch);
	if (!retain->first) {
		/* No epoch is stored, so none will be sent again. This is right if @epoch is the
		 * newest epoch that was begun. Otherwise a later epoch is missing. */
		return retain->newest_epoch == epoch ? 0 : -ESTALE;
	}
	if (retain->first->epoch != epoch + 1)
		return -ESTALE;
	for (struct record *record = retain->first; record; record = record->next) {
		if (record->is_partly_gone || !record->is_kept)
			return -ESTALE;
		record->send_chunk = record->first;
		record->send_offset = 0;
		retain->unsent_bytes += record->added_bytes - record->unsent_bytes;
		record->unsent_bytes = record->added_bytes;
	}
	retain->sending = retain->first;
	return 0;
}

uint32_t retain_n_epochs(const struct retain *retain)
{
	uint32_t n = 0;

	for (const struct record *record = retain->first; record; record = record->next)
		n++;
	return n;
}

size_t retain_bytes(const struct retain *retain)
{
	return retain->bytes;
}

uint64_t retain_unsent_bytes(const struct retain *retain)
{
	return retain->unsent_bytes;
}

uint32_t retain_frames_in_epoch(const struct retain *retain)
{
	return retain->last ? retain->last->n_frames : 0;
}
