/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alkaid-proto-reference page|table [FILE]: prints what messages.h and bus_wire.c say, as a page for people
 * (docs/reference/messages.md) or as a table for programs (proto/messages.json); with FILE, compares that
 * file with it and fails where they differ.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcommon/bus_wire.h"
#include "proto/proto.h"

/* ------------------------------------------------------------------ page */

static const char overview[] =
    "# Messages of the node's bus\n"
    "\n"
    "Generated from `proto/messages.h` and `libcommon/bus_wire.c` (`ninja proto-update`); do not edit. The "
    "same\n"
    "for programs is [proto/messages.json](../../proto/messages.json); an example of each message, as JSON "
    "and as\n"
    "bytes, is in [proto/vectors](../../proto/vectors). How a service is written against it tells\n"
    "[write-your-own-service.md](../write-your-own-service.md).\n"
    "\n"
    "Every message states a fact or a wish that is still true: receiving one twice, late, or again after a\n"
    "restart is harmless. So a receiver keeps the last value of each topic and acts on the difference.\n"
    "\n"
    "## On the wire\n"
    "\n"
    "Each service binds one XPUB socket, `BUS-DIR/NAME` over ipc, and connects a SUB to each service that "
    "it\n"
    "listens to. A message is three frames: the topic, the envelope, the body. A topic is `TYPE/KEY`; its "
    "key is\n"
    "that of the object and must be the body's. Envelope and body are msgpack maps with string keys.\n"
    "\n"
    "- A subscription is answered with the last value of every topic that it matches, marked `replayed`.\n"
    "- The sender numbers live messages per type (`seq`), and replayed ones apart (`replay_seq`), both from "
    "1;\n"
    "  a replayed one keeps the `seq` that it had. A number that is passed over is a message lost.\n"
    "- `sync.mark`, every 5 s and on its subscription, tells the last numbers, so that a loss at the end is\n"
    "  found.\n"
    "- Who lost something publishes `sync.request/NAME` (body: a reason, for people) to the service NAME, "
    "which\n"
    "  answers within 100 ms with all its last values and a mark with `full` set. Without a socket of its "
    "own it\n"
    "  subscribes anew instead.\n"
    "- A new `epoch` is a new start of the sender: its numbers begin again, and what it does not say again\n"
    "  is no more.\n"
    "\n"
    "## Versions\n"
    "\n"
    "- A field that is not known is ignored, in the envelope, the body and the mark; so is a type or a "
    "topic\n"
    "  under `sync.` that is not known. Adding an OPTIONAL field or a message is a minor change.\n"
    "- A missing optional field has its zero value (of an enum, the first); zero values are not sent.\n"
    "- A missing required field, a wrong type, a value past its limit, an enum's name that is not known, a "
    "key\n"
    "  that is not the topic's: the message is dropped, counted, and logged at a limited rate. None of it "
    "is\n"
    "  used.\n"
    "- A change that an old receiver would misunderstand raises `version` of the envelope. A receiver "
    "refuses a\n"
    "  higher one whole and logs `bus_frame_rejected … a later major version of the protocol: upgrade this\n"
    "  service`, at most five lines in ten seconds.\n"
    "- Names and types of fields never change, limits never fall; an enum's first value stays the zero "
    "value.\n"
    "\n";

static void write_limits(FILE *out)
{
        (void)fputs("## Limits\n\n| what | at most |\n|-|-|\n", out);
        (void)fprintf(out, "| topic | %d bytes, printable ASCII without blanks |\n", AK_BUS_TOPIC_MAX);
        (void)fprintf(out, "| type (topic up to the first slash) | %d bytes, %d types of one sender |\n",
                      AK_BUS_MARK_TYPE_LEN, AK_BUS_MARK_TYPES);
        (void)fprintf(out, "| name of a service | %d bytes of `a-z`, `0-9`, `-` |\n", AK_BUS_NAME_MAX);
        (void)fprintf(out, "| body | %d bytes |\n", AK_SCHEMA_MAX_BYTES);
        (void)fprintf(out, "| last values that a sender keeps | %d |\n", AK_BUS_MAX_TOPICS);
        (void)fputs("| key of a topic | letters, digits, `.`, `_` and `-` |\n\n", out);
}

static void write_topics(FILE *out)
{
        (void)fputs("## Who says what\n\n| type | topic | published by | heard by |\n|-|-|-|-|\n", out);
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                const struct ak_message_info *info = ak_message_info(t);

                (void)fprintf(out, "| [%s](#%.*s%s) | `%s/%s` | %s | %s |\n", info->type,
                              (int)strcspn(info->type, "."), info->type, strchr(info->type, '.') + 1,
                              info->type, info->key, info->publisher, info->listeners);
        }
        (void)fputs("| [sync.mark](#syncmark) | `sync.mark` | all | all |\n"
                    "| sync.request | `sync.request/<name of the asked>` | all | the asked |\n\n",
                    out);
}

