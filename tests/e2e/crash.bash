# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
# Killing a service at a step of a NIC's life, and what must hold afterwards. One VM, $POD, whose eth0 is there
# all the time with a ping running through it, and whose eth1 comes and goes.
#
# Steps are seen on the bus: `alkaidctl tap` writes what it hears to $TAP for the whole file, and who waits for
# a step follows that file from the line where it began.

POD=crash
TAP=$BATS_FILE_TMPDIR/tap
PING=$BATS_FILE_TMPDIR/ping
# A TCG guest on a busy host is late, not deaf: its answers come. What may be lost in the whole run, of five
# pings each second, is what was on its way while the host gave the guest no time.
PINGS_LOST_AT_MOST=3

# --- what goes on in the background -----------------------------------------------------------------------

background() { # NAME COMMAND...: its output in a file of that name, its pid beside it
  local name=$1
  shift
  "$@" </dev/null >"$BATS_FILE_TMPDIR/$name" 2>"$BATS_FILE_TMPDIR/$name.err" 3>&- 4>&- &
  printf '%s\n' $! >"$BATS_FILE_TMPDIR/$name.pid"
}

end_background() { # NAME
  kill -INT "$(<"$BATS_FILE_TMPDIR/$1.pid")"
}

listen() {
  background tap "$BIN/alkaidctl" tap --json --bus-dir "$STATE/bus"
  until_true 10 heard watcher 1 ''
  until_true 10 heard network 1 ''
  until_true 10 heard hypervisor 1 ''
}

tap_lines() { wc -l <"$TAP"; }
epoch_of() { # SERVICE: of the last message that it was heard to say
  grep -F "\"publisher\":\"$1\"" "$TAP" | tail -n 1 | jq -r .epoch
}
heard() { # SERVICE LINE EPOCH: has it been heard since the line, in another epoch?
  tail -n "+$2" "$TAP" | grep -F "\"publisher\":\"$1\"" | grep -vqF "\"epoch\":\"$3\""
}

# on_step LINE PORT NOT-PORT TYPE STATE COMMAND...: runs the command at the moment when eth1 is heard to come to the
# state. PORT: its port, or *. NOT-PORT: one that may still be spoken of. LATE_US: how long ago the message had been
# sent then.
on_step() {
  local line follower sent from=$1 not=$3 pattern="*\"type\":\"$4\"*\"nic\":\"eth1\"*\"port_id\":\"$2\"*\":\"$5\"*"
  shift 5
  exec {STEP}< <(exec timeout 60 tail -n "+$from" -f "$TAP" 3>&- 4>&-)
  follower=$!
  while IFS= read -r -u "$STEP" line; do
    # shellcheck disable=SC2053 # a pattern
    [[ $line == $pattern && $line != *"$not"* ]] || continue
    sent=${line#*'"sent_us":'}
    LATE_US=$((${EPOCHREALTIME/[.,]/} - ${sent%%,*}))
    "$@"
    kill "$follower"
    exec {STEP}<&-
    return
  done
  exec {STEP}<&-
  echo "no message like $pattern within 60 s" >&2
  return 1
}

# --- processes --------------------------------------------------------------------------------------------

pid_of() {
  case $1 in
    libvirtd) cat "$STATE/libvirt/run/libvirtd.pid" ;;
    *) cat "$STATE/run/$1.pid" ;;
  esac
}

# libvirtd tells that a device is gone before it has written that down. One that dies in between (libvirt 9: between
# netdev_del and the file) takes the device for present when it is back, fails to remove it, and ends the VM. No
# client can prevent that, so libvirtd is not killed in these milliseconds.
libvirt_wrote() { ! grep -qF "ua-$1" "$STATE/libvirt/run/qemu/$DOMAIN.xml"; } # PORT: that it is gone

gone() { [[ ! -e /proc/$1/exe ]]; }

# What is needed to start it again as it was: for revive.
remember_process() { # SERVICE
  tap_lines >"$BATS_TEST_TMPDIR/line.$1"
  epoch_of "$1" >"$BATS_TEST_TMPDIR/epoch.$1"
  cp "/proc/$(pid_of "$1")/cmdline" "$BATS_TEST_TMPDIR/cmdline.$1"
}

revive() { # SERVICE...: as a supervisor would, and returns once they serve
  local service
  for service; do start_again "$service"; done
  for service; do
    case $service in
      libvirtd) ;;
      apiserver) until_true 30 api_serves ;;
      *) until_true 30 heard_again "$service" ;;
    esac
  done
}

start_again() { # SERVICE
  local argv
  if [[ $1 == libvirtd ]]; then
    "$ROOT/tests/lib/private-libvirtd" start "$STATE/libvirt" >&2 3>&- 4>&-
    return
  fi
  mapfile -d '' -t argv <"$BATS_TEST_TMPDIR/cmdline.$1"
  setsid "${argv[@]}" </dev/null >>"$STATE/log/$1.log" 2>&1 3>&- 4>&- &
  printf '%s\n' $! >"$STATE/run/$1.pid"
}

