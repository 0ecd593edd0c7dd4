# SPDX-License-Identifier: Apache-2.0
# Compiler flags shared by every target, carried by the interface target alkaid_flags.
option(ALKAID_WERROR "Treat warnings as errors" OFF)
option(ALKAID_FUZZ "Build the libFuzzer targets (clang)" OFF)
option(ALKAID_COVERAGE "Instrument for coverage" OFF)
set(ALKAID_SANITIZE "" CACHE STRING "Value for -fsanitize=, for example address,undefined")

add_library(alkaid_flags INTERFACE)
target_compile_definitions(alkaid_flags INTERFACE _GNU_SOURCE ALKAID_VERSION="${PROJECT_VERSION}")
target_include_directories(alkaid_flags INTERFACE ${CMAKE_SOURCE_DIR})
# -Wno-format-truncation: snprintf() is how text is cut to its bound here, which is what that warning flags.
# clang, and with it clang-tidy, does not know that warning; gcc does not mind an unknown -Wno-….
target_compile_options(alkaid_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
  -Wformat=2 -Wno-unknown-warning-option -Wno-format-truncation -Wundef -Wno-missing-field-initializers
  -fno-common -fstack-protector-strong)
target_link_options(alkaid_flags INTERFACE -Wl,-z,relro,-z,now)
if(ALKAID_WERROR)
  target_compile_options(alkaid_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT ALKAID_SANITIZE)
  target_compile_options(alkaid_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(ALKAID_SANITIZE)
  target_compile_options(alkaid_flags INTERFACE -fsanitize=${ALKAID_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(alkaid_flags INTERFACE -fsanitize=${ALKAID_SANITIZE})
endif()
if(ALKAID_FUZZ)
  # Coverage feedback from the libraries too, not only from the fuzz target's own file.
  target_compile_options(alkaid_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(ALKAID_COVERAGE)
  target_compile_options(alkaid_flags INTERFACE --coverage)
  target_link_options(alkaid_flags INTERFACE --coverage)
endif()
