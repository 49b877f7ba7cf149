/* spool.h - lines for a slow output (a pipe, a disk), written by a thread of their own.
 *
 * Why: a write(2) to a full pipe or a stalled disk blocks, and a loop that gives leases must not.
 * Lines go into a ring; a thread writes them. A line that does not fit is dropped whole and
 * counted.
 *
 *	any thread: spool_put(line) ──► ring of `bytes` ──► thread: write_fn(chunk of whole lines)
 *
 * Where: log.c, and the gateway's events. Threads: spool_put and spool_dropped from any thread;
 * open and close from one.
 */
#ifndef BASE_SPOOL_H
#define BASE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool; /* opaque */

/* Runs on the spool's thread, and may block there. */
typedef void (*spool_write_fn)(void *arg, const char *data, size_t size);

/* Make a ring of @bytes and start its thread. 0: the caller owns *ret_spool; -ENOMEM; -errno of
 * making the thread. */
int spool_open(size_t bytes, spool_write_fn write_fn, void *arg, struct spool **ret_spool)
	__attribute__((warn_unused_result));

/* Queue a copy of @data. Never waits for the output, allocates nothing. False: no room; @data was
 * dropped and counted. */
bool spool_put(struct spool *spool, const void *data, size_t size);

/* How many lines were dropped so far. */
uint64_t spool_dropped(struct spool *spool);

/* Wait up to @timeout_ns until everything queued is written. True: all of it was. */
bool spool_flush(struct spool *spool, uint64_t timeout_ns);

/* Write what is queued, for at most @timeout_ns, and end. True: the thread has ended and the spool
 * is freed. False: the thread is stuck in write_fn; it still uses the spool and what @arg points
 * to, so the caller must never free @arg. */
bool spool_close(struct spool *spool, uint64_t timeout_ns);

#endif
