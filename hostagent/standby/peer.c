/* Serves the VM's primary while there is no gateway: answers when the primary claims a new term,
 * and receives the primary's direct stream. See docs/wire-format.md 6.4. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "supervision/gateway_view.h"
#include "peer/agree.h"
#include "standby/standby_private.h"

_Static_assert((int)RAMFILE_VOTE_UNPROTECTED == WIRE_CLAIM_UNPROTECTED &&
	       (int)RAMFILE_VOTE_DIRECT == WIRE_CLAIM_DIRECT, "a vote is for a mode");

static void drop_peer(struct standby *sb, const char *why)
{
	log_limited(LOG_LEVEL_WARN, "vm=%s primary: %s", sb->config.vm, why);
	sb->peer.link = link_free(sb->peer.link);
}

/* ---- opening */

static int welcome(const struct standby *sb, const struct standby_peer *peer)
{
	const struct wire_header h = {.type = WIRE_WELCOME};
	struct wire_welcome welcome = {.version = peer->version, .features = peer->features};
	uint8_t payload[128];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	int r;

	memcpy(welcome.gateway, sb->config.host, strnlen(sb->config.host, WIRE_NAME_MAX));
	r = wire_welcome_encode(&welcome, &w);
	return r < 0 ? r : standby_send(peer->link, &h, payload, (size_t)(w.at - payload));
}

static void refuse(const struct standby *sb, struct standby_peer *peer, uint16_t code,
		   const char *text)
{
	const struct wire_header h = {.type = WIRE_REFUSED, .term = sb->rf.meta.term};
	struct wire_failure failure = {.code = code};
	uint8_t payload[WIRE_TEXT_MAX + 16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};

	wire_text_format(failure.text, "%s", text);
	log_limited(LOG_LEVEL_WARN, "vm=%s primary refused: %s", sb->config.vm, text);
	if (wire_failure_encode(&failure, &w) == 0)
		/* Ignore an error: the connection is closed next. */
		(void)!standby_send(peer->link, &h, payload, (size_t)(w.at - payload));
	peer->link = link_free(peer->link);
}

/* Handle the primary's first BEAT. If this host has voted that the primary streams to it, use the
 * connection as the stream. Returns 0 on success; -errno if the primary must not stream to this
 * host, or the link has failed. */
static int start_direct(struct standby *sb, const struct wire_frame *beat)
{
	const struct ramfile_meta *meta = &sb->rf.meta;
	const struct wire_header resume = {.type = WIRE_RESUME, .term = meta->term,
					   .epoch = epochlog_complete(&sb->log),
					   .generation = ++sb->generation};
	int r;

	if (beat->h.term != meta->term || meta->vote != RAMFILE_VOTE_DIRECT ||
	    meta->phase != RAMFILE_COPY || sb->promise_term > meta->term || !sb->want_stream)
		return -EPROTO;
	if (sb->link && !sb->is_direct)
		/* this term's stream comes through a gateway, so the primary must use the gateway
		 * too */
		return -EBUSY;
	r = standby_send(sb->peer.link, &resume, NULL, 0);
	if (r < 0)
		return r;
	standby_stream_close(sb);
	sb->link = TAKE(sb->peer.link);
	sb->is_direct = true;
	sb->machine.features = sb->peer.features;
	sb->n_connects++;
	sb->dirty = true;
	standby_set_text(sb, "the primary streams to this host in term %" PRIu64
			 ": there is no gateway", sb->rf.meta.term);
	log_info("epoch=%" PRIu64 " vm=%s the primary streams without a gateway, term %" PRIu64,
		 epochlog_complete(&sb->log), sb->config.vm, sb->rf.meta.term);
	return standby_peer_frame(sb, beat);
}

void standby_peer_take(struct standby *sb)
{
	const struct ramfile_meta *meta = &sb->rf.meta;
	struct standby_peer peer;

	pthread_mutex_lock(&sb->lock);
	peer = sb->offer;
	sb->offer.link = NULL;
	pthread_mutex_unlock(&sb->lock);
	if (!peer.link)
		return;
	if (peer.term <= meta->term && meta->phase != RAMFILE_COPY) {
		refuse(sb, &peer, WIRE_REFUSED_STALE_TERM, "the guest was promoted here");
		return;
	}
	/* The primary's next frame will say what the primary wants: CLAIM asks for a vote, BEAT
	 * begins a direct stream. */
	sb->peer.link = link_free(sb->peer.link);
	if (welcome(sb, &peer) < 0)
		link_free(peer.link);
	else
		sb->peer = peer;
}

/* ---- the vote */

static bool stands_by(const struct standby *sb)
{
	return sb->want_stream && (sb->state == STANDBY_STATE_STARTING ||
				   sb->state == STANDBY_STATE_WARM ||
				   sb->state == STANDBY_STATE_READY);
}

/* Record the vote in `meta`. Called before the vote is sent. Returns 0, or -errno with
 * *ret_error. */
