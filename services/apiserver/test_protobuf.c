/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kube.pb-c.h"
#include "libcommon/cleanup.h"
#include "services/apiserver/protobuf.h"

/* As a client does it: message into an envelope, the magic before it. Returns the length. */
static size_t seal(const ProtobufCMessage *message, const char *version, const char *kind, uint8_t *out)
{
        Kubepb__TypeMeta type = KUBEPB__TYPE_META__INIT;
        Kubepb__Envelope envelope = KUBEPB__ENVELOPE__INIT;
        uint8_t raw[4096];

        type.apiversion = (char *)version;
        type.kind = (char *)kind;
        envelope.typemeta = &type;
        envelope.has_raw = true;
        envelope.raw.len = protobuf_c_message_pack(message, raw);
        envelope.raw.data = raw;
        memcpy(out, "k8s", 4);
        return 4 + kubepb__envelope__pack(&envelope, out + 4);
}

static void expect(const void *bytes, size_t len, const char *wanted)
{
        char error[PROTOBUF_ERROR_SIZE] = "";
        json_t *object = NULL, *expected = json_loads(wanted, 0, NULL);

        assert_int_equal(protobuf_to_json(bytes, len, &object, error), 0);
        assert_true(json_equal(object, expected));
        json_decref(expected);
        json_decref(object);
}

/* What kubectl 1.32 sent for `create namespace foo`: Go writes what is empty, too. */
static void test_namespace_of_kubectl(void **state)
{
        static const uint8_t bytes[] = "k8s\0"
                                       "\x0a\x0f\x0a\x02v1\x12\x09Namespace"
                                       "\x12\x1d\x0a\x15\x0a\x03"
                                       "foo\x12\0\x1a\0\"\0*\0\x32\0\x38\0\x42\0\x7a\0"
                                       "\x12\0\x1a\x02\x0a\0"
                                       "\x1a\0\"\0";

        (void)state;
        expect(bytes, sizeof(bytes) - 1,
               "{\"kind\": \"Namespace\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"foo\"}}");
}

static void test_all_forms(void **state)
{
        Kubepb__StringEntry entry = KUBEPB__STRING_ENTRY__INIT, *entries[] = {&entry};
        Kubepb__Time time = KUBEPB__TIME__INIT, zero = KUBEPB__TIME__INIT;
        Kubepb__ObjectMeta meta = KUBEPB__OBJECT_META__INIT;
        Kubepb__Event event = KUBEPB__EVENT__INIT;
        char *finalizers[] = {(char *)"a", (char *)"b"};
        uint8_t bytes[4096];
        size_t len;

        (void)state;
        entry.key = (char *)"k";
        entry.value = (char *)"v";
        time.has_seconds = true;
        time.seconds = 1700000000;
        meta.name = (char *)"e";
        meta.n_labels = 1;
        meta.labels = entries;
        meta.n_finalizers = 2;
        meta.finalizers = finalizers;
        meta.creationtimestamp = &zero;
        event.metadata = &meta;
        event.lasttimestamp = &time;
        event.has_count = true;
        len = seal(&event.base, "v1", "Event", bytes);
        expect(
            bytes, len,
            "{\"kind\": \"Event\", \"apiVersion\": \"v1\", \"lastTimestamp\": \"2023-11-14T22:13:20Z\","
            " \"metadata\": {\"name\": \"e\", \"labels\": {\"k\": \"v\"}, \"finalizers\": [\"a\", \"b\"]}}");
        event.count = 3;
        event.metadata = NULL;
        event.lasttimestamp = NULL;
        len = seal(&event.base, "v1", "Event", bytes);
        expect(bytes, len, "{\"kind\": \"Event\", \"apiVersion\": \"v1\", \"count\": 3}");
}

/* Zero is a value of what is a pointer in Go: a deletion at once. */
static void test_zero_that_counts(void **state)
{
        Kubepb__DeleteOptions options = KUBEPB__DELETE_OPTIONS__INIT;
        uint8_t bytes[4096];
        size_t len;

        (void)state;
        options.has_graceperiodseconds = true;
        len = seal(&options.base, "vpc.alkaid.io/v1", "DeleteOptions", bytes);
        expect(bytes, len,
               "{\"kind\": \"DeleteOptions\", \"apiVersion\": \"vpc.alkaid.io/v1\", "
               "\"gracePeriodSeconds\": 0}");
}

static void refused(const void *bytes, size_t len, int rc, const char *part)
{
        char error[PROTOBUF_ERROR_SIZE] = "";
        json_t *object = NULL;

        assert_int_equal(protobuf_to_json(bytes, len, &object, error), rc);
        assert_null(object);
        assert_non_null(strstr(error, part));
}

static void test_refusals(void **state)
{
        Kubepb__Namespace ns = KUBEPB__NAMESPACE__INIT;
        AK_AUTOFREE char *big = calloc(1, PROTOBUF_MAX + 1);
        uint8_t bytes[4096];
        size_t len = seal(&ns.base, "v1", "Pod", bytes);

        (void)state;
        refused(bytes, len, -ENOTSUP, "application/json");
        len = seal(&ns.base, "v2", "Namespace", bytes);
        refused(bytes, len, -ENOTSUP, "Namespace");
        refused("{}", 2, -EINVAL, "k8s");
        refused("k8s\0\xff\xff", 6, -EINVAL, "envelope");
        refused("k8s", 4, -ENOTSUP, "no kind");
        refused("k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x02\x0a\x7f", 25, -EINVAL, "Namespace");
        refused(big, PROTOBUF_MAX + 1, -E2BIG, "256 KiB");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_namespace_of_kubectl),
            cmocka_unit_test(test_all_forms),
            cmocka_unit_test(test_zero_that_counts),
            cmocka_unit_test(test_refusals),
        };

        return cmocka_run_group_tests_name("apiserver_protobuf", tests, NULL, NULL);
}
