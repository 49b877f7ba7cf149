#include "vmm/qtree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

#define NODES_MAX  (4 * QTREE_DEVICES_MAX) /* maximum number of devices and buses together */
#define PROPS_MAX  VMM_MACHINE_ITEMS_MAX
#define DEPTH_MAX  32u
#define PATH_ROOM  256u

/* Properties to leave out: names and back-end settings that belong to the host, and properties that
 * the guest or its firmware sets. */
static const char *const ignored[] = {
	"netdev",      "chardev",   "drive",	 "audiodev",
	"memdev",      "hostmem",   "iothread",	 "iothread-vq-mapping",
	"rng",	       "cryptodev", "tpmdev",	 "fsdev",
	"display",     "fd",	    "vhostfd",	 "share-rw",
	"rerror",      "werror",    "ioeventfd", "addr",
	"smb_io_base", "MCFG",
};

struct qtree_node {
	int parent;	  /* index of the parent node; -1 if there is none */
	unsigned indent;
	const char *name; /* a bus's name, or a device's type */
	const char *id;	  /* a device's id; NULL if this is a bus */
	const char *addr; /* address of a PCI device, or NULL */
	/* this is a PCI bus, whose name is unique and whose devices have addresses */
	bool is_pci;
};

struct qtree_prop {
	unsigned node;
	const char *name, *value;
};

struct qtree {
	struct qtree_node *nodes;
	struct qtree_prop *props;
	unsigned n_nodes, n_props;
	int at; /* index of the node to which the next line belongs; -1 before the first node */
};

/* ---- text to nodes */

static int add_node(struct qtree *t, unsigned indent, const char *name, const char *id)
{
	while (t->at >= 0 && t->nodes[t->at].indent >= indent)
		t->at = t->nodes[t->at].parent;
	if (t->n_nodes == NODES_MAX)
		return -E2BIG;
	t->nodes[t->n_nodes] = (struct qtree_node){
		.parent = t->at, .indent = indent, .name = name, .id = id};
	t->at = (int)t->n_nodes++;
	return 0;
}

static bool is_pci_type(const char *type)
{
	return strcmp(type, "PCI") == 0 || strcmp(type, "PCIE") == 0 || strcmp(type, "CXL") == 0 ||
	       strncmp(type, "pxb-", 4) == 0;
}

static bool is_ignored(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (strcmp(ignored[i], name) == 0)
			return true;
	return false;
}

/* Get x.rom from "/usr/share/x.rom" (with the quotes): hosts can keep the file in different
 * directories. Modifies @value. */
static const char *base_name(char *value)
{
	size_t n = strlen(value);
	const char *slash;

	if (n > 1 && value[n - 1] == '"')
		value[n - 1] = '\0';
	slash = strrchr(value, '/');
	return slash ? slash + 1 : *value == '"' ? value + 1 : value;
}

static int add_prop(struct qtree *t, const char *name, char *value)
{
	struct qtree_node *node = &t->nodes[t->at];

	if (strcmp(name, "addr") == 0)
		node->addr = value;
	if (is_ignored(name))
		return 0;
	if (t->n_props == PROPS_MAX)
		return -E2BIG;
	t->props[t->n_props++] = (struct qtree_prop){
		(unsigned)t->at, name, strcmp(name, "romfile") == 0 ? base_name(value) : value};
	return 0;
}

/* Add the PCI id from a line like "class Ethernet controller, addr 00:02.0, pci id 1af4:1000 (sub
 * 1af4:0001)". The rest of the line is not listed: the guest's firmware assigns the bus number in
 * addr. */
static int add_pci_id(struct qtree *t, char *line)
{
	char *id = strstr(line, ", pci id ");

	return id ? add_prop(t, "PCI id", id + strlen(", pci id ")) : 0;
}

