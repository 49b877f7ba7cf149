/* guard_command.h - the command `holdfast-agent shutdown-guard`: asks this host's agent to have it
 * drained, and waits for the end of that, for a limited time. deploy/systemd runs it when the
 * host is told to reboot or halt, before anything else is stopped.
 *
 * Threads: one. Blocks for at most its --limit, and some seconds.
 */
#ifndef GUARD_GUARD_COMMAND_H
#define GUARD_GUARD_COMMAND_H

/* Run the command. Returns the exit status: 0 the host is empty, or does not go down; 1 guests are
 * left there; 2 usage. */
int guard_command(int argc, char **argv);

#endif
