#include "net/hold.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "ebpf/hold_prog.h"
#include "net/hold_check.h"
#include "net/hold_fifo.h"
#include "net/hold_lane.h"
#include "net/nl.h"
#include "net/release_port.h"

#if HOLDFAST_RELEASE_EARLY
/* TEST ONLY (holdfast-agent-early): breaks output commit on purpose, to show that the test of
 * output commit can fail. */
static const bool is_release_early = true;
#else
static const bool is_release_early = false;
#endif

#define DETACH_WAIT_NS (200 * CLOCK_NS_PER_MS)
/* How long a detach waits for frames that are in the veth pair. A frame is in the pair for a moment
 * only. So a frame that has still not come out after this time is lost. */
#define IN_PAIR_NS     (20 * CLOCK_NS_PER_MS)
#define MEND_AGAIN_NS  (1 * CLOCK_NS_PER_S)
/* If no frame that we send reaches the tap for this long, the release device counts as not leading
 * to the tap. Normally the kernel passes a frame to the tap within the call that sends it, or a
 * moment later. */
#define UNRETURNED_NS  (200 * CLOCK_NS_PER_MS)

_Static_assert(HOLD_DROP == HOLD_MODE_DROP && HOLD_HOLD == HOLD_MODE_HOLD &&
	       HOLD_PASS == HOLD_MODE_PASS, "the program's modes are the interface's");

/* One direction through the veth pair. `given` and `come` are the numbers of frames that were put
 * in and that came out, as counted when a frame last came out. */
struct way {
	uint64_t given, come;
	/* since when frames are put in and none comes out; 0: frames come out, or none are put
	 * in */
	uint64_t since_ns;
};

struct hold {
	/* set by hold_open() */
	struct nl nl;
	struct hold_prog prog;
	struct release_port port;
	struct hold_lane lane;
	struct hold_fifo fifo;
	char vm[HOLD_VM_NAME_MAX + 1];
	int tap; /* ifindex */
	bool is_taken_over;
	/* changes while running */
	uint64_t released_epoch; /* frames up to this epoch may be sent */
	/* number of frames that were put into the FIFO since the last hold_receive(); the next
	 * hold_receive() returns this number */
	uint32_t n_untold;
	struct hold_stats stats; /* only the members counted by the agent */
	/* earliest time of the next attempt to create the release device again */
	uint64_t mend_at_ns;
	struct error trouble; /* why released frames cannot leave; see hold_trouble() */
	struct way out; /* the way of released frames to the tap */
	struct way in;  /* the way of frames from hold_tap to our socket; all 0 without offloads */
	uint64_t n_lost_out, n_lost_in; /* how many frames broken pairs have lost in each
					 * direction */
	struct hold_frame batch[HOLD_LANE_BATCH];
};

static int open_lane(struct hold *h, const struct hold_config *config, const struct nl_link *tap,
		     struct error *ret_error)
{
	struct hold_lane_config lane = {
		.hold = config,
		.prog = &h->prog,
		.out = h->port.out_name,
		.mtu = tap->mtu,
	};
	int r = hold_fifo_init(&h->fifo, config->frames_max, config->bytes_max);

	if (r < 0)
		return error_set(ret_error, r, "no memory for %u frames (%s): lower frames_max",
				 config->frames_max, strerror(-r));
	return h->lane.ops->open(&h->lane, &lane, ret_error);
}

static int open_prog(struct hold *h, const struct hold_config *config, const struct nl_link *tap,
		     struct error *ret_error)
{
	bool is_offload = h->lane.ops == &hold_lane_packet;
	struct hold_prog_config prog = {
		.pin_dir = config->pin_dir,
		.ifindex = tap->ifindex,
		.max_frame_bytes = is_offload ?
			tap->mtu + HOLD_RING_LINK_BYTES :
			hold_ring_frame_max(hold_ring_chunk_bytes(tap->mtu)),
		.is_offload = is_offload,
	};
	enum hold_prog_step step = HOLD_PROG_PIN_DIR;
	int r;

