/* SPDX-License-Identifier: Apache-2.0 */
/* Events and actions as JSON, for the journal and for replay, from the field lists of types.h. */
#include <errno.h>
#include <string.h>

#include "services/hypervisor/core_internal.h"

/* ------------------------------------------------------------------ tables */

#define ENUM_NAME(x, c, wire) wire,
#define ENUM_TABLE(tag, values)                                                                              \
        static const char *const tag##_names[] = {values(ENUM_NAME, ) NULL};                                 \
        const char *tag##_name(enum tag value)                                                               \
        {                                                                                                    \
                return (size_t)value + 1 < AK_ARRAY_SIZE(tag##_names) ? tag##_names[value] : "?";            \
        }
HV_ENUMS(ENUM_TABLE)
HV_CORE_ENUMS(ENUM_TABLE)

static const char *const ak_image_pull_names[] = {AK_IMAGE_PULL_VALUES(ENUM_NAME, ) NULL};

#define REQUIRED        true
#define OPTIONAL        false
#define KIND_STR(a, b)  .kind = AK_FIELD_STR, .max_len = (a)
#define KIND_TEXT(a, b) .kind = AK_FIELD_TEXT, .max_len = (a)
#define KIND_U64(a, b)  .kind = AK_FIELD_U64, .max_value = (a)
#define KIND_BOOL(a, b) .kind = AK_FIELD_BOOL
#define KIND_ENUM(a, b) .kind = AK_FIELD_ENUM, .names = a##_names
#define FIELD(knd, field, a, b, presence, text)                                                              \
        {.name = #field,                                                                                     \
         KIND_##knd(a, b),                                                                                   \
         .required = presence,                                                                               \
         .offset = offsetof(this_record, field),                                                             \
         .doc = text},

/* One function per record, so that `this_record` can name its struct while the field list expands. */
#define RECORD_OF(tag, fields_of)                                                                            \
        static const struct ak_record *tag##_record(void)                                                    \
        {                                                                                                    \
                typedef struct tag this_record;                                                              \
                static const struct ak_field fields[] = {fields_of(FIELD)};                                  \
                static const struct ak_record record = {.name = #tag,                                        \
                                                        .size = sizeof(this_record),                         \
                                                        .fields = fields,                                    \
                                                        .field_count = AK_ARRAY_SIZE(fields),                \
                                                        .doc = ""};                                          \
                return &record;                                                                              \
        }
HV_RECORDS(RECORD_OF)

#define HV_CONFIG_FIELDS(F)                                                                                  \
        F(STR, node, AK_LEN_NAME, 0, OPTIONAL, "")                                                           \
        F(U64, seed, AK_MAX_U64, 0, OPTIONAL, "")                                                            \
        F(U64, max_vms, AK_MAX_U64, 0, OPTIONAL, "")                                                         \
        F(U64, boot_wait_us, AK_MAX_U64, 0, OPTIONAL, "")                                                    \
        F(U64, guest_wait_us, AK_MAX_U64, 0, OPTIONAL, "")                                                   \
        F(U64, unplug_wait_us, AK_MAX_U64, 0, OPTIONAL, "")                                                  \
        F(U64, retain_us, AK_MAX_U64, 0, OPTIONAL, "")                                                       \
        F(U64, list_every_us, AK_MAX_U64, 0, OPTIONAL, "")                                                   \
        F(U64, default_memory, AK_MAX_U64, 0, OPTIONAL, "")
RECORD_OF(hv_core_config, HV_CONFIG_FIELDS)

static int name_index(const char *const *names, const char *name)
{
        for (int i = 0; name && names[i]; i++) {
                if (strcmp(names[i], name) == 0)
                        return i;
        }
        return -1;
}

/* ------------------------------------------------------------------ to JSON */

static json_t *domain_to_json(const struct hv_live_domain *domain)
{
        json_t *json = ak_record_to_json(hv_live_domain_head_record(), &domain->head);
        json_t *nics = json_array();

        for (size_t i = 0; i < domain->nic_count; i++)
                json_array_append_new(nics, ak_record_to_json(hv_live_nic_record(), &domain->nics[i]));
        json_object_set_new(json, "nics", nics);
        return json;
}

static json_t *spec_to_json(const struct hv_domain_spec *spec)
{
        json_t *json = ak_record_to_json(hv_domain_spec_head_record(), &spec->head);
        json_t *nics = json_array();

        for (size_t i = 0; i < spec->nic_count; i++)
                json_array_append_new(nics, ak_record_to_json(hv_nic_spec_record(), &spec->nics[i]));
        json_object_set_new(json, "nics", nics);
        return json;
}

static json_t *result_to_json(const struct hv_result *result)
{
        json_t *json = ak_record_to_json(hv_result_head_record(), &result->head);

        if (result->domain)
                json_object_set_new(json, "domain", domain_to_json(result->domain));
        return json;
}

static void listed_to_json(const struct hv_event *event, json_t *json)
{
        json_t *domains = json_array();

        for (size_t i = 0; i < event->domain_count; i++)
                json_array_append_new(domains, domain_to_json(event->domains[i]));
        json_object_set_new(json, "domains", domains);
}

json_t *hv_event_to_json(const struct hv_event *event)
{
        json_t *json = json_pack("{s:s}", "type", hv_event_type_name(event->type));

        if (event->message)
                json_object_set_new(json, "message", ak_message_to_json(event->message));
        if (event->pod_uid[0])
                json_object_set_new(json, "pod_uid", json_string(event->pod_uid));
        if (event->port_id[0])
                json_object_set_new(json, "port_id", json_string(event->port_id));
        switch (event->type) {
        case HV_EVENT_LIFECYCLE:
                json_object_set_new(json, "lifecycle", json_string(hv_lifecycle_name(event->lifecycle)));
                break;
        case HV_EVENT_LISTED:
                listed_to_json(event, json);
                /* fall through */
        case HV_EVENT_CONNECTED:
        case HV_EVENT_RESULT:
                json_object_set_new(json, "result", result_to_json(&event->result));
                break;
        case HV_EVENT_IMAGE_PROGRESS:
        case HV_EVENT_IMAGE_DONE:
                json_object_set_new(json, "image",
                                    ak_record_to_json(hv_image_result_record(), &event->image));
                break;
        default:
                break;
        }
        return json;
}

static void driver_to_json(const struct hv_action *a, json_t *json)
{
        json_object_set_new(json, "op", json_string(hv_op_name(a->op)));
        json_object_set_new(json, "id", json_integer((json_int_t)a->id));
        json_object_set_new(json, "pod_uid", json_string(a->pod_uid));
        if (a->nic.port_id[0])
                json_object_set_new(json, "nic", ak_record_to_json(hv_nic_spec_record(), &a->nic));
        if (a->domain)
                json_object_set_new(json, "domain", spec_to_json(a->domain));
}

static json_t *action_to_json(const struct hv_action *a)
{
        json_t *json = json_pack("{s:s}", "type", hv_action_type_name(a->type));

        switch (a->type) {
        case HV_ACTION_PUBLISH:
                json_object_set_new(json, "message", ak_message_to_json(a->message));
                break;
        case HV_ACTION_FORGET:
                json_object_set_new(json, "topic", json_string(a->topic));
                break;
        case HV_ACTION_DRIVER:
                driver_to_json(a, json);
                break;
        case HV_ACTION_FETCH_IMAGE:
                json_object_set_new(json, "image", ak_record_to_json(hv_image_request_record(), a->image));
                break;
        case HV_ACTION_WAKE:
                json_object_set_new(json, "at", json_integer((json_int_t)a->at_us));
                break;
        default:
                break;
        }
        return json;
}

json_t *hv_actions_to_json(const struct hv_actions *actions)
{
        json_t *array = json_array();

        for (size_t i = 0; i < actions->count; i++)
                json_array_append_new(array, action_to_json(&actions->items[i]));
        return array;
}

json_t *hv_core_config_to_json(const struct hv_core_config *config)
{
        return ak_record_to_json(hv_core_config_record(), config);
}

/* ------------------------------------------------------------------ from JSON */

int hv_core_config_from_json(const json_t *json, struct hv_core_config *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        return ak_record_from_json(hv_core_config_record(), json, out, error);
}

/* A record with "nics" beside its own fields: those must be out of its sight. */
static json_t *without(const json_t *json, const char *key)
{
        json_t *copy = json_copy((json_t *)json);

        if (copy)
                json_object_del(copy, key);
        return copy;
}

static int domain_from_json(const json_t *json, struct hv_live_domain **out, char error[AK_SCHEMA_ERROR_SIZE])
{
        AK_AUTOFREE struct hv_live_domain *domain = calloc(1, sizeof(*domain));
        json_t *head = without(json, "nics"), *nics = json_object_get(json, "nics");
        int r = domain && head ? ak_record_from_json(hv_live_domain_head_record(), head, &domain->head, error)
                               : -ENOMEM;

        json_decref(head);
        if (r < 0)
                return r;
        if (json_array_size(nics) > HV_MAX_SLOTS)
                return -EMSGSIZE;
        for (size_t i = 0; i < json_array_size(nics); i++) {
                r = ak_record_from_json(hv_live_nic_record(), json_array_get(nics, i), &domain->nics[i],
                                        error);
                if (r < 0)
                        return r;
                domain->nic_count++;
        }
        *out = AK_STEAL(domain);
        return 0;
}

static int result_from_json(const json_t *json, struct hv_result *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        json_t *head = without(json, "domain"), *domain = json_object_get(json, "domain");
        int r = head ? ak_record_from_json(hv_result_head_record(), head, &out->head, error) : -ENOMEM;

        json_decref(head);
        return r == 0 && domain ? domain_from_json(domain, &out->domain, error) : r;
}

static int domains_from_json(const json_t *json, struct hv_event *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        size_t count = json_array_size(json);
        int r = 0;

        if (count == 0)
                return 0;
        out->domains = calloc(count, sizeof(struct hv_live_domain *));
        if (!out->domains)
                return -ENOMEM;
        for (size_t i = 0; i < count && r == 0; i++) {
                r = domain_from_json(json_array_get(json, i), &out->domains[i], error);
                out->domain_count += r == 0;
        }
        return r;
}

static int id_from_json(const json_t *json, const char *key, char out[AK_LEN_UID + 1])
{
        const char *text = json_string_value(json_object_get(json, key));

        if (text && strlen(text) > AK_LEN_UID)
                return -EMSGSIZE;
        (void)snprintf(out, AK_LEN_UID + 1, "%s", text ? text : "");
        return 0;
}

static int parts_from_json(const json_t *json, struct hv_event *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        json_t *message = json_object_get(json, "message"), *image = json_object_get(json, "image");
        json_t *result = json_object_get(json, "result");
        int r = id_from_json(json, "pod_uid", out->pod_uid);

        if (r == 0)
                r = id_from_json(json, "port_id", out->port_id);
        if (r == 0 && message)
                r = ak_message_from_json(message, &out->message, error);
        if (r == 0 && result)
                r = result_from_json(result, &out->result, error);
        if (r == 0 && image)
                r = ak_record_from_json(hv_image_result_record(), image, &out->image, error);
        if (r == 0)
                r = domains_from_json(json_object_get(json, "domains"), out, error);
        return r;
}

int hv_event_from_json(const json_t *json, struct hv_event *out, char error[AK_SCHEMA_ERROR_SIZE])
{
        struct hv_event event = {0};
        int type = name_index(hv_event_type_names, json_string_value(json_object_get(json, "type")));
        int lifecycle = name_index(hv_lifecycle_names, json_string_value(json_object_get(json, "lifecycle")));
        int r;

        error[0] = '\0';
        if (type < 0 || (type == HV_EVENT_LIFECYCLE && lifecycle < 0)) {
                (void)snprintf(error, AK_SCHEMA_ERROR_SIZE, "unknown event type or lifecycle");
                return -EBADMSG;
        }
        event.type = (enum hv_event_type)type;
        event.lifecycle = lifecycle < 0 ? HV_LIFECYCLE_STARTED : (enum hv_lifecycle)lifecycle;
        r = parts_from_json(json, &event, error);
        if (r == 0 && event.type == HV_EVENT_MESSAGE && !event.message)
                r = -EBADMSG;
        if (r < 0) {
                hv_event_deinit(&event);
                return r;
        }
        *out = event;
        return 0;
}
