/* Handles the STREAM connection: epochs arrive, and acknowledgements are sent. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "standby/base.h"
#include "supervision/gateway_view.h"
#include "standby/compare.h"
#include "standby/standby_private.h"

#define HANDSHAKE_TIMEOUT_NS CLOCK_NS_PER_S
#define SEND_TIMEOUT_NS	     CLOCK_NS_PER_S
#define FRAMES_PER_RUN	     64 /* after this many frames, look for orders */
/* after a DIRECT vote, connect to the gateway only if it has sent a frame within this time */
#define GATEWAY_BACK_NS      CLOCK_NS_PER_S
#define GATEWAY_LOOK_NS	     (100 * CLOCK_NS_PER_MS)

void standby_backoff_reset(struct standby_backoff *b)
{
	b->next_ns = 0;
	b->delay_ns = STANDBY_BACKOFF_MIN_NS;
}

void standby_backoff_failed(struct standby_backoff *b, uint64_t now_ns)
{
	b->next_ns = now_ns + b->delay_ns;
	b->delay_ns *= 2;
	if (b->delay_ns > b->max_ns)
		b->delay_ns = b->max_ns;
}

void standby_stream_close(struct standby *sb)
{
	if (!sb->link)
		return;
	sb->link = link_free(sb->link);
	sb->is_direct = false;
	epochlog_reset(&sb->log);
	standby_machine_reset(&sb->machine);
	standby_rehearsal_end(sb);
	sb->dirty = true;
}

static void lost(struct standby *sb, const char *what, const char *why)
{
	log_limited(LOG_LEVEL_WARN, "vm=%s stream: %s: %s", sb->config.vm, what, why);
	standby_set_text(sb, "stream %s: %s: %s",
			 sb->is_direct ? "from the primary" : "to the gateway", what, why);
	if (!sb->is_direct)
		redial_lost(&sb->redial, clock_mono_ns());
	standby_stream_close(sb);
	standby_backoff_failed(&sb->link_backoff, clock_mono_ns());
}

/* Record why the gateway did not accept the stream. If there is a direct stream, it continues.
 * @was_reached: the gateway's TCP has answered. */
static void not_connected(struct standby *sb, bool was_reached, const char *why)
{
	uint64_t now_ns = clock_mono_ns();

	log_limited(LOG_LEVEL_WARN, "vm=%s stream: cannot connect: %s", sb->config.vm, why);
	if (!sb->link)
		standby_set_text(sb, "stream to the gateway: cannot connect: %s", why);
	if (redial_is_eager(&sb->redial, was_reached, now_ns))
		sb->link_backoff.next_ns = sb->redial.next_ns;
	else
		standby_backoff_failed(&sb->link_backoff, now_ns);
}

/* The stream's gateway is one that this host does not obey: it is an old one, or the control
 * connection has not accepted it yet. Try again soon. */
static void not_obeyed(struct standby *sb, const struct wire_welcome *welcome)
{
	struct error why;

	(void)error_set(&why, 0, "gateway %s is incarnation %" PRIu64
		       ", which this host does not obey (yet)", welcome->gateway,
		       welcome->incarnation);
	not_connected(sb, true, why.text);
	standby_backoff_reset(&sb->link_backoff);
	sb->link_backoff.next_ns = clock_mono_ns() + GATEWAY_LOOK_NS;
}

void standby_stream_connect(struct standby *sb, uint64_t now_ns)
{
	struct link_config config;
	struct link *link;
	int r;

	if ((sb->link && !sb->is_direct) || !sb->want_stream || !sb->config.gateway ||
	    now_ns < sb->link_backoff.next_ns)
		return;
	/* The primary may be connected to this host directly. It gets no answer while this thread
	 * connects to the gateway, for up to a second. So connect only if the control connection
	 * has shown within GATEWAY_BACK_NS that the gateway lives. */
	if (sb->rf.meta.vote == RAMFILE_VOTE_DIRECT &&
	    gateway_view_silence_ns(sb->config.view, now_ns) > GATEWAY_BACK_NS) {
		sb->link_backoff.next_ns = now_ns + GATEWAY_LOOK_NS;
		return;
	}
	config = *sb->config.gateway;
	config.connect_by_ns = redial_connect_by_ns(&sb->redial, now_ns);
	r = link_open(&config, &link);
	if (r < 0)
		not_connected(sb, false, strerror(-r));
	else
		standby_stream_use(sb, link);
}

