# SPDX-License-Identifier: Apache-2.0
# api_openapi: discovery and OpenAPI documents. Included by this directory's CMakeLists.txt.
pkg_check_modules(ALKAID_protobuf_c REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(ALKAID_PROTOC_C protoc-c REQUIRED)

set(_oa_pb ${CMAKE_CURRENT_BINARY_DIR}/openapi_v2.pb-c)
add_custom_command(
  OUTPUT ${_oa_pb}.c ${_oa_pb}.h
  COMMAND ${ALKAID_PROTOC_C} --c_out=${CMAKE_CURRENT_BINARY_DIR} --proto_path=${CMAKE_CURRENT_LIST_DIR}
          ${CMAKE_CURRENT_LIST_DIR}/openapi_v2.proto
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/openapi_v2.proto
  VERBATIM)

# Generated code keeps its own style: no project warnings on it.
add_library(api_openapi_pb STATIC ${_oa_pb}.c)
add_dependencies(generated api_openapi_pb)
target_include_directories(api_openapi_pb PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
target_link_libraries(api_openapi_pb PUBLIC PkgConfig::ALKAID_protobuf_c)

alkaid_library(api_openapi
  SOURCES discovery.c openapi.c openapi_meta.c openapi_paths.c openapi_protobuf.c openapi_schema.c
          openapi_util.c
  DEPS api_reviews api_openapi_pb alkaid_dep::jansson alkaid_dep::gnutls)

alkaid_unit_test(test_openapi SOURCES test_openapi.c test_openapi_table.c DEPS api_openapi)
alkaid_unit_test(test_openapi_small_table SOURCES test_openapi_complete.c test_openapi_table.c DEPS api_openapi)
if(TARGET api_core)
  alkaid_unit_test(test_openapi_served_table SOURCES test_openapi_complete.c DEPS api_openapi api_core)
endif()
