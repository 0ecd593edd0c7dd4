#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# An apiserver under clients that are too many, too slow or too large: each limit answers, nobody else notices.

bats_require_minimum_version 1.5.0
load helpers

setup_file() {
  start_apiserver --max-user-connections 8 --max-inflight 2 --watch-history 64 --idle-timeout 20s
}

teardown_file() { stop_services; }

under() { # PART
  /usr/bin/python3 "$BATS_TEST_DIRNAME/clients/pressure.py" "$SERVER" "$PKI" "$(service_pid apiserver)" "$1"
}

@test "more connections than one user may have: 429 and Retry-After" { under connections; }
@test "headers that are too large are refused" { under header; }
@test "writes beyond those that may wait for the disk: 429, and none is half done" { under inflight; }
@test "watchers that never read cost no memory" { under unread; }
@test "headers and bodies that stop in the middle are cut off" { under slow; }
