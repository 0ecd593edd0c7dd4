# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Debian packages, by what they are for. Tested lists: Debian 12 and 13, Ubuntu 24.04.

# "a|b": the first that this release has.
PACKAGES_build=(
  cmake ninja-build help2man gcc libc6-dev pkg-config
  libzmq3-dev libczmq-dev 'libmsgpack-c-dev|libmsgpack-dev' libvirt-dev libmicrohttpd-dev libgnutls28-dev
  libjansson-dev libsqlite3-dev libcurl4-gnutls-dev libnl-3-dev libnl-route-3-dev libnftables-dev
  libxml2-dev libcyaml-dev libyaml-dev libwslay-dev libsystemd-dev uuid-dev libcmocka-dev
  libprotobuf-c-dev protobuf-c-compiler zlib1g-dev libarchive-dev
)
PACKAGES_run=(
  qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients dnsmasq-base iproute2 procps curl
  ca-certificates openssl util-linux
)
PACKAGES_guest=(cpio fdisk mtools syslinux syslinux-common xz-utils zstd)
PACKAGES_demo=('busybox|busybox-static')
PACKAGES_test=('busybox|busybox-static' bats bats-assert bats-support expect socat jq iputils-ping
  nftables prometheus lintian mmdebstrap systemd-container mkdocs python3-kubernetes python3-zmq python3-msgpack ovn-central ovn-host openvswitch-switch
  systemd-journal-remote)
PACKAGES_docker=(docker.io 'docker-cli|docker.io' 'docker-compose-v2|docker-compose' mmdebstrap)
PACKAGES_bench=(python3 python3-libvirt python3-yaml gnuplot-nox)
PACKAGES_fuzz=(clang 'libclang-rt-dev|libclang-rt-14-dev')
PACKAGES_lint=(clang-format clang-tidy clang cppcheck shellcheck git)

apt_update() {
  [[ $APT_UPDATED == no ]] || return 0
  step 'Package lists' apt-get -q update
  APT_UPDATED=yes
}

package_known() { [[ $(LC_ALL=C apt-cache policy "$1") == *Candidate:\ [0-9]* ]]; }

# packages_missing ITEM...: prints those items ("a|b": one of them suffices) that are not installed.
packages_missing() {
  local -A installed=()
  local item name names status
  while read -r status name; do
    [[ $status != installed ]] || installed[$name]=1
  done < <(IFS='|' read -ra names <<<"$(IFS='|' && printf '%s' "$*")" &&
    dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${names[@]}" 2>/dev/null)
  for item in "$@"; do
    IFS='|' read -ra names <<<"$item"
    for name in "${names[@]}"; do
      [[ ! ${installed[$name]:-} ]] || continue 2
    done
    printf '%s\n' "$item"
  done
}

# Prints the first alternative that this release has; needs apt's lists.
package_choose() {
  local names name
  IFS='|' read -ra names <<<"$1"
  for name in "${names[@]}"; do
    ! package_known "$name" || break
  done
  printf '%s\n' "$name"
}

# packages_need GROUP...: installs what is missing of these groups. The usual case, nothing, takes one look.
packages_need() {
  local group wanted=() missing=() chosen=() item
  for group in "$@"; do
    local -n list=PACKAGES_$group
    wanted+=("${list[@]}")
    [[ $group != run ]] || need_kubectl
  done
  mapfile -t missing < <(packages_missing "${wanted[@]}" | sort -u)
  ((${#missing[@]})) || return 0
  may_install "${missing[@]}"
  apt_update
  for item in "${missing[@]}"; do
    chosen+=("$(package_choose "$item")")
  done
  apt_install "Installing ${#chosen[@]} packages" "${chosen[@]}"
}

may_install() {
  [[ $INSTALL == yes ]] || die "not installed: $*"
  ((EUID == 0)) || die "not installed: $* (run this as root, or install them: apt-get install ...)"
}

# Daemons of packages that only tests want are not started on this host when they are installed: tests run their own.
# A policy that is there already stays what it is.
TEST_DAEMONS='docker*|containerd*|prometheus*|ovn-*|openvswitch-*|ovs-*|ovsdb-*'
POLICY=/usr/sbin/policy-rc.d
policy_begin() {
  [[ ! -e $POLICY && ! -L $POLICY ]] || return 0
  # shellcheck disable=SC2016 # that script's $1
  printf '#!/bin/sh\ncase "$1" in %s) exit 101 ;; esac\n' "$TEST_DAEMONS" >"$POLICY.alkaid"
  chmod 0755 "$POLICY.alkaid"
  mv -n "$POLICY.alkaid" "$POLICY"
}
policy_end() {
  [[ ! -f $POLICY ]] || ! grep -qF "$TEST_DAEMONS" "$POLICY" || rm -f "$POLICY"
}

# Daemons that a package brings (libvirtd) are not started where a policy forbids it; see need_libvirt.
apt_install() (
  trap policy_end EXIT
  policy_begin
  apt_get_install "$@"
)
apt_get_install() {
  local title=$1
  shift
  step "$title" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y -o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
}

# kubectl comes from the distribution only where there is none: packages of others own the same file.
need_kubectl() {
  ! type -P kubectl >/dev/null || return 0
  may_install kubectl
  apt_update
  package_known kubernetes-client || die "no kubectl on the PATH, and this release has no package of it. \
Get one (on Ubuntu: snap install kubectl --classic; elsewhere the binary of the Kubernetes project), then run \
this again."
  apt_install 'Installing kubectl' kubernetes-client
}

# An engine comes from the distribution only where there is none, not even stopped: packages of others would be
# removed for it. The suite says what it lacks.
need_docker() {
  ! type -P dockerd >/dev/null || return 0
  ! timeout 20 docker version >/dev/null 2>&1 || return 0
  [[ $(dpkg-query -W -f '${db:Status-Status}' containerd.io 2>/dev/null) != installed ]] || return 0
  [[ $INSTALL == yes && $EUID == 0 ]] || return 0
  packages_need docker
}

cmd_packages() {
  local group
  (($#)) || die 'packages: which group? see ./dev help' 2
  for group in "$@"; do
    [[ $group =~ ^(build|run|guest|demo|test|docker|bench|fuzz|lint)$ ]] || die "packages: no group '$group'" 2
  done
  packages_need "$@"
}
