#include "vmm/disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)

/* Returns the disk's name as the operator knows it. */
static const char *disk_name(const json_t *block)
{
	const char *name = json_string_value(json_object_get(block, "device"));

	if (name && *name)
		return name;
	name = json_string_value(json_object_get(block, "qdev"));
	return name && *name ? name : "without a name";
}

int vmm_judge_disks(const json_t *query_block, struct error *ret_error)
{
	size_t i;
	json_t *block;

	if (!json_is_array(query_block)) {
		snprintf(ret_error->text, sizeof(ret_error->text),
			 "QEMU's answer to query-block is not understood");
		return -EPROTO;
	}
	json_array_foreach(query_block, i, block) {
		const json_t *inserted = json_object_get(block, "inserted");
		const char *file;

		if (!inserted || json_is_true(json_object_get(inserted, "ro")))
			continue;
		file = json_string_value(json_object_get(inserted, "file"));
		snprintf(ret_error->text, sizeof(ret_error->text),
			 "disk %.60s (%.200s) is writable and disks are not replicated: after a "
			 "failover its writes would be lost; protect only guests without disks, or "
			 "attach it read-only (readonly=on)",
			 disk_name(block), file ? file : "no file name");
		return -ENOTSUP;
	}
	return 0;
}

int vmm_check_disks(struct qmp *q, struct error *ret_error)
{
	json_t *answer;
	int r = qmp_execute(q, "query-block", NULL, TIMEOUT_NS, &answer);

	if (r < 0) {
		snprintf(ret_error->text, sizeof(ret_error->text), "query-block: %s",
			 *qmp_error(q) ? qmp_error(q) : strerror(-r));
		return r;
	}
	r = vmm_judge_disks(answer, ret_error);
	json_decref(answer);
	return r;
}
