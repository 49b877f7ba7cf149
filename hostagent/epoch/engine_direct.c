/* Streams to the VM's other host when there is no gateway; see docs/wire-format.md 6.4
 * and engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervision/gateway_view.h"
#include "peer/agree.h"

#define BEAT_NS	     (100 * CLOCK_NS_PER_MS)
#define GATEWAY_NS   CLOCK_NS_PER_S /* if the gateway has been silent for longer than this, do not
				     * connect to it */

void engine_go_direct(struct engine *engine, uint64_t term, uint64_t claimed_ns, uint8_t peer)
{
	atomic_store(&engine->direct.claimed_peer, peer);
	atomic_store(&engine->direct.claimed_ns, claimed_ns);
	/* The engine's thread sees the new term at its next turn: after ENGINE_PUBLISH_NS at most,
	 * or after 10 ms (LOOK_NS of engine_lease.c) while this host must not speak for the
	 * guest. */
	atomic_store(&engine->direct.term, term);
}

static void enter(struct engine *e, uint64_t term)
{
	const char *peer_name;

	e->direct.peer = atomic_load(&e->direct.claimed_peer);
	peer_name = e->config.peers[e->direct.peer].name;
	engine_stream_close(e, "the gateway is lost");
	log_warn("vm=%s term=%" PRIu64 " -> %" PRIu64 " epoch=%" PRIu64
		 " without a gateway: %s agreed, streaming to it",
		 e->config.vm, e->term, term, e->epochs.next, peer_name);
	e->term = term;
	engine_disks_term(e);
	lease_enter(&e->lease.lease, term, atomic_load(&e->direct.claimed_ns), AGREE_LEASE_MS);
	engine_set_direct(e, DIRECT_PEER_NEXT, "");
	e->stream.connect_at_ns = 0;
	e->stream.backoff = 0;
	pthread_mutex_lock(&e->status_lock);
	e->status.term = term;
	pthread_mutex_unlock(&e->status_lock);
	engine_set_state(e, e->status.state, "no gateway; going on with %s in term %" PRIu64,
			 peer_name, term);
}

static void beat(struct engine *e, uint64_t now_ns)
{
	const struct wire_header header = {.type = WIRE_BEAT, .term = e->term};
	uint8_t payload[8];
	struct iovec piece = {payload, sizeof(payload)};

	if (!engine_stream_is_direct(&e->stream) || now_ns < e->direct.beat_ns + BEAT_NS)
		return;
	e->direct.beat_boot_ns = clock_boot_ns();
	bytes_put_be64(payload, e->direct.beat_boot_ns);
	/* Ignore errors. If the queue is full, a later BEAT will be sent. A dead link is noticed by
	 * engine_stream_receive(). */
	if (link_send(e->stream.link, &header, &piece, 1) == 0)
		e->direct.beat_ns = now_ns;
}

void engine_direct_tick(struct engine *e)
{
	uint64_t term = atomic_load(&e->direct.term);

	if (term > e->term)
		enter(e, term);
	if (e->direct.condition != DIRECT_OFF)
		beat(e, clock_mono_ns());
}

bool engine_direct_is_next(struct engine *e)
{
	if (e->direct.condition == DIRECT_OFF)
		return false;
	return e->direct.condition == DIRECT_PEER_NEXT ||
	       gateway_view_silence_ns(e->config.view, clock_mono_ns()) > GATEWAY_NS;
}

void engine_direct_connected(struct engine *e, bool is_peer, int result)
{
	if (e->direct.condition == DIRECT_OFF)
		return;
	e->direct.beat_ns = 0; /* send a BEAT at once, because it asks the other host to take
				* the stream */
	/* Try the gateway and the other host alternately, until one of them takes the stream. */
	if (is_peer) {
		engine_set_direct(e, DIRECT_GATEWAY_NEXT, "");
	} else if (result < 0) {
		engine_set_direct(e, DIRECT_PEER_NEXT, "");
	} else {
		engine_set_direct(e, DIRECT_OFF, "");
		log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64
			 " the gateway takes the stream again",
			 e->config.vm, e->term, e->epochs.next);
	}
}

uint64_t engine_direct_wake_ns(const struct engine *e)
{
	return engine_stream_is_direct(&e->stream) ? e->direct.beat_ns + BEAT_NS : UINT64_MAX;
}

static int on_lease(struct engine *e, const struct wire_frame *frame)
{
	struct wire_lease lease;

	if (wire_lease_decode(frame, &lease, NULL) < 0 || strcmp(lease.vm, e->config.vm) != 0)
		return -EPROTO;
	return lease_renew(&e->lease.lease, frame->h.term, lease.beat_ns, lease.lease_ms,
			   lease.release_ms, e->direct.beat_boot_ns) < 0
		       ? -EPROTO
		       : 0;
}

int engine_direct_frame(struct engine *e, const struct wire_frame *frame)
{
	switch (frame->h.type) {
	case WIRE_LEASE:
		return on_lease(e, frame);
	case WIRE_EPOCH_ACK: /* without a gateway, an epoch is committed as soon as the other host
			      * has it */
		if (wire_empty_decode(frame, NULL) < 0)
			return -EPROTO;
		engine_committed(e, frame->h.epoch);
		return 0;
	default:
		return -ENOENT;
	}
}
