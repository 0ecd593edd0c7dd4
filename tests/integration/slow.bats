#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# An apiserver under clients that send or read drop by drop, or not at all: each is cut off in the end, its memory
# is bounded until then, and what it missed can be had afterwards.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver --request-timeout 3s --watch-stall-timeout 3s --max-answers 4Mi --max-user-connections 100
}

teardown_file() { stop_services; }

under() { # PART
  /usr/bin/python3 "$BATS_TEST_DIRNAME/clients/pressure.py" "$SERVER" "$PKI" "$(service_pid apiserver)" "$1"
}

@test "headers and bodies that come drop by drop are cut off" { under trickle; }
@test "answers that nobody reads are bounded and cut off" { under deaf; }
@test "watches that do not read are cut off, cost no memory, and resume without a gap" { under stalled; }
