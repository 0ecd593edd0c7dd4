/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alkaid-sim: runs seeds on all CPUs and prints progress; makes a failing seed smaller and prints its trace.
 *
 * Each thing that a run lets happen (a user's act, a lost message, a crash) has a number. A failure is made
 * smaller by leaving numbers out, in halves, quarters and so on, as long as the same invariant breaks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/options.h"
#include "tests/sim/sim.h"

#define SKIP_MAX    UINT64_C(100000) /* the greatest number in --skip */
#define SHRINK_RUNS 600

struct sim_options {
        uint64_t seeds, first, seed, jobs;
        bool verbose, keep;
        char *skip, *expect;
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
    {.name = "skip",
     .type = AK_OPT_STRING,
     .offset = AT(skip),
     .def = "",
     .help = "with --seed: leave these faults and users' acts out, as 0-12,15"},
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
    {.name = "no-shrink",
     .type = AK_OPT_BOOL,
     .offset = AT(keep),
     .def = "false",
     .help = "print a failing seed as it is"},
    {.name = "expect",
     .type = AK_OPT_STRING,
     .offset = AT(expect),
     .def = "",
     .help = "succeed as soon as a seed breaks this invariant (for programs with a bug planted)"},
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

/* ---- what is left out ---- */

static bool read_range(char **text, uint64_t *from, uint64_t *to)
{
        char *end;

        errno = 0;
        *from = *to = strtoull(*text, &end, 10);
        if (end == *text || errno)
                return false;
        if (*end == '-') {
                *text = end + 1;
                *to = strtoull(*text, &end, 10);
                if (end == *text || errno || *to < *from)
                        return false;
        }
        *text = end;
        return *to <= SKIP_MAX && (*end == '\0' || *end == ',');
}

static bool skip_parse(char *text, struct sim_skip *skip)
{
        uint64_t from, to;

        skip->count = SKIP_MAX + 1;
        skip->out = calloc(skip->count, 1);
        if (!skip->out)
                abort();
        while (*text) {
                if (!read_range(&text, &from, &to))
                        return false;
                memset(skip->out + from, 1, to - from + 1);
                if (*text == ',')
                        text++;
        }
        return true;
}

static void skip_print(const struct sim_skip *skip, size_t until)
{
        const char *comma = "";

        for (size_t i = 0; i < until; i++) {
                size_t from = i;

                if (!skip->out[i])
                        continue;
                while (i + 1 < until && skip->out[i + 1])
                        i++;
                if (i > from)
                        printf("%s%zu-%zu", comma, from, i);
                else
                        printf("%s%zu", comma, i);
                comma = ",";
        }
}

/* ---- one seed ---- */

static enum sim_invariant breaks(uint64_t seed, const struct sim_skip *skip, size_t *injected)
{
        struct sim *sim = sim_new(seed, false, skip);
        enum sim_invariant broken;

        (void)sim_run(sim);
        broken = sim->broken;
        *injected = sim->injected;
        sim_free(sim);
        return broken;
}

/* Leaves out [from, from + size) if the invariant breaks nevertheless. */
static bool leave_out(uint64_t seed, struct sim_skip *skip, size_t from, size_t size,
                      enum sim_invariant broken)
{
        unsigned char before[SKIP_MAX + 1];
        size_t ignored;

        if (from + size > skip->count)
                size = skip->count - from;
        if (!memchr(skip->out + from, 0, size))
                return false;
        memcpy(before, skip->out + from, size);
        memset(skip->out + from, 1, size);
        if (breaks(seed, skip, &ignored) == broken)
                return true;
        memcpy(skip->out + from, before, size);
        return false;
}

static void shrink(uint64_t seed, struct sim_skip *skip, enum sim_invariant broken, size_t injected)
{
        unsigned runs = 0;
        bool less;

        for (size_t size = (injected + 1) / 2; size > 0; size = less && size == 1 ? 1 : size / 2) {
                less = false;
                for (size_t from = 0; from < injected && runs < SHRINK_RUNS; from += size, runs++)
                        less = leave_out(seed, skip, from, size, broken) || less;
                if (runs >= SHRINK_RUNS)
                        break;
        }
}

/* The failing run as small as it can be made, its trace, and how to see it again. */
static void explain(uint64_t seed, struct sim_skip *skip, bool keep)
{
        size_t injected, left = 0;
        enum sim_invariant broken = breaks(seed, skip, &injected);
        struct sim *sim;

        if (broken && !keep)
                shrink(seed, skip, broken, injected);
        sim = sim_new(seed, false, skip);
        (void)sim_run(sim);
        sim_print_trace(sim);
        for (size_t i = 0; i < sim->injected; i++)
                left += !skip->out[i];
        printf("seed %" PRIu64
               " breaks %s: %s\nof %zu faults and acts %zu are needed; again: alkaid-sim --trace "
               "--seed %" PRIu64 " --skip ",
               seed, sim_invariant_name(sim->broken), sim->failure, injected, left, seed);
        skip_print(skip, sim->injected);
        printf("\n");
        sim_free(sim);
}

static void run_seed(uint64_t seed, bool show, bool keep, struct totals *t)
{
        AK_AUTOFREE unsigned char *out = NULL;
        struct sim *sim = sim_new(seed, false, NULL);
        bool good = sim_run(sim);

        t->done++;
        if (sim->converged_us > t->longest_us)
                t->longest_us = sim->converged_us;
        if (!good) {
                t->failed++;
                if (!t->first_failed)
                        t->first_failed = seed;
                printf("seed %" PRIu64 " breaks %s: %s\n", seed, sim_invariant_name(sim->broken),
                       sim->failure);
        }
        sim_free(sim);
        if (!good && show) {
                struct sim_skip skip = {.out = calloc(SKIP_MAX + 1, 1), .count = SKIP_MAX + 1};
                out = skip.out;
                explain(seed, &skip, keep);
        }
}

static int run_alone(struct sim_options *o)
{
        struct sim_skip skip;
        struct sim *sim;
        bool good;

        if (!skip_parse(o->skip, &skip)) {
                fprintf(stderr, "alkaid-sim: --skip: not a list of numbers and ranges up to %" PRIu64 "\n",
                        SKIP_MAX);
                free(skip.out);
                return 2;
        }
        sim = sim_new(o->seed, o->verbose, &skip);
        good = sim_run(sim);
        if (good)
                printf("seed %" PRIu64 ": all invariants hold; converged %.1f s after the faults\n", o->seed,
                       (double)sim->converged_us / 1e6);
        else if (o->verbose)
                printf("seed %" PRIu64 " breaks %s: %s\n", o->seed, sim_invariant_name(sim->broken),
                       sim->failure);
        sim_free(sim);
        if (!good && !o->verbose)
                explain(o->seed, &skip, o->keep);
        free(skip.out);
        return good ? 0 : 1;
}

/* ---- many ---- */

/* Seeds first, first + step, … in one process; totals go up the pipe now and then. */
static void child(const struct sim_options *o, uint64_t index, uint64_t jobs, int out)
{
        struct totals t = {0};

        for (uint64_t s = o->first + index; s < o->first + o->seeds; s += jobs) {
                run_seed(s, t.first_failed == 0, o->keep, &t);
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
                printf("the first that failed: alkaid-sim --seed %" PRIu64 "\n", sum.first_failed);
        printf("%" PRIu64 " passed, %" PRIu64 " failed\n", sum.done - sum.failed, sum.failed + (uint64_t)bad);
        return bad || sum.failed || sum.done != o->seeds;
}

/* A checker that cannot fail checks nothing: some seed must find the bug that was planted. */
static int run_until(const struct sim_options *o)
{
        for (uint64_t s = o->first; s < o->first + o->seeds; s++) {
                struct sim *sim = sim_new(s, false, NULL);
                bool found;

                (void)sim_run(sim);
                found = strcmp(sim_invariant_name(sim->broken), o->expect) == 0;
                if (found)
                        printf("seed %" PRIu64 " breaks %s: %s\n", s, o->expect, sim->failure);
                sim_free(sim);
                if (found)
                        return 0;
        }
        printf("no seed from %" PRIu64 " on broke %s in %" PRIu64 " runs\n", o->first, o->expect, o->seeds);
        return 1;
}

static void options_free(struct sim_options *o)
{
        ak_options_deinit(&program, o);
}

int main(int argc, char **argv)
{
        AK_CLEANUP(options_free) struct sim_options o = {0};
        int code = ak_options_load(&program, argc, argv, &o, NULL);

        if (code != 0)
                return code == AK_OPTIONS_DONE ? 0 : 2;
        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        ak_log_init("sim", AK_LOG_ERROR);
        if (o.expect[0])
                return run_until(&o);
        return o.seed ? run_alone(&o) : run_many(&o);
}
