#include "base/error.h"

#include <stdarg.h>

#include "base/text.h"

int error_set(struct error *error, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)text_vput(error->text, sizeof(error->text), format, args);
	va_end(args);
	return r;
}
