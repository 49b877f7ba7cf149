/* signals.h - how a daemon reacts to signals from other processes: it ends, reloads its files, or
 * continues.
 *
 * Why: most signals end a process by default, and the end of an agent or a gateway can cause a
 * failover. Harmless signals must not cause a failover. Examples: a closed terminal (SIGHUP), a
 * closed connection (SIGPIPE), a tool that asks for statistics (SIGUSR1).
 *
 *      signal                                what the daemon does
 *      SIGTERM SIGINT SIGQUIT                ends
 *      SIGHUP                                reloads its files
 *      SIGUSR2                               runs its next program in its place (exec)
 *      SIGUSR1 SIGALRM SIGVTALRM             logs the signal
 *      SIGPROF SIGIO SIGPWR SIGSTKFLT        logs the signal
 *      SIGXCPU, real-time signals            logs the signal
 *      SIGPIPE SIGXFSZ                       ignores it: the system call that raised it fails
 *      others                                the default action: these signals report a broken
 *                                            process, or stop and continue it
 *
 * Where: both daemons' main threads. Threads: call signals_open() before any other thread is
 * created, so that all threads inherit the mask. A child process must undo this before it runs
 * another program: child_signals() and child_attributes() (child.h).
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

enum signals_wish {
	SIGNALS_NONE, /* nothing to do */
	SIGNALS_END,
	SIGNALS_RELOAD,
	SIGNALS_REPLACE,
};

/* Block or ignore the signals as listed above. Returns a descriptor, which the caller must close.
 * The descriptor becomes readable when signals_take() can take a signal. On error returns -errno,
 * and the process should end, because the signal mask can be changed already. */
int signals_open(void) __attribute__((warn_unused_result));

/* Take one signal and return what the daemon must do. Sets *ret_name to the signal's name for the
 * log, a constant string. If no signal was waiting, returns SIGNALS_NONE and sets *ret_name to "".
 * Never blocks. */
enum signals_wish signals_take(int fd, const char **ret_name);

#endif
