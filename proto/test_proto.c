/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/proto.h"

#include <errno.h>
#include <string.h>

#include "libcommon/test.h"

#define POD  "5f0c1a52-7d0e-4c1b-9d6a-0f6b0f4d9a10"
#define PORT "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"

static struct ak_message *nic_diff(void)
{
        struct ak_message *m = ak_message_new(ak_message_nic_diff);

        assert_non_null(m);
        (void)snprintf(m->nic_diff.pod_uid, sizeof(m->nic_diff.pod_uid), POD);
        (void)snprintf(m->nic_diff.port_id, sizeof(m->nic_diff.port_id), PORT);
        m->nic_diff.generation = 3;
        m->nic_diff.wanted = AK_NIC_WANTED_PRESENT;
        return m;
}

static void table_is_consistent(void **state AK_UNUSED)
{
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                const struct ak_message_info *info = ak_message_info(t);
                enum ak_message_type found;
                char topic[64];

                (void)snprintf(topic, sizeof(topic), "%s/x", info->type);
                assert_int_equal(ak_message_type_of_topic(topic, &found), 0);
                assert_int_equal(found, t);
                assert_int_equal(ak_message_type_of_topic(info->type, &found), 0);
                assert_string_equal(info->record.name, info->type);
                assert_true(info->record.size <= sizeof(struct ak_message));
                assert_in_range(info->record.field_count, 1, 64);
                for (size_t i = 0; i < info->record.field_count; i++) {
                        const struct ak_field *f = &info->record.fields[i];

                        assert_true(f->offset < info->record.size && f->doc && f->doc[0]);
                        for (size_t k = 0; k < i; k++)
                                assert_string_not_equal(f->name, info->record.fields[k].name);
                }
        }
}

static void types_of_topics(void **state AK_UNUSED)
{
        static const char *const unknown[] = {"",          "/",          "nic",      "nic.diff2/x",
                                              "nic.dif/x", "NIC.DIFF/x", "sync.mark"};
        enum ak_message_type type = ak_message_nic_diff;

        for (size_t i = 0; i < AK_ARRAY_SIZE(unknown); i++)
                assert_int_equal(ak_message_type_of_topic(unknown[i], &type), -ENOENT);
        assert_int_equal(type, ak_message_nic_diff);
}

static void enum_names(void **state AK_UNUSED)
{
        assert_string_equal(ak_vm_phase_name(AK_VM_PHASE_ABSENT), "absent");
        assert_string_equal(ak_nic_state_name(AK_NIC_WAITING_FOR_GUEST), "waiting");
        assert_string_equal(ak_image_pull_name(AK_IMAGE_PULL_NEVER), "Never");
        assert_string_equal(ak_nic_state_name(99), "?");
        assert_string_equal(ak_nic_state_name((enum ak_nic_state) - 1), "?");
}

static void topics(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *nic = nic_diff();
        AK_CLEANUP(ak_message_freep) struct ak_message *vm = ak_message_new(ak_message_vm_status);
        char topic[AK_TOPIC_SIZE];

        ak_message_topic(nic, topic);
        assert_string_equal(topic, "nic.diff/" POD "/" PORT);
        (void)snprintf(vm->vm_status.pod_uid, sizeof(vm->vm_status.pod_uid), "p");
        ak_message_topic(vm, topic);
        assert_string_equal(topic, "vm.status/p");
}

static void duplicates_are_independent(void **state AK_UNUSED)
{
        struct ak_message *a = ak_message_new(ak_message_vm_diff), *b;

        (void)snprintf(a->vm_diff.pod_uid, sizeof(a->vm_diff.pod_uid), POD);
        a->vm_diff.user_data = strdup("#cloud-config");
        b = ak_message_dup(a);
        assert_true(ak_message_equal(a, b));
        assert_ptr_not_equal(a->vm_diff.user_data, b->vm_diff.user_data);
        a = ak_message_free(a);
        assert_null(a);
        assert_string_equal(b->vm_diff.user_data, "#cloud-config");
        ak_message_deinit(b);
        ak_message_deinit(b);
        ak_message_free(b);
        assert_null(ak_message_free(NULL));
}

static void other_types_are_never_equal(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *a = ak_message_new(ak_message_nic_diff);
        AK_CLEANUP(ak_message_freep) struct ak_message *b = ak_message_new(ak_message_nic_status);

        assert_false(ak_message_equal(a, b));
}

