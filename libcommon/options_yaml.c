/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: a flat YAML mapping whose schema is made at run time from the option table and
 * given to libcyaml, which refuses unknown keys and wrong kinds. Scalars stay text here, so that a flag, a
 * variable and a key go through the same parser.
 *
 * libcyaml names the mapping, not the offending key, when it says where; so the positions of the keys are
 * read with libyaml beside it, in a first pass that also refuses what has not the shape of a configuration.
 */
#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "libcommon/cleanup.h"
#include "libcommon/options_internal.h"

#define FILE_MAX (1024 * 1024)

struct position {
        char key[AK_OPTION_NAME_MAX];
        size_t line, column;
        bool list; /* the value is one */
};

struct positions {
        struct position items[256];
        size_t count;
};

struct log_text {
        char first[256];
};

void ak_option_yaml_key(const char *name, char out[AK_OPTION_NAME_MAX])
{
        size_t n = 0;
        bool upper = false;

        for (; *name && n + 1 < AK_OPTION_NAME_MAX; name++) {
                if (*name == '-') {
                        upper = true;
                        continue;
                }
                out[n++] = (char)(upper && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
                upper = false;
        }
        out[n] = '\0';
}

static int read_file(const char *path, char **out, size_t *out_len)
{
        AK_AUTOFREE char *data = malloc(FILE_MAX + 1);
        FILE *f = fopen(path, "re");
        size_t n;

        if (!f || !data) {
                int r = -errno;
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                if (f)
                        (void)fclose(f);
                return r;
        }
        n = fread(data, 1, FILE_MAX + 1, f);
        bool failed = ferror(f);
        (void)fclose(f);
        if (failed || n > FILE_MAX) {
                fprintf(stderr, "%s: %s\n", path, failed ? "cannot be read" : "longer than 1 MiB");
                return -EINVAL;
        }
        *out = AK_STEAL(data);
        *out_len = n;
        return 0;
}

/* The state of one pass over the events of a file. */
struct walk {
        int depth;
        size_t documents;
        bool in_value; /* of the last key noted */
};

static void print_syntax_error(const char *path, const yaml_parser_t *parser)
{
        fprintf(stderr, "%s:%zu:%zu: not YAML: %s%s%s\n", path, parser->problem_mark.line + 1,
                parser->problem_mark.column + 1, parser->context ? parser->context : "",
                parser->context ? ", " : "", parser->problem ? parser->problem : "unknown error");
}

/* What a configuration may not be; NULL when the event is fine. */
static const char *refuse_event(const yaml_event_t *event, const struct walk *w, const struct positions *p)
{
        bool as_key = w->depth == 1 && !w->in_value;

        switch (event->type) {
        case YAML_DOCUMENT_START_EVENT:
                return w->documents > 0 ? "a second document; a configuration is one" : NULL;
        case YAML_ALIAS_EVENT:
                return "an alias; write the value out";
        case YAML_SEQUENCE_START_EVENT:
                if (w->depth > 1)
                        return "a list in a list; items are plain values";
                return as_key          ? "a list where a key is expected"
                       : w->depth == 0 ? "a configuration is a mapping of \"key: value\" lines"
                                       : NULL;
        case YAML_MAPPING_START_EVENT:
                return w->depth > 0 ? "a mapping where a key, a value or a list is expected" : NULL;
        case YAML_SCALAR_EVENT:
                if (as_key && p->count == AK_ARRAY_SIZE(p->items))
                        return "too many keys";
                return w->depth == 0 ? "a configuration is a mapping of \"key: value\" lines" : NULL;
        default:
                return NULL;
        }
}

static void note_key(struct positions *p, const yaml_event_t *event)
{
        struct position *item = &p->items[p->count++];

        (void)snprintf(item->key, sizeof(item->key), "%s", (const char *)event->data.scalar.value);
        item->line = event->start_mark.line + 1;
        item->column = event->start_mark.column + 1;
}

static void take_event(const yaml_event_t *event, struct walk *w, struct positions *p)
{
        bool list_ends = event->type == YAML_SEQUENCE_END_EVENT;

        w->documents += event->type == YAML_DOCUMENT_START_EVENT;
        if (w->depth == 1 && w->in_value && p->count > 0)
                p->items[p->count - 1].list = event->type == YAML_SEQUENCE_START_EVENT;
        if (w->depth == 1 && event->type == YAML_SCALAR_EVENT) {
                if (!w->in_value)
                        note_key(p, event);
                w->in_value = !w->in_value;
        }
        w->depth += event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
        w->depth -= event->type == YAML_MAPPING_END_EVENT || list_ends;
        if (list_ends && w->depth == 1)
                w->in_value = false;
}

/* Where the keys of the outermost mapping stand, and whether the file has the shape of a configuration. */
static int find_keys(const char *path, const char *data, size_t len, struct positions *p)
{
        struct walk w = {0};
        yaml_parser_t parser;
        bool end = false;
        int r = 0;

        if (!yaml_parser_initialize(&parser))
                return -ENOMEM;
        yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
        while (!end && r == 0) {
                yaml_event_t event;

                if (!yaml_parser_parse(&parser, &event)) {
                        print_syntax_error(path, &parser);
                        r = -EINVAL;
                        break;
                }
                const char *wrong = refuse_event(&event, &w, p);
                if (wrong) {
                        fprintf(stderr, "%s:%zu:%zu: %s\n", path, event.start_mark.line + 1,
                                event.start_mark.column + 1, wrong);
                        r = -EINVAL;
                } else {
                        take_event(&event, &w, p);
                }
                end = event.type == YAML_STREAM_END_EVENT;
                yaml_event_delete(&event);
        }
        yaml_parser_delete(&parser);
        return r;
}

static const struct position *position_of(const struct positions *p, const char *key)
{
        for (size_t i = 0; i < p->count; i++)
                if (strcmp(p->items[i].key, key) == 0)
                        return &p->items[i];
        return NULL;
}

static const struct ak_option *option_of(const struct ak_option *options, size_t count, const char *key)
{
        char name[AK_OPTION_NAME_MAX];

        for (size_t i = 0; i < count; i++) {
                ak_option_yaml_key(options[i].name, name);
                if (strcmp(name, key) == 0)
                        return &options[i];
        }
        return NULL;
}

static const char *refuse_key(const struct ak_option *o, const struct positions *p, const struct position *at)
{
        if (!o)
                return "unknown key; see --help for the keys";
        if (position_of(p, at->key) != at)
                return "given twice; keep one";
        if (at->list != (o->type == AK_OPT_LIST))
                return at->list ? "a list; give one value" : "one value; give a list: [a, b]";
        return NULL;
}

static int check_keys(const char *path, const struct ak_option *options, size_t count,
                      const struct positions *p)
{
        for (size_t i = 0; i < p->count; i++) {
                const struct position *at = &p->items[i];
                const char *wrong = refuse_key(option_of(options, count, at->key), p, at);

                if (wrong) {
                        fprintf(stderr, "%s:%zu:%zu: \"%s\": %s\n", path, at->line, at->column, at->key,
                                wrong);
                        return -EINVAL;
                }
        }
        return 0;
}

/* libcyaml's log: keep the first line of a complaint, it says what; the rest is its own backtrace. */
static AK_PRINTF(3, 0) void keep_log(cyaml_log_t level, void *arg, const char *format, va_list args)
{
        struct log_text *t = arg;
        char line[256];

        if (level < CYAML_LOG_ERROR)
                return;
        (void)vsnprintf(line, sizeof(line), format, args);
        line[strcspn(line, "\n")] = '\0';
        if (!t->first[0] && !strstr(line, "Backtrace"))
                (void)snprintf(t->first, sizeof(t->first), "%s",
                               line + (strncmp(line, "Load: ", 6) == 0 ? 6 : 0));
        const char *where = strstr(line, "(line: ");
        size_t used = strlen(t->first);
        if (where && !strstr(t->first, "(line: ") && used + 2 < sizeof(t->first))
                (void)snprintf(t->first + used, sizeof(t->first) - used, " %s", where);
}

/* Values as libcyaml fills them: per option a string, or a string array and its count. */
struct slot {
        char *text;
        char **items;
        uint32_t item_count;
};

static const cyaml_schema_value_t text_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, AK_OPTION_VALUE_MAX)};

