#include "vmm/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_CHARS   18u /* length of " #" and 16 digits */
#define TOLD_MAX     3u	 /* how many differences the text names */
#define ROOM_AT_FIRST 256u

void vmm_machine_done(struct vmm_machine *m)
{
	for (uint32_t i = 0; i < m->n_items; i++)
		free(m->items[i].key);
	free(m->items);
	*m = (struct vmm_machine){0};
}

/* FNV-1a. A simple hash is enough: an attacker gains nothing from two texts with the same hash. */
static uint64_t hash(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return h;
}

/* Copy @from to @to, with '?' for unprintable characters. If the text is longer than @max bytes,
 * cut it and end it with a hash. */
static void copy_printable(char *to, const char *from, size_t max)
{
	size_t n = strlen(from);
	bool is_cut = n > max;

	if (is_cut)
		n = max - HASH_CHARS;
	for (size_t i = 0; i < n; i++)
		to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
	to[n] = '\0';
	if (is_cut)
		snprintf(to + n, HASH_CHARS + 1, " #%016" PRIx64, hash(from));
}

int vmm_machine_add(struct vmm_machine *m, const char *key, const char *value)
{
	char k[VMM_MACHINE_KEY_MAX + 1], v[VMM_MACHINE_VALUE_MAX + 1];
	struct vmm_machine_item *items = m->items;
	size_t n_key;

	if (m->n_items == VMM_MACHINE_ITEMS_MAX)
		return -E2BIG;
	if (m->n_items == m->room) {
		uint32_t room = m->room ? 2 * m->room : ROOM_AT_FIRST;

		items = reallocarray(m->items, room, sizeof(*items));
		if (!items)
			return -ENOMEM;
		m->items = items;
		m->room = room;
	}
	copy_printable(k, key, VMM_MACHINE_KEY_MAX);
	copy_printable(v, value, VMM_MACHINE_VALUE_MAX);
	n_key = strlen(k) + 1;
	items[m->n_items].key = malloc(n_key + strlen(v) + 1);
	if (!items[m->n_items].key)
		return -ENOMEM;
	items[m->n_items].value = items[m->n_items].key + n_key;
	memcpy(items[m->n_items].key, k, n_key);
	strcpy(items[m->n_items].value, v);
	m->n_items++;
	return 0;
}

int vmm_machine_append(struct vmm_machine *m, const struct vmm_machine *from)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < from->n_items; i++)
		r = vmm_machine_add(m, from->items[i].key, from->items[i].value);
	return r;
}

static int order_of(const void *a, const void *b)
{
	const struct vmm_machine_item *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : strcmp(x->value, y->value);
}

void vmm_machine_sort(struct vmm_machine *m)
{
	if (m->n_items > 0)
		qsort(m->items, m->n_items, sizeof(*m->items), order_of);
}

bool vmm_machine_is_same(const struct vmm_machine *a, const struct vmm_machine *b)
{
	if (a->n_items != b->n_items)
		return false;
	for (uint32_t i = 0; i < a->n_items; i++)
		if (order_of(&a->items[i], &b->items[i]) != 0)
			return false;
	return true;
}

/* ---- compare */

struct comparison {
	/* key of the part with the last difference found. Further differences in this part's
	 * properties are not counted */
	const char *told;
	uint32_t n_differences;
	char *text;
	size_t size, used;
};

static bool is_of(const char *key, const char *thing)
{
	size_t n = strlen(thing);

	return strncmp(key, thing, n) == 0 && (key[n] == ' ' || key[n] == '/');
}

/* Returns @value for use in a sentence. If @value is empty, returns words that say so. */
static const char *shown(const char *value)
{
	return *value ? value : "an empty text";
}

/* Note a difference between the primary's item @p and the standby's item @s. If a side has no such
 * item, its pointer is NULL. */
static void differ(struct comparison *c, const struct vmm_machine_item *p,
		   const struct vmm_machine_item *s)
{
	const char *key = p ? p->key : s->key;
	int n;

	if (c->told && is_of(key, c->told))
		return;
	c->told = key;
	if (++c->n_differences > TOLD_MAX || c->used >= c->size)
		return;
	n = snprintf(c->text + c->used, c->size - c->used,
		     "%s%s: %.200s on the primary, %.200s on the standby", c->used ? "; " : "", key,
		     p ? shown(p->value) : "nothing", s ? shown(s->value) : "nothing");
	c->used += n > 0 ? (size_t)n : 0;
}

int vmm_machine_compare(const struct vmm_machine *primary, const struct vmm_machine *standby,
			char *ret_text, size_t size)
{
	struct comparison c = {.text = ret_text, .size = size};
	uint32_t i = 0, k = 0;

	while (i < primary->n_items || k < standby->n_items) {
		const struct vmm_machine_item *p = i < primary->n_items ? &primary->items[i] : NULL;
		const struct vmm_machine_item *s = k < standby->n_items ? &standby->items[k] : NULL;
		int order = !p ? 1 : !s ? -1 : strcmp(p->key, s->key);

		if (order < 0)
			differ(&c, p, NULL);
		else if (order > 0)
			differ(&c, NULL, s);
		else if (strcmp(p->value, s->value) != 0)
			differ(&c, p, s);
		i += order <= 0;
		k += order >= 0;
	}
	if (c.n_differences > TOLD_MAX && c.used < size)
		snprintf(ret_text + c.used, size - c.used, "; and %u more",
			 c.n_differences - TOLD_MAX);
	return c.n_differences ? -EINVAL : 0;
}
