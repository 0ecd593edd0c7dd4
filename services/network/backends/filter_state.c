/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the ports' elements in the kernel. After a start it is read from there: a port's elements
 * are those that bear its mark, taken as words that libnftables understands again, whatever they mean.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "libcommon/cleanup.h"
#include "services/network/backends/filter_internal.h"

struct filter_port *filter_port_free(struct filter_port *p)
{
        if (p)
                free(p->elements);
        free(p);
        return NULL;
}

struct filter_rules *filter_rules_free(struct filter_rules *r)
{
        if (r)
                free(r->commands);
        free(r);
        return NULL;
}

void filter_state_deinit(struct filter_state *s)
{
        for (size_t i = 0; i < s->port_count; i++)
                filter_port_free(s->ports[i]);
        for (size_t i = 0; i < s->rules_count; i++)
                filter_rules_free(s->rules[i]);
        free(s->ports);
        free(s->rules);
        *s = (struct filter_state){.ingress = s->ingress};
}

static size_t port_index(const struct filter_state *s, const char *tap)
{
        size_t i = 0;

        while (i < s->port_count && strcmp(s->ports[i]->tap, tap) != 0)
                i++;
        return i;
}

struct filter_port *filter_state_port(const struct filter_state *s, const char *tap)
{
        size_t i = port_index(s, tap);

        return i < s->port_count ? s->ports[i] : NULL;
}

struct filter_rules *filter_state_rules(const struct filter_state *s, const char *hash)
{
        for (size_t i = 0; i < s->rules_count; i++)
                if (strcmp(s->rules[i]->hash, hash) == 0)
                        return s->rules[i];
        return NULL;
}

/* Room for one more pointer. */
static int grow(void **array, size_t count, size_t *capacity)
{
        if (count < *capacity)
                return 0;
        size_t more = *capacity ? 2 * *capacity : 64;
        void *bigger = reallocarray(*array, more, sizeof(void *));
        if (!bigger)
                return -ENOMEM;
        *array = bigger;
        *capacity = more;
        return 0;
}

int filter_state_put(struct filter_state *s, struct filter_port *p)
{
        size_t i = port_index(s, p->tap);

        if (i < s->port_count) {
                filter_port_free(s->ports[i]);
                s->ports[i] = p;
                return 0;
        }
        int r = grow((void **)&s->ports, s->port_count, &s->port_capacity);
        if (r == 0)
                s->ports[s->port_count++] = p;
        return r;
}

int filter_state_put_rules(struct filter_state *s, struct filter_rules *rules)
{
        int r = grow((void **)&s->rules, s->rules_count, &s->rules_capacity);

        if (r == 0)
                s->rules[s->rules_count++] = rules;
        return r;
}

void filter_state_drop(struct filter_state *s, const char *tap)
{
        size_t i = port_index(s, tap);

        if (i == s->port_count)
                return;
        filter_port_free(s->ports[i]);
        s->ports[i] = s->ports[--s->port_count];
}

void filter_state_drop_rules(struct filter_state *s, struct filter_rules *r)
{
        for (size_t i = 0; i < s->rules_count; i++)
                if (s->rules[i] == r) {
                        s->rules[i] = s->rules[--s->rules_count];
                        filter_rules_free(r);
                        return;
                }
}

static bool in_use(const struct filter_state *s, uint32_t number)
{
        for (size_t i = 0; i < s->port_count; i++)
                if (s->ports[i]->mark == number)
                        return true;
        for (size_t i = 0; i < s->rules_count; i++)
                if (s->rules[i]->id == number)
                        return true;
        return number == 0;
}

uint32_t filter_state_draw(const struct filter_state *s)
{
        uint32_t number;

        do
                if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
                        abort(); /* cannot be, for so few bytes: getrandom(2) */
        while (in_use(s, number));
        return number;
}

/* ------------------------------------------------------------------ from the kernel */

typedef json_t *list_fn(void *arg, const char *kind, const char *name);

/* [KEY, VALUE] of a map's element, {"concat": [KEY, …]} or KEY of a set's. */
static const json_t *key_of(const json_t *element)
{
        const json_t *concat = json_object_get(element, "concat");

        return json_is_array(concat)    ? json_array_get(concat, 0)
               : json_is_array(element) ? json_array_get(element, 0)
                                        : element;
}

static void print_word(FILE *f, const json_t *word, bool quoted)
{
        const char *quote = quoted ? "\"" : "";

        if (json_is_integer(word))
                fprintf(f, "0x%08x", (unsigned int)json_integer_value(word));
        else if (json_is_string(word))
                fprintf(f, "%s%s%s", quote, json_string_value(word), quote);
}

