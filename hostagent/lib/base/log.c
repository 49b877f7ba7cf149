#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/spool.h"

#define SPOOL_BYTES	(256u << 10)
#define SPOOL_CLOSE_NS	CLOCK_NS_PER_S

static _Atomic int current_level = LOG_LEVEL_INFO;
static struct spool *_Atomic spool; /* NULL while each caller writes its own lines */

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{"error", LOG_LEVEL_ERROR},
		{"warn", LOG_LEVEL_WARN},
		{"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i].name) == 0) {
			*ret_level = names[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

int log_init(void)
{
	const char *text = getenv("HOLDFAST_LOG");
	enum log_level level;

	if (!text)
		return 0;
	if (log_level_parse(text, &level) < 0)
		return -EINVAL;
	log_set_level(level);
	return 0;
}

/* Runs on the spool's thread. */
static void write_spooled(void *arg, const char *data, size_t size)
{
	/* number of dropped lines reported so far; used only by this thread */
	static uint64_t n_told;
	uint64_t n_dropped;
	char line[128];
	int n;

	(void)arg;
	while (size > 0) {
		ssize_t written = write(STDERR_FILENO, data, size);

		if (written < 0 && errno != EINTR)
			return; /* a failed write to stderr cannot be reported anywhere */
		if (written > 0) {
			data += written;
			size -= (size_t)written;
		}
	}
	/* read the count only now, so that it includes the lines dropped during the write */
	n_dropped = spool_dropped(atomic_load(&spool));
	if (n_dropped == n_told)
		return;
	n = snprintf(line, sizeof(line),
		     "<%d>log: %" PRIu64 " lines were dropped, stderr did not take them\n",
		     LOG_LEVEL_WARN, n_dropped - n_told);
	n_told = n_dropped;
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

int log_spool_start(void)
{
	struct spool *made;
	int r = spool_open(SPOOL_BYTES, write_spooled, NULL, &made);

	if (r == 0)
		atomic_store(&spool, made);
	return r;
}

void log_spool_stop(void)
{
	struct spool *old = atomic_load(&spool);

	if (!old || !spool_flush(old, SPOOL_CLOSE_NS))
		return; /* stderr is stuck: leave the thread running; it ends with the process */
	atomic_store(&spool, NULL);
	(void)spool_close(old, SPOOL_CLOSE_NS);
}

void log_writev(enum log_level level, const char *file, const char *format, va_list args)
{
	char line[1024];
	const char *name = strrchr(file, '/');
	const char *dot;
	int saved_errno = errno, n, m;

	if (level > log_get_level())
		return;
	name = name ? name + 1 : file;
	dot = strchr(name, '.');
	n = snprintf(line, sizeof(line), "<%d>%.*s: ", (int)level,
		     (int)(dot ? dot - name : (long)strlen(name)), name);
	if (n < 0 || (size_t)n >= sizeof(line) - 2)
		n = 0;
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	if (m < 0)
		m = 0;
	n += m;
	if ((size_t)n > sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	/* Whoever reads the log must get one line per event. */
	for (int i = 0; i < n; i++) {
		if (line[i] == '\n')
			line[i] = ' ';
	}
	line[n] = '\n';
	if (atomic_load(&spool)) {
		/* spool_put() counts dropped lines */
		(void)spool_put(atomic_load(&spool), line, (size_t)n + 1);
		errno = saved_errno;
		return;
	}
	/* If the write fails, there is nowhere to report the failure. */
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		errno = 0;
	errno = saved_errno;
}

void log_write(enum log_level level, const char *file, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_writev(level, file, format, args);
	va_end(args);
}

int log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed)
{
	uint64_t now_ns = clock_mono_ns();
	uint64_t next_ns = atomic_load(&limit->next_ns);

	if (now_ns < next_ns ||
	    !atomic_compare_exchange_strong(&limit->next_ns, &next_ns, now_ns + CLOCK_NS_PER_S)) {
		atomic_fetch_add(&limit->suppressed, 1);
		return 0;
	}
	*ret_suppressed = atomic_exchange(&limit->suppressed, 0);
	return 1;
}
