# SPDX-License-Identifier: Apache-2.0
# What an operator of an installation relies on: units, packages, configuration, certificates, the site,
# doctor, support bundle, backup. That each alert has a remedy is tested in telemetry.bats.
# shellcheck disable=SC2030,SC2031
bats_require_minimum_version 1.7.0
load helpers

setup_file() { start_apiserver; }
teardown_file() { stop_services; }

@test "units: their exposure, as systemd-analyze counts it, stays below its bound" {
  local name bound
  while read -r name bound; do
    run systemd-analyze security --offline=yes --threshold="$bound" "$BUILD/deploy/alkaid-$name.service"
    echo "# ${output##*$'\n'}" >&3
    [[ $status == 0 ]]
  done <<<'apiserver 15
watcher 25
hypervisor 32
network 68'
}

@test "units: notify, watchdog, reload, back-off; nothing that outlives a service is ended with it" {
  local name unit
  for name in apiserver watcher network hypervisor; do
    unit=$BUILD/deploy/alkaid-$name.service
    grep -qx 'Type=notify' "$unit"
    grep -q '^WatchdogSec=' "$unit"
    grep -q '^ExecReload=' "$unit"
    grep -qx 'Restart=always' "$unit"
  done
  grep -qx 'User=alkaid' "$BUILD/deploy/alkaid-apiserver.service"
  grep -qx 'KillMode=process' "$BUILD/deploy/alkaid-network.service"
  grep -q '^After=.*libvirtd.service' "$BUILD/deploy/alkaid-hypervisor.service"
}

# The programs of this build, in a build directory that is configured for /usr; nothing is compiled.
make_packages() {
  local dir=$BATS_FILE_TMPDIR/packages
  cmake --preset release -S "$ROOT" -B "$dir" -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_SYSCONFDIR=/etc \
    >"$BATS_FILE_TMPDIR/configure.log"
  mkdir -p "$dir/bin" "$dir/deploy/man"
  cp "$BIN"/alkaid-{apiserver,watcher,network,hypervisor} "$BIN/alkaidctl" "$dir/bin/"
  cp "$BUILD"/deploy/man/*.gz "$dir/deploy/man/"
  (cd "$dir" && cpack >"$BATS_FILE_TMPDIR/cpack.log")
  ls "$dir"/alkaid-{server,node,cli}_*.deb
}

in_root() { chroot "$BATS_TEST_TMPDIR/root" "$@"; }

# A root file system on top of this host's: what is installed there is gone with it.
make_root() {
  local dir=$BATS_TEST_TMPDIR
  mkdir "$dir/upper" "$dir/root"
  mount -t tmpfs none "$dir/upper"
  mkdir "$dir/upper/up" "$dir/upper/work"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper/up,workdir=$dir/upper/work" "$dir/root" 2>&3 || return 1
  mkdir -p "$dir/root/packages" "$dir/root/run/systemd"
  cp "$BATS_FILE_TMPDIR"/packages/*.deb "$dir/root/packages/"
}

teardown() {
  ! mountpoint -q "$BATS_TEST_TMPDIR/root" || umount "$BATS_TEST_TMPDIR/root"
  ! mountpoint -q "$BATS_TEST_TMPDIR/upper" || umount "$BATS_TEST_TMPDIR/upper"
}

left_of() { # prints those of the paths on standard input that are there
  local path
  while read -r path; do
    [[ ! -e $BATS_TEST_TMPDIR/root$path && ! -L $BATS_TEST_TMPDIR/root$path ]] || echo "$path"
  done
}

@test "packages: lintian has no errors; they install, upgrade and purge, and nothing is left" {
  make_packages
  run lintian --fail-on error "$BATS_FILE_TMPDIR"/packages/*.deb
  [[ $status == 0 ]] || { echo "$output" >&2 && return 1; }
  make_root || skip 'no overlay file system to install into'
  [[ ! -e $BATS_TEST_TMPDIR/root/etc/alkaid && ! -e $BATS_TEST_TMPDIR/root/usr/bin/alkaidctl ]] ||
    skip 'Alkaid is installed on this host'
  in_root sh -ec 'dpkg --no-triggers -i /packages/*.deb' >"$BATS_TEST_TMPDIR/install.log" 2>&1 ||
    { cat "$BATS_TEST_TMPDIR/install.log" >&2 && return 1; }
  in_root getent passwd alkaid
  in_root alkaid-apiserver --config /etc/alkaid/apiserver.yaml --check-config
  in_root alkaid-hypervisor --config /etc/alkaid/hypervisor.yaml --check-config
  [[ $(in_root readlink -f /etc/systemd/system/alkaid.target.wants/alkaid-apiserver.service) == */alkaid-apiserver.service ]]
  in_root dpkg -L alkaid-server alkaid-node alkaid-cli | grep -E 'alkaid|kubectl' >"$BATS_TEST_TMPDIR/files"
  echo /var/lib/alkaid >>"$BATS_TEST_TMPDIR/files"
  # An upgrade keeps what the administrator wrote.
  echo 'logLevel: debug' >"$BATS_TEST_TMPDIR/root/etc/alkaid/network.yaml"
  in_root sh -ec 'dpkg --no-triggers --force-confold -i /packages/*.deb' >"$BATS_TEST_TMPDIR/upgrade.log" 2>&1
  grep -qx 'logLevel: debug' "$BATS_TEST_TMPDIR/root/etc/alkaid/network.yaml"
  in_root sh -ec 'mkdir -p /var/lib/alkaid/apiserver /var/lib/alkaid/network
    dpkg --no-triggers --purge alkaid-node alkaid-server alkaid-cli' >"$BATS_TEST_TMPDIR/purge.log" 2>&1 ||
    { cat "$BATS_TEST_TMPDIR/purge.log" >&2 && return 1; }
  find "$BATS_TEST_TMPDIR"/root/{etc/systemd,var/lib/systemd} -name '*alkaid*' | sed "s|^$BATS_TEST_TMPDIR/root||" \
    >>"$BATS_TEST_TMPDIR/files"
  run left_of <"$BATS_TEST_TMPDIR/files"
  assert_output ''
}

