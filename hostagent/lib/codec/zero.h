/* zero.h - is a page all zero?
 *
 * Where: for callers other than page_encode(), which finds it out while it compares. simd.h picks
 * its form. Threads: any.
 */
#ifndef CODEC_ZERO_H
#define CODEC_ZERO_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/page.h"

/* @page: PAGE_BYTES bytes, any alignment. */
bool zero_is_page(const uint8_t *page);

#endif
