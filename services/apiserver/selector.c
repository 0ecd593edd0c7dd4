/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label and field selectors. Labels: a=b, a==b, a!=b, a in (b,c), a notin (b,c), a, !a; joined by commas.
 * Fields: the equality forms, over the paths that a kind offers, and beyond Kubernetes the two set forms: a
 * node follows the ports of its VPCs by one watch.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define REQUIREMENTS_MAX 64
#define SELECTOR_MAX     16384
#define DIGEST_GUESS     1024 /* bytes of most digests */

#define EVENT_FIELDS                                                                                         \
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",      \
            "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",       \
            "reason", "reportingComponent", "source", "type"

enum operator{ OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS };

struct requirement {
        char *key;
        enum operator op;
        json_t *values;   /* {"value": true} */
        const char *only; /* the value, where there is but one */
        bool field;       /* key is a path, else a label */
};

struct api_selector {
        const struct api_kind *kind;
        size_t count;
        struct requirement items[];
};

struct cursor {
        const char *at;
        bool fields, in_set;
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
        return strcspn(c->at, c->fields && !c->in_set ? ",=! \t" : ",=!() \t");
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
        c->in_set = true;
        do {
                add_value(q, c);
        } while (take(c, ","));
        c->in_set = false;
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
        } else if (take(c, "notin")) {
                q->op = OP_NOT_IN;
                return parse_set(q, c);
        } else if (take(c, "in")) {
                q->op = OP_IN;
                return parse_set(q, c);
        } else if (c->fields) {
                return wrong(c, "expected =, ==, !=, in or notin");
        }
        return 0;
}

static const char *const *field_labels(const struct api_kind *kind)
{
        static const char *const pod[] = {"spec.nodeName", "spec.restartPolicy", "spec.vpc",
                                          "status.phase",  "status.podIP",       NULL};
        static const char *const port[] = {"spec.nodeName", "spec.vpc",     "spec.subnet", "spec.boundTo.uid",
                                           "status.vpcID",  "status.phase", NULL};
        static const char *const subnet[] = {"spec.vpc", NULL};
        static const char *const node[] = {"spec.unschedulable", NULL};
        static const char *const ns[] = {"status.phase", NULL};
        static const char *const event[] = {EVENT_FIELDS, NULL};
        static const char *const none[] = {NULL};

        return kind == &api_kind_pod         ? pod
               : kind == &api_kind_port      ? port
               : kind == &api_kind_subnet    ? subnet
               : kind == &api_kind_node      ? node
               : kind == &api_kind_namespace ? ns
               : kind == &api_kind_event     ? event
                                             : none;
}

/* What an image's digest holds: the above, and what the core's own sweeps look at. */
static const char *const *digest_fields(const struct api_kind *kind)
{
        static const char *const event[] = {EVENT_FIELDS, "lastTimestamp", "metadata.creationTimestamp",
                                            NULL};

        return kind == &api_kind_event ? event : field_labels(kind);
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

/* Thousands of watches have one each. */
static struct api_selector *shrink(struct api_selector *s)
{
        struct api_selector *less = realloc(s, sizeof(*s) + s->count * sizeof(s->items[0]));

        return less ? less : s;
}

int api_selector_new(struct api_selector **out, const struct api_kind *kind, const char *labels,
                     const char *fields, char error[256])
{
        AK_CLEANUP(api_selector_freep)
        struct api_selector *s = calloc(1, sizeof(*s) + REQUIREMENTS_MAX * sizeof(s->items[0]));
        struct cursor l = {.at = labels ? labels : "", .error = error};
        struct cursor f = {.at = fields ? fields : "", .fields = true, .error = error};
        int r;

        if (!s)
                return -ENOMEM;
        if (strlen(l.at) > SELECTOR_MAX || strlen(f.at) > SELECTOR_MAX) {
                (void)snprintf(error, 256, "selector is longer than %d bytes", SELECTOR_MAX);
                return -EINVAL;
        }
        s->kind = kind;
        r = parse(s, kind, &l);
        if (r == 0)
                r = parse(s, kind, &f);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s->count; i++) {
                if (json_object_size(s->items[i].values) == 1)
                        s->items[i].only = json_object_iter_key(json_object_iter(s->items[i].values));
        }
        *out = shrink(AK_STEAL(s));
        return 0;
}

/* ---- what is looked at ---- */