	r = hold_prog_open(&h->prog, &prog, &step);
	if (r < 0)
		return hold_explain_prog(config, step, r, ret_error);
	h->is_taken_over = h->prog.is_taken_over;
	return 0;
}

static uint32_t n_sending(const struct hold *h)
{
	return h->lane.ops->n_sending(&h->lane);
}

/* Undo what a failed hold_open() created, but do not touch a hold that was pinned before. */
static void abandon(struct hold *h, bool has_prog)
{
	h->lane.ops->close(&h->lane);
	hold_fifo_done(&h->fifo);
	if (has_prog && !h->is_taken_over) {
		if (h->port.nl && release_port_remove(&h->port) < 0)
			log_warn("vm=%s could not remove the release port, ignoring", h->vm);
		if (hold_prog_detach(&h->prog) < 0)
			log_warn("vm=%s could not detach the hold, ignoring", h->vm);
	}
	if (has_prog)
		hold_prog_done(&h->prog);
	nl_close(&h->nl);
	free(h);
}

int hold_open(const struct hold_config *config, struct hold **ret, struct error *ret_error)
{
	struct nl_link tap;
	bool has_prog = false;
	struct hold *h;
	int r;

	ret_error->text[0] = '\0';
	r = hold_check_config(config, ret_error);
	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h)
		return error_set(ret_error, -ENOMEM, "out of memory");
	memcpy(h->vm, config->vm, strlen(config->vm) + 1);
	h->lane.ops = &hold_lane_ring; /* a default until the tap is known */
	r = nl_open(&h->nl);
	if (r < 0)
		(void)error_set(ret_error, r, "cannot open rtnetlink: %s", strerror(-r));
	if (r == 0)
		r = hold_check_tap(&h->nl, config, &tap, ret_error);
	if (r == 0) {
		h->tap = tap.ifindex;
		/* A frame of a large MTU does not fit into a UMEM frame. */
		if (config->is_offload || hold_ring_chunk_bytes(tap.mtu) == 0)
			h->lane.ops = &hold_lane_packet;
		r = open_prog(h, config, &tap, ret_error);
		has_prog = r == 0;
	}
	if (r == 0)
		r = release_port_open(&h->port, &h->nl, h->vm, &tap, &h->prog, ret_error);
	if (r == 0)
		r = open_lane(h, config, &tap, ret_error);
	if (r < 0) {
		abandon(h, has_prog);
		return r;
	}
	if (is_release_early)
		log_warn("vm=%s TEST BUILD: THE HOLD RELEASES FRAMES BEFORE THEIR COMMIT; clients "
			 "WILL see replies that a failover forgets", h->vm);
	*ret = h;
	return 0;
}

void hold_set_epoch(struct hold *h, uint64_t epoch)
{
	/* Store with release order: each CPU must see the new epoch before the guest resumes. A
	 * delayed frame can still get a later epoch than its own. Such a frame is only held
	 * longer. */
	__atomic_store_n(&h->prog.control->epoch, epoch, __ATOMIC_RELEASE);
}

uint64_t hold_epoch(const struct hold *h)
{
	return __atomic_load_n(&h->prog.control->epoch, __ATOMIC_RELAXED);
}

static void store_mode(struct hold *h, enum hold_mode mode)
{
	__atomic_store_n(&h->prog.control->mode, (uint32_t)mode, __ATOMIC_RELEASE);
}

int hold_set_mode(struct hold *h, enum hold_mode mode)
{
	if (mode > HOLD_PASS || (mode == HOLD_HOLD && hold_epoch(h) == 0))
		return -EINVAL;
	store_mode(h, mode);
	return 0;
}

enum hold_mode hold_mode(const struct hold *h)
{
	return (enum hold_mode)__atomic_load_n(&h->prog.control->mode, __ATOMIC_RELAXED);
}

bool hold_is_taken_over(const struct hold *h)
{
	return h->is_taken_over;
}

int hold_fd(const struct hold *h)
{
	return h->lane.ops->fd(&h->lane);
}

