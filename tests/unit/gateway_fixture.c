#include "gateway_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "mint_certs.h"

static char *cert_dir;
static struct wire_tls_context *contexts[3];
size_t fixture_ring_bytes = 4 << 20;
uint64_t fixture_handshake_ns;

/* Each call advances the clock by fixture_handshake_ns, so that the tests do not depend on the
 * machine's speed. */
uint64_t fixture_clock_ns(void)
{
	static uint64_t now_ns;

	return now_ns += fixture_handshake_ns;
}

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "gateway_fixture: %s\n", what);
	abort();
}

void fixture_start(void)
{
	struct mint_ca *ca = mint_ca_new("test CA");

	/* Every gateway calls fsync() for its journal, which on a busy disk would take most of a
	 * test's time. So use a tmpfs if there is one. */
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
	cert_dir = mint_dir_new();
	mint_ca_write(ca, cert_dir, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, cert_dir, "gw");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/alpha"}, cert_dir, "alpha");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://host/beta"}, cert_dir, "beta");
	mint_ca_free(ca);
	contexts[0] = mint_context(cert_dir, "ca", "gw", WIRE_TLS_SERVER);
	contexts[1] = mint_context(cert_dir, "ca", "alpha", WIRE_TLS_CLIENT);
	contexts[2] = mint_context(cert_dir, "ca", "beta", WIRE_TLS_CLIENT);
}

void fixture_end(void)
{
	for (size_t i = 0; i < 3; i++)
		contexts[i] = wire_tls_context_free(contexts[i]);
	mint_dir_remove(cert_dir);
}

void fixture_open(struct fixture *f)
{
	struct fleet_config config = {.first_order_id = 100};
	const struct session_config connections = {
		.tls = contexts[0], .relay_bytes_max = 262144, .beat_timeout_ns = 500 * MS,
		.handshake_timeout_ns = 1000 * MS, .idle_timeout_ns = 10000 * MS,
		.n_sessions_max = 8, .n_handshakes_max = 4, .clock_ns = fixture_clock_ns,
	};
	struct vm_config vm = {
		.name = "web1", .host = {"alpha", "beta"},
		.liveness = {500 * MS, 3000 * MS},
		.detector = {.suspect_min_ns = 80 * MS, .progress_min_ns = 300 * MS,
			     .confirm_ns = 120 * MS, .beat_timeout_ns = 500 * MS,
			     .patience_ns = 3000 * MS, .restart_grace_ns = 3000 * MS},
		.standby_timeout_ns = 5000 * MS, .order_timeout_ns = 30000 * MS,
		.held_copy_max_ns = 20000 * MS, .answer_within_ns = 5000 * MS,
	};
	struct error error;

	memset(f, 0, sizeof(*f));
	f->server = contexts[0];
	f->alpha = contexts[1];
	f->beta = contexts[2];
	f->now_ns = 1000 * MS;
	f->dir = mint_dir_new();
	must(vm_journal_open(f->dir, &f->journal, &error) == 0, "journal");
	config.journal = f->journal;
	must(fleet_new(&config, &f->fleet) == 0, "gateway");
	must(fleet_add_vm(f->fleet, &vm, vm_journal_get_table(f->journal), f->now_ns, &error) == 0,
	     "VM");
	must(sessions_new(&connections, f->fleet, f->now_ns, &f->sessions) == 0, "sessions");
}

void fixture_close(struct fixture *f)
{
	must(!f->sessions->all, "sessions left");
	sessions_free(f->sessions);
	fleet_free(f->fleet);
	vm_journal_close(f->journal);
	mint_dir_remove(f->dir);
}

void agent_open(struct agent *a, struct fixture *f, struct wire_tls_context *context)
{
	agent_open_from(a, f, context, "agent");
}

void agent_open_from(struct agent *a, struct fixture *f, struct wire_tls_context *context,
		     const char *peer)
{
	struct agent *one[] = {a};

	memset(a, 0, sizeof(*a));
	a->f = f;
	must(wire_tls_new(context, WIRE_PEER_GATEWAY, fixture_ring_bytes, &a->tls) == 0,
	     "agent's TLS");
	must(session_new(f->sessions, peer, a, f->now_ns, &a->session) == 0, "session");
	(void)!wire_tls_handshake(a->tls); /* fixture_pump() continues the handshake */
	fixture_pump(one, 1);
}

void agent_close(struct agent *a)
{
	if (a->session)
		a->session = session_free(a->session, a->f->now_ns);
	a->tls = wire_tls_free(a->tls);
	free(a->in);
	free(a->untaken);
	a->in = a->untaken = NULL;
}

/* Pass the agent's ciphertext to the session. Keep the bytes that the session does not accept, and
 * offer them again later. Returns true if any bytes were moved. */
