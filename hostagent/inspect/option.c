#include "inspect/option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"

AUTO_DEFINE(json_t *, json_decref)

void option_done(struct option_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->items[i].key);
		free(list->items[i].value);
	}
	*list = (struct option_list){0};
}

/* Add a setting; takes ownership of @key and @value, even on error. */
static void add(struct option_list *list, char *key, char *value)
{
	if (list->n == OPTION_SETTINGS_MAX)
		list->error = -E2BIG;
	else if (!key || !value)
		list->error = -ENOMEM;
	if (list->error) {
		free(key);
		free(value);
		return;
	}
	list->items[list->n++] = (struct option_setting){.key = key, .value = value};
}

/* Copy the text up to the next single comma to *ret_word. (Two commas stand for a comma in the
 * text.) Returns what follows the single comma, or NULL at the end. */
static const char *split(const char *text, char *ret_word)
{
	for (; *text; text++) {
		if (*text == ',' && *++text != ',') {
			*ret_word = '\0';
			return text;
		}
		*ret_word++ = *text;
	}
	*ret_word = '\0';
	return NULL;
}

static void parse_words(const char *text, const char *first_key, struct option_list *list)
{
	AUTO_FREE char *word = malloc(strlen(text) + 1);
	bool is_first = true;

	if (!word) {
		list->error = -ENOMEM;
		return;
	}
	while (text && list->error == 0) {
		char *equals;

		text = split(text, word);
		equals = strchr(word, '=');
		if (equals)
			add(list, strndup(word, (size_t)(equals - word)), strdup(equals + 1));
		else
			add(list, strdup(is_first ? first_key : ""), strdup(word));
		is_first = false;
	}
}

static char *join(const char *prefix, const char *key)
{
	char *text;

	return asprintf(&text, "%s%s%s", prefix, *prefix ? "." : "", key) < 0 ? NULL : text;
}

static char *number_text(const json_t *value)
{
	char *text;

	return asprintf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0 ? NULL
										       : text;
}

/* Add all of @value under the key @prefix. Objects and arrays become keys with dots. */
static void flatten(const json_t *value, const char *prefix, struct option_list *list)
{
	const char *key;
	json_t *part;
	size_t i;

	if (json_is_string(value)) {
		add(list, strdup(prefix), strdup(json_string_value(value)));
	} else if (json_is_boolean(value)) {
		add(list, strdup(prefix), strdup(json_is_true(value) ? "on" : "off"));
	} else if (json_is_integer(value)) {
		add(list, strdup(prefix), number_text(value));
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, part)
		{
			AUTO_FREE char *name = join(prefix, key);

			flatten(part, name ? name : "", list);
		}
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, part)
		{
			char number[24];

			(void)snprintf(number, sizeof(number), "%zu", i);
			AUTO_FREE char *name = join(prefix, number);

			flatten(part, name ? name : "", list);
		}
	} else {
		list->error = -EINVAL;
	}
}

int option_parse(const char *text, const char *first_key, struct option_list *ret_list)
{
	AUTO(json_decref) json_t *json = NULL;
	struct option_list list = {0};

	if (*text == '{') {
		json = json_loads(text, 0, NULL);
		if (!json)
			return -EINVAL;
		flatten(json, "", &list);
	} else {
		parse_words(text, first_key, &list);
	}
	if (list.error) {
		int r = list.error;

		option_done(&list);
		return r;
	}
	*ret_list = list;
	return 0;
}

static struct option_setting *find(const struct option_list *list, const char *key)
{
	for (size_t i = list->n; i-- > 0;)
		if (strcmp(list->items[i].key, key) == 0)
			return (struct option_setting *)&list->items[i];
	return NULL;
}

const char *option_get(const struct option_list *list, const char *key)
{
	const struct option_setting *found = find(list, key);

	return found ? found->value : NULL;
}

bool option_is_on(const struct option_list *list, const char *key)
{
	const char *value = option_get(list, key);

	return value && (strcmp(value, "on") == 0 || strcmp(value, "yes") == 0 ||
			 strcmp(value, "true") == 0);
}

void option_set(struct option_list *list, const char *key, const char *value)
{
	struct option_setting *found = find(list, key);
	char *copy;

	if (!found) {
		add(list, strdup(key), strdup(value));
		return;
	}
	copy = strdup(value);
	if (!copy) {
		list->error = -ENOMEM;
		return;
	}
	free(found->value);
	found->value = copy;
}

static bool is_meant(const char *key, const char *pattern)
{
	size_t size = strlen(pattern);

	return size > 0 && pattern[size - 1] == '.' ? strncmp(key, pattern, size) == 0
						    : strcmp(key, pattern) == 0;
}

void option_drop(struct option_list *list, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++) {
		if (is_meant(list->items[i].key, key)) {
			free(list->items[i].key);
			free(list->items[i].value);
		} else {
			list->items[n++] = list->items[i];
		}
	}
	list->n = n;
}

char *option_print(const struct option_list *list)
{
	size_t room = 1;
	char *text, *at;

	/* A value can need twice its size, because each comma in it is doubled. */
	for (size_t i = 0; i < list->n; i++)
		room += strlen(list->items[i].key) + 2 * strlen(list->items[i].value) + 2;
	text = list->error ? NULL : malloc(room);
	if (!text)
		return NULL;
	at = text;
	*at = '\0';
	for (size_t i = 0; i < list->n; i++) {
		if (i > 0)
			*at++ = ',';
		at = stpcpy(at, list->items[i].key);
		if (*list->items[i].key)
			*at++ = '=';
		for (const char *c = list->items[i].value; *c; c++) {
			if (*c == ',')
				*at++ = ',';
			*at++ = *c;
		}
		*at = '\0';
	}
	return text;
}
