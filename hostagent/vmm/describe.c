#include "vmm/describe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "vmm/disks.h"
#include "vmm/qtree.h"

#define QUERY_TIMEOUT_NS (3 * CLOCK_NS_PER_S)

AUTO_DEFINE(json_t *, json_decref)

/* The state of one description, passed from step to step. */
struct description {
	struct qmp *qmp;
	struct vmm_machine *machine;
	struct error *error;
	bool is_kvm;
};

static int query(struct description *d, const char *command, json_t *args, json_t **ret_answer)
{
	int r = qmp_execute(d->qmp, command, args, QUERY_TIMEOUT_NS, ret_answer);

	return r < 0 ? error_set(d->error, r, "QEMU: %s: %s", command, qmp_error(d->qmp)) : 0;
}

/* Read a property.
 * Returns 1, and the caller owns *ret_value;
 * 0: there is no such property, or it cannot be read;
 * -errno. */
static int get(struct description *d, const char *path, const char *property, json_t **ret_value)
{
	int r = qmp_execute(d->qmp, "qom-get",
			    json_pack("{s:s, s:s}", "path", path, "property", property),
			    QUERY_TIMEOUT_NS, ret_value);

	if (r == -EREMOTEIO)
		return 0;
	if (r < 0)
		return error_set(d->error, r, "QEMU: qom-get %s %s: %s", path, property,
				 qmp_error(d->qmp));
	return 1;
}

static int add(struct description *d, const char *key, const char *value)
{
	int r = vmm_machine_add(d->machine, key, value);

	return r < 0 ? error_set(d->error, r, "the guest's properties are too many to compare (%s)",
				 strerror(-r))
		     : 0;
}

