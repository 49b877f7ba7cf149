/* command.h - the program's command `inspect`: reads its options, examines QEMU, then prints and
 * writes what it found.
 *
 * Where: main.c, before anything else; no daemon runs then. Threads: one. Blocks on QEMU and files.
 */
#ifndef INSPECT_COMMAND_H
#define INSPECT_COMMAND_H

/* Run `inspect` with @argv[0] = "inspect" and its options. Prints to stdout, errors to stderr.
 * Returns the exit status:
 * 0: the VM can be protected as it is;
 * 1: there are obstacles, or a file could not be written;
 * 2: wrong usage;
 * 3: QEMU cannot be asked. */
int inspect_command(int argc, char **argv) __attribute__((warn_unused_result));

#endif
