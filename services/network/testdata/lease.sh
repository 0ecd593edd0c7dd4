#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# udhcpc's script: takes the lease and writes what it holds to $LEASE_FILE.
set -eu
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
if [ -n "${router:-}" ]; then
        ip route add default via "$router"
fi
echo "ip=$ip mask=$mask router=${router:-} dns=${dns:-} mtu=${mtu:-} lease=${lease:-}" > "$LEASE_FILE"
