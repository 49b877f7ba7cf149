/* fuzz_session.c - sends the gateway any sequence of frames from an authenticated agent.
 *
 * The wire decoders have their own fuzz targets. Here TLS and checksums are right, but the frames'
 * order and content are arbitrary.
 *
 * The first byte of the input chooses the agent, the kind of its connection and the VM's state. The
 * rest is a sequence of frames. A frame has one byte each for type, flags, term, epoch, seq and
 * generation. The payload's size (2 bytes) and the payload follow.
 *
 * The target checks:
 * - There is no crash.
 * - The journal's term never falls.
 * - No COMMIT is sent without an acknowledged epoch.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each run allocates a few buffers of 64..256 KB. With ASan's default quarantine, all of them would
 * use fresh memory. Most of a run's time would be the kernel's work to provide this memory. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4";
}

#define HEAD_SIZE 8
#define TERM	  5

static struct fixture f;

static void set_state(enum vm_state state)
{
	struct fleet_vm *vm = fleet_find_vm(f.fleet, "web1");

	if (vm_journal_append(f.journal, "web1", "alpha", TERM, state, false, "") < 0)
		abort();
	vm->fsm.record = (struct vm_record){.term = TERM, .owner = 0, .state = state};
}

static size_t feed_one(struct agent *a, const uint8_t *data, size_t size)
{
	size_t n = (size_t)bytes_get_be16(data + 6) % 4096;
	const struct wire_header h = {
		.type = data[0], .flags = data[1], .term = data[2], .epoch = data[3],
		.seq = data[4], .generation = data[5],
	};

	if (n > size - HEAD_SIZE)
		n = size - HEAD_SIZE;
	agent_send(a, &h, data + HEAD_SIZE, n);
	return HEAD_SIZE + n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	struct agent standby, fuzzed;
	struct agent *const all[] = {&standby, &fuzzed};
	struct wire_frame frame;
	uint8_t what;

	if (size < 1)
		return 0;
	if (!started) {
		log_set_level(LOG_LEVEL_ERROR);
		fixture_ring_bytes = WIRE_TLS_OUTPUT_MIN;
		fixture_start();
		atexit(fixture_end);
		started = true;
	}
	what = data[0];
	fixture_open(&f);
	set_state((what & 0x10) ? VM_PROTECTED : VM_SYNCING);
	agent_open(&standby, &f, f.beta);
	agent_hello(&standby, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY, TERM, 0);
	fixture_pump(all, 1);
	agent_open(&fuzzed, &f, (what & 1) ? f.beta : f.alpha);
	if (what & 2)
		agent_hello(&fuzzed, WIRE_KIND_CONTROL, 0, 0, 0);
	else if (what & 4)
		agent_hello(&fuzzed, WIRE_KIND_STREAM, WIRE_VM_ROLE_PRIMARY, TERM, 0);
	fixture_pump(all, 2);
	for (size_t at = 1; at + HEAD_SIZE <= size && fuzzed.session;) {
		at += feed_one(&fuzzed, data + at, size - at);
		fixture_pump(all, 2);
	}
	if (fixture_journaled(&f, "web1")->term < TERM)
		abort();
	/* This standby acknowledges no epoch, so there must be no COMMIT. */
	if (agent_take(&fuzzed, WIRE_COMMIT, &frame))
		abort();
	agent_close(&fuzzed);
	agent_close(&standby);
	fixture_close(&f);
	return 0;
}
