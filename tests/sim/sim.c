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
        uint64_t z = sim->random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return (z ^ z >> 31) % below;
}

bool sim_chance(struct sim *sim, unsigned percent)
{
        return percent && sim_draw(sim, 100) < percent;
}

uint64_t sim_real(const struct sim *sim)
{
        return SIM_REAL_US + sim->now;
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

void sim_fail(struct sim *sim, const char *format, ...)
{
        va_list args;

        if (sim->failure[0])
                return;
        va_start(args, format);
        (void)vsnprintf(sim->failure, sizeof(sim->failure), format, args);
        va_end(args);
        sim_log(sim, "BROKEN %s", sim->failure);
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

static void every_second(struct sim *sim, struct sim_task *task)
{
        (void)task;
        if (sim->now >= SIM_FAULTS_S * SIM_S) {
                sim_log(sim, "faults stop");
                sim->faults = (struct sim_faults){0};
                sim->calm = true;
                return;
        }
        for (int s = 0; s < SIM_SERVICES; s++)
                if (runs(sim, (enum sim_service)s) && sim_chance(sim, sim->faults.crash))
                        sim_crash(sim, (enum sim_service)s);
        if (sim_chance(sim, sim->faults.api_down))
                sim_api_outage(sim);
        sim_host_fault(sim);
        sim_at(sim, SIM_S, SIM_WORLD, every_second);
}

static void user(struct sim *sim, struct sim_task *task)
{
        (void)task;
        if (sim->calm)
                return;
        sim_user_act(sim);
        /* Bursts: two patches a millisecond apart happen. */
        sim_at(sim, sim_chance(sim, 20) ? SIM_MS : sim_draw(sim, 8 * SIM_S), SIM_WORLD, user);
}

static void marks(struct sim *sim, struct sim_task *task)
{
        (void)task;
        sim_bus_marks(sim);
        sim_at(sim, 5 * SIM_S, SIM_WORLD, marks);
}

/* Each seed has its own weather: some runs know only one sort of fault. */
static void choose_faults(struct sim *sim)
{
        struct sim_faults *f = &sim->faults;

        if (sim_chance(sim, 60))
                f->drop = (unsigned)sim_draw(sim, 20);
        if (sim_chance(sim, 50))
                f->repeat = (unsigned)sim_draw(sim, 10);
        if (sim_chance(sim, 30))
                f->reorder = (unsigned)sim_draw(sim, 10);
        if (sim_chance(sim, 60))
                f->crash = (unsigned)sim_draw(sim, 6);
        if (sim_chance(sim, 40))
                f->api_lost = (unsigned)sim_draw(sim, 15);
        if (sim_chance(sim, 30))
                f->api_down = (unsigned)sim_draw(sim, 3);
        if (sim_chance(sim, 60))
                f->op_fail = (unsigned)sim_draw(sim, 15);
        if (sim_chance(sim, 50))
                f->stubborn = (unsigned)sim_draw(sim, 60);
        if (sim_chance(sim, 30))
                f->guest_dies = (unsigned)sim_draw(sim, 3);
        if (sim_chance(sim, 30))
                f->drift = (unsigned)sim_draw(sim, 4);
}

/* ---- life ---- */

struct sim *sim_new(uint64_t seed, bool verbose)
{
        struct sim *sim = calloc(1, sizeof(*sim));

        if (!sim)
                abort();
        sim->seed = seed;
        sim->random = seed;
        sim->verbose = verbose;
        sim->trace = calloc(SIM_TRACE_LINES, sizeof(*sim->trace));
        sim->delivered[0] = json_object();
        sim->delivered[1] = json_object();
        sim->user_ports = json_object();
        if (!sim->trace || !sim->delivered[0] || !sim->delivered[1] || !sim->user_ports ||
            sim_api_start(sim) < 0)
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
        if (sim->taps_changed && !sim->failure[0])
                sim_check_always(sim);
        sim->taps_changed = false;
}

bool sim_run(struct sim *sim)
{
        uint64_t end = (SIM_FAULTS_S + SIM_CALM_S) * SIM_S, next_look = SIM_FAULTS_S * SIM_S;
        char why[256] = "";

        while (!sim->failure[0] && sim->heap_count && sim->heap[0]->at <= end) {
                run_one(sim);
                if (!sim->calm || sim->now < next_look)
                        continue;
                next_look = sim->now + SIM_S;
                if (sim_check_converged(sim, why)) {
                        sim->converged_us = sim->now - SIM_FAULTS_S * SIM_S;
                        return !sim->failure[0];
                }
        }
        if (!sim->failure[0])
                sim_fail(sim, "not converged %u s after the faults stopped: %s", SIM_CALM_S, why);
        return false;
}
