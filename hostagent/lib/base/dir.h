/* dir.h - closes a directory when its variable goes out of scope.
 *
 *	AUTO(closedir) DIR *dir = opendir(path);
 *
 * This is not part of cleanup.h, because few files read directories.
 * Threads: any; the variable is local.
 */
#ifndef BASE_DIR_H
#define BASE_DIR_H

#include <dirent.h>

#include "base/cleanup.h"

AUTO_DEFINE(DIR *, closedir)

#endif
