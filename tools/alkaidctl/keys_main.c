/* SPDX-License-Identifier: Apache-2.0 */
/* keys generate|list|remove: the certificates of a bus over tcp (libcommon/bus_keys.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/bus.h"
#include "libcommon/bus_keys.h"
#include "libcommon/options.h"
#include "proto/proto.h"
#include "tools/alkaidctl/command.h"

#define MAX_KEYS 1024

struct config {
        char *keys, *role;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }
#define KEYS                                                                                                 \
        OPTION("bus-keys", AK_OPT_STRING, keys, .def = "/etc/alkaid/bus-keys",                               \
               .help = "directory of the certificates, mode 0700; made if missing")

static const struct ak_option generate_options[] = {
    KEYS,
    OPTION("role", AK_OPT_STRING, role,
           .help = "role of the owner (default: its name); listener for tools that only listen"),
};
static const struct ak_option plain_options[] = {KEYS};

/* ------------------------------------------------------------------ generate */

static int check_role(const char *role)
{
        for (const char *const *r = ak_bus_roles; *r; r++)
                if (strcmp(*r, role) == 0)
                        return CTL_OK;
        return ctl_fail(CTL_USAGE, "keys",
                        "no role '%s'; there are watcher, network, hypervisor and listener", role);
}

static int run_generate(const struct config *config, char **names)
{
        char error[AK_BUS_KEY_ERROR_SIZE] = "";

        for (char **name = names; *name; name++)
                if (check_role(config->role ? config->role : *name) != CTL_OK)
                        return CTL_USAGE;
        for (char **name = names; *name; name++) {
                if (ak_bus_key_generate(config->keys, *name, config->role ? config->role : *name, error) < 0)
                        return ctl_fail(CTL_FAILED, "keys", "%s", error);
                (void)printf("%s/%s" AK_BUS_KEY_SUFFIX "\n", config->keys, *name);
        }
        return CTL_OK;
}

/* ------------------------------------------------------------------ list */

struct key {
        char name[AK_BUS_NAME_MAX + 1];
        bool secret;
};

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct key *)a)->name, ((const struct key *)b)->name);
}

/* "watcher.cert" -> "watcher"; others are none. */
static bool take_name(const char *file, struct key *out)
{
        const char *suffix = strstr(file, AK_BUS_KEY_SUFFIX);
        size_t len = suffix ? (size_t)(suffix - file) : 0;

        if (len == 0 || len >= sizeof(out->name) || strcmp(suffix, AK_BUS_KEY_SUFFIX) != 0)
                return false;
        memcpy(out->name, file, len);
        out->name[len] = '\0';
        return true;
}

static size_t find_keys(const char *dir, struct key keys[MAX_KEYS])
{
        zdir_t *files = zdir_new(dir, "-");
        zlist_t *list = files ? zdir_list(files) : NULL;
        size_t count = 0;

        for (zfile_t *file = list ? zlist_first(list) : NULL; file; file = zlist_next(list)) {
                char path[PATH_MAX];

                if (count == MAX_KEYS || !take_name(zfile_filename(file, dir), &keys[count]))
                        continue;
                (void)snprintf(path, sizeof(path), "%s/%s" AK_BUS_KEY_SECRET, dir, keys[count].name);
                keys[count++].secret = access(path, F_OK) == 0;
        }
        zlist_destroy(&list);
        zdir_destroy(&files);
        qsort(keys, count, sizeof(keys[0]), by_name);
        return count;
}

static int print_key(const char *dir, const struct key *key)
{
        AK_CLEANUP(ak_zcert_freep) zcert_t *cert = NULL;
        char error[AK_BUS_KEY_ERROR_SIZE] = "";
        const char *made;

        if (ak_bus_key_load(&cert, dir, key->name, key->secret, error) < 0)
                return ctl_fail(CTL_FAILED, "keys", "%s", error);
        made = zcert_meta(cert, "made");
        (void)printf("%-20s %-12s %-7s %-42s %s\n", key->name, ak_bus_key_role(cert),
                     key->secret ? "yes" : "no", zcert_public_txt(cert), made ? made : "-");
        return CTL_OK;
}

