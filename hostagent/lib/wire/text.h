/* text.h - names, texts for people and statistics: what a string on the wire may hold.
 *
 * Why: a peer's string ends up in logs, JSON, file names and on terminals. It is checked once,
 * here. Where: the message decoders, configuration parsers, everything that fills a message.
 * Threads: any (no state). Nothing here allocates or blocks.
 */
#ifndef WIRE_TEXT_H
#define WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/limits.h"

/* [a-z0-9][a-z0-9-]{0,62}: VMs, hosts, gateways, operators; also for configuration files. */
bool wire_name_is_valid(const char *name);

/* At most WIRE_TEXT_MAX bytes of UTF-8 without control characters (a peer's text goes to logs). */
bool wire_text_is_valid(const char *text);

/* Format into @text so that wire_text_is_valid() holds: control characters and broken UTF-8 become
 * '?'; a text that is too long is cut between two characters. Never fails. */
void wire_text_format(char text[WIRE_TEXT_MAX + 1], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Lines "key=value\n": key [a-z0-9_]{1,63}, value 0..127 printable ASCII characters, at most
 * WIRE_STATS_MAX bytes in all. An empty text is valid. */
bool wire_stats_is_valid(const char *stats);

/* Append "key=value\n" to @stats. 0; -ENOBUFS: would be larger than WIRE_STATS_MAX; -EINVAL: key or
 * value break the rule above. @stats is unchanged on error. */
int wire_stats_add(char stats[WIRE_STATS_MAX + 1], const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)))
	__attribute__((warn_unused_result));

/* Read the next line of valid statistics. @at: points into the text, is moved past the line.
 * True: the outputs are set (terminated); false: no more lines, or the next one breaks the rule. */
bool wire_stats_next(const char **at, char ret_key[WIRE_STATS_KEY_MAX + 1],
		     char ret_value[WIRE_STATS_VALUE_MAX + 1]);

/* The same checks for @size bytes that need no NUL at their end (for decoders). */
bool wire_name_bytes_are_valid(const char *name, size_t size);
bool wire_text_bytes_are_valid(const char *text, size_t size);
bool wire_stats_bytes_are_valid(const char *stats, size_t size);

/* 1..WIRE_LABEL_MAX printable ASCII characters: machine types, versions, block names. */
bool wire_label_bytes_are_valid(const char *label, size_t size);

#endif
