/* replay.c - runs a fuzz target over its corpus in a build without libFuzzer, for example gcc's.
 * The corpus has all inputs that ever failed.
 *
 * usage: replay_NAME FILE-OR-DIRECTORY...
 * Exit status: 0 all inputs were run (a target that finds a fault aborts), 1 an input could not be
 * read, or there was none.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define INPUT_MAX_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	AUTO_FREE char *data = NULL;
	size_t size;
	int r = fd_read_file(path, INPUT_MAX_BYTES, &data, &size);
	uint8_t *exact;

	if (r < 0) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(-r));
		return r;
	}
	/* Copy the input to exactly its size: ASan and valgrind notice a read past its end. */
	exact = malloc(size ? size : 1);
	if (!exact)
		return -1;
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

static int replay_directory(const char *path, unsigned int *n_inputs)
{
	char file[4096];
	struct dirent *entry;
	DIR *dir = opendir(path);
	int bad = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		bad |= replay_file(file);
		(*n_inputs)++;
	}
	closedir(dir);
	return bad;
}

int main(int argc, char **argv)
{
	unsigned int n_inputs = 0;
	struct stat st;
	int i, bad = 0;

	for (i = 1; i < argc; i++) {
		if (stat(argv[i], &st) < 0) {
			perror(argv[i]);
			return 1;
		}
		if (S_ISDIR(st.st_mode)) {
			bad |= replay_directory(argv[i], &n_inputs);
		} else {
			bad |= replay_file(argv[i]);
			n_inputs++;
		}
	}
	/* Always run the empty input too. */
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	printf("%u inputs\n", n_inputs);
	return bad || n_inputs == 0;
}