static int run_list(const struct config *config, char **operands AK_UNUSED)
{
        AK_AUTOFREE struct key *keys = calloc(MAX_KEYS, sizeof(*keys));
        char error[AK_BUS_KEY_ERROR_SIZE] = "";
        int code = CTL_OK;
        size_t count;

        if (!keys)
                return ctl_fail(CTL_FAILED, "keys", "out of memory");
        if (ak_bus_keys_check(config->keys, error) < 0)
                return ctl_fail(CTL_FAILED, "keys", "%s", error);
        count = find_keys(config->keys, keys);
        (void)printf("%-20s %-12s %-7s %-42s %s\n", "NAME", "ROLE", "SECRET", "PUBLIC KEY", "MADE");
        for (size_t i = 0; i < count; i++)
                if (print_key(config->keys, &keys[i]) != CTL_OK)
                        code = CTL_FAILED;
        return code;
}

/* ------------------------------------------------------------------ remove */

static int run_remove(const struct config *config, char **names)
{
        char error[AK_BUS_KEY_ERROR_SIZE] = "";

        for (char **name = names; *name; name++)
                if (ak_bus_key_remove(config->keys, *name, error) < 0)
                        return ctl_fail(CTL_FAILED, "keys", "%s", error);
        return CTL_OK;
}

/* ------------------------------------------------------------------ the command line */

struct verb {
        const char *name;
        struct ak_program program;
        bool operands;
        int (*run)(const struct config *config, char **operands);
};

static const struct verb verbs[] = {
    {"generate",
     {.name = "alkaidctl keys generate",
      .summary =
          "Makes certificates for a bus over tcp: NAME.cert, and NAME.cert_secret for where NAME runs.",
      .operands = "NAME...",
      .options = generate_options,
      .option_count = AK_ARRAY_SIZE(generate_options)},
     true,
     run_generate},
    {"list",
     {.name = "alkaidctl keys list",
      .summary = "Lists the certificates that a directory has, which are those that are let in.",
      .options = plain_options,
      .option_count = AK_ARRAY_SIZE(plain_options)},
     false,
     run_list},
    {"remove",
     {.name = "alkaidctl keys remove",
      .summary = "Removes certificates: their owners are not let in any more, from their next connection on.",
      .operands = "NAME...",
      .options = plain_options,
      .option_count = AK_ARRAY_SIZE(plain_options)},
     true,
     run_remove},
};

static int run_verb(const struct verb *verb, int argc, char **argv)
{
        struct config config = {0};
        int first = 0, code = CTL_USAGE;
        int r = ak_options_load(&verb->program, argc, argv, &config, &first);

        if (r == AK_OPTIONS_DONE)
                code = CTL_OK;
        else if (r == 0 && verb->operands && !argv[first])
                code = ctl_fail(CTL_USAGE, "keys", "say at least one name; see --help");
        else if (r == 0)
                code = verb->run(&config, argv + first);
        ak_options_deinit(&verb->program, &config);
        return code;
}

int ctl_keys_main(int argc, char **argv)
{
        static const char usage[] =
            "Usage: alkaidctl keys generate|list|remove [OPTION]... [NAME]...\n"
            "Certificates of a bus over tcp; `alkaidctl keys VERB --help` tells more.\n";

        if (argc > 1 && strcmp(argv[1], "--help") == 0)
                return fputs(usage, stdout) < 0 ? CTL_FAILED : CTL_OK;
        for (size_t i = 0; argc > 1 && i < AK_ARRAY_SIZE(verbs); i++)
                if (strcmp(argv[1], verbs[i].name) == 0)
                        return run_verb(&verbs[i], argc - 1, argv + 1);
        (void)fputs(usage, stderr);
        return CTL_USAGE;
}
