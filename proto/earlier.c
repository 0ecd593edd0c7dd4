/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alkaid-proto-earlier DIR: what an earlier version said is understood still, as on a node whose services are
 * upgraded one after the other, and in a capture of before.
 *
 * DIR/NAME.msgpack is a message as it was sent then, DIR/NAME.json what it said. Each is decoded by what
 * there is now, and each member of the JSON must be in what that makes of it. The files are never written
 * anew: where one fails, the change of messages.h has to be another.
 */
#include <errno.h>
#include <string.h>

#include "libcommon/cleanup.h"
#include "proto/proto.h"

#define PATH_SIZE 4096

static int complain(const char *name, const char *what)
{
        (void)fprintf(stderr, "%s: %s\n", name, what);
        return -EINVAL;
}

static size_t read_file(const char *dir, const char *name, uint8_t *out, size_t size)
{
        char path[PATH_SIZE];
        size_t n;

        (void)snprintf(path, sizeof(path), "%s/%s.msgpack", dir, name);
        FILE *f = fopen(path, "re");
        if (!f)
                return 0;
        n = fread(out, 1, size, f);
        (void)fclose(f);
        return n;
}

/* Decoded under the topic that it had; NULL after having said why not. */
static struct ak_message *decode(const char *name, const char *topic, const char *dir)
{
        AK_AUTOFREE uint8_t *wire = malloc(AK_SCHEMA_MAX_BYTES);
        char error[AK_SCHEMA_ERROR_SIZE] = "";
        struct ak_message *m = NULL;
        size_t n = wire ? read_file(dir, name, wire, AK_SCHEMA_MAX_BYTES) : 0;

        if (n == 0)
                (void)complain(name, "cannot be read");
        else if (ak_message_decode(topic, wire, n, &m, error) < 0)
                (void)complain(name, error);
        return m;
}

static int compare(const char *name, const json_t *said, const struct ak_message *m)
{
        json_t *now = ak_message_to_json(m), *value;
        const char *key;
        int r = 0;

        json_object_foreach((json_t *)said, key, value)
        {
                if (!json_equal(json_object_get(now, key), value)) {
                        (void)fprintf(stderr, "%s: %s means something else\n", name, key);
                        r = -EINVAL;
                }
        }
        json_decref(now);
        return r;
}

static int check(const char *name, const char *dir, const json_t *said)
{
        AK_CLEANUP(ak_message_freep) struct ak_message *wanted = NULL;
        AK_CLEANUP(ak_message_freep) struct ak_message *m = NULL;
        char error[AK_SCHEMA_ERROR_SIZE] = "", topic[AK_TOPIC_SIZE];

        if (ak_message_from_json(said, &wanted, error) < 0)
                return complain(name, error);
        ak_message_topic(wanted, topic);
        m = decode(name, topic, dir);
        return m ? compare(name, said, m) : -EINVAL;
}

int main(int argc, char **argv)
{
        static const char *const names[] = {"nic_diff", "nic_status", "port_status", "vm_diff", "vm_status"};
        int failures = 0;

        if (argc != 2) {
                (void)fprintf(stderr, "usage: alkaid-proto-earlier DIR\n");
                return 2;
        }
        for (size_t i = 0; i < AK_ARRAY_SIZE(names); i++) {
                char path[PATH_SIZE];
                json_error_t where;

                (void)snprintf(path, sizeof(path), "%s/%s.json", argv[1], names[i]);
                json_t *said = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
                failures += said ? check(names[i], argv[1], said) < 0 : complain(path, where.text) < 0;
                json_decref(said);
        }
        return failures ? 1 : 0;
}
