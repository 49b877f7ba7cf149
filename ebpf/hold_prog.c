#include "ebpf/hold_prog.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "ebpf/pin_dir.h"
#include "hold.skel.h"

/* Priority of our filter at the ingress of the agent's device hfbN. There is no other filter. */
#define TC_PRIORITY 1U
#define TC_HANDLE   0x686f6c64U

/* These constants are in the kernel's include/uapi/linux/bpf.h since Linux 6.6. Debian 12's header
 * lacks them. */
#define LINK_TYPE_TCX	   11U
#define ATTACH_TCX_INGRESS 46
/* BPF_F_BEFORE: attach before a given program; if none is given, before all others */
#define ATTACH_BEFORE      (1U << 3)

#define LINK_XDP "link"
#define LINK_TC	 "link_tc"

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	/* log all messages at debug level, because the caller reports the errors that matter */
	(void)level;
	log_writev(LOG_LEVEL_DEBUG, "libbpf", format, args);
	return 0;
}

static const char *const pin_names[] = {LINK_XDP, LINK_TC, "hold_control", "hold_xsks",
					"hold_counters", "hold_sent"};

static int pin_path(const struct hold_prog *prog, const char *name, char *ret, size_t size)
{
	return pin_dir_path(prog->pin_dir, name, ret, size);
}

static int remove_pins(const struct hold_prog *prog)
{
	return pin_dir_empty(prog->pin_dir, pin_names, ARRAY_SIZE(pin_names));
}

/* Open the link pinned as @name. Returns 0 if it is on device @ifindex;
 * -ENODEV: it is on another device, or its device is gone;
 * -ENOENT: there is no such link;
 * other -errno. */
static int open_link(const struct hold_prog *prog, const char *name, int *ret_fd)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	char path[512];
	int fd, r = pin_path(prog, name, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	/* An XDP link and a tcx link have the device's ifindex at the same offset. */
	if (r == 0 && ((info.type != BPF_LINK_TYPE_XDP && info.type != LINK_TYPE_TCX) ||
		       info.xdp.ifindex != (uint32_t)prog->ifindex))
		r = -ENODEV;
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* Open the pinned links that are on our device. If there is none, the pins belong to an earlier
 * guest, whose mode must not apply to this guest. So remove all pins in this case. (A link whose
 * device is gone has ifindex 0.) */
static int find_pinned_link(struct hold_prog *prog)
{
	int r = open_link(prog, prog->is_offload ? LINK_TC : LINK_XDP, &prog->link_fd), q;

	if (r < 0 && r != -ENOENT && r != -ENODEV)
		return r;
	q = open_link(prog, prog->is_offload ? LINK_XDP : LINK_TC, &prog->other_fd);
	if (q < 0 && q != -ENOENT && q != -ENODEV)
		return q;
	prog->is_taken_over = r == 0 || q == 0;
	return prog->is_taken_over ? 0 : remove_pins(prog);
}

static int load(struct hold_prog *prog, const struct hold_prog_config *config)
{
	struct hold_skel *skel;
	struct bpf_map *pinned[4];
	char path[512];
	int r;

	skel = hold_skel__open();
	if (!skel)
		return errno ? -errno : -ENOMEM;
	prog->skel = skel;
	skel->rodata->max_frame_bytes = config->max_frame_bytes;
	skel->rodata->tap_ifindex = (uint32_t)config->ifindex;
	skel->rodata->is_offload = config->is_offload;
	pinned[0] = skel->maps.hold_control;
	pinned[1] = skel->maps.hold_xsks;
	pinned[2] = skel->maps.hold_counters;
	/* Older agents did not pin this map. If there is no pin, libbpf creates the map. */
	pinned[3] = skel->maps.hold_sent;
	for (size_t i = 0; i < ARRAY_SIZE(pinned); i++) {
		r = pin_path(prog, bpf_map__name(pinned[i]), path, sizeof(path));
		if (r == 0)
			r = bpf_map__set_pin_path(pinned[i], path);
		if (r < 0)
			return r;
	}
	r = hold_skel__load(skel);
	if (r < 0)
		return r;
	prog->xsks_fd = bpf_map__fd(skel->maps.hold_xsks);
	prog->control = mmap(NULL, (size_t)getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
			     bpf_map__fd(skel->maps.hold_control), 0);
	if (prog->control == MAP_FAILED) {
		prog->control = NULL;
		return -errno;
	}
	return 0;
}

static int create_link(struct hold_prog *prog)
{
	LIBBPF_OPTS(bpf_link_create_opts, xdp, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_link_create_opts, tcx, .flags = ATTACH_BEFORE);

	if (prog->is_offload)
		return bpf_link_create(bpf_program__fd(prog->skel->progs.hold_tap), prog->ifindex,
				       ATTACH_TCX_INGRESS, &tcx);
	return bpf_link_create(bpf_program__fd(prog->skel->progs.hold_xdp), prog->ifindex, BPF_XDP,
			       &xdp);
}

static int attach_link(struct hold_prog *prog)
{
	char path[512];
	int fd, r;

	/* Set mode PASS before attaching: a guest without protection must not lose a frame. */
	if (!prog->is_taken_over)
		__atomic_store_n(&prog->control->mode, HOLD_MODE_PASS, __ATOMIC_RELEASE);
	fd = create_link(prog);
	if (fd < 0)
		return fd;
	prog->link_fd = fd;
	r = pin_path(prog, prog->is_offload ? LINK_TC : LINK_XDP, path, sizeof(path));
	return r < 0 ? r : bpf_obj_pin(fd, path);
}

/* Detach the link of the kind (XDP or tc) that is no longer wanted. Call this only after the new
 * link was attached. */
static int detach_other(struct hold_prog *prog)
{
	char path[512];
	int r = pin_path(prog, prog->is_offload ? LINK_XDP : LINK_TC, path, sizeof(path));

	if (r == 0)
		r = bpf_link_detach(prog->other_fd);
	if (r == 0 && unlink(path) < 0)
		r = -errno;
	prog->other_fd = fd_close(prog->other_fd);
	return r;
}

static int query_xdp(int ifindex, bool *ret_attached)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int r = bpf_xdp_query(ifindex, 0, &query);

	if (r == 0)
		*ret_attached = query.attach_mode != XDP_ATTACHED_NONE;
	return r;
}

