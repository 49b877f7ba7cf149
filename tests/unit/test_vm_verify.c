/* test_vm_verify.c - tests when the agent answers the order VERIFY: either when the engine has
 * published the end of its pass, or when it is certain that no pass will end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "epoch/engine_private.h"
#include "vm/vm_private.h"

#define ORDER 4711u

static struct agent_vm_config config;
static struct engine *engine;
static struct vm *vm;
static struct wire_order_done done;
static uint64_t term, epoch;

static int setup(void **state)
{
	(void)state;
	strcpy(config.name, "web1");
	engine = calloc(1, sizeof(*engine));
	vm = calloc(1, sizeof(*vm));
	assert_true(engine && vm);
	pthread_mutex_init(&engine->status_lock, NULL);
	pthread_mutex_init(&vm->lock, NULL);
	vm->config = &config;
	vm->engine = engine;
	vm->verify.number = 3;
	vm->verify.order = (struct queued_order){.order = {.order_id = ORDER}, .term = 5};
	memset(&done, 0, sizeof(done));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(engine);
	free(vm);
	return 0;
}

/* Let the engine publish the end of pass @number. */
static void publish(uint64_t number, enum engine_found found, const char *text)
{
	engine->status.verified.number = number;
	engine->status.verified.found = found;
	strcpy(engine->status.verified.text, text);
}

static int take(void)
{
	return vm_take_done(vm, &done, &term, &epoch);
}

static void test_answers_once(void **state)
{
	(void)state;
	assert_int_equal(take(), -EAGAIN);
	publish(2, ENGINE_FOUND_EQUAL, "an earlier pass");
	assert_int_equal(take(), -EAGAIN);
	publish(3, ENGINE_FOUND_EQUAL, "all is equal");
	assert_int_equal(take(), 0);
	assert_int_equal(done.order_id, ORDER);
	assert_int_equal(done.status, WIRE_ORDER_OK);
	assert_int_equal(term, 5);
	assert_string_equal(done.vm, "web1");
	assert_string_equal(done.text, "all is equal");
	assert_int_equal(take(), -EAGAIN);
}

static void test_a_difference_is_a_failure(void **state)
{
	(void)state;
	publish(3, ENGINE_FOUND_DIFFERENT, "1 differed");
	assert_int_equal(take(), 0);
	assert_int_equal(done.status, WIRE_ORDER_FAILED);
	assert_string_equal(done.text, "1 differed");
}

/* If nothing differed but not all was compared, the order is refused. */
static void test_too_little_is_refused(void **state)
{
	(void)state;
	publish(3, ENGINE_FOUND_TOO_LITTLE, "RAM is not compared");
	assert_int_equal(take(), 0);
	assert_int_equal(done.status, WIRE_ORDER_REFUSED);
}

/* If the engine ends before its pass does, the order is refused. */
static void test_no_engine_any_more(void **state)
{
	(void)state;
	assert_true(vm_take_engine(vm) == engine);
	assert_int_equal(take(), 0);
	assert_int_equal(done.order_id, ORDER);
	assert_int_equal(done.status, WIRE_ORDER_REFUSED);
	assert_string_equal(done.text, "the protection has ended here");
	assert_int_equal(take(), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_difference_is_a_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_little_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_engine_any_more, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
