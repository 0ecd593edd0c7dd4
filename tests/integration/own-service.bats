#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# docs/write-your-own-service.md, followed to the letter: its files are written, its commands run in one shell, in
# their order, and must print what the page says. The node is a real one with fake backends.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

setup_file() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  export ROOT PAGE=$ROOT/docs/write-your-own-service.md BIN=$ROOT/build/${ALKAID_DEV_PRESET:-release}/bin
  export NODE=$BATS_FILE_TMPDIR/node
  mkdir "$NODE"
  "$ROOT/tests/lib/fake-node" start "$NODE" "$BIN"
  export KUBECONFIG=$NODE/kubeconfig
  kubectl apply -f "$ROOT/examples/vm-nic-hotplug.yaml"
}

teardown_file() { "$ROOT/tests/lib/fake-node" stop "$NODE"; }

# Blocks of the page: "```python file=NAME" is a file, of "```console" the lines with "# " are commands and what
# follows each is its output.
files_of_page() {
  awk '/^```/ { file = ""; if (match($0, /file=/)) file = substr($0, RSTART + 5); next } file { print > file }' "$PAGE"
}

follow_page() {
  local line in_console='' command='' expected=''
  while IFS= read -r line || [[ $line ]]; do
    if [[ $line == '```console' ]]; then
      in_console=yes
    elif [[ $line == '```' && $in_console ]]; then
      follow_command "$command" "$expected"
      in_console='' command='' expected=''
    elif [[ $line == '# '* && $in_console ]]; then
      follow_command "$command" "$expected"
      command=${line#'# '} expected=''
    elif [[ $in_console ]]; then
      expected+=$line$'\n'
    fi
  done <"$PAGE"
}

# No command of this function may stand where a failure would be passed over: set -e is what ends the test.
follow_command() { # COMMAND EXPECTED-OUTPUT
  [[ $1 ]] || return 0
  echo "# $1"
  if [[ $1 == *'&' ]]; then
    eval "$1" 3>&- 4>&-
    printf '%s\n' $! >>"$BATS_TEST_TMPDIR/jobs"
  elif [[ $1 == apt-get* ]]; then
    eval "$1" # says what it likes
  else
    eval "$1" >output 2>&1
    diff -u <(printf '%s' "$2") output
  fi
}

end_jobs() { # fails where one of them has ended by itself
  local job code=0
  while read -r job; do kill "$job" || code=1; done <"$1"
  rm "$1"
  return "$code"
}

teardown() { [[ ! -e $BATS_TEST_TMPDIR/jobs ]] || end_jobs "$BATS_TEST_TMPDIR/jobs"; }

@test "the page about a service of one's own is followed to the letter" {
  export BUS=$NODE/bus PATH=$BIN:$PATH
  cd "$BATS_TEST_TMPDIR"
  files_of_page
  assert [ -s nic-log ]
  assert [ -s nic-label ]
  follow_page
  assert_equal "$(grep -c . ./jobs)" 2
  end_jobs ./jobs
}