/* Create the tap's clsact qdisc, because the witness's filter needs it. */
static int make_clsact(struct hold_prog *prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = prog->ifindex, .attach_point = BPF_TC_EGRESS);
	int r = bpf_tc_hook_create(&hook);

	if (r == 0)
		prog->control->flags |= HOLD_FLAG_CLSACT_OURS;
	return r == -EEXIST ? 0 : r;
}

static int remove_clsact(const struct hold_prog *prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = prog->ifindex,
		    /* if both points are named, libbpf removes the qdisc itself */
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	return bpf_tc_hook_destroy(&hook);
}

static int attach_ingress(int ifindex, const struct bpf_program *program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = bpf_program__fd(program));
	int r = bpf_tc_hook_create(&hook);

	return r < 0 && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

int hold_prog_attach_release(struct hold_prog *prog, int ifindex)
{
	return attach_ingress(ifindex, prog->skel->progs.hold_release);
}

int hold_prog_attach_sink(struct hold_prog *prog, int out)
{
	return attach_ingress(out, prog->skel->progs.hold_sink);
}

void hold_prog_set_capture(struct hold_prog *prog, int in)
{
	__atomic_store_n(&prog->skel->bss->capture_ifindex, (uint32_t)in, __ATOMIC_RELEASE);
}

int hold_prog_take_fd(const struct hold_prog *prog)
{
	return bpf_program__fd(prog->skel->progs.hold_take);
}

uint64_t hold_prog_n_captured(const struct hold_prog *prog)
{
	return __atomic_load_n(&prog->skel->bss->n_captured, __ATOMIC_RELAXED);
}

uint64_t hold_prog_n_arrived(const struct hold_prog *prog)
{
	return __atomic_load_n(&prog->skel->bss->n_arrived, __ATOMIC_RELAXED);
}

