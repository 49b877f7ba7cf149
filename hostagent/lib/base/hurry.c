#include "base/hurry.h"

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/types.h>

static void set(pid_t thread, bool is_wanted)
{
	const struct sched_param param = {.sched_priority = is_wanted ? 1 : 0};

	(void)sched_setscheduler(
		thread, (is_wanted ? SCHED_RR : SCHED_OTHER) | SCHED_RESET_ON_FORK, &param);
}

void hurry_thread(pthread_t thread)
{
	const struct sched_param param = {.sched_priority = 1};

	(void)pthread_setschedparam(thread, SCHED_RR | SCHED_RESET_ON_FORK, &param);
}

void hurry_all_threads(bool is_wanted)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			set((pid_t)strtoul(entry->d_name, NULL, 10), is_wanted);
	if (dir)
		closedir(dir);
}
