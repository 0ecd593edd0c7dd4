# SPDX-License-Identifier: Apache-2.0
# api_core: the API's types and rules, pure.
alkaid_library(api_core
  SOURCES object_util.c patch_json.c patch_strategic.c schema.c schema_checks.c schema_core.c schema_meta.c
          schema_pod.c schema_vpc.c status.c validate.c
  DEPS ak_common ak_proto alkaid_dep::jansson alkaid_dep::czmq)
