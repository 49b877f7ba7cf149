#include "base/tap_names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int add(struct tap_names *names, const char *name, size_t size)
{
	char copy[TAP_NAME_BYTES] = "";

	if (size == 0 || size >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, name, size);
	if (tap_names_has(names, copy))
		return -EEXIST;
	if (names->n == TAP_NAMES_MAX)
		return -E2BIG;
	memcpy(names->name[names->n++], copy, sizeof(copy));
	return 0;
}

int tap_names_add(struct tap_names *names, const char *name)
{
	return add(names, name, strlen(name));
}

int tap_names_parse(const char *text, struct tap_names *ret_names)
{
	const char *word = text + strspn(text, " \t");
	struct tap_names names = {0};
	int r = *word ? 0 : -EINVAL;

	for (size_t size; r == 0 && *word; word += size, word += strspn(word, " \t")) {
		size = strcspn(word, " \t");
		r = add(&names, word, size);
	}
	if (r == 0)
		*ret_names = names;
	return r;
}

bool tap_names_has(const struct tap_names *names, const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			return true;
	return false;
}

const char *tap_names_print(const struct tap_names *names, const char *between, char *ret_text,
			    size_t size)
{
	size_t used = 0;

	ret_text[0] = '\0';
	for (uint32_t i = 0; i < names->n && used < size; i++)
		used += (size_t)snprintf(ret_text + used, size - used, "%s%s", i ? between : "",
					 names->name[i]);
	return ret_text;
}
