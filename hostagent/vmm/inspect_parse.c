#include "vmm/inspect_parse.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

#define LINE_MAX_BYTES 512u

/* Copy the line at @text to @ret_line; a long line is cut. Returns the start of the next line, or
 * NULL at the end of the text. */
static const char *next_line(const char *text, char ret_line[LINE_MAX_BYTES])
{
	size_t size;

	if (!text || *text == '\0')
		return NULL;
	size = strcspn(text, "\r\n");
	(void)snprintf(ret_line, LINE_MAX_BYTES, "%.*s", (int)(size < 4096 ? size : 4096), text);
	text += size;
	return text + strspn(text, "\r\n");
}

int inspect_parse_ramblocks(const char *text, struct inspect_ramblock *ret_blocks,
			    uint32_t *ret_n_blocks, struct error *ret_error)
{
	char line[LINE_MAX_BYTES];
	uint32_t n = 0;

	while ((text = next_line(text, line))) {
		struct inspect_ramblock b;
		unsigned int page_size;
		char unit[8];
		int n_fields;

		b.hva = 0;
		if (strstr(line, "Block Name") || line[strspn(line, " ")] == '\0')
			continue;
		/* A block without a name is the memory of an -object that no device uses yet. */
		if (sscanf(line, " %u %7s 0x%*x 0x%" SCNx64, &page_size, unit, &b.used_bytes) == 3)
			strcpy(b.name, INSPECT_UNNAMED);
		else if ((n_fields = sscanf(line,
					    "%127s %u %7s 0x%*x 0x%" SCNx64 " 0x%*x 0x%" SCNx64,
					    b.name, &page_size, unit, &b.used_bytes, &b.hva)) < 4)
			return error_set(
				ret_error, -EPROTO,
				"QEMU's `info ramblock` has a line that is not understood: %s",
				line);
		if (n == INSPECT_RAMBLOCKS_MAX)
			return error_set(ret_error, -E2BIG, "more than %u RAM blocks",
					 INSPECT_RAMBLOCKS_MAX);
		ret_blocks[n++] = b;
	}
	*ret_n_blocks = n;
	return 0;
}

int inspect_parse_hva(const char *text, const char *name, uint64_t *ret_hva)
{
	char found[128];
	uint64_t hva;

	if (sscanf(text, "Host virtual address for 0x%*x (%127[^)]) is 0x%" SCNx64, found, &hva) !=
	    2)
		return strstr(text, "No memory") || strstr(text, "not RAM") ? -ENOENT : -EPROTO;
	if (strcmp(found, name) != 0 || hva == 0 || hva % VMM_PAGE_BYTES != 0)
		return -EPROTO;
	*ret_hva = hva;
	return 0;
}

int inspect_parse_guest_addr(const char *text, const char *name, uint64_t *ret_addr)
{
	char line[LINE_MAX_BYTES];
	bool is_memory = false;

	while ((text = next_line(text, line))) {
		uint64_t start;
		char found[128], at[32];
		int n;

		if (strncmp(line, "FlatView", 8) == 0)
			is_memory = false;
		if (strstr(line, "AS \"memory\""))
			is_memory = true;
		if (!is_memory)
			continue;
		n = sscanf(line, " %" SCNx64 "-%*x (prio %*d, %*[^)]): %127s %31s", &start, found,
			   at);
		/* A line with "NAME @OFFSET" maps a later part of the block. */
		if (n < 2 || strcmp(found, name) != 0 || (n == 3 && at[0] == '@'))
			continue;
		*ret_addr = start;
		return 0;
	}
	return -ENOENT;
}

/* Says what to do with each of QEMU's RAM blocks. The patterns are those of fnmatch(3); the first
 * match counts. */
static const struct {
	const char *pattern;
	enum inspect_use use;
	const char *hint;
} uses[] = {
	/* The firmware image. QEMU fills this block at the first reset, but not after a start with
	 * -incoming (rom_reset), because a migration would fill the block. So we must replicate the
	 * block. Otherwise a guest that reboots after a failover would find an empty BIOS. */
	{"pc.bios", INSPECT_REPLICATE_OTHER, NULL},
	/* This block is read-only to the guest. It is empty on a machine with fw_cfg, whose option
	 * ROMs are fw_cfg files or PCI ROM BARs. SeaBIOS copies them to shadow RAM, which is part
	 * of pc.ram. */
	{"pc.rom", INSPECT_SKIP, NULL},
	/* fw_cfg files that can change size (ACPI tables). QEMU fills them at its start from the
	 * machine's configuration, which is the same on the standby. QEMU builds them anew when a
	 * booting guest reads them. */
	{"/rom@etc/*", INSPECT_SKIP, NULL},
	/* PCI option ROMs, "DDDD:BB:DD.F/NAME.rom". They are read-only to the guest, and QEMU loads
	 * them when it makes the device. */
	{"*:*.?/*.rom", INSPECT_SKIP, NULL},

	/* Refused: a device that is plugged in later could make this block part of guest memory.
	 * But the engine tracks only the blocks that it found when it attached. */
	{INSPECT_UNNAMED, INSPECT_REFUSE,
	 "it belongs to a memory backend that no device uses: remove that"
	 " (object-del)"},
	{"*ivshmem*", INSPECT_REFUSE, "remove the ivshmem device: others may write its memory"},
	{"*nvdimm*", INSPECT_REFUSE, "remove the NVDIMM: its file would stay on this host"},

	/* All other blocks are replicated, as in a migration: video RAM, UEFI flash, memory
	 * devices. */
	{"*", INSPECT_REPLICATE_OTHER, NULL},
};

