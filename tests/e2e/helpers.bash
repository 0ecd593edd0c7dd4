# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# What the suites share. Waiting is done on watches of the API wherever the API shows the condition.

load load-libraries

EXAMPLES=$ROOT/examples
TEST_BEGAN=$(date -u +%FT%TZ)

# The bus of the whole run is recorded (setup_suite.bash). A test that fails says where; then the files are kept.
tell_capture() {
  [[ ! ${BATS_TEST_COMPLETED:-} && ! ${BATS_TEST_SKIPPED:-} ]] || return 0
  touch "$CAPTURE.wanted"
  echo "what was said on the bus: $BIN/alkaidctl show --since $TEST_BEGAN $CAPTURE" >&2
}
teardown() { tell_capture; } # whoever has a teardown of its own calls it there

virsh_() { virsh -q -c "$(libvirt_uri)" "$@"; }
libvirt_uri() { sed -n 's/^libvirt=//p' "$STATE/instance"; }

# watch_for POD JSONPATH VALUE [SECONDS]: until the field has this value (an extended regular expression).
watch_for() { "$ROOT/tests/lib/watch-pod" "$@"; }

# until_true SECONDS COMMAND...: for what no watch shows, such as the guest's or the kernel's state.
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || { echo "not so in time: $*" >&2 && return 1; }
    sleep 0.1
  done
}

nic_path() { printf '.status.nicStatuses[?(@.name=="%s")].%s' "$1" "$2"; }          # NIC FIELD
nic_get() { kubectl get pod "$1" -o "jsonpath={$(nic_path "$2" "$3")}"; }           # POD NIC FIELD
nic_wait() { watch_for "$1" "$(nic_path "$2" "$3")" "$4" "${5:-180}"; }             # POD NIC FIELD VALUE [S]
nic_ready() { nic_wait "$1" "$2" state Ready "${3:-180}"; }                          # POD NIC [SECONDS]
nic_gone() { watch_for "$1" '.status.nicStatuses[*].name' "$2" "${3:-180}"; }       # POD THE-OTHERS [SECONDS]
pod_running() { watch_for "$1" .status.phase Running "${2:-180}"; }                  # POD [SECONDS]
pod_uid() { kubectl get pod "$1" -o 'jsonpath={.metadata.uid}'; }
port_id() { kubectl get pod "$1" -o "jsonpath={.spec.nics[?(@.name==\"$2\")].portId}"; } # POD NIC
port_get() { kubectl get port "$1" -o "jsonpath={$2}"; }                            # PORT PATH
patch_pod() { kubectl patch pod "$1" -p "$2"; }

tap_of() { # PORT: name of its tap
  local hex=${1//-/}
  printf 'ak%s\n' "${hex:0:13}"
}
bridge_of() { # SUBNET-UID
  local hex=${1//-/}
  printf 'akb%s\n' "${hex:0:12}"
}
vpc_namespace() { # VPC
  local hex
  hex=$(kubectl get vpc "$1" -o 'jsonpath={.metadata.uid}')
  hex=${hex//-/}
  printf 'ak-%s\n' "${hex:0:12}"
}

has_link() { [[ -e /sys/class/net/$1 ]]; }
lacks_link() { ! has_link "$1"; }

domain_of() { # POD: name of its domain
  local uid
  uid=$(pod_uid "$1")
  virsh_ list --all --name | grep -x "alkaid-default-$1-${uid:0:8}"
}
domain_has_port() { virsh_ dumpxml "$1" | grep -q "ua-$2"; } # DOMAIN PORT

# guest POD COMMAND [SECONDS]: runs it in the guest, over the serial console.
guest() {
  "$ROOT/tests/lib/guest-run" -t "${3:-180}" "$2" -- "$BIN/alkaidctl" console --bus-dir "$STATE/bus" "$1"
}

# Interface of a MAC in the guest; the guest names NICs by order of appearance.
guest_nic() { guest "$1" "grep -l '$2' /sys/class/net/*/address | cut -d/ -f5"; } # POD MAC
guest_has_address() { guest "$1" "ip address show" | grep -qF "inet $2"; }        # POD ADDRESS
guest_lacks_mac() { # POD MAC
  local macs
  macs=$(guest "$1" 'cat /sys/class/net/*/address') && [[ $macs && $macs != *"$2"* ]]
}

delete_pods() { # POD...: and wait until they are gone
  kubectl delete pod --ignore-not-found --wait --timeout 120s "$@"
}

pod_yaml() { # NAME VPC IMAGE NIC...: a VM pod
  local nic
  printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\nspec:\n  vpc: %s\n  nics:\n' "$1" "$2"
  for nic in "${@:4}"; do printf '  - name: %s\n' "$nic"; done
  cat <<EOF
  virtualMachine:
    name: $1
    image: $3
    resources:
      limits:
        cpu: "1"
        memory: 128Mi
EOF
}
