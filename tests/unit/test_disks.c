/* Tests which disks are found in QEMU's answers, and with which disks a guest can be protected. */
#include "vmm/disks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static json_t *parse(const char *text)
{
	json_t *answer = json_loads(text, JSON_DECODE_ANY, NULL);

	assert_non_null(answer);
	return answer;
}

static int judge(const char *text, struct vmm_covered covered, struct error *error)
{
	json_t *answer = parse(text);
	int r = vmm_judge_disks(answer, covered, error);

	json_decref(answer);
	return r;
}

static int list(const char *text, const char *graph_text, struct vmm_disks *disks,
		struct error *error)
{
	json_t *answer = parse(text), *graph = graph_text ? parse(graph_text) : NULL;
	int r = vmm_disks_parse(answer, graph, disks, error);

	json_decref(answer);
	json_decref(graph);
	return r;
}

#define NOTHING ((struct vmm_covered){0})
#define NAMES(...)                                                                                 \
	((struct vmm_covered){(const char *const[]){__VA_ARGS__},                                  \
			      sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)})

static void guests_without_disks(void **state)
{
	static const char *const texts[] = {
		"[]",
		"[{\"device\":\"ide1-cd0\",\"type\":\"unknown\"},{\"device\":\"floppy0\"}]",
		"[{\"device\":\"cd\",\"inserted\":{\"ro\":true,\"file\":\"a.iso\"}}]",
	};
	struct vmm_disks disks;
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(judge(texts[i], NOTHING, &error), 0);
		assert_int_equal(list(texts[i], NULL, &disks, &error), 0);
		assert_int_equal(disks.n, 0);
	}
}

static void a_disk_that_is_not_covered_is_named(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(judge("[{\"device\":\"cd\",\"inserted\":{\"ro\":true}},"
			       "{\"device\":\"ide0-hd0\","
			       "\"inserted\":{\"ro\":false,\"file\":\"/d/web.img\"}}]",
			       NOTHING, &error),
			 -ENOTSUP);
	assert_non_null(strstr(error.text, "disk ide0-hd0 (/d/web.img) is writable"));
	assert_non_null(strstr(error.text, "name it in `disks =`"));
	/* This disk was made with -blockdev, so it has no legacy device name. A missing `ro` does
	 * not mean read-only. */
	assert_int_equal(judge("[{\"device\":\"\",\"qdev\":\"/machine/disk0\",\"inserted\":{}}]",
			       NOTHING, &error),
			 -ENOTSUP);
	assert_non_null(strstr(error.text, "disk disk0"));
}

#define TWO                                                                                        \
	"[{\"device\":\"a\",\"inserted\":{\"ro\":false,\"file\":\"/d/a\"}},"                       \
	"{\"device\":\"cd\",\"inserted\":{\"ro\":true}},{\"device\":\"empty\"},"                   \
	"{\"device\":\"b\",\"inserted\":{\"ro\":false,\"file\":\"/d/b\"}}]"

static void the_file_must_name_the_disks_exactly(void **state)
{
	const struct {
		struct vmm_covered covered;
		const char *text;
	} rows[] = {
		{NAMES("a"), "disk b (/d/b) is writable and is not replicated"},
		{NAMES("b"), "disk a (/d/a) is writable and is not replicated"},
		{NAMES("a", "b", "c"),
		 "names c, but the guest has no such writable disk; it has a, b"},
		{NAMES("a", "empty", "b"), "names empty, but the guest has no such"},
		{NAMES("a", "cd", "b"),
		 "disk cd is named in `disks =` of the VM's file, but the guest "
		 "cannot write"},
	};
	struct error error = {""};

	(void)state;
	assert_int_equal(judge(TWO, NAMES("a", "b"), &error), 0);
	assert_int_equal(judge(TWO, NAMES("b", "a"), &error), 0);
	assert_string_equal(error.text, "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(judge(TWO, rows[i].covered, &error), -ENOTSUP);
		assert_non_null(strstr(error.text, rows[i].text));
	}
	assert_int_equal(judge("[]", NAMES("a"), &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "it has none"));
}

static void other_answers_are_refused(void **state)
{
	struct vmm_disks disks = {.n = 7};
	struct error error;

	(void)state;
	assert_int_equal(judge("{}", NOTHING, &error), -EPROTO);
	assert_int_equal(judge("\"x\"", NOTHING, &error), -EPROTO);
	assert_int_equal(judge("[3]", NOTHING, &error), 0); /* not an object, so no disk */
	assert_int_equal(list("{}", NULL, &disks, &error), -EPROTO);
	assert_int_equal(list("[{\"device\":\"a\",\"inserted\":{}}]", NULL, &disks, &error),
			 -EPROTO);
	assert_non_null(strstr(error.text, "does not tell the size of disk a"));
	assert_int_equal(disks.n, 7); /* untouched */
}

