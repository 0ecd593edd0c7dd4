# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Test suites. Each adds its results to a file of lines "passed|failed|skipped|retried NAME"; the last line of
# the whole output is their totals. With --retries N a test that failed is tried again up to N times; one that
# needed it is named before the totals, after what its first try printed.
#
# Most tests wait most of the time, for a guest, a time-out, a disk; builds, the simulation and the linters do not.
# With --lanes the suites run in lanes side by side, those of one lane one after the other: what only computes has
# the lowest priority and takes what the waiting ones leave. What they share (packages, the release build, the guest
# image) is made before.

test_suites=(unit fuzz integration replay sim e2e docker)
test_lanes=('e2e docker' 'integration replay' 'lint sim unit fuzz')

cmd_test() {
  local suites=() suite lanes=no
  export ALKAID_TEST_RETRIES=0 # tests/e2e/load-libraries.bash reads it
  export SUITE_OPTIONS='' # words; a suite runs in a shell of its own, which gets no array
  while (($#)); do
    case $1 in
      --retries)
        ALKAID_TEST_RETRIES=${2-}
        [[ $ALKAID_TEST_RETRIES =~ ^[0-9]$ ]] || die "--retries: needs a number from 0 to 9" 2
        shift
        ;;
      --lanes) lanes=yes ;;
      --update) SUITE_OPTIONS+=" $1" ;;
      --*=*) SUITE_OPTIONS+=" $1" ;;
      --*)
        (($# >= 2)) || die "$1 needs a value" 2
        SUITE_OPTIONS+=" $1 $2"
        shift
        ;;
      all) suites+=("${test_suites[@]}") ;;
      *) suites+=("$1") ;;
    esac
    shift
  done
  case ${suites[*]-}:$SUITE_OPTIONS in
    *: | 'replay: --update') ;;
    sim:*--update*) die "--update: only for 'test replay'" 2 ;;
    sim:*) ;;
    *) die "options${SUITE_OPTIONS}: only for 'test sim', and --update for 'test replay'" 2 ;;
  esac
  ((${#suites[@]})) || suites=("${test_suites[@]}")
  for suite in "${suites[@]}"; do
    [[ " lint ${test_suites[*]} " == *" $suite "* ]] || die "no suite '$suite': ${test_suites[*]}, lint or all" 2
  done
  export RESULTS
  RESULTS=$(mktemp -d "${TMPDIR:-/tmp}/alkaid-test.XXXXXX")
  chmod 0711 "$RESULTS"
  trap 'rm -rf "$RESULTS"' EXIT
  if [[ $lanes == yes ]] && ((${#suites[@]} > 1)) && isolated test_prepare "${suites[@]}"; then
    test_beside "${suites[@]}"
  else
    for suite in "${suites[@]}"; do
      test_run "$suite"
    done
  fi
  test_totals
}

test_run() {
  local start
  local -x SUITE=$1
  start=$(now_ms)
  mkdir -p "$RESULTS/$SUITE"
  [[ ${SUDO_UID:-0} == 0 ]] || chown "$SUDO_UID:$SUDO_GID" "$RESULTS/$SUITE" # ctest runs as this user
  say "--- $1"
  isolated "test_$1" || result failed "$1: the suite did not run to its end"
  say "--- $1: $(seconds $(($(now_ms) - start)))"
}

result() { printf '%s %s\n' "$1" "$2" >>"$RESULTS/$SUITE.results"; } # result passed|failed|skipped|retried NAME

# --- side by side -----------------------------------------------------------------------------------------

# What more than one lane needs. Where it cannot be had, each suite says so itself, one after the other.
test_prepare() { # SUITE...
  local groups=(build) all=" $* "
  [[ $all != *' fuzz '* ]] || groups+=(fuzz)
  [[ $all != *' lint '* ]] || groups+=(lint)
  [[ ! $all =~ \ (integration|replay|e2e|docker)\  ]] || groups+=(run guest test)
  packages_need "${groups[@]}"
  [[ $all != *' docker '* ]] || need_docker
  build_step release
  [[ ! $all =~ \ (integration|e2e|docker)\  ]] || build_guest
}

test_beside() { # SUITE...
  local lane suite all=" $* " words lanes=() done_fd ended=0 begin=$SECONDS
  BUILT=release LOW='nice -n 19'
  mkfifo "$RESULTS/ended"
  exec {done_fd}<>"$RESULTS/ended"
  set -m # a process group for each lane, that an interrupt can be passed on to
  trap 'test_interrupted' INT TERM
  for lane in "${test_lanes[@]}"; do
    words=()
    for suite in $lane; do
      [[ $all != *" $suite "* ]] || words+=("$suite")
    done
    ((${#words[@]})) || continue
    test_lane "$done_fd" "${words[@]}" </dev/null &
    lanes+=("$!")
  done
  while ((ended < ${#lanes[@]})); do
    if ! read -r -t 30 -u "$done_fd" suite; then
      say "$((SECONDS - begin)) s: $(test_running)"
      kill -0 "${lanes[@]}" 2>/dev/null || break # killed, all of them
    elif [[ $suite == lane ]]; then
      ended=$((ended + 1))
    else
      test_show "$suite"
    fi
  done
  trap - INT TERM
  set +m
  for suite in "$@"; do
    [[ ! -f $RESULTS/$suite.output ]] || test_show "$suite"
    [[ -f $RESULTS/$suite.shown && -f $RESULTS/$suite.ended ]] ||
      SUITE=$suite result failed "$suite: the suite was ended"
  done
}

test_show() { # SUITE
  cat "$RESULTS/$1.output"
  mv "$RESULTS/$1.output" "$RESULTS/$1.shown"
}

test_lane() { # FD SUITE...: tells the name of each suite that has ended, and "lane" at the end
  local suite
  # shellcheck disable=SC2064 # now
  trap "echo lane >&$1" EXIT
  trap 'exit 130' INT TERM
  for suite in "${@:2}"; do
    test_run "$suite" >"$RESULTS/$suite.output" 2>&1
    touch "$RESULTS/$suite.ended"
    echo "$suite" >&"$1"
  done
}

# The last line of each suite that runs.
test_running() {
  local file text=''
  for file in "$RESULTS"/*.output; do
    [[ -f $file ]] || continue
    text+="${text:+; }$(basename "$file" .output): $(tail -n 1 "$file" | tr -cd '[:print:]' | cut -c 1-60)"
  done
  printf '%s\n' "$text"
}

test_interrupted() {
  local pid
  trap '' INT TERM
  for pid in $(jobs -p); do
    kill -INT -- "-$pid" || true_if_none # it may have ended just now
  done
  wait
  exit 130
}

# --- results ----------------------------------------------------------------------------------------------

test_totals() {
  local passed failed skipped retried all=$RESULTS/results
  cat "$RESULTS"/*.results >"$all"
  passed=$(grep -c '^passed ' "$all") || true_if_none
  failed=$(grep -c '^failed ' "$all") || true_if_none
  skipped=$(grep -c '^skipped ' "$all") || true_if_none
  retried=$(grep -c '^retried ' "$all") || true_if_none
  sed -n 's/^\(failed\|skipped\|retried\) /\1: /p' "$all"
  ((retried == 0)) || retried_note=", $retried of them tried again"
  say "$passed passed, $failed failed, $skipped skipped${retried_note-}"
  ((failed == 0 && passed > 0))
}

true_if_none() { :; } # grep -c answers 1 where it counts 0

# test_ctest PRESET LABELS: the tests of a build with one of these labels (a regular expression).
test_ctest() {
  local dir=$RESULTS/$SUITE/$1 code=0
  local xml=$dir/ctest.xml log=$dir.log
  # ctest takes notes in the directory that it is shown: not in the build's, which two suites may test at a time.
  "${CTEST_AS[@]}" mkdir "$dir"
  printf 'subdirs("%s")\n' "$ROOT/build/$1" | "${CTEST_AS[@]}" tee "$dir/CTestTestfile.cmake" >/dev/null
  (cd "$ROOT" && "${CTEST_AS[@]}" ctest --test-dir "$dir" -L "^($2)\$" --output-on-failure \
    --repeat "until-pass:$((ALKAID_TEST_RETRIES + 1))" --no-tests=error -j "${CTEST_JOBS:-$(nproc)}" \
    --output-junit "$xml") | tee "$log" || code=$?
  [[ -f $xml ]] || die "ctest wrote no results"
  ctest_results "$1" "$xml" "$log"
  ((code == 0)) || grep -q '^failed ' "$RESULTS/$SUITE.results"
}

ctest_results() {
  local name status
  while IFS='|' read -r name status; do
    case $status in
      run)
        result passed "$1/$name"
        ! grep -q "^ *[0-9/]* *Test *#[0-9]*: $name \.*\*\*\*" "$3" || result retried "$1/$name"
        ;;
      notrun | disabled) result skipped "$1/$name" ;;
      *) result failed "$1/$name" ;;
    esac
  done < <(sed -n 's/.*<testcase name="\([^"]*\)".* status="\([a-z]*\)".*/\1|\2/p' "$2")
}

# test_bats DIRECTORY: every .bats file in it.
test_bats() {
  local tap=$RESULTS/$SUITE/tap outputs=$RESULTS/$SUITE/outputs code=0 line
  # bats writes an output to a file of the test's name.
  ! grep -n '^@test ".*/' "$ROOT/$1"/*.bats || die "the name of a test must not have a '/'"
  rm -rf "$outputs"
  mkdir "$outputs"
  BATS_LIB_PATH=${BATS_LIB_PATH:+$BATS_LIB_PATH:}/usr/lib/bats:/usr/share/bats bats --tap --timing \
    --gather-test-outputs-in "$outputs" "$ROOT/$1" | tee "$tap" || code=$?
  while IFS= read -r line; do
    case $line in
      'ok '*'# skip'*) result skipped "$1: ${line#ok * }" ;;
      'ok '*)
        result passed "$1: ${line#ok * }"
        bats_retried "$1" "$outputs" "$line"
        ;;
      'not ok '*)
        result failed "$1: ${line#not ok * }"
        bats_first_try "$outputs" "${line#not }" || true_if_none
        ;;
    esac
  done <"$tap"
  ((code == 0)) || grep -q "^failed $1" "$RESULTS/$SUITE.results"
}

bats_retried() { # DIRECTORY OUTPUTS LINE: of a test that passed
  ! bats_first_try "$2" "$3" || result retried "$1: ${3#ok * }"
}

bats_first_try() { # OUTPUTS LINE: what it printed, where there were more
  local number=${2#ok } output
  number=${number%% *}
  output=$(compgen -G "$1/$number-try1-*") || return 1
  say "the first try of ${2#ok * }:"
  sed 's/^/# /' "$output"
}

has_bats() { compgen -G "$ROOT/$1/*.bats" >/dev/null; }

has_ctest() { # has_ctest PRESET LABEL
  ctest --test-dir "$ROOT/build/$1" -N -L "^$2\$" | grep -q '^Total Tests: [1-9]'
}

test_unit() {
  packages_need build
  local CTEST_AS=(as_user) preset
  for preset in release asan; do
    build_step "$preset"
    test_ctest "$preset" 'unit|fuzz'
  done
}

test_fuzz() {
  packages_need build fuzz
  local CTEST_AS=(as_user) targets
  own_build_directory
  (cd "$ROOT" && step 'Configuring (fuzz)' configure_preset fuzz)
  # A target and its test have one name.
  mapfile -t targets < <(ctest --test-dir "$ROOT/build/fuzz" -N -L '^fuzz$' | sed -n 's/^ *Test *#[0-9]*: //p')
  build_step fuzz "${targets[@]}"
  test_ctest fuzz fuzz
}

# test_labelled LABEL: by ctest where a build has such tests, by bats where the directory has such files.
test_labelled() {
  local CTEST_AS=() CTEST_JOBS=1 found=no
  # Replays wait most of the time, as the recorded services did, each in a directory of its own.
  [[ $1 != replay ]] || CTEST_JOBS=4
  packages_need build run guest test
  build_step release
  if has_ctest release "$1"; then
    found=yes
    test_ctest release "$1"
  fi
  if has_bats "tests/$1"; then
    found=yes
    test_bats "tests/$1"
  fi
  [[ $found == yes ]] || result skipped "$1: no tests of this suite in the tree"
}

# `test replay --update`: what the cores and services do now is right; the goldens are written anew, to be looked at.
test_replay() {
  if [[ $SUITE_OPTIONS == *--update* ]]; then
    packages_need build test
    build_step release
    "$ROOT/tests/replay/update" "$ROOT/build/release/bin/alkaidctl"
  fi
  test_labelled replay
}

# The planted bugs and the seeds that found something, then new seeds. `test sim --seeds 1000000`: as many.
test_sim() {
  packages_need build
  local CTEST_AS=(as_user) seeds
  read -ra seeds <<<"${SUITE_OPTIONS:---seeds 3000}"
  build_step release
  test_ctest release sim
  # shellcheck disable=SC2086 # words
  if as_user $LOW "$ROOT/build/release/bin/alkaid-sim" "${seeds[@]}"; then
    result passed "sim: ${seeds[*]}"
  else
    result failed "sim: ${seeds[*]}"
  fi
}

test_integration() {
  need_root 'test integration'
  packages_need build run guest test
  build_guest
  test_labelled integration
}

test_e2e() {
  need_root 'test e2e'
  packages_need build run guest test
  build_step release
  build_guest
  test_bats tests/e2e
}

test_docker() {
  packages_need test guest
  need_docker
  test_bats tests/docker
}

test_lint() {
  local check
  lint_prepare
  # shellcheck disable=SC2154 # of lint.bash
  for check in "${lint_checks[@]}"; do
    if lint_step "$check"; then
      result passed "lint: $check"
    else
      result failed "lint: $check"
    fi
  done
}