/* Put one arrived frame into the FIFO, or drop it. Returns true if the frame is held. */
static bool take(struct hold *h, const struct hold_frame *frame)
{
	int r = hold_fifo_push(&h->fifo, frame);

	if (r == 0)
		return true;
	if (r == -ENOBUFS)
		h->stats.dropped_limit_frames++;
	else
		h->stats.dropped_limit_bytes++;
	h->lane.ops->give_back(&h->lane, frame);
	return false;
}

static void receive(struct hold *h)
{
	uint32_t n, n_held = 0;
	bool is_empty = false;

	while (!is_empty) {
		n = h->lane.ops->receive(&h->lane, h->batch, HOLD_LANE_BATCH, &is_empty);
		for (uint32_t i = 0; i < n; i++)
			n_held += take(h, &h->batch[i]);
	}
	h->stats.received += n_held;
	h->n_untold += n_held;
}

/* Called after the first frame of a release. If more frames of the release follow, ensure that the
 * first frame has left, and pass the fault point FAULT_MID_RELEASE. */
static void mid_release(struct hold *h, uint64_t epoch)
{
#ifdef HOLDFAST_FAULT_POINTS
	if (hold_fifo_peek(&h->fifo, epoch) && h->lane.ops->flush(&h->lane) == 0)
		FAULT_POINT(FAULT_MID_RELEASE);
#else
	(void)h;
	(void)epoch;
#endif
}

/* Returns true if frames have been put in, but none has come out for UNRETURNED_NS. */
static bool is_stuck(struct way *way, uint64_t given, uint64_t come, uint64_t now_ns)
{
	if (come != way->come || given == way->given) {
		*way = (struct way){.given = given, .come = come};
		return false;
	}
	if (way->since_ns == 0)
		way->since_ns = now_ns;
	return now_ns - way->since_ns >= UNRETURNED_NS;
}

/* The number of frames that should have reached the tap. */
static uint64_t n_handed(const struct hold *h)
{
	return h->stats.released - n_sending(h) - h->lane.n_refused;
}

/* Returns true if frames no longer come through the veth pair. Only this check notices that an end
 * of the pair is down or that a tc filter is missing. */
static bool is_way_lost(struct hold *h, uint64_t now_ns)
{
	/* Read the counters of the far end first: a frame that passes between the two reads must
	 * not look lost. */
	uint64_t returned = hold_prog_n_returned(&h->prog);
	uint64_t arrived = hold_prog_n_arrived(&h->prog);
	bool is_out_stuck = is_stuck(&h->out, n_handed(h), returned, now_ns);

	return is_stuck(&h->in, hold_prog_n_captured(&h->prog), arrived, now_ns) || is_out_stuck;
}

/* Create the release device again after somebody removed it, set it down, or broke it. @why is the
 * error that showed this. Returns 0 when the device works again and queued frames were sent. If it
 * does not work, returns -errno, and released frames still wait. */
static int mend(struct hold *h, uint64_t now_ns, int why)
{
	struct nl_link tap;
	int r;

	if (now_ns < h->mend_at_ns)
		return why;
	h->mend_at_ns = now_ns + MEND_AGAIN_NS;
	/* Make a new pair, and send through it what the old pair did not take. */
	r = nl_link_get(&h->nl, NULL, h->tap, &tap);
	if (r < 0)
		(void)error_set(&h->trouble, r, "the guest's tap is gone");
	if (r == 0)
		r = release_port_open(&h->port, &h->nl, h->vm, &tap, &h->prog, &h->trouble);
	if (r == 0) {
		r = h->lane.ops->reopen_out(&h->lane, h->port.out_name);
		if (r == 0)
			r = h->lane.ops->flush(&h->lane);
		if (r < 0)
			(void)error_set(&h->trouble, r,
					"cannot send through the release device %s: %s",
					h->port.out_name, strerror(-r));
	}
	if (r < 0)
		return r;
	h->trouble.text[0] = '\0';
	h->stats.n_mended++;
	/* From now on, count only frames of the new pair. Frames that are still missing were lost
	 * with the old pair. */
	h->out = (struct way){n_handed(h), hold_prog_n_returned(&h->prog), 0};
	h->in = (struct way){hold_prog_n_captured(&h->prog), hold_prog_n_arrived(&h->prog), 0};
	h->n_lost_out = h->out.given - h->out.come;
	h->n_lost_in = h->in.given - h->in.come;
	log_warn("vm=%s the release device was gone or led nowhere (%s): made anew", h->vm,
		 strerror(-why));
	return 0;
}

