/* hold_lane.h - the way that frames take from the kernel into the hold and out again.
 *
 * Why: the hold's order, epochs and limits do not depend on how a frame is stored. A lane stores
 * frames and moves them; hold.c decides which frames wait and which leave. A lane is a table of
 * operations, so hold.c does not know which lane it uses.
 *
 *	lane   | frames                        | program on the tap | stored in
 *	ring   | whole, of an MTU up to 3802   | hold_xdp           | UMEM of two AF_XDP sockets
 *	packet | any, as the guest gives them  | hold_tap           | hold_arena
 *
 * Where: hold.c calls the operations; hold_lane_ring.c and hold_lane_packet.c implement them.
 *
 * Life of a frame: receive -> send, or give_back. After send or give_back, the frame's memory
 * belongs to the lane again.
 *
 * Threads: one owner. Only open() allocates. Only open() and reopen_out() block.
 */
#ifndef NET_HOLD_LANE_H
#define NET_HOLD_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "ebpf/hold_prog.h"
#include "net/hold.h"
#include "net/hold_arena.h"
#include "net/hold_fifo.h"
#include "net/hold_ring.h"

#define HOLD_LANE_BATCH 64U /* maximum number of frames that one call of receive() returns */

struct hold_lane_config {
	const struct hold_config *hold; /* the VM's name, the tap's name, the limits */
	const struct hold_prog *prog;   /* the loaded programs */
	const char *out;		/* name of the release device */
	uint32_t mtu;			/* the tap's MTU */
};

/* The state of the lane `packet`. */
struct hold_packet {
	bool is_open;
	int fd;			      /* the socket, owned; valid if is_open */
	const struct hold_prog *prog; /* borrowed; has the current epoch */
	struct hold_arena arena;
	int broken;             /* -errno if the socket has reported that the device is gone, else
				 * 0 */
	uint64_t full_since_ns; /* since when the kernel has accepted no frame; 0: it accepts
				 * frames */
	/* true until the socket has sent a frame through a new veth pair */
	bool is_new_pair;
	uint64_t n_queue_full;	/* frames that the socket's queue had no room for */
};

struct hold_lane {
	const struct hold_lane_ops *ops; /* set before open() is called */
	union { /* the lane's own state, valid from open() to close() */
		struct hold_ring ring;
		struct hold_packet packet;
	};
	/* these counters of the lane itself change while it runs */
	uint64_t n_bad_stamp; /* frames that came without a valid stamp, and were dropped */
	/* frames that send() took but the kernel refused, so that they never reach the tap */
	uint64_t n_refused;
};

struct hold_lane_ops {
	/* Make the lane. Returns 0, or an error of hold_open() with the reason in *ret_error. On
	 * error the lane owns nothing. */
	int (*open)(struct hold_lane *lane, const struct hold_lane_config *config,
		    struct error *ret_error);
	void (*close)(struct hold_lane *lane); /* accepts a lane that is not open */

	/* Returns a descriptor that is readable when a frame has arrived. Owned by the lane. */
	int (*fd)(const struct hold_lane *lane);

	/* Take up to @n_max (<= HOLD_LANE_BATCH) arrived frames. Returns how many. Frames that the
	 * lane drops in this call are counted, but not returned, so 0 can be returned although
	 * further frames have arrived. The caller must repeat the call until *ret_is_empty is
	 * true. */
	uint32_t (*receive)(struct hold_lane *lane, struct hold_frame *ret, uint32_t n_max,
			    bool *ret_is_empty);

	/* Drop a frame that was received. */
	void (*give_back)(struct hold_lane *lane, const struct hold_frame *frame);

	/* Let a received frame leave. Returns 1 if the lane has taken it;
	 * 0: the lane can take none now;
	 * -errno: the release device is broken.
	 * After 0 and -errno the caller still owns the frame. */
	int (*send)(struct hold_lane *lane, const struct hold_frame *frame);

	/* Give the kernel the frames that send() has only queued. To notice a broken device, call
	 * this even if there is nothing to send. Returns 0, or -errno if the release device is
	 * broken: the frames stay queued. */
	int (*flush)(struct hold_lane *lane);

	/* From now on use the device @out, which the caller has created. Returns 0 or -errno. On
	 * error nothing has changed. */
	int (*reopen_out)(struct hold_lane *lane, const char *out);

	/* Returns how many frames send() has queued that the kernel has not accepted yet. */
	uint32_t (*n_queued)(const struct hold_lane *lane);
	/* Returns how many frames are queued, or accepted by the kernel but not yet reported as
	 * sent. */
	uint32_t (*n_sending)(const struct hold_lane *lane);

	/* Set the members of @ret that the kernel counts for this process's sockets, and
	 * dropped_bad_stamp. Returns 0 or -errno. */
	int (*read_stats)(struct hold_lane *lane, struct hold_stats *ret);
};

/* Used for a guest without offloads, if a frame of the tap's MTU fits into a UMEM frame. hold_xdp
 * stamps the frames and redirects them to the UMEM of an AF_XDP socket. */
extern const struct hold_lane_ops hold_lane_ring;

/* Used for a guest with offloads, which leaves checksums and segmentation to the host. Also used
 * for a tap whose MTU is too large for a UMEM frame. hold_tap sends the frames to a packet socket
 * on hfoN. */
extern const struct hold_lane_ops hold_lane_packet;

#endif