@test "configuration: an unknown key and a wrong value are named with line and column, in each service" {
  local name file=$BATS_TEST_TMPDIR/wrong.yaml
  for name in apiserver watcher network hypervisor; do
    printf 'logLevel: info\nbusdir: /x\n' >"$file"
    run "$BIN/alkaid-$name" --config "$file" --check-config
    [[ $status == 2 && $output == *"wrong.yaml:2:1: \"busdir\": unknown key"* ]]
    printf '\nlogLevel: loud\n' >"$file"
    run "$BIN/alkaid-$name" --config "$file" --check-config
    [[ $status == 2 && $output == *'wrong.yaml:2:1: logLevel: "loud" is not valid'* ]]
  done
}

shown_serial() {
  local address=${SERVER#https://}
  openssl s_client -connect "$address" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
shown_is_not() { local now; now=$(shown_serial) && [[ $now && $now != "$1" ]]; }
watch_got() { grep -q "$1" "$BATS_TEST_TMPDIR/watch"; }

@test "certificates: SIGHUP shows a new one to new connections; a watch that is open goes on" {
  local before watcher
  before=$(shown_serial)
  [[ $before ]]
  kubectl get pods --watch -o name >"$BATS_TEST_TMPDIR/watch" 2>&1 3>&- &
  watcher=$!
  pod_yaml before eth0 | kubectl apply -f -
  wait_until 30 watch_got pod/before
  rm "$PKI/server.crt"
  kill -HUP "$(service_pid apiserver)"
  wait_until 30 shown_is_not "$before"
  pod_yaml after eth0 | kubectl apply -f -
  wait_until 30 watch_got pod/after
  kill "$watcher"
  grep -q 'event=certificate_replaced' "$BATS_FILE_TMPDIR/apiserver.log"
}

@test "site: mkdocs builds it without a warning" {
  run mkdocs build --strict --quiet -f "$ROOT/mkdocs.yml" -d "$BATS_TEST_TMPDIR/site"
  [[ $status == 0 && -f $BATS_TEST_TMPDIR/site/tutorial.html ]] || { echo "$output" >&2 && return 1; }
}

# The e2e suites run these words, with the path of the examples before the files' names.
@test "tutorial: each of its commands is run by an e2e test" {
  local command run=$BATS_TEST_TMPDIR/run commands=()
  # shellcheck disable=SC2016 # what the suites say, to the letter
  sed -E -e 's/"\$EXAMPLES\/([^"]*)"/\1/g' -e 's/^ *patch_from (\S+)$/kubectl patch pod nginx-vm -p "$(cat \1)"/' \
    -e 's/^ *delete_pods/kubectl delete pod/' \
    "$ROOT"/tests/e2e/*.bats >"$run"
  mapfile -t commands < <(sed -n 's/^    \$ \(kubectl\)/\1/p' "$ROOT/docs/tutorial.md")
  ((${#commands[@]} >= 7))
  for command in "${commands[@]}"; do
    grep -qF -e "$command" "$run" || { echo "not run: $command" >&2 && return 1; }
  done
}

doctor() {
  "$BIN/alkaidctl" doctor --bus-dir "$BATS_TEST_TMPDIR/bus" --state-dir "$BATS_FILE_TMPDIR" --pki-dir "$PKI" \
    --libvirt-socket "$BATS_TEST_TMPDIR/libvirt" "$@"
}
answers() { socat -u OPEN:/dev/null "UNIX-CONNECT:$1" 2>/dev/null; }

@test "doctor: says what is in the way, and what to do about it" {
  local name pids=()
  run -1 doctor
  assert_line --regexp '^FAIL  libvirt .*: No such file or directory'
  assert_line --regexp '^FAIL  bus '
  assert_line --partial 'systemctl start libvirtd'
  assert_line --regexp '^ok    certificates .* days'
  mkdir -m 0755 "$BATS_TEST_TMPDIR/bus"
  run -1 doctor
  assert_line --partial 'chmod 0700'
  chmod 0700 "$BATS_TEST_TMPDIR/bus"
  for name in libvirt bus/watcher bus/network bus/hypervisor; do
    socat "UNIX-LISTEN:$BATS_TEST_TMPDIR/$name,fork" OPEN:/dev/null 3>&- &
    pids+=($!)
    wait_until 30 answers "$BATS_TEST_TMPDIR/$name"
  done
  run doctor
  kill "${pids[@]}"
  for name in libvirt bus watcher network hypervisor; do
    assert_line --regexp "^ok    $name "
  done
}

@test "support bundle: tells versions, configuration, pods and doctor; a planted secret is not in it" {
  local dir=$BATS_TEST_TMPDIR secret='hunter2-planted'
  mkdir "$dir/etc"
  echo 'logLevel: info' >"$dir/etc/watcher.yaml"
  echo "token: $secret" >"$dir/etc/node.kubeconfig"
  pod_yaml secretive eth0 | sed "s/^    name: vm/&\n    userData: '$secret'\n    cloudInitUserDataScript: '$secret'/" |
    kubectl apply -f -
  [[ $(kubectl get pod secretive -o yaml) == *"$secret"* ]]
  "$BIN/alkaidctl" support-bundle --bus-dir "$BATS_FILE_TMPDIR/bus" --config-dir "$dir/etc" "$dir/bundle.tar.gz"
  [[ $(stat -c %a "$dir/bundle.tar.gz") == 600 ]]
  tar -xzf "$dir/bundle.tar.gz" -C "$dir"
  run grep -r "$secret" "$dir/alkaid-support"
  assert_output ''
  grep -q 'logLevel: info' "$dir/alkaid-support/configuration.txt"
  grep -q '^alkaidctl ' "$dir/alkaid-support/versions.txt"
  grep -q 'certificates' "$dir/alkaid-support/doctor.txt"
  grep -q '"name":"secretive"' "$dir/alkaid-support/pods.json"
  grep -qF '"userData":"[removed]"' "$dir/alkaid-support/pods.json"
}

@test "backup: of a running server; a restore brings it back, wants the server stopped and refuses what is no backup" {
  local state=$BATS_FILE_TMPDIR/state file=$BATS_TEST_TMPDIR/backup.db
  pod_yaml kept eth0 | kubectl apply -f -
  "$BIN/alkaidctl" backup --state-dir "$state" "$file"
  [[ $(stat -c %a "$file") == 600 ]]
  kubectl delete pod kept --wait=false
  run "$BIN/alkaidctl" backup --state-dir "$state" "$file"
  [[ $status == 1 && $output == *'File exists'* ]]
  run "$BIN/alkaidctl" restore --state-dir "$state" "$file"
  [[ $status == 1 && $output == *'stop it first'* ]]
  stop_services
  head -c 8192 /dev/urandom >"$BATS_TEST_TMPDIR/noise"
  run "$BIN/alkaidctl" restore --state-dir "$state" "$BATS_TEST_TMPDIR/noise"
  [[ $status == 1 ]]
  "$BIN/alkaidctl" restore --state-dir "$state" "$file"
  start_apiserver
  kubectl get pod kept
}
