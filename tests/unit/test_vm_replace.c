/* test_vm_replace.c - tests which VMs may be handed on to the agent's next program
 * (vm/vm_replace.c). A VM is not handed on if its guest is being moved, if an order waits for it,
 * or if it is not PROTECTED. An attempt to hand a VM on must not change a move that the gateway has
 * ordered. If the agent ends meanwhile, its guests continue to run. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_replace.h"
#include "epoch/engine_private.h"
#include "vm/vm_private.h"

static struct agent_vm_config config = {.name = "web1"};
static struct engine engine;
static struct vm vm;
static struct error error;

static int begin(void **state)
{
	(void)state;
	memset(&engine, 0, sizeof(engine));
	memset(&vm, 0, sizeof(vm));
	engine.config.vm = "web1";
	engine.wake_fd = -1;
	engine.status.state = WIRE_STATE_PROTECTED;
	engine.status.is_holding = true;
	pthread_mutex_init(&engine.status_lock, NULL);
	pthread_mutex_init(&vm.lock, NULL);
	vm.config = &config;
	vm.engine = &engine;
	vm.is_resting = vm.must_rest = true;
	*error.text = '\0';
	return 0;
}

static int end(void **state)
{
	(void)state;
	pthread_mutex_destroy(&engine.status_lock);
	return pthread_mutex_destroy(&vm.lock);
}

static void refused(const char *word)
{
	assert_int_equal(vm_may_yield(&vm, &error), -EBUSY);
	assert_non_null(strstr(error.text, word));
}

static void test_a_protected_guest(void **state)
{
	(void)state;
	assert_int_equal(vm_may_yield(&vm, &error), 0);
	vm_yield(&vm, true);
	assert_true(atomic_load(&engine.move.asked) & ENGINE_MOVE_HANDS_ON);
	assert_int_equal(vm_yielded(&vm, &error), -EAGAIN);
	engine.status.yielded_move = vm.yield;
	assert_int_equal(vm_yielded(&vm, &error), 0);
	vm_yield(&vm, false);
	assert_int_equal(atomic_load(&engine.move.asked), 0);
}

/* The agent has let go of the guest for a move. The agent's next program must not resume this
 * guest, or it would run on both hosts. */
static void test_a_guest_that_was_moved(void **state)
{
	(void)state;
	assert_int_equal(engine_move(&engine, 5), 0);
	engine.status.yielded_move = 5;
	engine.status.move_stopped_ns = 1;
	assert_true(vm_is_moving(&vm));
	refused("moved");
	vm_yield(&vm, true); /* must not change the move, even if vm_may_yield() was not asked */
	assert_int_equal(vm_yielded(&vm, &error), -ECANCELED);
	vm_yield(&vm, false);
	assert_int_equal(atomic_load(&engine.move.asked), 5);
}

/* A move is being given up: the engine was told, but the guest does not run again yet. The VM still
 * counts as being moved. */
static void test_a_move_that_ends(void **state)
{
	(void)state;
	engine.status.move_stopped_ns = 1;
	refused("moved");
}

static void test_a_move_does_not_replace_a_hand_over(void **state)
{
	(void)state;
	assert_int_equal(engine_move(&engine, ENGINE_MOVE_HANDS_ON | 1), 0);
	assert_int_equal(engine_move(&engine, 5), -EBUSY);
	assert_int_equal(engine_move(&engine, ENGINE_MOVE_HANDS_ON | 2), -EBUSY);
	assert_true(atomic_load(&engine.move.asked) == (ENGINE_MOVE_HANDS_ON | 1));
}

