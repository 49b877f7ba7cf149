/* spool.h - queues lines for an output that may be slow (a pipe, a disk), and writes them in a
 * thread.
 *
 * Why: write(2) to a full pipe or a stalled disk blocks, and a loop that gives leases must not
 * block. So the loop puts lines into a ring, and a thread writes them. If the ring has no room for
 * a line, the whole line is dropped and counted.
 *	any thread: spool_put(line) ──► ring of `bytes` ──► thread: write_fn(chunk)
 *
 * Where: log.c, and the gateway's events and final counters. Threads: spool_put() and
 * spool_dropped() may be called from any thread, the other functions from one.
 */
#ifndef BASE_SPOOL_H
#define BASE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool; /* opaque */

/* Writes @size bytes at @data to the output. A chunk can begin or end within a line. Called on the
 * spool's thread, so it may block. */
typedef void (*spool_write_fn)(void *arg, const char *data, size_t size);

/* Create a ring of @bytes and start its thread. Returns 0 (the caller owns *ret_spool); -ENOMEM; or
 * -errno from creating the thread. */
int spool_open(size_t bytes, spool_write_fn write_fn, void *arg, struct spool **ret_spool)
	__attribute__((warn_unused_result));

/* Queue a copy of @data. Never waits for the output and never allocates. Returns false if there was
 * no room: @data was dropped and counted. */
bool spool_put(struct spool *spool, const void *data, size_t size);

/* Returns how many lines were dropped so far. */
uint64_t spool_dropped(struct spool *spool);

/* Wait for up to @timeout_ns until all queued data is written. Returns true if all of it was
 * written. */
bool spool_flush(struct spool *spool, uint64_t timeout_ns);

/* Tell the thread to write the queued data and to end, and wait for its end for at most
 * @timeout_ns. Returns true: the thread has ended, and the spool is freed. Returns false: the
 * thread still uses the spool, and also what the @arg of spool_open() points to, so the caller must
 * never free that. */
bool spool_close(struct spool *spool, uint64_t timeout_ns);

#endif
