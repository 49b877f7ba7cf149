/* monitor_peer.h - the server's end of a QMP connection, for tests that play QEMU's monitor. It
 * reads one command at a time, even if the client sent several at once. */
#ifndef TESTS_MONITOR_PEER_H
#define TESTS_MONITOR_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MONITOR_GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define MONITOR_OK	 "{\"return\": {}}\r\n"

/* Returns a socket that listens at @path, or -1 on failure. */
static inline int monitor_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	(void)unlink(path);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(fd, 1) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline bool monitor_say(int fd, const char *text)
{
	return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* Read one command into @text, up to its closing brace. Returns false if the client is gone or
 * @text is too small. */
static inline bool monitor_hear(int fd, char *text, size_t size)
{
	size_t n = 0;
	int depth = 0;

	do {
		if (n + 1 >= size || read(fd, text + n, 1) <= 0)
			return false;
		depth += text[n] == '{' ? 1 : text[n] == '}' ? -1 : 0;
		n += depth > 0 || text[n] == '}';
	} while (depth > 0 || n == 0);
	text[n] = '\0';
	return true;
}

#endif
