/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discovery and OpenAPI documents, made from the tables of schema.h. Pure; all return new references, and
 * never change while a process lives, so a caller may keep them.
 *
 * Content types, as kubectl 1.20 and 1.32 want them in answers:
 *  - aggregated discovery, asked for by an Accept of
 *    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" (or v=v2beta1): the same text;
 *    anything else makes the client take the document for a plain one;
 *  - OpenAPI v2, asked for as "application/com.github.proto-openapi.spec.v2@v1.0+protobuf": answer
 *    AK_OPENAPI_V2_PROTOBUF. The '@' of the request is no media type to Go 1.18 and later: kubectl gives up
 *    on an answer that repeats it.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define AK_OPENAPI_V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

json_t *api_discovery_versions(void);           /* GET /api */
json_t *api_discovery_groups(void);             /* GET /apis */
json_t *api_discovery_group(const char *group); /* GET /apis/GROUP; NULL = not served */
json_t *api_discovery_resources(const char *group,
                                const char *version); /* GET /api/v1, /apis/GROUP/VERSION */
/* apidiscovery.k8s.io/v2 (or v2beta1) APIGroupDiscoveryList for /api (core true) or /apis. */
json_t *api_discovery_aggregated(int core, const char *version);
json_t *api_openapi_v2(void); /* GET /openapi/v2 as JSON */
/* The same as a gnostic openapi.v2 protobuf Document (kubectl before 1.27 accepts nothing else). malloc'd. */
int api_openapi_v2_protobuf(uint8_t **out, size_t *len);
json_t *api_openapi_v3_index(void); /* GET /openapi/v3 */
json_t *api_openapi_v3(const char *group,
                       const char *version); /* GET /openapi/v3/api/v1, /openapi/v3/apis/G/V */
