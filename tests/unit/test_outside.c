/* Tests vmm/outside.h: which types of devices, and which TPMs, keep a guest from being protected.
 * The test machines have no device that could be passed to a guest, so the test uses only names of
 * types. */
#include "vmm/outside.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void types_of_devices(void **state)
{
	static const struct {
		const char *type;
		const char *words; /* a part of the reason; NULL: no obstacle */
	} rows[] = {
		{"vfio-pci", "device of this host"},
		{"vfio-pci-nohotplug", "device of this host"},
		{"usb-host", "device of this host"},
		{"scsi-block", "scsi-hd"},
		{"scsi-generic", "scsi-hd"},
		{"vhost-user-fs-pci", "another process"},
		{"vhost-user-blk-pci", "another process"},
		{"vhost-vdpa-device-pci", "device of this host"},
		{"vhost-vsock-pci", "kernel"},
		{"vhost-scsi-pci", "kernel"},
		{"ivshmem-plain", "others"},
		{"nvdimm", "outlives"},
		{"virtio-pmem-pci", "outlives"},
		{"virtio-9p-pci", "open files"},
		{"virtio-net-pci", NULL},
		{"virtio-blk-pci", NULL},
		{"scsi-hd", NULL},
		{"usb-storage", NULL},
		{"tpm-crb", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *why = vmm_outside_device(rows[i].type);

		if (rows[i].words)
			assert_non_null(why);
		if (why)
			assert_true(rows[i].words && strstr(why, rows[i].words));
	}
}

static int judge(const char *text, struct vmm_obstacles *obstacles)
{
	json_t *answer = json_loads(text, JSON_DECODE_ANY, NULL);
	int r;

	assert_non_null(answer);
	r = vmm_outside_judge_tpms(answer, obstacles);
	json_decref(answer);
	return r;
}

#define TPM(id, type)                                                                              \
	"{\"model\":\"tpm-crb\",\"options\":{\"type\":\"" type "\",\"data\":{}},\"id\":\"" id "\"}"

static void tpms(void **state)
{
	struct vmm_obstacles obstacles = {0};

	(void)state;
	assert_int_equal(judge("[]", &obstacles), 0);
	assert_int_equal(judge("[" TPM("a", "emulator") "]", &obstacles), 0);
	assert_int_equal(judge("[1, {}]", &obstacles), 0);
	assert_int_equal(obstacles.n, 0);
	assert_int_equal(judge("[" TPM("a", "emulator") "," TPM("b", "passthrough") "]",
			       &obstacles), 0);
	assert_int_equal(obstacles.n, 1);
	assert_non_null(strstr(obstacles.items[0].text, "TPM b "));
	assert_non_null(strstr(obstacles.items[0].text, "swtpm"));
	assert_int_equal(judge("{}", &obstacles), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_of_devices),
		cmocka_unit_test(tpms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
