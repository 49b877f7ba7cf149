#include "agent_replace.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hurry.h"
#include "base/log.h"
#include "base/program.h"
#include "base/syncing.h"

/* how long the threads keep precedence (base/hurry.h) after this program has replaced the last
 * one */
#define HURRY_NS CLOCK_NS_PER_S
#define GO_ON_NS (2 * CLOCK_NS_PER_S) /* when the agent ends: longest wait until the guests run */

void agent_replace_init(struct agent_replace *replace, const char *config_path,
			const struct onward *onward)
{
	*replace = (struct agent_replace){.config_path = config_path, .check_fd = -1};
	/* The last program gave its threads precedence (base/hurry.h). This program's threads have
	 * it too, and keep it for HURRY_NS. */
	if (onward)
		replace->hurry_until_ns = clock_mono_ns() + HURRY_NS;
	plan_init(&replace->plan);
	inherited_take(&replace->inherited, onward);
}

/* ---- the check of the next program */

static void start_check(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms)
{
	const char *names[ONWARD_VMS_MAX];
	uint32_t n_names = 0;

	for (uint32_t i = 0; i < n_vms && n_names < ONWARD_VMS_MAX; i++)
		if (vm_is_protecting(vms[i]))
			names[n_names++] = vm_name(vms[i]);
	r->check_fd = onward_check(program_path(), r->config_path, names, n_names, &r->check_pid);
	if (r->check_fd >= 0)
		return;
	(void)error_set(&r->why, r->check_fd, "%s cannot be run: %s", program_path(),
			strerror(-r->check_fd));
	r->check_fd = -1;
}

static void end_check(struct agent_replace *r)
{
	r->check_fd = fd_close(r->check_fd);
	r->check_pid = 0;
}

static int look_at_check(struct agent_replace *r)
{
	int result;

	if (r->check_fd < 0)
		return PLAN_CHECK_BAD;
	result = onward_checked(r->check_pid);
	if (result == -EAGAIN)
		return PLAN_CHECK_RUNS;
	end_check(r);
	if (result == 0)
		return PLAN_CHECK_GOOD;
	(void)error_set(&r->why, result,
			"`%s --config %s --check-onward %u` fails; it said why above",
			program_path(), r->config_path, ONWARD_VERSION);
	return PLAN_CHECK_BAD;
}

static void stop_check(struct agent_replace *r)
{
	if (r->check_fd < 0)
		return;
	(void)kill(r->check_pid, SIGKILL);
	(void)waitpid(r->check_pid, NULL, 0);
	end_check(r);
	(void)error_set(&r->why, -ETIMEDOUT, "%s does not end its check", program_path());
}

/* ---- the VMs */

static void look_at_vms(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms,
			struct plan_view *view)
{
	struct error error;

	view->all_rest = view->all_yielded = true;
	if (r->plan.phase == PLAN_YIELDING && syncing_n() > 0) {
		view->all_yielded = false; /* exec would wait for the sync */
		(void)error_set(&r->why, 0, "a disk of a standby does not answer yet");
	}
	for (uint32_t i = 0; i < n_vms; i++) {
		int result = 0;

		if (!vm_is_resting(vms[i])) {
			view->all_rest = false;
			(void)error_set(&r->why, 0, "vm=%s an order is being carried out",
					vm_name(vms[i]));
		} else if (!vm_has_shed(vms[i])) {
			view->all_rest = false;
			(void)error_set(&r->why, 0, "vm=%s memory of its reference is being given "
					"back", vm_name(vms[i]));
		}
		if (r->plan.phase == PLAN_YIELDING)
			result = vm_yielded(vms[i], &error);
		else if (r->plan.phase == PLAN_RESTING)
			result = vm_may_yield(vms[i], &error);
		if (result == 0)
			continue;
		view->all_yielded = false;
		if (result == -EAGAIN) {
			(void)error_set(&r->why, 0,
					"vm=%s its last epoch was not committed in time",
					vm_name(vms[i]));
			continue;
		}
		view->one_cannot = true;
		(void)error_set(&r->why, 0, "vm=%s %s", vm_name(vms[i]), error.text);
		return;
	}
}

static void for_all(void (*function)(struct vm *vm, bool is_wanted), bool is_wanted,
		    struct vm *const *vms, uint32_t n_vms)
{
	for (uint32_t i = 0; i < n_vms; i++)
		function(vms[i], is_wanted);
}

