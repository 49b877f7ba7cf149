#include "vmm/inventory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vmm/disks.h"
#include "base/error.h"
#include "vmm/inspect_parse.h"

#define TIMEOUT_NS (3 * CLOCK_NS_PER_S)

static int add(struct vmm_inventory *inventory, enum vmm_item_kind kind, const char *name)
{
	struct vmm_item item = {.kind = kind};

	(void)snprintf(item.name, sizeof(item.name), "%.*s", (int)sizeof(item.name) - 1,
		       name); /* a long name is cut */
	/* All queues of one card have the same name: add the card only once. */
	for (uint32_t i = 0; kind == VMM_ITEM_NET && i < inventory->n; i++)
		if (inventory->items[i].kind == kind &&
		    strcmp(inventory->items[i].name, item.name) == 0)
			return 0;
	if (inventory->n == VMM_ITEMS_MAX)
		return -E2BIG;
	inventory->items[inventory->n++] = item;
	return 0;
}

int vmm_inventory_add_devices(struct vmm_inventory *inventory, const json_t *qom_list)
{
	size_t n = json_array_size(qom_list);
	int r = json_is_array(qom_list) ? 0 : -EPROTO;

	for (size_t i = 0; i < n && r == 0; i++) {
		const json_t *child = json_array_get(qom_list, i);
		const char *name = json_string_value(json_object_get(child, "name"));
		const char *type = json_string_value(json_object_get(child, "type"));
		char text[VMM_ITEM_NAME_BYTES], device[64];

		if (!name || !type)
			return -EPROTO;
		if (sscanf(type, "child<%63[^>]>", device) != 1)
			continue; /* skip the list's own property "type" */
		(void)snprintf(text, sizeof(text), "%s (%s)", name, device);
		r = add(inventory, VMM_ITEM_DEVICE, text);
	}
	return r;
}

int vmm_inventory_add_network(struct vmm_inventory *inventory, const char *info_network)
{
	const char *line = info_network;
	int r = 0;

	/* Lines look like this:
	 *	NAME: index=0,type=nic,...
	 *	 \ NAME: index=0,type=tap,...
	 *	  - NAME: type=filter-dump,...
	 * The line "hub 0" above a hub's ports has no type, and is skipped. The lines of the ports
	 * are not skipped. */
	while (*line && r == 0) {
		char copy[256], name[64], type[48], text[VMM_ITEM_NAME_BYTES];
		size_t size = strcspn(line, "\r\n");
		const char *at;

		(void)snprintf(copy, sizeof(copy), "%.*s", (int)size, line);
		line += size + strspn(line + size, "\r\n");
		at = strstr(copy, "type=");
		if (!at || sscanf(copy + strspn(copy, " \\-"), "%63[^:]:", name) != 1 ||
		    sscanf(at, "type=%47[^, ]", type) != 1)
			continue;
		(void)snprintf(text, sizeof(text), "%.40s (%s)", name, type);
		r = add(inventory, VMM_ITEM_NET, text);
	}
	return r;
}

int vmm_inventory_add_memory(struct vmm_inventory *inventory, const char *info_ramblock)
{
	struct inspect_ramblock blocks[INSPECT_RAMBLOCKS_MAX];
	struct error error;
	const char *hint;
	uint32_t n;
	int r = inspect_parse_ramblocks(info_ramblock, blocks, &n, &error);

	for (uint32_t i = 0; r == 0 && i < n; i++)
		/* Skip the ROM of a device: it is added and removed together with its device, which
		 * is listed. */
		if (inspect_classify(blocks[i].name, "pc.ram", &hint) != INSPECT_SKIP)
			r = add(inventory, VMM_ITEM_MEMORY, blocks[i].name);
	return r;
}

/* Disks are listed with their sizes, because the standby does not follow a change of the size. */
int vmm_inventory_add_disks(struct vmm_inventory *inventory, const json_t *query_block)
{
	struct vmm_disks disks;
	struct error error;
	int r = vmm_disks_parse(query_block, NULL, &disks, &error);

	if (r < 0)
		return r == -EPROTO ? r : 0; /* vmm_judge_disks() refuses these disks */
	for (uint32_t i = 0; r == 0 && i < disks.n; i++) {
		char text[VMM_ITEM_NAME_BYTES];

		(void)snprintf(text, sizeof(text), "%s of %" PRIu64 " bytes", disks.disks[i].name,
			       disks.disks[i].size_bytes);
		r = add(inventory, VMM_ITEM_DISK, text);
	}
	return r;
}

/* List media, too: the standby's drive always has the medium that its command file names, so the
 * standby does not follow a change of a medium. */
