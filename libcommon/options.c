/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of settings, three sources. Each source is applied to the caller's struct in turn, weakest
 * first: defaults, file, environment, flags; so precedence is nothing but order. A list that a stronger
 * source names replaces the weaker source's list whole.
 */
#include "libcommon/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "libcommon/log.h"
#include "libcommon/options_internal.h"

#define MAX_OPTIONS 96

/* What getopt_long() returns: of the table from OPT_TABLE on, clear of '?'. */
enum builtin { OPT_CONFIG = 1000, OPT_LOG_LEVEL, OPT_HELP, OPT_VERSION, OPT_CHECK_CONFIG, OPT_TABLE };

#define LOG_LEVELS "debug|info|warn|error"
#define WHERE_SIZE 4400 /* a path and a position */

struct builtins {
        const char *config;
        const char *log_level; /* flag or environment */
        bool check;
};

/* Which source last set a list: a new one starts it afresh. */
enum source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

struct loader {
        const struct ak_program *program;
        char *config;
        enum source list_source[MAX_OPTIONS];
        const char *path;
        struct ak_option file_options[MAX_OPTIONS + 1]; /* the table and logLevel */
        enum ak_log_level file_log_level;
};

/* ---- text to value ---- */

struct unit {
        const char *suffix;
        uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"K", UINT64_C(1) << 10},
    {"Ki", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"Mi", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"Gi", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
    {"Ti", UINT64_C(1) << 40},
};

static const struct unit duration_units[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60 * 1000000}, {"h", UINT64_C(3600000000)},
};

/* Digits and an optional unit; `units` NULL = none allowed. */
static int parse_number(const char *text, const struct unit *units, size_t unit_count, uint64_t *out)
{
        char *end;
        uint64_t n;

        if (!isdigit((unsigned char)text[0]))
                return -EINVAL;
        errno = 0;
        n = strtoull(text, &end, 10);
        if (errno)
                return -EINVAL;
        if (!units)
                return *end ? -EINVAL : (*out = n, 0);
        for (size_t i = 0; i < unit_count; i++)
                if (strcmp(end, units[i].suffix) == 0)
                        return __builtin_mul_overflow(n, units[i].factor, out) ? -EINVAL : 0;
        return -EINVAL;
}

static int set_number(const struct ak_option *o, const char *text, uint64_t *out, const char **expected)
{
        uint64_t n = 0;
        int r;

        switch (o->type) {
        case AK_OPT_SIZE:
                *expected = "a size such as 512, 64K, 200Mi or 1G";
                r = parse_number(text, size_units, AK_ARRAY_SIZE(size_units), &n);
                break;
        case AK_OPT_DURATION:
                *expected = "a duration such as 250ms, 10s, 5m or 1h";
                r = parse_number(text, duration_units, AK_ARRAY_SIZE(duration_units), &n);
                break;
        default:
                *expected = "a whole number";
                r = parse_number(text, NULL, 0, &n);
        }
        if (r < 0)
                return r;
        if (n < o->min || (o->max && n > o->max))
                return -ERANGE;
        *out = n;
        return 0;
}

static int set_bool(const char *text, bool *out, const char **expected)
{
        static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off",
                                                                                    "0"};

        *expected = "true or false";
        for (size_t i = 0; i < AK_ARRAY_SIZE(yes); i++) {
                if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
                        *out = strcmp(text, yes[i]) == 0;
                        return 0;
                }
        }
        return -EINVAL;
}

