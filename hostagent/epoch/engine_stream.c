/* Runs the engine's stream to the gateway or to the other host; see engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "supervision/gateway_view.h"

#define STALL_NS	   CLOCK_NS_PER_S
#define WAIT_NS		   (100 * CLOCK_NS_PER_MS) /* longest single wait for the link or for
						    * other threads */
#define GEOMETRY_FRAME_MAX 32768 /* a GEOMETRY is smaller than 20 KiB: wire/limits.h */

void engine_stream_close(struct engine *e, const char *why)
{
	const char *peer = engine_stream_is_direct(&e->stream) ? "other host" : "gateway";

	if (e->stream.condition == STREAM_NONE)
		return;
	/* Use @why before link_free(), because the text may belong to the link. */
	engine_set_state(e, engine_is_holding(e) ? WIRE_STATE_SYNCING : WIRE_STATE_ATTACHING,
			 "stream to the %s lost: %s", peer, why);
	log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " stream to the %s lost: %s",
		    e->config.vm, e->epochs.next, peer, why);
	e->stream.link = link_free(e->stream.link);
	engine_set_stream(e, STREAM_NONE, "");
	e->figures.n_reconnects++;
	redial_lost(&e->stream.redial, clock_mono_ns());
	e->stream.connect_at_ns = clock_mono_ns() + ENGINE_RECONNECT_NS;
	pacer_link(&e->epochs.pacer, clock_mono_ns(), 0, 0);
	if (engine_throttle_end(e) < 0)
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s a vCPU waits in the kernel, ignoring: it is let go "
			    "when it comes back",
			    e->config.vm);
}

/* Use @features from now on. Called only between two epochs, because connections are made
 * only then. */
static void use_features(struct engine *e, uint64_t features)
{
	uint64_t deltas = features & e->config.codec;

	if (deltas == 0)
		deltas = WIRE_FEATURE_XRLE; /* every stream of this version supports XRLE */
	if (!encoder_can_resend(e->epochs.encoder, features))
		engine_lose_sync(e, "the other end cannot read what was encoded");
	encoder_set_features(e->epochs.encoder, deltas);
	e->stream.features = features;
	stage_connected(&e->stream.stage, features & WIRE_FEATURE_LZ4);
	encoder_set_second_stage(e->epochs.encoder, stage_is_on(&e->stream.stage));
	if (!engine_disks_may_stream(e))
		engine_set_state(e, e->status.state,
				 "the other end takes no disks: update the gateway and the "
				 "standby's agent");
}

uint64_t engine_stream_waiting(const struct engine *e)
{
	struct link_backlog backlog = {0};

	if (e->stream.link)
		link_get_backlog(e->stream.link, &backlog);
	return backlog.waiting_bytes + retain_unsent_bytes(e->epochs.retain);
}

/* Connect again if the stream's TCP is stuck although leases arrive in time on the control
 * connection. Perhaps the network loses only the stream's packets, or TCP waits long between
 * retransmissions. A new connection costs less time than to wait
 * (docs/decisions/0041-stream-tcp.md). */
void engine_stream_watch(struct engine *e)
{
	struct link_backlog backlog = {0};
	uint64_t now_ns = clock_mono_ns();

	if (engine_stream_is_resumed(&e->stream))
		link_get_backlog(e->stream.link, &backlog);
	if (backlog.waiting_bytes == 0 || backlog.drained_bytes != e->stream.drained_bytes ||
	    !engine_may_release(e)) {
		e->stream.drained_bytes = backlog.drained_bytes;
		e->stream.drained_at_ns = now_ns;
		return;
	}
	if (now_ns - e->stream.drained_at_ns < STALL_NS || !link_is_repeating(e->stream.link))
		return;
	engine_stream_close(e, "nothing was acknowledged for a second; beginning anew");
	e->stream.connect_at_ns = 0;
}

