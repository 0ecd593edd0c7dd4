/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label and field selectors. Labels: a=b, a==b, a!=b, a in (b,c), a notin (b,c), a, !a; joined by commas.
 * Fields: the equality forms, over the paths that a kind offers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define REQUIREMENTS_MAX 64
#define SELECTOR_MAX     8192

enum operator{ OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS };

struct requirement {
        char *key;
        enum operator op;
        json_t *values; /* {"value": true} */
        bool field;     /* key is a path, else a label */
};

struct api_selector {
        struct requirement items[REQUIREMENTS_MAX];
        size_t count;
};

struct cursor {
        const char *at;
        bool fields;
        char *error;
};

struct api_selector *api_selector_free(struct api_selector *s)
{
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->count; i++) {
                free(s->items[i].key);
                json_decref(s->items[i].values);
        }
        free(s);
        return NULL;
}

static int wrong(struct cursor *c, const char *what)
{
        (void)snprintf(c->error, 256, "unable to parse %s selector at \"%.100s\": %s",
                       c->fields ? "field" : "label", c->at, what);
        return -EINVAL;
}

static void skip_blanks(struct cursor *c)
{
        c->at += strspn(c->at, " \t");
}

/* A run of characters that is neither blank nor an operator's. */
static size_t word(struct cursor *c)
{
        skip_blanks(c);
        return strcspn(c->at, c->fields ? ",=! \t" : ",=!() \t");
}

static bool take(struct cursor *c, const char *token)
{
        size_t len = strlen(token);

        skip_blanks(c);
        if (strncmp(c->at, token, len) != 0)
                return false;
        /* "in" and "notin" are words: "inside" is a label. */
        if (token[0] >= 'a' && c->at[len] != ' ' && c->at[len] != '(' && c->at[len] != '\t')
                return false;
        c->at += len;
        return true;
}

static void add_value(struct requirement *q, struct cursor *c)
{
        size_t len = word(c);

        (void)json_object_setn_new(q->values, c->at, len, json_true());
        c->at += len;
}

static int parse_set(struct requirement *q, struct cursor *c)
{
        if (!take(c, "("))
                return wrong(c, "expected (");
        do {
                add_value(q, c);
        } while (take(c, ","));
        return take(c, ")") ? 0 : wrong(c, "expected )");
}

/* What a label may not be cannot be selected by: a typing mistake is told instead of matching nothing. */
static int check_words(const struct requirement *q, struct cursor *c)
{
        const char *expected = c->fields ? NULL : api_check_label_key(q->key), *value;
        json_t *unused;

        json_object_foreach(q->values, value, unused)
        {
                if (!expected && !c->fields)
                        expected = api_check_label_value(value);
        }
        return expected ? wrong(c, expected) : 0;
}

static int parse_one(struct requirement *q, struct cursor *c)
{
        bool negated = !c->fields && take(c, "!");
        size_t len = word(c);

        if (len == 0)
                return wrong(c, "expected a key");
        q->field = c->fields;
        q->key = strndup(c->at, len);
        q->values = json_object();
        if (!q->key || !q->values)
                return -ENOMEM;
        c->at += len;
        q->op = negated ? OP_NOT_EXISTS : OP_EXISTS;
        if (negated)
                return 0;
        if (take(c, "!=")) {
                q->op = OP_NOT_IN;
                add_value(q, c);
        } else if (take(c, "==") || take(c, "=")) {
                q->op = OP_IN;
                add_value(q, c);
        } else if (c->fields) {
                return wrong(c, "expected =, == or !=");
        } else if (take(c, "notin")) {
                q->op = OP_NOT_IN;
                return parse_set(q, c);
        } else if (take(c, "in")) {
                q->op = OP_IN;
                return parse_set(q, c);
        }
        return 0;
}