void standby_stream_use(struct standby *sb, struct link *link)
{
	struct wire_welcome welcome;
	struct wire_hello hello;
	int r;

	wire_hello_init(&hello, WIRE_KIND_STREAM, WIRE_VM_ROLE_STANDBY, sb->config.vm);
	r = link_handshake(link, &hello, sb->rf.meta.term, epochlog_complete(&sb->log),
			   clock_mono_ns() + HANDSHAKE_TIMEOUT_NS, &welcome);
	if (r < 0) {
		not_connected(sb, link_was_reached(link), link_error(link));
		link_free(link);
		return;
	}
	if (!gateway_view_await(sb->config.view, welcome.incarnation,
				clock_mono_ns() + GATEWAY_VIEW_AWAIT_NS)) {
		not_obeyed(sb, &welcome);
		link_free(link);
		return;
	}
	gateway_view_seen(sb->config.view, clock_mono_ns());
	sb->incarnation = welcome.incarnation;
	standby_stream_close(sb); /* the gateway's stream replaces a direct stream */
	sb->link = link;
	sb->machine.features = welcome.features;
	log_info("epoch=%" PRIu64 " vm=%s stream: connected to gateway %s, term %" PRIu64,
		 epochlog_complete(&sb->log), sb->config.vm, welcome.gateway, sb->rf.meta.term);
	sb->n_connects++;
	redial_end(&sb->redial);
	if (sb->is_refusing)
		return; /* keep the back-off: it must grow until an epoch is accepted */
	standby_backoff_reset(&sb->link_backoff);
	standby_set_text(sb, "%s", "");
	if (sb->qemu.pid > 0 && sb->machine.features & WIRE_FEATURE_MACHINE)
		standby_rehearsal_begin(sb); /* early, because QEMU needs time to start */
}

int standby_send(struct link *link, const struct wire_header *h, const void *payload, size_t size)
{
	struct iovec piece = {.iov_base = (void *)payload, .iov_len = size};
	uint64_t deadline_ns = clock_mono_ns() + SEND_TIMEOUT_NS;
	int r;

	while ((r = link_send(link, h, &piece, size ? 1 : 0)) == -EAGAIN) {
		r = link_wait(link, POLLOUT, deadline_ns);
		if (r < 0)
			return r;
	}
	return r;
}

/* Can the operator correct this error by changing the command file? */
static bool is_of_file(const struct epochcheck_error *error)
{
	return error->code == WIRE_STREAM_ERROR_GEOMETRY &&
	       (strstr(error->why.text, "guests are built") ||
		strstr(error->why.text, "machine types") ||
		strstr(error->why.text, "a rehearsed takeover"));
}

static void refuse(struct standby *sb, const struct wire_frame *frame,
		   const struct epochcheck_error *error)
{
	struct wire_header h = {.type = WIRE_STREAM_ERROR, .term = frame->h.term,
				.epoch = frame->h.epoch, .generation = frame->h.generation};
	struct wire_failure failure = {.code = error->code};
	uint8_t payload[WIRE_TEXT_MAX + 16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	/* The file's name comes first, because the end of a long text may be cut off. */
	if (is_of_file(error) && sb->config.command_file)
		wire_text_format(failure.text, "correct %s on %s: %s", sb->config.command_file,
				 sb->config.host ? sb->config.host : "the standby",
				 error->why.text);
	else
		wire_text_format(failure.text, "%s", error->why.text);
	if (wire_failure_encode(&failure, &w) == 0 &&
	    standby_send(sb->link, &h, payload, (size_t)(w.at - payload)) == 0)
		/* Wait until the text was sent. Ignore an error: the stream is closed next. */
		(void)!link_wait(sb->link, POLLOUT, clock_mono_ns() + SEND_TIMEOUT_NS);
	sb->is_refusing = true;
	lost(sb, "refused", failure.text);
}

void standby_stream_refuse(struct standby *sb, const struct error *why)
{
	struct wire_frame frame = {.h = {.term = sb->rf.meta.term,
					 .epoch = epochlog_complete(&sb->log) + 1,
					 .generation = sb->log.check.generation}};
	struct epochcheck_error error = {.code = WIRE_STREAM_ERROR_APPLY, .why = *why};

	if (sb->link)
		refuse(sb, &frame, &error);
}

static int acknowledge(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_header h = {.type = WIRE_EPOCH_ACK, .term = frame->h.term,
				.epoch = frame->h.epoch, .generation = frame->h.generation};

	FAULT_POINT(FAULT_STANDBY_BEFORE_ACK);
	return standby_send(sb->link, &h, NULL, 0);
}

/* Report to the primary what images_compare() found while the epoch of @frame was applied. */
static int report_disks(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_header h = {.type = WIRE_DISK_CHECKED, .term = frame->h.term,
				.epoch = frame->h.epoch, .generation = frame->h.generation};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < sb->images.n; i++) {
		const struct wire_disk_checked *checked = &sb->images.item[i].checked;
		uint8_t payload[2 * WIRE_DISK_NAME_MAX + 8 * WIRE_DISK_DIFFER_MAX];
		struct bytes_writer w = {payload, payload + sizeof(payload), false};

		if (checked->n_checked > 0 && wire_disk_checked_encode(checked, &w) == 0)
			r = standby_send(sb->link, &h, payload, (size_t)(w.at - payload));
	}
	images_begin_checks(&sb->images);
	return r;
}