void engine_stream_measure(struct engine *e)
{
	struct encoder_counts counts;
	struct link_backlog backlog;
	struct stage_sample sample = {.now_ns = clock_mono_ns()};

	if (!e->stream.link || !stage_wants(&e->stream.stage, sample.now_ns))
		return;
	encoder_get_counts(e->epochs.encoder, &counts);
	link_get_backlog(e->stream.link, &backlog);
	sample.waiting_bytes = backlog.waiting_bytes + retain_unsent_bytes(e->epochs.retain);
	sample.drained_bytes = backlog.drained_bytes;
	sample.plain_bytes = counts.packing.plain_bytes;
	sample.in_bytes = counts.packing.in_bytes;
	sample.out_bytes = counts.packing.out_bytes;
	sample.spent_ns = counts.packing.spent_ns;
	stage_update(&e->stream.stage, &sample);
	pacer_link(&e->epochs.pacer, sample.now_ns, sample.waiting_bytes, e->stream.stage.rate);
	encoder_set_second_stage(e->epochs.encoder, stage_is_on(&e->stream.stage));
}

/* Does this host obey the gateway that sent @welcome? If so, returns 0. If not, returns -EAGAIN:
 * the control connection does not obey that gateway yet, or obeys a younger one. */
static int check_gateway(struct engine *e, const struct wire_welcome *welcome)
{
	char text[WIRE_TEXT_MAX + 1];

	uint64_t until_ns = clock_mono_ns() + GATEWAY_VIEW_AWAIT_NS;

	e->stream.incarnation = welcome->incarnation;
	if (gateway_view_await(e->config.view, e->stream.incarnation,
			       engine_lease_bound_ns(e, until_ns)))
		return 0;
	wire_text_format(
		text, "gateway %s is incarnation %" PRIu64 ", which this host does not obey (yet)",
		welcome->gateway, welcome->incarnation);
	log_limited(LOG_LEVEL_WARN, "vm=%s stream: %s", e->config.vm, text);
	engine_set_state(e, e->status.state, "stream: %s", text);
	return -EAGAIN;
}

/* Report that the other end refused the stream. @r: the error of link_handshake(). */
static void refused(struct engine *e, const struct link *link, int r)
{
	const char *why = *link_error(link) ? link_error(link) : strerror(-r);

	if (link_refused_code(link) == WIRE_REFUSED_STALE_TERM)
		engine_outvoted(e, link_error(link));
	log_limited(LOG_LEVEL_WARN, "vm=%s stream refused: %s", e->config.vm, why);
	engine_set_state(e, e->status.state, "stream: %s", why);
}

/* Try to connect once. After a failure the caller tries again, with growing waits.
 * *ret_was_reached: the other end's TCP was reached. */
static int connect_once(struct engine *e, bool *ret_was_reached)
{
	bool is_peer = engine_direct_is_next(e);
	const struct engine_peer *peer = &e->config.peers[e->direct.peer];
	struct link_config config = {
		.address = is_peer ? peer->address : e->config.gateway_address,
		.port = is_peer ? peer->port : e->config.gateway_port,
		.peer_name = is_peer ? peer->name : NULL,
		.tls = e->config.tls,
		.connect_by_ns = redial_connect_by_ns(&e->stream.redial, clock_mono_ns()),
	};
	struct wire_hello hello;
	struct wire_welcome welcome;
	struct link *link;
	int r = is_peer ? -ENOTCONN : engine_aside_link(e, &link, &welcome);

	if (r < 0) {
		r = link_open(&config, &link);
		if (r < 0) {
			log_limited(LOG_LEVEL_WARN, "vm=%s %s:%u: %s", e->config.vm, config.address,
				    config.port, strerror(-r));
			engine_direct_connected(e, is_peer, r);
			return r;
		}
		wire_hello_init(&hello, is_peer ? WIRE_KIND_PEER : WIRE_KIND_STREAM,
				WIRE_VM_ROLE_PRIMARY, e->config.vm);
		r = link_handshake(link, &hello, e->term, 0,
				   engine_lease_bound_ns(e, clock_mono_ns() + ENGINE_HANDSHAKE_NS),
				   &welcome);
	}
	engine_direct_connected(e, is_peer, r);
	*ret_was_reached = link_was_reached(link);
	if (r < 0)
		refused(e, link, r);
	else if (!is_peer)
		r = check_gateway(e, &welcome);
	if (r < 0) {
		link_free(link);
		return r;
	}
	e->stream.link = link;
	engine_set_stream(e, is_peer ? STREAM_DIRECT : STREAM_GATEWAY, "");
	use_features(e, welcome.features);
	log_info("vm=%s term=%" PRIu64 " stream to %s %s is up, features 0x%" PRIx64, e->config.vm,
		 e->term, is_peer ? "host" : "gateway", welcome.gateway,
		 welcome.features);
	return 0;
}

