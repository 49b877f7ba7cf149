/* verbs.h - the verbs of holdfastctl: their names, what is asked of the gateway, and how its answer
 * is printed.
 *
 * Where: main.c finds the verb here, options.c lists the verbs in --help. Threads: one.
 */
#ifndef CTL_VERBS_H
#define CTL_VERBS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct verb {
	const char *words; /* the verb: one word or two */
	const char *request;
	bool needs_vm;
	bool needs_host;
	/* true if the gateway answers only when the hosts have carried out the request, or have
	 * stopped making progress */
	bool waits;
	bool (*show)(const json_t *answer); /* prints the answer; false: exit status 1 */
	const char *help;
};

extern const struct verb verbs[];
extern const size_t verbs_n;

/* Find the verb at the beginning of @argv, and set *ret_n_words to its number of words. Returns
 * NULL if there is no such verb. */
const struct verb *verbs_find(int argc, char **argv, int *ret_n_words);

#endif
