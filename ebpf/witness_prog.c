#include "ebpf/witness_prog.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "ebpf/pin_dir.h"
#include "witness.skel.h"

#define TC_PRIORITY 2U
#define TC_HANDLE   0x77697431U

static const char *const pin_names[] = {"witness_control", "witness_state"};

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	/* log all messages at debug level, because the caller reports the errors that matter */
	(void)level;
	log_writev(LOG_LEVEL_DEBUG, "libbpf", format, args);
	return 0;
}

/* Open a pinned map whose values have @value_size bytes. Returns 0 and sets *ret_fd, which the
 * caller must close;
 * -EINVAL: it is another kind of map;
 * other -errno. */
static int get_pinned(const char *dir, const char *name, uint32_t value_size, int *ret_fd)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	char path[PATH_MAX];
	int fd, r = pin_dir_path(dir, name, path, sizeof(path));

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	r = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (r == 0 && (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != value_size))
		r = -EINVAL;
	if (r < 0) {
		fd_close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* Detach witness_sample from a tap. A missing filter, qdisc or device is no error. */
static int detach_tap(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	int r = ifindex > 0 ? bpf_tc_detach(&hook, &opts) : 0;

	return r == -ENOENT || r == -EINVAL || r == -ENODEV ? 0 : r;
}

static int detach_taps(const struct witness_prog_taps *taps)
{
	int r = 0;

	for (uint32_t i = 0; i < taps->n; i++) {
		int q = detach_tap(taps->ifindex[i]);

		r = r < 0 ? r : q;
	}
	return r;
}

/* Returns the taps of the pinned witness. Returns no taps if nothing is pinned, or if the layout of
 * the pinned maps differs from ours. */
static struct witness_prog_taps pinned_taps(const char *pin_dir)
{
	AUTO_CLOSE int control_fd = -1, state_fd = -1;
	struct witness_prog_taps taps = {0};
	struct witness_control control;
	uint32_t zero = 0;

	if (get_pinned(pin_dir, pin_names[0], sizeof(control), &control_fd) == 0 &&
	    get_pinned(pin_dir, pin_names[1], sizeof(struct witness_state), &state_fd) == 0 &&
	    bpf_map_lookup_elem(control_fd, &zero, &control) == 0 &&
	    control.n_taps <= WITNESS_TAPS_MAX) {
		taps.n = control.n_taps;
		for (uint32_t i = 0; i < taps.n; i++)
			taps.ifindex[i] = (int)control.taps[i];
	}
	return taps;
}

/* Check whether the pinned witness can be taken over. If not, end it; nothing in its maps is worth
 * keeping. */
static int find_pinned(struct witness_prog *prog)
{
	struct witness_prog_taps pinned = pinned_taps(prog->pin_dir);

	if (pinned.n == prog->taps.n &&
	    memcmp(pinned.ifindex, prog->taps.ifindex, sizeof(pinned.ifindex)) == 0) {
		prog->is_taken_over = true;
		return 0;
	}
	/* ignore an error: a filter that stays attached only counts frames in its own old map */
	(void)!detach_taps(&pinned);
	return pin_dir_empty(prog->pin_dir, pin_names, ARRAY_SIZE(pin_names));
}

static int map_value(const struct bpf_map *map, void **ret)
{
	void *p = mmap(NULL, (size_t)getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

/* Give the programs the map hold_sent of each tap's hold. */
static int use_holds(struct witness_prog *prog, const struct witness_prog_config *config)
{
	int r = 0;

	for (uint32_t i = 0; i < config->taps.n && r == 0; i++) {
		AUTO_CLOSE int fd = -1;

		r = get_pinned(config->hold_pin_dirs[i], "hold_sent", sizeof(uint64_t) * 2, &fd);
		if (r == 0)
			r = bpf_map_update_elem(bpf_map__fd(prog->skel->maps.hold_sents), &i, &fd,
						BPF_ANY);
	}
	return r;
}

static int load(struct witness_prog *prog, const struct witness_prog_config *config)
{
	struct witness_skel *skel = witness_skel__open();
	struct bpf_map *maps[2];
	char path[PATH_MAX];
	int r = 0;

	if (!skel)
		return errno ? -errno : -ENOMEM;
	prog->skel = skel;
	skel->rodata->helper_ifindex = (uint32_t)config->helper_out;
	maps[0] = skel->maps.witness_control;
	maps[1] = skel->maps.witness_state;
	for (size_t i = 0; i < ARRAY_SIZE(maps) && r == 0; i++) {
		r = pin_dir_path(prog->pin_dir, pin_names[i], path, sizeof(path));
		if (r == 0)
			r = bpf_map__set_pin_path(maps[i], path);
	}
	if (r == 0)
		r = witness_skel__load(skel);
	if (r == 0)
		r = map_value(maps[0], (void **)&prog->control);
	if (r == 0)
		r = map_value(maps[1], (void **)&prog->state);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < prog->taps.n; i++)
		prog->control->taps[i] = (uint32_t)prog->taps.ifindex[i];
	prog->control->n_taps = prog->taps.n;
	return 0;
}

/* Attach both programs. Begin with witness_emit on the helper device: without it, frames cloned
 * into the helper would enter the host's network stack. */
static int attach(struct witness_prog *prog, const struct witness_prog_config *config)
{
	LIBBPF_OPTS(bpf_tc_hook, in, .ifindex = config->helper_in, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, emit, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = bpf_program__fd(prog->skel->progs.witness_emit),
		    .flags = BPF_TC_F_REPLACE);
	LIBBPF_OPTS(bpf_tc_opts, sample, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = bpf_program__fd(prog->skel->progs.witness_sample),
		    .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&in);

	if (r == 0 || r == -EEXIST)
		r = bpf_tc_attach(&in, &emit);
	for (uint32_t i = 0; i < config->taps.n && r == 0; i++) {
		LIBBPF_OPTS(bpf_tc_hook, tap, .ifindex = config->taps.ifindex[i],
			    .attach_point = BPF_TC_EGRESS);
		struct bpf_tc_opts once = sample; /* a copy, because libbpf writes the kernel's
						   * answer into it */

		r = bpf_tc_attach(&tap, &once);
	}
	return r;
}

int witness_prog_open(struct witness_prog *prog, const struct witness_prog_config *config,
		      enum witness_prog_step *ret_step)
{
	enum witness_prog_step step = WITNESS_PROG_PIN_DIR;
	int r;

	*prog = (struct witness_prog){.lock_fd = -1, .taps = config->taps};
	libbpf_set_print(print_libbpf);
	if ((size_t)snprintf(prog->pin_dir, sizeof(prog->pin_dir), "%s", config->pin_dir) >=
	    sizeof(prog->pin_dir))
		r = -ENAMETOOLONG;
	else
		r = pin_dir_open(prog->pin_dir, &prog->lock_fd);
	if (r < 0) {
		*ret_step = r == -EBUSY ? WITNESS_PROG_LOCK : WITNESS_PROG_PIN_DIR;
		return r;
	}
	step = WITNESS_PROG_LOAD;
	r = find_pinned(prog);
	if (r == 0)
		r = load(prog, config);
	if (r == 0) {
		step = WITNESS_PROG_HOLD;
		r = use_holds(prog, config);
	}
	if (r == 0) {
		step = WITNESS_PROG_ATTACH;
		r = attach(prog, config);
	}
	if (r == 0)
		return 0;
	*ret_step = step;
	if (!prog->is_taken_over && witness_prog_detach(prog) < 0)
		log_debug("pin_dir=%s a failed open is not all undone, ignoring", prog->pin_dir);
	witness_prog_done(prog);
	return r;
}

static int detach(const char *pin_dir, const struct witness_prog_taps *taps)
{
	int r = detach_taps(taps), q;

	q = pin_dir_empty(pin_dir, pin_names, ARRAY_SIZE(pin_names));
	r = r < 0 ? r : q;
	if (rmdir(pin_dir) < 0 && errno != ENOENT && r == 0)
		r = -errno;
	return r;
}

int witness_prog_detach(struct witness_prog *prog)
{
	return detach(prog->pin_dir, &prog->taps);
}

int witness_prog_remove_left(const char *pin_dir, const struct witness_prog_taps *taps)
{
	AUTO_CLOSE int lock_fd = -1;
	struct witness_prog_taps pinned;
	int r, q;

	libbpf_set_print(print_libbpf);
	if (access(pin_dir, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = pin_dir_open(pin_dir, &lock_fd);
	if (r < 0)
		return r;
	pinned = pinned_taps(pin_dir);
	r = detach_taps(&pinned);
	q = detach(pin_dir, taps);
	return r < 0 ? r : q;
}

void witness_prog_done(struct witness_prog *prog)
{
	if (!prog)
		return;
	if (prog->control)
		/* cannot fail, because the mapping is ours */
		(void)munmap(prog->control, (size_t)getpagesize());
	if (prog->state)
		(void)munmap(prog->state, (size_t)getpagesize());
	prog->control = NULL;
	prog->state = NULL;
	witness_skel__destroy(prog->skel);
	prog->skel = NULL;
	if (prog->lock_fd > 0)
		prog->lock_fd = fd_close(prog->lock_fd);
}
