/* signals.h - what a daemon does with the signals that others send it: end, read its files anew, or go on.
 *
 * Why: the default of most signals is to end the process, and the end of an agent or a gateway is a failover. A
 * closed terminal (SIGHUP), a peer that went away (SIGPIPE), a file size limit (SIGXFSZ), or a tool that asks for a
 * figure by SIGUSR1 are no reasons for that.
 *
 *	SIGTERM SIGINT SIGQUIT			end
 *	SIGHUP					reload
 *	SIGUSR1 SIGUSR2 SIGALRM SIGVTALRM SIGPROF SIGIO SIGPWR SIGSTKFLT SIGXCPU, real-time ones:  told, no more
 *	SIGPIPE SIGXFSZ				ignored: the call that met it fails
 *	others					as ever: they say that the process is broken, or stop and continue it
 *
 * Where: both daemons' main threads. Threads: open before any other thread is made, which then inherits the mask. A
 * child that is to run another program must get an empty mask and the default of SIGPIPE and SIGXFSZ again.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

enum signals_wish {
	SIGNALS_NONE, /* nothing that concerns us */
	SIGNALS_END,
	SIGNALS_RELOAD,
};

/* Block and ignore as above. A descriptor that polls readable when signals_take() has something; the caller closes
 * it. Or -errno, with nothing changed that matters to a process that then ends. */
int signals_open(void) __attribute__((warn_unused_result));

/* One signal that came: what it asks for. @ret_name (borrowed, constant) is its name, for the log; "" with
 * SIGNALS_NONE when none was waiting. Never blocks. */
enum signals_wish signals_take(int fd, const char **ret_name);

#endif
