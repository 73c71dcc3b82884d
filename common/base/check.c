#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expression,
                            const char *file,
                            int line,
                            const char *function)
{
    (void)fprintf(stderr, "level=fatal event=check_failed at=%s:%d function=%s check=\"%s\"\n",
                  file, line, function, expression);
    abort();
}
