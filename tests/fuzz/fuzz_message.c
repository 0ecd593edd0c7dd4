/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of bus messages. The first byte names the message; the rest is its body. What is taken must survive
 * every way round: wire, JSON, copy.
 */
#include <string.h>

#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
        if (!condition)
                abort();
}

static void check_wire(const struct ak_message *m)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *back = NULL;
        AK_AUTOFREE uint8_t *wire = NULL;
        char error[AK_SCHEMA_ERROR_SIZE], topic[AK_TOPIC_SIZE];
        size_t len;

        ak_message_topic(m, topic);
        if (ak_message_encode(m, &wire, &len) < 0)
                return; /* a key that no topic may have */
        check(ak_message_decode(topic, wire, len, &back, error) == 0);
        check(ak_message_equal(m, back));
}

static void check_json(const struct ak_message *m)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *back = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];
        json_t *json = ak_message_to_json(m);

        check(json != NULL);
        if (ak_message_from_json(json, &back, error) == 0)
                check(ak_message_equal(m, back));
        json_decref(json);
}

static void check_copy(const struct ak_message *m)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *copy = ak_message_dup(m);

        check(copy && ak_message_equal(m, copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];
        enum ak_message_type type;

        if (size == 0)
                return 0;
        type = (enum ak_message_type)(data[0] % AK_MESSAGE_TYPE_COUNT);
        m = ak_message_new(type);
        check(m != NULL);
        if (ak_record_decode(&ak_message_info(type)->record, data + 1, size - 1, &m->vm_diff, error) < 0) {
                check(error[0] != '\0' && strnlen(error, sizeof(error)) < sizeof(error));
                return 0;
        }
        check_wire(m);
        check_json(m);
        check_copy(m);
        return 0;
}