static void codec(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = nic_diff(), *out = NULL;
        AK_CLEANUP(ak_message_freep) struct ak_message *back = NULL;
        AK_AUTOFREE uint8_t *data = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];
        size_t len;

        assert_int_equal(ak_message_encode(m, &data, &len), 0);
        assert_int_equal(ak_message_decode("nic.diff/" POD "/" PORT, data, len, &back, error), 0);
        assert_true(ak_message_equal(m, back));
        /* The topic must be that of the body. */
        assert_int_equal(ak_message_decode("nic.diff/" POD "/other", data, len, &out, error), -EBADMSG);
        assert_int_equal(ak_message_decode("nic.diff", data, len, &out, error), -EBADMSG);
        assert_int_equal(ak_message_decode("nic.diff/" POD "/" PORT "/", data, len, &out, error), -EBADMSG);
        assert_int_equal(ak_message_decode("nic.diff/" POD "/" PORT, data, len - 1, &out, error), -EBADMSG);
        assert_int_equal(ak_message_decode("nic.later/" POD, data, len, &out, error), -ENOENT);
        /* nic.status requires a state, which nic.diff has not */
        assert_int_equal(ak_message_decode("nic.status/" POD "/" PORT, data, len, &out, error), -EBADMSG);
        assert_string_equal(error, "nic.status.state: missing, but required");
        assert_null(out);
}

/* "a/b" and "c" would have the topic of "a" and "b/c". */
static void keys_cannot_forge_a_topic(void **state AK_UNUSED)
{
        static const char *const bad[] = {"", "a/b", "a b", "a\n", "*", "\xc3\xa4"};
        char error[AK_SCHEMA_ERROR_SIZE], topic[AK_TOPIC_SIZE];

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                AK_CLEANUP(ak_message_freep) struct ak_message *m = nic_diff(), *out = NULL;
                AK_AUTOFREE uint8_t *data = NULL;
                json_t *json;
                size_t len;

                (void)snprintf(m->nic_diff.port_id, sizeof(m->nic_diff.port_id), "%s", bad[i]);
                assert_int_equal(ak_message_encode(m, &data, &len), -EINVAL);
                assert_null(data);
                assert_int_equal(
                    ak_record_encode(&ak_message_info(m->type)->record, &m->nic_diff, &data, &len), 0);
                ak_message_topic(m, topic);
                assert_int_equal(ak_message_decode(topic, data, len, &out, error), -EBADMSG);
                assert_non_null(strstr(error, "nic.diff.port_id: empty, or has other"));
                json = ak_message_to_json(m);
                assert_int_equal(ak_message_from_json(json, &out, error), -EBADMSG);
                json_decref(json);
                assert_null(out);
        }
}

static void json(void **state AK_UNUSED)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *m = nic_diff(), *back = NULL;
        char error[AK_SCHEMA_ERROR_SIZE];
        json_t *j = ak_message_to_json(m);

        assert_string_equal(json_string_value(json_object_get(j, "type")), "nic.diff");
        assert_string_equal(json_string_value(json_object_get(j, "wanted")), "present");
        assert_int_equal(ak_message_from_json(j, &back, error), 0);
        assert_true(ak_message_equal(m, back));
        assert_non_null(json_object_get(j, "type")); /* the input is left as it was */
        json_decref(j);
}

static void json_mistakes(void **state AK_UNUSED)
{
        static const char *const bad[] = {
            "{}",
            "[]",
            "{\"type\": 1}",
            "{\"type\": \"nic.later\"}",
            "{\"type\": \"nic.diff\"}",
            "{\"type\": \"vm.diff\", \"pod_uid\": \"p\", \"wanted\": \"running\", \"colour\": 1}",
        };

        for (size_t i = 0; i < AK_ARRAY_SIZE(bad); i++) {
                json_t *j = json_loads(bad[i], 0, NULL);
                char error[AK_SCHEMA_ERROR_SIZE] = "";
                struct ak_message *out = NULL;

                assert_int_equal(ak_message_from_json(j, &out, error), -EBADMSG);
                assert_true(error[0]);
                assert_null(out);
                json_decref(j);
        }
}

/* The largest message that the limits allow fits into one frame. */
static void largest_message_fits(void **state AK_UNUSED)
{
        for (int t = 0; t < AK_MESSAGE_TYPE_COUNT; t++) {
                const struct ak_record *r = &ak_message_info(t)->record;
                size_t size = 5;

                for (size_t i = 0; i < r->field_count; i++) {
                        const struct ak_field *f = &r->fields[i];
                        size_t items = f->max_count ? f->max_count : 1;

                        size += 5 + strlen(f->name) + 5 + items * (9 + f->max_len);
                }
                assert_true(size <= AK_SCHEMA_MAX_BYTES);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(table_is_consistent),
            cmocka_unit_test(types_of_topics),
            cmocka_unit_test(enum_names),
            cmocka_unit_test(topics),
            cmocka_unit_test(duplicates_are_independent),
            cmocka_unit_test(other_types_are_never_equal),
            cmocka_unit_test(codec),
            cmocka_unit_test(keys_cannot_forge_a_topic),
            cmocka_unit_test(json),
            cmocka_unit_test(json_mistakes),
            cmocka_unit_test(largest_message_fits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
