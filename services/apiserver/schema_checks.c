/* SPDX-License-Identifier: Apache-2.0 */
/* Format checks that the schema tables name. Each returns NULL or what would have been right. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "libcommon/netaddr.h"
#include "services/apiserver/schema_internal.h"

const char *api_check_name(const char *value)
{
        return ak_dns1123_subdomain_valid(value)
                   ? NULL
                   : "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "
                     "or "
                     "'.', and must start and end with an alphanumeric character";
}

const char *api_check_label(const char *value)
{
        return ak_dns1123_label_valid(value) ? NULL
                                             : "a lowercase RFC 1123 label must consist of lower case "
                                               "alphanumeric characters or '-', and "
                                               "must start and end with an alphanumeric character";
}

/* [A-Za-z0-9] at both ends, [A-Za-z0-9-_.] between, at most 63. */
static bool qualified(const char *text)
{
        size_t len = strlen(text);

        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char)text[i]) && (!strchr("-_.", text[i]) || i == 0 || i == len - 1))
                        return false;
        return len <= 63;
}

const char *api_check_label_value(const char *value)
{
        return qualified(value)
                   ? NULL
                   : "a valid label must be an empty string or at most 63 alphanumeric characters, "
                     "'-', '_' or '.', beginning and ending with an alphanumeric character";
}

const char *api_check_label_key(const char *value)
{
        const char *slash = strchr(value, '/'), *name = slash ? slash + 1 : value;
        char prefix[254];

        if (slash) {
                if (slash - value >= (ptrdiff_t)sizeof(prefix))
                        return "prefix part must be no more than 253 characters";
                (void)snprintf(prefix, sizeof(prefix), "%.*s", (int)(slash - value), value);
                if (!ak_dns1123_subdomain_valid(prefix))
                        return "prefix part must be a DNS subdomain (e.g. 'example.com')";
        }
        return *name && qualified(name)
                   ? NULL
                   : "name part must be 1 to 63 alphanumeric characters, '-', '_' or '.', beginning and "
                     "ending "
                     "with an alphanumeric character (e.g. 'MyName' or 'example.com/MyName')";
}

const char *api_check_ifname(const char *value)
{
        return ak_ifname_valid(value)
                   ? NULL
                   : "must be an interface name: a letter, then letters, digits, '.', '_' or "
                     "'-', at most 15 characters";
}

const char *api_check_ip(const char *value)
{
        struct ak_ip ip;

        return ak_ip_parse(value, &ip) == 0 ? NULL
                                            : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

const char *api_check_cidr(const char *value)
{
        struct ak_cidr cidr;

        return ak_cidr_parse(value, &cidr) == 0 ? NULL : "must be a valid CIDR value, (e.g. 10.9.8.0/24)";
}

const char *api_check_mac(const char *value)
{
        char mac[AK_MAC_SIZE];

        return ak_mac_parse(value, mac) == 0 ? NULL
                                             : "must be a unicast MAC address, (e.g. 06:12:34:56:78:9a)";
}

const char *api_check_uuid(const char *value)
{
        return ak_uuid_valid(value) ? NULL : "must be a UUID in lower case, (e.g. 0d9f8ba4-…)";
}

const char *api_check_sha256(const char *value)
{
        return strlen(value) == 64 && strspn(value, "0123456789abcdef") == 64
                   ? NULL
                   : "must be 64 hexadecimal digits";
}

/*
 * What follows "http://" or "https://", the whole where there is no scheme ("host:8080/path" has a port, not
 * a scheme), or NULL with *expected set.
 */
static const char *after_scheme(const char *value, const char **expected)
{
        size_t word = strcspn(value, ":/?#");

        if (value[word] != ':' || isdigit((unsigned char)value[word + 1]))
                return value;
        if ((word == 4 && strncasecmp(value, "http", 4) == 0) ||
            (word == 5 && strncasecmp(value, "https", 5) == 0)) {
                if (strncmp(value + word, "://", 3) == 0)
                        return value + word + 3;
                *expected = "must have two slashes and a host after the scheme";
        } else {
                *expected =
                    "must be an http or https URL, a URL without a scheme, or an absolute path; other "
                    "schemes (file:, ftp:, …) are not served";
        }
        return NULL;
}

static const char *check_dots(const char *path)
{
        for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2)
                if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
                        return "must not contain '..' as a part of the path";
        return NULL;
}

const char *api_check_image(const char *value)
{
        static const char host_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-";
        const char *expected = NULL, *rest;
        size_t host, end;

        for (const char *p = value; *p; p++)
                if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '\\')
                        return "must not contain blanks, control characters or backslashes";
        if (*value == '/')
                return check_dots(value);
        rest = after_scheme(value, &expected);
        if (!rest)
                return expected;
        host = end = strspn(rest, host_chars);
        if (rest[end] == ':')
                end += 1 + strspn(rest + end + 1, "0123456789");
        if (host == 0 || rest[0] == '.' || rest[0] == '-' || rest[end] != '/' || rest[end + 1] == '\0')
                return "must be a URL (http, https or no scheme) of a host and a path, without user and "
                       "password, or an absolute path";
        return check_dots(rest);
}

struct suffix {
        const char *text;
        int64_t milli;
};

static const struct suffix suffixes[] = {
    {"n", 0},
    {"u", 0},
    {"m", 1},
    {"", 1000},
    {"k", INT64_C(1000) * 1000},
    {"M", INT64_C(1000) * 1000 * 1000},
    {"G", INT64_C(1000) * 1000 * 1000 * 1000},
    {"T", INT64_C(1000) * 1000 * 1000 * 1000 * 1000},
    {"P", INT64_C(1000) * 1000 * 1000 * 1000 * 1000 * 1000},
    {"Ki", INT64_C(1000) << 10},
    {"Mi", INT64_C(1000) << 20},
    {"Gi", INT64_C(1000) << 30},
    {"Ti", INT64_C(1000) << 40},
};

int api_quantity_parse(const char *text, int64_t *milli)
{
        int64_t whole = 0, fraction = 0, scale = 1;
        const char *p = text;

        if (strlen(text) > 32 || !isdigit((unsigned char)*p))
                return -EINVAL;
        for (; isdigit((unsigned char)*p); p++)
                if (__builtin_mul_overflow(whole, 10, &whole) ||
                    __builtin_add_overflow(whole, *p - '0', &whole))
                        return -ERANGE;
        if (*p == '.')
                for (p++; isdigit((unsigned char)*p); p++) {
                        if (scale >= 1000000)
                                continue;
                        fraction = fraction * 10 + (*p - '0');
                        scale *= 10;
                }
        for (size_t i = 0; i < AK_ARRAY_SIZE(suffixes); i++) {
                int64_t a, b;

                if (strcmp(p, suffixes[i].text) != 0)
                        continue;
                if (__builtin_mul_overflow(whole, suffixes[i].milli, &a) ||
                    __builtin_mul_overflow(fraction, suffixes[i].milli, &b) ||
                    __builtin_add_overflow(a, b / scale, milli))
                        return -ERANGE;
                return 0;
        }
        return -EINVAL;
}
