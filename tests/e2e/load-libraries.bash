# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The assertion libraries, from where this distribution has them.
export BATS_LIB_PATH=${BATS_LIB_PATH:+$BATS_LIB_PATH:}/usr/lib/bats:/usr/share/bats
bats_load_library bats-support
bats_load_library bats-assert
