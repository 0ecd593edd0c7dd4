# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What every bats file begins with: the assertion libraries, from where this distribution has them, and how
# often a test that failed is tried again (./dev test --retries).
export BATS_LIB_PATH=${BATS_LIB_PATH:+$BATS_LIB_PATH:}/usr/lib/bats:/usr/share/bats
bats_load_library bats-support
bats_load_library bats-assert
# shellcheck disable=SC2034 # bats reads it
BATS_TEST_RETRIES=${ALKAID_TEST_RETRIES:-0}
