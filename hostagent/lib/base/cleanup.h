/* cleanup.h - macros that free or close a variable when it goes out of scope. For code that is not
 * on a hot path. They use the `cleanup` attribute of gcc and clang.
 *
 *	AUTO_FREE char *text = strdup(s);      freed when it goes out of scope
 *	AUTO_CLOSE int fd = open(...);         closed when >= 0
 *	AUTO(json_decref) json_t *root = ...;  needs AUTO_DEFINE(json_t *, json_decref) once
 *	return TAKE(text);                     gives the value away: the variable becomes NULL
 *
 * Never use these together with `goto` in one function: gcc gives no warning when a goto jumps past
 * the initialisation of a cleanup variable.
 * Threads: any; the variables are local.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>

#include "base/fd.h"

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	fd_close(*fd);
}

#define AUTO_FREE  __attribute__((cleanup(cleanup_free)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_close)))
#define AUTO(func) __attribute__((cleanup(cleanup_##func)))
#define AUTO_DEFINE(type, func)                                                                    \
	static inline void cleanup_##func(type *p)                                                 \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}
#define TAKE(p)                                                                                    \
	({                                                                                         \
		__typeof__(p) take_ = (p);                                                         \
		(p) = NULL;                                                                        \
		take_;                                                                             \
	})
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