static const char *const *field_labels(const struct api_kind *kind)
{
        static const char *const pod[] = {"spec.nodeName", "spec.restartPolicy", "spec.vpc",
                                          "status.phase",  "status.podIP",       NULL};
        static const char *const port[] = {"spec.nodeName",    "spec.vpc",     "spec.subnet",
                                           "spec.boundTo.uid", "status.phase", NULL};
        static const char *const subnet[] = {"spec.vpc", NULL};
        static const char *const node[] = {"spec.unschedulable", NULL};
        static const char *const ns[] = {"status.phase", NULL};
        static const char *const event[] = {"involvedObject.kind",
                                            "involvedObject.namespace",
                                            "involvedObject.name",
                                            "involvedObject.uid",
                                            "involvedObject.apiVersion",
                                            "involvedObject.resourceVersion",
                                            "involvedObject.fieldPath",
                                            "reason",
                                            "reportingComponent",
                                            "source",
                                            "type",
                                            NULL};
        static const char *const none[] = {NULL};

        return kind == &api_kind_pod         ? pod
               : kind == &api_kind_port      ? port
               : kind == &api_kind_subnet    ? subnet
               : kind == &api_kind_node      ? node
               : kind == &api_kind_namespace ? ns
               : kind == &api_kind_event     ? event
                                             : none;
}

static int check_field(const struct api_kind *kind, const char *key, char error[256])
{
        if (strcmp(key, "metadata.name") == 0 || strcmp(key, "metadata.namespace") == 0)
                return 0;
        for (const char *const *l = field_labels(kind); *l; l++)
                if (strcmp(*l, key) == 0)
                        return 0;
        (void)snprintf(error, 256, "field label not supported: %.100s", key);
        return -EINVAL;
}

static int parse(struct api_selector *s, const struct api_kind *kind, struct cursor *c)
{
        skip_blanks(c);
        while (*c->at) {
                int r;

                if (s->count == REQUIREMENTS_MAX)
                        return wrong(c, "too many requirements");
                r = parse_one(&s->items[s->count++], c);
                if (r == 0)
                        r = check_words(&s->items[s->count - 1], c);
                if (r == 0 && c->fields)
                        r = check_field(kind, s->items[s->count - 1].key, c->error);
                if (r < 0)
                        return r;
                skip_blanks(c);
                if (*c->at && !take(c, ","))
                        return wrong(c, "expected ,");
                skip_blanks(c);
        }
        return 0;
}

int api_selector_new(struct api_selector **out, const struct api_kind *kind, const char *labels,
                     const char *fields, char error[256])
{
        AK_CLEANUP(api_selector_freep) struct api_selector *s = calloc(1, sizeof(*s));
        struct cursor l = {.at = labels ? labels : "", .error = error};
        struct cursor f = {.at = fields ? fields : "", .fields = true, .error = error};
        int r;

        if (!s)
                return -ENOMEM;
        if (strlen(l.at) > SELECTOR_MAX || strlen(f.at) > SELECTOR_MAX) {
                (void)snprintf(error, 256, "selector is longer than %d bytes", SELECTOR_MAX);
                return -EINVAL;
        }
        r = parse(s, kind, &l);
        if (r == 0)
                r = parse(s, kind, &f);
        if (r < 0)
                return r;
        *out = AK_STEAL(s);
        return 0;
}

static const char *field_text(const json_t *object, const char *path)
{
        const json_t *value = api_at(object, path);

        if (json_is_boolean(value))
                return json_is_true(value) ? "true" : "false";
        if (!value && strcmp(path, "spec.unschedulable") == 0)
                return "false";
        return api_text(object, strcmp(path, "source") == 0 ? "source.component" : path);
}

static bool satisfied(const struct requirement *q, const json_t *object)
{
        const char *value;

        if (q->field) {
                value = field_text(object, q->key);
        } else {
                value = json_string_value(json_object_get(api_at(object, "metadata.labels"), q->key));
                if (!value)
                        return q->op == OP_NOT_IN || q->op == OP_NOT_EXISTS;
        }
        switch (q->op) {
        case OP_IN:
                return json_object_get(q->values, value) != NULL;
        case OP_NOT_IN:
                return json_object_get(q->values, value) == NULL;
        case OP_EXISTS:
                return true;
        default:
                return false;
        }
}

const char *api_selector_value(const struct api_selector *s, const char *path)
{
        for (size_t i = 0; s && i < s->count; i++) {
                const struct requirement *r = &s->items[i];

                if (r->field && r->op == OP_IN && strcmp(r->key, path) == 0 &&
                    json_object_size(r->values) == 1)
                        return json_object_iter_key(json_object_iter(r->values));
        }
        return NULL;
}

bool api_selector_matches(const struct api_selector *s, const json_t *object)
{
        for (size_t i = 0; s && i < s->count; i++)
                if (!satisfied(&s->items[i], object))
                        return false;
        return true;
}