/* Give the lane all frames that may be released. Add 1 to *n for each frame. Returns 0, or -errno
 * if the release device is broken. */
static int send_due(struct hold *h, uint64_t now_ns, int *n)
{
	uint64_t epoch = is_release_early ? UINT64_MAX : h->released_epoch, held_ns;
	const struct hold_frame *frame;
	int r = 0;

	while ((frame = hold_fifo_peek(&h->fifo, epoch))) {
		r = h->lane.ops->send(&h->lane, frame);
		if (r <= 0)
			break;
		held_ns = now_ns > frame->time_ns ? now_ns - frame->time_ns : 0;
		h->stats.hold_ns_sum += held_ns;
		if (held_ns > h->stats.hold_ns_max)
			h->stats.hold_ns_max = held_ns;
		h->stats.released++;
		hold_fifo_pop(&h->fifo);
		if ((*n)++ == 0)
			mid_release(h, epoch);
	}
	return r < 0 ? r : h->lane.ops->flush(&h->lane);
}

/* Send all frames that may be released. Returns the number of frames given to the release device,
 * or -errno. */
static int pump(struct hold *h)
{
	uint64_t now_ns = clock_mono_ns();
	int n = 0, r = send_due(h, now_ns, &n);

	if (r == 0 && (*h->trouble.text || is_way_lost(h, now_ns)))
		r = -ENOLINK;
	if (r < 0) {
		r = mend(h, now_ns, r);
		if (r == 0)
			r = send_due(h, now_ns, &n); /* send what the old device did not take */
	}
	return r < 0 ? r : n;
}

int hold_receive(struct hold *h)
{
	uint32_t n_held;
	int r;

	receive(h);
	r = pump(h);
	if (r < 0)
		return r;
	n_held = h->n_untold;
	h->n_untold = 0;
	return (int)n_held;
}

int hold_release(struct hold *h, uint64_t epoch)
{
	if (epoch >= hold_epoch(h))
		return -EINVAL;
	receive(h);
	if (epoch > h->released_epoch)
		h->released_epoch = epoch;
	return pump(h);
}

const char *hold_trouble(const struct hold *h)
{
	return h->trouble.text;
}

bool hold_is_sending(const struct hold *h)
{
	return h->lane.ops->n_queued(&h->lane) > 0 ||
	       hold_fifo_peek(&h->fifo, h->released_epoch) != NULL;
}

bool hold_needs_seal(const struct hold *h)
{
	return hold_fifo_needs_seal(&h->fifo);
}

void hold_discard(struct hold *h)
{
	const struct hold_frame *frame;

	/* receive first: frames that still wait in the ring belong to the old term, too */
	receive(h);
	while ((frame = hold_fifo_peek(&h->fifo, UINT64_MAX))) {
		h->lane.ops->give_back(&h->lane, frame);
		hold_fifo_pop(&h->fifo);
	}
	h->released_epoch = 0;
}

uint64_t hold_oldest_epoch(const struct hold *h)
{
	const struct hold_frame *frame = hold_fifo_peek(&h->fifo, UINT64_MAX);

	return frame ? frame->epoch : UINT64_MAX;
}

uint32_t hold_count(const struct hold *h)
{
	return hold_fifo_count(&h->fifo);
}

uint64_t hold_bytes(const struct hold *h)
{
	return h->fifo.bytes;
}

