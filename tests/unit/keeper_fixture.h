/* keeper_fixture.h - a VM's keeper without QEMU and without its thread: its copy is in a temporary
 * directory, in KEEPER_TERM, ready for a stream. Also makes a primary's epochs for it. For unit
 * tests and fuzz targets; a failure here ends the program.
 */
#ifndef TESTS_KEEPER_FIXTURE_H
#define TESTS_KEEPER_FIXTURE_H

#include "standby/keeper.h"
#include "standby_feed.h"

#define KEEPER_TERM	 7u
#define KEEPER_RAM_PAGES 8u
#define KEEPER_ROM_PAGES 1u

struct keeper_fixture {
	struct standby sb; /* of VM web1 */
	struct feed feed;
	char dir[64];
};

void keeper_fixture_open(struct keeper_fixture *x);
/* Close the copy and open it from its files, as a restarted agent. */
void keeper_fixture_reopen(struct keeper_fixture *x);
/* Set the state as if epoch @epoch of the held term had been applied. */
void keeper_fixture_hold(struct keeper_fixture *x, uint64_t epoch);
/* Connections that are open are closed. */
void keeper_fixture_close(struct keeper_fixture *x);

#endif
