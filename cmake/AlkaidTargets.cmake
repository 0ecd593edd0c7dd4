# SPDX-License-Identifier: Apache-2.0

# What a test needs to know about the sanitizer that it runs under.
set(ALKAID_TEST_ENVIRONMENT "")
if(ALKAID_SANITIZE MATCHES "thread")
  set(ALKAID_TEST_ENVIRONMENT "TSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/cmake/tsan.supp")
endif()

# alkaid_library(NAME SOURCES ... [DEPS ...]): a static library with the project's flags.
function(alkaid_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC alkaid_flags ${A_DEPS})
endfunction()

# alkaid_program(NAME SOURCES main.c DEPS ...): an installed daemon or tool.
function(alkaid_program name)
  cmake_parse_arguments(A "" "DESTINATION" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE alkaid_flags ${A_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  if(NOT A_DESTINATION)
    set(A_DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
  # In which Debian package it goes.
  set(A_COMPONENT cli)
  if(name STREQUAL alkaid-apiserver)
    set(A_COMPONENT server)
  elseif(name MATCHES "^alkaid-(watcher|network|hypervisor)$")
    set(A_COMPONENT node)
  endif()
  install(TARGETS ${name} RUNTIME DESTINATION ${A_DESTINATION} COMPONENT ${A_COMPONENT})
endfunction()

# alkaid_unit_test(NAME SOURCES ... [DEPS ...] [LABELS ...]): a cmocka program run by ctest.
# The label defaults to "unit"; "integration" tests need root and real parts.
function(alkaid_unit_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE alkaid_flags ${A_DEPS} alkaid_dep::cmocka)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT}
                       ENVIRONMENT "${ALKAID_TEST_ENVIRONMENT}")
endfunction()

# alkaid_fuzz_target(NAME SOURCES ... DEPS ... CORPUS DIR): a libFuzzer program under the fuzz
# preset; under every other preset the same source runs over its corpus once, as a unit test. QUIET: what the
# target prints is of no interest (libFuzzer then closes its standard output and error).
function(alkaid_fuzz_target name)
  cmake_parse_arguments(A "QUIET" "CORPUS" "SOURCES;DEPS" ${ARGN})
  set(flags "")
  if(A_QUIET)
    set(flags -close_fd_mask=3)
  endif()
  if(ALKAID_FUZZ)
    add_executable(${name} ${A_SOURCES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${A_SOURCES} ${CMAKE_SOURCE_DIR}/tests/fuzz/run_corpus.c)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(${name} PRIVATE alkaid_flags ${A_DEPS})
  if(ALKAID_FUZZ)
    add_test(NAME ${name} COMMAND ${name} -max_total_time=10 -timeout=5 -rss_limit_mb=1024 ${flags}
             -artifact_prefix=${CMAKE_BINARY_DIR}/fuzz/${name}- ${CMAKE_BINARY_DIR}/fuzz/corpus-${name} ${A_CORPUS})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz/corpus-${name})
  else()
    add_test(NAME ${name} COMMAND ${name} ${A_CORPUS})
  endif()
  set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120 ENVIRONMENT "${ALKAID_TEST_ENVIRONMENT}")
endfunction()
