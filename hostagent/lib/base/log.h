/* log.h - writes one line per event to stderr, with its level and module.
 *
 * Why: both daemons run under systemd, which stores stderr and understands "<N>" as a priority. A
 * line looks like `<6>seal: epoch=812 vm=web1 text`: the data first, then the text.
 *
 * Where: daemons and tools. lib/ itself logs only at debug level: it returns errors, and the caller
 * that gives up logs the error once.
 *
 * Threads: every function may be called from any thread. One write(2) writes a whole line, so lines
 * of different threads do not mix.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 3, /* the numbers are syslog's, which systemd understands */
	LOG_LEVEL_WARN	= 4,
	LOG_LEVEL_INFO	= 6,
	LOG_LEVEL_DEBUG = 7,
};

/* State of one rate-limited call site. log_limited() defines it as a static variable, so it starts
 * at zero. */
struct log_limit {
	_Atomic uint64_t next_ns;    /* monotonic time from which the next line may be written */
	_Atomic uint64_t suppressed; /* lines dropped since a line was last written */
};

/* Drop lines that are less severe than @level. The default is INFO, or the level in the environment
 * variable HOLDFAST_LOG (error|warn|info|debug), which log_init() reads. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Set the level from HOLDFAST_LOG. Returns 0. If the variable does not name a level, returns
 * -EINVAL and does not change the level. */
int log_init(void);

/* Start a thread that writes all further lines (spool.h), so that logging never blocks its caller.
 * For daemons whose loop must not stall. While stderr is stuck, lines that do not fit into the
 * spool are dropped. A later line says how many. Returns 0; -ENOMEM; or -errno from creating the
 * thread. */
int log_spool_start(void) __attribute__((warn_unused_result));

/* Write the queued lines, and end the thread. Later lines are written directly by their callers
 * again. If stderr is stuck for a second, the thread stays, and the unwritten lines are lost when
 * the process ends. Call this at the end of main(), when no other thread logs any more. */
void log_spool_stop(void);

/* Parse "error", "warn", "info" or "debug". Returns 0. If @text is none of these, returns -EINVAL
 * and does not touch *ret_level. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* Write one line. @file is shortened to the module name ("a/b/seal.c" -> "seal"). A line is cut to
 * 1023 bytes. Does not change errno. Before log_spool_start(), can block on stderr. */
void log_write(enum log_level level, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_writev(enum log_level level, const char *file, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Can the rate-limited call site write a line now (at most one per second)? Returns 1: yes, and
 * *ret_suppressed is the number of lines dropped since the last written one. Returns 0: no, and the
 * line is counted as dropped. */
int log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __FILE__, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __FILE__, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __FILE__, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                            \
			log_write(LOG_LEVEL_DEBUG, __FILE__, __VA_ARGS__);                         \
	} while (0)

/* Write a line, but at most one a second from this call site; each line says how many lines were
 * dropped before it. */
#define log_limited(level, format, ...)                                                            \
	do {                                                                                       \
		static struct log_limit log_limit_;                                                \
		uint64_t log_dropped_;                                                             \
		if (log_limit_pass(&log_limit_, &log_dropped_))                                    \
			log_write(level, __FILE__,                                                 \
				  format " (suppressed=%" PRIu64 ")" __VA_OPT__(, ) __VA_ARGS__,   \
				  log_dropped_);                                                   \
	} while (0)

#endif
