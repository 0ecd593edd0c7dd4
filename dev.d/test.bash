# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Test suites. Each adds its results to a file of lines "passed|failed|skipped|retried NAME"; the last line of
# the whole output is their totals. With --retries N a test that failed is tried again up to N times; one that
# needed it is named before the totals, after what its first try printed.

test_suites=(unit fuzz integration replay sim e2e docker)

cmd_test() {
  local suites=() suite
  export ALKAID_TEST_RETRIES=0 # tests/e2e/load-libraries.bash reads it
  export SUITE_OPTIONS='' # words; a suite runs in a shell of its own, which gets no array
  while (($#)); do
    case $1 in
      --retries)
        ALKAID_TEST_RETRIES=${2-}
        [[ $ALKAID_TEST_RETRIES =~ ^[0-9]$ ]] || die "--retries: needs a number from 0 to 9" 2
        shift
        ;;
      --update) SUITE_OPTIONS+=" $1" ;;
      --*=*) SUITE_OPTIONS+=" $1" ;;
      --*)
        (($# >= 2)) || die "$1 needs a value" 2
        SUITE_OPTIONS+=" $1 $2"
        shift
        ;;
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
  ((${#suites[@]})) || suites=(all)
  [[ ${suites[*]} != all ]] || suites=("${test_suites[@]}")
  for suite in "${suites[@]}"; do
    [[ " ${test_suites[*]} " == *" $suite "* ]] || die "no suite '$suite': ${test_suites[*]} or all" 2
  done
  export RESULTS
  RESULTS=$(mktemp -d "${TMPDIR:-/tmp}/alkaid-test.XXXXXX")
  trap 'rm -rf "$RESULTS"' EXIT
  : >"$RESULTS/all"
  for suite in "${suites[@]}"; do
    test_run "$suite"
  done
  test_totals
}

test_run() {
  local start
  start=$(now_ms)
  say "--- $1"
  isolated "test_$1" || result failed "$1: the suite did not run to its end"
  say "--- $1: $(seconds $(($(now_ms) - start)))"
}

result() { printf '%s %s\n' "$1" "$2" >>"$RESULTS/all"; } # result passed|failed|skipped|retried NAME

test_totals() {
  local passed failed skipped retried
  passed=$(grep -c '^passed ' "$RESULTS/all") || true_if_none
  failed=$(grep -c '^failed ' "$RESULTS/all") || true_if_none
  skipped=$(grep -c '^skipped ' "$RESULTS/all") || true_if_none
  retried=$(grep -c '^retried ' "$RESULTS/all") || true_if_none
  sed -n 's/^\(failed\|skipped\|retried\) /\1: /p' "$RESULTS/all"
  ((retried == 0)) || retried_note=", $retried of them tried again"
  say "$passed passed, $failed failed, $skipped skipped${retried_note-}"
  ((failed == 0 && passed > 0))
}

true_if_none() { :; } # grep -c answers 1 where it counts 0

# test_ctest PRESET LABELS: the tests of a build with one of these labels (a regular expression).
test_ctest() {
  local xml=$RESULTS/ctest.xml log=$RESULTS/ctest.log code=0
  rm -f "$xml"
  (cd "$ROOT" && "${CTEST_AS[@]}" ctest --test-dir "build/$1" -L "^($2)\$" --output-on-failure \
    --repeat "until-pass:$((ALKAID_TEST_RETRIES + 1))" --no-tests=error -j "${CTEST_JOBS:-$(nproc)}" \
    --output-junit "$xml") | tee "$log" || code=$?
  [[ -f $xml ]] || die "ctest wrote no results"
  ctest_results "$1" "$xml" "$log"
  ((code == 0)) || grep -q '^failed ' "$RESULTS/all"
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
  local tap=$RESULTS/tap outputs=$RESULTS/outputs code=0 line
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
      'not ok '*) result failed "$1: ${line#not ok * }" ;;
    esac
  done <"$tap"
  ((code == 0)) || grep -q "^failed $1" "$RESULTS/all"
}

bats_retried() { # DIRECTORY OUTPUTS LINE: of a test that passed
  local number=${3#ok } output
  number=${number%% *}
  output=$(compgen -G "$2/$number-try1-*") || return 0
  result retried "$1: ${3#ok * }"
  say "the first try of ${3#ok * }:"
  sed 's/^/# /' "$output"
}

has_bats() { compgen -G "$ROOT/$1/*.bats" >/dev/null; }

has_ctest() { # has_ctest PRESET LABEL
  ctest --test-dir "$ROOT/build/$1" -N -L "^$2\$" | grep -q '^Total Tests: [1-9]'
}

test_unit() {
  packages_need build
  local CTEST_AS=(as_user) preset
  for preset in debug asan; do
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
  build_step debug
  if has_ctest debug "$1"; then
    found=yes
    test_ctest debug "$1"
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
    build_step debug
    "$ROOT/tests/replay/update" "$ROOT/build/debug/bin/alkaidctl"
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
  if as_user "$ROOT/build/release/bin/alkaid-sim" "${seeds[@]}"; then
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
