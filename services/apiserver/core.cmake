# SPDX-License-Identifier: Apache-2.0
alkaid_library(api_image SOURCES image.c DEPS ak_common alkaid_dep::jansson)

# api_core: the API's types and rules, pure.
alkaid_library(api_core
  SOURCES admission_nics.c alloc.c core.c core_delete.c core_handle.c core_list.c core_nodes.c core_owners.c core_past.c core_schedule.c groups.c hot.c object_util.c objects.c
          patch_json.c patch_strategic.c rules_pod.c rules_vpc.c schema.c schema_checks.c schema_core.c
          schema_meta.c schema_pod.c schema_vpc.c selector.c status.c table.c txn.c validate.c
  DEPS api_image ak_common ak_proto alkaid_dep::jansson alkaid_dep::czmq)
target_sources(api_core PRIVATE core_trace.c fields.c)

include(${CMAKE_CURRENT_LIST_DIR}/core_tests.cmake)
