/* gateway_fixture.h - a gateway without any network: sessions driven over memory, agents scripted.
 *
 * Where: test_session.c, test_control.c, fuzz_session.c, fuzz_control.c. One VM, web1, on alpha and
 * beta; certificates and the journal in a temporary directory. Failures of the fixture itself
 * abort. Threads: one, one fixture at a time.
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
	uint64_t lacks[3]; /* by role: features that the HELLO of its stream leaves out */
};

/* The agent's end of one session. */
struct agent {
	struct fixture *f;
	struct session *session; /* NULL: ended */
	struct wire_tls *tls;
	bool deaf;		 /* does not read what the gateway sends */
	size_t piece;		 /* bytes moved at a time; 0: all there are */
	uint8_t *in;		 /* plaintext received, whole and cut frames */
	size_t n_in, in_size;
	size_t n_untaken;	 /* ciphertext that the session would not take */
	uint8_t *untaken;
};

/* How many bytes an agent can have written but not sent: 4 MiB unless set (fuzzing sets less). */
extern size_t fixture_ring_bytes;

/* The pretended cost of each handshake step: 0 unless set. */
extern uint64_t fixture_handshake_ns;
/* The clock by which handshakes are charged: it moves by that much with each call. */
uint64_t fixture_clock_ns(void);

/* Process-wide: certificates. */
void fixture_start(void);
void fixture_end(void);

/* A gateway with a fresh journal. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Connect. @context: f->alpha or f->beta. TLS is done on return when the gateway accepts. */
void agent_open(struct agent *a, struct fixture *f, struct wire_tls_context *context);
/* The same from "ADDRESS:PORT". */
void agent_open_from(struct agent *a, struct fixture *f, struct wire_tls_context *context,
		     const char *peer);
void agent_close(struct agent *a);

/* Serve the timeouts that are due at f->now_ns, as main does. */
void fixture_tick(struct fixture *f);

/* Move bytes both ways, and run every session that has work, until nothing moves. All given agents
 * are served. */
void fixture_pump(struct agent *const *agents, size_t n_agents);

/* Send one frame with a right checksum. */
void agent_send(struct agent *a, const struct wire_header *h, const uint8_t *payload, size_t size);
void agent_hello(struct agent *a, uint8_t kind, uint8_t role, uint64_t term, uint64_t epoch);

/* Take the next received frame of @type, dropping those before it. True: there was one. Its payload
 * is valid until the next call. */
bool agent_take(struct agent *a, uint8_t type, struct wire_frame *ret_frame);

#endif
