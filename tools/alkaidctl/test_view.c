/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "tools/alkaidctl/view.h"

#define UID  "6a8a6a2e-0d7c-4b6e-9a8c-1f6f1d3f0c11"
#define PORT "0b0e8f7c-3a51-4b6e-9a8c-1f6f1d3f0c22"

/* A frame that owns its topic and body. */
struct sample {
        char topic[AK_TOPIC_SIZE];
        uint8_t *body;
        struct ak_bus_frame frame;
};

static struct sample sample_of(const struct ak_message *m, bool replayed)
{
        struct sample s = {0};

        ak_message_topic(m, s.topic);
        s.frame = (struct ak_bus_frame){.publisher = "watcher", .trace = "", .seq = 3, .replayed = replayed};
        assert_int_equal(ak_message_encode(m, &s.body, &s.frame.body_len), 0);
        s.frame.body = s.body;
        return s;
}

static struct sample vm_diff(void)
{
        struct ak_message m = {.type = ak_message_vm_diff};

        (void)snprintf(m.vm_diff.pod_uid, sizeof(m.vm_diff.pod_uid), UID);
        (void)snprintf(m.vm_diff.pod_namespace, sizeof(m.vm_diff.pod_namespace), "default");
        (void)snprintf(m.vm_diff.pod_name, sizeof(m.vm_diff.pod_name), "nginx-vm");
        m.vm_diff.wanted = AK_VM_WANTED_RUNNING;
        return sample_of(&m, false);
}

static struct sample port_status(const char *message, bool replayed)
{
        struct ak_message m = {.type = ak_message_port_status};

        (void)snprintf(m.port_status.pod_uid, sizeof(m.port_status.pod_uid), UID);
        (void)snprintf(m.port_status.port_id, sizeof(m.port_status.port_id), PORT);
        (void)snprintf(m.port_status.nic, sizeof(m.port_status.nic), "eth1");
        (void)snprintf(m.port_status.message, sizeof(m.port_status.message), "%s", message);
        m.port_status.state = AK_PORT_READY;
        m.port_status.generation = 4;
        return sample_of(&m, replayed);
}

static const struct ctl_heard heard = {"node-1", UINT64_C(1700000000123456)};

static bool takes(struct ctl_view *v, struct sample *s)
{
        s->frame.topic = s->topic;
        return ctl_view_takes(v, &s->frame, &heard);
}

static bool filter_takes(const struct ctl_filter *filter, struct sample s, bool after_vm_diff)
{
        struct ctl_view *v = NULL;
        struct sample first = vm_diff();

        assert_int_equal(ctl_view_new(&v, filter, &(struct ctl_view_options){0}), 0);
        if (after_vm_diff)
                (void)takes(v, &first);
        bool result = takes(v, &s);
        ctl_view_free(v);
        free(s.body);
        free(first.body);
        return result;
}

static void test_filters(void **state AK_UNUSED)
{
        char *types[] = {"nic.diff", "port.status", NULL};
        char *other[] = {"port", NULL};

        assert_true(filter_takes(&(struct ctl_filter){0}, port_status("", true), false));
        assert_false(filter_takes(&(struct ctl_filter){.live_only = true}, port_status("", true), false));
        assert_true(filter_takes(&(struct ctl_filter){.nic = "eth1"}, port_status("", false), false));
        assert_false(filter_takes(&(struct ctl_filter){.nic = "eth0"}, port_status("", false), false));
        assert_true(filter_takes(&(struct ctl_filter){.types = {types, 2}}, port_status("", false), false));
        assert_false(filter_takes(&(struct ctl_filter){.types = {other, 1}}, port_status("", false), false));
        assert_true(filter_takes(&(struct ctl_filter){.node = "node-1"}, port_status("", false), false));
        assert_false(filter_takes(&(struct ctl_filter){.node = "node-2"}, port_status("", false), false));
        assert_true(
            filter_takes(&(struct ctl_filter){.since_us = heard.received_us}, port_status("", false), false));
        assert_false(filter_takes(&(struct ctl_filter){.since_us = heard.received_us + 1},
                                  port_status("", false), false));
        assert_true(filter_takes(&(struct ctl_filter){.until_us = heard.received_us + 1},
                                 port_status("", false), false));
        assert_false(
            filter_takes(&(struct ctl_filter){.until_us = heard.received_us}, port_status("", false), false));
        assert_true(filter_takes(&(struct ctl_filter){.pod = UID}, port_status("", false), false));
        assert_false(filter_takes(&(struct ctl_filter){.pod = "nginx-vm"}, port_status("", false), false));
        assert_true(filter_takes(&(struct ctl_filter){.pod = "nginx-vm"}, port_status("", false), true));
        assert_true(
            filter_takes(&(struct ctl_filter){.pod = "default/nginx-vm"}, port_status("", false), true));
        assert_false(
            filter_takes(&(struct ctl_filter){.pod = "other/nginx-vm"}, port_status("", false), true));
}

