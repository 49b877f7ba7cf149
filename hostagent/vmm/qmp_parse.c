#include "vmm/qmp_parse.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY ((size_t)16 << 10)

void qmp_parser_init(struct qmp_parser *p)
{
	memset(p, 0, sizeof(*p));
}

void qmp_parser_done(struct qmp_parser *p)
{
	free(p->data);
	qmp_parser_init(p);
}

/* Move the bytes in [begin, end) to offset 0, so that the free space is in one piece. */
static void compact(struct qmp_parser *p)
{
	if (p->begin == 0)
		return;
	memmove(p->data, p->data + p->begin, p->end - p->begin);
	p->end -= p->begin;
	p->searched -= p->begin;
	p->begin = 0;
}

int qmp_parser_space(struct qmp_parser *p, char **ret_at, size_t *ret_room)
{
	if (p->begin == p->end)
		p->begin = p->end = p->searched = 0;
	if (p->end == p->capacity)
		compact(p);
	if (p->end == p->capacity) {
		size_t capacity = p->capacity ? p->capacity * 2 : FIRST_CAPACITY;
		char *data;

		if (p->capacity >= QMP_LINE_MAX)
			return -EMSGSIZE;
		data = realloc(p->data, capacity);
		if (!data)
			return -ENOMEM;
		p->data = data;
		p->capacity = capacity;
	}
	*ret_at = p->data + p->end;
	*ret_room = p->capacity - p->end;
	return 0;
}

void qmp_parser_filled(struct qmp_parser *p, size_t size)
{
	p->end += size;
}

/* Find out what kind of message the JSON object @root is. On success *ret_message takes over the
 * reference to @root. Returns 0 or -EPROTO. */
static int classify(json_t *root, struct qmp_message *ret_message)
{
	static const struct {
		const char *key;
		enum qmp_message_kind kind;
	} kinds[] = {
		{"return", QMP_MESSAGE_RETURN},
		{"error", QMP_MESSAGE_ERROR},
		{"event", QMP_MESSAGE_EVENT},
		{"QMP", QMP_MESSAGE_GREETING},
	};
	struct qmp_message m = {.root = root};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !m.body; i++) {
		m.kind = kinds[i].kind;
		m.body = json_object_get(root, kinds[i].key);
	}
	if (!m.body)
		return -EPROTO;
	if (m.kind == QMP_MESSAGE_ERROR && !json_is_object(m.body))
		return -EPROTO;
	if (m.kind == QMP_MESSAGE_EVENT) {
		m.event = json_string_value(m.body);
		m.body = json_object_get(root, "data");
		if (!m.event)
			return -EPROTO;
	}
	*ret_message = m;
	return 0;
}

static int parse_line(const char *line, size_t size, struct qmp_message *ret_message)
{
	json_error_t error;
	json_t *root = json_loadb(line, size, 0, &error);
	int r;

	/* Some properties are unsigned numbers that are too large for jansson's integers: read them
	 * as reals. */
	if (!root && json_error_code(&error) == json_error_numeric_overflow)
		root = json_loadb(line, size, JSON_DECODE_INT_AS_REAL, &error);
	if (!root)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EPROTO;
	r = classify(root, ret_message);
	if (r < 0)
		json_decref(root);
	return r;
}

static bool is_blank(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

int qmp_parser_next(struct qmp_parser *p, struct qmp_message *ret_message)
{
	for (;;) {
		const char *line = p->data + p->begin, *newline = NULL;
		size_t size;

		if (p->searched < p->end)
			newline = memchr(p->data + p->searched, '\n', p->end - p->searched);
		if (!newline) {
			p->searched = p->end;
			return -EAGAIN;
		}
		size = (size_t)(newline - line);
		p->begin += size + 1;
		p->searched = p->begin;
		if (!is_blank(line, size))
			return parse_line(line, size, ret_message);
	}
}

void qmp_message_done(struct qmp_message *m)
{
	json_decref(m->root);
	memset(m, 0, sizeof(*m));
}