/* Report to the primary what compare_frame() found while the epoch of @frame was applied. */
static int report_ram(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_header h = {.type = WIRE_RAM_CHECKED, .term = frame->h.term,
				.epoch = frame->h.epoch, .generation = frame->h.generation};
	uint8_t payload[8 + 4 * WIRE_RAM_DIFFER_MAX];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	int r = 0;

	if (sb->rf.checked.n_checked > 0 && wire_ram_checked_encode(&sb->rf.checked, &w) == 0)
		r = standby_send(sb->link, &h, payload, (size_t)(w.at - payload));
	compare_begin(&sb->rf);
	return r;
}

/* Record what a frame says of the guest's clock. epochlog_frame() has accepted the frame. */
static void note_clock(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_clock clock;

	if (frame->h.type == WIRE_EPOCH_BEGIN)
		clockview_begin(&sb->clock);
	else if (frame->h.type == WIRE_CLOCK && wire_clock_decode(frame, &clock, NULL) == 0)
		clockview_take(&sb->clock, &clock, clock_mono_ns());
}

/* Called when an epoch is complete and cannot be lost any more: rehearse a takeover if that is
 * needed, acknowledge the epoch, and apply it to the copy. */
static int on_complete(struct standby *sb, const struct wire_frame *frame)
{
	struct epochcheck_error error;
	int r, sent;

	if (standby_rehearse(sb, &error) < 0) {
		refuse(sb, frame, &error);
		return -EPROTO;
	}
	sent = acknowledge(sb, frame);
	if (sb->is_refusing) {
		sb->is_refusing = false;
		standby_backoff_reset(&sb->link_backoff);
		standby_set_text(sb, "%s", "");
	}
	r = epochlog_apply(&sb->log);
	if (r < 0) {
		log_error("epoch=%" PRIu64 " vm=%s cannot apply: %s", epochlog_complete(&sb->log),
			  sb->config.vm, sb->log.why.text);
		standby_set_text(sb,
				 "cannot apply epoch %" PRIu64 ": %s; it is kept and tried again",
				 epochlog_complete(&sb->log), sb->log.why.text);
	}
	standby_set_warm(sb);
	if (r == 0 && sent == 0)
		sent = report_disks(sb, frame);
	if (r == 0 && sent == 0)
		sent = report_ram(sb, frame);
	return sent;
}

/* Is @frame of the present generation? (A frame of an older one is dropped later.) */
static bool is_of_now(const struct standby *sb, const struct wire_frame *frame)
{
	return frame->h.generation == sb->log.check.generation;
}

static int take_epoch_frame(struct standby *sb, const struct wire_frame *frame,
			    struct epochcheck_error *error)
{
	uint32_t generation = sb->log.check.generation;
	int r = epochlog_frame(&sb->log, frame, &sb->qemu.geometry, error);

	if (r >= 0 && frame->h.type == WIRE_GEOMETRY && sb->log.check.generation != generation) {
		standby_machine_reset(&sb->machine);
		sb->log.check.may_keep = false;
	}
	return r;
}

/* Fill in *ret_hashes, the answer to @want. Apply a complete epoch before that, because it changes
 * the copy. If it cannot be applied, or this host has no copy, *ret_hashes has no hashes. */
static void find_hashes(struct standby *sb, const struct wire_hashes_want *want, uint8_t *room,
			struct wire_hashes *ret_hashes)
{
	struct image *image = *want->disk ? images_find(&sb->images, want->disk) : NULL;
	struct error why;

