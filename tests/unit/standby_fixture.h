/* standby_fixture.h - sets up what the standby's tests need: a standby's copy in a temporary
 * directory, a model of the guest, and random epochs that change the model. A failure fails the
 * running test.
 */
#ifndef TESTS_STANDBY_FIXTURE_H
#define TESTS_STANDBY_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "standby/epochlog.h"
#include "standby_feed.h"

#define RAM_PAGES  8u
#define ROM_PAGES  2u
#define N_PAGES	   (RAM_PAGES + ROM_PAGES)
#define BLOB_ROOM  (8u * WIRE_PAGE_SIZE)
#define TERM	   7u
#define RAM_BYTES  ((uint64_t)RAM_PAGES * WIRE_PAGE_SIZE)
#define BYTES_MAX  (UINT64_C(4) << 20)

#define N_DISKS	   3u /* vda, vdb and vdc, in files of the copy's directory */
#define DISK_BYTES (96u * 512u)

/* The guest's memory, device state and disks, which the standby's copy must match. */
struct model {
	uint8_t pages[N_PAGES][WIRE_PAGE_SIZE];
	uint8_t blob[BLOB_ROOM]; /* the device state; zero from blob_size on */
	uint32_t blob_size;
	uint8_t disks[N_DISKS][DISK_BYTES];
};

struct fixture {
	char dir[64];
	struct ramfile rf;
	struct epochlog log;
	struct images images;
	char image_paths[N_DISKS][80];
	struct feed feed;
	struct model model;
	uint32_t seed;
	/* FULL epochs contain KEEP records for some of the copy's pages, and no DUP records */
	bool keeps;
	unsigned n_kept;
	unsigned n_dups[2]; /* DUP records made: [0] in ordinary epochs, [1] in FULL epochs */
};

/* Return a pseudo-random number from 0 to @n - 1. The sequence is the same in each run of the
 * test. */
uint32_t fixture_roll(struct fixture *x, uint32_t n);
/* Set up for cmocka. On return, *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_remove_dir(const char *dir);
void fixture_open(struct fixture *x); /* open the copy as an agent does when it starts */
void fixture_close(struct fixture *x);

/* Change @x->model at random. Append to the feed an epoch that makes the same change. */
void fixture_make_epoch(struct fixture *x, bool full);
/* Give all frames of the feed to the epoch log, and apply complete epochs. Returns the number of
 * applied epochs; or an error, and *error says more. */
int fixture_take(struct fixture *x, struct epochcheck_error *error);
/* Returns true if the standby's copy and its images equal @m. */
bool fixture_copy_is(struct fixture *x, const struct model *m);
/* Make and apply one good epoch. Then begin a new stream in @x->feed; its GEOMETRY is already in
 * the feed. */
void fixture_hold_one(struct fixture *x);

/* What a broken or hostile primary sends after a good epoch 1, and how the standby must refuse
 * it. */
struct fixture_lie {
	const char *name;
	void (*feed)(struct feed *f);
	uint16_t code;	  /* code of the STREAM_ERROR that refuses the stream */
	const char *says; /* a part of the text of that STREAM_ERROR */
};

/* Feed each of @lies as a separate stream, after fixture_hold_one(). Checks that each stream is
 * refused as its row says, and that the standby keeps nothing of it. */
void fixture_refuses(struct fixture *x, const struct fixture_lie *lies, size_t n);

#endif
