/* SPDX-License-Identifier: Apache-2.0 */
#include "libcommon/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define USEC_PER_SEC UINT64_C(1000000)

static uint64_t read_clock(clockid_t id)
{
        struct timespec ts = {0};

        (void)clock_gettime(id, &ts); /* cannot fail for the two clocks used here */
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t ak_clock_monotonic_us(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

uint64_t ak_clock_realtime_us(void)
{
        return read_clock(CLOCK_REALTIME);
}

void ak_rfc3339_format(uint64_t realtime_us, _Bool micros, char out[AK_RFC3339_SIZE])
{
        time_t sec = (time_t)(realtime_us / USEC_PER_SEC);
        struct tm tm = {0};
        size_t n;

        (void)gmtime_r(&sec, &tm);
        n = strftime(out, AK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
        if (micros)
                (void)snprintf(out + n, AK_RFC3339_SIZE - n, ".%06uZ",
                               (unsigned)(realtime_us % USEC_PER_SEC));
        else
                (void)snprintf(out + n, AK_RFC3339_SIZE - n, "Z");
}

/* Exactly `digits` decimal digits, then `end` where it is not 0; moves *p past both. */
static bool take(const char **p, int digits, char end, int *out)
{
        int value = 0;

        for (int i = 0; i < digits; i++, (*p)++) {
                if (**p < '0' || **p > '9')
                        return false;
                value = value * 10 + (**p - '0');
        }
        if (end != 0 && *(*p)++ != end)
                return false;
        *out = value;
        return true;
}

static bool take_date_time(const char **p, struct tm *tm)
{
        if (!take(p, 4, '-', &tm->tm_year) || !take(p, 2, '-', &tm->tm_mon) || !take(p, 2, 0, &tm->tm_mday))
                return false;
        if (**p != 'T' && **p != 't')
                return false;
        (*p)++;
        if (!take(p, 2, ':', &tm->tm_hour) || !take(p, 2, ':', &tm->tm_min) || !take(p, 2, 0, &tm->tm_sec))
                return false;
        tm->tm_year -= 1900;
        tm->tm_mon -= 1;
        return tm->tm_year >= 70 && tm->tm_mon >= 0 && tm->tm_mon < 12 && tm->tm_mday >= 1 &&
               tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60; /* 60: a leap second */
}

/* ".123456789": digits past the microsecond are cut off. */
static bool take_fraction(const char **p, int *us)
{
        int value = 0, digits = 0;

        if (**p != '.') {
                *us = 0;
                return true;
        }
        for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, digits++)
                value = digits < 6 ? value * 10 + (**p - '0') : value;
        if (digits == 0)
                return false;
        for (; digits < 6; digits++)
                value *= 10;
        *us = value;
        return true;
}

/* "Z", "+01:00" or "-00:30", then the end. */
static bool take_offset(const char **p, int *seconds)
{
        int sign, hours, minutes;

        if (**p == 'Z' || **p == 'z') {
                *seconds = 0;
                return (*p)[1] == '\0';
        }
        if (**p != '+' && **p != '-')
                return false;
        sign = *(*p)++ == '-' ? -1 : 1;
        if (!take(p, 2, ':', &hours) || !take(p, 2, 0, &minutes) || **p != '\0' || hours > 23 || minutes > 59)
                return false;
        *seconds = sign * (hours * 3600 + minutes * 60);
        return true;
}

int ak_rfc3339_parse(const char *text, uint64_t *realtime_us)
{
        struct tm tm = {0};
        int us, offset, day;
        time_t sec;

        if (!take_date_time(&text, &tm) || !take_fraction(&text, &us) || !take_offset(&text, &offset))
                return -EINVAL;
        day = tm.tm_mday;
        if (tm.tm_sec == 60) {
                tm.tm_sec = 59;
                us = (int)USEC_PER_SEC - 1;
        }
        sec = timegm(&tm);
        if (tm.tm_mday != day || sec < offset) /* 30 February was normalised into March */
                return -EINVAL;
        *realtime_us = (uint64_t)(sec - offset) * USEC_PER_SEC + (uint64_t)us;
        return 0;
}
