/* standby.h - the standby side of one VM: keeps a copy of its guest. When the gateway orders it,
 * starts the guest from this copy (promotes the copy).
 *
 * What: a standby receives the primary's epochs from the gateway. It buffers each epoch as a whole,
 * acknowledges it and applies it to the guest RAM file. A warm QEMU uses this file as its guest's
 * RAM. At a promotion it only has to load 80 KB of device state.
 *
 * Why one object with one thread: every change of the copy (apply, promote, purge) happens on the
 * standby's own thread. So after a promotion was accepted, no epoch of the old term can be
 * accepted. This needs no lock.
 *
 * Where: hostagent/vm/vm_open.c opens one per standby VM, and vm/vm.c passes ORDERs to it. A
 * standby uses standby/epochlog.h (buffer and check), standby/ramfile.h (the copy), standby/qemu.h
 * (the warm process), standby/promote.h, link/link.h (the STREAM connection).
 *
 * Threads: the owner calls standby_open and standby_close. Any thread can call the orders
 * standby_start_qemu, standby_promote, standby_stop and standby_fence, even at the same time. The
 * standby's thread carries out the orders one by one, and each caller waits for its order. So a
 * thread that must send beats must not call them. Any thread can call standby_status, which never
 * waits for an order.
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
#include <sys/types.h>

#include "base/error.h"

#define STANDBY_PATH_MAX  108  /* size of sockaddr_un.sun_path */
#define STANDBY_STATS_MAX 4096 /* size of all statistics lines, with the NUL */

struct gateway_view;
struct progress;
struct link;
struct standby;
struct link_config;
struct vmm_description;

/* The agent-side VM states in a REPORT have the same values, so a state can be copied into a
 * REPORT. */
enum standby_state {
	STANDBY_STATE_IDLE	= 0,  /* opened but not started, or stopped */
	STANDBY_STATE_RUNNING	= 6,  /* promoted: the guest runs here, unprotected */
	STANDBY_STATE_STARTING	= 7,  /* QEMU is being started or restarted */
	STANDBY_STATE_WARM	= 8,  /* QEMU is warm, no complete epoch of this term yet */
	STANDBY_STATE_READY	= 9,  /* QEMU is warm and a complete epoch is held */
	STANDBY_STATE_PROMOTING = 10, /* a promotion was accepted */
	STANDBY_STATE_FAILED	= 11, /* the operator must act; the text says why */
};

/* A disk of the guest, and this host's image of it: a raw file, a block device or a qcow2 file. */
struct standby_disk {
	char name[64];	  /* the disk's name in QEMU on both hosts (vmm/disks.h) */
	const char *path; /* absolute path of the image; borrowed */
	bool is_qcow2;
};

/* All pointers are borrowed for the life of the object. Nothing may be changed after
 * standby_open(). */
struct standby_config {
	const char *vm;	       /* name of the VM: [a-z0-9][a-z0-9-]{0,62} */
	const char *state_dir; /* directory for this VM alone, on tmpfs; made if missing */
	const char *run_dir;   /* directory for VM.standby.qmp, VM.standby.pid and VM.standby.log */
	/* file with the whole QEMU command line, quoted as for a shell; read each time before a
	 * QEMU is started */
	const char
		*command_file;

	/* the guest's disks, at most IMAGES_MAX (images.h); standby_open() copies the array but not
	 * the paths */
	const struct standby_disk *disks;
	uint32_t n_disks;
	/* the file VM.copying is kept here while the images are an unfinished copy (torn.h); NULL:
	 * not wanted */
	const char *role_dir;
	/* the images are the guest's own, newer than the disk log: by its role, this host ran the
	 * guest last */
	bool owns_disks;
	/* the disk log (durable.h); NULL or "": PATH.hflog beside the first disk's image */
	const char *disk_log;
	/* size of a new disk log; 0: epochs are not logged (disk_durability = memory) */
	uint64_t disk_log_bytes;

	const struct tap_names *taps; /* the taps that the command must name; NULL: any */

	uint64_t log_bytes_max;	    /* limit of one buffered epoch; 0: 2 x RAM + 64 MiB */
	unsigned start_timeout_ms;  /* longest time from the start of QEMU until QMP answers; 0:
				     * 60000 */
	/* longest time that a promotion or rehearsal may go without progress; 0: 20000 */
	unsigned promote_timeout_ms;
	uint64_t clock_step_max_ns;  /* largest clock jump at a promotion; 0: none */
	/* how long to keep the memory of a copy that is no longer wanted (base.h) */
	uint64_t copy_keep_ns;