static void show(struct sample s, const struct ctl_view_options *options, char *out, size_t size)
{
        struct ctl_view *v = NULL;
        FILE *file = fmemopen(out, size, "w");

        assert_non_null(file);
        assert_int_equal(ctl_view_new(&v, &(struct ctl_filter){0}, options), 0);
        assert_true(takes(v, &s));
        ctl_view_show(v, &s.frame, &heard, file);
        assert_int_equal(fclose(file), 0);
        ctl_view_free(v);
        free(s.body);
}

static void test_text(void **state AK_UNUSED)
{
        char out[2048];

        show(port_status("tap is up", false), &(struct ctl_view_options){0}, out, sizeof(out));
        assert_string_equal(out, "2023-11-14T22:13:20.123456Z * port.status " UID
                                 " eth1   ready      port_id=" PORT " generation=4 message=\"tap is up\"\n");
}

/* A peer that puts escape sequences or newlines into a text changes neither the terminal nor the line. */
static void test_text_cannot_be_forged(void **state AK_UNUSED)
{
        char out[2048];

        show(port_status("\x1b[2J\n2023 * vm.diff", true), &(struct ctl_view_options){0}, out, sizeof(out));
        assert_null(strchr(out, '\x1b'));
        assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
        assert_non_null(strstr(out, "Z = port.status"));
}

static void test_json(void **state AK_UNUSED)
{
        char out[2048];

        show(port_status("x", true), &(struct ctl_view_options){.json = true}, out, sizeof(out));
        json_t *line = json_loads(out, 0, NULL);
        assert_non_null(line);
        assert_true(json_is_true(json_object_get(line, "replayed")));
        assert_int_equal(json_integer_value(json_object_get(line, "seq")), 3);
        assert_string_equal(json_string_value(json_object_get(line, "node")), "node-1");
        assert_string_equal(json_string_value(json_object_get(json_object_get(line, "message"), "state")),
                            "ready");
        json_decref(line);
}

/* The colours are the only escapes, and a line without them is the line of a file. */
static void test_color(void **state AK_UNUSED)
{
        char plain[2048], painted[2048], stripped[2048];
        size_t n = 0;

        show(port_status("x", false), &(struct ctl_view_options){.nodes = true}, plain, sizeof(plain));
        show(port_status("x", false), &(struct ctl_view_options){.nodes = true, .color = true}, painted,
             sizeof(painted));
        assert_non_null(strstr(plain, " node-1 "));
        assert_null(strchr(plain, '\x1b'));
        assert_non_null(strstr(painted, "\x1b[32mready"));
        for (const char *c = painted; *c; c++) {
                if (*c == '\x1b')
                        c += strcspn(c, "m");
                else
                        stripped[n++] = *c;
        }
        stripped[n] = '\0';
        assert_string_equal(stripped, plain);
}

static void test_when_to_color(void **state AK_UNUSED)
{
        FILE *file = tmpfile();

        assert_non_null(file);
        assert_true(ctl_view_wants_color("always", file));
        assert_false(ctl_view_wants_color("never", file));
        assert_false(ctl_view_wants_color("auto", file)); /* no terminal */
        assert_int_equal(fclose(file), 0);
        int terminal = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(terminal >= 0);
        file = fdopen(terminal, "r+");
        assert_non_null(file);
        assert_int_equal(setenv("TERM", "xterm", 1), 0);
        assert_int_equal(unsetenv("NO_COLOR"), 0);
        assert_true(ctl_view_wants_color("auto", file));
        assert_int_equal(setenv("NO_COLOR", "1", 1), 0);
        assert_false(ctl_view_wants_color("auto", file));
        assert_int_equal(setenv("NO_COLOR", "", 1), 0);
        assert_true(ctl_view_wants_color("auto", file));
        assert_int_equal(setenv("TERM", "dumb", 1), 0);
        assert_false(ctl_view_wants_color("auto", file));
        assert_int_equal(fclose(file), 0);
}

static void test_undecodable(void **state AK_UNUSED)
{
        char out[2048];
        struct sample s = {.topic = "nic.later/\x1b/x"};

        s.frame = (struct ak_bus_frame){.publisher = "watcher", .trace = ""};
        s.body = calloc(1, 4);
        s.frame.body = s.body;
        s.frame.body_len = 4;
        show(s, &(struct ctl_view_options){0}, out, sizeof(out));
        assert_non_null(strstr(out, "\"nic.later/\\u001B/x\" from=watcher bytes=4 error="));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_filters),
            cmocka_unit_test(test_text),
            cmocka_unit_test(test_text_cannot_be_forged),
            cmocka_unit_test(test_json),
            cmocka_unit_test(test_undecodable),
            cmocka_unit_test(test_color),
            cmocka_unit_test(test_when_to_color),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
