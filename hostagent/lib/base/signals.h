/* signals.h - what a daemon does with signals from others: end, reload its files, or go on.
 *
 * Why: most signals end the process by default, and the end of an agent or a gateway is a failover.
 * A closed terminal (SIGHUP), a peer that went away (SIGPIPE), a file size limit (SIGXFSZ) or a
 * tool that asks for a figure by SIGUSR1 must not cause one.
 *
 *	SIGTERM SIGINT SIGQUIT			end
 *	SIGHUP					reload
 *	SIGUSR1 SIGUSR2 SIGALRM SIGVTALRM
 *	SIGPROF SIGIO SIGPWR SIGSTKFLT
 *	SIGXCPU, real-time ones			only logged
 *	SIGPIPE SIGXFSZ				ignored: the call that met it fails
 *	others					default action: they report a broken process,
 *						or stop and continue it
 *
 * Where: both daemons' main threads. Threads: open before any other thread is made, so that they
 * all inherit the mask. A child that will run another program must first clear the mask and set
 * SIGPIPE and SIGXFSZ back to their defaults.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

enum signals_wish {
	SIGNALS_NONE, /* nothing that concerns us */
	SIGNALS_END,
	SIGNALS_RELOAD,
};

/* Block and ignore signals as above. Returns a descriptor that polls readable when signals_take()
 * has a signal; the caller closes it. On error returns -errno, perhaps with the mask and SIGPIPE
 * already changed: the process should end. */
int signals_open(void) __attribute__((warn_unused_result));

/* Take one signal and return what it asks for. @ret_name (borrowed, constant) is its name for the
 * log; with SIGNALS_NONE, "" means that no signal was waiting. Never blocks. */
enum signals_wish signals_take(int fd, const char **ret_name);

#endif