static void write_message(const struct ak_message_info *info, FILE *out)
{
        (void)fputc('\n', out);
        ak_record_reference(&info->record, out);
        (void)fprintf(out, "\nReceived twice: %s\n", info->twice);
}

static void write_page(FILE *out)
{
        (void)fputs(overview, out);
        write_limits(out);
        write_topics(out);
        ak_record_reference(&ak_bus_envelope_record, out);
        (void)fputc('\n', out);
        ak_record_reference(&ak_bus_mark_record, out);
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++)
                write_message(ak_message_info(t), out);
}

/* ------------------------------------------------------------------ table */

static const char *const kinds[] = {
    [AK_FIELD_BOOL] = "bool",    [AK_FIELD_U64] = "u64",          [AK_FIELD_STR] = "string",
    [AK_FIELD_TEXT] = "string",  [AK_FIELD_ENUM] = "enum",        [AK_FIELD_STRLIST] = "strings",
    [AK_FIELD_U64LIST] = "u64s", [AK_FIELD_TEXTLIST] = "strings",
};

static json_t *names_of(const struct ak_field *f)
{
        json_t *names = json_array();

        for (const char *const *name = f->names; name && *name; name++)
                (void)json_array_append_new(names, json_string(*name));
        return names;
}

/* A limit past what JSON readers keep exact is given as a string of digits. */
static json_t *field_json(const struct ak_field *f)
{
        json_t *o =
            json_pack("{s:s, s:s, s:b}", "name", f->name, "type", kinds[f->kind], "required", f->required);

        if (f->kind == AK_FIELD_U64)
                (void)json_object_set_new(o, "max", json_sprintf("%llu", (unsigned long long)f->max_value));
        if (f->max_len > 0)
                (void)json_object_set_new(o, "max_bytes", json_integer(f->max_len));
        if (f->max_count > 0)
                (void)json_object_set_new(o, "max_items", json_integer(f->max_count));
        if (f->kind == AK_FIELD_ENUM)
                (void)json_object_set_new(o, "values", names_of(f));
        return o;
}

static json_t *record_json(const struct ak_record *r)
{
        json_t *fields = json_array();

        for (size_t i = 0; i < r->field_count; i++)
                (void)json_array_append_new(fields, field_json(&r->fields[i]));
        return fields;
}

static void write_table(FILE *out)
{
        json_t *messages = json_object();

        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                const struct ak_message_info *info = ak_message_info(t);

                (void)json_object_set_new(messages, info->type,
                                          json_pack("{s:s, s:s, s:s, s:o}", "key", info->key, "publisher",
                                                    info->publisher, "listeners", info->listeners, "fields",
                                                    record_json(&info->record)));
        }
        json_t *all = json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o}", "version", AK_BUS_VERSION,
                                "max_topic_bytes", AK_BUS_TOPIC_MAX, "max_type_bytes", AK_BUS_MARK_TYPE_LEN,
                                "max_name_bytes", AK_BUS_NAME_MAX, "max_body_bytes", AK_SCHEMA_MAX_BYTES,
                                "envelope", record_json(&ak_bus_envelope_record), "sync.mark",
                                record_json(&ak_bus_mark_record), "messages", messages);
        (void)json_dumpf(all, out, JSON_INDENT(1));
        (void)fputc('\n', out);
        json_decref(all);
}

/* ------------------------------------------------------------------ printing, comparing */

/* In memory; NULL when there is not enough of it. */
static char *render(void (*write)(FILE *out))
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        write(f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}

static int compare(const char *path, const char *wanted)
{
        size_t size = strlen(wanted) + 2, n;
        AK_AUTOFREE char *have = malloc(size);
        FILE *f = fopen(path, "re");

        if (!f || !have) {
                (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
                if (f)
                        (void)fclose(f);
                return 1;
        }
        n = fread(have, 1, size - 1, f);
        (void)fclose(f);
        have[n] = '\0';
        if (strcmp(have, wanted) == 0)
                return 0;
        (void)fprintf(stderr, "%s: is not what proto/messages.h says; renew it with 'ninja proto-update'\n",
                      path);
        return 1;
}

int main(int argc, char **argv)
{
        bool page = argc > 1 && strcmp(argv[1], "page") == 0,
             table = argc > 1 && strcmp(argv[1], "table") == 0;

        if (argc > 3 || (!page && !table)) {
                (void)fputs("usage: alkaid-proto-reference page|table [FILE]\n", stderr);
                return 2;
        }
        AK_AUTOFREE char *text = render(page ? write_page : write_table);
        if (!text)
                return 1;
        if (argc > 2)
                return compare(argv[2], text);
        return fputs(text, stdout) < 0 || fflush(stdout) != 0 ? 1 : 0;
}
