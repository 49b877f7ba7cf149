/* fuzz_peer.c - sends a standby any sequence of frames over peer connections (docs/wire-format.md
 * 6.4). The sender claims to be the VM's primary. It sends CLAIMs and a stream without a gateway.
 *
 * The standby's own code runs in this thread, on links over socket pairs. TLS and checksums are
 * right, but the frames' order and content are arbitrary.
 *
 * The input is one byte (enum stage), then frames as on the wire. This file corrects their sizes
 * and checksums. A frame of type 0 is not sent: its flags say what to do instead (enum act).
 *
 * The target checks:
 * - The standby does not crash.
 * - The standby votes only when the rules allow it, and only for the term that it is asked for. It
 *   stores its vote.
 * - A promoted copy never changes.
 * - Every answer is of a kind that a standby may send, and is true at that moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervision/gateway_view.h"
#include "bare_standby.h"
#include "mint_certs.h"
#include "peer/agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A run spends most of its time on memory for OpenSSL and the links. ASan's default quarantine
 * would make every allocation use fresh memory, and recording full stacks would double the time. To
 * see full stacks, set ASAN_OPTIONS=malloc_context_size=30. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4:malloc_context_size=2";
}

/* The standby's state before the first frame, as bits of the input's first byte. */
enum stage {
	STAGE_POLICY   = 0x03, /* these two bits choose an enum agree_policy */
	STAGE_HEARD    = 0x04, /* the standby has just heard from the gateway */
	STAGE_PROMOTED = 0x08,
	STAGE_GATEWAY  = 0x10, /* the standby has a stream to the gateway */
	STAGE_VOTED    = 0x20, /* the standby has voted for the direct path */
	STAGE_EMPTY    = 0x40, /* the standby has no complete epoch */
	STAGE_IDLE     = 0x80, /* this host does not stand by for the VM */
};

enum act {
	/* open a new connection and send a HELLO with the header's term; the previous
	 * connection stays open */
	ACT_CONNECT = 1,
	ACT_OTHER   = 2, /* from now on, send on the other of the two connections */
	ACT_CLOSE   = 3,
};

#define HELD	  2u /* the standby's last complete epoch */
#define PRIMARIES 2
#define SENT_MAX  49152u /* largest payload sent; fits into a TLS ring */
#define CONNECTIONS_MAX 5 /* limit per input: a handshake takes as long as 50 frames */

/* The primary's end of a connection. */
struct primary {
	int fd; /* -1: closed */
	struct wire_tls *tls;
	uint8_t bytes[WIRE_FRAME_MAX]; /* received answers */
	size_t size;
};

static struct wire_tls_context *agent, *server;
static struct bare_standby x;
static struct standby *const sb = &x.sb;
static struct gateway_view view;
static int gateway_fd; /* the gateway's end of the standby's stream; -1: there is none */
static struct primary primaries[PRIMARIES], *at;
static struct ramfile_meta before; /* the standby's state before the last frame was sent */
static uint64_t complete_before;
static unsigned n_connections;

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			abort();                                                                   \
	} while (0)

/* ---- connections */

static void hang_up(struct primary *p)
{
	p->tls = wire_tls_free(p->tls);
	fd_close(p->fd);
	p->fd = -1;
	p->size = 0;
}

