#!/usr/bin/env bash
# A small real Ceph cluster on loopback: monitors, a manager and OSDs that keep
# their data in memory. Several can run side by side.
#
#   ceph-cluster.sh start DIR            DIR must be new or empty
#   ceph-cluster.sh stop DIR             ends every daemon; the files stay
#   ceph-cluster.sh env DIR              prints shell exports (CEPH_CONF and others)
#   ceph-cluster.sh pause-mon DIR [ID]   freezes a monitor (default a); resume-mon thaws it
#   ceph-cluster.sh kill-mon DIR [ID]    kills a monitor at once; start-mon starts it again
#
# Options of start, in the environment:
#   OSDS=3  MONS=1  STORE=memstore (or bluestore)  ALLOW_DELETE=true
#   PROPOSE_INTERVAL=0.05  MIN_WAIT=0.01   how long monitors gather changes; empty: Ceph's defaults
#   EXTRA_CONF=FILE                        lines for the [global] section
#   CEPH_RELEASE=18                        another release than the machine's own, see rootfs.sh;
#                                          people reach it with: rootfs.sh enter 18 ceph -c DIR/ceph.conf
#
# In DIR: ceph.conf, keyring (client.admin and the daemons), fsid, monitors (the
# addresses as one line, as for mon_host), release, run/ (pid files, sockets), log/.
set -euo pipefail

me=ceph-cluster
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"
# Daemons live in sbin folders on some systems, which a user's PATH may lack.
PATH=$PATH:/usr/sbin:/sbin

ceph() { command timeout "${limit:-20}" ceph -c "$dir/ceph.conf" "$@"; }

# Own session, so that a Ctrl-C in the terminal reaches the caller alone, who
# then stops the cluster in order. At home in /, as a service is: Debian's 18 and 20
# look for object classes and plugins in lib/..., from where they are.
daemon() { timeout 40 setsid env -C / "$@" -c "$dir/ceph.conf" >>"$dir/log/start.log" 2>&1 </dev/null; }

write_conf() {
  cat >"$dir/ceph.conf" <<C
[global]
fsid = $fsid
mon host = $monitors
mon initial members = ${mons[*]}
keyring = $dir/keyring
run dir = $dir/run
crash dir = $dir/log
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind port min = $((ports + 16))
ms bind port max = $((ports + 255))
# A warning less: the clients of today need no insecure way.
auth allow insecure global id reclaim = false
mon allow pool delete = ${ALLOW_DELETE:-true}
# A nearly full disk must not change the cluster's health.
mon data avail warn = 1
mon data avail crit = 1
# Many pools on few OSDs.
mon max pg per osd = 2000
# All OSDs are on one host: replicas go to different OSDs.
osd crush chooseleaf type = 0
osd objectstore = ${STORE:-memstore}
memstore device bytes = 268435456
bluestore block size = 2147483648
mon cluster log file = $dir/log/cluster.log
# An election among monitors that started together can miss one and wait for it.
mon election timeout = 2
# OSDs that stop tell a monitor; one that is frozen must not hold them up.
osd mon shutdown timeout = 1
# No test needs the modules started by default, and one whose Python packages are
# not installed could spoil the health. (The always-on ones run.)
mgr initial modules =
C
  if [ -n "${PROPOSE_INTERVAL-0.05}" ]; then echo "paxos propose interval = ${PROPOSE_INTERVAL-0.05}"; fi >>"$dir/ceph.conf"
  if [ -n "${MIN_WAIT-0.01}" ]; then echo "paxos min wait = ${MIN_WAIT-0.01}"; fi >>"$dir/ceph.conf"
  if [ -n "${EXTRA_CONF:-}" ]; then cat "$EXTRA_CONF" >>"$dir/ceph.conf"; fi
  # Sockets, logs and pid files for daemons only: clients of one name would fight
  # over theirs.
  local kind
  for kind in mon mgr osd; do
    cat >>"$dir/ceph.conf" <<C

[$kind]
$kind data = $dir/data/$kind.\$id
pid file = $dir/run/\$name.pid
log file = $dir/log/\$name.log
C
  done
}

