/* Tests the state of a disk's mirror against events and answers that were recorded from QEMU
 * 7.2. */
#include "vmm/mirror.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID "holdfast-virtio0"

static void ids_fit_into_a_node_name(void **state)
{
	static const struct {
		const char *name, *id;
	} rows[] = {
		{"virtio0", ID},
		{"a", "holdfast-a"},
		{"0123456789012345678901", "holdfast-0123456789012345678901"},
		{"01234567890123456789012", "holdfast-0123456789012-8f6b7e00"},
		{"01234567890123456789013", "holdfast-0123456789012-906b7f93"},
	};
	char id[MIRROR_ID_BYTES], long_name[VMM_DISK_NAME_MAX + 1u];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		mirror_id(rows[i].name, id);
		assert_string_equal(id, rows[i].id);
		assert_true(mirror_is_our_id(id));
	}
	memset(long_name, 'x', VMM_DISK_NAME_MAX);
	long_name[VMM_DISK_NAME_MAX] = '\0';
	mirror_id(long_name, id);
	assert_int_equal(strlen(id), MIRROR_ID_BYTES - 1);
	assert_false(mirror_is_our_id("virtio0"));
	assert_false(mirror_is_our_id(""));
}

static struct mirror copying(void)
{
	return (struct mirror){.condition = MIRROR_COPYING, .name = "virtio0", .id = ID};
}

/* Pass the event in @text, as it comes from a monitor. */
static bool take(struct mirror *m, const char *text)
{
	json_t *message = json_loads(text, 0, NULL);
	bool is_changed;

	assert_non_null(message);
	is_changed = mirror_take_event(m, json_string_value(json_object_get(message, "event")),
				       json_object_get(message, "data"));
	json_decref(message);
	return is_changed;
}

#define STATUS(status)                                                                             \
	"{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{\"status\":\"" status "\",\"id\":\"" ID "\"}}"
#define JOB(event, more)                                                                           \
	"{\"event\":\"" event "\",\"data\":{\"device\":\"" ID "\",\"type\":\"mirror\"" more "}}"
#define READY	      JOB("BLOCK_JOB_READY", ",\"len\":65536,\"offset\":65536,\"speed\":0")
#define ERROR(what)   JOB("BLOCK_JOB_ERROR", ",\"operation\":\"" what "\",\"action\":\"report\"")
#define COMPLETED_EIO JOB("BLOCK_JOB_COMPLETED", ",\"error\":\"Input/output error\"")
#define COMPLETED_SIZE                                                                             \
	JOB("BLOCK_JOB_COMPLETED", ",\"error\":\"Source and target image have different sizes\"")

static void events_make_the_condition(void **state)
{
	static const struct {
		const char *events[8];
		enum mirror_condition condition;
		const char *text;
	} rows[] = {
		{{STATUS("created"), STATUS("running")}, MIRROR_COPYING, ""},
		{{STATUS("running"), STATUS("ready"), READY}, MIRROR_READY, ""},
		/* QEMU drains the disk's requests, which pauses the job for a moment */
		{{READY, STATUS("standby"), STATUS("ready")}, MIRROR_READY, ""},
		{{STATUS("paused"), STATUS("running")}, MIRROR_COPYING, ""},
		{{READY, ERROR("write")}, MIRROR_BROKEN, "could not write"},
		{{ERROR("read")}, MIRROR_BROKEN, "could not read the disk's image"},
		/* the first error's reason stays, and no later event makes the mirror ready
		 * again */
		{{READY, ERROR("write"), STATUS("aborting"), COMPLETED_EIO, STATUS("concluded"),
		  STATUS("null"), READY},
		 MIRROR_BROKEN,
		 "could not write"},
		/* the job ends, but with an error that is not an I/O error */
		{{STATUS("running"), STATUS("aborting"), COMPLETED_SIZE, STATUS("concluded"),
		  STATUS("null")},
		 MIRROR_BROKEN,
		 "have different sizes"},
		{{STATUS("aborting")}, MIRROR_BROKEN, "QEMU's job failed"},
		{{STATUS("null")}, MIRROR_BROKEN, "QEMU's job failed"},
		{{READY, JOB("BLOCK_JOB_COMPLETED", "")}, MIRROR_BROKEN, "block-job-complete"},
		{{READY, JOB("BLOCK_JOB_CANCELLED", "")}, MIRROR_BROKEN, "block-job-cancel"},
		/* other jobs, other events, and data that is not understood */
		{{"{\"event\":\"BLOCK_JOB_READY\",\"data\":{\"device\":\"holdfast-virtio1\"}}",
		  "{\"event\":\"BLOCK_JOB_ERROR\",\"data\":{\"device\":\"virtio0\"}}",
		  "{\"event\":\"BLOCK_JOB_ERROR\",\"data\":{\"id\":\"" ID "\"}}",
		  "{\"event\":\"BLOCK_JOB_ERROR\",\"data\":[]}", "{\"event\":\"BLOCK_JOB_ERROR\"}",
		  "{\"event\":\"STOP\"}", JOB("BLOCK_JOB_PENDING", "")},
		 MIRROR_COPYING,
		 ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mirror m = copying();

		for (size_t e = 0; e < 8 && rows[i].events[e]; e++) {
			enum mirror_condition before = mirror_condition(&m);
			bool is_changed = take(&m, rows[i].events[e]);

			assert_int_equal(is_changed, mirror_condition(&m) != before);
		}
		assert_int_equal(mirror_condition(&m), rows[i].condition);
		assert_non_null(strstr(mirror_error(&m), rows[i].text));
		if (rows[i].condition == MIRROR_BROKEN)
			assert_non_null(strstr(mirror_error(&m), "disk virtio0 is not replicated"));
	}
}

static void an_end_of_ours_is_no_error(void **state)
{
	static const char *const events[] = {STATUS("aborting"), JOB("BLOCK_JOB_CANCELLED", ""),
					     STATUS("concluded"), STATUS("null"),
					     JOB("BLOCK_JOB_COMPLETED", "")};
	struct mirror m = copying(), off = {0};

	(void)state;
	m.is_ending = true;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		assert_false(take(&m, events[i]));
		assert_false(take(&off, events[i]));
	}
	assert_int_equal(mirror_condition(&m), MIRROR_COPYING);
	assert_int_equal(mirror_condition(&off), MIRROR_OFF);
	assert_string_equal(mirror_error(&off), "");
	assert_string_equal(mirror_condition_name(MIRROR_BROKEN), "broken");
}

