/* settle.h - finds VM files that contradict each other.
 *
 * Why: each of two files can be valid by itself, and yet both can name the same thing, for example
 * the same disk. One guest's epochs must never go into another guest's disk. Nobody knows which
 * file is right, so neither file is used.
 *
 * Where: agent_config_load() calls it after it has read all files. Threads: any (no state). Pure.
 */
#ifndef CONFIG_SETTLE_H
#define CONFIG_SETTLE_H

#include "config/agent_config.h"

/* If two VMs of @config without a fault contradict each other, give both a fault. */
void agent_config_settle(struct agent_config *config);

#endif