start() {
  local count=${MONS:-1} osds=${OSDS:-3} i id pids=() uuid=()
  local -a mons addr
  [ ! -e "$dir/ceph.conf" ] || die "$dir is in use; stop it and take another folder"
  # A Unix socket's path has 107 characters at most, and the sockets are in DIR/run.
  [ ${#dir} -le 80 ] || die "the path of $dir is too long"
  command -v ceph-mon >/dev/null || die "ceph-mon is missing; run 'make setup'"
  mkdir -p "$dir"/{run,log}
  echo "${CEPH_RELEASE:-}" >"$dir/release"
  guard_start
  reserve_ports "$dir"
  mons=(a b c d e)
  mons=("${mons[@]:0:count}")
  for i in "${!mons[@]}"; do addr+=("[v2:127.0.0.1:$((ports + 2 * i)),v1:127.0.0.1:$((ports + 2 * i + 1))]"); done
  fsid=$(</proc/sys/kernel/random/uuid)
  monitors=$(IFS=,; echo "${addr[*]}")
  echo "$fsid" >"$dir/fsid"
  echo "$monitors" >"$dir/monitors"
  write_conf

  # All keys exist before the monitors do, which take them over on their first
  # start: not one command is needed for them.
  local -a key=(ceph-authtool "$dir/keyring" --gen-key --cap mon)
  "${key[@]}" 'allow *' -C -n mon. >>"$dir/log/start.log"
  "${key[@]}" 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *' -n client.admin
  "${key[@]}" 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *' -n mgr.x
  for ((i = 0; i < osds; i++)); do
    "${key[@]}" 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd' -n "osd.$i"
    uuid+=("$(</proc/sys/kernel/random/uuid)")
  done
  local -a map=(monmaptool "$dir/monmap" --create --clobber --enable-all-features --fsid "$fsid")
  for i in "${!mons[@]}"; do map+=(--addv "${mons[i]}" "${addr[i]}"); done
  "${map[@]}" >>"$dir/log/start.log"

  # OSDs make their stores while the monitors start.
  for ((i = 0; i < osds; i++)); do
    mkdir -p "$dir/data/osd.$i"
    daemon ceph-osd -i "$i" --mkfs --osd-uuid "${uuid[i]}" --no-mon-config &
    pids+=($!)
  done
  local -a mon_pids=()
  for id in "${mons[@]}"; do
    mkdir -p "$dir/data/mon.$id" "$dir/data/mgr.x"
    { daemon ceph-mon -i "$id" --mkfs --monmap "$dir/monmap" --keyring "$dir/keyring" && daemon ceph-mon -i "$id"; } &
    mon_pids+=($!)
  done
  for i in "${mon_pids[@]}"; do wait "$i" || fail "a monitor did not start"; done
  daemon ceph-mgr -i x &
  local mgr_pid=$!

  # One client for all commands: starting it takes longer than a command does.
  for ((i = 0; i < osds; i++)); do echo "osd new ${uuid[i]} $i"; done |
    ceph >>"$dir/log/start.log" 2>&1 || fail "the OSDs were not accepted"
  for i in ${pids[@]+"${pids[@]}"}; do wait "$i" || fail "an OSD could not make its store"; done
  pids=("$mgr_pid")
  for ((i = 0; i < osds; i++)); do
    daemon ceph-osd -i "$i" &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i" || fail "a daemon did not start"; done
  wait_ready
  unguard_start
  say "Ceph $(ceph-mon --version | sed 's/^ceph version \([^ ]*\).*/\1/') ready after $(elapsed) ($count mon, 1 mgr, $osds osd)"
}

# Every monitor in the quorum, every OSD up, the manager active.
wait_ready() {
  local state
  while ((SECONDS < 60)); do
    state=$(printf '%s\n' 'mon stat' 'osd stat' 'mgr stat' | limit=10 ceph 2>/dev/null) || state=
    echo "$state" >"$dir/log/state.log"
    if grep -q " $osds up" <<<"$state" && grep -q '"available": true' <<<"$state" &&
      grep -qE "quorum [0-9]+(,[0-9]+){$((count - 1))} " <<<"$state"; then
      return 0
    fi
    sleep 0.1
  done
  fail "the cluster was not ready within 60 s"
}

stop() {
  # OSDs first: they say good-bye to a monitor.
  stop_all 10 "$dir" ceph-osd ceph-mgr
  stop_all 10 "$dir" ceph-mon
  release_ports "$dir"
}

mon_pid() {
  local pid
  pid=$(cat "$dir/run/mon.$id.pid" 2>/dev/null) || die "no monitor $id runs in $dir"
  # A process of another program may have this number by now.
  pids_of "$dir" ceph-mon | grep -x "$pid" || die "no monitor $id runs in $dir"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

[ $# -ge 2 ] || usage
dir=$(realpath -m -- "$2") id=${3:-a} fsid='' monitors='' ports=''
# What starts daemons does so with the release of the cluster. The others send
# signals, for which any will do.
release=
case $1 in
  start) release=${CEPH_RELEASE:-} ;;
  start-mon) release=$(cat "$dir/release" 2>/dev/null) || true ;;
esac
if [ -n "$release" ] && [ "$("$here/rootfs.sh" path "$release")" != / ]; then
  exec "$here/rootfs.sh" enter "$release" "$here/ceph-cluster.sh" "$@"
fi
case $1 in
  start) start ;;
  stop) stop ;;
  env)
    printf 'export %s=%q\n' CEPH_CONF "$dir/ceph.conf" POOLWRIGHT_TEST_CEPH "$dir" \
      POOLWRIGHT_TEST_FSID "$(<"$dir/fsid")" POOLWRIGHT_TEST_MONITORS "$(<"$dir/monitors")"
    ;;
  pause-mon) pid=$(mon_pid) && kill -STOP "$pid" ;;
  resume-mon) pid=$(mon_pid) && kill -CONT "$pid" ;;
  kill-mon) pid=$(mon_pid) && kill -KILL "$pid" ;;
  start-mon) daemon ceph-mon -i "$id" || die "monitor $id did not start; see $dir/log" ;;
  *) usage ;;
esac
