/* encoder_fixture.h - an encoder, a guest that changes at random, and a standby that applies what comes out
 * of the former and must become the latter. For the tests of the encoder; a failure fails the running test.
 */
#ifndef TESTS_ENCODER_FIXTURE_H
#define TESTS_ENCODER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epoch/encoder.h"
#include "epoch/retain.h"

#define N_PAGES	  4000u
#define REFERENCE_PAGES 1024u /* the store replaces */
#define BLOB_MAX  (40u * 4096u)

struct standby {
	uint8_t *pages;
	uint8_t *blob;
	size_t blob_size;
	uint32_t n_frames, n_records;
	uint64_t payload_bytes, epoch;
	bool is_ended;
};

struct fixture {
	struct retain *retain;
	struct encoder *encoder;
	struct standby standby;
	uint8_t *pages; /* the guest */
	uint8_t *blob;
	size_t blob_size;
};

int fixture_setup(void **state); /* cmocka's; *state becomes a struct fixture */
int fixture_teardown(void **state);

void fixture_change_page(uint8_t *page);
void fixture_change_blob(struct fixture *f);

/* Everything that is retained and was not sent: an epoch, or several. The standby is the guest then. */
void fixture_deliver(struct fixture *f);

#endif
