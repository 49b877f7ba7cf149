/* test_show.c - tests the text that holdfastctl makes from the gateway's answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ctl/show.h"

static char *shown; /* what the last call printed */
static int n_wrong; /* what the last show_check() returned */

static void check(FILE *out, const json_t *answer)
{
	n_wrong = show_check(out, answer);
}

/* Returns true if @words are in what @show prints of the JSON object @text. Apostrophes in @text
 * stand for quotation marks. */
static bool says(void (*show)(FILE *, const json_t *), const char *text, const char *words)
{
	char *line = strdup(text);
	json_t *json;
	size_t size;
	FILE *out;

	assert_non_null(line);
	for (char *at = line; *at; at++)
		*at = *at == '\'' ? '"' : *at;
	json = json_loads(line, 0, NULL);
	assert_non_null(json);
	free(shown);
	shown = NULL;
	out = open_memstream(&shown, &size);
	assert_non_null(out);
	show(out, json);
	assert_int_equal(fclose(out), 0);
	json_decref(json);
	free(line);
	return strstr(shown, words) != NULL;
}

static int forget(void **state)
{
	(void)state;
	free(shown);
	shown = NULL;
	return 0;
}

/* An operator who looks up an event's kind in docs/operations.md must find it in the line. */
static void test_events_have_a_kind(void **state)
{
	(void)state;
	assert_true(says(show_event,
			 "{'wall':1764000000000000000,'vm':'web1','kind':'health','from':'SAFE',"
			 "'to':'BEHIND','text':'why'}",
			 "2025-11-24T16:00:00.000Z web1         health: SAFE -> BEHIND: why\n"));
	assert_true(says(show_event,
			 "{'wall':0,'vm':'','kind':'drain','from':'','to':'','text':'why'}",
			 "Z -            drain: why\n"));
}

#define WEB1 "{'name':'web1','health':{'word':'SAFE'}}"
#define HOST(connected, younger)                                                                   \
	"{'vms':[" WEB1 "],'faults':[],'hosts':[{'name':'alpha','connected':" connected            \
	",'obeys_younger':" younger ",'drain':null}]}"

static void test_a_younger_gateway_is_named(void **state)
{
	(void)state;
	assert_true(says(show_status, HOST("false", "true"), "host alpha obeys a younger gateway"));
	assert_true(says(check, HOST("false", "true"), "`holdfastctl takeover`"));
	assert_int_equal(n_wrong, 1);
	assert_null(strstr(shown, "is holdfast-agent running")); /* holdfast-agent does run */
	assert_true(says(check, HOST("false", "false"),
			 "host alpha is not connected; is holdfast-agent"));
	assert_int_equal(n_wrong, 1);
	assert_true(says(check, HOST("true", "false"), "all hosts are connected"));
	assert_int_equal(n_wrong, 0);
}

/* A gateway that looks after no VM has lost its vm_dir, or is not set up. So `check` counts this as
 * wrong. */
static void test_no_vm_is_not_good(void **state)
{
	(void)state;
	assert_true(says(check, "{'vms':[],'faults':[],'hosts':[]}", "no VM is looked after"));
	assert_int_equal(n_wrong, 1);
	assert_true(says(check,
			 "{'vms':[],'faults':[{'name':'web1','error':'why'}],'hosts':[]}",
			 "web1 is not looked after: why\n"));
	assert_int_equal(n_wrong, 1);
}

#define FENCED(fault)                                                                              \
	"{'vms':[{'name':'web1','health':{'word':'SAFE'},'fence_fault':" fault "}],'faults':[],"   \
	"'hosts':[]}"

static void test_a_fence_that_cannot_run_is_not_good(void **state)
{
	(void)state;
	assert_true(says(check, FENCED("null"), "all VMs are SAFE"));
	assert_int_equal(n_wrong, 0);
	assert_true(says(check, FENCED("'its fence_command cannot be run'"),
			 "web1: its fence_command cannot be run; correct that"));
	assert_int_equal(n_wrong, 1);
	assert_null(strstr(shown, "all VMs are SAFE"));
	assert_true(says(show_status, FENCED("'its fence_command cannot be run'"),
			 "\nweb1: its fence_command cannot be run; correct that"));
	assert_true(says(show_vm, "{'vm':{'name':'web1','fence_fault':'x'}}", "web1: x; correct"));
	assert_false(says(show_vm, "{'vm':{'name':'web1','health':{'word':'NO-FENCE'},"
			  "'fence_fault':'x'}}", "web1: x"));
}

#define ENDS(alarm)                                                                                \
	"{'vms':[" WEB1 "],'faults':[],'hosts':[],'certificates':[{'of':'beta','ends_s':1,"        \
	"'alarm':" alarm ",'text':'the certificate of host beta ends'}]}"

/* `check` reports a certificate that will expire. It fails only if the certificate expires so soon
 * that the gateway raises an alarm. */
static void test_a_certificate_that_ends(void **state)
{
	(void)state;
	assert_true(says(check, ENDS("false"), "the certificate of host beta ends\nall VMs are"));
	assert_int_equal(n_wrong, 0);
	assert_true(says(check, ENDS("true"), "the certificate of host beta ends\n"));
	assert_int_equal(n_wrong, 1);
	assert_null(strstr(shown, "all VMs are SAFE"));
	assert_true(says(show_status, ENDS("true"), "\nthe certificate of host beta ends\n"));
	assert_true(says(show_status, "{'certificates':[{'of':'','text':'/a: this machine'}]}",
			 "\nat the gateway /a: this machine"));
}

static void test_what_runs_is_shown(void **state)
{
	(void)state;
	assert_true(says(show_vm, "{'vm':{'name':'web1','drill_ms':4200}}",
			 "drill                for 4 s"));
	assert_null(strstr(shown, "verify"));
	assert_true(says(show_vm, "{'vm':{'name':'web1','verify_ms':61000,'drill_ms':null}}",
			 "verify               for 61 s"));
	assert_null(strstr(shown, "drill"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_events_have_a_kind, forget),
		cmocka_unit_test_teardown(test_a_younger_gateway_is_named, forget),
		cmocka_unit_test_teardown(test_no_vm_is_not_good, forget),
		cmocka_unit_test_teardown(test_a_fence_that_cannot_run_is_not_good, forget),
		cmocka_unit_test_teardown(test_a_certificate_that_ends, forget),
		cmocka_unit_test_teardown(test_what_runs_is_shown, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