int hold_stats(struct hold *h, struct hold_stats *ret)
{
	uint64_t prog[HOLD_COUNTER_SLOTS];
	struct hold_stats s = h->stats;
	int r = hold_prog_counters(&h->prog, prog);

	if (r == 0)
		r = h->lane.ops->read_stats(&h->lane, &s);
	if (r < 0)
		return r;
	s.epoch = hold_epoch(h);
	s.mode = hold_mode(h);
	s.frames = hold_count(h);
	s.bytes = hold_bytes(h);
	s.frames_sent_pending = n_sending(h);
	s.frames_peak = h->fifo.frames_peak;
	s.prog_held = prog[HOLD_COUNTER_HELD];
	s.prog_passed = prog[HOLD_COUNTER_PASSED];
	s.prog_dropped_mode = prog[HOLD_COUNTER_DROPPED_MODE];
	s.prog_dropped_no_socket = prog[HOLD_COUNTER_DROPPED_NO_SOCKET];
	s.prog_dropped_long = prog[HOLD_COUNTER_DROPPED_LONG];
	s.prog_dropped_stamp = prog[HOLD_COUNTER_DROPPED_STAMP];
	s.prog_dropped_stray = prog[HOLD_COUNTER_DROPPED_STRAY];
	*ret = s;
	return 0;
}

/* Returns true if frames are in the veth pair, on their way to our socket or to the tap. */
static bool is_in_pair(const struct hold *h)
{
	uint64_t arrived = hold_prog_n_arrived(&h->prog);

	return hold_prog_n_captured(&h->prog) > arrived + h->n_lost_in ||
	       n_handed(h) > hold_prog_n_returned(&h->prog) + h->n_lost_out;
}

/* Send all held frames and wait until they have left. Deleting the veth pair would lose the frames
 * in it. */
static int drain(struct hold *h)
{
	uint64_t start_ns = clock_mono_ns(), now_ns;
	int r;

	h->released_epoch = UINT64_MAX;
	for (;;) {
		r = hold_receive(h);
		if (r < 0)
			return r;
		now_ns = clock_mono_ns();
		if (n_sending(h) == 0 && hold_count(h) == 0 &&
		    (!is_in_pair(h) || now_ns - start_ns >= IN_PAIR_NS))
			return 0;
		if (now_ns - start_ns >= DETACH_WAIT_NS)
			return -ETIMEDOUT;
		/* poll each ms: the kernel's completions cause no event, and a detach may take some
		 * time */
		(void)poll(NULL, 0, 1);
	}
}

int hold_detach(struct hold *h)
{
	int r, q;

	if (!h)
		return 0;
	h->mend_at_ns = 0; /* let drain() try to create the release device once more */
	r = drain(h);
	store_mode(h, HOLD_PASS);
	/* Wait: a program that read the old mode may still be putting a frame into our ring. */
	hold_prog_quiesce();
	q = drain(h);
	/* Frames that could not be sent are lost, as can happen on any network. The guest
	 * continues. */
	if (r < 0 || q < 0)
		log_warn("vm=%s %u held frames were lost: %s", h->vm,
			 hold_count(h) + n_sending(h),
			 *h->trouble.text ? h->trouble.text : strerror(r < 0 ? -r : -q));
	r = hold_prog_detach(&h->prog);
	h->lane.ops->close(&h->lane);
	q = release_port_remove(&h->port);
	r = r < 0 ? r : q;
	hold_prog_done(&h->prog);
	hold_fifo_done(&h->fifo);
	nl_close(&h->nl);
	free(h);
	return r;
}

int hold_remove_left(const char *vm, const char *pin_dir)
{
	int r = hold_prog_remove_left(pin_dir), q;
	struct nl nl;

	if (r == -EBUSY)
		return r;
	q = nl_open(&nl);
	if (q < 0)
		return r < 0 ? r : q;
	q = release_port_remove_left(&nl, vm);
	nl_close(&nl);
	return r < 0 ? r : q;
}

void hold_close(struct hold *h)
{
	if (!h)
		return;
	store_mode(h, HOLD_DROP);
	h->lane.ops->close(&h->lane);
	hold_fifo_done(&h->fifo);
	hold_prog_done(&h->prog);
	nl_close(&h->nl);
	free(h);
}
