/* error.h - the reason for a failure, as one human-readable line.
 *
 * Why: an errno alone does not tell the operator what was wrong, where, and what to do next. The
 * text is wrapped in a struct so that every function knows the size of the buffer.
 *
 * Where: a function that takes a `struct error *ret_error` sets the text when it fails. When it
 * succeeds, it does not touch the struct, unless its comment says so. The caller that gives up
 * prints the text.
 *
 * Threads: any (no state).
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/* size of an error text with its NUL; a text in a message has the same limit (wire/text.h) */
#define ERROR_TEXT_BYTES 1025

struct error {
	char text[ERROR_TEXT_BYTES]; /* one line without a newline; "": nothing was wrong */
};

/* Set the text (cut to ERROR_TEXT_BYTES) and return @r. So a function can end with `return
 * error_set(ret_error, -EPERM, "...")`. No argument may point into @error. */
int error_set(struct error *error, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
