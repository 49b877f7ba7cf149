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

/* Open a pinned map if it exists and its values have @value_size bytes. Returns 0 and sets *ret_fd,
 * which the caller must close; -EINVAL if it is another kind of map; or another -errno. */
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

/* Check whether the pinned maps can be taken over. If not, remove the pins, because nothing in them
 * is worth keeping. */
static int find_pinned(struct witness_prog *prog)
{
	AUTO_CLOSE int control_fd = -1, state_fd = -1;
	struct witness_control control;
	uint32_t zero = 0;

	if (get_pinned(prog->pin_dir, pin_names[0], sizeof(control), &control_fd) == 0 &&
	    get_pinned(prog->pin_dir, pin_names[1], sizeof(struct witness_state), &state_fd) == 0 &&
	    bpf_map_lookup_elem(control_fd, &zero, &control) == 0 &&
	    control.tap == (uint32_t)prog->tap) {
		prog->is_taken_over = true;
		return 0;
	}
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

static int load(struct witness_prog *prog, const struct witness_prog_config *config, int sent_fd)
{
	struct witness_skel *skel = witness_skel__open();
	struct bpf_map *maps[2];
	char path[PATH_MAX];
	int r;

	if (!skel)
		return errno ? -errno : -ENOMEM;
	prog->skel = skel;
	skel->rodata->helper_ifindex = (uint32_t)config->helper_out;
	maps[0] = skel->maps.witness_control;
	maps[1] = skel->maps.witness_state;
	/* duplicates the descriptor sent_fd */
	r = bpf_map__reuse_fd(skel->maps.hold_sent, sent_fd);
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
	if (r == 0)
		prog->control->tap = (uint32_t)prog->tap;
	return r;
}

/* Attach both programs, the helper's first: without it, frames cloned into the helper would enter
 * the host's network stack. */
static int attach(struct witness_prog *prog, const struct witness_prog_config *config)
{
	LIBBPF_OPTS(bpf_tc_hook, in, .ifindex = config->helper_in, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_hook, tap, .ifindex = config->tap, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, emit, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = bpf_program__fd(prog->skel->progs.witness_emit),
		    .flags = BPF_TC_F_REPLACE);
	LIBBPF_OPTS(bpf_tc_opts, sample, .handle = TC_HANDLE, .priority = TC_PRIORITY,
		    .prog_fd = bpf_program__fd(prog->skel->progs.witness_sample),
		    .flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&in);

	if (r == 0 || r == -EEXIST)
		r = bpf_tc_attach(&in, &emit);
	return r < 0 ? r : bpf_tc_attach(&tap, &sample);
}

int witness_prog_open(struct witness_prog *prog, const struct witness_prog_config *config,
		      enum witness_prog_step *ret_step)
{
	AUTO_CLOSE int sent_fd = -1;
	enum witness_prog_step step = WITNESS_PROG_PIN_DIR;
	int r;

	*prog = (struct witness_prog){.lock_fd = -1, .tap = config->tap};
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
	step = WITNESS_PROG_HOLD;
	r = get_pinned(config->hold_pin_dir, "hold_sent", sizeof(uint64_t) * 2, &sent_fd);
	if (r == 0) {
		step = WITNESS_PROG_LOAD;
		r = find_pinned(prog);
	}
	if (r == 0)
		r = load(prog, config, sent_fd);
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

static int detach(const char *pin_dir, int tap)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = tap, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = TC_HANDLE, .priority = TC_PRIORITY);
	int r = tap > 0 ? bpf_tc_detach(&hook, &opts) : 0, q;

	/* Ignore the kernel's errors for a missing filter, qdisc or device. */
	if (r == -ENOENT || r == -EINVAL || r == -ENODEV)
		r = 0;
	q = pin_dir_empty(pin_dir, pin_names, ARRAY_SIZE(pin_names));
	r = r < 0 ? r : q;
	if (rmdir(pin_dir) < 0 && errno != ENOENT && r == 0)
		r = -errno;
	return r;
}

int witness_prog_detach(struct witness_prog *prog)
{
	return detach(prog->pin_dir, prog->tap);
}

int witness_prog_remove_left(const char *pin_dir, int tap)
{
	AUTO_CLOSE int lock_fd = -1;
	int r;

	libbpf_set_print(print_libbpf);
	if (access(pin_dir, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = pin_dir_open(pin_dir, &lock_fd);
	return r < 0 ? r : detach(pin_dir, tap);
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