/* Write to @ret_name the name that we give to a guest's only disk. The other arguments are the
 * disk's names in QEMU. */
static void name_of(const char *device, const char *qdev, const char *node,
		    char ret_name[VMM_DISK_NAME_MAX + 1u])
{
	struct vmm_disks disks;
	struct error error;
	char text[512];

	snprintf(text, sizeof(text),
		 "[{\"device\":\"%s\",\"qdev\":\"%s\",\"inserted\":{\"ro\":false,\"node-name\":"
		 "\"%s\",\"image\":{\"virtual-size\":512}}}]",
		 device, qdev, node);
	assert_int_equal(list(text, NULL, &disks, &error), 0);
	assert_int_equal(disks.n, 1);
	assert_true(vmm_disk_name_is_good(disks.disks[0].name));
	strcpy(ret_name, disks.disks[0].name);
}

static void names_come_from_the_guests_side(void **state)
{
	static const struct {
		const char *device, *qdev, *node, *name;
	} rows[] = {
		{"virtio0", "/machine/peripheral-anon/device[0]/virtio-backend", "#block1",
		 "virtio0"},
		{"root", "/machine/peripheral/vd0/virtio-backend", "#block1", "root"},
		{"", "/machine/peripheral/vd0/virtio-backend", "n", "vd0"},
		{"", "/machine/peripheral-anon/device[12]/virtio-backend", "n", "device-12"},
		{"", "sd0", "n", "sd0"},
		{"", "/machine/peripheral/us0/us0.0/legacy[0]", "n", "us0.0"},
		{"", "virtio-backend", "n", "virtio-backend"}, /* an id that someone chose */
		{"", "/machine/a b\\u00e9c", "n", "a_b__c"},
		{"", "", "#block7", "_block7"},
		{"", "", "", "unnamed"},
	};
	char name[VMM_DISK_NAME_MAX + 1u], long_name[100];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		name_of(rows[i].device, rows[i].qdev, rows[i].node, name);
		assert_string_equal(name, rows[i].name);
	}
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	name_of(long_name, "", "", name);
	assert_int_equal(strlen(name), VMM_DISK_NAME_MAX);

	assert_false(vmm_disk_name_is_good(""));
	assert_false(vmm_disk_name_is_good("a/b"));
	assert_false(vmm_disk_name_is_good(long_name));
	assert_true(vmm_disk_name_is_good("A.b-c_9"));
}

/* The answer of QEMU 7.2 to query-block. The guest has a raw disk, an empty drive, a read-only
 * disk, and a qcow2 disk with a backing file. The members about throttling, and some details of the
 * images, are left out. */
#define BLOCKS                                                                                     \
	"[{\"io-status\":\"ok\",\"device\":\"virtio0\",\"locked\":false,\"removable\":false,"      \
	"\"inserted\":{\"detect_zeroes\":\"off\",\"image\":{\"virtual-size\":2097152,\"filena"     \
	"me\":\"/d/rec.raw\",\"format\":\"raw\",\"actual-size\":0,\"dirty-flag\":false},\"ro"      \
	"\":false,\"node-name\":\"#block483\",\"backing_file_depth\":0,\"drv\":\"raw\",\"writ"     \
	"e_threshold\":0,\"encrypted\":false,\"cache\":{\"no-flush\":false,\"direct\":false,"      \
	"\"writeback\":true},\"file\":\"/d/rec.raw\"},\"qdev\":\"/machine/peripheral-anon/dev"     \
	"ice[2]/virtio-backend\",\"type\":\"unknown\"},{\"io-status\":\"ok\",\"device\":\"cd0"     \
	"\",\"locked\":false,\"removable\":true,\"qdev\":\"/machine/peripheral-anon/device[0]"     \
	"\",\"tray_open\":false,\"type\":\"unknown\"},{\"io-status\":\"ok\",\"device\":\"ro\""     \
	",\"locked\":false,\"removable\":false,\"inserted\":{\"detect_zeroes\":\"off\",\"imag"     \
	"e\":{\"virtual-size\":2097152,\"filename\":\"/d/rec2.raw\",\"format\":\"raw\",\"actu"     \
	"al-size\":0,\"dirty-flag\":false},\"ro\":true,\"node-name\":\"#block692\",\"backing_"     \
	"file_depth\":0,\"drv\":\"raw\",\"write_threshold\":0,\"encrypted\":false,\"cache\":{"     \
	"\"no-flush\":false,\"direct\":false,\"writeback\":true},\"file\":\"/d/rec2.raw\"},\""     \
	"qdev\":\"/machine/peripheral-anon/device[1]/virtio-backend\",\"type\":\"unknown\"},{"     \
	"\"io-status\":\"ok\",\"device\":\"\",\"locked\":false,\"removable\":false,\"inserted"     \
	"\":{\"detect_zeroes\":\"off\",\"image\":{\"backing-filename-format\":\"qcow2\",\"vir"     \
	"tual-size\":4194304,\"filename\":\"/d/rec.qcow2\",\"cluster-size\":65536,\"format\":"     \
	"\"qcow2\",\"actual-size\":200704,\"full-backing-filename\":\"/d/rec.base\",\"backing"     \
	"-filename\":\"/d/rec.base\",\"dirty-flag\":false},\"ro\":false,\"node-name\":\"q\","      \
	"\"backing_file_depth\":1,\"drv\":\"qcow2\",\"write_threshold\":0,\"backing_file\":\""     \
	"/d/rec.base\",\"encrypted\":false,\"cache\":{\"no-flush\":false,\"direct\":true,\"wr"     \
	"iteback\":true},\"file\":\"/d/rec.qcow2\"},\"qdev\":\"/machine/peripheral/vd0/virtio"     \
	"-backend\",\"type\":\"unknown\"}]"

