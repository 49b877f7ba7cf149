/* error.h - why something failed, as a line of text for people.
 *
 * Why: an errno alone does not tell the operator what was wrong, where, and what to do next. A text
 * travels in this struct, so its size is the type's and needs no comment.
 *
 * Where: every function with a `struct error *ret_error`. It fills the text when it fails, and
 * leaves the struct alone when it does not. The caller that gives up prints the text.
 *
 * Threads: any (no state).
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#define ERROR_TEXT_BYTES 1025 /* with the NUL: what a text of a message may hold (wire/text.h) */

struct error {
	char text[ERROR_TEXT_BYTES]; /* one line without a newline; "": nothing was wrong */
};

/* Format the text, cut to ERROR_TEXT_BYTES, and return @r: `return error_set(ret_error, -EPERM,
 * "...")`. No argument may point into @error. */
int error_set(struct error *error, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
