#include "vmm/outside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define TIMEOUT_NS (10 * CLOCK_NS_PER_S)

AUTO_DEFINE(json_t *, json_decref)

#define OF_HOST "is a device of this host, whose state cannot be saved: "

#define OUTLIVES                                                                                   \
	"is memory that outlives the machine, in a file of this host: use a disk instead"

/* Device types that cannot be protected. `type` is the beginning of the type's name. */
static const struct {
	const char *type;
	const char *why;
} types[] = {
	{"vfio-", OF_HOST "give the guest a virtio device instead"},
	{"usb-host", OF_HOST "detach it"},
	{"scsi-block", OF_HOST "use scsi-hd"},
	{"scsi-generic", OF_HOST "use scsi-hd"},
	{"vhost-user-", "lets another process write to guest memory, where that cannot be tracked: "
			"use a virtio device that QEMU serves itself"},
	{"vhost-vdpa-", "lets a device of this host write to guest memory, where that cannot be "
			"tracked: use a virtio device that QEMU serves itself"},
	{"vhost-vsock", "is served by this host's kernel, and its connections would be lost: "
			"remove it"},
	{"vhost-scsi", "is served by this host's kernel, past the replication of disks: use "
		       "virtio-scsi"},
	{"nvdimm", OUTLIVES},
	{"virtio-pmem-", OUTLIVES},
	{"ivshmem", "lets others write to guest memory: remove it"},
	{"virtio-9p-", "has open files of this host, which would be lost: use a disk, or a file "
		       "system of the network"},
};

const char *vmm_outside_device(const char *type)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strncmp(type, types[i].type, strlen(types[i].type)) == 0)
			return types[i].why;
	return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

int vmm_outside_judge_tpms(const json_t *query_tpm, struct vmm_obstacles *obstacles)
{
	size_t i;
	json_t *tpm;

	if (!json_is_array(query_tpm))
		return -EPROTO;
	json_array_foreach(query_tpm, i, tpm) {
		const json_t *options = json_object_get(tpm, "options");
		struct error error;

		if (strcmp(text_of(options, "type"), "passthrough") != 0)
			continue;
		(void)error_set(&error, 0,
				"TPM %s " OF_HOST "give the guest an emulated one (-tpmdev "
				"emulator, served by swtpm)",
				text_of(tpm, "id"));
		vmm_obstacles_add(obstacles, &error);
	}
	return 0;
}

/* Does the device at @qdev let other guests write to its disk? Returns 1 if it does, 0 if not, or
 * an error of qmp_execute(). */
static int is_shared(struct qmp *q, const char *qdev)
{
	AUTO(json_decref) json_t *value = NULL;
	int r = qmp_execute(q, "qom-get",
			    json_pack("{s:s, s:s}", "path", qdev, "property", "share-rw"),
			    TIMEOUT_NS, &value);

	if (r == -EREMOTEIO)
		return 0; /* this device has no such property */
	return r < 0 ? r : json_is_true(value);
}

static int judge_disks(struct qmp *q, const json_t *query_block, struct vmm_obstacles *obstacles)
{
	size_t i;
	json_t *block;

	json_array_foreach(query_block, i, block) {
		const json_t *inserted = json_object_get(block, "inserted");
		const char *qdev = text_of(block, "qdev");
		struct error error;
		int r;

		if (!*qdev || !inserted || json_is_true(json_object_get(inserted, "ro")))
			continue;
		r = is_shared(q, qdev);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		(void)error_set(&error, 0,
				"disk %.200s at %s is shared with other guests (share-rw=on), "
				"whose writes would not be replicated: give this guest a disk of "
				"its own",
				text_of(inserted, "file"), qdev);
		vmm_obstacles_add(obstacles, &error);
	}
	return 0;
}

static int query(struct qmp *q, const char *command, json_t **ret_answer, struct error *ret_error)
{
	int r = qmp_execute(q, command, NULL, TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(ret_error, r, "QEMU: %s: %s", command,
				 *qmp_error(q) ? qmp_error(q) : strerror(-r))
		     : 0;
}

int vmm_outside_ask(struct qmp *q, struct vmm_obstacles *obstacles, struct error *ret_error)
{
	AUTO(json_decref) json_t *tpms = NULL;
	AUTO(json_decref) json_t *blocks = NULL;
	int r = query(q, "query-tpm", &tpms, ret_error);

	if (r == 0 && vmm_outside_judge_tpms(tpms, obstacles) < 0)
		r = error_set(ret_error, -EPROTO, "QEMU's answer to query-tpm is not understood");
	if (r == -EREMOTEIO)
		r = 0; /* this QEMU was built without TPMs */
	if (r == 0)
		r = query(q, "query-block", &blocks, ret_error);
	if (r < 0)
		return r;
	r = judge_disks(q, blocks, obstacles);
	return r < 0 ? error_set(ret_error, r, "QEMU: qom-get share-rw: %s", strerror(-r)) : 0;
}