static int add_value(struct description *d, const char *key, const json_t *value)
{
	AUTO_FREE char *text = NULL;

	if (json_is_string(value))
		return add(d, key, json_string_value(value));
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	return text ? add(d, key, text)
		    : error_set(d->error, -ENOMEM, "no memory for the list of devices");
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_in(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* ---- a QOM object's plain properties */

/* Which properties of an object to list, and how. */
struct telling {
	const char *path;   /* the object's path */
	const char *prefix; /* how the keys of the properties begin */
	/* properties that are not listed: they belong to the host, are set by us, or change at run
	 * time */
	const char *const *left_out;
	/* properties that hold a path on the host: list only whether they are set */
	const char *const *is_set;
	bool has_flags; /* list booleans too */
};

/* Should the property be listed? Links and children are not values, so they are left out. Of the
 * structures, only those named in this function are listed. */
static bool is_told(const struct telling *t, const char *name, const char *type)
{
	static const char *const plain[] = {"string",
					    "str",
					    "int",
					    "int8",
					    "int16",
					    "int32",
					    "int64",
					    "uint8",
					    "uint8_t",
					    "uint16",
					    "uint16_t",
					    "uint32",
					    "uint32_t",
					    "uint64",
					    "uint64_t",
					    "size",
					    "OnOffAuto",
					    "OnOffSplit",
					    "SMPConfiguration",
					    "MemorySizeConfiguration",
					    "BootConfiguration",
					    NULL};

	if (is_in(name, t->left_out))
		return false;
	return strcmp(type, "bool") == 0 ? t->has_flags : is_in(type, plain);
}

static int tell_property(struct description *d, const struct telling *t, const char *name,
			 const json_t *value)
{
	const char *text = json_string_value(value);
	char key[192];

	snprintf(key, sizeof(key), "%s %.100s", t->prefix, name);
	if (text && is_in(name, t->is_set))
		return add(d, key, *text ? "set" : "not set");
	if (text && strcmp(name, "firmware") == 0)
		return add(d, key, base_name(text));
	return add_value(d, key, value);
}

static int ask(struct description *d, const char *path, const char *name)
{
	int r = qmp_send(d->qmp, "qom-get",
			 json_pack("{s:s, s:s}", "path", path, "property", name));

	return r < 0 ? error_set(d->error, r, "QEMU: qom-get %s %s: %s", path, name,
				 qmp_error(d->qmp))
		     : 0;
}

static int take_answer(struct description *d, const struct telling *t, const char *name)
{
	AUTO(json_decref) json_t *value = NULL;
	int r = qmp_wait(d->qmp, QUERY_TIMEOUT_NS, &value);

	if (r == -EREMOTEIO)
		return 0; /* the property cannot be read */
	if (r < 0)
		return error_set(d->error, r, "QEMU: qom-get %s %s: %s", t->path, name,
				 qmp_error(d->qmp));
	return tell_property(d, t, name, value);
}

/* List the properties @names of an object. Sends as many commands at once as the monitor accepts:
 * on a busy host each command waits until QEMU gets a processor. Waits for every answer, even after
 * an error: a later command must not get one of these answers. */
static int tell_names(struct description *d, const struct telling *t, const char *const *names,
		      size_t n_names)
{
	size_t asked = 0, answered = 0;
	int r = 0;

	while (answered < asked || (r == 0 && asked < n_names)) {
		while (r == 0 && asked < n_names && asked - answered < QMP_IN_FLIGHT_MAX) {
			r = ask(d, t->path, names[asked]);
			asked += r == 0;
		}
		if (answered == asked)
			break;
		if (r == 0)
			r = take_answer(d, t, names[answered]);
		else if (qmp_wait(d->qmp, QUERY_TIMEOUT_NS, NULL) == -EINVAL)
			break; /* no command could be sent: the monitor is lost */
		answered++;
	}
	return r;
}

static int tell(struct description *d, const struct telling *t)
{
	AUTO(json_decref) json_t *list = NULL;
	AUTO_FREE const char **names = NULL;
	size_t n = 0, n_names = 0;
	int r = query(d, "qom-list", json_pack("{s:s}", "path", t->path), &list);

	if (r < 0)
		return r;
	n = json_array_size(list);
	names = calloc(n + 1, sizeof(*names));
	if (!names)
		return error_set(d->error, -ENOMEM, "no memory for the list of devices");
	for (size_t i = 0; i < n; i++) {
		const json_t *entry = json_array_get(list, i);
		const char *name = json_string_value(json_object_get(entry, "name"));
		const char *type = json_string_value(json_object_get(entry, "type"));

		if (name && type && is_told(t, name, type))
			names[n_names++] = name;
	}
	return tell_names(d, t, names, n_names);
}

/* ---- steps */

static int step_accelerator(struct description *d)
{
	AUTO(json_decref) json_t *answer = NULL;
	int r = query(d, "query-kvm", NULL, &answer);

	if (r < 0)
		return r;
	d->is_kvm = json_is_true(json_object_get(answer, "enabled"));
	return add(d, "accelerator", d->is_kvm ? "kvm" : "not kvm");
}

static int step_machine(struct description *d)
{
	static const char *const left_out[] = {
		"rtc-time",  "memory-backend", "suppress-vmdesc", "dump-guest-core",
		"mem-merge", "pcspk-audiodev", "dumpdtb",	  NULL};
	static const char *const is_set[] = {"kernel", "initrd", "dtb", NULL};

	return tell(d, &(struct telling){"/machine", "machine", left_out, is_set, true});
}

/* Add one CPUID register, as the guest sees it, to the list. */
static int add_cpuid(struct description *d, const char *prefix, const json_t *word)
{
	json_int_t eax, ecx = 0, features;
	const char *reg;
	char key[128], value[32];
	bool has_ecx = json_object_get(word, "cpuid-input-ecx") != NULL;

	if (json_unpack((json_t *)word, "{s:I, s:s, s:I, s?I}", "cpuid-input-eax", &eax,
			"cpuid-register", &reg, "features", &features, "cpuid-input-ecx", &ecx) < 0)
		return error_set(d->error, -EPROTO,
				 "QEMU's answer to qom-get feature-words is not understood");
	snprintf(key, sizeof(key), "%s cpuid %08" PRIx64, prefix, (uint64_t)eax);
	if (has_ecx)
		snprintf(key + strlen(key), sizeof(key) - strlen(key), ".%" PRIu64, (uint64_t)ecx);
	snprintf(key + strlen(key), sizeof(key) - strlen(key), " %.8s", reg);
	snprintf(value, sizeof(value), "%08" PRIx64, (uint64_t)features);
	return add(d, key, value);
}

static int add_features(struct description *d, const char *path, const char *prefix)
{
	AUTO(json_decref) json_t *words = NULL;
	int r = get(d, path, "feature-words", &words);

	for (size_t i = 0; r > 0 && i < json_array_size(words); i++)
		r = add_cpuid(d, prefix, json_array_get(words, i)) < 0 ? -EPROTO : 1;
	return r < 0 ? r : 0;
}

/* Add all properties of the first vCPU. The other vCPUs have the same model, so they are not listed
 * in full. Most booleans are CPUID bits, which are listed as CPUID registers. The other booleans
 * (VMX, Hyper-V) matter only with KVM, and are listed only with KVM. */
static int add_first_cpu(struct description *d, const char *path, const char *prefix)
{
	static const char *const left_out[] = {"type",
					       "tsc-frequency",
					       "ucode-rev",
					       "host-phys-bits-limit",
					       "unavailable-features",
					       "realized",
					       "hotplugged",
					       NULL};
	static const char *const is_set[] = {NULL};
	int r = add_features(d, path, prefix);

	return r < 0 ? r : tell(d, &(struct telling){path, prefix, left_out, is_set, d->is_kvm});
}

static int add_cpu(struct description *d, const json_t *cpu, size_t index)
{
	const char *path = json_string_value(json_object_get(cpu, "qom-path"));
	AUTO(json_decref) json_t *type = NULL;
	char prefix[32], key[64];
	int r;

	if (!path)
		return error_set(d->error, -EPROTO,
				 "QEMU's answer to query-cpus-fast is not understood");
	snprintf(prefix, sizeof(prefix), "CPU %zu", index);
	r = get(d, path, "type", &type);
	if (r > 0)
		r = add_value(d, prefix, type);
	snprintf(key, sizeof(key), "%s place", prefix);
	if (r >= 0)
		r = add_value(d, key, json_object_get(cpu, "props"));
	return r < 0 || index > 0 ? r : add_first_cpu(d, path, prefix);
}

static int step_cpus(struct description *d)
{
	AUTO(json_decref) json_t *cpus = NULL;
	int r = query(d, "query-cpus-fast", NULL, &cpus);

	for (size_t i = 0; r >= 0 && i < json_array_size(cpus); i++)
		r = add_cpu(d, json_array_get(cpus, i), i);
	return r < 0 ? r : 0;
}

/* Parse `info roms`. A line looks like "addr=00000000fffc0000 size=0x040000 mem=rom
 * name=\"bios-256k.bin\"". For a ROM that fw_cfg provides, the line has "fw=...". The names
 * "/rom@..." belong to tables that QEMU makes itself. */
static int step_roms(struct description *d)
{
	AUTO_FREE char *text = NULL;
	char *save = NULL;
	int r = qmp_hmp(d->qmp, "info roms", QUERY_TIMEOUT_NS, &text);

	if (r < 0)
		return error_set(d->error, r, "QEMU: `info roms`: %s", qmp_error(d->qmp));
	for (char *line = strtok_r(text, "\r\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\r\n", &save)) {
		const char *name = strstr(line, "name=\""), *size = strstr(line, "size=");
		char key[192], value[32];

		if (*line == '/' || !name || !size)
			continue;
		name = base_name(name + strlen("name=\""));
		snprintf(key, sizeof(key), "ROM %.*s", (int)strcspn(name, "\""), name);
		snprintf(value, sizeof(value), "%.*s bytes", (int)strcspn(size + 5, " "), size + 5);
		r = add(d, key, value);
	}
	return r;
}

static int step_devices(struct description *d)
{
	AUTO_FREE char *text = NULL;
	int r = qmp_hmp(d->qmp, "info qtree", QUERY_TIMEOUT_NS, &text);

	if (r < 0)
		return error_set(d->error, r, "QEMU: `info qtree`: %s", qmp_error(d->qmp));
	return qtree_parse(text, d->machine, d->error);
}

/* List the disks to which the guest can write, with their sizes: the standby's images must have the
 * same sizes. */
static int step_disks(struct description *d)
{
	AUTO(json_decref) json_t *blocks = NULL;
	struct vmm_disks disks;
	int r = query(d, "query-block", NULL, &blocks);

	if (r == 0)
		r = vmm_disks_parse(blocks, NULL, &disks, d->error);
	for (uint32_t i = 0; r == 0 && i < disks.n; i++) {
		char key[VMM_DISK_NAME_MAX + 8u], value[32];

		snprintf(key, sizeof(key), "disk %s", disks.disks[i].name);
		snprintf(value, sizeof(value), "%" PRIu64, disks.disks[i].size_bytes);
		r = add(d, key, value);
	}
	return r;
}

typedef int (*step_function)(struct description *d);

static int run(struct qmp *q, const step_function *steps, size_t n_steps,
	       struct vmm_machine *ret_machine, struct error *ret_error)
{
	struct vmm_machine machine = {0};
	struct description d = {.qmp = q, .machine = &machine, .error = ret_error};

	for (size_t i = 0; i < n_steps; i++) {
		int r = steps[i](&d);

		if (r < 0) {
			vmm_machine_done(&machine);
			return r;
		}
	}
	vmm_machine_sort(&machine);
	*ret_machine = machine;
	return 0;
}

void vmm_description_done(struct vmm_description *d)
{
	vmm_machine_done(&d->cpus);
	vmm_machine_done(&d->machine);
	vmm_machine_done(&d->devices);
	*d = (struct vmm_description){0};
}

int vmm_description_copy(const struct vmm_description *from, struct vmm_description *ret)
{
	struct vmm_description copy = {.pid = from->pid};
	int r = vmm_machine_append(&copy.cpus, &from->cpus);

	if (r == 0)
		r = vmm_machine_append(&copy.machine, &from->machine);
	if (r == 0)
		r = vmm_machine_append(&copy.devices, &from->devices);
	if (r < 0) {
		vmm_description_done(&copy);
		return r;
	}
	*ret = copy;
	return 0;
}

/* List the vCPUs that are plugged in: their paths and places. `info qtree` does not have them. */
static int step_plugged_cpus(struct description *d)
{
	AUTO(json_decref) json_t *cpus = NULL;
	int r = query(d, "query-cpus-fast", NULL, &cpus);

	for (size_t i = 0; r == 0 && i < json_array_size(cpus); i++) {
		const json_t *cpu = json_array_get(cpus, i);
		const json_t *path = json_object_get(cpu, "qom-path");
		char key[32];

		snprintf(key, sizeof(key), "CPU %zu", i);
		r = path ? add_value(d, key, path) : -EPROTO;
		snprintf(key, sizeof(key), "CPU %zu place", i);
		if (r == 0)
			r = add_value(d, key, json_object_get(cpu, "props"));
	}
	return r;
}

static int list_cpus(struct qmp *q, struct vmm_machine *ret, struct error *ret_error)
{
	static const step_function steps[] = {step_plugged_cpus};

	return run(q, steps, ARRAY_SIZE(steps), ret, ret_error);
}

int vmm_describe(struct qmp *q, struct vmm_description *ret, struct error *ret_error)
{
	static const step_function steps[] = {step_accelerator, step_machine, step_cpus};
	struct vmm_description d = {.pid = qmp_pid(q)};
	int r = run(q, steps, ARRAY_SIZE(steps), &d.machine, ret_error);

	if (r == 0)
		r = list_cpus(q, &d.cpus, ret_error);
	if (r == 0)
		r = vmm_describe_devices(q, &d.devices, ret_error);
	if (r == 0 && (r = vmm_machine_append(&d.machine, &d.devices)) < 0)
		(void)error_set(ret_error, r, "the guest's properties are too many to compare (%s)",
				strerror(-r));
	if (r < 0) {
		vmm_description_done(&d);
		return r;
	}
	vmm_machine_sort(&d.machine);
	*ret = d;
	return 0;
}

/* Returns true if @now is the same as @then. Always frees @now. */
static bool is_still(const struct vmm_machine *then, struct vmm_machine *now)
{
	bool is_same = vmm_machine_is_same(then, now);

	vmm_machine_done(now);
	return is_same;
}

/* Check whether the parts that can change are still as in @known.
 * Returns 1 if nothing was plugged or unplugged since;
 * 0: something was;
 * -errno. */
static int is_unchanged(struct qmp *q, const struct vmm_description *known,
			struct error *ret_error)
{
	struct vmm_machine now = {0};
	int r = list_cpus(q, &now, ret_error);

	if (r < 0 || !is_still(&known->cpus, &now))
		return r;
	r = vmm_describe_devices(q, &now, ret_error);
	return r < 0 ? r : is_still(&known->devices, &now);
}

int vmm_describe_again(struct qmp *q, const struct vmm_description *known,
		       struct vmm_description *ret, struct error *ret_error)
{
	int r = 0;

	if (known && known->machine.n_items > 0 && known->pid == qmp_pid(q))
		r = is_unchanged(q, known, ret_error);
	if (r == 0)
		return vmm_describe(q, ret, ret_error);
	if (r > 0 && (r = vmm_description_copy(known, ret)) < 0)
		(void)error_set(ret_error, r, "the list of devices: %s", strerror(-r));
	return r;
}

int vmm_describe_devices(struct qmp *q, struct vmm_machine *ret_machine, struct error *ret_error)
{
	static const step_function steps[] = {step_roms, step_devices, step_disks};

	return run(q, steps, ARRAY_SIZE(steps), ret_machine, ret_error);
}
