/* text.h - checks the strings on the wire: names, human-readable texts, statistics.
 *
 * Why: a peer's strings are written to logs, JSON, file names and terminals. So each string is
 * checked once, by this file. Where: the message decoders, configuration parsers, and all code that
 * fills in a message.
 * Threads: any (no state). Nothing here allocates or blocks.
 */
#ifndef WIRE_TEXT_H
#define WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/limits.h"

/* Returns true if @name matches [a-z0-9][a-z0-9-]{0,62}. This is the rule for names of VMs, hosts,
 * gateways and operators, on the wire and in configuration files. */
bool wire_name_is_valid(const char *name);

/* Returns true if @text is at most WIRE_TEXT_MAX bytes of UTF-8 without control characters. Such a
 * text is safe to log, even if a peer has sent it. */
bool wire_text_is_valid(const char *text);

/* Format into @text a text that wire_text_is_valid() accepts. Control characters and broken UTF-8
 * become '?'. If the text is too long, it is cut between two characters and ends with "...". Never
 * fails. */
void wire_text_format(char text[WIRE_TEXT_MAX + 1], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Returns true if @stats consists of lines "key=value\n" and has at most WIRE_STATS_MAX bytes. A
 * key matches [a-z0-9_]{1,63}; a value has 0..127 printable ASCII characters. An empty text is
 * valid. */
bool wire_stats_is_valid(const char *stats);

/* Append "key=value\n" to @stats. On error @stats is unchanged. Returns 0;
 * -ENOBUFS: @stats would be larger than WIRE_STATS_MAX;
 * -EINVAL: the key or value is not allowed (see wire_stats_is_valid()). */
int wire_stats_add(char stats[WIRE_STATS_MAX + 1], const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)))
	__attribute__((warn_unused_result));

/* Read the next line of statistics. *at points to its start and is moved past it. Returns true and
 * sets *ret_key and *ret_value (NUL-terminated). Returns false if there is no next line, or the
 * next line is not valid. */
bool wire_stats_next(const char **at, char ret_key[WIRE_STATS_KEY_MAX + 1],
		     char ret_value[WIRE_STATS_VALUE_MAX + 1]);

/* For decoders: these three functions make the same checks as wire_name_is_valid(),
 * wire_text_is_valid() and wire_stats_is_valid(), for a string of @size bytes without a NUL. */
bool wire_name_bytes_are_valid(const char *name, size_t size);
bool wire_text_bytes_are_valid(const char *text, size_t size);
bool wire_stats_bytes_are_valid(const char *stats, size_t size);

/* Returns true if @label has 1..WIRE_LABEL_MAX printable ASCII characters (@size is their number).
 * This is the rule for machine types, versions and block names. */
bool wire_label_bytes_are_valid(const char *label, size_t size);

#endif
