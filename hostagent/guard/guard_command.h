/* guard_command.h - the command `holdfast-agent shutdown-guard`: asks this host's agent for a drain
 * of the host, and waits until the drain has ended, but not for ever. deploy/systemd runs the
 * command when the host is told to reboot or halt, before anything else is stopped.
 *
 * Threads: one. Blocks for at most the time in --limit and a few seconds more.
 */
#ifndef GUARD_GUARD_COMMAND_H
#define GUARD_GUARD_COMMAND_H

/* Run the command. Returns the exit status:
 * 0: no guest and no copy is left on the host; or --at-shutdown was given and the host is not going
 * down; or --help was given;
 * 1: guests or copies may be left there;
 * 2: wrong usage. */
int guard_command(int argc, char **argv);

#endif
