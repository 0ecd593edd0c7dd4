/* SPDX-License-Identifier: Apache-2.0 */
/* The world's clock, queue and chance; crashes and the two phases of a run. */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
uint64_t sim_draw(struct sim *sim, uint64_t below)
{
        uint64_t z = sim->random[sim->stream] += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return (z ^ z >> 31) % below;
}

bool sim_chance(struct sim *sim, unsigned percent)
{
        return percent && sim_draw(sim, 100) < percent;
}

bool sim_inject(struct sim *sim, unsigned per_10000)
{
        size_t n;

        if (!per_10000 || sim_draw(sim, 10000) >= per_10000)
                return false;
        n = sim->injected++;
        return !sim->skip || n >= sim->skip->count || !sim->skip->out[n];
}

uint64_t sim_real(const struct sim *sim)
{
        return (uint64_t)((int64_t)(SIM_REAL_US + sim->now) + sim->clock_off_us);
}

const char *sim_service_name(enum sim_service service)
{
        static const char *const names[] = {"watcher", "network", "hypervisor", "world"};

        return names[service];
}

void sim_log(struct sim *sim, const char *format, ...)
{
        char text[400], line[440];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        (void)snprintf(line, sizeof(line), "%10.6f %s", (double)sim->now / 1e6, text);
        if (sim->verbose)
                puts(line);
        free(sim->trace[sim->trace_next % SIM_TRACE_LINES]);
        sim->trace[sim->trace_next++ % SIM_TRACE_LINES] = strdup(line);
}

void sim_print_trace(const struct sim *sim)
{
        size_t from = sim->trace_next > SIM_TRACE_LINES ? sim->trace_next - SIM_TRACE_LINES : 0;

        for (size_t i = from; i < sim->trace_next; i++)
                printf("%s\n", sim->trace[i % SIM_TRACE_LINES]);
}

const char *sim_invariant_name(enum sim_invariant invariant)
{
        static const char *const names[] = {"none",
#define SIM_NAME(c, name) name,
                                            SIM_INVARIANTS(SIM_NAME)
#undef SIM_NAME
        };

        return names[invariant];
}

void sim_fail(struct sim *sim, enum sim_invariant broken, const char *format, ...)
{
        va_list args;

        if (sim->broken)
                return;
        sim->broken = broken;
        va_start(args, format);
        (void)vsnprintf(sim->failure, sizeof(sim->failure), format, args);
        va_end(args);
        sim_log(sim, "BROKEN %s: %s", sim_invariant_name(broken), sim->failure);
}

/* ---- queue: a binary heap by (time, serial) ---- */

