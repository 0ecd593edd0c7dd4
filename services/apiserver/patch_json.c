/* SPDX-License-Identifier: Apache-2.0 */
/* JSON merge patch (RFC 7396) and JSON patch (RFC 6902) over JSON pointers (RFC 6901). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "services/apiserver/core_internal.h"

#define OPERATIONS_MAX 10000 /* as kube-apiserver */
#define TOKEN_SIZE     512
#define MERGE_DEPTH    64
/*
 * What a patch may make of a document: a copy can double it, so what is copied is counted; a value may not be
 * nested deeper than this, nor a path, so that the result can be walked by recursion.
 */
#define COPY_MAX  (3 * 1024 * 1024)
#define DEPTH_MAX 256

struct json_patch {
        json_t *root;
        size_t copied; /* roughly bytes */
};

static json_t *merge(const json_t *original, const json_t *patch, int depth)
{
        json_t *result, *value;
        const char *key;

        if (!json_is_object(patch) || depth > MERGE_DEPTH)
                return json_incref((json_t *)patch);
        result = json_is_object(original) ? json_copy((json_t *)original) : json_object();
        json_object_foreach((json_t *)patch, key, value)
        {
                if (json_is_null(value))
                        (void)json_object_del(result, key);
                else
                        (void)json_object_set_new(result, key,
                                                  merge(json_object_get(result, key), value, depth + 1));
        }
        return result;
}

json_t *api_patch_merge(const json_t *original, const json_t *patch)
{
        return merge(original, patch, 0);
}

/* ---- JSON patch ---- */

/* Next token of a pointer, unescaped. 1 = got one, 0 = end, -EINVAL. */
static int next_token(const char **pointer, char token[TOKEN_SIZE])
{
        const char *p = *pointer;
        size_t n = 0;

        if (!*p)
                return 0;
        if (*p != '/')
                return -EINVAL;
        for (p++; *p && *p != '/'; p++) {
                char c = *p;
                if (c == '~') {
                        p++;
                        if (*p != '0' && *p != '1')
                                return -EINVAL;
                        c = *p == '0' ? '~' : '/';
                }
                if (n + 1 == TOKEN_SIZE)
                        return -EINVAL;
                token[n++] = c;
        }
        token[n] = '\0';
        *pointer = p;
        return 1;
}

/* "0", "12" without leading zeros; `end` allows "-" and size itself. -ENOENT otherwise. */
static ssize_t array_index(const json_t *array, const char *token, bool end)
{
        size_t size = json_array_size(array), n;

        if (end && strcmp(token, "-") == 0)
                return (ssize_t)size;
        if (!isdigit((unsigned char)token[0]) || (token[0] == '0' && token[1]) || strlen(token) > 9 ||
            strspn(token, "0123456789") != strlen(token))
                return -ENOENT;
        n = strtoul(token, NULL, 10);
        return n < size || (end && n == size) ? (ssize_t)n : -ENOENT;
}

static json_t *child(const json_t *parent, const char *token)
{
        ssize_t i;

        if (json_is_object(parent))
                return json_object_get(parent, token);
        if (!json_is_array(parent))
                return NULL;
        i = array_index(parent, token, false);
        return i < 0 ? NULL : json_array_get(parent, (size_t)i);
}

static json_t *lookup(json_t *root, const char *pointer)
{
        char token[TOKEN_SIZE];
        int r;

        while ((r = next_token(&pointer, token)) == 1 && root)
                root = child(root, token);
        return r < 0 ? NULL : root;
}

/* The container that holds the last token of the pointer; NULL when there is none. */
static json_t *parent_of(json_t *root, const char *pointer, char last[TOKEN_SIZE])
{
        char token[TOKEN_SIZE];
        json_t *parent = NULL;

        while (root && next_token(&pointer, token) == 1) {
                parent = root;
                (void)snprintf(last, TOKEN_SIZE, "%s", token);
                if (!*pointer)
                        return parent;
                root = child(root, token);
        }
        return NULL;
}

/* Adds the rough size of the value to *size; false where it is nested too deep or too large. */
static bool weigh(const json_t *value, int depth, size_t *size)
{
        const char *key;
        json_t *item;
        size_t i;

        *size += 16 + (json_is_string(value) ? json_string_length(value) : 0);
        if (depth > DEPTH_MAX || *size > COPY_MAX)
                return false;
        json_object_foreach((json_t *)value, key, item)
        {
                *size += strlen(key);
                if (!weigh(item, depth + 1, size))
                        return false;
        }
        json_array_foreach((json_t *)value, i, item)
        {
                if (!weigh(item, depth + 1, size))
                        return false;
        }
        return true;
}

