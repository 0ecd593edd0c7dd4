/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alkaid-proto-vectors [--update SEEDS] DIR: golden vectors of the messages.
 *
 * DIR/NAME.json is an example of the message NAME, written by a person; DIR/NAME.msgpack is the same on the
 * wire. Without --update the two are held against each other and against the codec, byte for byte; a change
 * of the wire format shows up here before it reaches a node that runs the previous version. An example has
 * to set every field, so that a new field needs a new example. With --update both files are written anew,
 * the JSON in canonical form, and a seed of each in SEEDS for the fuzz target (a byte that names the type,
 * and the body). Likewise the records that the bus itself adds, envelope and sync.mark, without seeds.
 */
#include <errno.h>
#include <string.h>

#include "libcommon/bus_wire.h"
#include "proto/proto.h"

#define FILE_SIZE_MAX  AK_SCHEMA_MAX_BYTES
#define PATH_SIZE      4096
#define JSON_CANONICAL (JSON_INDENT(2) | JSON_ENSURE_ASCII)

struct vector {
        const struct ak_message_info *info;
        const char *name; /* of the files */
        char json_path[PATH_SIZE], wire_path[PATH_SIZE], seed_path[PATH_SIZE];
        struct ak_message *message;
        char *json;
        uint8_t *wire;
        size_t wire_len;
};

static const char *const names[] = {
#define NAME(name, type, key, from, to, fields, doc, twice) #name,
    AK_MESSAGES(NAME)
#undef NAME
};

static int complain(const char *path, const char *what)
{
        (void)fprintf(stderr, "%s: %s\n", path, what);
        return -EINVAL;
}

static void vector_deinit(struct vector *v)
{
        ak_message_free(v->message);
        free(v->json);
        free(v->wire);
}

/* Does the example set every field? */
static int check_complete(const struct vector *v)
{
        json_t *json = ak_message_to_json(v->message);
        int r = json ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < v->info->record.field_count; i++) {
                if (!json_object_get(json, v->info->record.fields[i].name)) {
                        r = complain(v->json_path, "the example leaves a field out");
                        (void)fprintf(stderr, "  field: %s\n", v->info->record.fields[i].name);
                }
        }
        json_decref(json);
        return r;
}

static int read_example(struct vector *v)
{
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        json_error_t where;
        json_t *json = json_load_file(v->json_path, JSON_REJECT_DUPLICATES, &where);
        int r;

        if (!json)
                return complain(v->json_path, where.text);
        r = ak_message_from_json(json, &v->message, error);
        json_decref(json);
        if (r < 0)
                return complain(v->json_path, error);
        if (ak_message_info(v->message->type) != v->info)
                return complain(v->json_path, "is an example of another message");
        return check_complete(v);
}

/* Canonical JSON and wire form of the example. */
static int render(struct vector *v)
{
        json_t *json = ak_message_to_json(v->message);
        char *text = json ? json_dumps(json, JSON_CANONICAL) : NULL;

        json_decref(json);
        if (!text)
                return -ENOMEM;
        if (asprintf(&v->json, "%s\n", text) < 0)
                v->json = NULL;
        free(text);
        return v->json ? ak_message_encode(v->message, &v->wire, &v->wire_len) : -ENOMEM;
}

static int write_file(const char *path, const void *data, size_t len)
{
        FILE *f = fopen(path, "we");
        size_t n = f ? fwrite(data, 1, len, f) : 0;

        if (!f || fclose(f) != 0 || n != len)
                return complain(path, strerror(errno));
        return 0;
}

static int compare_file(const char *path, const void *data, size_t len)
{
        AK_AUTOFREE char *have = malloc(FILE_SIZE_MAX + 1);
        FILE *f = fopen(path, "re");
        size_t n = f && have ? fread(have, 1, FILE_SIZE_MAX + 1, f) : 0;

        if (f)
                (void)fclose(f);
        if (!f || !have)
                return complain(path, strerror(errno));
        if (n != len || memcmp(have, data, len) != 0)
                return complain(path, "differs from what the codec makes of the example; if the change is "
                                      "meant, renew it with 'ninja proto-update'");
        return 0;
}

/* The wire form must also be read back as the same message. */
static int check_decode(const struct vector *v)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE] = "", topic[AK_TOPIC_SIZE];

        ak_message_topic(v->message, topic);
        if (ak_message_decode(topic, v->wire, v->wire_len, &m, error) < 0)
                return complain(v->wire_path, error);
        return ak_message_equal(m, v->message) ? 0 : complain(v->wire_path, "is read back as something else");
}