static bool before(const struct sim_task *a, const struct sim_task *b)
{
        return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void swap(struct sim *sim, size_t i, size_t j)
{
        struct sim_task *t = sim->heap[i];

        sim->heap[i] = sim->heap[j];
        sim->heap[j] = t;
}

static void push(struct sim *sim, struct sim_task *task)
{
        size_t i = sim->heap_count++;

        if (sim->heap_count > sim->heap_room) {
                sim->heap_room = sim->heap_room ? sim->heap_room * 2 : 256;
                sim->heap = realloc(sim->heap, sim->heap_room * sizeof(struct sim_task *));
                if (!sim->heap)
                        abort();
        }
        sim->heap[i] = task;
        for (; i > 0 && before(sim->heap[i], sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
                swap(sim, i, (i - 1) / 2);
}

static struct sim_task *pop(struct sim *sim)
{
        struct sim_task *first = sim->heap[0];
        size_t i = 0;

        sim->heap[0] = sim->heap[--sim->heap_count];
        for (;;) {
                size_t least = i, left = 2 * i + 1;

                if (left < sim->heap_count && before(sim->heap[left], sim->heap[least]))
                        least = left;
                if (left + 1 < sim->heap_count && before(sim->heap[left + 1], sim->heap[least]))
                        least = left + 1;
                if (least == i)
                        return first;
                swap(sim, i, least);
                i = least;
        }
}

struct sim_task *sim_at(struct sim *sim, uint64_t delay_us, enum sim_service to, sim_run_fn run)
{
        struct sim_task *task = calloc(1, sizeof(*task));

        if (!task)
                abort();
        task->at = sim->now + delay_us;
        task->serial = sim->serial++;
        task->to = to;
        task->incarnation = to < SIM_SERVICES ? sim->incarnation[to] : 0;
        task->run = run;
        push(sim, task);
        return task;
}

static void task_free(struct sim_task *task)
{
        json_decref(task->json);
        ak_message_free(task->message);
        free(task->data);
        free(task);
}

/* ---- faults ---- */

static void restart(struct sim *sim, struct sim_task *task)
{
        sim_log(sim, "%s starts", sim_service_name(task->to));
        sim_service_start(sim, task->to);
}

void sim_crash(struct sim *sim, enum sim_service service)
{
        uint64_t away = sim_chance(sim, 20) ? sim_draw(sim, 20 * SIM_S) : sim_draw(sim, SIM_S);

        sim_log(sim, "%s is killed", sim_service_name(service));
        sim_service_stop(sim, service);
        sim->incarnation[service]++;
        sim_at(sim, 1 + away, service, restart);
}

static bool runs(const struct sim *sim, enum sim_service s)
{
        return s == SIM_WATCHER   ? sim->watcher != NULL
               : s == SIM_NETWORK ? sim->network != NULL
                                  : sim->hypervisor != NULL;
}

static void host_reboots(struct sim *sim)
{
        for (int s = 0; s < SIM_SERVICES; s++)
                if (runs(sim, (enum sim_service)s))
                        sim_crash(sim, (enum sim_service)s);
        sim_host_reboot(sim);
}

/* Of the wall clock, an hour at most either way; what is measured goes by the other one. */
static void clock_jumps(struct sim *sim)
{
        sim->clock_off_us = (int64_t)sim_draw(sim, 7200 * SIM_S) - (int64_t)(3600 * SIM_S);
        sim_log(sim, "the clock is set by %lld s", (long long)(sim->clock_off_us / (int64_t)SIM_S));
}

static void every_second(struct sim *sim, struct sim_task *task)
{
        (void)task;
        sim_check_look(sim);
        if (!sim->calm && sim->now >= SIM_FAULTS_S * SIM_S) {
                sim_log(sim, "faults stop");
                sim->faults = (struct sim_faults){0};
                sim->calm = true;
                sim_host_calm(sim);
        }
        if (sim->calm && sim->api_up && !sim->users_calm) {
                sim->users_calm = true;
                sim_users_calm(sim);
        }
        sim->stream = SIM_CRASHES;
        for (int s = 0; s < SIM_SERVICES; s++)
                if (runs(sim, (enum sim_service)s) && sim_inject(sim, sim->faults.crash))
                        sim_crash(sim, (enum sim_service)s);
        if (sim_inject(sim, sim->faults.libvirt_down))
                sim_libvirt_crash(sim);
        if (sim_inject(sim, sim->faults.host_reboots))
                host_reboots(sim);
        if (sim_inject(sim, sim->faults.clock_jumps))
                clock_jumps(sim);
        sim->stream = SIM_HOST;
        sim_host_fault(sim);
        sim->stream = SIM_TIMING;
        sim_at(sim, SIM_S, SIM_WORLD, every_second);
}

static void user(struct sim *sim, struct sim_task *task)
{
        uint64_t pause;

        (void)task;
        if (sim->calm)
                return;
        sim->stream = SIM_USER;
        sim_user_act(sim);
        /* Bursts: two patches a millisecond apart happen. */
        pause = sim_chance(sim, 20) ? SIM_MS : sim_draw(sim, 8 * SIM_S);
        sim->stream = SIM_TIMING;
        sim_at(sim, pause, SIM_WORLD, user);
}

static void marks(struct sim *sim, struct sim_task *task)
{
        (void)task;
        sim_bus_marks(sim);
        sim_at(sim, 5 * SIM_S, SIM_WORLD, marks);
}

/* Each seed has its own weather: some runs know only one sort of fault. */
static unsigned maybe(struct sim *sim, unsigned percent, unsigned up_to)
{
        unsigned value = (unsigned)sim_draw(sim, up_to);

        return sim_chance(sim, percent) ? value : 0;
}

static void choose_faults(struct sim *sim)
{
        sim->stream = SIM_WEATHER;
        sim->faults = (struct sim_faults){
            .drop = maybe(sim, 60, 2000),
            .repeat = maybe(sim, 50, 1000),
            .reorder = maybe(sim, 30, 1000),
            .crash = maybe(sim, 40, 600),
            .crash_step = maybe(sim, 40, 100),
            .api_lost = maybe(sim, 40, 1500),
            .api_down = maybe(sim, 30, 200),
            .libvirt_down = maybe(sim, 30, 300),
            .op_fail = maybe(sim, 60, 1500),
            .stubborn = maybe(sim, 50, 6000),
            .guest_dies = maybe(sim, 30, 300),
            .guest_hangs = maybe(sim, 20, 200),
            .guest_late = maybe(sim, 30, 5000),
            .driver_fails = maybe(sim, 20, 2000),
            .guest_reboots = maybe(sim, 20, 200),
            .paused = maybe(sim, 20, 200),
            .drift = maybe(sim, 30, 400),
            .host_reboots = maybe(sim, 15, 100),
            .clock_jumps = maybe(sim, 15, 500),
        };
        sim->stream = SIM_TIMING;
}

/* ---- life ---- */

struct sim *sim_new(uint64_t seed, bool verbose, const struct sim_skip *skip)
{
        struct sim *sim = calloc(1, sizeof(*sim));

        if (!sim)
                abort();
        sim->seed = seed;
        sim->skip = skip;
        for (int i = 0; i < SIM_STREAMS; i++)
                sim->random[i] = seed * SIM_STREAMS + (uint64_t)i;
        sim->verbose = verbose;
        sim->trace = calloc(SIM_TRACE_LINES, sizeof(*sim->trace));
        sim->delivered[0] = json_object();
        sim->delivered[1] = json_object();
        sim->user_ports = json_object();
        sim->wanted_since = json_object();
        sim->usable_until = json_object();
        sim->once = json_object();
        sim->libvirt_up = true;
        sim->libvirt_epoch = 1;
        if (!sim->trace || !sim->delivered[0] || !sim->delivered[1] || !sim->user_ports ||
            !sim->wanted_since || !sim->usable_until || !sim->once || sim_api_start(sim) < 0)
                abort();
        choose_faults(sim);
        for (int s = 0; s < SIM_SERVICES; s++)
                sim_service_start(sim, (enum sim_service)s);
        sim_at(sim, SIM_S, SIM_WORLD, every_second);
        sim_at(sim, 2 * SIM_S, SIM_WORLD, user);
        sim_at(sim, 5 * SIM_S, SIM_WORLD, marks);
        return sim;
}

struct sim *sim_free(struct sim *sim)
{
        if (!sim)
                return NULL;
        for (int s = 0; s < SIM_SERVICES; s++)
                sim_service_stop(sim, (enum sim_service)s);
        sim_api_stop(sim);
        while (sim->heap_count)
                task_free(pop(sim));
        free(sim->heap);
        for (size_t i = 0; i < SIM_TRACE_LINES; i++)
                free(sim->trace[i]);
        free(sim->trace);
        json_decref(sim->delivered[0]);
        json_decref(sim->delivered[1]);
        json_decref(sim->user_ports);
        json_decref(sim->wanted_since);
        json_decref(sim->usable_until);
        json_decref(sim->once);
        watcher_actions_deinit(&sim->watcher_actions);
        net_actions_clear(&sim->network_actions);
        free(sim->network_actions.items);
        hv_actions_deinit(&sim->hypervisor_actions);
        free(sim);
        return NULL;
}

static void run_one(struct sim *sim)
{
        struct sim_task *task = pop(sim);

        sim->now = task->at;
        if (task->to == SIM_WORLD || task->incarnation == sim->incarnation[task->to])
                task->run(sim, task);
        task_free(task);
        if (sim->taps_changed && !sim->broken)
                sim_check_taps(sim);
        sim->taps_changed = false;
}

bool sim_run(struct sim *sim)
{
        uint64_t end = (SIM_FAULTS_S + SIM_CALM_S) * SIM_S, next_look = SIM_FAULTS_S * SIM_S;
        enum sim_invariant last = SIM_CONVERGE;
        char why[256] = "";

        while (!sim->broken && sim->heap_count && sim->heap[0]->at <= end) {
                run_one(sim);
                if (!sim->calm || sim->now < next_look)
                        continue;
                next_look = sim->now + SIM_S;
                if (sim_check_converged(sim, why, &last)) {
                        sim->converged_us = sim->now - SIM_FAULTS_S * SIM_S;
                        return !sim->broken;
                }
        }
        if (!sim->broken)
                sim_fail(sim, last, "%u s after the faults stopped: %s", SIM_CALM_S, why);
        return false;
}