static bool give(struct agent *a)
{
	size_t size, n;
	const uint8_t *data;
	bool moved = false;

	if (a->n_untaken > 0) {
		n = session_input(a->session, a->untaken, a->n_untaken, a->f->now_ns);
		memmove(a->untaken, a->untaken + n, a->n_untaken - n);
		a->n_untaken -= n;
		return n > 0;
	}
	while ((data = wire_tls_output(a->tls, &size)), size > 0) {
		if (a->piece && size > a->piece)
			size = a->piece;
		n = session_input(a->session, data, size, a->f->now_ns);
		if (n < size) {
			a->untaken = realloc(a->untaken, size - n);
			memcpy(a->untaken, data + n, size - n);
			a->n_untaken = size - n;
		}
		wire_tls_output_consume(a->tls, size);
		moved = true;
		if (n < size)
			break;
	}
	return moved;
}

static void read_plain(struct agent *a)
{
	for (;;) {
		int r;

		if (a->in_size - a->n_in < 32768)
			a->in = realloc(a->in, a->in_size = a->in_size ? 2 * a->in_size : 65536);
		must(a->in != NULL, "memory");
		r = wire_tls_read(a->tls, a->in + a->n_in, a->in_size - a->n_in);
		if (r <= 0)
			return;
		a->n_in += (size_t)r;
	}
}

static bool take(struct agent *a)
{
	size_t size, n;
	const uint8_t *data;
	bool moved = false;

	if (a->deaf)
		return false;
	while ((data = session_output(a->session, &size)), size > 0) {
		if (a->piece && size > a->piece)
			size = a->piece;
		n = wire_tls_input(a->tls, data, size);
		session_output_consume(a->session, n);
		read_plain(a);
		moved = moved || n > 0;
		if (n == 0)
			break;
	}
	return moved;
}

const struct vm_journal_entry *fixture_journaled(const struct fixture *f, const char *vm)
{
	return vm_journal_table_find(vm_journal_get_table(f->journal), vm);
}

void fixture_tick(struct fixture *f)
{
	if (f->now_ns >= sessions_deadline_ns(f->sessions))
		sessions_tick(f->sessions, f->now_ns);
	if (f->now_ns >= fleet_deadline_ns(f->fleet, f->now_ns))
		fleet_tick(f->fleet, f->now_ns);
}

void fixture_pump(struct agent *const *agents, size_t n_agents)
{
	struct session *s;
	bool moved;

	do {
		moved = false;
		for (size_t i = 0; i < n_agents; i++) {
			if (!agents[i]->session)
				continue;
			moved |= give(agents[i]);
			moved |= take(agents[i]);
		}
		while (n_agents && (s = session_take_dirty(agents[0]->f->sessions)) != NULL) {
			size_t size;
			struct agent *a = s->conn;

			(void)!session_input(s, NULL, 0, a->f->now_ns);
			(void)session_output(s, &size);
			moved |= size > 0 && !a->deaf && a->session;
			if (session_is_done(s)) {
				(void)take(a);
				a->session = session_free(s, a->f->now_ns);
				moved = true;
			}
		}
	} while (moved);
}

void agent_send(struct agent *a, const struct wire_header *h, const uint8_t *payload, size_t size)
{
	uint8_t head[WIRE_HEADER_SIZE];
	const struct iovec piece = {(void *)payload, size};
	struct wire_header with_size = *h;

	with_size.payload_size = (uint32_t)size;
	if (wire_frame_seal(head, &with_size, &piece, size ? 1 : 0) < 0)
		return; /* the format forbids this header; fuzz_frame covers such headers */
	(void)!wire_tls_write(a->tls, head, sizeof(head));
	(void)!wire_tls_write(a->tls, payload, size);
}

void agent_hello(struct agent *a, uint8_t kind, uint8_t role, uint64_t term, uint64_t epoch)
{
	const struct wire_header h = {.type = WIRE_HELLO, .term = term, .epoch = epoch};
	uint8_t payload[256];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_hello hello;

	wire_hello_init(&hello, kind, role, kind == WIRE_KIND_CONTROL ? "" : "web1");
	hello.features_optional &= ~a->f->lacks[role];
	must(wire_hello_encode(&hello, &w) == 0, "HELLO");
	agent_send(a, &h, payload, (size_t)(w.at - payload));
}

bool agent_take(struct agent *a, uint8_t type, struct wire_frame *ret_frame)
{
	static uint8_t kept[WIRE_FRAME_MAX];
	const uint8_t *at = a->in;
	bool found = false;

	while (!found && wire_frame_decode(&at, a->in + a->n_in, ret_frame, NULL) == 0) {
		if (ret_frame->h.type != type)
			continue;
		memcpy(kept, ret_frame->payload, ret_frame->h.payload_size);
		ret_frame->payload = kept;
		found = true;
	}
	memmove(a->in, at, (size_t)(a->in + a->n_in - at));
	a->n_in -= (size_t)(at - a->in);
	return found;
}
