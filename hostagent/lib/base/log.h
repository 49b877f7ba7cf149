/* log.h - one line per event to stderr, with level and module.
 *
 * Why: both daemons run under systemd, which stores stderr and understands "<N>" priorities. A line
 * reads `<6>seal: epoch=812 vm=web1 text`; data first, one event per line.
 *
 * Where: daemons and tools log; lib/ itself never logs above debug (it returns errors, and the
 * caller that gives up logs, once).
 *
 * Threads: every function may be called from any thread; a line is written with one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 3, /* syslog's numbers, so that systemd can sort them */
	LOG_LEVEL_WARN	= 4,
	LOG_LEVEL_INFO	= 6,
	LOG_LEVEL_DEBUG = 7,
};

/* State of one rate-limited call site; zero-initialised, static, owned by log_limited(). */
struct log_limit {
	_Atomic uint64_t next_ns;    /* monotonic time from which the next line may be written */
	_Atomic uint64_t suppressed; /* lines dropped since the last one written */
};

/* Lines above @level are dropped. Default: INFO, or the environment variable HOLDFAST_LOG
 * (error|warn|info|debug) as read by log_init(). */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Read HOLDFAST_LOG. 0; -EINVAL: the variable names no level (the default stays). */
int log_init(void);

/* From now on a thread writes the lines (spool.h), so logging never blocks its caller. Lines that
 * do not fit while stderr is stuck are dropped; a later line says how many. For daemons whose loop
 * must not stall. 0; -ENOMEM; -errno of making the thread. */
int log_spool_start(void) __attribute__((warn_unused_result));

/* Write the queued lines, for a second at most, then go back to writing each line directly. Call it
 * before main ends, when no other thread logs any more. */
void log_spool_stop(void);

/* Parse "error|warn|info|debug". 0, or -EINVAL with *ret_level untouched. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* Write one line. @file is shortened to the module name ("a/b/seal.c" -> "seal"). Lines over
 * 1000 bytes are cut. Keeps errno. May block on stderr; after log_spool_start() it never blocks. */
void log_write(enum log_level level, const char *file, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void log_writev(enum log_level level, const char *file, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* Returns 1 when a rate-limited site may write now (at most one line a second), else 0. On 1,
 * *ret_suppressed is set to the number of lines dropped since the last one written. */
int log_limit_pass(struct log_limit *limit, uint64_t *ret_suppressed);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __FILE__, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __FILE__, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __FILE__, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_get_level() >= LOG_LEVEL_DEBUG)                                            \
			log_write(LOG_LEVEL_DEBUG, __FILE__, __VA_ARGS__);                         \
	} while (0)

/* At most one line a second from this call site; the next line says how many were dropped. */
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
