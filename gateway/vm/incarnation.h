/* incarnation.h - the file STATE_DIR/incarnation: a number for each start of the gateway, and how
 * long the leases may last that the previous start gave.
 *
 * Why: two gateways may be started from one state_dir: a restored backup, or a cloned appliance.
 * Each start has its own number, larger than every number that its state_dir knows, and hosts obey
 * the largest number they have heard. So hosts that have heard of a younger gateway take no orders
 * from an older one.
 *
 *	holdfast-incarnation 1
 *	number=115472943812609 release_ms=150 sum=90f0c3a5d2e1b4f7
 *	       `- count << 16 | random: two starts from one copy differ
 *
 * The first count is the wall clock's time in seconds, so a gateway that lost its state_dir does
 * not begin with a number below its earlier ones. Every later start adds one, without reading a
 * clock.
 *
 * Where: main calls incarnation_begin() after the journal is locked. Threads: the loop's thread at
 * the start, later only the journal's thread (journal_thread.h). Blocks for two fsyncs.
 */
#ifndef VM_INCARNATION_H
#define VM_INCARNATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"


struct incarnation {
	uint64_t number;     /* the number of the start; never 0 */
	uint32_t release_ms; /* how long after a LEASE an owner may release
			      * output; 0: this start gives no leases */
};

/* Returns the number that follows @last (0: there is no last one). @wall_s: the wall clock's
 * seconds; @random: any 16 bits. Returns 0 if no number is left; only a damaged file gets
 * there, see WIRE_INCARNATION_MAX. */
uint64_t incarnation_next(uint64_t last, uint64_t wall_s, uint16_t random);

/* Parse the file's content. Returns 0; -EINVAL: damaged. */
int incarnation_parse(const char *text, size_t size, struct incarnation *ret_incarnation)
	__attribute__((warn_unused_result));

/* Choose this start's number and make it durable in @dir. *ret_last: what the previous start
 * recorded, all 0 if there was none. The file then holds the longer release_ms of this start and
 * the previous one, until incarnation_store() replaces it when the previous start's leases have
 * expired. Returns 0; or -errno, and *ret_error says what is wrong and what to do. */
int incarnation_begin(const char *dir, uint32_t release_ms, struct incarnation *ret_last,
		      uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Record @incarnation. Returns 0; -errno: the file keeps its old content. */
int incarnation_store(const char *dir, const struct incarnation *incarnation)
	__attribute__((warn_unused_result));

#endif
