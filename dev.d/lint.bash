# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Static checks. Each can fail. clang-tidy, the slow one, remembers what it found clean: a file is looked at
# again when it, a header of ours that it includes, the configuration or the tool has changed.

lint_files() { # lint_files GLOB...: the tree's files, tracked or about to be
  (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard -- "$@") |
    while IFS= read -r -d '' file; do
      [[ ! -f $ROOT/$file ]] || printf '%s\n' "$file"
    done
}

lint_format() {
  local files
  mapfile -t files < <(lint_files '*.c' '*.h')
  (cd "$ROOT" && clang-format --dry-run -Werror "${files[@]}")
}

lint_shell() {
  local files=() file
  while read -r file; do
    case $file in
      *.bash | *.bats) files+=("$file") ;;
      *) ! head -n 1 "$ROOT/$file" | grep -aqE '^#!.*[/ ](ba|da)?sh( |$)' || files+=("$file") ;;
    esac
  done < <(lint_files)
  (cd "$ROOT" && printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" shellcheck)
}

lint_cppcheck() {
  mkdir -p "$ROOT/build/cppcheck"
  (cd "$ROOT" && cppcheck --project=build/release/compile_commands.json --cppcheck-build-dir=build/cppcheck \
    -i"$ROOT/build" -j "$(nproc)" --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
    --suppress=missingIncludeSystem --suppress='*:/usr/*' --library=posix \
    --suppressions-list=.cppcheck-suppressions)
}

# lint_tidy_key FILE: a digest of everything that its verdict depends on.
lint_tidy_key() {
  local deps
  deps=$(gcc -MM -MG -D_GNU_SOURCE -I. -I/usr/include/libxml2 -MT x "$1" | sed -e 's/^x: *//' -e 's/\\$//')
  {
    clang-tidy --version
    cat .clang-tidy
    for dep in $deps; do
      [[ ! -f $dep ]] || sha256sum "$dep"
    done
  } | sha256sum | cut -c 1-32
}

lint_tidy_one() {
  local key
  key=$ROOT/build/clang-tidy/$(lint_tidy_key "$1")
  [[ ! -e $key ]] || return 0
  clang-tidy --quiet -p build/release "$1" >"$key.out.$$" 2>"$key.err.$$" || {
    sed '/warnings generated\.$/d' "$key.err.$$"
    cat "$key.out.$$"
    rm -f "$key.out.$$" "$key.err.$$"
    return 1
  }
  rm -f "$key.err.$$"
  mv "$key.out.$$" "$key"
  printf '%s\n' "$1"
}

# Only what the build compiles: the others have no flags to be read with.
lint_tidy() {
  local files
  mkdir -p "$ROOT/build/clang-tidy"
  find "$ROOT/build/clang-tidy" -type f -mtime +30 -delete
  mapfile -t files < <(lint_compiled)
  export ROOT
  export -f lint_tidy_one lint_tidy_key
  # shellcheck disable=SC2016
  (cd "$ROOT" && printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'lint_tidy_one "$1"' lint)
}

lint_compiled() {
  sed -n 's/^ *"file": "\(.*\)",*$/\1/p' "$ROOT/build/release/compile_commands.json" |
    sed "s|^$ROOT/||" | grep -vE '^(/|build/)|\.S$' | sort -u
}

lint_checks=(format shell cppcheck tidy)

lint_prepare() {
  packages_need build lint
  build_step release generated # flags are in its build directory, generated sources come with this target
}

lint_step() { # CHECK
  step "lint: $1" isolated_as "as_user $LOW" "lint_$1"
}

cmd_lint() {
  local failed=() check
  lint_prepare
  for check in "${lint_checks[@]}"; do
    lint_step "$check" || failed+=("$check")
  done
  ((${#failed[@]} == 0)) || die "lint: failed: ${failed[*]}"
  say 'lint: clean'
}