uint64_t hold_prog_n_returned(const struct hold_prog *prog)
{
	return __atomic_load_n(&prog->skel->bss->n_returned, __ATOMIC_RELAXED);
}

static int attach(struct hold_prog *prog, enum hold_prog_step *ret_step)
{
	bool attached = false;
	int r;

	*ret_step = HOLD_PROG_ATTACH;
	r = query_xdp(prog->ifindex, &attached);
	if (r < 0)
		return r;
	if (prog->link_fd >= 0) {
		/* The pinned link can have the program of an older agent: replace it by ours. This
		 * is atomic: every frame is handled by one of the two programs. */
		r = bpf_link_update(prog->link_fd,
				    bpf_program__fd(prog->is_offload ?
						    prog->skel->progs.hold_tap :
						    prog->skel->progs.hold_xdp), NULL);
	} else if (attached && prog->other_fd < 0) {
		*ret_step = HOLD_PROG_FOREIGN;
		return -EBUSY;
	} else {
		r = attach_link(prog);
	}
	if (r == 0 && prog->other_fd >= 0)
		r = detach_other(prog);
	if (r < 0)
		return r;
	*ret_step = HOLD_PROG_TC;
	return make_clsact(prog);
}

int hold_prog_open(struct hold_prog *prog, const struct hold_prog_config *config,
		   enum hold_prog_step *ret_step)
{
	enum hold_prog_step step = HOLD_PROG_PIN_DIR;
	int n, r;

	*prog = (struct hold_prog){.lock_fd = -1, .link_fd = -1, .other_fd = -1,
				   .ifindex = config->ifindex, .is_offload = config->is_offload};
	libbpf_set_print(print_libbpf);
	n = snprintf(prog->pin_dir, sizeof(prog->pin_dir), "%s", config->pin_dir);
	r = n < 0 || (size_t)n >= sizeof(prog->pin_dir) ? -ENAMETOOLONG : 0;
	if (r == 0) {
		r = pin_dir_open(prog->pin_dir, &prog->lock_fd);
		step = r == -EBUSY ? HOLD_PROG_LOCK : HOLD_PROG_PIN_DIR;
	}
	if (r == 0) {
		step = HOLD_PROG_LOAD;
		r = find_pinned_link(prog);
	}
	if (r == 0)
		r = load(prog, config);
	if (r == 0)
		r = attach(prog, &step);
	if (r == 0)
		return 0;
	*ret_step = step;
	/* Remove what this call created. Leave what was pinned before. If this call did not get the
	 * lock, leave everything. */
	if (step != HOLD_PROG_PIN_DIR && step != HOLD_PROG_LOCK && !prog->is_taken_over &&
	    hold_prog_detach(prog) < 0)
		log_debug("pin_dir=%s a failed open is not all undone, ignoring", prog->pin_dir);
	hold_prog_done(prog);
	return r;
}

int hold_prog_detach(struct hold_prog *prog)
{
	int *const links[] = {&prog->link_fd, &prog->other_fd};
	int r = 0, q;

	if (prog->control && prog->ifindex > 0 && (prog->control->flags & HOLD_FLAG_CLSACT_OURS))
		r = remove_clsact(prog);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		q = *links[i] >= 0 ? bpf_link_detach(*links[i]) : 0;
		r = r < 0 ? r : q;
	}
	q = remove_pins(prog);
	r = r < 0 ? r : q;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		*links[i] = fd_close(*links[i]);
	if (rmdir(prog->pin_dir) < 0 && errno != ENOENT && r == 0)
		r = -errno;
	/* If the tap is gone, the program and the filter are gone too, so this is no error. */
	return r == -ENODEV || r == -ENOLINK ? 0 : r;
}

/* Open the link pinned as @name, and store its device in prog->ifindex. Returns the link's
 * descriptor, or -1 if there is no such link. */
static int open_any_link(struct hold_prog *prog, const char *name)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	char path[512];
	int fd = pin_path(prog, name, path, sizeof(path)) < 0 ? -1 : bpf_obj_get(path);

	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		prog->ifindex = (int)info.xdp.ifindex; /* ifindex is 0 if the device is gone */
	return fd < 0 ? -1 : fd;
}