static bool is_choice(const char *choices, const char *text)
{
        size_t len = strlen(text);

        if (strchr(text, '|'))
                return false;
        for (const char *c = choices; c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
                if (len && strncmp(c, text, len) == 0 && (c[len] == '|' || !c[len]))
                        return true;
        return false;
}

static int set_string(char **out, const char *text)
{
        char *copy = strdup(text);

        if (!copy)
                return -ENOMEM;
        free(*out);
        *out = copy;
        return 0;
}

static void list_clear(struct ak_strlist *list)
{
        for (size_t i = 0; i < list->count; i++)
                free(list->items[i]);
        free(list->items);
        *list = (struct ak_strlist){0};
}

static int list_add(struct ak_strlist *list, const char *text, size_t len)
{
        char **items;

        if (list->count >= AK_OPTION_ITEMS_MAX)
                return -EINVAL;
        items = realloc(list->items, (list->count + 2) * sizeof(*items));
        if (!items)
                return -ENOMEM;
        list->items = items;
        items[list->count] = strndup(text, len);
        if (!items[list->count])
                return -ENOMEM;
        items[++list->count] = NULL;
        return 0;
}

static int list_add_commas(struct ak_strlist *list, const char *text)
{
        int r = 0;

        while (*text && r == 0) {
                size_t len = strcspn(text, ",");
                if (len)
                        r = list_add(list, text, len);
                text += len + (text[len] == ',');
        }
        return r;
}

static int set_list(struct loader *l, const struct ak_option *o, const char *text, enum source source)
{
        struct ak_strlist *list = (void *)(l->config + o->offset);
        size_t i = (size_t)(o - l->program->options);

        if (l->list_source[i] != source)
                list_clear(list);
        l->list_source[i] = source;
        if (!text)
                return 0;
        if (source == FROM_FLAG || source == FROM_FILE)
                return list_add(list, text, strlen(text));
        return list_add_commas(list, text);
}

/* ---- bounds as text ---- */

static const struct unit *units_of(enum ak_option_type type, size_t *count)
{
        *count = type == AK_OPT_SIZE ? AK_ARRAY_SIZE(size_units) : AK_ARRAY_SIZE(duration_units);
        return type == AK_OPT_SIZE ? size_units : type == AK_OPT_DURATION ? duration_units : NULL;
}

/* With the largest unit that leaves a whole number: 300000000 -> "5m". */
static struct ak_fmt format_number(enum ak_option_type type, uint64_t n)
{
        const struct unit *best = NULL, *units;
        size_t count;

        units = units_of(type, &count);
        for (size_t i = 0; units && i < count; i++)
                if (n && n % units[i].factor == 0 && (!best || units[i].factor >= best->factor))
                        best = &units[i];
        return ak_fmt("%" PRIu64 "%s", best ? n / best->factor : n, best ? best->suffix : "");
}

/* "1 to 64", "at least 1", "at most 64"; empty where there are no bounds. */
static struct ak_fmt format_bounds(const struct ak_option *o)
{
        struct ak_fmt min = format_number(o->type, o->min), max = format_number(o->type, o->max);

        if (o->type != AK_OPT_UINT && o->type != AK_OPT_SIZE && o->type != AK_OPT_DURATION)
                return ak_fmt("%s", "");
        if (o->min && o->max)
                return ak_fmt("%s to %s", min.s, max.s);
        if (o->min || o->max)
                return ak_fmt("at %s %s", o->min ? "least" : "most", o->min ? min.s : max.s);
        return ak_fmt("%s", "");
}

static int refuse(const struct loader *l, const struct ak_option *o, const char *where, const char *text,
                  const char *expected)
{
        struct ak_fmt bounds = format_bounds(o);

        (void)fprintf(stderr, "%s: %s: \"%.200s\" is not valid; expected %s%s%s\n", l->program->name, where,
                      text, expected, bounds.s[0] ? ", " : "", bounds.s);
        return -EINVAL;
}

/* Applies one text (NULL: an empty list) to one option; prints what is wrong with it, `where` said first. */
static int apply(struct loader *l, const struct ak_option *o, const char *text, enum source source,
                 const char *where)
{
        void *target = l->config + o->offset;
        const char *expected = "a shorter value";
        int r = text && strlen(text) > AK_OPTION_VALUE_MAX ? -EINVAL : 0;

        if (r == 0) {
                switch (o->type) {
                case AK_OPT_STRING:
                        r = set_string(target, text);
                        break;
                case AK_OPT_BOOL:
                        r = set_bool(text, target, &expected);
                        break;
                case AK_OPT_ENUM:
                        expected = o->choices;
                        r = is_choice(o->choices, text) ? set_string(target, text) : -EINVAL;
                        break;
                case AK_OPT_LIST:
                        expected = "at most 1024 items";
                        r = set_list(l, o, text, source);
                        break;
                default:
                        r = set_number(o, text, target, &expected);
                }
        }
        return r < 0 ? refuse(l, o, where, text, expected) : 0;
}

/* ---- sources ---- */

static int apply_defaults(struct loader *l)
{
        for (size_t i = 0; i < l->program->option_count; i++) {
                const struct ak_option *o = &l->program->options[i];
                int r = o->def ? apply(l, o, o->def, FROM_DEFAULT, o->name) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int apply_yaml(void *arg, const struct ak_yaml_value *v)
{
        struct loader *l = arg;
        size_t i = (size_t)(v->option - l->file_options);
        char key[AK_OPTION_NAME_MAX], where[WHERE_SIZE];

        ak_option_yaml_key(v->option->name, key);
        (void)snprintf(where, sizeof(where), "%s:%zu:%zu: %s", l->path, v->line, v->column, key);
        if (i < l->program->option_count)
                return apply(l, &l->program->options[i], v->text, FROM_FILE, where);
        if (ak_log_level_parse(v->text, &l->file_log_level) < 0)
                return refuse(l, v->option, where, v->text, LOG_LEVELS);
        return 0;
}

static int apply_file(struct loader *l)
{
        size_t count = l->program->option_count;

        if (count)
                memcpy(l->file_options, l->program->options, count * sizeof(*l->file_options));
        l->file_options[count] =
            (struct ak_option){.name = "log-level", .type = AK_OPT_ENUM, .choices = LOG_LEVELS};
        return ak_options_yaml(l->path, l->file_options, count + 1, apply_yaml, l);
}

static void environment_name(const char *name, char out[AK_OPTION_NAME_MAX])
{
        size_t n = (size_t)snprintf(out, AK_OPTION_NAME_MAX, "ALKAID_");

        for (; *name && n + 1 < AK_OPTION_NAME_MAX; name++)
                out[n++] = (char)(*name == '-' ? '_' : toupper((unsigned char)*name));
        out[n] = '\0';
}

static int apply_environment(struct loader *l)
{
        for (size_t i = 0; i < l->program->option_count; i++) {
                const struct ak_option *o = &l->program->options[i];
                char name[AK_OPTION_NAME_MAX];
                const char *text;
                int r;

                environment_name(o->name, name);
                text = getenv(name);
                if (!text)
                        continue;
                r = apply(l, o, text, FROM_ENVIRONMENT, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- --help ---- */

static void print_wrapped(const char *text, int indent, int width)
{
        int column = indent;

        while (*text) {
                int len = (int)strcspn(text, " ");
                if (column > indent && column + 1 + len > width) {
                        printf("\n%*s", indent, "");
                        column = indent;
                } else if (column > indent) {
                        putchar(' ');
                        column++;
                }
                printf("%.*s", len, text);
                column += len;
                text += len + (text[len] == ' ');
        }
        putchar('\n');
}

static const char *argument_of(const struct ak_option *o)
{
        static const char *const names[] = {
            [AK_OPT_STRING] = "TEXT", [AK_OPT_BOOL] = "[BOOL]",       [AK_OPT_UINT] = "N",
            [AK_OPT_SIZE] = "SIZE",   [AK_OPT_DURATION] = "DURATION", [AK_OPT_ENUM] = "CHOICE",
            [AK_OPT_LIST] = "ITEM",
        };
        return names[o->type];
}

static void print_option(const struct ak_option *o)
{
        char environment[AK_OPTION_NAME_MAX], key[AK_OPTION_NAME_MAX];
        struct ak_fmt bounds = format_bounds(o);

        environment_name(o->name, environment);
        ak_option_yaml_key(o->name, key);
        if (o->type == AK_OPT_BOOL)
                printf("  --%s[=BOOL]\n      ", o->name);
        else
                printf("  --%s=%s\n      ", o->name, o->choices ? o->choices : argument_of(o));
        print_wrapped(o->help, 6, 78);
        printf("      [default: %s; %s%s%s; %s]\n", o->def && *o->def ? o->def : "none", bounds.s,
               bounds.s[0] ? "; " : "", environment, key);
}

static void print_help(const struct ak_program *p)
{
        printf("Usage: %s [OPTION]…%s%s\n", p->name, p->operands ? " " : "", p->operands ? p->operands : "");
        print_wrapped(p->summary, 0, 78);
        printf("\nOptions, each with its default, environment variable and configuration key:\n");
        for (size_t i = 0; i < p->option_count; i++)
                print_option(&p->options[i]);
        printf("  --config=FILE\n      YAML file with these settings; flags and environment override it\n"
               "      [default: none; ALKAID_CONFIG]\n"
               "  --check-config\n      check the settings, print \"ok\" and leave\n"
               "  --log-level=" LOG_LEVELS "\n      what to log, and everything above it\n"
               "      [default: info; ALKAID_LOG_LEVEL; logLevel]\n"
               "  --help, --version\n\n"
               "Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.\n");
}

/* ---- the command line ---- */

static void fill_long_options(const struct ak_program *p, struct option *out)
{
        static const struct option builtin[] = {
            {"config", required_argument, NULL, OPT_CONFIG},
            {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
            {"help", no_argument, NULL, OPT_HELP},
            {"version", no_argument, NULL, OPT_VERSION},
            {"check-config", no_argument, NULL, OPT_CHECK_CONFIG},
        };
        size_t n = 0;

        for (; n < p->option_count; n++)
                out[n] =
                    (struct option){p->options[n].name,
                                    p->options[n].type == AK_OPT_BOOL ? optional_argument : required_argument,
                                    NULL, OPT_TABLE + (int)n};
        memcpy(out + n, builtin, sizeof(builtin));
}

/* Built-in flags are looked at in a first pass (the file must be read before flags are applied). */
static int take_builtin(const struct ak_program *p, int code, struct builtins *b)
{
        switch (code) {
        case OPT_CONFIG:
                b->config = optarg;
                return 0;
        case OPT_LOG_LEVEL:
                b->log_level = optarg;
                return 0;
        case OPT_CHECK_CONFIG:
                b->check = true;
                return 0;
        case OPT_HELP:
                print_help(p);
                return AK_OPTIONS_DONE;
        case OPT_VERSION:
                printf("%s %s\n", p->name, ALKAID_VERSION);
                return AK_OPTIONS_DONE;
        default: /* getopt_long() has named the flag */
                fprintf(stderr, "Try '%s --help'.\n", p->name);
                return -EINVAL;
        }
}

/* One pass over argv: with `l` NULL only built-in flags count, else only the table's. */
static int scan(const struct ak_program *p, int argc, char **argv, struct builtins *b, struct loader *l)
{
        struct option long_options[MAX_OPTIONS + 6] = {0};
        int code, r = 0;

        fill_long_options(p, long_options);
        optind = 0;
        opterr = !l;
        while (r == 0 && (code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
                if (!l && code < OPT_TABLE)
                        r = take_builtin(p, code, b);
                if (l && code >= OPT_TABLE)
                        r = apply(l, &p->options[code - OPT_TABLE], optarg ? optarg : "true", FROM_FLAG,
                                  AK_FMT("--%s", p->options[code - OPT_TABLE].name));
        }
        if (r == 0 && optind < argc && !p->operands) {
                fprintf(stderr, "%s: unexpected argument \"%s\"\nTry '%s --help'.\n", p->name, argv[optind],
                        p->name);
                r = -EINVAL;
        }
        return r;
}

/* `level` holds where neither flag nor variable says anything. */
static int init_log(const struct ak_program *p, const struct builtins *b, enum ak_log_level level)
{
        const char *text = b->log_level ? b->log_level : getenv("ALKAID_LOG_LEVEL");
        const char *service = strrchr(p->name, '-');

        if (text && ak_log_level_parse(text, &level) < 0) {
                fprintf(stderr, "%s: log level \"%s\" is not valid; expected debug, info, warn or error\n",
                        p->name, text);
                return -EINVAL;
        }
        ak_log_init(service ? service + 1 : p->name, level);
        return 0;
}

static int load_all(struct loader *l, const struct builtins *b, int argc, char **argv)
{
        int r = apply_defaults(l);

        if (r == 0 && b->config) {
                l->path = b->config;
                r = apply_file(l);
        }
        if (r == 0)
                r = init_log(l->program, b, l->file_log_level);
        if (r == 0)
                r = apply_environment(l);
        if (r == 0)
                r = scan(l->program, argc, argv, NULL, l);
        return r < 0 ? -EINVAL : 0;
}

/* At a reload the log level that holds now holds until the settings are read. */
static int load(const struct ak_program *p, int argc, char **argv, void *config, bool reload)
{
        struct builtins b = {.config = getenv("ALKAID_CONFIG")};
        struct loader l = {.program = p, .config = config, .file_log_level = AK_LOG_INFO};
        int r;

        if (p->option_count > MAX_OPTIONS)
                return -EINVAL;
        r = scan(p, argc, argv, &b, NULL);
        if (r == 0 && !reload)
                r = init_log(p, &b, AK_LOG_INFO);
        if (r != 0)
                return r;
        r = load_all(&l, &b, argc, argv);
        if (r == 0 && b.check) {
                printf("%s: ok\n", b.config ? b.config : p->name);
                r = AK_OPTIONS_DONE;
        }
        if (r != 0)
                ak_options_deinit(p, config);
        return r;
}

int ak_options_load(const struct ak_program *p, int argc, char **argv, void *config, int *first_operand)
{
        int r = load(p, argc, argv, config, false);

        if (r == 0 && first_operand)
                *first_operand = optind;
        return r;
}

static bool same_text(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_list(const struct ak_strlist *a, const struct ak_strlist *b)
{
        if (a->count != b->count)
                return false;
        for (size_t i = 0; i < a->count; i++)
                if (strcmp(a->items[i], b->items[i]) != 0)
                        return false;
        return true;
}

static bool same_value(const struct ak_option *o, const void *a, const void *b)
{
        const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;

        switch (o->type) {
        case AK_OPT_STRING:
        case AK_OPT_ENUM:
                return same_text(*(char *const *)x, *(char *const *)y);
        case AK_OPT_BOOL:
                return *(const bool *)x == *(const bool *)y;
        case AK_OPT_LIST:
                return same_list((const void *)x, (const void *)y);
        default:
                return *(const uint64_t *)x == *(const uint64_t *)y;
        }
}

int ak_options_reload(const struct ak_program *p, int argc, char **argv, const void *config, size_t size,
                      void (*differs)(void *arg, const char *key), void *arg)
{
        AK_AUTOFREE void *fresh = calloc(1, size);
        int r = fresh ? load(p, argc, argv, fresh, true) : -ENOMEM;

        if (r != 0)
                return r;
        for (size_t i = 0; i < p->option_count; i++) {
                char key[AK_OPTION_NAME_MAX];

                ak_option_yaml_key(p->options[i].name, key);
                if (!same_value(&p->options[i], config, fresh))
                        differs(arg, key);
        }
        ak_options_deinit(p, fresh);
        return 0;
}

void ak_options_deinit(const struct ak_program *p, void *config)
{
        for (size_t i = 0; i < p->option_count; i++) {
                const struct ak_option *o = &p->options[i];
                void *target = (char *)config + o->offset;

                if (o->type == AK_OPT_LIST) {
                        list_clear(target);
                } else if (o->type == AK_OPT_STRING || o->type == AK_OPT_ENUM) {
                        free(*(char **)target);
                        *(char **)target = NULL;
                }
        }
}
