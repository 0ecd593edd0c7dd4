# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# One stack of its own for the whole run: own node name, state, port, libvirtd. At the end nothing of it may
# be left on the host.

setup_suite() {
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
  bats_require_minimum_version 1.7.0
  export ROOT STATE NAME KUBECONFIG IMAGES BIN CAPTURE RECORDER ALKAID_DEV_BUILD=no # ./dev test e2e has built
  STATE=$(mktemp -d /var/tmp/alkaid-e2e.XXXXXX)
  NAME=e2e-${STATE##*.}
  NAME=${NAME,,}
  BIN=$ROOT/build/${ALKAID_DEV_PRESET:-release}/bin
  IMAGES=$STATE/images
  prepare_images
  # 3>&-: what outlives this function must not hold bats' descriptors.
  "$ROOT/dev" --state "$STATE" --name "$NAME" --libvirt private up >&2 3>&- 4>&-
  KUBECONFIG=$STATE/kubeconfig
  record_bus
}

# The whole run, in files of bounded size; what becomes of them is for a test that fails to say (tell_capture).
record_bus() {
  CAPTURE=${ALKAID_E2E_CAPTURES:-$ROOT/build/e2e}/bus.akcap
  mkdir -p "${CAPTURE%/*}"
  rm -f "${CAPTURE:?}"*
  "$BIN/alkaidctl" record --max-size 32M --max-files 4 --bus-dir "$STATE/bus" --node-name "$NAME" "$CAPTURE" \
    </dev/null >&2 3>&- 4>&- &
  RECORDER=$!
}

keep_capture() {
  [[ ${RECORDER:-} ]] || return 0 # the stack did not come up
  kill "$RECORDER"
  while kill -0 "$RECORDER" 2>/dev/null; do sleep 0.1; done
  if [[ -e $CAPTURE.wanted ]]; then
    echo "tests failed; what was said on the bus is kept: $(echo "${CAPTURE%/*}"/*)" >&2
  else
    rm -f "${CAPTURE:?}"*
  fi
}

# The image of the document, under the document's path; guests that misbehave, by what they do.
prepare_images() {
  local build=$ROOT/build/guest
  mkdir -p "$IMAGES/www/0.3.5"
  "$ROOT/tests/guest/build-image" -o "$build/guest.qcow2"
  "$ROOT/tests/guest/build-image" -o "$build/nodriver.qcow2" --append guest.nodriver
  "$ROOT/tests/guest/build-image" -o "$build/stubborn.qcow2" --append acpiphp.disable=1
  "$ROOT/tests/guest/build-image" -o "$build/loader.qcow2" --boot-prompt
  cp "$build/guest.qcow2" "$IMAGES/www/0.3.5/cirros-0.3.5-x86_64-disk.img"
  cp "$build/"{guest,nodriver,stubborn,loader}.qcow2 "$IMAGES/www/"
  printf '%s\n' download.cirros-cloud.net images.test >"$IMAGES/hosts"
  qemu-img create -q -f qcow2 -b /etc/hostname -F raw "$IMAGES/www/backed.qcow2" 1M
}

teardown_suite() {
  local names code=0
  names=$(names_on_host)
  keep_capture || code=1
  "$ROOT/dev" --state "$STATE" down --purge >&2 3>&- 4>&- || code=1
  [[ ! -e $STATE ]] || { echo "left: $STATE" >&2 && code=1; }
  nothing_named "$names" || code=1
  nothing_running || code=1
  return "$code"
}

# What the API's objects are called on the host (docs/architecture.md): taps, bridges, namespaces.
names_on_host() {
  kubectl get vpcs,subnets,ports --all-namespaces -o json | jq -r '.items[]
    | if .kind == "Port" then "ak" + (.metadata.name | gsub("-"; "") | .[:13])
      elif .kind == "Subnet" then "akb" + (.metadata.uid | gsub("-"; "") | .[:12])
      else "ak-" + (.metadata.uid | gsub("-"; "") | .[:12]) end'
}

nothing_named() {
  local name code=0
  for name in $1; do
    [[ ! -e /sys/class/net/$name ]] || { echo "left: link $name" >&2 && code=1; }
    [[ ! -e /run/netns/$name ]] || { echo "left: namespace $name" >&2 && code=1; }
  done
  return "$code"
}

nothing_running() {
  local left
  left=$(grep -lsF -- "$STATE/" /proc/[0-9]*/cmdline) || return 0
  echo "left: $left" >&2
  return 1
}
