/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar is that of k8s.io/apimachinery/pkg/api/resource: digits with an optional fraction, then one
 * of m, k, M, G, T, P, E, Ki … Ei, or a decimal exponent. Nano and micro units round up to a thousandth.
 */
#include "libcommon/kube/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcommon/cleanup.h"

#define QUANTITY_MAX_DIGITS 18

struct decimal {
        uint64_t mantissa;
        int exponent; /* of ten */
};

struct suffix {
        const char *text;
        int exponent; /* of ten */
        int shift;    /* of two */
};

static const struct suffix suffixes[] = {
    {"", 0, 0},    {"n", -9, 0},  {"u", -6, 0},  {"m", -3, 0},  {"k", 3, 0},   {"M", 6, 0},
    {"G", 9, 0},   {"T", 12, 0},  {"P", 15, 0},  {"E", 18, 0},  {"Ki", 0, 10}, {"Mi", 0, 20},
    {"Gi", 0, 30}, {"Ti", 0, 40}, {"Pi", 0, 50}, {"Ei", 0, 60},
};

static int parse_number(const char **text, struct decimal *out)
{
        struct decimal d = {0};
        int digits = 0;
        bool point = false, any = false;
        const char *c = *text;
        for (; isdigit((unsigned char)*c) || (*c == '.' && !point); c++) {
                if (*c == '.') {
                        point = true;
                        continue;
                }
                any = true;
                if (d.mantissa == 0 && *c == '0') {
                        d.exponent -= point;
                        continue;
                }
                if (++digits > QUANTITY_MAX_DIGITS)
                        return -ERANGE;
                d.mantissa = d.mantissa * 10 + (uint64_t)(*c - '0');
                d.exponent -= point;
        }
        if (!any)
                return -EINVAL;
        *text = c;
        *out = d;
        return 0;
}

static int parse_exponent(const char *text, int *out)
{
        char *end;
        if ((*text != 'e' && *text != 'E') ||
            (!isdigit((unsigned char)text[1]) && text[1] != '-' && text[1] != '+'))
                return -EINVAL;
        long value = strtol(text + 1, &end, 10);
        if (*end != '\0' || !isdigit((unsigned char)end[-1]))
                return -EINVAL;
        if (value < -30 || value > 30)
                return -ERANGE;
        *out = (int)value;
        return 0;
}

static int parse_suffix(const char *text, struct suffix *out)
{
        for (size_t i = 0; i < AK_ARRAY_SIZE(suffixes); i++) {
                if (strcmp(text, suffixes[i].text) == 0) {
                        *out = suffixes[i];
                        return 0;
                }
        }
        *out = (struct suffix){"", 0, 0};
        return parse_exponent(text, &out->exponent);
}

/* mantissa * 2^shift * 10^exponent, rounded up. */
static int scale(struct decimal d, int shift, uint64_t *out)
{
        unsigned __int128 value = (unsigned __int128)d.mantissa << shift;
        for (; d.exponent > 0 && value > 0; d.exponent--) {
                value *= 10;
                if (value > INT64_MAX)
                        return -ERANGE;
        }
        for (; d.exponent < 0 && value > 0; d.exponent++)
                value = (value + 9) / 10;
        if (value > INT64_MAX)
                return -ERANGE;
        *out = (uint64_t)value;
        return 0;
}

int ak_kube_quantity_parse(const char *text, uint64_t *milli)
{
        struct decimal number = {0};
        struct suffix suffix = {0};
        if (*text == '+')
                text++;
        int rc = parse_number(&text, &number);
        if (rc == 0)
                rc = parse_suffix(text, &suffix);
        if (rc < 0)
                return rc;
        number.exponent += suffix.exponent + 3;
        return scale(number, suffix.shift, milli);
}

int ak_kube_quantity_milli(const json_t *value, uint64_t *out)
{
        char text[64];
        if (json_is_string(value))
                return ak_kube_quantity_parse(json_string_value(value), out);
        if (json_is_integer(value))
                (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (json_is_real(value))
                (void)snprintf(text, sizeof(text), "%.3f", json_real_value(value));
        else
                return -EINVAL;
        return ak_kube_quantity_parse(text, out);
}
