/* gateway_fixture.h - sets up a gateway without any network: its sessions run over memory, and the
 * agents are scripted.
 *
 * Tests of sessions, admission, control, pending writes and witness keys use it, and so do
 * fuzz_session and fuzz_control. There is one VM, web1, on the hosts alpha and beta. Certificates
 * and the journal are in a temporary directory. A failure of the fixture itself aborts the program.
 * Use it from one thread, with one fixture at a time.
 */
#ifndef TESTS_GATEWAY_FIXTURE_H
#define TESTS_GATEWAY_FIXTURE_H

#include "session/session.h"

#define MS UINT64_C(1000000)

struct fixture {
	char *dir;
	struct wire_tls_context *server, *alpha, *beta;
	struct vm_journal *journal;
	struct fleet *fleet;
	struct sessions *sessions;
	uint64_t now_ns;
	/* for each role: the features that the HELLO of that role's stream leaves out */
	uint64_t lacks[3];
};

/* The agent's end of one session. */
struct agent {
	struct fixture *f;
	struct session *session; /* NULL: the session has ended */
	struct wire_tls *tls;
	bool deaf;		 /* true if the agent does not read what the gateway sends */
	size_t piece;		 /* bytes moved at a time; 0: as many as there are */
	uint8_t *in;		 /* received plaintext: whole frames and parts of frames */
	size_t n_in, in_size;
	size_t n_untaken;	 /* bytes of ciphertext that the session has not accepted yet */
	uint8_t *untaken;
};

/* The maximum number of bytes that an agent can have written but not sent. The default is 4 MiB;
 * fuzz targets set a smaller value. */
extern size_t fixture_ring_bytes;

/* The simulated cost of each handshake step. The default is 0. */
extern uint64_t fixture_handshake_ns;
/* Returns the time that measures what handshakes cost. Each call advances it by
 * fixture_handshake_ns. */
uint64_t fixture_clock_ns(void);

/* Make the certificates, once per process. */
void fixture_start(void);
void fixture_end(void);

/* Set up a gateway with a fresh journal. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Connect @a to the gateway. @context is f->alpha or f->beta. If the gateway accepts the
 * connection, the TLS handshake is complete on return. */
void agent_open(struct agent *a, struct fixture *f, struct wire_tls_context *context);
/* Connect like agent_open(), but from @peer ("ADDRESS:PORT"). */
void agent_open_from(struct agent *a, struct fixture *f, struct wire_tls_context *context,
		     const char *peer);
void agent_close(struct agent *a);

/* Returns the last journal entry of @vm, or NULL. Valid until the next append. */
const struct vm_journal_entry *fixture_journaled(const struct fixture *f, const char *vm);

/* Serve the timeouts that are due at f->now_ns, as main does. */
void fixture_tick(struct fixture *f);

/* Serve all given agents: move bytes in both directions, and run every session that has work, until
 * nothing is left to move. */
void fixture_pump(struct agent *const *agents, size_t n_agents);

/* Send one frame with a correct checksum. */
void agent_send(struct agent *a, const struct wire_header *h, const uint8_t *payload, size_t size);
void agent_hello(struct agent *a, uint8_t kind, uint8_t role, uint64_t term, uint64_t epoch);

/* Take the next received frame of @type, and drop the frames before it. Returns true if there was
 * one. Its payload is valid until the next call. */
bool agent_take(struct agent *a, uint8_t type, struct wire_frame *ret_frame);

#endif
