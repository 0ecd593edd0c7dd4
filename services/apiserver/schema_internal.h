/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces that the schema_*.c files share. */
#pragma once

#include "libcommon/cleanup.h"
#include "services/apiserver/schema.h"

#define API_META_PREFIX  "io.k8s.apimachinery.pkg.apis.meta.v1."
#define API_CORE_PREFIX  "io.k8s.api.core.v1."
#define API_VPC_PREFIX   "io.alkaid.vpc.v1."
#define API_LEASE_PREFIX "io.k8s.api.coordination.v1."

/* static const struct api_schema NAME: an object of the fields in NAME_fields[]. */
#define API_OBJECT_SCHEMA(var, definition, text)                                                             \
        {                                                                                                    \
                .type = API_TYPE_OBJECT, .name = (definition), .doc = (text), .fields = var##_fields,        \
                .field_count = AK_ARRAY_SIZE(var##_fields)                                                   \
        }

extern const struct api_schema api_schema_string; /* any string */
extern const struct api_schema api_schema_name;   /* DNS-1123 subdomain */
extern const struct api_schema api_schema_uuid;
extern const struct api_schema api_schema_bool;
extern const struct api_schema api_schema_int;
extern const struct api_schema api_schema_count; /* 0..2^31-1 */
extern const struct api_schema api_schema_time;
extern const struct api_schema api_schema_any;
extern const struct api_schema api_schema_strings; /* list */
extern const struct api_schema api_schema_string_map;
extern const struct api_schema api_schema_quantities; /* map of quantities */
extern const struct api_schema api_schema_meta;       /* ObjectMeta */
extern const struct api_schema api_schema_ip;
extern const struct api_schema api_schema_cidr;
extern const struct api_schema api_schema_mac;
extern const struct api_schema api_schema_mtu;
extern const struct api_schema api_schema_ips;        /* list of addresses */
extern const struct api_schema api_schema_conditions; /* merged by type */

/* Format checks: NULL or what is expected. */
const char *api_check_name(const char *value);
const char *api_check_label(const char *value);
const char *api_check_label_key(const char *value); /* "example.org/name" of a label, annotation, … */
const char *api_check_label_value(const char *value);
const char *api_check_ifname(const char *value);
const char *api_check_ip(const char *value);
const char *api_check_cidr(const char *value);
const char *api_check_mac(const char *value);
const char *api_check_uuid(const char *value);
const char *api_check_image(const char *value);
const char *api_check_sha256(const char *value);

/* resource.Quantity in thousandths ("1" = 1000, "500m" = 500, "200Mi" = 200 * 2^20 * 1000); saturates. */
int api_quantity_parse(const char *text, int64_t *milli);

extern const struct api_kind api_kind_pod, api_kind_node, api_kind_namespace, api_kind_event, api_kind_lease;
extern const struct api_kind api_kind_vpc, api_kind_subnet, api_kind_port, api_kind_security_group;