static int parse_line(struct qtree *t, char *line)
{
	unsigned indent = (unsigned)strspn(line, " ");
	char *text = line + indent, *mark;

	if (strncmp(text, "bus: ", 5) == 0)
		return add_node(t, indent, text + 5, NULL);
	if (strncmp(text, "dev: ", 5) == 0) {
		mark = strstr(text, ", id \"");
		if (!mark || t->at < 0)
			return -EPROTO;
		*mark = '\0';
		return add_node(t, indent, text + 5, mark + 6);
	}
	/* This line belongs to the last node that was added, not to that node's parent: QEMU prints
	 * a device's child buses after all other lines of the device. */
	if (t->at < 0)
		return *text ? -EPROTO : 0;
	if (!t->nodes[t->at].id) {
		if (strncmp(text, "type ", 5) == 0)
			t->nodes[t->at].is_pci = is_pci_type(text + 5);
		return 0;
	}
	if (strncmp(text, "class ", 6) == 0)
		return add_pci_id(t, text);
	mark = strstr(text, " = ");
	if (!mark)
		/* a line without " = " is not listed: it is a BAR, an interrupt line or an address,
		 * which the device's type or the guest fixes */
		return 0;
	*mark = '\0';
	return add_prop(t, text, mark + 3);
}

/* ---- nodes to items */

/* Count the devices of the same type that were made earlier on the same bus. QEMU lists the newest
 * device first. */
static unsigned ordinal(const struct qtree *t, unsigned node)
{
	unsigned n = 0;

	for (unsigned i = node + 1; i < t->n_nodes; i++)
		n += t->nodes[i].parent == t->nodes[node].parent && t->nodes[i].id &&
		     strcmp(t->nodes[i].name, t->nodes[node].name) == 0;
	return n;
}

/* Write the place of a node to @path, starting with the nearest PCI bus above the node. */
static void path_of(const struct qtree *t, int node, char path[PATH_ROOM])
{
	char parts[DEPTH_MAX][PATH_ROOM];
	unsigned n = 0;
	size_t used = 0;

	for (; node >= 0 && n < DEPTH_MAX; node = t->nodes[node].parent) {
		const struct qtree_node *x = &t->nodes[node];

		if (!x->id && x->parent < 0)
			break; /* leave out the system bus: every device is below it */
		if (!x->id)
			snprintf(parts[n++], PATH_ROOM, "%.100s", x->name);
		else if (x->addr && x->parent >= 0 && t->nodes[x->parent].is_pci)
			snprintf(parts[n++], PATH_ROOM, "%.100s", x->addr);
		else
			snprintf(parts[n++], PATH_ROOM, "%.100s#%u", x->name,
				 ordinal(t, (unsigned)node));
		if (!x->id && x->is_pci)
			break;
	}
	path[0] = '\0';
	while (n-- > 0 && used < PATH_ROOM)
		used += (size_t)snprintf(path + used, PATH_ROOM - used, "%s%s", used ? "/" : "",
					 parts[n]);
}

static int add_items(const struct qtree *t, struct vmm_machine *m)
{
	char path[PATH_ROOM], key[PATH_ROOM + 256];
	unsigned k = 0;
	int r = 0;

	for (unsigned i = 0; i < t->n_nodes && r == 0; i++) {
		if (!t->nodes[i].id)
			continue;
		path_of(t, (int)i, path);
		snprintf(key, sizeof(key), "device %s", path);
		r = vmm_machine_add(m, key, t->nodes[i].name);
		for (; r == 0 && k < t->n_props && t->props[k].node == i; k++) {
			snprintf(key, sizeof(key), "device %s (%.64s) %.100s", path,
				 t->nodes[i].name, t->props[k].name);
			r = vmm_machine_add(m, key, t->props[k].value);
		}
	}
	return r;
}

int qtree_parse(char *text, struct vmm_machine *m, struct error *ret_error)
{
	AUTO_FREE struct qtree_node *nodes = calloc(NODES_MAX, sizeof(*nodes));
	AUTO_FREE struct qtree_prop *props = calloc(PROPS_MAX, sizeof(*props));
	struct qtree t = {.nodes = nodes, .props = props, .at = -1};
	char *save = NULL;
	int r = 0;

	if (!nodes || !props)
		return error_set(ret_error, -ENOMEM, "no memory for the list of devices");
	for (char *line = strtok_r(text, "\r\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\r\n", &save))
		r = parse_line(&t, line);
	if (r == 0 && t.n_nodes == 0)
		r = -EPROTO;
	if (r == 0)
		r = add_items(&t, m);
	if (r == -EPROTO)
		return error_set(ret_error, r, "QEMU's answer to `info qtree` is not understood");
	if (r < 0)
		return error_set(ret_error, r, "the guest's devices are too many to compare (%s)",
				 strerror(-r));
	return 0;
}
