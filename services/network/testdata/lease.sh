#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# udhcpc's script: takes the lease and writes what it holds to $LEASE_FILE; each event, where asked for, to
# $RENEW_FILE.
# shellcheck disable=SC2154 # udhcpc sets them
set -eu
if [ -n "${RENEW_FILE:-}" ] && [ "$1" != deconfig ]; then
        echo "$1 ${ip:-}" > "$RENEW_FILE.new"
        mv "$RENEW_FILE.new" "$RENEW_FILE"
fi
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
if [ -n "${router:-}" ]; then
        ip route replace default via "$router"
fi
echo "ip=$ip mask=$mask router=${router:-} dns=${dns:-} mtu=${mtu:-} lease=${lease:-}" > "$LEASE_FILE"