/* The vector's type as one byte, and its wire form. */
static int write_seed(const struct vector *v)
{
        AK_AUTOFREE uint8_t *seed = malloc(v->wire_len + 1);

        if (!seed)
                return -ENOMEM;
        seed[0] = (uint8_t)v->message->type;
        memcpy(seed + 1, v->wire, v->wire_len);
        return write_file(v->seed_path, seed, v->wire_len + 1);
}

static int write_all(const struct vector *v)
{
        int r = write_file(v->json_path, v->json, strlen(v->json));

        if (r == 0)
                r = write_file(v->wire_path, v->wire, v->wire_len);
        return r < 0 ? r : write_seed(v);
}

static int compare_all(const struct vector *v)
{
        int r = compare_file(v->json_path, v->json, strlen(v->json));

        return r < 0 ? r : compare_file(v->wire_path, v->wire, v->wire_len);
}

static int handle(struct vector *v, bool update)
{
        int r = read_example(v);

        if (r == 0)
                r = render(v);
        if (r == 0)
                r = check_decode(v);
        if (r < 0)
                return r;
        return update ? write_all(v) : compare_all(v);
}

/* ------------------------------------------------------------------ the bus's own records */

static const struct bus_record {
        const char *name;
        const struct ak_record *record;
} bus_records[] = {{"bus_envelope", &ak_bus_envelope_record}, {"sync_mark", &ak_bus_mark_record}};

/* Canonical JSON and wire form of what the example says. */
static int render_record(const struct bus_record *b, json_t *json, struct vector *v)
{
        AK_AUTOFREE void *value = calloc(1, b->record->size);
        AK_AUTOFREE void *again = calloc(1, b->record->size);
        char error[AK_SCHEMA_ERROR_SIZE] = "";

        if (!value || !again)
                return -ENOMEM;
        if (ak_record_from_json(b->record, json, value, error) < 0)
                return complain(v->json_path, error);
        if (json_object_size(json) != b->record->field_count)
                return complain(v->json_path, "the example leaves a field out");
        json_t *canonical = ak_record_to_json(b->record, value);
        char *text = canonical ? json_dumps(canonical, JSON_CANONICAL) : NULL;
        json_decref(canonical);
        if (!text || asprintf(&v->json, "%s\n", text) < 0)
                v->json = NULL;
        free(text);
        if (!v->json || ak_record_encode(b->record, value, &v->wire, &v->wire_len) < 0)
                return -ENOMEM;
        if (ak_record_decode(b->record, v->wire, v->wire_len, again, error) < 0)
                return complain(v->wire_path, error);
        return ak_record_equal(b->record, value, again)
                   ? 0
                   : complain(v->wire_path, "is read back as something else");
}

static int handle_record(const struct bus_record *b, const char *dir, bool update)
{
        struct vector v = {.name = b->name};
        json_error_t where;
        int r;

        (void)snprintf(v.json_path, sizeof(v.json_path), "%s/%s.json", dir, v.name);
        (void)snprintf(v.wire_path, sizeof(v.wire_path), "%s/%s.msgpack", dir, v.name);
        json_t *json = json_load_file(v.json_path, JSON_REJECT_DUPLICATES, &where);
        r = json ? render_record(b, json, &v) : complain(v.json_path, where.text);
        json_decref(json);
        if (r == 0 && update) {
                r = write_file(v.json_path, v.json, strlen(v.json));
                if (r == 0)
                        r = write_file(v.wire_path, v.wire, v.wire_len);
        } else if (r == 0) {
                r = compare_all(&v);
        }
        vector_deinit(&v);
        return r;
}

int main(int argc, char **argv)
{
        bool update = argc == 4 && strcmp(argv[1], "--update") == 0;
        const char *dir = argv[argc - 1], *seeds = update ? argv[2] : "";
        int failures = 0;

        if (argc != 2 && !update) {
                (void)fprintf(stderr, "usage: alkaid-proto-vectors [--update SEEDS] DIR\n");
                return 2;
        }
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                struct vector v = {.info = ak_message_info(t), .name = names[t]};

                (void)snprintf(v.json_path, sizeof(v.json_path), "%s/%s.json", dir, v.name);
                (void)snprintf(v.wire_path, sizeof(v.wire_path), "%s/%s.msgpack", dir, v.name);
                (void)snprintf(v.seed_path, sizeof(v.seed_path), "%s/%s", seeds, v.name);
                failures += handle(&v, update) < 0;
                vector_deinit(&v);
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(bus_records); i++)
                failures += handle_record(&bus_records[i], dir, update) < 0;
        (void)printf("%zu vectors, %d failures\n", AK_MESSAGE_TYPE_COUNT + AK_ARRAY_SIZE(bus_records),
                     failures);
        return failures ? 1 : 0;
}
