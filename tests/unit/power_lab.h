/* power_lab.h - runs a standby that takes epochs while power_record.h records its files. Checks
 * what a power failure leaves of the files.
 *
 * The real code of hostagent/standby takes the epochs (epochlog, durable, disklog, images). For
 * each moment in the record, the lab creates in another directory the files as a power failure at
 * that moment would leave them: data that was not yet on the disk is missing. Then the agent's
 * recovery runs in that directory, as it does after a boot. The power can fail again during the
 * recovery.
 * Each byte that an epoch writes is the epoch's index, so lab->fault says which sector is of which
 * epoch.
 *
 * Threads: one. A failure fails the running test.
 */
#ifndef TESTS_POWER_LAB_H
#define TESTS_POWER_LAB_H

#include "power_record.h"
#include "standby/durable.h"
#include "standby_fixture.h"

#define EPOCHS_MAX 100u /* an index fits into a byte */

struct epoch {
	char kind; /* see power_lab_record() */
	bool is_acked;
	uint64_t number; /* an epoch that is refused, and the next one, have the same number */
	uint8_t disks[N_DISKS][DISK_BYTES];
};

struct power_lab {
	struct fixture *x;
	struct durable durable;
	bool has_log; /* disk_durability is standby or both */
	char log_path[80], left[80];
	struct epoch epochs[EPOCHS_MAX + 1]; /* as fed; [0]: the disks before the first epoch */
	unsigned n_epochs;		     /* index of the last epoch */
	unsigned n_errors;		     /* epochs that were not taken or not applied */
	struct power power; /* what the standby wrote until its power failed */
	struct power again; /* what the next agent wrote when it recovered */
	char fault[300];		     /* why a check failed; "": none failed */
	/* flushes in the records, and power failures simulated, in all checks */
	unsigned n_flushes, n_failures;
};

/* Set up for cmocka. On return, *state is a struct power_lab. */
int power_lab_set_up(void **state);
int power_lab_tear_down(void **state);

/* Record the agent while it takes an epoch for each letter of @kinds:
 *	u  not held (UNHELD), as in a first copy; writes nearly all bytes of each disk
 *	h  held, with writes
 *	e  held, without writes
 *	f  held; its writes fill a third of one half of the log
 *	L  held; its writes exceed one half of the log
 *	R  no epoch: the agent is restarted, and the host keeps its power
 * The log is created first. power_fault makes no call fail before the log exists. */
void power_lab_record(struct power_lab *lab, const char *kinds, uint32_t seed);

struct power_counts {
	unsigned n_flushes, n_failures, n_faults;
};

/* Simulate a power failure before and after every flush of the record, and at one in @share of the
 * other moments, with one value of enum power_choice. With @share <= 4 (a thorough check), simulate
 * a failure at a flush with every value. Stop at the first fault, and set lab->fault. */
struct power_counts power_lab_check(struct power_lab *lab, unsigned share);

/* Read the images that power_leave() has made in lab->left. */
void power_lab_read_images(struct power_lab *lab, uint8_t (*ret_disks)[DISK_BYTES]);

/* Compare @disks with those of lab->epochs[@epoch]. Returns 0 if they are equal. Otherwise returns
 * -1, and lab->fault says which disk and sector differs, and what is there. */
int power_lab_compare(struct power_lab *lab, uint8_t (*disks)[DISK_BYTES], unsigned epoch);

#endif