static bool path_too_deep(const char *path)
{
        size_t tokens = 0;

        for (; *path; path++)
                tokens += *path == '/';
        return tokens > DEPTH_MAX;
}

static const char *put(json_t **root, const char *pointer, json_t *value, bool replace)
{
        char last[TOKEN_SIZE];
        json_t *parent;
        ssize_t i;

        if (!*pointer) {
                json_incref(value);
                json_decref(*root);
                *root = value;
                return NULL;
        }
        parent = parent_of(*root, pointer, last);
        if (!parent || (replace && !child(parent, last)))
                return "path does not exist";
        if (json_is_object(parent))
                return json_object_set(parent, last, value) < 0 ? "out of memory" : NULL;
        if (!json_is_array(parent))
                return "path does not exist";
        i = array_index(parent, last, !replace);
        if (i < 0)
                return "index out of bounds";
        if (replace ? json_array_set(parent, (size_t)i, value) : json_array_insert(parent, (size_t)i, value))
                return "out of memory";
        return NULL;
}

static const char *take(json_t *root, const char *pointer)
{
        char last[TOKEN_SIZE];
        json_t *parent = parent_of(root, pointer, last);
        ssize_t i;

        if (!parent || !child(parent, last))
                return "path does not exist";
        if (json_is_object(parent))
                return json_object_del(parent, last) < 0 ? "path does not exist" : NULL;
        i = array_index(parent, last, false);
        return i < 0 || json_array_remove(parent, (size_t)i) < 0 ? "index out of bounds" : NULL;
}

static const char *move_or_copy(struct json_patch *p, const char *from, const char *path, bool move)
{
        json_t *value;
        const char *wrong;

        if (!from)
                return "from is missing";
        /* RFC 6902, 4.4: a location cannot be moved into one of its children. */
        if (move && strncmp(path, from, strlen(from)) == 0 && path[strlen(from)] == '/')
                return "a value cannot be moved into itself";
        value = lookup(p->root, from);
        if (!value)
                return "from does not exist";
        if (!weigh(value, 0, &p->copied))
                return "the patch copies too much, or values nested too deep";
        value = json_deep_copy(value);
        wrong = move ? take(p->root, from) : NULL;
        if (!wrong)
                wrong = put(&p->root, path, value, false);
        json_decref(value);
        return wrong;
}

static const char *add_or_replace(struct json_patch *p, const char *path, const json_t *value, bool replace)
{
        const char *wrong;
        size_t size = 0;
        json_t *copy;

        if (!weigh(value, 0, &size))
                return "the value is too large or nested too deep";
        copy = json_deep_copy(value);
        wrong = put(&p->root, path, copy, replace);
        json_decref(copy);
        return wrong;
}

static const char *apply(struct json_patch *p, const json_t *operation)
{
        const char *op = json_string_value(json_object_get(operation, "op"));
        const char *path = json_string_value(json_object_get(operation, "path"));
        const json_t *value = json_object_get(operation, "value");

        if (!op || !path)
                return "op and path are needed";
        if (path_too_deep(path))
                return "the path is too deep";
        if (strcmp(op, "remove") == 0)
                return take(p->root, path);
        if (strcmp(op, "move") == 0 || strcmp(op, "copy") == 0)
                return move_or_copy(p, json_string_value(json_object_get(operation, "from")), path,
                                    *op == 'm');
        if (!value)
                return "value is missing";
        if (strcmp(op, "test") == 0)
                return json_equal(lookup(p->root, path), value) ? NULL : "test failed";
        if (strcmp(op, "add") == 0 || strcmp(op, "replace") == 0)
                return add_or_replace(p, path, value, *op == 'r');
        return "op must be add, remove, replace, move, copy or test";
}

json_t *api_patch_json(const json_t *original, const json_t *operations, char error[API_ERROR_SIZE])
{
        struct json_patch p = {.root = json_deep_copy(original)};
        json_t *operation;
        size_t i;

        if (!json_is_array(operations) || json_array_size(operations) > OPERATIONS_MAX) {
                (void)snprintf(error, API_ERROR_SIZE, "a JSON patch is a list of at most %d operations",
                               OPERATIONS_MAX);
                json_decref(p.root);
                return NULL;
        }
        json_array_foreach((json_t *)operations, i, operation)
        {
                const char *wrong = apply(&p, operation);
                if (!wrong)
                        continue;
                (void)snprintf(error, API_ERROR_SIZE, "operation %zu (%.32s %.200s): %s", i,
                               api_text(operation, "op"), api_text(operation, "path"), wrong);
                json_decref(p.root);
                return NULL;
        }
        return p.root;
}
