/* standby.h - the standby side of one VM: keeps a copy of the VM's guest, and starts the guest from
 * this copy when the gateway orders a promotion.
 *
 * What: a standby receives the primary's epochs from the gateway. It buffers each epoch as a whole,
 * acknowledges it, and applies it to the file with guest RAM. A warm QEMU uses this file as its
 * guest's RAM, so at a promotion it only has to load 80 KB of device state.
 *
 * Why one object with one thread: every change of the copy (apply, promote, purge) happens on the
 * standby's own thread. So no epoch of the old term can be accepted after a promotion was accepted,
 * and this needs no lock.
 *
 * Where: hostagent/vm/vm_open.c opens one per standby VM, and vm/vm.c passes ORDERs to it. A
 * standby uses standby/epochlog.h (buffer and check), standby/ramfile.h (the copy), standby/qemu.h
 * (the warm process), standby/promote.h, link/link.h (the STREAM connection).
 *
 * Threads: one thread calls standby_open() and standby_close(). Any thread may give an order: call
 * standby_start_qemu(), standby_promote(), standby_stop(), standby_fence() and the like, even at
 * the same time as another thread. The standby's thread carries out the orders one by one, and each
 * caller waits for its order. So a thread that must send beats must not give orders. Any thread may
 * call standby_status(), which never waits for an order.
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
	/* QEMU is warm; there is no complete epoch of this term yet */
	STANDBY_STATE_WARM	= 8,
	STANDBY_STATE_READY	= 9,  /* QEMU is warm, and there is a complete epoch */
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
	/* file with the whole QEMU command line, quoted as for a shell; read before each start of a
	 * QEMU */
	const char
		*command_file;

	/* the guest's disks, at most IMAGES_MAX (images.h); standby_open() copies the array but not
	 * the paths */
	const struct standby_disk *disks;
	uint32_t n_disks;
	/* the file VM.copying is kept here while the images are an unfinished copy (torn.h); NULL:
	 * not wanted */
	const char *role_dir;
	/* the images are the guest's own and newer than the disk log, because this host ran the
	 * guest last (according to its role file) */
	bool owns_disks;
	/* the disk log (durable.h); NULL or "": PATH.hflog beside the first disk's image */
	const char *disk_log;
	/* size of a new disk log; 0: epochs are not logged (disk_durability = memory) */
	uint64_t disk_log_bytes;

	const struct tap_names *taps; /* the taps that the command must name; NULL: any */

	uint64_t log_bytes_max;	    /* limit of one buffered epoch; 0: 2 x RAM + 64 MiB */
	/* longest time from the start of QEMU until its monitor answers; 0: 60000 */
	unsigned start_timeout_ms;
	/* longest time without progress in a promotion or rehearsal; 0: 20000 */
	unsigned promote_timeout_ms;
	/* largest step of the guest's clock at a promotion; 0: the clock is not set */
	uint64_t clock_step_max_ns;
	/* how long to keep the memory of a copy that is not wanted any more (base.h) */
	uint64_t copy_keep_ns;

	/* Drills (drill.h). The strings may be NULL or "". */
	const char *drill_dir;	   /* where second copies of the disks go */
	const char *drill_address; /* this host's address in the drill, such as "192.0.2.250/24" */
	const char *drill_probe;   /* address that must accept a TCP connection, such as
				    * "192.0.2.7:5432" */
	const char *drill_script;  /* script that must end with status 0 */
	/* longest time for the guest's start, for drill_probe and for drill_script, each; 0: 30
	 * s */
	uint64_t drill_timeout_ns;

	/* The gateway for the STREAM connection. NULL: none is opened (tests pass frames to
	 * standby/epochlog.h themselves). */
	const struct link_config *gateway;

	/* For serving the primary without a gateway (peer/agree.h). If all four are zero, no
	 * primary is served. */
	const char *host;	   /* this host's name, for WELCOME */
	uint8_t gateway_lost;	   /* enum agree_policy of the VM's file */
	uint64_t gateway_lost_ns;
	/* when this host last heard from the gateway, and which gateway it obeys; NULL: not
	 * wanted */
	struct gateway_view *view;

	struct progress *progress; /* reports the progress of orders and rehearsals; NULL: not
				    * wanted */

	/* Called on the standby's thread after each change of state. Must do no more than wake
	 * another thread. NULL: not wanted. */
	void (*changed)(void *arg);
	void *changed_arg;
	/* Called on the standby's thread just before a guest's first instruction runs here in
	 * @term: record on a disk that the guest may have run here. May block for up to @limit_ns.
	 * @arg is changed_arg. Returns 0, or -errno with *ret_error. After an error a cold start
	 * fails, but a promotion goes on. NULL: not wanted. */
	int (*may_run)(void *arg, uint64_t term, uint64_t limit_ns, struct error *ret_error);
};

