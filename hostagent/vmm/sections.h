/* sections.h - a short mark of which device sections a saved state has.
 *
 * Why: each device of the guest saves itself in a section that begins with its name, instance and
 * version. When one is plugged or unplugged, the next epoch's list differs, so the very first epoch
 * that the standby could not load is noticed before it is sent, at no cost to the pause.
 *
 * Sections have no length; they end with a footer that repeats the section's number, behind which the
 * next header or the end follows. That is what is looked for. Some devices have a section only
 * at times, so another mark is a reason to look (inventory.h), not yet a change.
 *
 * Where: engine_watch.c. Pure. Threads: any.
 */
#ifndef VMM_SECTIONS_H
#define VMM_SECTIONS_H

#include <stddef.h>
#include <stdint.h>

/* A mark over names, instances and versions of the sections of @blob, in their order; never 0. About 10 us for
 * 80 KB. A blob whose sections cannot be told apart (machine types older than 2.4 write no footers) is
 * marked by its size. */
uint64_t vmm_sections_mark(const uint8_t *blob, size_t size);

#endif
