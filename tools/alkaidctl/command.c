/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/command.h"

#include <stdarg.h>
#include <stdio.h>

int ctl_fail(int code, const char *command, const char *format, ...)
{
        va_list args;

        (void)fprintf(stderr, "alkaidctl: %s: ", command);
        va_start(args, format);
        (void)vfprintf(stderr, format, args);
        va_end(args);
        (void)fputc('\n', stderr);
        return code;
}