static void test_an_order_waits(void **state)
{
	(void)state;
	vm.n_orders = 1;
	refused("order");
	vm.n_orders = 0;
	vm_yield(&vm, true);
	engine.status.yielded_move = vm.yield;
	vm.n_orders = 1; /* the order came while the guest was being stopped */
	assert_int_equal(vm_yielded(&vm, &error), -ECANCELED);
	vm_yield(&vm, false);
	vm.n_orders = 0;
	vm.verify.number = 1;
	refused("order");
	vm.verify.number = 0;
	vm.drill.number = 1;
	refused("order");
	/* A waiting order prevents the hand-over even if there is no guest to stop, because the
	 * order may be PROMOTE. */
	vm.drill.number = 0;
	vm.engine = NULL;
	assert_int_equal(vm_may_yield(&vm, &error), 0);
	vm.n_orders = 1;
	refused("order");
	assert_int_equal(vm_yielded(&vm, &error), -ECANCELED);
}

/* A VM in its first copy is not handed on: the copy would be cut off in the middle. */
static void test_a_first_copy(void **state)
{
	(void)state;
	engine.status.is_holding = false;
	engine.status.state = WIRE_STATE_SYNCING;
	refused("PROTECTED");
	engine.status.is_holding = true;
	refused("PROTECTED");
}

/* Play the engine: when nobody asks for the move any more, let the guest go on. */
static void *let_go_on(void *arg)
{
	struct pollfd asked = {.fd = engine.wake_fd, .events = POLLIN};
	uint64_t one = 1;

	(void)poll(&asked, 1, 5000);
	pthread_mutex_lock(&engine.status_lock);
	if (atomic_load(&engine.move.asked) == 0)
		engine.status.yielded_move = engine.status.move_stopped_ns = 0;
	pthread_mutex_unlock(&engine.status_lock);
	assert_int_equal(write(*(int *)arg, &one, sizeof(one)), sizeof(one));
	return NULL;
}

/* If the agent is ended while a guest stands still, the guest is resumed first. */
static void test_the_agent_ends_meanwhile(void **state)
{
	struct agent_replace replace = {.plan.phase = PLAN_YIELDING, .check_fd = -1};
	int wake_fd = eventfd(0, EFD_NONBLOCK);
	struct vm *vms[] = {&vm};
	pthread_t thread;

	(void)state;
	vm_yield(&vm, true);
	engine.status.yielded_move = vm.yield;
	engine.status.move_stopped_ns = 1;
	engine.wake_fd = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(pthread_create(&thread, NULL, let_go_on, &wake_fd), 0);
	agent_replace_end(&replace, vms, 1, wake_fd);
	assert_false(vm_is_moving(&vm));
	assert_int_equal(engine.status.yielded_move, 0);
	pthread_join(thread, NULL);
	close(engine.wake_fd);
	close(wake_fd);
}

/* If neither program could resume the guest, the gateway is told why the guest stands still. */
static void test_a_guest_that_stands_still_is_told(void **state)
{
	struct wire_report report = {0};

	(void)state;
	vm.engine = NULL;
	vm.role = VM_ROLE_PRIMARY;
	strcpy(vm.still, "the guest stands still since the agent was replaced");
	vm_report_role(&vm, &report);
	assert_int_equal(report.state, WIRE_STATE_LOST);
	assert_string_equal(report.text, "the guest stands still since the agent was replaced");
	vm_set_engine(&vm, &engine);
	assert_string_equal(vm.still, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_guest_that_stands_still_is_told, begin, end),
		cmocka_unit_test_setup_teardown(test_a_protected_guest, begin, end),
		cmocka_unit_test_setup_teardown(test_a_guest_that_was_moved, begin, end),
		cmocka_unit_test_setup_teardown(test_a_move_that_ends, begin, end),
		cmocka_unit_test_setup_teardown(test_a_move_does_not_replace_a_hand_over, begin,
						end),
		cmocka_unit_test_setup_teardown(test_an_order_waits, begin, end),
		cmocka_unit_test_setup_teardown(test_a_first_copy, begin, end),
		cmocka_unit_test_setup_teardown(test_the_agent_ends_meanwhile, begin, end),
	};

	return cmocka_run_group_tests_name("vm_replace", tests, NULL, NULL);
}
