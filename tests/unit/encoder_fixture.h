/* encoder_fixture.h - sets up the world for the encoder's tests: an encoder, a guest that changes
 * at random, and a standby.
 *
 * The standby applies the encoder's frames, and must then be equal to the guest. A failure fails
 * the running test.
 */
#ifndef TESTS_ENCODER_FIXTURE_H
#define TESTS_ENCODER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/encoder.h"
#include "epoch/retain.h"

#define N_PAGES	  1600u
#define REFERENCE_PAGES 1024u /* fewer than N_PAGES, so the reference store must replace pages */
#define BLOB_MAX  (40u * 4096u)
#define COPY_MAX  2000u
#define N_DISKS	   2u /* vda and vdb */
#define DISK_BYTES (3u << 20)

struct standby {
	uint8_t *pages;
	uint8_t *kept; /* the pages as they were before the FULL epoch that is being received */
	uint8_t *blob;
	size_t blob_size;
	uint32_t n_frames, n_records;
	uint64_t payload_bytes, epoch;
	bool is_ended;
	bool is_full;	     /* the epoch being received is FULL */
	bool has_kept;	     /* the epoch had a KEEP record, so a DUP must not follow */
	/* In a FULL epoch: true if the epoch has had a record for the page. In other epochs: true
	 * if a DUP record has copied the page to another page. */
	bool marks[N_PAGES];
	uint8_t *disks[N_DISKS]; /* DISK_BYTES each */
	uint32_t n_disk_frames, n_packed_disk_frames;
};

/* The page copies that a seal hands to the encoder, in the order of their ranges. A page can occur
 * twice. */
struct copy {
	struct page_range *ranges;
	uint8_t *pages;
	uint32_t n;
};

struct fixture {
	struct retain *retain;
	struct encoder *encoder;
	struct standby standby;
	uint8_t *pages; /* the guest's memory */
	uint8_t *blob;
	size_t blob_size;
	uint32_t n_threads;
	struct copy copy;
};

struct copy copy_new(uint32_t n_max);
void copy_free(struct copy *copy);
struct encoder_cursor copy_cursor(const struct copy *copy);

/* Set up for cmocka. On entry, *state points to the number of encoding threads (const uint32_t *);
 * on return, *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Replace the encoder by a new one whose backlog holds @bytes_max bytes. */
void fixture_make_encoder(struct fixture *f, size_t bytes_max);

void fixture_change_page(uint8_t *page);
void fixture_change_blob(struct fixture *f);
void fixture_copy_page(struct fixture *f, struct copy *copy,
		       uint32_t index); /* append page @index as it is now */

/* After -EAGAIN: wait until the encoder can continue. */
void fixture_wait(struct fixture *f);
/* Offer all pages of @cursor, and wait where the encoder needs it. Returns 0; -ENOBUFS if the
 * backlog is full; or another error of encoder_pages(). */
int fixture_offer(struct fixture *f,
		  struct encoder_cursor cursor);
void fixture_offer_all(struct fixture *f); /* offer every page of the guest */
void fixture_end(struct fixture *f); /* end the epoch, with changed device state */

/* Deliver the next unsent frame to the standby. Returns false if there is none. */
bool fixture_deliver_frame(struct fixture *f);
/* Deliver all unsent frames, of one or several epochs. Then check that the standby equals the
 * guest. */
void fixture_deliver(struct fixture *f);

#endif