static const char *field_text(const json_t *object, const char *path)
{
        const json_t *value = api_at(object, path);

        if (json_is_boolean(value))
                return json_is_true(value) ? "true" : "false";
        if (!value && strcmp(path, "spec.unschedulable") == 0)
                return "false";
        return api_text(object, strcmp(path, "source") == 0 ? "source.component" : path);
}

/* A digest: the values of the kind's field labels, then pairs of label and value, then "". */
struct digest {
        char *at;
        size_t room, len; /* len may become more than there is room */
};

static void add_word(struct digest *d, const char *word)
{
        size_t size = strlen(word) + 1;

        if (d->len + size <= d->room)
                memcpy(d->at + d->len, word, size);
        d->len += size;
}

static size_t make_digest(const struct api_kind *kind, const json_t *object, char *out, size_t room)
{
        struct digest d = {.at = out, .room = room};
        const char *key;
        json_t *value;

        for (const char *const *f = digest_fields(kind); *f; f++)
                add_word(&d, field_text(object, *f));
        json_object_foreach(api_at(object, "metadata.labels"), key, value)
        {
                if (!*key || !json_is_string(value))
                        continue;
                add_word(&d, key);
                add_word(&d, json_string_value(value));
        }
        add_word(&d, "");
        return d.len;
}

struct api_image *api_image_of(const struct api_kind *kind, json_t *object, uint64_t resource_version)
{
        char most[DIGEST_GUESS];
        size_t len = make_digest(kind, object, most, sizeof(most));
        AK_AUTOFREE char *large = len > sizeof(most) ? malloc(len) : NULL;

        if (len > sizeof(most) && !large)
                return NULL;
        if (large)
                (void)make_digest(kind, object, large, len);
        return api_image_new(object, resource_version, large ? large : most, len);
}

static const char *next_word(const char *word)
{
        return word + strlen(word) + 1;
}

const char *api_image_field(const struct api_kind *kind, const struct api_image *image, const char *path)
{
        const char *word = image->digest;

        if (strcmp(path, "metadata.name") == 0)
                return image->name;
        if (strcmp(path, "metadata.namespace") == 0)
                return image->name_space;
        for (const char *const *f = digest_fields(kind); *f; f++, word = next_word(word)) {
                if (strcmp(*f, path) == 0)
                        return word;
        }
        return "";
}

static const char *image_label(const struct api_kind *kind, const struct api_image *image, const char *key)
{
        const char *word = image->digest;

        for (const char *const *f = digest_fields(kind); *f; f++)
                word = next_word(word);
        for (; *word; word = next_word(next_word(word))) {
                if (strcmp(word, key) == 0)
                        return next_word(word);
        }
        return NULL;
}

/* ---- what is asked of it ---- */

static bool listed(const struct requirement *q, const char *value)
{
        return q->only ? strcmp(q->only, value) == 0 : json_object_get(q->values, value) != NULL;
}

/* NULL: the label is not there. */
static bool satisfied(const struct requirement *q, const char *value)
{
        if (!value)
                return q->op == OP_NOT_IN || q->op == OP_NOT_EXISTS;
        switch (q->op) {
        case OP_IN:
                return listed(q, value);
        case OP_NOT_IN:
                return !listed(q, value);
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

                if (r->field && r->op == OP_IN && r->only && strcmp(r->key, path) == 0)
                        return r->only;
        }
        return NULL;
}

const struct api_kind *api_selector_kind(const struct api_selector *s)
{
        return s->kind;
}

const json_t *api_selector_values(const struct api_selector *s, const char *path)
{
        for (size_t i = 0; s && i < s->count; i++) {
                const struct requirement *r = &s->items[i];

                if (r->field && r->op == OP_IN && strcmp(r->key, path) == 0)
                        return r->values;
        }
        return NULL;
}

static const char *value_in(const struct requirement *q, const json_t *object)
{
        return q->field ? field_text(object, q->key)
                        : json_string_value(json_object_get(api_at(object, "metadata.labels"), q->key));
}

bool api_selector_matches(const struct api_selector *s, const json_t *object)
{
        for (size_t i = 0; s && i < s->count; i++)
                if (!satisfied(&s->items[i], value_in(&s->items[i], object)))
                        return false;
        return true;
}

bool api_selector_matches_image(const struct api_selector *s, const struct api_image *image)
{
        for (size_t i = 0; s && i < s->count; i++) {
                const struct requirement *q = &s->items[i];
                const char *value =
                    q->field ? api_image_field(s->kind, image, q->key) : image_label(s->kind, image, q->key);

                if (!satisfied(q, value))
                        return false;
        }
        return true;
}
