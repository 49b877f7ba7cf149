/* sections.h - a hash (mark) over the device sections of a saved state.
 *
 * Why: each device saves itself in a section that begins with its name, instance and version. When
 * a device is plugged or unplugged, the next epoch has other sections. So the first epoch that the
 * standby could not load is noticed before it is sent, at no cost to the pause.
 *
 * Sections have no length. Each ends with a footer that repeats the section's number; the next
 * header or the end follows. The parser searches for that. Some devices have a section only at
 * times, so a new mark is only a reason to check (inventory.h), not proof of a change.
 *
 * Where: engine_watch.c. Pure. Threads: any.
 */
#ifndef VMM_SECTIONS_H
#define VMM_SECTIONS_H

#include <stddef.h>
#include <stdint.h>

/* Returns a hash over names, instances and versions of @blob's sections, in their order; never 0.
 * About 10 us for 80 KB. If the sections cannot be told apart (machine types older than 2.4 write
 * no footers), the mark is made of the blob's size. */
uint64_t vmm_sections_mark(const uint8_t *blob, size_t size);

#endif
