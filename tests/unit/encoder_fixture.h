/* encoder_fixture.h - an encoder, a guest that changes at random, and a standby that applies the
 * encoder's frames and must become equal to the guest. For the tests of the encoder; a failure
 * fails the running test.
 */
#ifndef TESTS_ENCODER_FIXTURE_H
#define TESTS_ENCODER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/encoder.h"
#include "epoch/retain.h"

#define N_PAGES	  1600u
#define REFERENCE_PAGES 1024u /* the store replaces */
#define BLOB_MAX  (40u * 4096u)
#define COPY_MAX  2000u

struct standby {
	uint8_t *pages;
	uint8_t *blob;
	size_t blob_size;
	uint32_t n_frames, n_records;
	uint64_t payload_bytes, epoch;
	bool is_ended;
	bool is_full;	     /* the epoch */
	bool marks[N_PAGES]; /* FULL: had a record; else: a DUP copied it */
};

/* What a seal produces: copies of pages in the order of their ranges; a page may occur twice. */
struct copy {
	struct page_range *ranges;
	uint8_t *pages;
	uint32_t n;
};

struct fixture {
	struct retain *retain;
	struct encoder *encoder;
	struct standby standby;
	uint8_t *pages; /* the guest */
	uint8_t *blob;
	size_t blob_size;
	uint32_t n_threads;
	struct copy copy;
};

struct copy copy_new(uint32_t n_max);
void copy_free(struct copy *copy);
struct encoder_cursor copy_cursor(const struct copy *copy);

/* cmocka's set-up: *state is the number of encoding threads (const uint32_t *), and becomes a
 * struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_make_encoder(struct fixture *f, size_t bytes_max); /* a new one, with this backlog */

void fixture_change_page(uint8_t *page);
void fixture_change_blob(struct fixture *f);
void fixture_copy_page(struct fixture *f, struct copy *copy,
		       uint32_t index); /* append it as it is now */

void fixture_wait(struct fixture *f); /* after -EAGAIN */
int fixture_offer(struct fixture *f,
		  struct encoder_cursor cursor); /* all of it, unless there is no room */
void fixture_offer_all(struct fixture *f); /* every page of the guest */
void fixture_end(struct fixture *f); /* device state and the end */

/* The next frame that was not sent. False: there is none. */
bool fixture_deliver_frame(struct fixture *f);
/* All of them: an epoch, or several. The standby is the guest then. */
void fixture_deliver(struct fixture *f);

#endif
