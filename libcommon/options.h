/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one table describes a program's settings; from it come the command line, the
 * environment, the YAML file (through libcyaml), --help, --version and --check-config.
 *
 * A setting "state-dir" is the flag --state-dir, the variable ALKAID_STATE_DIR and the YAML key stateDir.
 * Precedence: flag, environment, file, default. An unknown flag or key is an error that names it and, for
 * the file, line and column. Lists: repeat the flag, separate with commas in the environment, a sequence
 * in YAML.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ak_option_type {
        AK_OPT_STRING,   /* char * */
        AK_OPT_BOOL,     /* bool */
        AK_OPT_UINT,     /* uint64_t, min..max */
        AK_OPT_SIZE,     /* uint64_t bytes: 64, 4K, 200Mi, 1G; min..max */
        AK_OPT_DURATION, /* uint64_t microseconds: 250ms, 10s, 5m, 1h; min..max in microseconds */
        AK_OPT_ENUM,     /* char *, one of `choices` ("a|b|c") */
        AK_OPT_LIST,     /* struct ak_strlist */
};

struct ak_strlist {
        char **items; /* NULL-terminated; NULL when empty */
        size_t count;
};

struct ak_option {
        const char *name; /* kebab-case */
        enum ak_option_type type;
        size_t offset;       /* of the member in the caller's struct */
        const char *def;     /* default as text; NULL = NULL, 0, false or empty */
        const char *help;    /* one line */
        const char *choices; /* AK_OPT_ENUM */
        uint64_t min, max;   /* max 0 = no bound */
};

struct ak_program {
        const char *name;     /* "alkaid-network" */
        const char *summary;  /* one line for --help */
        const char *operands; /* e.g. "POD", NULL = none allowed */
        const struct ak_option *options;
        size_t option_count;
};

/* Outcomes of ak_options_load() that are not failures: the caller leaves with exit code 0. */
#define AK_OPTIONS_DONE 1 /* --help, --version or --check-config was answered */

/*
 * Fills `config` (zeroed by the caller). Built in for every program: --config FILE (or ALKAID_CONFIG),
 * --log-level LEVEL (or ALKAID_LOG_LEVEL or logLevel; calls ak_log_init), --help, --version, --check-config.
 * Flags may stand between and after operands (argv is permuted), "--" ends them; *first_operand, if wanted,
 * gets the index of the first operand in argv.
 * Returns 0, AK_OPTIONS_DONE, or -EINVAL after having printed the error (exit code 2).
 */
int ak_options_load(const struct ak_program *program, int argc, char **argv, void *config,
                    int *first_operand);
/*
 * The same once more, for SIGHUP: sets the log level anew and names (as a YAML key) each setting that is not
 * what `config`, of `size` bytes, says; `config` stays as it is. 0, or negative errno after having printed
 * the error; then nothing has changed.
 */
int ak_options_reload(const struct ak_program *program, int argc, char **argv, const void *config,
                      size_t size, void (*differs)(void *arg, const char *key), void *arg);
/* Frees what ak_options_load() put into `config`. */
void ak_options_deinit(const struct ak_program *program, void *config);