enum inspect_use inspect_classify(const char *name, const char *main_memory, const char **ret_hint)
{
	const char *objects = "/objects/";

	*ret_hint = NULL;
	/* Machine types before 4.0 use the backend's whole path as the block's name. */
	if (strncmp(name, objects, strlen(objects)) == 0 &&
	    strcmp(name + strlen(objects), main_memory) == 0)
		return INSPECT_REPLICATE_RAM;
	if (strcmp(name, main_memory) == 0)
		return INSPECT_REPLICATE_RAM;
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
		if (fnmatch(uses[i].pattern, name, 0) != 0)
			continue;
		*ret_hint = uses[i].hint;
		return uses[i].use;
	}
	return INSPECT_REPLICATE_OTHER; /* cannot happen: the last pattern matches all names */
}

int inspect_parse_mac(const char *text, uint8_t ret_mac[6])
{
	unsigned int part[6];
	char extra;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &part[0], &part[1], &part[2], &part[3],
		   &part[4], &part[5], &extra) != 6)
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)part[i];
	return 0;
}

const char *inspect_foreign_netdev(const char *text)
{
	static const char *const types[] = {"vhost-user", "vhost-vdpa"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "type=%s", types[i]);
		if (strstr(text, key))
			return types[i];
	}
	return NULL;
}

/* Copy the @size bytes at @text, cut to @room. */
static void copy_part(char *ret, size_t room, const char *text, size_t size)
{
	(void)snprintf(ret, room, "%.*s", (int)size, text);
}

/* Does the line at @line, of @size bytes, contain the option @option? */
static bool has_option(const char *line, size_t size, const char *option)
{
	const char *at = memmem(line, size, option, strlen(option));
	size_t rest = at ? size - (size_t)(at - line) - strlen(option) : 0;

	return at && at > line && (at[-1] == ',' || at[-1] == ' ') &&
	       (rest == 0 || strchr(",\r", at[strlen(option)]));
}

static uint32_t count_cards(const char *text)
{
	uint32_t n = 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t size = strcspn(line, "\n");

		n += has_option(line, size, "index=0") && has_option(line, size, "type=nic");
	}
	return n;
}

/* Copy name and type of the back end in " \ n1: index=0,type=user,net=..", without the " \ ". */
static void copy_backend(struct inspect_card *card, const char *line, size_t size)
{
	static const char key[] = "type=";
	const char *type = memmem(line, size, key, strlen(key));

	copy_part(card->backend, sizeof(card->backend), line, strcspn(line, ":\n"));
	if (type)
		copy_part(card->type, sizeof(card->type), type + strlen(key),
			  strcspn(type + strlen(key), ",\r\n"));
}

/* The text has a line for each card, followed by a line for the card's back end. The cards of a hub
 * come first, below the hub's name:
 *	hub 0
 *	 \ hub0port1: n1: index=0,type=user,net=10.0.2.0
 *	 \ hub0port0: e1000.0: index=0,type=nic,model=e1000,macaddr=...
 *	virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=...
 *	 \ n0: index=0,type=tap,ifname=tap0,script=no */
int inspect_untapped_card(const char *text, uint32_t n, struct inspect_card *ret_card)
{
	const bool is_only = count_cards(text) <= 1;
	const char *card = NULL;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t size = strcspn(line, "\n"), indent = strspn(line, " \\");
		bool is_card = has_option(line, size, "type=nic"), is_untapped = false;
		struct inspect_card found = {0};

		if (indent == 0) {
			/* lines about filters may be between a card and its back end */
			card = is_card ? line : strncmp(line, "filters:", 8) == 0 ? card : NULL;
		} else if (is_card) {
			const char *name = line + indent + strcspn(line + indent, ":\n");

			name += strspn(name, ": ");
			copy_part(found.name, sizeof(found.name), name, strcspn(name, ":\n"));
			copy_part(found.backend, sizeof(found.backend), line + indent,
				  strcspn(line + indent, ":\n"));
			(void)strcpy(found.type, "hubport");
			is_untapped = !is_only;
		} else if (card && line[1] == '\\') {
			copy_part(found.name, sizeof(found.name), card, strcspn(card, ":\n"));
			copy_backend(&found, line + indent, size - indent);
			is_untapped = strcmp(found.type, "tap") != 0;
			card = NULL;
		}
		if (is_untapped && n-- == 0) {
			*ret_card = found;
			return 0;
		}
	}
	return -ENOENT;
}
