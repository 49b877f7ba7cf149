/* thread_shim.c - a library for LD_PRELOAD that makes pthread_create() fail with EAGAIN for one
 * thread routine.
 *
 * The environment variable HOLDFAST_NO_THREAD has the path of a file. The file contains the address
 * of the routine in hexadecimal, as nm prints it for the program. While the file does not exist,
 * pthread_create() works for every routine. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_refused(void *(*routine)(void *))
{
	const char *path = getenv("HOLDFAST_NO_THREAD");
	FILE *file = path ? fopen(path, "re") : NULL;
	unsigned long address = 0;
	bool is_read;
	Dl_info info;

	if (!file)
		return false;
	is_read = fscanf(file, "%lx", &address) == 1;
	(void)fclose(file); /* an error cannot lose data: the file was only read */
	return is_read && dladdr((void *)(uintptr_t)routine, &info) &&
	       (uintptr_t)routine - (uintptr_t)info.dli_fbase == address;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *),
		   void *arg)
{
	static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (is_refused(routine))
		return EAGAIN;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	return next(thread, attr, routine, arg);
}