	/* Drills (drill.h). The strings may be NULL or "". */
	const char *drill_dir;	   /* where second copies of the disks go */
	const char *drill_address; /* this host's address in the drill, such as "192.0.2.250/24" */
	const char *drill_probe;   /* address that must accept a TCP connection, such as
				    * "192.0.2.7:5432" */
	const char *drill_script;  /* script that must end with status 0 */
	uint64_t drill_timeout_ns; /* longest time for each of these; 0: 30 s */

	/* The gateway for the STREAM connection. NULL: no connection is opened (tests and drivers
	 * then pass frames to standby/epochlog.h themselves). */
	const struct link_config *gateway;

	/* These members are for serving the primary without a gateway (peer/agree.h). If all are
	 * zero, no primary is served. */
	const char *host;	   /* this host's name, for WELCOME */
	uint8_t gateway_lost;	   /* enum agree_policy of the VM's file */
	uint64_t gateway_lost_ns;
	/* records when this host last heard from the gateway; NULL: not wanted */
	struct gateway_view *view;

	struct progress *progress; /* reports the progress of orders and rehearsals; NULL: not
				    * wanted */

	/* Called on the standby's thread after each change of state. The callback must only wake
	 * the owner. NULL: not wanted. */
	void (*changed)(void *arg);
	void *changed_arg;
	/* Called on the standby's thread just before a guest's first instruction runs here in
	 * @term: record on the disk that it may have run. Blocks on that disk, for up to @limit_ns.
	 * @arg is changed_arg. Returns 0, or -errno with *ret_error. After an error a cold start
	 * fails, but a promotion goes on. NULL: not wanted. */
	int (*may_run)(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error);
};

/* How the last drill ended. */
struct standby_drilled {
	uint64_t number;     /* number of the drill; 0: no drill has ended */
	int result; /* 0: the guest ran, and passed the probe and the script; -errno */
	uint64_t epoch;	     /* epoch of the copy that was tried; 0: there was none yet */
	uint64_t ms;	     /* how long the drill took */
	struct error text;   /* what was seen, or what failed */
};

struct standby_status {
	enum standby_state state;
	uint64_t term;		      /* the newest term this standby has accepted */
	uint64_t complete_epoch;      /* last complete epoch of that term; 0: none */
	uint64_t applied_epoch;	      /* last epoch applied to the copy; <= complete_epoch */
	/* if this host lost its memory with the copy, and the disk log was replayed: the epoch that
	 * the images hold as a whole. Otherwise disks_epoch is 0 */
	uint64_t disks_term, disks_epoch;
	bool is_torn;		      /* the images are an unfinished copy (torn.h) */
	int qemu_pid;		      /* id of QEMU's process; -1: none */
	bool guest_ended;	      /* a guest was promoted here and has ended since */
	/* the stream is open: a gateway has sent WELCOME and is still connected, or is_direct is
	 * true */
	bool stream_up;
	bool is_direct;               /* the primary streams to this host without a gateway */
	/* QMP socket of the warm QEMU; in state RUNNING, of the guest's QEMU */
	char qmp[STANDBY_PATH_MAX];
	/* human-readable: what is wrong, or what the operator should know; "" if all is well */
	char text[ERROR_TEXT_BYTES];
	char stats[STANDBY_STATS_MAX]; /* statistics, as lines "key=value\n" */
	struct standby_drilled drilled;
};

/* Make the object, and load what an earlier agent left in state_dir. Discard unfinished epochs, and
 * apply a complete epoch. If the copy in state_dir is gone, replay the disk log into the images.
 * Start the object's thread. The standby then continues without an order:
 *
 *	what was left		what happens
 *	a warm QEMU		QEMU is adopted and the stream is opened, in the copy's term
 *	a promoted guest	the state is RUNNING, or FAILED if the guest's QEMU has ended
 *      anything else           the state is IDLE until standby_start_qemu() or standby_promote()
 *
 * A bad command file is not an error here: an order that needs the file reports what is wrong.
 * @config is copied, its pointers are borrowed. Returns 0;
 * -EBUSY: another agent has the lock of state_dir;
 * -EINVAL: the configuration is bad;
 * -ENOMEM; other -errno.
 * On error *ret_error says what is wrong and what to do. */
int standby_open(const struct standby_config *config, struct standby **ret_standby,
		 struct error *ret_error) __attribute__((warn_unused_result));

/* Carry out STANDBY_START in @term: start a warm QEMU, or adopt the one that an earlier agent left.
 * Then open the stream. If @term is newer than the copy's term, drop the copy and its epochs: they
 * are too old for a promotion. Idempotent. Waits up to start_timeout_ms + 20 s. The first call also
 * reserves guest RAM, which takes 0.3 s per GiB.
 * Returns 0 once QEMU is warm and the stream is being opened; standby_status() says when it is up;
 * -ESTALE: @term is older than the copy's term or than a promotion that was accepted here;
 * -EBUSY: the guest runs here (promoted);
 * -EINVAL: the command line cannot be used;
 * other -errno.
 * On error *ret_error says why. */