/* How the last drill ended. */
struct standby_drilled {
	uint64_t number;     /* number of the drill; 0: no drill has ended */
	int result; /* 0: the guest ran, and passed the probe and the script; -errno */
	/* epoch of the copy that was tried; 0: the drill has ended before it had one */
	uint64_t epoch;
	uint64_t ms;	     /* how long the drill took */
	struct error text;   /* what was seen, or what failed */
};

struct standby_status {
	enum standby_state state;
	uint64_t term;		      /* the newest term this standby has accepted */
	uint64_t complete_epoch;      /* last complete epoch of that term; 0: none */
	uint64_t applied_epoch;	      /* last epoch applied to the copy; <= complete_epoch */
	/* If this host lost its memory, and with it the copy, and the disk log was then replayed:
	 * the epoch that the images have as a whole, and its term. Otherwise disks_epoch is 0 */
	uint64_t disks_term, disks_epoch;
	bool is_torn;		      /* the images are an unfinished copy (torn.h) */
	int qemu_pid;		      /* id of QEMU's process; -1: none */
	bool guest_ended;	      /* a guest was promoted here, but its QEMU has ended */
	/* the stream is open: from a gateway that has sent WELCOME and is still connected; or, if
	 * is_direct is true, from the primary */
	bool stream_up;
	bool is_direct;               /* the primary streams to this host without a gateway */
	/* QMP socket of the warm QEMU; in state RUNNING, of the QEMU in which the guest runs */
	char qmp[STANDBY_PATH_MAX];
	/* human-readable: what is wrong, or what the operator should know; "" if all is well */
	char text[ERROR_TEXT_BYTES];
	char stats[STANDBY_STATS_MAX]; /* statistics, as lines "key=value\n" */
	struct standby_drilled drilled;
};

/* Make the object, and load what an earlier agent left in state_dir: discard unfinished epochs, and
 * apply a complete epoch. If the copy in state_dir is gone, replay the disk log into the images.
 * Start the object's thread. The standby then goes on without an order:
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
 * are too old for a promotion. Idempotent. Waits for up to start_timeout_ms + 20 s. The first call
 * also reserves guest RAM, which takes 0.3 s per GiB.
 * Returns 0: QEMU is warm, and the stream is being opened. standby_status() says when it is open;
 * -ESTALE: @term is older than the copy's term, or than that of a promotion that was accepted here;
 * -EBUSY: the guest runs here (promoted);
 * -EINVAL: the command line cannot be used;
 * other -errno.
 * On error *ret_error says why. */