void engine_stream_connect(struct engine *e)
{
	uint64_t wait_ns = ENGINE_RECONNECT_NS;
	bool was_reached = false;
	int r = connect_once(e, &was_reached);

	if (r == 0) {
		e->stream.backoff = 0;
		redial_end(&e->stream.redial);
		return;
	}
	if (redial_is_eager(&e->stream.redial, was_reached, clock_mono_ns())) {
		e->stream.connect_at_ns = e->stream.redial.next_ns;
		return;
	}
	if (r == -EAGAIN) /* the control connection will obey this gateway soon */
		e->stream.backoff = 0;
	else
		e->stream.backoff = e->stream.backoff < 4 ? e->stream.backoff + 1 : 4;
	e->stream.connect_at_ns = clock_mono_ns() + (wait_ns << e->stream.backoff);
}

void engine_stream_pace(struct engine *e)
{
	pacer_in_flight(&e->epochs.pacer, retain_n_epochs(e->epochs.retain),
			!retain_has_room(e->epochs.retain, 2));
}

void engine_committed(struct engine *e, uint64_t epoch)
{
	uint64_t now_ns = clock_mono_ns();

	if (epoch <= e->epochs.committed || epoch >= e->epochs.next)
		return;
	if (!engine_may_release(e)) {
		if (epoch > e->lease.commit_waiting)
			e->lease.commit_waiting = epoch;
		return;
	}
	FAULT_POINT(FAULT_BEFORE_RELEASE);
	if (holds_release(e->output.holds, epoch) < 0)
		log_limited(LOG_LEVEL_ERROR, "vm=%s epoch=%" PRIu64 " held frames cannot leave: %s",
			    e->config.vm, epoch, holds_trouble(e->output.holds));
	for (uint64_t n = e->epochs.committed + 1; n <= epoch; n++) {
		uint64_t sealed_ns = e->epochs.sealed_at_ns[n % ENGINE_SEALED_AT_SLOTS];

		if (sealed_ns && epoch - n < ENGINE_SEALED_AT_SLOTS) {
			e->figures.last_commit_ns = now_ns - sealed_ns;
			hist_record(&e->figures.commit_ns, e->figures.last_commit_ns);
		}
		e->epochs.sealed_at_ns[n % ENGINE_SEALED_AT_SLOTS] = 0;
		if (epoch - n > ENGINE_SEALED_AT_SLOTS)
			n = epoch - ENGINE_SEALED_AT_SLOTS;
	}
	e->epochs.committed = epoch;
	engine_disks_committed(e, epoch);
	retain_drop(e->epochs.retain, epoch);
	engine_stream_pace(e);
	/* While output passes, ask for the next seal soon, because that seal can begin the hold. */
	if (!engine_is_holding(e) && epoch + 1 == e->epochs.next)
		pacer_demand(&e->epochs.pacer, now_ns, false);
	if (engine_is_holding(e) && epoch >= e->output.held_from && e->epochs.sync == SYNC_KEPT &&
	    e->status.state != WIRE_STATE_PROTECTED && !*holds_trouble(e->output.holds))
		engine_set_state(e, WIRE_STATE_PROTECTED, "%s", "");
}

/* Handle RESUME: the standby has all epochs up to the one in the frame's header. */
static void resumed(struct engine *e, const struct wire_header *h)
{
	const bool is_direct = engine_stream_is_direct(&e->stream);

	/* An epoch that is complete at the standby is committed, even if its COMMIT did not
	 * arrive. */
	engine_committed(e, h->epoch);
	e->stream.generation = h->generation;
	engine_set_stream(e, is_direct ? STREAM_DIRECT_RESUMED : STREAM_GATEWAY_RESUMED, "");
	e->stream.opening = OPENING_GEOMETRY;
	e->stream.complete_at_peer = h->epoch;
	engine_base_void(e);
	engine_disks_resumed(e, h->epoch);
	if (e->epochs.sync == SYNC_KEPT && retain_rewind(e->epochs.retain, h->epoch) < 0)
		engine_lose_sync(e, "the standby is behind what is retained");
	if (e->epochs.sync != SYNC_KEPT) {
		/* Drop the retained frames: they must not be sent before the FULL epoch. If a FULL
		 * epoch is being made now, it is for an older generation. Because full_generation
		 * no longer matches, engine_service() then makes its caller give that epoch up. */
		retain_drop_all(e->epochs.retain);
		e->epochs.full_generation = ~h->generation;
	}
	log_info("vm=%s term=%" PRIu64 " generation=%u standby has epoch %" PRIu64
		 ", going on with %s",
		 e->config.vm, e->term, h->generation, h->epoch,
		 e->epochs.sync == SYNC_KEPT ? "what follows" : "a full copy");
	if (e->epochs.sync != SYNC_KEPT)
		engine_set_state(e, WIRE_STATE_SYNCING, "%s", "");
}

