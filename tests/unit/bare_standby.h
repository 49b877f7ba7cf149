/* bare_standby.h - a VM's standby without QEMU and without its thread: its copy is in a temporary
 * directory, in BARE_STANDBY_TERM, ready for a stream. Also makes a primary's epochs for it. For
 * unit tests and fuzz targets; a failure here ends the program.
 */
#ifndef TESTS_BARE_STANDBY_H
#define TESTS_BARE_STANDBY_H

#include "standby/standby_private.h"
#include "standby_feed.h"

#define BARE_STANDBY_TERM	 7u
#define BARE_STANDBY_RAM_PAGES 8u
#define BARE_STANDBY_ROM_PAGES 1u

struct bare_standby {
	struct standby sb; /* of VM web1 */
	struct feed feed;
	char dir[64];
};

void bare_standby_open(struct bare_standby *x);
/* Close the copy and open it from its files, as a restarted agent. */
void bare_standby_reopen(struct bare_standby *x);
/* Set the state as if epoch @epoch of the held term had been applied. */
void bare_standby_hold(struct bare_standby *x, uint64_t epoch);
/* Connections that are open are closed. */
void bare_standby_close(struct bare_standby *x);

#endif
