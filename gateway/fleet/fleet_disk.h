/* fleet_disk.h - finds out whether the disk of the gateway's state_dir can be written.
 *
 * Why: while all goes well, nothing is written there. If the file system has become read-only or
 * full, nobody would notice it before the owner dies. Then the promotion cannot be recorded, so no
 * host is promoted. So a trial file is written now and then, and the result of each write is kept
 * for the health word.
 *
 *	results of records, trials ──► fleet_disk_ended() ──► error, ended_ns
 *	fleet_disk_tick() ──► a trial: TRIAL_NS after a write, AGAIN_NS after a failed one
 *
 * The trials cannot detect a disk that loses data after it has reported the data as written.
 *
 * Threads: the gateway's loop. The journal's thread writes the trials (journal_thread.h).
 */
#ifndef FLEET_FLEET_DISK_H
#define FLEET_FLEET_DISK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct fleet;

struct fleet_disk {
	int error;	   /* why the last write failed (an errno); 0: it succeeded */
	uint64_t ended_ns; /* when the last write ended; 0: there was none */
	uint64_t since_ns; /* since when a trial has waited for the disk; 0: none waits */
	char path[PATH_MAX]; /* the trial file; "": nothing is tried */
};

/* Note that a write to state_dir has ended with @result (0 or -errno). @is_trial: true for a trial,
 * false for a record. */
void fleet_disk_ended(struct fleet *fleet, bool is_trial, int result, uint64_t now_ns);

/* Begin a trial if one is due. */
void fleet_disk_tick(struct fleet *fleet, uint64_t now_ns);

#endif
