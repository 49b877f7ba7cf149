#include "base/text.h"

#include <stdio.h>
#include <string.h>

static const char dots[] = "...";

/* Mark @text, which was cut to @size bytes with the NUL, as cut: replace its end by dots. */
static void end_visibly(char *text, size_t size)
{
	size_t end = size >= sizeof(dots) ? size - sizeof(dots) : 0;

	/* do not cut within a character, or after a space */
	while (end > 0 && ((text[end] & 0xc0) == 0x80 || text[end - 1] == ' '))
		end--;
	if (size >= sizeof(dots))
		memcpy(text + end, dots, sizeof(dots));
	else
		text[0] = '\0';
}

size_t text_vput(char *text, size_t size, const char *format, va_list args)
{
	int n = vsnprintf(text, size, format, args);

	if (n < 0) {
		text[0] = '\0';
		return 0;
	}
	if ((size_t)n >= size)
		end_visibly(text, size);
	return (size_t)n;
}

size_t text_put(char *text, size_t size, const char *format, ...)
{
	va_list args;
	size_t n;

	va_start(args, format);
	n = text_vput(text, size, format, args);
	va_end(args);
	return n;
}

const char *text_copy(char *text, size_t size, const char *from)
{
	(void)text_put(text, size, "%s", from);
	return text;
}
