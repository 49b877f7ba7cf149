/* zero.h - tells whether a page is all zero.
 *
 * Where: code that does not call page_encode(), which itself notices zero pages. Uses the form that
 * simd.h has chosen. Threads: any.
 */
#ifndef CODEC_ZERO_H
#define CODEC_ZERO_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/page.h"

/* Returns true if all PAGE_BYTES bytes at @page are 0. @page: any alignment. */
bool zero_is_page(const uint8_t *page);

#endif
