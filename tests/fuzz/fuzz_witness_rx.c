/* fuzz_witness_rx.c - gives the witness receiver any sequence of datagrams, keys, beats and passing
 * time.
 *
 * The target checks:
 * - The receiver accepts a datagram only if a key of its VM signed it.
 * - The receiver accepts each sequence number only once per key and path.
 * - A refused datagram does not change the VM's view (what the receiver knows about the VM).
 * - No view has a time in the future.
 *
 * The input is a sequence of operations. Each operation starts with one byte:
 *	bits 0-2        the number of the operation
 *	bits 3-4        the VM
 *	bit 5           for datagrams: set if the datagram comes through the client network
 *
 * The operations, and the bytes that follow the first byte:
 *	0, 1	a datagram of 128 bytes, which is given to the receiver as it is
 *      2, 3    a datagram of 128 bytes; its key_id is set to the VM's newest key, and it is signed
 *	4	a byte: the VM gets a new key. Bit 0: clock_new. Bit 1: no client network address
 *	5	nothing: the VM's keys are cleared
 *	6	4 bytes: the number of microseconds that pass
 *	7	8 bytes: a beat arrives; these bytes are the time in it
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "witness/witness_rx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_VMS	  4
#define N_TAKEN	  512
#define ADDRESS	  UINT32_C(0xc6120102)

static struct witness_rx *rx;
/* the MAC of each key_id; kept between runs, because OpenSSL takes long to make a MAC */
static struct wire_witness_mac *macs[256];
static uint32_t n_keys;
static uint32_t key_id[N_VMS];
static uint64_t now_ns;
static struct {
	uint32_t key_id, path;
	uint64_t sequence;
} taken[N_TAKEN];
static size_t n_taken;

static void must(int ok)
{
	if (!ok)
		abort();
}

static void key_of(uint32_t id, uint8_t key[WIRE_WITNESS_KEY_SIZE])
{
	memset(key, (int)id, WIRE_WITNESS_KEY_SIZE);
}

static void new_key(size_t vm, int clock_new)
{
	const uint32_t addresses[WIRE_WITNESS_N_PATHS] = {ADDRESS, clock_new & 2 ? 0 : ADDRESS};
	uint8_t key[WIRE_WITNESS_KEY_SIZE];

	if (n_keys + 1 >= sizeof(macs) / sizeof(macs[0]))
		return;
	key_of(++n_keys, key);
	if (!macs[n_keys])
		must(wire_witness_mac_new(key, &macs[n_keys]) == 0);
	must(witness_rx_set_key(rx, vm, n_keys, key, addresses, clock_new & 1, now_ns) == 0);
	key_id[vm] = n_keys;
}

static void note_taken(const uint8_t *data)
{
	uint32_t id = bytes_get_be32(data + 4), path = bytes_get_be32(data + 52);
	uint64_t sequence = bytes_get_be64(data + 8);

	for (size_t i = 0; i < n_taken; i++)
		must(taken[i].key_id != id || taken[i].path != path ||
		     taken[i].sequence != sequence);
	if (n_taken < N_TAKEN) {
		taken[n_taken].key_id = id;
		taken[n_taken].path = path;
		taken[n_taken++].sequence = sequence;
	}
}

static void check_views(void)
{
	for (size_t i = 0; i < N_VMS; i++) {
		const struct witness_view *v = witness_rx_view(rx, i);

		must(v->n_timely <= v->n_accepted);
		must(v->made_at_ns <= v->arrived_at_ns && v->arrived_at_ns <= now_ns);
		for (size_t p = 0; p < WIRE_WITNESS_N_PATHS; p++) {
			must(v->paths[p].made_at_ns <= v->made_at_ns);
			must(v->paths[p].n_accepted <= v->n_accepted);
		}
		must(v->answered_at_ns <= v->made_at_ns && v->asked_at_ns <= v->made_at_ns);
		must((v->n_unanswered > 0) == (v->asked_at_ns > 0));
	}
}

static void input(size_t vm, enum wire_witness_path path, const uint8_t *bytes, int sign)
{
	static struct witness_view before[N_VMS];
	/* allocate exactly the datagram's size, to notice a read past its end */
	uint8_t *data = malloc(WIRE_WITNESS_SIZE);
	enum witness_rx_verdict verdict;
	int genuine = 0;

	must(data != NULL);
	memcpy(data, bytes, WIRE_WITNESS_SIZE);
	if (sign && key_id[vm]) {
		bytes_put_be32(data + 4, key_id[vm]);
		must(wire_witness_mac_sign(macs[key_id[vm]], data) == 0);
	}
	for (uint32_t i = 1; i <= n_keys; i++)
		genuine |= wire_witness_mac_check(macs[i], data) == 0 &&
			   bytes_get_be32(data + 4) == i;
	for (size_t i = 0; i < N_VMS; i++)
		before[i] = *witness_rx_view(rx, i);
	verdict = witness_rx_input(rx, path, ADDRESS, data, WIRE_WITNESS_SIZE, now_ns);
	if (verdict == WITNESS_RX_ACCEPTED) {
		must(genuine && bytes_get_be32(data + 52) == path);
		note_taken(data);
	}
	for (size_t i = 0; i < N_VMS && verdict != WITNESS_RX_ACCEPTED; i++) {
		before[i].n_bad_mac = witness_rx_view(rx, i)->n_bad_mac;
		must(memcmp(&before[i], witness_rx_view(rx, i), sizeof(before[i])) == 0);
	}
	free(data);
}

/* Carry out the operation at @at. Returns its size in bytes, or 0 if the input is too short. */
static size_t run(const uint8_t *at, size_t size)
{
	static const size_t wants[8] = {128, 128, 128, 128, 1, 0, 4, 8};
	size_t vm = at[0] >> 3 & (N_VMS - 1), what = at[0] & 7;

	if (size < 1 + wants[what])
		return 0;
	switch (what) {
	case 4:
		new_key(vm, at[1]);
		break;
	case 5:
		witness_rx_clear(rx, vm);
		key_id[vm] = 0;
		break;
	case 6:
		now_ns += bytes_get_be32(at + 1) * UINT64_C(1000);
		witness_rx_tick(rx, now_ns);
		break;
	case 7:
		witness_rx_clock(rx, vm, bytes_get_be64(at + 1), now_ns);
		break;
	default:
		input(vm, at[0] & 0x20 ? WIRE_WITNESS_CLIENT : WIRE_WITNESS_BACKUP, at + 1,
		      what >= 2);
	}
	check_views();
	return 1 + wants[what];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n;

	must(witness_rx_new(&rx) == 0);
	n_keys = 0;
	n_taken = 0;
	memset(key_id, 0, sizeof(key_id));
	now_ns = UINT64_C(1000000000);
	while (size > 0 && (n = run(data, size)) > 0) {
		data += n;
		size -= n;
	}
	witness_rx_free(rx);
	return 0;
}
