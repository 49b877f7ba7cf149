/* error.h - fill a struct vmm_error. Inside this room only. */
#ifndef VMM_ERROR_H
#define VMM_ERROR_H

#include "vmm/page_range.h"

/* Write the text (cut at VMM_ERROR_MAX) and return @error, so that callers can
 * `return vmm_fail(err, -EPERM, "...")`. */
int vmm_fail(struct vmm_error *ret_error, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
