# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Options, messages, steps with progress, and who runs what: as root only what needs root.

die() {
  printf 'dev: %s\n' "$1" >&2
  exit "${2:-1}"
}

say() { printf '%s\n' "$*"; }

options_default() {
  export ROOT STATE NAME PORT LIBVIRT INSTALL VERBOSE PRESET APT_UPDATED IMAGE_MIRRORS BUILT LOW # see isolated()
  STATE=${ALKAID_DEV_STATE:-/var/lib/alkaid-dev}
  NAME=${ALKAID_DEV_NAME:-}
  PORT=${ALKAID_DEV_PORT:-}
  LIBVIRT=auto
  INSTALL=yes
  VERBOSE=no
  PRESET=${ALKAID_DEV_PRESET:-release}
  APT_UPDATED=no
  IMAGE_MIRRORS= # HOST=BASE, separated by blanks
  BUILT= # the preset that need not be built again
  LOW= # words before what only computes, where something else runs beside it
}

options_set() {
  case $1 in
    state) STATE=$2 ;;
    name) NAME=$2 ;;
    port) PORT=$2 ;;
    libvirt) LIBVIRT=$2 ;;
  esac
}

options_finish() {
  STATE=$(realpath -m -- "$STATE")
  # The longest socket below it is libvirt/run/libvirt-admin-sock; the kernel's limit is 107 bytes.
  ((${#STATE} <= 70)) || die "--state: $STATE is too long for sockets below it (at most 70 characters)" 2
  [[ $STATE != / && $STATE =~ ^[A-Za-z0-9/._+@-]+$ ]] ||
    die "--state: '$STATE' must be a directory of its own, named with letters, digits and ._+@-" 2
  [[ ! $NAME || ($NAME =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ && ${#NAME} -le 63) ]] ||
    die "--name: '$NAME' is no node name (lower-case letters, digits, '-' and '.')" 2
  [[ ! $PORT || ($PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535) ]] || die "--port: '$PORT' is no port" 2
  [[ $LIBVIRT == auto || $LIBVIRT == private ]] || die "--libvirt: auto or private, not '$LIBVIRT'" 2
}

# What must be typed again to mean the same stack.
state_option() {
  [[ $STATE == /var/lib/alkaid-dev ]] || printf ' --state %s' "$STATE"
}

need_root() {
  ((EUID == 0)) || die "'$1' needs root: sudo ./dev $1"
}

# Runs a command as the user who called sudo, so that files in the tree stay theirs; as ourselves otherwise.
as_user() {
  if ((EUID == 0)) && [[ ${SUDO_UID:-0} != 0 ]]; then
    HOME=$(getent passwd "$SUDO_UID" | cut -d: -f6) \
      setpriv --reuid "$SUDO_UID" --regid "$SUDO_GID" --init-groups -- "$@"
  else
    "$@"
  fi
}

# The build directory belongs to whoever builds, even when root built there before.
own_build_directory() {
  mkdir -p "$ROOT/build"
  if ((EUID == 0)) && [[ ${SUDO_UID:-0} != 0 ]]; then
    # Not the tree of a whole system (tests/lib/debian-tree), whose owners are its own.
    find "$ROOT/build" -path "$ROOT/build/debian-tree" -prune -o ! -uid "$SUDO_UID" \
      -exec chown -h "$SUDO_UID:$SUDO_GID" {} +
  fi
}

now_ms() {
  local us=${EPOCHREALTIME/[.,]/}
  printf '%s\n' "$((us / 1000))"
}

seconds() { # seconds MILLISECONDS: "12.3 s"
  printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100))
}

# wait_for SECONDS COMMAND...: until it succeeds. The poll is for conditions that nothing announces.
wait_for() {
  local deadline=$(($(now_ms) + $1 * 1000))
  shift
  until "$@"; do
    (($(now_ms) < deadline)) || return 1
    sleep 0.05
  done
}

# isolated FUNCTION ARGUMENTS...: in a shell of its own. Needed because bash ignores `set -e` in all that is
# called from a condition, so a caller that wants to know whether a function failed would make it carry on.
isolated() { isolated_as '' "$@"; }

isolated_as() {
  local as=$1
  shift
  # shellcheck disable=SC2016
  $as bash -euo pipefail -c '
    for part in "$ROOT"/dev.d/*.bash; do source "$part"; done
    "$@"' dev "$@"
}

# step TITLE COMMAND...: runs it with its output in a log, shows that it goes on, and tells how long it took.
# The log of a step that failed is printed.
step() {
  local title=$1 log start code=0 ticker=
  shift
  start=$(now_ms)
  if [[ $VERBOSE == yes ]]; then
    say "== $title"
    run_step "$@" || return
    say "== $title: $(seconds $(($(now_ms) - start)))"
    return
  fi
  log=$(mktemp "${TMPDIR:-/tmp}/alkaid-dev.XXXXXX")
  progress "$title" "$log" &
  ticker=$!
  run_step "$@" >"$log" 2>&1 </dev/null || code=$?
  kill "$ticker"
  wait "$ticker" 2>/dev/null || [[ $? == 143 ]]
  [[ ! -t 1 ]] || printf '\r\033[K'
  if ((code)); then
    say "$title: failed after $(seconds $(($(now_ms) - start)))"
    tail -n 100 "$log" >&2
    rm -f "$log"
    return "$code"
  fi
  rm -f "$log"
  say "$title: $(seconds $(($(now_ms) - start)))"
}

run_step() {
  case $(type -t "$1") in
    function) isolated "$@" ;;
    *) "$@" ;;
  esac
}

# On a terminal one line that is rewritten, elsewhere a line each half minute. It waits in a read that never
# ends, not in a child that would outlive it.
progress() {
  local title=$1 log=$2 begin=$SECONDS last idle
  exec {idle}<> <(:)
  while :; do
    if [[ -t 1 ]]; then
      last=$(tail -c 300 "$log" | tr -d '\000' | tr '\r' '\n' | tail -n 1 | tr -cd '[:print:]')
      printf '\r\033[K%s ... %d s  %s' "$title" $((SECONDS - begin)) "${last:0:60}"
      read -r -t 0.5 -u "$idle" || continue
    else
      read -r -t 30 -u "$idle" || say "$title ... $((SECONDS - begin)) s"
    fi
  done
}
