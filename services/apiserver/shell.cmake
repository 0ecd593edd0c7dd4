# SPDX-License-Identifier: Apache-2.0
# api_shell: HTTP, certificates, store, watches; and the program alkaid-apiserver.

set(_kube_pb ${CMAKE_CURRENT_BINARY_DIR}/kube.pb-c)
add_custom_command(
  OUTPUT ${_kube_pb}.c ${_kube_pb}.h
  COMMAND ${ALKAID_PROTOC_C} --c_out=${CMAKE_CURRENT_BINARY_DIR} --proto_path=${CMAKE_CURRENT_LIST_DIR}
          ${CMAKE_CURRENT_LIST_DIR}/kube.proto
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/kube.proto
  VERBATIM)
add_library(api_kube_pb STATIC ${_kube_pb}.c)
add_dependencies(generated api_kube_pb)
target_include_directories(api_kube_pb PUBLIC ${CMAKE_CURRENT_BINARY_DIR})
target_link_libraries(api_kube_pb PUBLIC PkgConfig::ALKAID_protobuf_c)

# Certificates, for the server and for `alkaidctl cert`.
alkaid_library(api_pki SOURCES pki.c pki_file.c DEPS ak_common alkaid_dep::gnutls)

pkg_check_modules(ALKAID_apizlib REQUIRED IMPORTED_TARGET zlib)
alkaid_library(api_shell
  SOURCES attach.c access.c audit.c auth.c auth_files.c commit.c console.c docs.c event.c gzip.c handle.c handle_join.c handle_objects.c handle_review.c http.c http_access.c http_deadline.c http_stream.c options.c podlog.c
          protobuf.c rest.c rest_body.c server.c store_sqlite.c tls.c watch.c watch_index.c websocket.c
  DEPS api_pki api_reviews api_kube_pb ak_common alkaid_dep::jansson alkaid_dep::gnutls alkaid_dep::sqlite3 alkaid_dep::microhttpd
       alkaid_dep::czmq alkaid_dep::systemd alkaid_dep::wslay PkgConfig::ALKAID_apizlib)

target_sources(api_shell PRIVATE metrics.c)
target_link_libraries(api_shell PUBLIC ak_telemetry)

if(TARGET api_core AND TARGET api_openapi)
  alkaid_program(alkaid-apiserver SOURCES main.c DEPS api_shell api_core api_openapi ak_service)
endif()

# Tests of the shell run with a core without rules (test_stub_core.c), so that they test the shell alone.
alkaid_library(api_test_harness SOURCES test_harness.c DEPS api_shell ak_service alkaid_dep::curl alkaid_dep::cmocka)
alkaid_library(api_test_core SOURCES test_stub_core.c DEPS api_image ak_common)
alkaid_library(api_store_fake SOURCES store_fake.c DEPS alkaid_dep::czmq)
alkaid_unit_test(test_apiserver_rest SOURCES test_rest.c DEPS api_shell api_test_core)
alkaid_unit_test(test_apiserver_access SOURCES test_access.c DEPS api_shell api_test_core)
if(TARGET api_core)
  alkaid_unit_test(test_apiserver_access_kinds SOURCES test_access_kinds.c DEPS api_shell api_core)
endif()
alkaid_unit_test(test_apiserver_protobuf SOURCES test_protobuf.c DEPS api_shell)
alkaid_unit_test(test_apiserver_store SOURCES test_store.c DEPS api_shell api_store_fake)
alkaid_unit_test(test_apiserver_pki SOURCES test_pki.c DEPS api_shell)
if(TARGET api_openapi)
  foreach(part http watch crash console)
    alkaid_unit_test(test_apiserver_${part} SOURCES test_server_${part}.c TIMEOUT 1500
                     DEPS api_test_harness api_shell api_test_core api_openapi api_test_core alkaid_dep::zmq)
  endforeach()
endif()
alkaid_fuzz_target(fuzz_rest SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_rest.c DEPS api_shell api_test_core
                   CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/rest)
if(TARGET api_core AND TARGET api_openapi)
  alkaid_fuzz_target(fuzz_http SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_http.c DEPS api_shell api_core api_openapi
                     CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/http)
endif()
alkaid_fuzz_target(fuzz_websocket SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_websocket.c DEPS api_shell
                   CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/websocket)
alkaid_fuzz_target(fuzz_protobuf SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_protobuf.c DEPS api_shell
                   CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/protobuf)
alkaid_fuzz_target(fuzz_access SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_access.c DEPS api_shell api_test_core
                   CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/access)