/* The answer of the same QEMU to x-debug-query-block-graph, while a job called j0 mirrors the first
 * disk. */
#define GRAPH(job)                                                                                 \
	"{\"edges\":[{\"name\":\"backing\",\"parent\":2,\"perm\":[\"write\",\"consistent-read"     \
	"\"],\"child\":11},{\"name\":\"file\",\"parent\":5,\"perm\":[\"consistent-read\"],\"c"     \
	"hild\":16},{\"name\":\"file\",\"parent\":11,\"perm\":[\"write\",\"consistent-read\"]"     \
	",\"child\":15},{\"name\":\"file\",\"parent\":13,\"perm\":[\"consistent-read\"],\"chi"     \
	"ld\":14},{\"name\":\"file\",\"parent\":7,\"perm\":[\"resize\",\"write\",\"consistent"     \
	"-read\"],\"child\":12},{\"name\":\"backing\",\"parent\":7,\"perm\":[\"consistent-rea"     \
	"d\"],\"child\":13},{\"name\":\"main node\",\"parent\":10,\"perm\":[\"consistent-read"     \
	"\"],\"child\":2},{\"name\":\"source\",\"parent\":10,\"perm\":[],\"child\":11},{\"nam"     \
	"e\":\"target\",\"parent\":10,\"perm\":[],\"child\":9},{\"name\":\"root\",\"parent\":"     \
	"8,\"perm\":[\"write\"],\"child\":9},{\"name\":\"root\",\"parent\":6,\"perm\":[\"writ"     \
	"e\",\"consistent-read\"],\"child\":7},{\"name\":\"root\",\"parent\":4,\"perm\":[\"co"     \
	"nsistent-read\"],\"child\":5},{\"name\":\"root\",\"parent\":1,\"perm\":[\"write\",\""     \
	"consistent-read\"],\"child\":2}],\"nodes\":[{\"name\":\"#block778\",\"type\":\"block"     \
	"-driver\",\"id\":2},{\"name\":\"t\",\"type\":\"block-driver\",\"id\":9},{\"name\":\""     \
	"#block692\",\"type\":\"block-driver\",\"id\":5},{\"name\":\"#block587\",\"type\":\"b"     \
	"lock-driver\",\"id\":16},{\"name\":\"#block483\",\"type\":\"block-driver\",\"id\":11"     \
	"},{\"name\":\"#block394\",\"type\":\"block-driver\",\"id\":15},{\"name\":\"#block233"     \
	"\",\"type\":\"block-driver\",\"id\":13},{\"name\":\"#block139\",\"type\":\"block-dri"     \
	"ver\",\"id\":14},{\"name\":\"q\",\"type\":\"block-driver\",\"id\":7},{\"name\":\"#bl"     \
	"ock040\",\"type\":\"block-driver\",\"id\":12},{\"name\":\"" job "\",\"type\":\"block-job" \
	"\",\"id\":10},{\"name\":\"\",\"type\":\"block-backend\",\"id\":8},{\"name\":\"/machi"     \
	"ne/peripheral/vd0/virtio-backend\",\"type\":\"block-backend\",\"id\":6},{\"name\":\""     \
	"ro\",\"type\":\"block-backend\",\"id\":4},{\"name\":\"cd0\",\"type\":\"block-backend"     \
	"\",\"id\":3},{\"name\":\"virtio0\",\"type\":\"block-backend\",\"id\":1}]}"

