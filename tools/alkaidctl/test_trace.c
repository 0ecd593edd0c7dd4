/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/alkaidctl/trace.h"

#include <errno.h>
#include <string.h>

#include "libcommon/test.h"

#define T1  "11111111111111111111111111111111"
#define T2  "22222222222222222222222222222222"
#define POD "pod=p1"
#define LINE(service, name, trace, rest)                                                                     \
        "ts=2026-01-02T03:04:05.678901Z level=info service=" service " event=span name=" name                \
        " trace=" trace " span=00f067aa0ba902b7 " rest "\n"

/* An earlier change of eth1, then a later one beside eth2's, as logs of four services put after one another.
 */
static const char *const lines[] = {
    LINE("apiserver", "patch", T1, POD " start_us=1000000 us=10 outcome=ok"),
    LINE("apiserver", "patch", T2, POD " start_us=5000000 us=20000 outcome=ok"),
    LINE("watcher", "diff", T1, POD " nic=eth1 port=a start_us=1000020 us=10 outcome=ok"),
    LINE("watcher", "diff", T2, POD " nic=eth1 port=b start_us=5021000 us=500 outcome=ok"),
    LINE("watcher", "diff", T2, POD " nic=eth2 port=c start_us=5021000 us=600 outcome=ok"),
    LINE("watcher", "status", T2, POD " start_us=5030000 us=900 outcome=ok"),
    LINE("watcher", "plug", T2, POD " nic=eth1 port=b start_us=5021500 us=178500 outcome=ok"),
    LINE("watcher", "status", T2, POD " start_us=5200100 us=800 outcome=ok"),
    LINE("watcher", "status", T2, POD " start_us=5900000 us=800 outcome=ok"),
    LINE("network", "port", T2, POD " port=b start_us=5022000 us=28000 outcome=ok"),
    LINE("network", "port", T2, POD " port=c start_us=5022000 us=28000 outcome=NoSpace"),
    LINE("hypervisor", "attach", T2, POD " port=b start_us=5051000 us=17000 outcome=ok"),
    LINE("hypervisor", "guest", T2, POD " nic=eth1 port=b start_us=5068000 us=132000 outcome=ok"),
    LINE("hypervisor", "guest", T2, "pod=p2 nic=eth1 port=z start_us=9068000 us=132000 outcome=ok"),
};

static void read_all(struct ctl_spans *all)
{
        struct ctl_span span;

        *all = (struct ctl_spans){0};
        for (size_t i = 0; i < AK_ARRAY_SIZE(lines); i++) {
                assert_int_equal(ctl_span_parse(lines[i], &span), 0);
                assert_int_equal(ctl_spans_add(all, &span), 0);
        }
}

static void reads_a_line(void **state AK_UNUSED)
{
        struct ctl_span s;

        assert_int_equal(ctl_span_parse(LINE("network", "port", T1,
                                             "parent=a1b2c3d4e5f60718 " POD
                                             " nic=eth1 port=b start_us=17 us=3 outcome=\"no \\\"room\\\"\""),
                                        &s),
                         0);
        assert_string_equal(s.name, "port");
        assert_string_equal(s.service, "network");
        assert_string_equal(s.trace, T1);
        assert_string_equal(s.parent, "a1b2c3d4e5f60718");
        assert_string_equal(s.nic, "eth1");
        assert_string_equal(s.outcome, "no \"room\"");
        assert_int_equal(s.start_us, 17);
        assert_int_equal(s.took_us, 3);
}

static void other_lines_are_none(void **state AK_UNUSED)
{
        static const struct {
                const char *line;
                int r;
        } cases[] = {
            {"", -ENOENT},
            {"nonsense\n", -ENOENT},
            {"ts=1 level=info service=network event=port_status name=port trace=" T1 "\n", -ENOENT},
            {"ts=1 level=info text=\"event=span\" event=other\n", -ENOENT},
            {"ts=1 event=span name=port trace=short start_us=1 us=1\n", -EBADMSG},
            {"ts=1 event=span name=port trace=" T1 " us=1\n", -EBADMSG},
            {"ts=1 event=span name=port trace=" T1 " start_us=-1 us=1\n", -EBADMSG},
            {"ts=1 event=span name=port trace=" T1 " start_us=1 us=99999999999999999999\n", -EBADMSG},
            {"ts=1 event=span trace=" T1 " start_us=1 us=1 name=\"", -EBADMSG},
        };
        struct ctl_span s;

        for (size_t i = 0; i < AK_ARRAY_SIZE(cases); i++)
                assert_int_equal(ctl_span_parse(cases[i].line, &s), cases[i].r);
}

