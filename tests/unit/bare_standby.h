/* bare_standby.h - sets up a VM's standby without QEMU and without its thread, for unit tests and
 * fuzz targets.
 *
 * The standby is ready for a stream of term BARE_STANDBY_TERM. Its copy is in a temporary
 * directory. Its feed (standby_feed.h) builds the epochs that a primary would send. Any failure
 * here ends the program.
 */
#ifndef TESTS_BARE_STANDBY_H
#define TESTS_BARE_STANDBY_H

#include "standby/standby_private.h"
#include "standby_feed.h"

#define BARE_STANDBY_TERM	 7u
#define BARE_STANDBY_RAM_PAGES 8u
#define BARE_STANDBY_ROM_PAGES 1u

struct bare_standby {
	struct standby sb; /* the standby of VM web1 */
	struct feed feed;
	char dir[64];
};

void bare_standby_open(struct bare_standby *x);
/* Close the copy and open it from its files again, as a restarted agent does. */
void bare_standby_reopen(struct bare_standby *x);
/* Set the standby's state as if it had applied epoch @epoch of its term. */
void bare_standby_hold(struct bare_standby *x, uint64_t epoch);
/* Close the copy and all open connections, and remove the directory. */
void bare_standby_close(struct bare_standby *x);

#endif