static void act(struct agent_replace *r, enum plan_action action, struct vm *const *vms,
		uint32_t n_vms)
{
	switch (action) {
	case PLAN_DO_CHECK:
		log_info("asking %s whether it can take over", program_path());
		start_check(r, vms, n_vms);
		break;
	case PLAN_DO_REST:
		for_all(vm_rest, true, vms, n_vms);
		break;
	case PLAN_DO_YIELD:
		r->hurry_until_ns = 0; /* forget the time of an earlier replacement */
		hurry_all_threads(true);
		syncing_hold(true);
		for_all(vm_yield, true, vms, n_vms);
		break;
	case PLAN_DO_GO_ON:
	case PLAN_DO_GIVE_UP:
		syncing_hold(false);
		hurry_all_threads(false);
		for_all(vm_yield, false, vms, n_vms);
		for_all(vm_rest, false, vms, n_vms);
		log_warn("this program goes on, %s: %s", action == PLAN_DO_GO_ON ? "trying again" :
			 "and is not replaced; try again later, or restart the agent", r->why.text);
		break;
	case PLAN_DO_REFUSE:
		stop_check(r);
		log_error("this program goes on and is not replaced: %s", r->why.text);
		break;
	case PLAN_DO_NOTHING:
	case PLAN_DO_EXEC:
		break;
	}
}

void agent_replace_ask(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms)
{
	act(r, plan_ask(&r->plan, clock_mono_ns()), vms, n_vms);
}

bool agent_replace_turn(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms)
{
	enum plan_action action;

	inherited_reap(&r->inherited);
	if (r->hurry_until_ns && clock_mono_ns() >= r->hurry_until_ns) {
		r->hurry_until_ns = 0;
		hurry_all_threads(false);
	}
	do {
		struct plan_view view = {.check = PLAN_CHECK_RUNS};

		if (r->plan.phase == PLAN_IDLE)
			return false;
		if (r->plan.phase == PLAN_CHECKING)
			view.check = look_at_check(r);
		else
			look_at_vms(r, vms, n_vms, &view);
		action = plan_step(&r->plan, &view, clock_mono_ns());
		act(r, action, vms, n_vms);
	} while (action != PLAN_DO_NOTHING && action != PLAN_DO_EXEC);
	return action == PLAN_DO_EXEC;
}

uint64_t agent_replace_due_ns(const struct agent_replace *r, uint64_t now_ns)
{
	uint64_t look_ns = plan_is_under_way(&r->plan) ? now_ns + AGENT_REPLACE_LOOK_NS
						       : UINT64_MAX;

	return r->hurry_until_ns && r->hurry_until_ns < look_ns ? r->hurry_until_ns : look_ns;
}

static bool all_go_on(struct vm *const *vms, uint32_t n_vms)
{
	for (uint32_t i = 0; i < n_vms; i++) {
		if (vm_is_moving(vms[i]))
			return false;
	}
	return true;
}

void agent_replace_end(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms, int wake_fd)
{
	struct pollfd woken = {.fd = wake_fd, .events = POLLIN};
	uint64_t now_ns = clock_mono_ns(), until_ns = now_ns + GO_ON_NS, count;

	stop_check(r);
	inherited_done(&r->inherited);
	/* In the phase WAITING, some guests may not run again yet: wait for them below. */
	if (r->plan.phase == PLAN_IDLE || r->plan.phase == PLAN_CHECKING)
		return;
	log_warn("this program is not replaced: the agent ends");
	syncing_hold(false);
	hurry_all_threads(false);
	for_all(vm_yield, false, vms, n_vms);
	while (!all_go_on(vms, n_vms) && now_ns < until_ns) {
		if (poll(&woken, 1, clock_poll_ms(now_ns, until_ns)) > 0 &&
		    read(wake_fd, &count, sizeof(count)) < 0)
			break;
		now_ns = clock_mono_ns();
	}
}

static void close_one(int fd)
{
	fd_close(fd);
}

void agent_replace_drop(const struct onward *onward, struct vm *const *vms, uint32_t n_vms)
{
	for (uint32_t i = 0; onward && i < onward->n_vms; i++) {
		const struct onward_vm *from = &onward->vm[i];
		bool is_known = false;

		for (uint32_t k = 0; k < n_vms; k++)
			is_known |= strcmp(vm_name(vms[k]), from->name) == 0;
		if (is_known)
			continue;
		log_error("vm=%s no VM here has what the agent's last program handed on: it is "
			  "dropped; its frames stay held", from->name);
		handed_each_fd(&from->handed, close_one);
	}
}

void agent_replace_go(struct agent_replace *r, struct vm *const *vms, uint32_t n_vms)
{
	struct onward *onward = calloc(1, sizeof(*onward));
	int fd = -ENOMEM, error;

	for (uint32_t i = 0; onward && i < n_vms && onward->n_vms < ONWARD_VMS_MAX; i++) {
		struct onward_vm *to = &onward->vm[onward->n_vms];

		if (!vm_hand_on(vms[i], &to->handed))
			continue;
		(void)snprintf(to->name, sizeof(to->name), "%s", vm_name(vms[i]));
		onward->n_vms++;
	}
	if (onward)
		fd = onward_write(onward);
	FAULT_POINT(FAULT_HANDED_ON);
	error = fd < 0 ? fd : onward_exec(program_path(), r->config_path, onward, fd);
	/* let the syncs go on: otherwise threads would wait for ever, and the VMs could not be
	 * closed */
	syncing_hold(false);
	log_error("no next program: %s; a restart of the agent helps", strerror(-error));
}