/* Carry pending bytes in both directions, as far as possible without waiting. */
static void carry(struct primary *p)
{
	const uint8_t *out;
	uint8_t *in;
	size_t size;
	ssize_t n = 0;

	if (p->fd < 0)
		return;
	while ((out = wire_tls_output(p->tls, &size)), size > 0) {
		n = send(p->fd, out, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			break;
		wire_tls_output_consume(p->tls, (size_t)n);
	}
	while ((in = wire_tls_input_reserve(p->tls, &size)), size > 0) {
		n = recv(p->fd, in, size, MSG_DONTWAIT);
		if (n <= 0)
			break;
		wire_tls_input_commit(p->tls, (size_t)n);
	}
}

static void connect_again(uint64_t term)
{
	struct wire_frame frame;
	struct link *link;
	int fds[2];

	n_connections++;
	at = at == &primaries[0] ? &primaries[1] : &primaries[0];
	hang_up(at);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	at->fd = fds[1];
	must(wire_tls_new(server, WIRE_PEER_HOST, WIRE_TLS_OUTPUT_MIN, &at->tls) == 0);
	must(link_open_fd(fds[0], agent, 1, &link) == 0);
	while (!wire_tls_is_established(at->tls) || !link_peer(link)) {
		must(link_receive(link, &frame) == -EAGAIN);
		carry(at);
		(void)!wire_tls_handshake(at->tls);
		carry(at);
	}
	/* Do what peer/server.c does after a good HELLO. */
	link_set_sender(link, WIRE_SENDER_PEER_PRIMARY);
	standby_take_peer(sb, link, term, WIRE_VERSION, WIRE_FEATURES);
}

/* ---- what must be true */

static bool may_vote(const struct wire_header *sent)
{
	return sent && sent->type == WIRE_CLAIM && sent->term == before.term + 1 &&
	       before.phase == RAMFILE_COPY && sb->config.gateway_lost != AGREE_HOLD &&
	       gateway_view_silence_ns(&view, clock_mono_ns()) >= sb->config.gateway_lost_ns &&
	       (sb->config.gateway_lost != AGREE_DIRECT || complete_before >= sent->epoch);
}

/* Check the standby's state. @sent is the frame just sent, or NULL if none was sent. */
static void check_state(const struct wire_header *sent)
{
	const struct ramfile_meta *meta = &sb->rf.meta;

	must(meta->phase == before.phase);
	if (meta->term != before.term)
		must(may_vote(sent) && meta->term == sent->term &&
		     (int)meta->vote == (int)sb->config.gateway_lost);
	else
		must(meta->vote == before.vote);
	if (meta->phase != RAMFILE_COPY)
		must(memcmp(meta, &before, sizeof(before)) == 0);
	if (meta->vote != RAMFILE_VOTE_UNPROTECTED)
		must(epochlog_complete(&sb->log) >= complete_before);
	must(!sb->is_direct || (sb->link && meta->vote == RAMFILE_VOTE_DIRECT));
}

static void check_answer(const struct wire_frame *f)
{
	const struct ramfile_meta *meta = &sb->rf.meta;
	struct wire_welcome welcome;
	struct wire_failure failure;
	struct wire_lease lease;
	struct wire_vote vote;

	switch (f->h.type) {
	case WIRE_WELCOME:
		must(wire_welcome_decode(f, &welcome, NULL) == 0);
		return;
	case WIRE_REFUSED:
	case WIRE_STREAM_ERROR:
		must(wire_failure_decode(f, &failure, NULL) == 0);
		return;
	case WIRE_VOTE:
		must(wire_vote_decode(f, &vote, NULL) == 0);
		if (vote.answer)
			must(meta->term == f->h.term && meta->phase == RAMFILE_COPY &&
			     (int)meta->vote == (int)sb->config.gateway_lost);
		return;
	case WIRE_LEASE:
		must(wire_lease_decode(f, &lease, NULL) == 0 && sb->granted_ns);
		break;
	case WIRE_EPOCH_ACK:
		must(f->h.epoch <= epochlog_complete(&sb->log));
		break;
	default:
		must(f->h.type == WIRE_RESUME && f->h.epoch <= epochlog_complete(&sb->log));
	}
	/* All other answers belong to a stream, and only a vote for the direct path allows a
	 * stream. */
	must(f->h.term == meta->term && meta->vote == RAMFILE_VOTE_DIRECT &&
	     meta->phase == RAMFILE_COPY);
}

static void take_answers(struct primary *p)
{
	int r = p->fd < 0 ? -EPIPE : 1;

	while (r > 0) {
		const uint8_t *next = p->bytes, *end;
		struct wire_frame frame;

		r = wire_tls_read(p->tls, p->bytes + p->size, sizeof(p->bytes) - p->size);
		if (r > 0)
			p->size += (size_t)r;
		end = p->bytes + p->size;
		while (wire_frame_decode(&next, end, &frame, NULL) == 0)
			check_answer(&frame);
		p->size = (size_t)(end - next);
		memmove(p->bytes, next, p->size);
	}
	if (r != -EAGAIN)
		hang_up(p);
}

/* Do the work of the standby's thread until no work is left. */
static void keep(const struct wire_header *sent)
{
	for (unsigned i = 0; i < 16; i++) {
		bool waits = at->fd >= 0 && wire_tls_output_pending(at->tls) > 0;

		for (size_t j = 0; j < PRIMARIES; j++)
			carry(&primaries[j]);
		standby_peer_take(sb);
		standby_peer_run(sb);
		while (standby_stream_run(sb))
			;
		check_state(sent);
		for (size_t j = 0; j < PRIMARIES; j++) {
			carry(&primaries[j]);
			take_answers(&primaries[j]);
		}
		if (!waits)
			break;
	}
	before = sb->rf.meta;
	complete_before = epochlog_complete(&sb->log);
}

/* ---- input */

static void set_stage(uint8_t stage)
{
	struct ramfile_meta *meta = &sb->rf.meta;
	int fds[2];

	gateway_fd = -1;
	sb->config.host = "beta";
	sb->config.view = &view;
	sb->config.gateway_lost = (stage & STAGE_POLICY) % 3;
	sb->config.gateway_lost_ns = CLOCK_NS_PER_S;
	atomic_store(&view.seen_ns,
		     (stage & STAGE_HEARD) ? clock_mono_ns() + 1000 * CLOCK_NS_PER_S : 1);
	sb->state = (stage & STAGE_IDLE) ? STANDBY_STATE_IDLE : STANDBY_STATE_READY;
	if (stage & STAGE_VOTED)
		meta->vote = RAMFILE_VOTE_DIRECT;
	if (stage & STAGE_PROMOTED)
		meta->phase = RAMFILE_PROMOTED;
	bare_standby_hold(&x, (stage & STAGE_EMPTY) ? 0 : HELD);
	if (stage & STAGE_GATEWAY) {
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
		must(link_open_fd(fds[0], agent, 1, &sb->link) == 0);
		gateway_fd = fds[1]; /* the gateway's end sends nothing */
	}
	before = *meta;
	complete_before = epochlog_complete(&sb->log);
}

static void act(const struct wire_header *h)
{
	if (h->flags == ACT_CONNECT && n_connections < CONNECTIONS_MAX)
		connect_again(h->term);
	else if (h->flags == ACT_OTHER)
		at = at == &primaries[0] ? &primaries[1] : &primaries[0];
	else if (h->flags == ACT_CLOSE)
		hang_up(at);
	keep(NULL);
}

/* Send the frame at the start of @data. Returns how many bytes of the input it takes. */
static size_t feed_one(const uint8_t *data, size_t left)
{
	static uint8_t frame[WIRE_FRAME_MAX];
	struct wire_header h = {.type = data[0],
				.flags = data[1],
				.seq = bytes_get_be32(data + 24),
				.generation = bytes_get_be32(data + 28),
				.term = bytes_get_be64(data + 8),
				.epoch = bytes_get_be64(data + 16)};
	struct iovec piece = {frame + WIRE_HEADER_SIZE, bytes_get_be32(data + 4)};

	if (h.type == 0) {
		act(&h);
		return WIRE_HEADER_SIZE;
	}
	if (piece.iov_len > left - WIRE_HEADER_SIZE)
		piece.iov_len = left - WIRE_HEADER_SIZE;
	if (piece.iov_len > SENT_MAX)
		piece.iov_len = SENT_MAX;
	memcpy(frame, data, WIRE_HEADER_SIZE + piece.iov_len);
	bytes_put_be32(frame + 4, (uint32_t)piece.iov_len);
	/* Bytes that are not a frame are sent unchanged: the link must refuse them. */
	(void)!wire_frame_seal(frame, &h, &piece, piece.iov_len ? 1 : 0);
	if (at->fd >= 0)
		(void)!wire_tls_write(at->tls, frame, WIRE_HEADER_SIZE + piece.iov_len);
	keep(&h);
	return WIRE_HEADER_SIZE + piece.iov_len;
}

static void end(void)
{
	wire_tls_context_free(agent);
	wire_tls_context_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (!agent) {
		log_set_level(LOG_LEVEL_ERROR);
		mint_two(&agent, &server);
		atexit(end);
	}
	bare_standby_open(&x);
	for (size_t i = 0; i < PRIMARIES; i++)
		primaries[i] = (struct primary){.fd = -1};
	at = primaries;
	n_connections = 0;
	set_stage(data[0]);
	connect_again(BARE_STANDBY_TERM);
	keep(NULL);
	for (size_t i = 1; i + WIRE_HEADER_SIZE <= size;)
		i += feed_one(data + i, size - i);
	/* After a restart, the standby still knows its term, vote and epochs. */
	bare_standby_reopen(&x);
	must(sb->rf.meta.term == before.term && sb->rf.meta.vote == before.vote &&
	     sb->rf.meta.phase == before.phase && epochlog_complete(&sb->log) == complete_before);
	for (size_t i = 0; i < PRIMARIES; i++)
		hang_up(&primaries[i]);
	fd_close(gateway_fd);
	bare_standby_close(&x);
	return 0;
}
