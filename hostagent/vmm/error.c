#include "vmm/error.h"

#include <stdarg.h>
#include <stdio.h>

int vmm_fail(struct vmm_error *ret_error, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
	va_end(args);
	return error;
}