static void tells_the_last_change_of_a_nic(void **state AK_UNUSED)
{
        static const char *const order[] = {"patch", "watch",  "diff",  "plug",
                                            "port",  "attach", "guest", "status"};
        struct ctl_spans all, ours;

        read_all(&all);
        assert_int_equal(ctl_spans_of_nic(&all, "p1", "eth1", NULL, &ours), 0);
        assert_int_equal(ours.count, AK_ARRAY_SIZE(order));
        for (size_t i = 0; i < ours.count; i++)
                assert_string_equal(ours.items[i].name, order[i]);
        assert_int_equal(ours.items[1].start_us, 5020000);
        assert_int_equal(ours.items[1].took_us, 1000);
        assert_int_equal(ours.items[7].start_us, 5200100); /* not the one before, nor the one after */
        ctl_spans_deinit(&ours);
        ctl_spans_deinit(&all);
}

static void tells_an_earlier_change_by_its_id(void **state AK_UNUSED)
{
        struct ctl_spans all, ours;

        read_all(&all);
        assert_int_equal(ctl_spans_of_nic(&all, "p1", "eth1", T1, &ours), 0);
        assert_int_equal(ours.count, 3); /* patch, watch, diff: it came no further */
        assert_string_equal(ours.items[2].port, "a");
        ctl_spans_deinit(&ours);
        assert_int_equal(ctl_spans_of_nic(&all, "p1", "eth2", T1, &ours), -ENOENT);
        assert_int_equal(ctl_spans_of_nic(&all, "p1", "eth7", NULL, &ours), -ENOENT);
        assert_int_equal(ctl_spans_of_nic(&all, "p9", "eth1", NULL, &ours), -ENOENT);
        ctl_spans_deinit(&all);
}

static void draw(const char *nic, unsigned width, char **out)
{
        struct ctl_spans all, ours;
        size_t size = 0;
        FILE *stream = open_memstream(out, &size);

        assert_non_null(stream);
        read_all(&all);
        assert_int_equal(ctl_spans_of_nic(&all, "p1", nic, NULL, &ours), 0);
        ctl_spans_draw(&ours, width, stream);
        assert_int_equal(fclose(stream), 0);
        ctl_spans_deinit(&ours);
        ctl_spans_deinit(&all);
}

static void draws_a_waterfall(void **state AK_UNUSED)
{
        AK_AUTOFREE char *text = NULL;

        draw("eth1", 84, &text);
        assert_string_equal(
            text, "STEP     SERVICE          START       TOOK\n"
                  "patch    apiserver       0.0 ms    20.0 ms  ###\n"
                  "watch    -              20.0 ms     1.0 ms     #\n"
                  "diff     watcher        21.0 ms     0.5 ms      #\n"
                  "plug     watcher        21.5 ms   178.5 ms      ###################################\n"
                  "port     network        22.0 ms    28.0 ms      #####\n"
                  "attach   hypervisor     51.0 ms    17.0 ms            ###\n"
                  "guest    hypervisor     68.0 ms   132.0 ms               ##########################\n"
                  "status   watcher       200.1 ms     0.8 ms                                         #\n"
                  "total                             200.9 ms\n");
}

static void shows_what_failed(void **state AK_UNUSED)
{
        AK_AUTOFREE char *text = NULL;

        draw("eth2", 0, &text);
        assert_non_null(strstr(text, "# NoSpace\n"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
            cmocka_unit_test(reads_a_line),
            cmocka_unit_test(other_lines_are_none),
            cmocka_unit_test(tells_the_last_change_of_a_nic),
            cmocka_unit_test(tells_an_earlier_change_by_its_id),
            cmocka_unit_test(draws_a_waterfall),
            cmocka_unit_test(shows_what_failed),
        };

        return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
