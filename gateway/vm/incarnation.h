/* incarnation.h - reads and writes the file STATE_DIR/incarnation. The file has the number of the
 * gateway's last start (the incarnation), and how long the leases of that start can last.
 *
 * Two gateways can be started from copies of one state_dir: a restored backup, or a cloned
 * appliance. Each start chooses a number larger than the number in its state_dir. A host obeys only
 * the gateway with the largest number that it has seen.
 *
 *      holdfast-incarnation 1
 *      number=115472943812609 release_ms=150 sum=90f0c3a5d2e1b4f7
 *
 * The number is (count << 16 | 16 random bits). Because of the random bits, two starts from copies
 * of one state_dir get different numbers. Without a file, the count is the wall clock's time in
 * seconds. So a gateway that lost its state_dir begins with a larger number than before. With a
 * file, the new count is the old count plus one.
 *
 * Where: incarnating.c calls incarnation_begin() after the journal is locked. Threads: the loop's
 * thread at the start, later only the journal's thread (journal_thread.h). Blocks for two fsyncs.
 */
#ifndef VM_INCARNATION_H
#define VM_INCARNATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"


struct incarnation {
	uint64_t number;     /* the number of the start; never 0 */
	/* how long an owner may release output after a LEASE; 0: this start gives no leases */
	uint32_t release_ms;
};

/* Returns the number that follows @last, or the first number if @last is 0. @wall_s is the wall
 * clock's time in seconds, @random any 16 bits. Returns 0 if the next number would be above
 * WIRE_INCARNATION_MAX, which only a damaged file can cause. */
uint64_t incarnation_next(uint64_t last, uint64_t wall_s, uint16_t random);

/* Parse the file's content. Returns 0, or -EINVAL if it is damaged. */
int incarnation_parse(const char *text, size_t size, struct incarnation *ret_incarnation)
	__attribute__((warn_unused_result));

/* Read from @dir what the last start recorded. Returns 0; if there is no record, *ret_last is all
 * 0. On error returns -errno, and sets *ret_error to what is wrong and what to do. */
int incarnation_read(const char *dir, struct incarnation *ret_last, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Choose this start's number, make it durable in @dir, and store it in *ret_number. Set *ret_last
 * to what the previous start recorded. If this is the first start, *ret_last is all 0. If the
 * previous start's release_ms is longer than @release_ms, the file keeps the longer value. In this
 * case, the caller must call incarnation_store() when the previous start's leases have expired.
 * Returns 0. On error returns -errno, and sets *ret_error to what is wrong and what to do. */
int incarnation_begin(const char *dir, uint32_t release_ms, struct incarnation *ret_last,
		      uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Record @incarnation. Returns 0, or -errno if the file keeps its old content. */
int incarnation_store(const char *dir, const struct incarnation *incarnation)
	__attribute__((warn_unused_result));

#endif