/* "SET KEY . REST" or "MAP KEY : VALUE". Names of links and of limits are quoted, addresses are not. */
static void print_element(FILE *f, const char *set, const json_t *element)
{
        const json_t *concat = json_object_get(element, "concat");

        fprintf(f, "%s ", set);
        print_word(f, key_of(element), true);
        for (size_t i = 1; i < json_array_size(concat); i++) {
                fputs(" . ", f);
                print_word(f, json_array_get(concat, i), false);
        }
        if (json_is_array(element)) {
                fputs(" : ", f);
                print_word(f, json_array_get(element, 1), true);
        }
        fputc('\n', f);
}

static int append(struct filter_port *p, const char *set, const json_t *element)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fputs(p->elements ? p->elements : "", f);
        print_element(f, set, element);
        if (fclose(f) != 0) {
                free(text);
                return -ENOMEM;
        }
        free(p->elements);
        p->elements = text;
        return 0;
}

/* Of { tap : mark }: a port. */
static int load_mark(struct filter_state *s, const json_t *element)
{
        const char *tap = json_string_value(key_of(element));
        struct filter_port *p = tap && strlen(tap) < IFNAMSIZ ? calloc(1, sizeof(*p)) : NULL;

        if (!p)
                return tap ? -ENOMEM : -EBADMSG;
        snprintf(p->tap, sizeof(p->tap), "%s", tap);
        p->ingress = s->ingress;
        p->mark = (uint32_t)json_integer_value(json_array_get(element, 1));
        int r = append(p, "marks", element);
        if (r == 0)
                r = filter_state_put(s, p);
        if (r < 0)
                filter_port_free(p);
        return r;
}

/* Of { id : goto o-HASH }: rules. */
static int load_rules(struct filter_state *s, const json_t *element)
{
        const char *chain =
            json_string_value(json_object_get(json_object_get(json_array_get(element, 1), "goto"), "target"));
        struct filter_rules *rules = chain ? calloc(1, sizeof(*rules)) : NULL;

        if (!rules)
                return chain ? -ENOMEM : -EBADMSG;
        snprintf(rules->hash, sizeof(rules->hash), "%.*s", FILTER_HASH_SIZE - 1,
                 chain + strcspn(chain, "-") + 1);
        rules->id = (uint32_t)json_integer_value(key_of(element));
        int r = filter_state_put_rules(s, rules);
        if (r < 0)
                filter_rules_free(rules);
        return r;
}

/* The port whose tap or mark the element begins with. */
static struct filter_port *owner_of(const struct filter_state *s, const json_t *element)
{
        const json_t *key = key_of(element);

        if (json_is_string(key))
                return filter_state_port(s, json_string_value(key));
        for (size_t i = 0; i < s->port_count; i++)
                if (s->ports[i]->mark == (uint32_t)json_integer_value(key))
                        return s->ports[i];
        return NULL;
}

static void note_element(struct filter_state *s, struct filter_port *p, const char *set,
                         const json_t *element)
{
        const json_t *value = json_array_get(element, 1);

        if (strcmp(set, "rulesets") == 0)
                for (size_t i = 0; i < s->rules_count; i++)
                        if (s->rules[i]->id == (uint32_t)json_integer_value(value)) {
                                p->rules = s->rules[i];
                                p->rules->refs++;
                        }
        if (strcmp(set, "caps") == 0 && json_is_string(value)) { /* l-MARK-KBPS */
                const char *dash = strrchr(json_string_value(value), '-');

                p->egress_kbps = dash ? (uint32_t)strtoul(dash + 1, NULL, 10) : 0;
        }
}

static int load_set(struct filter_state *s, list_fn *list, void *arg, const char *kind, const char *set)
{
        json_t *elements = list(arg, kind, set), *element;
        size_t i;
        int r = elements ? 0 : -EIO;

        json_array_foreach(elements, i, element)
        {
                if (r < 0)
                        break;
                if (strcmp(set, "marks") == 0) {
                        r = load_mark(s, element);
                } else if (strcmp(set, "rules_out") == 0) {
                        r = load_rules(s, element);
                } else {
                        struct filter_port *p = owner_of(s, element);

                        r = p ? append(p, set, element) : 0; /* a gateway's leg is no port's */
                        if (p)
                                note_element(s, p, set, element);
                }
        }
        json_decref(elements);
        return r;
}

int filter_state_load(struct filter_state *s, list_fn *list, void *arg)
{
        static const char *const sets[][2] = {
            {"map", "marks"},   {"map", "rules_out"}, {"set", "legs"},     {"set", "macs"},
            {"set", "plain4"},  {"set", "own4"},      {"set", "own6"},     {"set", "nd6"},
            {"set", "six"},     {"map", "caps"},      {"map", "rulesets"}, {"set", "restricted"},
            {"map", "guarded"},
        };
        int r = 0;

        for (size_t i = 0; r == 0 && i < AK_ARRAY_SIZE(sets); i++)
                r = load_set(s, list, arg, sets[i][0], sets[i][1]);
        return r;
}
