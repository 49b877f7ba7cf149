/* sum_line.h - the checksum at the end of a line of a small state file.
 *
 * Why: a daemon must notice if its state file was damaged on the disk. So each line of such a file
 * ends with a checksum of the text before it:
 *
 *	holdfast-obeyed 1 number=7 sum=0123456789abcdef
 *
 * The sum is XXH3 (64 bits, seed 0) in 16 hexadecimal digits. It protects against accidents, not
 * against somebody who can write the file.
 *
 * Where: the gateway's journal and incarnation file, the agent's file of the obeyed gateway.
 * Threads: the functions have no state.
 */
#ifndef BASE_SUM_LINE_H
#define BASE_SUM_LINE_H

#include <stddef.h>
#include <stdint.h>

/* Append " sum=<digits>\n" and a NUL to the @n bytes of @text. @size is the room in @text. Returns
 * the new length without the NUL. If @n is 0 or @size is too small, returns 0 and leaves the @n
 * bytes unchanged. */
size_t sum_line_append(char *text, size_t n, size_t size) __attribute__((warn_unused_result));

/* Returns the checksum of @n bytes of @text. */
uint64_t sum_line_of(const char *text, size_t n);

#endif