static int handle_frame(struct engine *e, const struct wire_frame *frame)
{
	const bool is_direct = engine_stream_is_direct(&e->stream);
	struct wire_failure failure;
	int r;

	if (frame->h.type == WIRE_STREAM_ERROR) {
		if (wire_failure_decode(frame, &failure, NULL) < 0)
			return -EPROTO;
		log_error("vm=%s epoch=%" PRIu64 " the standby refused: %s", e->config.vm,
			  frame->h.epoch, failure.text);
		engine_set_state(e, e->status.state, "the standby refused: %s", failure.text);
		/* RESUME arrives when the standby can continue. Until then, the standby's state
		 * is unknown. */
		engine_set_stream(e, is_direct ? STREAM_DIRECT : STREAM_GATEWAY, "");
		return 0;
	}
	if (frame->h.term != e->term) {
		log_limited(LOG_LEVEL_WARN,
			    "vm=%s %s of term %" PRIu64 ", own term is %" PRIu64 ", ignoring",
			    e->config.vm, wire_type_name(frame->h.type), frame->h.term, e->term);
		return 0;
	}
	if (is_direct && (r = engine_direct_frame(e, frame)) != -ENOENT)
		return r;
	switch (frame->h.type) {
	case WIRE_RESUME:
		if (wire_empty_decode(frame, NULL) < 0)
			return -EPROTO;
		resumed(e, &frame->h);
		return 0;
	case WIRE_COMMIT:
		if (wire_empty_decode(frame, NULL) < 0)
			return -EPROTO;
		engine_committed(e, frame->h.epoch);
		return 0;
	case WIRE_DISK_CHECKED:
		return engine_verify_answer(e, frame);
	case WIRE_HASHES:
		return engine_base_answer(e, frame);
	case WIRE_RAM_CHECKED:
		return engine_ram_answer(e, frame);
	default:
		return -EPROTO;
	}
}

void engine_stream_receive(struct engine *e)
{
	struct wire_frame frame;
	int r;

	if (!e->stream.link)
		return;
	while ((r = link_receive(e->stream.link, &frame)) == 0) {
		if (!engine_stream_is_direct(&e->stream) &&
		    !gateway_view_is_obeyed(e->config.view, e->stream.incarnation)) {
			engine_stream_close(e, "this host obeys another gateway by now");
			return;
		}
		if (!engine_stream_is_direct(&e->stream))
			gateway_view_seen(e->config.view, clock_mono_ns());
		if (handle_frame(e, &frame) < 0) {
			engine_stream_close(e, "the peer sent something unexpected");
			return;
		}
	}
	if (r != -EAGAIN)
		engine_stream_close(e, *link_error(e->stream.link) ? link_error(e->stream.link)
								   : "closed");
}

static void describe_guest(const struct vmm_info *info, struct wire_geometry *ret_geometry)
{
	*ret_geometry = (struct wire_geometry){
		.n_vcpus = (uint16_t)info->n_vcpus,
		.ram_bytes = info->ram_bytes,
		.n_nics = (uint8_t)info->n_nics,
		.n_blocks = (uint16_t)info->n_blocks,
	};
	strcpy(ret_geometry->machine, info->machine);
	strcpy(ret_geometry->qemu_version, info->qemu_version);
	for (uint32_t i = 0; i < info->n_nics; i++)
		memcpy(ret_geometry->nics[i], info->nics[i].mac, 6);
	for (uint32_t i = 0; i < info->n_blocks; i++) {
		const struct vmm_block *block = &info->blocks[i];
		struct wire_block *out = &ret_geometry->blocks[i];

		strcpy(out->name, block->name);
		out->kind = block->kind == VMM_BLOCK_RAM ? WIRE_BLOCK_RAM : WIRE_BLOCK_OTHER;
		out->size_bytes = block->size_bytes;
	}
}

