/* text.h - writes texts for people into buffers of a fixed size, so that a text that does not fit
 * ends visibly.
 * Why: a reader cannot see that a text was cut if nothing marks the place, and a text that is cut
 * in the middle of a character is not valid UTF-8. So all texts that can be too long are cut here:
 * the cut text ends with "...", after a whole character.
 *
 *	text_put(text, 16, "%s is away", "alpha-with-a-long-name")  ->  "alpha-with-a..."
 *
 * Where: error.c, and all code that writes an event, a reply or another text for an operator.
 * Threads: any (no state). Nothing here allocates or blocks.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

/* Format into @text (@size bytes with the NUL, at least 1). If the result does not fit, cut it. In
 * a buffer of less than 4 bytes, a result that does not fit becomes "". No argument may point into
 * @text. Returns the length of the uncut result, without the NUL: @size or more if it was cut. */
size_t text_put(char *text, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
size_t text_vput(char *text, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Copy @from into @text (@size bytes), cut like text_put() does. Returns @text. */
const char *text_copy(char *text, size_t size, const char *from);

/* Returns @from, cut to @max bytes, in a buffer that lives until the enclosing block ends. Use it
 * for an argument of a format, to leave room for the text that follows. */
#define TEXT_SHORT(max, from) text_copy((char[(max) + 1]){0}, (max) + 1, (from))

#endif
