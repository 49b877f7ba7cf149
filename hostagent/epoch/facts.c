#include "epoch/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static size_t list_bytes(const struct vmm_machine *m)
{
	size_t size = 4;

	for (uint32_t i = 0; i < m->n_items; i++)
		size += 4 + strlen(m->items[i].key) + strlen(m->items[i].value);
	return size;
}

static void encode_text(struct bytes_writer *w, const char *text)
{
	size_t size = strlen(text); /* at most VMM_MACHINE_KEY_MAX or VMM_MACHINE_VALUE_MAX */

	bytes_write_be16(w, (uint16_t)size);
	bytes_write(w, text, size);
}

static void encode_list(struct bytes_writer *w, const struct vmm_machine *m)
{
	bytes_write_be32(w, m->n_items);
	for (uint32_t i = 0; i < m->n_items; i++) {
		encode_text(w, m->items[i].key);
		encode_text(w, m->items[i].value);
	}
}

int facts_encode(const struct facts *facts, const struct vmm_machine *machine,
		 const struct vmm_machine *devices, uint32_t max, uint8_t **ret, uint32_t *ret_size)
{
	size_t size = 8 + sizeof(*facts) + list_bytes(machine) + list_bytes(devices);
	struct bytes_writer w;
	uint8_t *bytes;

	if (size > max)
		return -E2BIG;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	w = (struct bytes_writer){bytes, bytes + size, false};
	bytes_write_be32(&w, FACTS_LAYOUT);
	bytes_write_be32(&w, sizeof(*facts));
	bytes_write(&w, facts, sizeof(*facts));
	encode_list(&w, machine);
	encode_list(&w, devices);
	*ret = bytes;
	*ret_size = (uint32_t)size;
	return 0;
}

static int decode_text(struct bytes_reader *r, size_t max, char *ret_text)
{
	size_t size = bytes_read_be16(r);
	const uint8_t *text = size <= max ? bytes_take(r, size) : NULL;

	if (!text)
		return -EPROTO;
	memcpy(ret_text, text, size);
	ret_text[size] = '\0';
	return 0;
}

static int decode_list(struct bytes_reader *r, struct vmm_machine *m)
{
	char key[VMM_MACHINE_KEY_MAX + 1], value[VMM_MACHINE_VALUE_MAX + 1];
	uint32_t n = bytes_read_be32(r);
	int result = n <= VMM_MACHINE_ITEMS_MAX ? 0 : -EPROTO;

	for (uint32_t i = 0; result == 0 && i < n; i++) {
		result = decode_text(r, VMM_MACHINE_KEY_MAX, key);
		if (result == 0)
			result = decode_text(r, VMM_MACHINE_VALUE_MAX, value);
		if (result == 0)
			result = vmm_machine_add(m, key, value);
	}
	return result;
}

int facts_decode(const uint8_t *bytes, uint32_t size, struct facts *ret_facts,
		 struct vmm_machine *ret_machine, struct vmm_machine *ret_devices)
{
	struct bytes_reader r = {bytes, bytes + size, false};
	uint32_t layout = bytes_read_be32(&r), facts_size = bytes_read_be32(&r);
	const uint8_t *facts = bytes_take(&r, sizeof(*ret_facts));
	struct vmm_machine machine = {0}, devices = {0};
	int result;

	if (!facts || layout != FACTS_LAYOUT || facts_size != sizeof(*ret_facts))
		return -EPROTO;
	result = decode_list(&r, &machine);
	if (result == 0)
		result = decode_list(&r, &devices);
	if (result == 0 && (r.bad || bytes_left(&r) > 0))
		result = -EPROTO;
	if (result < 0) {
		vmm_machine_done(&machine);
		vmm_machine_done(&devices);
		return result;
	}
	memcpy(ret_facts, facts, sizeof(*ret_facts));
	*ret_machine = machine;
	*ret_devices = devices;
	return 0;
}
