/* incarnation.h - the number of this gateway start, and what the previous start may have granted:
 * STATE_DIR/incarnation.
 *
 * Why: two gateways may be started from one state_dir: a restored backup, or a cloned appliance.
 * Each start has its own number, larger than every number that its state_dir knows, and hosts obey
 * the largest number they have heard. So the older gateway orders nothing.
 *
 *	holdfast-incarnation 1
 *	number=115472943812609 release_ms=150 sum=90f0c3a5d2e1b4f7
 *	       `- count << 16 | random: two starts from one copy differ
 *
 * The count begins at the wall clock's seconds, so a lost state_dir does not put it behind. After
 * that it counts starts and reads no clock.
 *
 * Where: main begins it, after the journal is locked. Threads: one at a time: the loop's at the
 * start, then the journal's (journal_thread.h). Blocks for two fsyncs.
 */
#ifndef VM_INCARNATION_H
#define VM_INCARNATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"


struct incarnation {
	uint64_t number;     /* > 0 */
	uint32_t release_ms; /* an owner's output may leave this long
			      * after a LEASE; 0: give no leases */
};

/* The number after @last (0: there is no last one). @wall_s: the wall clock; @random: any 16 bits.
 * Returns 0 if no number is left (damage: see WIRE_INCARNATION_MAX). */
uint64_t incarnation_next(uint64_t last, uint64_t wall_s, uint16_t random);

/* 0; -EINVAL: damaged. */
int incarnation_parse(const char *text, size_t size, struct incarnation *ret_incarnation)
	__attribute__((warn_unused_result));

/* Choose this start's number and make it durable in @dir. *ret_last: what the previous start
 * recorded, all 0 if there was none. The file keeps the longer release_ms of both until
 * incarnation_store() says that the older one is over. 0; -errno, with *ret_error
 *: what is wrong and what to do. */
int incarnation_begin(const char *dir, uint32_t release_ms, struct incarnation *ret_last,
		      uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Record @incarnation. 0 or -errno: the old content stands. */
int incarnation_store(const char *dir, const struct incarnation *incarnation)
	__attribute__((warn_unused_result));

#endif
