/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for people. A repetition is counted on the Event that is there (count, lastTimestamp) instead of
 * making another one, and each pod may cause only so many writes: 25 at once, then one every ten seconds,
 * like client-go's recorder. What is held back is not lost but counted into the next write.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "services/watcher/core_internal.h"

#define BURST     25.0
#define REFILL_US 10000000.0

static bool spend_token(const struct watcher_core *core, struct watcher_vm *vm)
{
        if (!vm->event_refill_us)
                vm->event_tokens = BURST;
        else
                vm->event_tokens += (double)(core->now - vm->event_refill_us) / REFILL_US;
        if (vm->event_tokens > BURST)
                vm->event_tokens = BURST;
        vm->event_refill_us = core->now ? core->now : 1;
        if (vm->event_tokens < 1.0)
                return false;
        vm->event_tokens -= 1.0;
        return true;
}

static struct watcher_record *record_find(struct watcher_core *core, const char *key)
{
        for (size_t i = 0; i < core->record_count; i++)
                if (strcmp(core->records[i].key, key) == 0)
                        return &core->records[i];
        return NULL;
}

static struct watcher_record *record_new(struct watcher_core *core)
{
        struct watcher_record *oldest = &core->records[0];
        if (core->record_count < W_MAX_RECORDS)
                return &core->records[core->record_count++];
        for (size_t i = 1; i < W_MAX_RECORDS; i++)
                if (core->records[i].last_us < oldest->last_us)
                        oldest = &core->records[i];
        return oldest;
}

static json_t *involved(const struct watcher_core *core, const struct watcher_vm *vm)
{
        if (!vm->name[0])
                return json_pack("{s:s, s:s, s:s}", "apiVersion", "v1", "kind", "Node", "name",
                                 core->config.node);
        return json_pack("{s:s, s:s, s:s, s:s, s:s}", "apiVersion", "v1", "kind", "Pod", "namespace",
                         vm->name_space, "name", vm->name, "uid", vm->uid);
}

static json_t *event_body(const struct watcher_core *core, const struct watcher_vm *vm,
                          const struct watcher_record *record, bool warning, const char *reason,
                          const char *message)
{
        char now[AK_RFC3339_SIZE];
        ak_rfc3339_format(core->real, false, now);
        return json_pack(
            "{s:s, s:s, s:{s:s, s:s}, s:o, s:s, s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:I, s:s, s:s}",
            "apiVersion", "v1", "kind", "Event", "metadata", "name", record->name, "namespace",
            record->name_space, "involvedObject", involved(core, vm), "reason", reason, "message", message,
            "type", warning ? "Warning" : "Normal", "source", "component", "alkaid-watcher", "host",
            core->config.node, "firstTimestamp", now, "lastTimestamp", now, "count",
            (json_int_t)record->count, "reportingComponent", "alkaid-watcher", "reportingInstance",
            core->config.node);
}

static void record_name(struct watcher_core *core, const struct watcher_vm *vm, struct watcher_record *record)
{
        const char *base = vm->name[0] ? vm->name : core->config.node;
        const uint64_t serial = core->real * 1000 + ++core->event_serial % 1000;
        (void)snprintf(record->name, sizeof(record->name), "%.200s.%" PRIx64, base, serial);
        W_COPY(record->name_space, vm->name_space[0] ? vm->name_space : "default");
}

static void count_up(struct watcher_core *core, struct watcher_record *record)
{
        char now[AK_RFC3339_SIZE];
        ak_rfc3339_format(core->real, false, now);
        json_t *body = json_pack("{s:I, s:s}", "count", (json_int_t)record->count, "lastTimestamp", now);
        if (!body)
                core->error = -ENOMEM;
        else
                record->op =
                    watcher_call(core, WATCHER_CALL_EVENT_PATCH, record->name_space, record->name, body);
}

void watcher_event_post(struct watcher_core *core, struct watcher_vm *vm, bool warning, const char *reason,
                        const char *format, ...)
{
        char message[WATCHER_TEXT_SIZE], key[sizeof(((struct watcher_record *)0)->key)];
        va_list args;
        va_start(args, format);
        (void)vsnprintf(message, sizeof(message), format, args);
        va_end(args);
        (void)snprintf(key, sizeof(key), "%s|%s|%.255s", vm->uid, reason, message);
        struct watcher_record *record = record_find(core, key);
        bool pass = spend_token(core, vm);
        if (record) {
                record->count++;
                record->last_us = core->now;
                if (pass && !record->op)
                        count_up(core, record);
                return;
        }
        if (!pass)
                return;
        record = record_new(core);
        *record = (struct watcher_record){.count = 1, .last_us = core->now};
        W_COPY(record->key, key);
        record_name(core, vm, record);
        json_t *body = event_body(core, vm, record, warning, reason, message);
        if (body)
                record->op = watcher_call(core, WATCHER_CALL_EVENT_CREATE, record->name_space, "", body);
        else
                core->error = -ENOMEM;
}

bool watcher_event_answer(struct watcher_core *core, const struct watcher_event *answer)
{
        for (size_t i = 0; i < core->record_count; i++) {
                struct watcher_record *record = &core->records[i];
                if (record->op != answer->op)
                        continue;
                record->op = 0;
                /* Not made, or no longer there: the next one of its kind makes a new one. */
                if (answer->outcome != WATCHER_OK)
                        record->key[0] = '\0';
                return true;
        }
        return false;
}