static int send_geometry(struct engine *e)
{
	uint8_t buffer[GEOMETRY_FRAME_MAX];
	struct wire_header header = {
		.type = WIRE_GEOMETRY, .term = e->term, .generation = e->stream.generation};
	struct wire_geometry geometry;
	struct bytes_writer w;
	size_t size;
	int r;

	describe_guest(&e->guest.info, &geometry);
	r = wire_frame_begin(buffer, sizeof(buffer), &w);
	if (r == 0)
		r = wire_geometry_encode(&geometry, &w);
	if (r == 0)
		r = wire_frame_finish(buffer, &w, &header, &size);
	if (r == 0)
		r = link_send_frame(e->stream.link, buffer, size);
	return r;
}

static int send_opening(struct engine *e)
{
	int r;

	if (e->stream.opening == OPENING_GEOMETRY) {
		r = send_geometry(e);
		if (r < 0)
			return r;
		e->machine.at = 0;
		e->stream.opening =
			e->stream.features & WIRE_FEATURE_MACHINE ? OPENING_MACHINE : OPENING_SENT;
	}
	return e->stream.opening == OPENING_MACHINE ? engine_machine_send(e) : 0;
}

static int send_retained(struct engine *e)
{
	struct retain_frame frame;
	int r;

	r = send_opening(e);
	if (r < 0)
		return r;
	while (retain_next(e->epochs.retain, &frame) == 0) {
		struct wire_header header = {
			.type = frame.type,
			.flags = frame.flags,
			.seq = frame.seq,
			.generation = e->stream.generation,
			.term = e->term,
			.epoch = frame.epoch,
		};
		struct iovec piece = {.iov_base = (void *)(uintptr_t)frame.payload,
				      .iov_len = frame.size};

		r = link_send(e->stream.link, &header, &piece, 1);
		if (r < 0)
			return r;
		retain_sent(e->epochs.retain);
		FAULT_POINT(FAULT_MID_SEND);
	}
	return 0;
}

void engine_stream_send(struct engine *e)
{
	int r;

	if (!engine_stream_is_resumed(&e->stream))
		return;
	r = send_retained(e);
	if (r == 0 || r == -EAGAIN)
		r = link_flush(e->stream.link);
	if (r < 0 && r != -EAGAIN)
		engine_stream_close(e, *link_error(e->stream.link) ? link_error(e->stream.link)
								   : strerror(-r));
}

int engine_wait_and_serve(struct engine *e, int fd, uint64_t wait_ns)
{
	struct pollfd fds[] = {
		{.fd = e->lease.voice != VOICE_SPEAKS ? -1 : holds_fd(e->output.holds),
		 .events = POLLIN},
		{.fd = e->wake_fd, .events = POLLIN},
		{.fd = e->stream.link ? link_fd(e->stream.link) : -1,
		 .events = e->stream.link ? (short)link_events(e->stream.link) : 0},
		{.fd = fd, .events = POLLIN},
	};
	uint64_t now_ns = clock_mono_ns(), wake_ns = engine_throttle_wake_ns(&e->throttle, now_ns);
	uint64_t lease_ns = engine_lease_wake_ns(e, now_ns);

	if (wake_ns > now_ns + wait_ns)
		wake_ns = now_ns + wait_ns;
	if (wake_ns > lease_ns)
		wake_ns = lease_ns;
	if (poll(fds, ARRAY_SIZE(fds), clock_poll_ms(now_ns, wake_ns)) < 0 && errno != EINTR)
		return -errno;
	return engine_service(e);
}

int engine_stream_wait(struct engine *e)
{
	if (!engine_stream_is_resumed(&e->stream))
		return -EPIPE;
	if (retain_let_go(e->epochs.retain)) {
		e->figures.n_let_go++;
		return engine_service(e);
	}
	return engine_wait_and_serve(e, -1, WAIT_NS);
}

int engine_encoder_wait(struct engine *e)
{
	return engine_wait_and_serve(e, encoder_fd(e->epochs.encoder), WAIT_NS);
}
