/* SPDX-License-Identifier: Apache-2.0 */
/* Events, actions and configuration as JSON: what the journal holds and a replay reads. */
#include <errno.h>
#include <string.h>

#include "services/watcher/core_internal.h"

#define ENUM_NAME(x, c, wire) wire,
#define ENUM_TABLE(tag, values)                                                                              \
        static const char *const tag##_names[] = {values(ENUM_NAME, ) NULL};                                 \
        const char *tag##_name(enum tag value)                                                               \
        {                                                                                                    \
                return (size_t)value + 1 < AK_ARRAY_SIZE(tag##_names) ? tag##_names[value] : "?";            \
        }
WATCHER_ENUMS(ENUM_TABLE)

#define STRING(member, text)                                                                                 \
        {                                                                                                    \
                .name = #member, .kind = AK_FIELD_STR,                                                       \
                .offset = offsetof(struct watcher_core_config, member),                                      \
                .max_len = sizeof(((struct watcher_core_config *)0)->member) - 1, .doc = text                \
        }
#define NUMBER(member, def, text)                                                                            \
        {.name = #member,                                                                                    \
         .kind = AK_FIELD_U64,                                                                               \
         .offset = offsetof(struct watcher_core_config, member),                                             \
         .max_value = AK_MAX_U64,                                                                            \
         .doc = text},

static const struct ak_field config_fields[] = {STRING(node, "name of the node"),
                                                STRING(host_ip, "address of the node, for status.hostIP"),
                                                WATCHER_CONFIG_NUMBERS(NUMBER)};

static const struct ak_record config_record = {.name = "watcher_core_config",
                                               .size = sizeof(struct watcher_core_config),
                                               .fields = config_fields,
                                               .field_count = AK_ARRAY_SIZE(config_fields),
                                               .doc = "what a core is made with"};

json_t *watcher_core_config_to_json(const struct watcher_core_config *config)
{
        return ak_record_to_json(&config_record, config);
}

int watcher_core_config_from_json(const json_t *json, struct watcher_core_config *out,
                                  char error[AK_SCHEMA_ERROR_SIZE])
{
        return ak_record_from_json(&config_record, json, out, error);
}

/* ------------------------------------------------------------------ events */

static void set_string(json_t *json, const char *key, const char *value)
{
        if (value[0])
                (void)json_object_set_new(json, key, json_string(value));
}

/* A jansson integer is signed; epochs and operations are written as text. */
static void set_u64(json_t *json, const char *key, uint64_t value)
{
        char text[24];
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
        if (value)
                (void)json_object_set_new(json, key, json_string(text));
}

json_t *watcher_event_to_json(const struct watcher_event *event)
{
        json_t *json = json_pack("{s:s}", "type", watcher_event_type_name(event->type));
        if (!json)
                return NULL;
        if (event->object)
                (void)json_object_set(json, "object", event->object);
        if (event->message)
                (void)json_object_set_new(json, "message", ak_message_to_json(event->message));
        set_string(json, "peer", event->peer);
        set_u64(json, "epoch", event->epoch);
        if (event->more)
                (void)json_object_set_new(json, "more", json_true());
        if (event->type == WATCHER_EVENT_ANSWER) {
                set_u64(json, "op", event->op);
                set_string(json, "outcome", watcher_outcome_name(event->outcome));
                set_string(json, "text", event->text);
        }
        return json;
}

static int index_of(const char *const *names, const char *name)
{
        for (int i = 0; name && names[i]; i++)
                if (strcmp(names[i], name) == 0)
                        return i;
        return -1;
}

static int get_u64(const json_t *json, const char *key, uint64_t *out)
{
        const char *text = json_string_value(json_object_get(json, key));
        char *end;
        if (!text)
                return json_object_get(json, key) ? -EBADMSG : 0;
        errno = 0;
        unsigned long long value = strtoull(text, &end, 10);
        if (errno || *end != '\0' || text[0] < '0' || text[0] > '9')
                return -EBADMSG;
        *out = value;
        return 0;
}

static int get_string(const json_t *json, const char *key, char *out, size_t size)
{
        const char *text = json_string_value(json_object_get(json, key));
        if (text && strlen(text) >= size)
                return -EBADMSG;
        if (text)
                memcpy(out, text, strlen(text) + 1);
        return 0;
}

static int get_outcome(const json_t *json, struct watcher_event *event)
{
        int outcome = index_of(watcher_outcome_names, json_string_value(json_object_get(json, "outcome")));
        if (event->type != WATCHER_EVENT_ANSWER)
                return 0;
        if (outcome < 0)
                return -EBADMSG;
        event->outcome = (enum watcher_outcome)outcome;
        return 0;
}

static int scalars_from_json(const json_t *json, struct watcher_event *event)
{
        int type = index_of(watcher_event_type_names, json_string_value(json_object_get(json, "type")));
        if (type < 0)
                return -EBADMSG;
        event->type = (enum watcher_event_type)type;
        if (get_u64(json, "epoch", &event->epoch) < 0 || get_u64(json, "op", &event->op) < 0 ||
            get_string(json, "peer", event->peer, sizeof(event->peer)) < 0 ||
            get_string(json, "text", event->text, sizeof(event->text)) < 0)
                return -EBADMSG;
        return get_outcome(json, event);
}

int watcher_event_from_json(const json_t *json, struct watcher_event *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        struct watcher_event event = {0};
        const json_t *message = json_object_get(json, "message");
        int rc = scalars_from_json(json, &event);
        if (rc < 0) {
                (void)snprintf(error, AK_SCHEMA_ERROR_SIZE,
                               "event: unknown type, or a field of a wrong kind");
                return rc;
        }
        if (message)
                rc = ak_message_from_json(message, &event.message, error);
        if (rc < 0)
                return rc;
        event.more = json_is_true(json_object_get(json, "more"));
        event.object = json_incref(json_object_get(json, "object"));
        *out = event;
        return 0;
}

void watcher_event_deinit(struct watcher_event *event)
{
        json_decref(event->object);
        ak_message_free(event->message);
        *event = (struct watcher_event){0};
}

json_t *watcher_event_json_of_body(const char *peer, uint64_t epoch, const char *topic, const uint8_t *body,
                                   size_t len)
{
        char error[AK_SCHEMA_ERROR_SIZE];
        struct watcher_event event = {.type = WATCHER_EVENT_MESSAGE, .epoch = epoch};
        AK_CLEANUP(ak_message_freep) struct ak_message *message = NULL;
        if (ak_message_decode(topic, body, len, &message, error) < 0)
                return NULL;
        if (message->type == ak_message_vm_diff || message->type == ak_message_nic_diff)
                return NULL;
        event.message = message;
        W_COPY(event.peer, peer);
        return watcher_event_to_json(&event);
}

/* ------------------------------------------------------------------ actions */

static const char *level_name(enum ak_log_level level)
{
        static const char *const names[] = {"debug", "info", "warn", "error"};
        return (size_t)level < AK_ARRAY_SIZE(names) ? names[level] : "?";
}

static void call_to_json(const struct watcher_action *action, json_t *json)
{
        set_u64(json, "op", action->op);
        set_string(json, "call", watcher_call_type_name(action->call));
        set_string(json, "namespace", action->name_space);
        set_string(json, "name", action->name);
        if (action->body)
                (void)json_object_set(json, "body", action->body);
}

static void log_to_json(const struct watcher_action *action, json_t *json)
{
        set_string(json, "level", level_name(action->level));
        set_string(json, "event", action->event);
        set_string(json, "pod", action->pod);
        set_string(json, "nic", action->nic);
        set_string(json, "port", action->port);
        set_string(json, "text", action->text);
}

static json_t *action_to_json(const struct watcher_action *action)
{
        json_t *json = json_pack("{s:s}", "type", watcher_action_type_name(action->type));
        switch (json ? action->type : WATCHER_ACTION_WAKE) {
        case WATCHER_ACTION_PUBLISH:
                (void)json_object_set_new(json, "message", ak_message_to_json(action->message));
                set_string(json, "trace", action->trace);
                break;
        case WATCHER_ACTION_FORGET:
                set_string(json, "topic", action->topic);
                break;
        case WATCHER_ACTION_CALL:
                call_to_json(action, json);
                break;
        case WATCHER_ACTION_LOG:
                log_to_json(action, json);
                break;
        case WATCHER_ACTION_WAKE:
                if (json)
                        set_u64(json, "at_us", action->at_us);
                break;
        }
        return json;
}

json_t *watcher_actions_to_json(const struct watcher_actions *actions)
{
        json_t *list = json_array();
        for (size_t i = 0; list && i < actions->count; i++)
                (void)json_array_append_new(list, action_to_json(&actions->items[i]));
        return list;
}
