/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by options.c (table, flags, environment) and options_yaml.c (the file). */
#pragma once

#include "libcommon/options.h"

#define AK_OPTION_NAME_MAX  64
#define AK_OPTION_VALUE_MAX 8192
#define AK_OPTION_ITEMS_MAX 1024

/* "state-dir" -> "stateDir". */
void ak_option_yaml_key(const char *name, char out[AK_OPTION_NAME_MAX]);

/* One value found in the file, as text; lists give several of the same option, in order, or NULL if empty. */
struct ak_yaml_value {
        const struct ak_option *option;
        const char *text;
        size_t line, column; /* from 1 */
};

/*
 * Reads `path` and calls `sink` for each value in the order of the option table. Errors are printed with
 * file, line and column. 0 or -EINVAL; what `sink` returns if negative.
 */
int ak_options_yaml(const char *path, const struct ak_option *options, size_t count,
                    int (*sink)(void *arg, const struct ak_yaml_value *value), void *arg);
/* The same for a text in memory that `name` stands for in errors. */
int ak_options_yaml_text(const char *name, const char *data, size_t len, const struct ak_option *options,
                         size_t count, int (*sink)(void *arg, const struct ak_yaml_value *value), void *arg);
