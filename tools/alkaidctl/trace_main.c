/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/netaddr.h"
#include "libcommon/options.h"
#include "tools/alkaidctl/command.h"
#include "tools/alkaidctl/pod.h"
#include "tools/alkaidctl/trace.h"
#include "tools/alkaidctl/trace_journal.h"

#define LINE_SIZE     16384
#define DEFAULT_WIDTH 100

struct config {
        struct ak_strlist logs;
        char *journal, *since, *trace, *output, *kubeconfig, *context, *name_space;
        uint64_t since_us;
};

#define OPTION(n, t, member, ...)                                                                            \
        {                                                                                                    \
                .name = n, .type = t, .offset = offsetof(struct config, member), __VA_ARGS__                 \
        }

static const struct ak_option options[] = {
    OPTION("log", AK_OPT_LIST, logs,
           .help =
               "log of a service, - for standard input, may be repeated; default: this machine's journal"),
    OPTION("journal", AK_OPT_STRING, journal,
           .help = "directory with journal files, e.g. of another machine; default: this machine's"),
    OPTION("since", AK_OPT_STRING, since,
           .help = "read the journal from this time on, e.g. 2026-01-02T03:04:05Z"),
    OPTION("trace", AK_OPT_STRING, trace, .help = "ID of an earlier change (default: the NIC's last one)"),
    OPTION("output", AK_OPT_ENUM, output, .def = "waterfall", .choices = "waterfall|json",
           .help = "json: a line per span"),
    OPTION("kubeconfig", AK_OPT_STRING, kubeconfig, .help = "default: $KUBECONFIG, else ~/.kube/config"),
    OPTION("context", AK_OPT_STRING, context, .help = "of the kubeconfig; default: its current one"),
    OPTION("namespace", AK_OPT_STRING, name_space, .help = "of the pod; default: the context's"),
};

static const struct ak_program program = {
    .name = "alkaidctl trace",
    .summary = "Draws the way of a NIC's last change, from the write to the guest and back to the status.",
    .operands = "POD NIC",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

/* ------------------------------------------------------------------ reading */

struct reading {
        const char *pod;
        struct ctl_spans *spans;
};

static int take_line(const char *line, void *arg)
{
        const struct reading *reading = arg;
        struct ctl_span span;

        if (ctl_span_parse(line, &span) < 0 || strcmp(span.pod, reading->pod) != 0)
                return 0;
        return ctl_spans_add(reading->spans, &span);
}

static int read_stream(FILE *in, const char *name, struct reading *reading)
{
        static const char *const why[] = {"out of memory", "more spans than this tool keeps; give it less"};
        char line[LINE_SIZE];
        int r = 0;

        while (r == 0 && fgets(line, sizeof(line), in))
                r = take_line(line, reading);
        if (r < 0)
                return ctl_fail(CTL_FAILED, "trace", "%s: %s", name, why[r == -ENOSPC]);
        return ferror(in) ? ctl_fail(CTL_FAILED, "trace", "%s: %s", name, strerror(errno)) : CTL_OK;
}

static int read_log(const char *path, struct reading *reading)
{
        FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
        int code;

        if (!in)
                return ctl_fail(CTL_FAILED, "trace", "%s: %s", path, strerror(errno));
        code = read_stream(in, path, reading);
        if (in != stdin)
                (void)fclose(in);
        return code;
}

static int read_journal(const struct config *config, struct reading *reading)
{
        char error[CTL_JOURNAL_ERROR_SIZE] = "";
        int r = ctl_journal_read(config->journal, config->since_us, take_line, reading, error);

        return r < 0 ? ctl_fail(CTL_FAILED, "trace", "%s%s", error,
                                r == -ENOSPC ? "; more spans than this tool keeps, give it --since" : "")
                     : CTL_OK;
}

static int read_spans(const struct config *config, const char *pod, struct ctl_spans *spans)
{
        struct reading reading = {pod, spans};
        int code = CTL_OK;

        if (config->logs.count == 0)
                return read_journal(config, &reading);
        for (size_t i = 0; code == CTL_OK && i < config->logs.count; i++)
                code = read_log(config->logs.items[i], &reading);
        return code;
}

/* ------------------------------------------------------------------ showing */

static unsigned terminal_width(void)
{
        struct winsize size;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : DEFAULT_WIDTH;
}

static int show(const struct config *config, const char *nic, const struct ctl_spans *spans)
{
        if (strcmp(config->output, "json") == 0)
                return ctl_spans_dump(spans, stdout) < 0 ? ctl_fail(CTL_FAILED, "trace", "out of memory")
                                                         : CTL_OK;
        (void)printf("nic %s, trace %s\n", nic, spans->items[0].trace);
        ctl_spans_draw(spans, terminal_width(), stdout);
        return CTL_OK;
}

static int run(const struct config *config, const char *pod, const char *nic)
{
        char uid[AK_UUID_SIZE], error[CTL_ERROR_SIZE] = "";
        struct ctl_spans all = {0}, ours = {0};
        int code, r;

        if (ctl_pod_resolve(config->kubeconfig, config->context, config->name_space, pod, uid, error) < 0)
                return ctl_fail(CTL_UNREACHABLE, "trace", "%s", error);
        code = read_spans(config, uid, &all);
        if (code == CTL_OK) {
                r = ctl_spans_of_nic(&all, uid, nic, config->trace, &ours);
                if (r == -ENOENT)
                        code =
                            ctl_fail(CTL_FAILED, "trace", "the %s nothing of NIC %s of pod %s%s%s",
                                     config->logs.count ? "logs tell" : "journal tells", nic, uid,
                                     config->trace ? " in trace " : "", config->trace ? config->trace : "");
                else
                        code =
                            r < 0 ? ctl_fail(CTL_FAILED, "trace", "out of memory") : show(config, nic, &ours);
        }
        ctl_spans_deinit(&all);
        ctl_spans_deinit(&ours);
        return code;
}

static int check(struct config *config, int operands)
{
        if (operands != 2)
                return ctl_fail(CTL_USAGE, "trace", "say a pod and a NIC; see --help");
        if (config->logs.count && (config->journal || config->since))
                return ctl_fail(CTL_USAGE, "trace", "--journal and --since are not for --log");
        if (config->since && ak_rfc3339_parse(config->since, &config->since_us) < 0)
                return ctl_fail(CTL_USAGE, "trace", "--since=%s: not a time like 2026-01-02T03:04:05Z",
                                config->since);
        return CTL_OK;
}

int ctl_trace_main(int argc, char **argv)
{
        struct config config = {0};
        int first = 0, code = CTL_USAGE;
        int r = ak_options_load(&program, argc, argv, &config, &first);

        if (r == AK_OPTIONS_DONE)
                code = CTL_OK;
        else if (r == 0)
                code = check(&config, argc - first);
        if (r == 0 && code == CTL_OK)
                code = run(&config, argv[first], argv[first + 1]);
        ak_options_deinit(&program, &config);
        return code;
}