static void recorded_answers(void **state)
{
	struct vmm_disks disks;
	struct error error;

	(void)state;
	assert_int_equal(list(BLOCKS, NULL, &disks, &error), 0);
	assert_int_equal(disks.n, 2);
	assert_string_equal(disks.disks[0].name, "virtio0");
	assert_string_equal(disks.disks[0].source, "virtio0");
	assert_string_equal(disks.disks[0].node, "#block483");
	assert_string_equal(disks.disks[0].file, "/d/rec.raw");
	assert_string_equal(disks.disks[0].format, "raw");
	assert_int_equal(disks.disks[0].size_bytes, 2 << 20);
	assert_false(disks.disks[0].is_direct || disks.disks[0].is_no_flush ||
		     disks.disks[0].has_backing || disks.disks[0].has_job);
	assert_string_equal(disks.disks[1].name, "vd0");
	assert_string_equal(disks.disks[1].source, "q");
	assert_string_equal(disks.disks[1].node, "q");
	assert_string_equal(disks.disks[1].file, "/d/rec.qcow2");
	assert_string_equal(disks.disks[1].format, "qcow2");
	assert_int_equal(disks.disks[1].size_bytes, 4 << 20);
	assert_true(disks.disks[1].is_direct && disks.disks[1].has_backing);
	assert_false(disks.disks[1].is_no_flush || disks.disks[1].has_job);
	assert_ptr_equal(vmm_disks_find(&disks, "vd0"), &disks.disks[1]);
	assert_null(vmm_disks_find(&disks, "cd0"));
	assert_int_equal(judge(BLOCKS, NAMES("virtio0", "vd0"), &error), 0);
	assert_int_equal(judge(BLOCKS, NAMES("virtio0"), &error), -ENOTSUP);
}

static void a_job_on_the_disk_is_seen(void **state)
{
	static const char *const other[] = {
		"{}", "[]", "{\"nodes\":3,\"edges\":{}}", "{\"nodes\":[1],\"edges\":[2]}",
		/* a cycle: the node is its own child */
		("{\"nodes\":[{\"id\":1,\"type\":\"block-driver\",\"name\":\"#block483\"}],"
		 "\"edges\":[{\"parent\":1,\"child\":1},{\"parent\":1,\"child\":1}]}")};
	struct vmm_disks disks;
	struct error error;

	(void)state;
	assert_int_equal(list(BLOCKS, GRAPH("j0"), &disks, &error), 0);
	assert_true(disks.disks[0].has_job);
	assert_false(disks.disks[1].has_job);
	/* our own job is not reported */
	assert_int_equal(list(BLOCKS, GRAPH("holdfast-virtio0"), &disks, &error), 0);
	assert_false(disks.disks[0].has_job);
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		assert_int_equal(list(BLOCKS, other[i], &disks, &error), 0);
		assert_false(disks.disks[0].has_job);
	}
}

static void too_many_and_equal_names(void **state)
{
	char text[8192] = "[";
	struct vmm_disks disks;
	struct error error;

	(void)state;
	for (unsigned int i = 0; i <= VMM_DISKS_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s{\"device\":\"d%u\",\"inserted\":{\"image\":{\"virtual-size\":512}}}",
			 i ? "," : "", i);
	strcat(text, "]");
	assert_int_equal(list(text, NULL, &disks, &error), -E2BIG);
	assert_int_equal(judge(text, NOTHING, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "more than 16 writable disks"));
	snprintf(text, sizeof(text),
		 "[{\"device\":\"a\",\"inserted\":{\"file\":\"/1\"}},"
		 "{\"device\":\"\",\"qdev\":\"/m/a\",\"inserted\":{\"file\":\"/2\"}}]");
	assert_int_equal(list(text, NULL, &disks, &error), -EEXIST);
	assert_int_equal(judge(text, NAMES("a"), &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "two disks of the guest are called a (/1 and /2)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_without_disks),
		cmocka_unit_test(a_disk_that_is_not_covered_is_named),
		cmocka_unit_test(the_file_must_name_the_disks_exactly),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(names_come_from_the_guests_side),
		cmocka_unit_test(recorded_answers),
		cmocka_unit_test(a_job_on_the_disk_is_seen),
		cmocka_unit_test(too_many_and_equal_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
