#include "base/program.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static char path[PATH_MAX];
static int fd = -1;

void program_started_as(const char *name)
{
	size_t size = strlen(name);

	(void)program_fd();
	if (name[0] == '/' && size < sizeof(path) && access(name, X_OK) == 0)
		memcpy(path, name, size + 1);
}

const char *program_path(void)
{
	ssize_t n;

	if (*path)
		return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	return path;
}

int program_fd(void)
{
	(void)program_path();
	return fd;
}