/* Open the pinned links and the pinned control map, if they exist. */
static int open_pinned(struct hold_prog *prog)
{
	AUTO_CLOSE int control_fd = -1;
	char path[512];
	int r;

	prog->link_fd = open_any_link(prog, LINK_XDP);
	prog->other_fd = open_any_link(prog, LINK_TC);
	r = pin_path(prog, "hold_control", path, sizeof(path));
	if (r < 0)
		return r;
	control_fd = bpf_obj_get(path);
	if (control_fd < 0)
		return 0;
	prog->control = mmap(NULL, (size_t)getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
			     control_fd, 0);
	if (prog->control == MAP_FAILED)
		/* Only the map tells whether the tap's clsact qdisc is ours. Without the map the
		 * qdisc stays, which is harmless. */
		prog->control = NULL;
	return 0;
}

/* Returns the ifindex of the device on which the link pinned as @name in @pin_dir is; 0 if there is
 * no such link. */
static int pinned_ifindex(const char *pin_dir, const char *name)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	AUTO_CLOSE int fd = -1;
	char path[512];

	if (pin_dir_path(pin_dir, name, path, sizeof(path)) < 0)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0 ||
	    (info.type != BPF_LINK_TYPE_XDP && info.type != LINK_TYPE_TCX))
		return 0;
	return (int)info.xdp.ifindex; /* a tcx link stores its ifindex at the same offset */
}

bool hold_prog_pinned_is_offload(const char *pin_dir)
{
	return pinned_ifindex(pin_dir, LINK_TC) > 0;
}

int hold_prog_pinned_tap(const char *pin_dir)
{
	int ifindex = pinned_ifindex(pin_dir, LINK_XDP);

	return ifindex > 0 ? ifindex : pinned_ifindex(pin_dir, LINK_TC);
}

int hold_prog_remove_left(const char *pin_dir)
{
	struct hold_prog prog = {.lock_fd = -1, .link_fd = -1, .other_fd = -1};
	int r;

	libbpf_set_print(print_libbpf);
	if (access(pin_dir, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (strlen(pin_dir) >= sizeof(prog.pin_dir))
		return -ENAMETOOLONG;
	strcpy(prog.pin_dir, pin_dir);
	r = pin_dir_open(pin_dir, &prog.lock_fd);
	if (r == 0)
		r = open_pinned(&prog);
	if (r == 0)
		r = hold_prog_detach(&prog);
	hold_prog_done(&prog);
	return r;
}

void hold_prog_quiesce(void)
{
	/* MEMBARRIER_CMD_GLOBAL calls synchronize_rcu(), which waits for all RCU read-side critical
	 * sections. XDP programs run in such sections. A kernel with nohz_full lacks this command.
	 * In that case the caller's next netlink calls still wait for a grace period. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

void hold_prog_done(struct hold_prog *prog)
{
	if (!prog)
		return;
	if (prog->control)
		/* cannot fail, because the mapping is ours */
		(void)munmap(prog->control, (size_t)getpagesize());
	prog->control = NULL;
	if (prog->link_fd > 0)
		prog->link_fd = fd_close(prog->link_fd);
	if (prog->other_fd > 0)
		prog->other_fd = fd_close(prog->other_fd);
	hold_skel__destroy(prog->skel);
	prog->skel = NULL;
	if (prog->lock_fd > 0)
		prog->lock_fd = fd_close(prog->lock_fd);
}

int hold_prog_counters(const struct hold_prog *prog, uint64_t *ret)
{
	int n_cpus = libbpf_num_possible_cpus(), fd = bpf_map__fd(prog->skel->maps.hold_counters);
	AUTO_FREE uint64_t *values = NULL;

	if (n_cpus < 0)
		return n_cpus;
	values = calloc((size_t)n_cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t key = 0; key < HOLD_COUNTER_SLOTS; key++) {
		int r = bpf_map_lookup_elem(fd, &key, values);

		if (r < 0)
			return r;
		ret[key] = 0;
		for (int cpu = 0; cpu < n_cpus; cpu++)
			ret[key] += values[cpu];
	}
	return 0;
}
