# SPDX-License-Identifier: Apache-2.0
# Tests of the core, one program per subject; included by core.cmake.
alkaid_library(api_core_test_util SOURCES test_core_util.c DEPS api_core alkaid_dep::cmocka)
foreach(subject groups list nics nodes owners past patch pod verbs)
  alkaid_unit_test(test_apiserver_core_${subject} SOURCES test_core_${subject}.c DEPS api_core_test_util api_core)
endforeach()
alkaid_unit_test(test_apiserver_core_trace SOURCES test_core_trace.c DEPS api_core_test_util api_core)
foreach(subject api_patch api_pod api_selector api_validate)
  alkaid_fuzz_target(fuzz_${subject} SOURCES ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${subject}.c DEPS api_core
                     CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject})
endforeach()