heard_again() { # SERVICE
  heard "$1" "$(($(<"$BATS_TEST_TMPDIR/line.$1") + 1))" "$(<"$BATS_TEST_TMPDIR/epoch.$1")"
}

api_serves() { kubectl --request-timeout 5s get --raw /readyz >/dev/null 2>&1; }
up_again() { "$ROOT/dev" --state "$STATE" --libvirt private up >&2 3>&- 4>&-; }

# --- what must hold ---------------------------------------------------------------------------------------

# Once, when the VM runs: what stays as it is, for the tests.
remember() {
  printf '%s=%q\n' DOMAIN "$(domain_of "$POD")" VPC_NAMESPACE "$(vpc_namespace "$VPC")" ETH0 "$(port_id "$POD" eth0)" \
    >"$BATS_FILE_TMPDIR/variables"
  recall
  facts_of_eth0 >"$BATS_FILE_TMPDIR/facts"
}

recall() {
  # shellcheck source=/dev/null
  source "$BATS_FILE_TMPDIR/variables"
}

interface_xml() { # PORT <XML-OF-A-DOMAIN: of that port's interface, in one line
  sed -n '/<interface /,/<\/interface>/p' | tr -d '\n' | sed 's/<\/interface>/&\n/g' | grep -F "ua-$1"
}

# Tap, alias and PCI address of the interface of a port in a domain's XML.
domain_interface() { # PORT <XML
  interface_xml "$1" |
    sed -E "s/.*target dev='([^']*)'.*alias name='([^']*)'.*(<address [^>]*>).*/domain_interface \1 \2 \3/"
}

# All that a kill must not change: the VM, and eth0 in the API, in the domain and on the host.
facts_of_eth0() {
  printf 'qemu %s\nifindex %s\n' "$(<"$STATE/libvirt/run/qemu/$DOMAIN.pid")" \
    "$(<"/sys/class/net/$(tap_of "$ETH0")/ifindex")"
  virsh_ dumpxml "$DOMAIN" | domain_interface "$ETH0"
  kubectl get pod "$POD" -o json | jq -c '.status.nicStatuses[] | select(.name == "eth0")
    | {portID, state, lastTransitionTime, macAddress, ipAddresses, deviceAlias, pciAddress}'
}

# What exists for NICs, by port, one line each, from every place where something could be left over.
things_of_nics() {
  local name
  kubectl get ports -o 'jsonpath={range .items[*]}api {.metadata.name} {.status.phase}{"\n"}{end}'
  for name in $(virsh_ list --name); do
    virsh_ dumpxml "$name" | sed -n "s/.*<alias name='ua-\([^']*\)'.*/domain \1/p"
  done
  # shellcheck disable=SC2153 # the node's name
  ip -o link show | sed -n "s/^[0-9]*: \([^:@]*\).* alias alkaid node=$NAME port=\([^ ]*\) .*/tap \2 \1/p"
  find "$STATE/network/subnets" -path '*/hosts/*' -type f -printf 'dhcp %f\n'
  nft list ruleset | sed -n "/^table [a-z]* alkaid-$NAME /,/^}/p" | grep -oE '\bak[0-9a-f]{13}\b' | sort -u |
    sed 's/^/filter /'
}

expected_things() { # PORT...
  local port
  for port; do
    printf 'api %s Bound\ndomain %s\ntap %s %s\ndhcp %s\nfilter %s\n' "$port" "$port" "$port" \
      "$(tap_of "$port")" "$port" "$(tap_of "$port")"
  done | sort
}

only_these() { [[ $(things_of_nics | sort) == "$(expected_things "$@")" ]]; }

nothing_else_than() { # PORT...
  until_true 10 only_these "$@" || {
    diff <(expected_things "$@") <(things_of_nics | sort) >&2
    return 1
  }
}

answers_ping() { ip netns exec "$VPC_NAMESPACE" ping -q -c 1 -W 1 "$1" >/dev/null; } # ADDRESS

start_ping() { # ADDRESS
  background ping ip netns exec "$VPC_NAMESPACE" ping -n -i 0.2 "$1"
  until_true 10 pings_since 0
}

replies() { sed -n 's/.*icmp_seq=\([0-9]*\) ttl.*/\1/p' "$PING"; }
pings_since() { (($(grep -c ' ttl=' "$PING") > $1)); } # COUNT: more answers than that?

# The ping goes on, and of all that were sent before the last one answered few were lost.
ping_unharmed() {
  local count last
  until_true 10 pings_since "$(grep -c ' ttl=' "$PING")"
  read -r count last < <(replies | sort -nu | awk 'END { print NR, $1 }')
  ((last - count <= PINGS_LOST_AT_MOST)) || {
    echo "of $last pings through eth0 $((last - count)) were lost" >&2
    return 1
  }
}