static int record(struct standby *sb, uint64_t term, uint8_t mode, struct error *ret_error)
{
	int r;

	if (sb->rf.meta.term == term)
		return 0;
	standby_stream_close(sb); /* no epoch of the old term may be accepted after the vote */
	r = epochlog_vote(&sb->log, term, (enum ramfile_vote)mode);
	if (r < 0)
		return error_set(ret_error, r, "the vote cannot be recorded: %s", strerror(-r));
	sb->n_votes++;
	sb->dirty = true;
	if (mode == WIRE_CLAIM_UNPROTECTED)
		sb->want_qemu = sb->want_stream = false;
	log_warn("epoch=%" PRIu64 " vm=%s without a gateway: voted for the primary in term %" PRIu64
		 ", %s", epochlog_complete(&sb->log), sb->config.vm, term, agree_policy_name(mode));
	return 0;
}

/* Stop standing by, after a vote that the primary continues unprotected. */
static void stand_down(struct standby *sb)
{
	struct error error;

	if (sb->state == STANDBY_STATE_IDLE)
		return;
	if (qemu_end(&sb->qemu, &error) < 0)
		log_warn("vm=%s the warm QEMU does not end: %s, ignoring", sb->config.vm,
			 error.text);
	standby_set_text(sb, "voted for the primary to go on unprotected in term %" PRIu64,
			 sb->rf.meta.term);
	standby_set_state(sb, STANDBY_STATE_IDLE);
}

static int on_claim(struct standby *sb, const struct wire_frame *frame)
{
	const struct agree_standby s = {
		.policy = sb->config.gateway_lost,
		.stands_by = stands_by(sb),
		.is_copy = sb->rf.meta.phase == RAMFILE_COPY,
		.term = sb->rf.meta.term,
		.promised_term = sb->promise_term,
		.voted_mode = (uint8_t)sb->rf.meta.vote,
		.complete_epoch = epochlog_complete(&sb->log),
		.gateway_silence_ns = gateway_view_silence_ns(sb->config.view, clock_mono_ns()),
		.gateway_lost_ns = sb->config.gateway_lost_ns,
	};
	struct wire_header h = {.type = WIRE_VOTE, .term = frame->h.term};
	struct wire_vote vote = {.answer = 0};
	uint8_t payload[WIRE_TEXT_MAX + 16];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_claim claim;
	struct error why = {""};
	int r;

	if (wire_claim_decode(frame, &claim, NULL) < 0)
		return -EPROTO;
	vote.answer = agree_vote(&s, frame->h.term, claim.mode, frame->h.epoch, &why) &&
		      record(sb, frame->h.term, claim.mode, &why) == 0;
	wire_text_format(vote.text, "%s", why.text);
	if (!vote.answer)
		log_limited(LOG_LEVEL_WARN, "vm=%s the primary's claim of term %" PRIu64
			    " is refused: %s", sb->config.vm, frame->h.term, vote.text);
	r = wire_vote_encode(&vote, &w);
	if (r == 0)
		r = standby_send(sb->peer.link, &h, payload, (size_t)(w.at - payload));
	if (vote.answer && claim.mode == WIRE_CLAIM_UNPROTECTED)
		stand_down(sb);
	return r;
}

void standby_peer_run(struct standby *sb)
{
	struct wire_frame frame;
	int r;

	if (!sb->peer.link)
		return;
	r = link_receive(sb->peer.link, &frame);
	if (r == -EAGAIN)
		return;
	if (r == -EPIPE) { /* the primary has its answer, and has closed the connection */
		sb->peer.link = link_free(sb->peer.link);
		return;
	}
	if (r == 0 && frame.h.type == WIRE_CLAIM)
		r = on_claim(sb, &frame);
	else if (r == 0 && frame.h.type == WIRE_BEAT)
		r = start_direct(sb, &frame);
	else if (r == 0)
		r = -EPROTO;
	if (r < 0 && sb->peer.link)
		drop_peer(sb, *link_error(sb->peer.link) ? link_error(sb->peer.link)
							  : "sent something unexpected");
}

/* ---- beside the epochs */

int standby_peer_frame(struct standby *sb, const struct wire_frame *frame)
{
	struct wire_header h = {.type = WIRE_LEASE, .term = sb->rf.meta.term, .seq = frame->h.seq};
	struct wire_lease lease = {.lease_ms = AGREE_LEASE_MS, .release_ms = AGREE_RELEASE_MS};
	uint8_t payload[128];
	struct bytes_writer w = {payload, payload + sizeof(payload), false};
	struct wire_beat beat;
	int r;

	if (frame->h.type != WIRE_BEAT)
		return -ENOENT;
	r = wire_beat_decode(frame, &beat, NULL);
	if (r < 0)
		return r;
	lease.beat_ns = beat.mono_ns;
	memcpy(lease.vm, sb->config.vm, strnlen(sb->config.vm, WIRE_NAME_MAX));
	/* take the time before the LEASE is sent, because the primary may use the LEASE at once */
	sb->granted_ns = clock_mono_ns();
	r = wire_lease_encode(&lease, &w);
	return r < 0 ? r : standby_send(sb->link, &h, payload, (size_t)(w.at - payload));
}

void standby_await_mute(const struct standby *sb)
{
	uint64_t mute_ns = agree_mute_ns(sb->granted_ns), now_ns;

	while ((now_ns = clock_mono_ns()) < mute_ns) {
		/* always less than 1 s, so tv_sec can be 0 */
		const struct timespec nap = {.tv_nsec = (long)(mute_ns - now_ns)};

		(void)nanosleep(&nap, NULL);
	}
}