int vmm_inventory_add_media(struct vmm_inventory *inventory, const json_t *query_block)
{
	size_t i;
	json_t *block;
	int r = json_is_array(query_block) ? 0 : -EPROTO;

	json_array_foreach(query_block, i, block) {
		const json_t *inserted = json_object_get(block, "inserted");
		const char *file = json_string_value(json_object_get(inserted, "file"));
		const char *drive = json_string_value(json_object_get(block, "qdev"));
		char text[VMM_ITEM_NAME_BYTES];
		size_t size;

		if (!json_is_true(json_object_get(block, "removable")) || !inserted || !file ||
		    r < 0)
			continue;
		if (!drive || !*drive)
			drive = json_string_value(json_object_get(block, "device"));
		size = strlen(file);
		(void)snprintf(text, sizeof(text), "%.30s (%.60s)", drive ? drive : "",
			       size > 60 ? file + size - 60 : file);
		r = add(inventory, VMM_ITEM_MEDIUM, text);
	}
	return r;
}

static const char *kind_name(enum vmm_item_kind kind)
{
	static const char *const names[] = {
		[VMM_ITEM_DEVICE] = "device",
		[VMM_ITEM_NET] = "network part",
		[VMM_ITEM_MEMORY] = "memory",
		[VMM_ITEM_DISK] = "disk",
		[VMM_ITEM_MEDIUM] = "medium in",
	};

	return names[kind];
}

static uint32_t count(const struct vmm_inventory *in, const struct vmm_item *item)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < in->n; i++)
		n += in->items[i].kind == item->kind && strcmp(in->items[i].name, item->name) == 0;
	return n;
}

/* Append to the text the items of @with that are not in @without. Returns true if there are any. */
static bool tell(const struct vmm_inventory *with, const struct vmm_inventory *without,
		 const char *what, struct vmm_change *change)
{
	bool is_first = true;

	for (uint32_t i = 0; i < with->n; i++) {
		const struct vmm_item *item = &with->items[i];
		size_t used = strlen(change->text);

		if (count(with, item) <= count(without, item))
			continue;
		(void)snprintf(change->text + used, sizeof(change->text) - used, "%s%s%s %s",
			       used == 0 ? "" : is_first ? "; " : ", ", is_first ? what : "",
			       kind_name(item->kind), item->name);
		is_first = false;
	}
	return !is_first;
}

static bool adds_net(const struct vmm_inventory *base, const struct vmm_inventory *now)
{
	for (uint32_t i = 0; i < now->n; i++)
		if (now->items[i].kind == VMM_ITEM_NET && count(base, &now->items[i]) == 0)
			return true;
	return false;
}

bool vmm_inventory_differs(const struct vmm_inventory *base, const struct vmm_inventory *now,
			   struct vmm_change *ret_change)
{
	struct vmm_change change = {0};
	bool added = tell(now, base, "added: ", &change);
	bool gone = tell(base, now, "gone: ", &change);

	if (!added && !gone)
		return false;
	change.is_net = adds_net(base, now);
	*ret_change = change;
	return true;
}

static json_t *human(const char *command_line)
{
	return json_pack("{s:s}", "command-line", command_line);
}

/* Send all commands and get their answers, in the order of the commands. A missing answer is
 * NULL. */
static int ask(struct qmp *q, json_t *answers[5])
{
	struct {
		const char *command;
		json_t *args;
	} commands[5] = {
		{"qom-list", json_pack("{s:s}", "path", "/machine/peripheral")},
		{"qom-list", json_pack("{s:s}", "path", "/machine/peripheral-anon")},
		{"human-monitor-command", human("info network")},
		{"human-monitor-command", human("info ramblock")},
		{"query-block", NULL},
	};
	int sent = 0, r = 0, error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (r == 0)
			r = qmp_send(q, commands[i].command, commands[i].args);
		else
			json_decref(commands[i].args);
		sent += r == 0;
	}
	/* Continue after an error: the answer to every command must be read. */
	for (int i = 0; i < sent; i++) {
		int waited = qmp_wait(q, TIMEOUT_NS, &answers[i]);

		error = error < 0 ? error : waited;
	}
	return r < 0 ? r : error;
}

static int read_answers(json_t *answers[5], struct vmm_inventory *in)
{
	const char *network = json_string_value(answers[2]);
	const char *memory = json_string_value(answers[3]);
	int r = network && memory ? 0 : -EPROTO;

	if (r == 0)
		r = vmm_inventory_add_devices(in, answers[0]);
	if (r == 0)
		r = vmm_inventory_add_devices(in, answers[1]);
	if (r == 0)
		r = vmm_inventory_add_network(in, network);
	if (r == 0)
		r = vmm_inventory_add_memory(in, memory);
	if (r == 0)
		r = vmm_inventory_add_disks(in, answers[4]);
	if (r == 0)
		r = vmm_inventory_add_media(in, answers[4]);
	return r;
}

int vmm_inventory_take(struct qmp *q, struct vmm_covered covered,
		       struct vmm_inventory *ret_inventory, struct error *ret_error)
{
	json_t *answers[5] = {0};
	int r;

	ret_inventory->n = 0;
	ret_error->text[0] = '\0';
	r = ask(q, answers);
	if (r == 0)
		r = read_answers(answers, ret_inventory);
	if (r < 0)
		(void)error_set(ret_error, r, "QEMU's lists of what the guest is made of: %s",
				r == -EREMOTEIO ? qmp_error(q) : strerror(-r));
	else
		r = vmm_judge_disks(answers[4], covered, ret_error);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		json_decref(answers[i]);
	return r;
}
