/* standby.h - the standby side of one VM: keep a copy of its guest, promote it on order.
 *
 * What: takes the primary's epochs from the gateway, buffers each whole, acknowledges it, applies
 * it to the guest RAM file, and keeps a warm QEMU on that file, so a promotion only loads 80 KB of
 * device state.
 *
 * Why one object with one thread: every change of the copy (apply, promote, purge) happens on the
 * standby's own thread. So no lock is needed to ensure that no epoch of the old term is taken after
 * an accepted promotion.
 *
 * Where: hostagent/agent.c owns one per standby VM and feeds it ORDERs; it uses standby/epochlog.h
 * (buffer and check), standby/ramfile.h (the copy), standby/qemu.h (the warm process),
 * standby/promote.h, link/link.h (the STREAM connection).
 *
 * Threads: the owner calls standby_open and standby_close. Any thread may call standby_start_qemu,
 * standby_promote and standby_stop, also at once; the standby's thread carries them out one after
 * the other, and the caller waits. They wait for at most the time each one names, so call them from
 * a thread that no beat depends on. Any thread may call standby_status; it never waits for the
 * work.
 *
 *	            STANDBY_START              epoch complete               PROMOTE
 *	 IDLE ──────────► STARTING ──► WARM ───────────────► READY ──────────────► PROMOTING ──► RUNNING
 *	   ▲                 │ ▲        │ ▲ QEMU died: restart │  refused: stays READY   │          │ QEMU ended
 *	   └──STANDBY_STOP───┴─┴────────┴─┴────────────────────┘                         └► FAILED ◄┘
 */
#ifndef STANDBY_STANDBY_H
#define STANDBY_STANDBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define STANDBY_NAME_MAX  64   /* VM name with its NUL */
#define STANDBY_PATH_MAX  108  /* sockaddr_un.sun_path */
#define STANDBY_STATS_MAX 4096 /* "key=value\n" lines with the NUL */

struct gateway_view;
struct progress;
struct link;
struct standby;
struct link_config;

/* The values are those in a REPORT (agent-side VM states), so they can be copied into it. */
enum standby_state {
	STANDBY_STATE_IDLE	= 0,  /* opened, not started (or stopped) */
	STANDBY_STATE_RUNNING	= 6,  /* promoted: the guest runs here, unprotected */
	STANDBY_STATE_STARTING	= 7,  /* QEMU is being started or restarted */
	STANDBY_STATE_WARM	= 8,  /* QEMU is warm, no complete epoch of this term yet */
	STANDBY_STATE_READY	= 9,  /* QEMU is warm and a complete epoch is held */
	STANDBY_STATE_PROMOTING = 10, /* a promotion was accepted */
	STANDBY_STATE_FAILED	= 11, /* needs the operator; the text says why */
};

/* All pointers are borrowed for the life of the object, all of it is immutable after open. */
struct standby_config {
	const char *vm;	       /* name of the VM: [a-z0-9][a-z0-9-]{0,62} */
	const char *state_dir; /* directory for this VM alone, on tmpfs; made if missing */
	const char *run_dir;   /* for VM.standby.qmp, VM.standby.pid, VM.standby.log */
	const char
		*command_file; /* has the whole QEMU command line, quoted as for a shell; read anew
				   * each time before a QEMU is started */

	const char *tap;	   /* the guest's tap, which the command must name; NULL: any */

	uint64_t log_bytes_max;	    /* one buffered epoch; 0: 2 x RAM + 64 MiB */
	unsigned start_timeout_ms;  /* QEMU start until QMP answers; 0: 60000 */
	unsigned promote_timeout_ms; /* for a promotion or rehearsal without progress; 0: 20000 */
	uint64_t clock_step_max_ns;  /* largest clock jump at a promotion; 0: none */

	/* Where the STREAM connection goes; NULL: none is opened (tests and drivers then feed
	 * frames through standby/epochlog.h themselves). */
	const struct link_config *gateway;

	/* Without a gateway (peer/agree.h). All zero: no primary is served. */
	const char *host;	   /* this host's name, for WELCOME */
	uint8_t gateway_lost;	   /* enum agree_policy of the VM's file */
	uint64_t gateway_lost_ns;
	struct gateway_view *view; /* when this host last heard it; NULL: not kept */

	struct progress *progress; /* reports orders and rehearsals; NULL: not wanted */

	/* Called on the standby's thread after each change of state; must only wake the owner up.
	 * NULL: not wanted. */
	void (*changed)(void *arg);
	void *changed_arg;
};