int standby_start_qemu(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out PROMOTE: apply the complete epoch, load the copy into QEMU, record @term, and start the
 * guest. Idempotent: if the guest was promoted in @term already, returns 0 again. If the guest was
 * promoted in an older term and runs, only records @term. @min_epoch: the oldest epoch of the
 * copy's term that may be promoted. Waits as long as there is progress, and gives up after
 * promote_timeout_ms without progress.
 * Returns 0, and *ret_epoch is the epoch from which the guest continues;
 * -ENODATA: there is no complete epoch, or only one older than @min_epoch; nothing has changed;
 * -ESTALE: @term is not newer than the copy's term; nothing has changed;
 * -EIO: QEMU refused the state or died;
 * other -errno.
 * After -EIO and other -errno no epoch of the old term is accepted any more. The copy stays, and
 * the order can be given again. On error *ret_error says why. */
int standby_promote(struct standby *sb, uint64_t term, uint64_t min_epoch, uint64_t *ret_epoch,
		    struct error *ret_error) __attribute__((warn_unused_result));

/* Carry out STANDBY_STOP: close the stream and end the warm QEMU. If @purge is true, also drop the
 * copy; its files are removed after copy_keep_ns. A promoted guest is never stopped. Idempotent.
 * Waits for up to 5 s.
 * Returns 0;
 * -EBUSY: the guest runs here, and nothing was done;
 * -ESTALE: the primary relies on this host's vote in @term or in a newer term; nothing was done;
 * other -errno.
 * On error *ret_error says why. */
int standby_stop(struct standby *sb, uint64_t term, bool purge, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out FENCE: another host owns the VM in the newer @term. So kill the QEMU of a guest that
 * was promoted here, or end the warm QEMU, and record @term. The state becomes IDLE. Returns 0,
 * also if this host has no guest and is in @term already;
 * -ESTALE: @term is not newer than the term that is recorded here; nothing was done;
 * other -errno.
 * On error *ret_error says why. */
int standby_fence(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Carry out START: boot the guest from this host's images in @term, without a copy of its memory.
 * If the guest runs here already, only record @term. Waits for up to start_timeout_ms + 20 s.
 * Returns 0: QEMU lets the guest run;
 * -ESTALE: @term is older than a term that was accepted here; nothing was done;
 * -EBUSY: a promotion was not completed here, or another QEMU uses the images;
 * other -errno, also of may_run().
 * On error *ret_error says why, and this call has left no guest. */
int standby_boot(struct standby *sb, uint64_t term, struct error *ret_error)
	__attribute__((warn_unused_result));

/* If this host has no copy, copy the memory of the guest that was fenced here into the copy's files
 * (inherit.h). For a new copy, the primary then sends only what differs. @pid and @monitor: the
 * QEMU of the fenced guest, which is stopped. Returns 0, also if there is a copy or a warm QEMU; or
 * an error of inherit_guest(). After an error the files are removed, and the caller goes on without
 * them. */
int standby_inherit(struct standby *sb, const char *monitor, pid_t pid, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Call this when the guest itself runs on the images: end the disk log, so that it is never
 * replayed over the guest's writes. Usually there is nothing to do, because a promotion or a cold
 * start has ended the log. Otherwise blocks on the disk. An error is only logged: owns_disks keeps
 * the next agent from a replay. */
void standby_own_disks(struct standby *sb);

/* Begin a drill: start a second, isolated guest from the copy, and check whether it runs (drill.h).
 * Does not wait for the drill's end: standby_status() reports later how the drill with the number
 * *ret_number has ended. If a drill runs already, *ret_number is its number. Returns 0;
 * -ENODATA: this host has no copy of the guest;
 * -ENOTSUP: a disk cannot be copied;
 * other -errno.
 * On error *ret_error says why. */
int standby_drill(struct standby *sb, uint64_t *ret_number, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Pass in a connection from the VM's primary. The standby owns @link then. The primary's HELLO was
 * received already: it had @version, @features and, in its header, @term. Any thread may call this.
 * Does not wait. */
void standby_take_peer(struct standby *sb, struct link *link, uint64_t term, uint16_t version,
		       uint64_t features);

/* Copy the description of the QEMU in which this agent last promoted the guest, made before that
 * promotion. If there is none, *ret is empty. The caller frees *ret with vmm_description_done().
 * Any thread may call this. Returns 0, -E2BIG or -ENOMEM. */
int standby_describe(struct standby *sb, struct vmm_description *ret)
	__attribute__((warn_unused_result));

/* Get an atomic snapshot of the standby's status. */
void standby_status(struct standby *sb, struct standby_status *ret_status);

/* End the thread and free the object. The files stay, and QEMU runs on, whether it is warm or runs
 * the guest. So the next agent can continue with both. Accepts NULL. */
void standby_close(struct standby *sb);

#endif