/* QEMU 7.2's answer to query-block-jobs. The arguments are the members that matter here. */
#define ANSWER(io_status, len, offset, status, ready, more)                                        \
	"[{\"auto-finalize\":true,\"io-status\":\"" io_status "\",\"device\":\"" ID                \
	"\",\"auto-dismiss\":true,\"busy\":false,\"len\":" len ",\"offset\":" offset               \
	",\"status\":\"" status "\",\"paused\":false,\"speed\":0,\"ready\":" ready                 \
	",\"type\":\"mirror\"" more "}]"

static int judge(const char *text, struct mirror_progress *progress, struct error *error)
{
	json_t *answer = json_loads(text, JSON_DECODE_ANY, NULL);
	int r;

	assert_non_null(answer);
	r = mirror_judge(answer, ID, progress, error);
	json_decref(answer);
	return r;
}

static void the_job_tells_whether_it_is_in_step(void **state)
{
	static const struct {
		const char *answer;
		int r;
		const char *text;
	} rows[] = {
		{ANSWER("ok", "65536", "65536", "ready", "true", ""), 0, ""},
		{ANSWER("ok", "65536", "65536", "standby", "true", ""), 0, ""},
		{ANSWER("ok", "65536", "4096", "running", "false", ""), -EAGAIN, ""},
		{ANSWER("ok", "0", "0", "created", "false", ""), -EAGAIN, ""},
		/* first row: all is copied, but the job is not ready; second row: the job is ready,
		 * but behind */
		{ANSWER("ok", "65536", "65536", "running", "false", ""), -EAGAIN, ""},
		{ANSWER("ok", "65536", "61440", "ready", "true", ""), -EAGAIN, ""},
		/* QEMU 8.2 and later also report actively-synced */
		{ANSWER("ok", "65536", "65536", "ready", "true", ",\"actively-synced\":true"), 0,
		 ""},
		{ANSWER("ok", "65536", "65536", "ready", "true", ",\"actively-synced\":false"),
		 -EAGAIN, ""},
		{ANSWER("failed", "65536", "65536", "ready", "true", ""), -EIO, "failed"},
		{ANSWER("nospace", "65536", "65536", "ready", "true", ""), -EIO, "nospace"},
		{ANSWER("ok", "65536", "65536", "ready", "true", ",\"error\":\"No such file\""),
		 -EIO, "No such file"},
		{ANSWER("ok", "65536", "65536", "aborting", "true", ""), -EIO, "aborting"},
		{ANSWER("ok", "65536", "65536", "concluded", "false", ""), -EIO, "concluded"},
		{"[]", -EIO, "no job " ID},
		{"[{\"device\":\"holdfast-virtio1\"},3]", -EIO, "no job " ID},
		{"[{\"device\":\"" ID "\"}]", -EPROTO, "not understood"},
		{"{}", -EPROTO, "not understood"},
		{"null", -EPROTO, "not understood"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct mirror_progress progress;
		struct error error = {""};

		assert_int_equal(judge(rows[i].answer, &progress, &error), rows[i].r);
		assert_non_null(strstr(error.text, rows[i].text));
		assert_int_equal(*error.text == '\0', rows[i].r == 0 || rows[i].r == -EAGAIN);
	}
}

static void the_progress_is_told(void **state)
{
	struct mirror_progress progress = {0};
	struct error error;

	(void)state;
	assert_int_equal(judge(ANSWER("ok", "25165824", "4194304", "running", "false",
				      ",\"actively-synced\":false"),
			       &progress, &error),
			 -EAGAIN);
	assert_int_equal(progress.bytes, 25165824);
	assert_int_equal(progress.done_bytes, 4194304);
	assert_false(progress.is_ready);
	assert_false(progress.is_active);
	assert_int_equal(judge(ANSWER("ok", "1", "1", "ready", "true", ""), &progress, &error), 0);
	assert_true(progress.is_ready);
	assert_true(progress.is_active);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_fit_into_a_node_name),
		cmocka_unit_test(events_make_the_condition),
		cmocka_unit_test(an_end_of_ours_is_no_error),
		cmocka_unit_test(the_job_tells_whether_it_is_in_step),
		cmocka_unit_test(the_progress_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
