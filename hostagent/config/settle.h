/* settle.h - finds VM files that contradict each other.
 *
 * Why: each file can be right by itself, and two of them can still name one thing. Nobody knows
 * which file is right, so neither is used: one guest's epochs must never go into another's disk.
 *
 * Where: agent_config_load(), once all files are read. Threads: any (no state). Pure.
 */
#ifndef CONFIG_SETTLE_H
#define CONFIG_SETTLE_H

#include "config/agent_config.h"

/* Give a fault to each two usable VMs of @config that contradict each other. */
void agent_config_settle(struct agent_config *config);

#endif
