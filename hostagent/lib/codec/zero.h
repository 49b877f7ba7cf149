/* zero.h - is a page all zero?
 *
 * Where: for callers outside of page_encode(), which learns it while it compares. The form is picked
 * with the others, see simd.h. Threads: any.
 */
#ifndef CODEC_ZERO_H
#define CODEC_ZERO_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/page.h"

/* @page: PAGE_BYTES bytes, any alignment. */
bool zero_is_page(const uint8_t *page);

#endif
