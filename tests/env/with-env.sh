#!/usr/bin/env bash
# Runs a command with a real Ceph cluster and a real Kubernetes control plane
# that exist only for it: both are started, the command runs, both are ended,
# whatever happened. Its exit code is the command's.
#
#   with-env.sh CMD [ARG...]        for example: with-env.sh cargo test, with-env.sh bash
#
# The command sees:
#   KUBECONFIG                      the administrator of the control plane
#   KUBEBUILDER_ASSETS              folder of etcd, kube-apiserver, kubectl; first in PATH, with helm
#   CEPH_CONF                       the cluster's ceph.conf, which names client.admin's keyring
#   POOLWRIGHT_TEST_CEPH            folder of the Ceph cluster, see ceph-cluster.sh
#   POOLWRIGHT_TEST_FSID, POOLWRIGHT_TEST_MONITORS   its id and addresses
#   POOLWRIGHT_TEST_KUBE            folder of the control plane, see control-plane.sh
#   POOLWRIGHT_TEST_DIR             folder of both, gone afterwards
#   POOLWRIGHT_TEST_ENV_SCRIPTS     this folder
#
# KEEP_LOGS=1 keeps the folder when something failed. The options of
# ceph-cluster.sh (OSDS, MONS...) apply. With CEPH_RELEASE the command runs with
# that release as well: its ceph, its librados, its C library (see rootfs.sh).
set -euo pipefail

me=with-env
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

[ $# -gt 0 ] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

"$here/setup.sh"

dir='' helpers=() command=''

# Runs once, on every way out.
finish() {
  local code=$? pid i all
  # From here on nothing interrupts: a second Ctrl-C would leave daemons behind.
  trap '' INT TERM HUP
  if [ -n "$command" ]; then
    # cargo passes no signal on to the tests it runs, so all below the command get it.
    mapfile -t all < <(descendants "$command" | tr ' ' '\n')
    all+=("$command")
    kill -TERM "${all[@]}" 2>/dev/null || true
    for ((i = 0; i < 200; i++)); do
      alive "$command" || break
      sleep 0.05
    done
    kill -KILL "${all[@]}" 2>/dev/null || true
  fi
  for pid in ${helpers[@]+"${helpers[@]}"}; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  if [ -n "$dir" ]; then
    "$here/ceph-cluster.sh" stop "$dir/ceph" &
    "$here/control-plane.sh" stop "$dir/kube" &
    wait
    if [ "$code" != 0 ] && [ "${KEEP_LOGS:-}" = 1 ]; then
      say "logs and all files are in $dir"
    else
      rm -rf "$dir"
    fi
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

dir=$(mktemp -d "${TMPDIR:-/tmp}/poolwright.XXXXXX")
bin=$("$here/setup.sh" assets) helm=$("$here/setup.sh" helm)
export KUBEBUILDER_ASSETS=$bin

say "starting Ceph and Kubernetes in $dir"
# The processors are shared, but each of the two also waits a good part of the time.
"$here/ceph-cluster.sh" start "$dir/ceph" >&2 &
helpers+=($!)
"$here/control-plane.sh" start "$dir/kube" >/dev/null &
helpers+=($!)
for pid in "${helpers[@]}"; do
  wait "$pid" || die "the environment did not start"
done
helpers=()

export KUBECONFIG=$dir/kube/admin.kubeconfig PATH=$bin:$helm:$PATH
POOLWRIGHT_TEST_SCHEMATHESIS=$("$here/setup.sh" schemathesis)/schemathesis
export POOLWRIGHT_TEST_SCHEMATHESIS
export POOLWRIGHT_TEST_DIR=$dir POOLWRIGHT_TEST_KUBE=$dir/kube POOLWRIGHT_TEST_ENV_SCRIPTS=$here
eval "$("$here/ceph-cluster.sh" env "$dir/ceph")"

# Not in the foreground: bash would see a signal only when the command has ended.
# In the background bash takes the terminal's input and Ctrl-C from it; env and
# the redirection give them back.
give_back=() enter=()
if [ -n "${CEPH_RELEASE:-}" ]; then enter=("$here/rootfs.sh" enter "$CEPH_RELEASE"); fi
if env --default-signal=INT true 2>/dev/null; then give_back=(env --default-signal=INT,QUIT); fi
${give_back[@]+"${give_back[@]}"} ${enter[@]+"${enter[@]}"} "$@" <&0 &
command=$!
code=0
wait "$command" || code=$?
command=''
exit "$code"
