#include "wire/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool wire_name_bytes_are_valid(const char *name, size_t size)
{
	if (size < 1 || size > WIRE_NAME_MAX || !is_name_char(name[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!is_name_char(name[i]) && name[i] != '-')
			return false;
	}
	return true;
}

bool wire_name_is_valid(const char *name)
{
	return wire_name_bytes_are_valid(name, strnlen(name, WIRE_NAME_MAX + 1));
}

bool wire_label_bytes_are_valid(const char *label, size_t size)
{
	if (size < 1 || size > WIRE_LABEL_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (label[i] < 0x20 || label[i] > 0x7e)
			return false;
	}
	return true;
}

/* Returns the size of the UTF-8 character at @p (@left > 0 bytes are left). If the character is not
 * valid, returns 0. A control character (C0, DEL, C1) is not valid, because a terminal would
 * execute it. */
static size_t character_size(const uint8_t *p, size_t left)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n		       = p[0] < 0x80 ? 1
					 : (p[0] & 0xe0) == 0xc0 ? 2
					 : (p[0] & 0xf0) == 0xe0 ? 3
					 : (p[0] & 0xf8) == 0xf0 ? 4
								 : 0;
	uint32_t code;

	if (n == 0 || n > left)
		return 0;
	if (n == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	code = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ||
	    (code >= 0x80 && code < 0xa0))
		return 0;
	return n;
}

bool wire_text_bytes_are_valid(const char *text, size_t size)
{
	size_t n;

	if (size > WIRE_TEXT_MAX)
		return false;
	for (size_t i = 0; i < size; i += n) {
		n = character_size((const uint8_t *)text + i, size - i);
		if (n == 0)
			return false;
	}
	return true;
}

bool wire_text_is_valid(const char *text)
{
	return wire_text_bytes_are_valid(text, strnlen(text, WIRE_TEXT_MAX + 1));
}

/* Mark @text (@size bytes and a NUL) as cut: replace its end by dots. Returns the new size. */
static size_t end_visibly(char *text, size_t size)
{
	while (size > WIRE_TEXT_MAX - 3 || (text[size] & 0xc0) == 0x80)
		size--;
	memcpy(text + size, "...", 3);
	return size + 3;
}

void wire_text_format(char text[WIRE_TEXT_MAX + 1], const char *format, ...)
{
	/* longer than @text, so that a character at the end of @text is still whole in this
	 * buffer */
	char raw[WIRE_TEXT_MAX + 8];
	size_t size, n, out = 0;
	va_list args;

	raw[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(raw, sizeof(raw), format, args); /* may cut the text, as intended */
	va_end(args);
	size = strlen(raw);
	for (size_t i = 0; i < size; i += n) {
		n = character_size((const uint8_t *)raw + i, size - i);
		if (out + (n ? n : 1) > WIRE_TEXT_MAX) {
			text[out] = '\0';
			out = end_visibly(text, out);
			break;
		}
		if (n == 0) {
			text[out++] = '?';
			n	    = 1;
		} else {
			memcpy(text + out, raw + i, n);
			out += n;
		}
	}
	text[out] = '\0';
}

/* Returns the size of the line at @p, with its newline, and sets *ret_key_size. If the line is not
 * valid, returns 0. */
static size_t stats_line(const char *p, size_t left, size_t *ret_key_size)
{
	size_t key = 0, value = 0;

	while (key < left && (is_name_char(p[key]) || p[key] == '_'))
		key++;
	if (key < 1 || key > WIRE_STATS_KEY_MAX || key == left || p[key] != '=')
		return 0;
	p += key + 1;
	left -= key + 1;
	while (value < left && p[value] >= 0x20 && p[value] <= 0x7e)
		value++;
	if (value > WIRE_STATS_VALUE_MAX || value == left || p[value] != '\n')
		return 0;
	*ret_key_size = key;
	return key + value + 2;
}

bool wire_stats_bytes_are_valid(const char *stats, size_t size)
{
	size_t n, key_size;

	if (size > WIRE_STATS_MAX)
		return false;
	for (size_t i = 0; i < size; i += n) {
		n = stats_line(stats + i, size - i, &key_size);
		if (n == 0)
			return false;
	}
	return true;
}

bool wire_stats_is_valid(const char *stats)
{
	return wire_stats_bytes_are_valid(stats, strnlen(stats, WIRE_STATS_MAX + 1));
}

int wire_stats_add(char stats[WIRE_STATS_MAX + 1], const char *key, const char *format, ...)
{
	char line[WIRE_STATS_KEY_MAX + WIRE_STATS_VALUE_MAX + 3];
	const size_t used = strlen(stats);
	size_t size, key_size;
	va_list args;
	int n, m;

	n = snprintf(line, sizeof(line), "%s=", key);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EINVAL;
	va_start(args, format);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	va_end(args);
	size = (size_t)n + (size_t)m + 1;
	if (m < 0 || size >= sizeof(line))
		return -EINVAL;
	line[size - 1] = '\n';
	line[size]     = '\0';
	if (stats_line(line, size, &key_size) != size)
		return -EINVAL;
	if (used + size > WIRE_STATS_MAX)
		return -ENOBUFS;
	memcpy(stats + used, line, size + 1);
	return 0;
}

bool wire_stats_next(const char **at, char ret_key[WIRE_STATS_KEY_MAX + 1],
		     char ret_value[WIRE_STATS_VALUE_MAX + 1])
{
	const char *p = *at;
	size_t key_size, value_size, n;

	/* No valid line is longer than this, so do not look further. */
	n = strnlen(p, WIRE_STATS_KEY_MAX + WIRE_STATS_VALUE_MAX + 2);
	n = n ? stats_line(p, n, &key_size) : 0;
	if (n == 0)
		return false;
	value_size = n - key_size - 2;
	memcpy(ret_key, p, key_size);
	ret_key[key_size] = '\0';
	memcpy(ret_value, p + key_size + 1, value_size);
	ret_value[value_size] = '\0';
	*at		      = p + n;
	return true;
}
