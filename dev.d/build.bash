# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Building: the presets of CMakePresets.json, each in build/PRESET.

build_presets=(debug release asan tsan fuzz coverage)

# build_preset PRESET [TARGET...]. Warnings are errors in CI only: a newer compiler must not keep anybody from
# trying this out.
build_preset() {
  local preset=$1
  shift
  configure_preset "$preset"
  # shellcheck disable=SC2086 # words
  as_user ${LOW-} cmake --build "$ROOT/build/$preset" ${1+--target "$@"}
}

configure_preset() {
  local preset=$1
  as_user cmake -S "$ROOT" --preset "$preset" -DALKAID_WERROR="$([[ ${CI:-} ]] && echo ON || echo OFF)"
}

# build_step PRESET [TARGET...]. ALKAID_DEV_BUILD=no: what was built last is taken as it is (the suites build
# once, not before each start of a stack).
build_step() {
  [[ ${ALKAID_DEV_BUILD:-yes} != no && ${BUILT:-} != "$1" ]] || return 0
  own_build_directory
  (cd "$ROOT" && step "Building ($1)" build_preset "$@")
}

guest_image() { printf '%s\n' "$ROOT/build/guest/guest.qcow2"; }

build_guest() {
  own_build_directory
  step 'Guest image' as_user "$ROOT/tests/guest/build-image" -o "$(guest_image)"
}

cmd_build() {
  local preset=${1:-release}
  [[ " ${build_presets[*]} " == *" $preset "* ]] || die "no preset '$preset': ${build_presets[*]}" 2
  packages_need build
  [[ $preset != fuzz ]] || packages_need fuzz
  build_step "$preset"
}