	*ret_hashes = (struct wire_hashes){.seed = want->seed, .first = want->first, .hash = room};
	memcpy(ret_hashes->disk, want->disk, sizeof(ret_hashes->disk));
	if (sb->rf.meta.phase != RAMFILE_COPY || epochlog_apply(&sb->log) < 0)
		return;
	if (image && images_open(&sb->images, &why) == 0)
		base_of_image(image, want, room, ret_hashes);
	if (*want->disk || !ramfile_has_layout(&sb->rf, &sb->log.check.geometry))
		return;
	base_of_memory(&sb->rf, want, room, ret_hashes);
	sb->log.check.may_keep = true;
}

static int on_hashes_want(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_header h = {.type = WIRE_HASHES, .term = frame->h.term,
				.generation = frame->h.generation};
	static _Thread_local uint8_t room[WIRE_HASHES_MAX * WIRE_HASH_SIZE];
	static _Thread_local uint8_t payload[sizeof(room) + 128];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_hashes_want want;
	struct wire_hashes hashes;
	int r = wire_hashes_want_decode(frame, &want, NULL);

	if (r < 0) {
		lost(sb, "unexpected frame", "a HASHES_WANT that cannot be read");
		return r;
	}
	if (frame->h.term != sb->rf.meta.term || !sb->log.check.has_geometry ||
	    !is_of_now(sb, frame))
		return 0; /* an old frame, from the gateway's buffer: ignore it */
	find_hashes(sb, &want, room, &hashes);
	r = wire_hashes_encode(&hashes, &w);
	return r < 0 ? r : standby_send(sb->link, &h, payload, (size_t)(w.at - payload));
}

static int on_frame(struct standby *sb, const struct wire_frame *frame)
{
	unsigned sender = sb->is_direct ? WIRE_SENDER_PEER_PRIMARY : WIRE_SENDER_GATEWAY_STANDBY;
	struct epochcheck_error error;
	int r;

	/* a BEAT of the primary */
	if (sb->is_direct && (r = standby_peer_frame(sb, frame)) != -ENOENT) {
		if (r < 0)
			lost(sb, "cannot answer", link_error(sb->link));
		return r;
	}
	/* frames that are not stored: refuse a type that the sender must not send, answer
	 * HASHES_WANT */
	if (!wire_type_allowed(frame->h.type, sender)) {
		lost(sb, "unexpected frame", wire_type_name(frame->h.type));
		return -EPROTO;
	}
	if (frame->h.type == WIRE_HASHES_WANT) {
		r = on_hashes_want(sb, frame);
		if (r < 0 && sb->link)
			lost(sb, "cannot answer", link_error(sb->link));
		return r;
	}
	/* the machine, or a part of an epoch */
	if (frame->h.type == WIRE_MACHINE)
		r = standby_machine_frame(sb, frame, &error);
	else if (frame->h.type == WIRE_EPOCH_BEGIN && is_of_now(sb, frame) &&
		 (r = standby_machine_need(sb, &error)) < 0)
		log_limited(LOG_LEVEL_WARN, "vm=%s epoch=%" PRIu64 " no MACHINE came",
			    sb->config.vm, frame->h.epoch);
	else
		r = take_epoch_frame(sb, frame, &error);
	if (r < 0) {
		refuse(sb, frame, &error);
		return r;
	}
	/* the frame was accepted, and may have completed an epoch */
	note_clock(sb, frame);
	if (r > 0) {
		clockview_complete(&sb->clock);
		r = on_complete(sb, frame);
		if (r < 0 && sb->link)
			lost(sb, "cannot acknowledge", link_error(sb->link));
	}
	return r;
}

bool standby_stream_run(struct standby *sb)
{
	struct wire_frame frame;
	uint8_t type;
	int r;

	if (!sb->link)
		return false;
	r = link_flush(sb->link);
	if (r < 0 && r != -EAGAIN) {
		lost(sb, "lost", link_error(sb->link));
		return false;
	}
	for (unsigned i = 0; i < FRAMES_PER_RUN; i++) {
		r = link_receive(sb->link, &frame);
		if (r == -EAGAIN)
			return false;
		sb->dirty = true;
		if (r < 0) {
			lost(sb, "lost", link_error(sb->link));
			return false;
		}
		if (!sb->is_direct && !gateway_view_is_obeyed(sb->config.view, sb->incarnation)) {
			lost(sb, "lost", "this host obeys another gateway by now");
			return false;
		}
		if (!sb->is_direct)
			gateway_view_seen(sb->config.view, clock_mono_ns());
		type = frame.h.type;
		if (on_frame(sb, &frame) < 0)
			return false;
		if (type == WIRE_HASHES_WANT) /* the answer has taken some time: look for orders */
			return true;
	}
	return true;
}