struct standby_status {
	enum standby_state state;
	uint64_t term;		      /* the newest term this standby has accepted */
	uint64_t complete_epoch;      /* last complete epoch of that term; 0: none */
	uint64_t applied_epoch;	      /* last epoch applied to the copy; <= complete_epoch */
	int qemu_pid;		      /* -1: none */
	bool guest_ended;	      /* a guest promoted here has ended since */
	bool stream_up;		      /* WELCOMEd by a gateway right now, or is_direct */
	bool is_direct;		      /* the primary streams to this host without a gateway */
	char qmp[STANDBY_PATH_MAX];   /* QMP socket of the warm (RUNNING: of the guest's) QEMU */
	char text[ERROR_TEXT_BYTES];  /* what a person needs to know now; "" when all is well */
	char stats[STANDBY_STATS_MAX]; /* "key=value\n"... */
};

/* Make the object, load what an earlier run left in state_dir (discard unfinished epochs, apply
 * complete ones) and start its thread. Then, without an order:
 *	a warm QEMU was left	it is adopted and the stream opened, in the term held: as before
 *	a promoted guest	is found again: RUNNING, or FAILED when its QEMU has ended
 *	anything else		IDLE, waits for standby_start_qemu() or standby_promote()
 * An unusable command file is no error here: the orders that need it report what is wrong with it.
 * @config is copied, its pointers are borrowed.
 * 0; -EBUSY: another agent holds state_dir; -EINVAL: bad configuration; -ENOMEM; other -errno.
 * On error *ret_error says what is wrong and what to do. */
int standby_open(const struct standby_config *config, struct standby **ret_standby,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Carry out STANDBY_START of @term: start QEMU warm (or adopt the one an earlier agent left), then
 * open the stream. A term newer than the held one drops the older term's epochs: they could only
 * rewind the guest. Idempotent. Waits up to start_timeout_ms + 20 s + the time it takes to reserve
 * guest RAM (0.3 s per GiB, the first time). 0: warm, stream being opened (see status for when it
 * is up); -ESTALE: @term is older than the held one; -EBUSY: the guest runs here (promoted);
 * -EINVAL: the command line cannot be used; other -errno. On error *ret_error says why. */
int standby_start_qemu(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out PROMOTE: apply the complete epoch, load the copy into QEMU, record @term, let the guest
 * run. Idempotent: once promoted in @term it returns 0 again. Waits as long as there is progress,
 * and promote_timeout_ms after that. @min_epoch	lowest acceptable epoch of the term held
 * before 0 with *ret_epoch = the epoch the guest goes on from; -ENODATA: no complete epoch, or
 * older than @min_epoch; -ESTALE: @term is not newer than the held one: nothing was done, the
 * standby goes on as it was; -EIO: QEMU refused or died; other -errno: the order was accepted and
 * failed: no epoch of the old term is taken any more, the copy stays, the order may be repeated. On
 * error *ret_error says why. */
int standby_promote(struct standby *sb, uint64_t term, uint64_t min_epoch, uint64_t *ret_epoch,
		    struct error *ret_error) __attribute__((warn_unused_result));

/* Carry out STANDBY_STOP: close the stream, end the warm QEMU. @purge also removes the epochs and
 * the RAM file. A promoted guest is never touched: then nothing is done. Idempotent. Waits up to 5
 * s. 0; -EBUSY: the guest runs here, nothing was done; -ESTALE: this host voted for the primary in
 * @term or a newer term, and the primary relies on that vote; other -errno with *ret_error. */
int standby_stop(struct standby *sb, uint64_t term, bool purge, struct error *ret_error)
	__attribute__((warn_unused_result));

/* End a guest that was promoted here and then outvoted (FENCE): kill its QEMU, state IDLE, the copy
 * stays. @term: the newer term. 0; -ESTALE: @term is not newer than the term the guest runs in. */
int standby_fence(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The VM's primary connected: @link belongs to this object from now on. Its HELLO was taken already
 * and had @version, @features and, in the header, @term. Any thread; does not wait. */
void standby_take_peer(struct standby *sb, struct link *link, uint64_t term, uint16_t version,
		       uint64_t features);

/* Take an atomic snapshot. */
void standby_status(struct standby *sb, struct standby_status *ret_status);

/* End the thread and free the object. QEMU - warm or running - goes on, and the files stay, for the
 * next agent to adopt. NULL is accepted. */
void standby_close(struct standby *sb);

#endif