int standby_start_qemu(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out PROMOTE: apply the complete epoch, load the copy into QEMU, record @term, and start the
 * guest. Idempotent: if the guest was promoted in @term already, returns 0 again. If it was
 * promoted in an older term and runs, only records @term. Waits as long as there is progress. Gives
 * up after promote_timeout_ms without progress. @min_epoch: the oldest epoch of the copy's term
 * that is acceptable.
 * Returns 0, and *ret_epoch is the epoch from which the guest continues;
 * -ENODATA: there is no complete epoch, or only one older than @min_epoch; nothing has changed;
 * -ESTALE: @term is not newer than the copy's term; nothing has changed;
 * -EIO: QEMU refused the state or died;
 * other -errno.
 * After -EIO and other -errno no epoch of the old term is accepted any more. The copy stays, and
 * the order can be repeated. On error *ret_error says why. */
int standby_promote(struct standby *sb, uint64_t term, uint64_t min_epoch, uint64_t *ret_epoch,
		    struct error *ret_error) __attribute__((warn_unused_result));

/* Carry out STANDBY_STOP: close the stream and end the warm QEMU. If @purge is true, also remove
 * the epochs and the RAM file. A promoted guest is never stopped. Idempotent. Waits up to 5 s.
 * Returns 0;
 * -EBUSY: the guest runs here, and nothing was done;
 * -ESTALE: the primary relies on this host's vote in @term or a newer term;
 * other -errno.
 * On error *ret_error says why. */
int standby_stop(struct standby *sb, uint64_t term, bool purge, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out FENCE: another host owns the VM in the newer @term, so end a guest that was promoted
 * here. Kills its QEMU. The state becomes IDLE, and @term is recorded. Returns 0, or -ESTALE if
 * @term is not newer than the term in which the guest runs. */
int standby_fence(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out START: boot the guest from this host's images in @term, without a copy of its memory.
 * If it runs here already, only record @term. Waits up to start_timeout_ms + 20 s.
 * Returns 0 once QEMU lets the guest run;
 * -ESTALE: @term is older than what was accepted here;
 * other errors of standby_start_qemu(), and of may_run().
 * On error *ret_error says why, and no guest is left. */
int standby_boot(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* If this host has no copy, copy the memory of the guest that was fenced here into the copy's files
 * (inherit.h). A new copy then needs to bring only what differs. @pid and @monitor: the QEMU of the
 * fenced guest, which is stopped. Returns 0, also if there is a copy or a warm QEMU; or an error of
 * inherit_guest(). After an error the files are removed, and the caller goes on without them. */
int standby_inherit(struct standby *sb, const char *monitor, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

/* The guest itself runs on the images: end the disk log, so that it is never replayed over what the
 * guest writes. Usually does nothing, since a promotion and a cold start have done it. Otherwise
 * blocks on the disk. An error is only logged: owns_disks keeps the next agent from a replay. */
void standby_own_disks(struct standby *sb);

/* Begin a drill: start a second, isolated guest from the copy, and check whether it runs (drill.h).
 * Does not wait for the drill's end. standby_status() later reports how the drill with number
 * *ret_number ended. If a drill runs already, *ret_number is its number. Returns 0;
 * -ENODATA: this host has no copy of the guest;
 * -ENOTSUP: a disk cannot be copied; other -errno.
 * On error *ret_error says why. */
int standby_drill(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Pass in a connection from the VM's primary. From now on the standby owns @link. The primary's
 * HELLO was received already: it had @version, @features and, in its header, @term. Any thread can
 * call this. Does not wait. */
void standby_take_peer(struct standby *sb, struct link *link, uint64_t term, uint16_t version,
		       uint64_t features);

/* Copy the description of the QEMU in which the guest was last promoted. The description was made
 * before that promotion. *ret is empty if this agent has promoted no guest. The caller frees it
 * with vmm_description_done(). Returns 0, -E2BIG or -ENOMEM. Any thread. */
int standby_describe(struct standby *sb, struct vmm_description *ret)
	__attribute__((warn_unused_result));

/* Get an atomic snapshot of the standby's status. */
void standby_status(struct standby *sb, struct standby_status *ret_status);

/* End the thread and free the object. QEMU continues, whether it is warm or runs the guest, and the
 * files stay. So the next agent can adopt both. Accepts NULL. */
void standby_close(struct standby *sb);

#endif