static void fill_field(cyaml_schema_field_t *f, const char *key, const struct ak_option *o, size_t i)
{
        size_t base = i * sizeof(struct slot);

        *f = (cyaml_schema_field_t){.key = key};
        if (o->type == AK_OPT_LIST) {
                f->value = (cyaml_schema_value_t){
                    .type = CYAML_SEQUENCE,
                    .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                    .data_size = sizeof(char *),
                    .sequence = {.min = 0, .max = AK_OPTION_ITEMS_MAX, .entry = &text_entry}};
                f->data_offset = (uint32_t)(base + offsetof(struct slot, items));
                f->count_offset = (uint32_t)(base + offsetof(struct slot, item_count));
                f->count_size = sizeof(uint32_t);
        } else {
                f->value = (cyaml_schema_value_t){.type = CYAML_STRING,
                                                  .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                                                  .data_size = sizeof(char),
                                                  .string = {.min = 0, .max = AK_OPTION_VALUE_MAX}};
                f->data_offset = (uint32_t)(base + offsetof(struct slot, text));
        }
}

static int emit_slots(const struct slot *slots, const struct ak_option *options, size_t count,
                      const struct positions *p, int (*sink)(void *, const struct ak_yaml_value *), void *arg)
{
        for (size_t i = 0; i < count; i++) {
                char key[AK_OPTION_NAME_MAX];
                struct ak_yaml_value v = {.option = &options[i]};
                int r = 0;

                ak_option_yaml_key(options[i].name, key);
                const struct position *at = position_of(p, key);
                v.line = at ? at->line : 1;
                v.column = at ? at->column : 1;
                v.text = slots[i].text;
                if (v.text || (at && at->list && slots[i].item_count == 0))
                        r = sink(arg, &v);
                for (uint32_t k = 0; r >= 0 && k < slots[i].item_count; k++) {
                        v.text = slots[i].items[k];
                        r = sink(arg, &v);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static int load(const char *path, const char *data, size_t len, const struct ak_option *options, size_t count,
                const struct positions *p, int (*sink)(void *, const struct ak_yaml_value *), void *arg)
{
        AK_AUTOFREE cyaml_schema_field_t *fields = calloc(count + 1, sizeof(*fields));
        AK_AUTOFREE char(*keys)[AK_OPTION_NAME_MAX] = calloc(count + 1, sizeof(*keys));
        struct log_text log = {0};
        struct slot *slots = NULL;
        cyaml_err_t e;
        int r;

        if (!fields || !keys)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                ak_option_yaml_key(options[i].name, keys[i]);
                fill_field(&fields[i], keys[i], &options[i], i);
        }
        const cyaml_schema_value_t top = {.type = CYAML_MAPPING,
                                          .flags = CYAML_FLAG_POINTER,
                                          .data_size = (uint32_t)(count * sizeof(struct slot)),
                                          .mapping = {.fields = fields}};
        const cyaml_config_t config = {.log_fn = keep_log,
                                       .log_ctx = &log,
                                       .mem_fn = cyaml_mem,
                                       .log_level = CYAML_LOG_ERROR,
                                       .flags = CYAML_CFG_NO_ALIAS};
        e = cyaml_load_data((const uint8_t *)data, len, &config, &top, (cyaml_data_t **)&slots, NULL);
        if (e != CYAML_OK) {
                fprintf(stderr, "%s: %s: %s\n", path, cyaml_strerror(e), log.first);
                return -EINVAL;
        }
        r = !slots ? 0 : emit_slots(slots, options, count, p, sink, arg);
        (void)cyaml_free(&config, &top, slots, 0);
        return r;
}

/* A file of comments and blanks only is an empty configuration; libcyaml calls it an error. */
static bool is_blank(const char *data, size_t len)
{
        bool comment = false;

        for (size_t i = 0; i < len; i++) {
                if (data[i] == '\n')
                        comment = false;
                else if (data[i] == '#')
                        comment = true;
                else if (!comment && !strchr(" \t\r", data[i]))
                        return false;
        }
        return true;
}

int ak_options_yaml_text(const char *name, const char *data, size_t len, const struct ak_option *options,
                         size_t count, int (*sink)(void *, const struct ak_yaml_value *), void *arg)
{
        AK_AUTOFREE struct positions *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        if (is_blank(data, len))
                return 0;
        r = find_keys(name, data, len, p);
        if (r == 0)
                r = check_keys(name, options, count, p);
        return r < 0 ? r : load(name, data, len, options, count, p, sink, arg);
}

int ak_options_yaml(const char *path, const struct ak_option *options, size_t count,
                    int (*sink)(void *, const struct ak_yaml_value *), void *arg)
{
        AK_AUTOFREE char *data = NULL;
        size_t len = 0;
        int r = read_file(path, &data, &len);

        return r < 0 ? r : ak_options_yaml_text(path, data, len, options, count, sink, arg);
}
