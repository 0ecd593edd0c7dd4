/* SPDX-License-Identifier: Apache-2.0 */
/* alkaid-sim: runs seeds on all cores of the machine, prints progress, and for a failing seed its trace. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/options.h"
#include "tests/sim/sim.h"

struct sim_options {
        uint64_t seeds, first, seed, jobs;
        bool verbose;
};

#define AT(member) offsetof(struct sim_options, member)
static const struct ak_option options[] = {
    {.name = "seeds",
     .type = AK_OPT_UINT,
     .offset = AT(seeds),
     .def = "1000",
     .help = "how many seeds to run",
     .min = 1},
    {.name = "first",
     .type = AK_OPT_UINT,
     .offset = AT(first),
     .def = "1",
     .help = "the first of them",
     .min = 1},
    {.name = "seed",
     .type = AK_OPT_UINT,
     .offset = AT(seed),
     .def = "0",
     .help = "run this one alone (0: many)"},
    {.name = "jobs",
     .type = AK_OPT_UINT,
     .offset = AT(jobs),
     .def = "0",
     .help = "processes (0: one per CPU)",
     .max = 256},
    {.name = "trace",
     .type = AK_OPT_BOOL,
     .offset = AT(verbose),
     .def = "false",
     .help = "print all that happens"},
};

static const struct ak_program program = {
    .name = "alkaid-sim",
    .summary = "Simulates a node's services under faults, by seed, and checks that every invariant holds",
    .options = options,
    .option_count = AK_ARRAY_SIZE(options),
};

struct totals {
        uint64_t done, failed, longest_us, first_failed;
};

static bool run_seed(uint64_t seed, bool verbose, bool show, struct totals *t)
{
        struct sim *sim = sim_new(seed, verbose);
        bool good = sim_run(sim);

        t->done++;
        if (sim->converged_us > t->longest_us)
                t->longest_us = sim->converged_us;
        if (!good) {
                t->failed++;
                if (!t->first_failed)
                        t->first_failed = seed;
                if (show && !verbose)
                        sim_print_trace(sim);
                printf("seed %" PRIu64 ": %s\n", seed, sim->failure);
        }
        sim_free(sim);
        return good;
}

/* Seeds first, first + step, … in one process; totals go up the pipe now and then. */
static void child(const struct sim_options *o, uint64_t index, uint64_t jobs, int out)
{
        struct totals t = {0};

        for (uint64_t s = o->first + index; s < o->first + o->seeds; s += jobs) {
                (void)run_seed(s, false, t.failed == 0, &t);
                if (t.done % 16 == 0 || s + jobs >= o->first + o->seeds) {
                        (void)fflush(stdout);
                        if (write(out, &t, sizeof(t)) != (ssize_t)sizeof(t))
                                _exit(1);
                        t = (struct totals){.first_failed = t.first_failed, .failed = 0};
                }
        }
        _exit(0);
}

static void add(struct totals *sum, const struct totals *t)
{
        sum->done += t->done;
        sum->failed += t->failed;
        if (t->longest_us > sum->longest_us)
                sum->longest_us = t->longest_us;
        if (t->first_failed && (!sum->first_failed || t->first_failed < sum->first_failed))
                sum->first_failed = t->first_failed;
}

static void progress(const struct totals *sum, uint64_t seeds, uint64_t started_us, bool last)
{
        double seconds = (double)(ak_clock_monotonic_us() - started_us) / 1e6;

        if (!isatty(STDERR_FILENO) && !last)
                return;
        fprintf(stderr,
                "%s%" PRIu64 "/%" PRIu64 " seeds, %.0f seeds/s, %" PRIu64
                " failed, longest convergence %.1f s%s",
                isatty(STDERR_FILENO) ? "\r" : "", sum->done, seeds,
                seconds > 0 ? (double)sum->done / seconds : 0, sum->failed, (double)sum->longest_us / 1e6,
                last ? "\n" : "");
}

static int run_many(const struct sim_options *o)
{
        uint64_t jobs = o->jobs ? o->jobs : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN),
                 started = ak_clock_monotonic_us();
        struct totals sum = {0}, t;
        int ends[2], status, bad = 0;

        if (pipe(ends) < 0)
                return 1;
        for (uint64_t i = 0; i < jobs; i++) {
                pid_t pid = fork();
                if (pid < 0)
                        return 1;
                if (pid == 0)
                        child(o, i, jobs, ends[1]);
        }
        (void)close(ends[1]);
        while (read(ends[0], &t, sizeof(t)) == (ssize_t)sizeof(t)) {
                add(&sum, &t);
                progress(&sum, o->seeds, started, false);
        }
        while (wait(&status) > 0)
                bad += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        progress(&sum, o->seeds, started, true);
        if (bad)
                fprintf(stderr, "%d processes died\n", bad);
        if (sum.first_failed)
                printf("again: alkaid-sim --trace --seed %" PRIu64 "\n", sum.first_failed);
        printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.done - sum.failed, sum.failed + (uint64_t)bad);
        return bad || sum.failed || sum.done != o->seeds;
}

int main(int argc, char **argv)
{
        struct sim_options o = {0};
        int code = ak_options_load(&program, argc, argv, &o, NULL);
        struct totals t = {0};

        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        ak_log_init("sim", AK_LOG_ERROR);
        if (!o.seed)
                return run_many(&o);
        return run_seed(o.seed, o.verbose, true, &t) ? 0 : 1;
}
