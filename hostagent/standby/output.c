#include "standby/output.h"

#include <stdbool.h>
#include <string.h>

#include "base/text.h"

/* Take the next line that is not empty from *at, and end it with a NUL. Replaces control characters
 * by blanks. Returns NULL if there is no such line. */
static char *next_line(char **at, const char *end)
{
	while (*at < end) {
		char *line = *at, *newline = memchr(line, '\n', (size_t)(end - line));
		char *stop = newline ? newline : line + (end - line);

		*at = stop + (newline ? 1 : 0);
		while (stop > line && (unsigned char)stop[-1] <= ' ')
			stop--;
		*stop = '\0';
		for (char *c = line; c < stop; c++) {
			if ((unsigned char)*c < ' ')
				*c = ' ';
		}
		if (stop > line)
			return line;
	}
	return NULL;
}

static bool is_warning(const char *line)
{
	return strstr(line, "warning:") || strstr(line, "Warning:") || strcmp(line, "**") == 0;
}

void output_cause(char *output, size_t n, char *text, size_t size)
{
	const char *first = NULL, *last = NULL, *line;
	char *at = output;
	size_t n_between = 0, used;

	/* `first` becomes the first line that is no warning, or the first line if all are warnings;
	 * `last` becomes the last line after it */
	while ((line = next_line(&at, output + n)) != NULL) {
		if (!first || (is_warning(first) && !is_warning(line))) {
			first = line;
			last = NULL;
			n_between = 0;
			continue;
		}
		n_between += last != NULL;
		last = line;
	}
	if (!first || !last || strcmp(first, last) == 0) {
		(void)text_copy(text, size, first ? first : "");
		return;
	}
	/* the first line gets at most two thirds of the room */
	used = strlen(text_copy(text, size / 3 * 2, first));
	(void)text_put(text + used, size - used, "%s%s", n_between ? " | ... | " : " | ", last);
}
