/* settle.h - finds VM files that contradict each other.
 *
 * Why: two files can both be valid but name the same thing, for example the same disk. One guest's
 * epochs must never go into another guest's disk. Nobody knows which file is right, so neither file
 * is used.
 *
 * Where: agent_config_load() calls it after it has read all files. Threads: any (no state). Pure.
 */
#ifndef CONFIG_SETTLE_H
#define CONFIG_SETTLE_H

#include "config/agent_config.h"

/* If two usable VMs of @config contradict each other, give both a fault. */
void agent_config_settle(struct agent_config *config);

#endif
