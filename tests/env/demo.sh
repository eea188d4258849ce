#!/usr/bin/env bash
# Shows Poolwright at work: a real Ceph cluster, a real Kubernetes control
# plane, the controller, and the commands a person would type.
#
#   demo.sh             what `make demo` runs; ends by itself and leaves nothing running
#   KEEP=1 demo.sh      leaves everything running and says how to use it
#   demo.sh stop DIR    ends what KEEP=1 left
set -euo pipefail

me=demo
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

stop() {
  local dir=$1
  if [ -f "$dir/controller.pid" ]; then
    kill -TERM "$(cat "$dir/controller.pid")" 2>/dev/null || true
  fi
  "$here/ceph-cluster.sh" stop "$dir/ceph" &
  "$here/control-plane.sh" stop "$dir/kube" &
  wait
  rm -rf "$dir"
}

if [ "${1:-}" = stop ]; then
  [ -d "${2:-}/ceph" ] || die "not a demo's folder: ${2:-none given}"
  stop "$2"
  echo "Stopped; nothing is left running."
  exit 0
fi

# Bold for what a person types, where the output is a terminal.
bold='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
step=0
title() { step=$((step + 1)); printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"; }
note() { printf '   %s\n' "$@"; }
# Shows a command as it would be typed, runs it, and sets its output apart.
run() {
  printf '   %s$ %s%s\n' "$bold" "$1" "$plain"
  (cd "$root" && bash -c "set -o pipefail; $1" 2>&1) | sed 's/^/     /'
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/poolwright-demo.XXXXXX")
finish() {
  local code=$?
  trap '' INT TERM HUP
  if [ "$code" = 0 ] && [ -n "${KEEP:-}" ]; then return; fi
  if [ "$code" != 0 ]; then
    echo >&2
    say "the demo failed; the controller's last words:"
    tail -n 20 "$dir/controller.log" >&2 2>/dev/null || true
  fi
  stop "$dir" >/dev/null 2>&1 || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

KUBEBUILDER_ASSETS=$("$here/setup.sh" assets)
export KUBEBUILDER_ASSETS PATH=$KUBEBUILDER_ASSETS:$root/target/debug:$PATH
export KUBECONFIG=$dir/kube/admin.kubeconfig CEPH_CONF=$dir/ceph/ceph.conf

title "A Ceph cluster and a Kubernetes control plane, both real, both only for this demo"
note "one monitor, one manager, three OSDs in memory; etcd, kube-apiserver, kube-controller-manager"
"$here/ceph-cluster.sh" start "$dir/ceph" 2>&1 | sed 's/^/     /' &
ceph=$!
"$here/control-plane.sh" start "$dir/kube" 2>&1 >/dev/null | sed 's/^/     /' &
kube=$!
wait "$ceph" || die "Ceph did not start"
wait "$kube" || die "Kubernetes did not start"
run "kubectl version | tail -n 1; ceph version"

title "Install the three kinds, and tell Poolwright how to reach the cluster"
run "poolwright crds | kubectl apply -f -"
run "kubectl create namespace poolwright-system"
note "a Ceph user that may do what pools need, and nothing more:"
run "poolwright permissions -f examples/connection.yaml -f examples/pools.yaml"
run "eval \"timeout 20 \$(poolwright permissions) -o $dir/key\""
run "kubectl -n poolwright-system create secret generic ceph-main --from-file=key=$dir/key"
run "sed 's#- 192.0.2.11#- \"$(cat "$dir/ceph/monitors")\"#' examples/connection.yaml | kubectl apply -f -"

title "Start the controller (in a cluster it is a Deployment; here it uses the kubeconfig)"
printf '   %s$ poolwright run &%s\n' "$bold" "$plain"
"$root/target/debug/poolwright" run >"$dir/controller.log" 2>&1 &
echo $! >"$dir/controller.pid"
disown
run "kubectl wait --for=condition=Ready --timeout=60s clusterconnection/main"
run "kubectl get clusterconnection"

title "Declare pools"
run "kubectl apply -f examples/pools.yaml"
run "kubectl wait --for=condition=Ready --timeout=60s cephpool --all"
run "kubectl get cephpool -o wide"
note "the same in Ceph; every pool carries the mark of its owner:"
run "timeout 20 ceph osd pool ls detail | cut -c 1-150"
first=$(kubectl get cephpool -o jsonpath='{.items[0].metadata.name}')
rbd=$(kubectl get cephpool -o jsonpath='{.items[?(@.spec.quota)].metadata.name}' | cut -d' ' -f1)
rbd=${rbd:-$first}
run "timeout 20 ceph osd pool application get $(kubectl get cephpool "$rbd" -o jsonpath='{.status.poolName}')"

title "Change one: the request ID and the epoch that shows it are in the status"
run "kubectl patch cephpool $rbd --type merge -p '{\"spec\":{\"quota\":{\"maxBytes\":\"200Gi\",\"maxObjects\":2000000}}}'"
generation=$(kubectl get cephpool "$rbd" -o jsonpath='{.metadata.generation}')
run "kubectl wait --for=jsonpath='{.status.conditions[0].observedGeneration}'=$generation cephpool/$rbd --timeout=30s && kubectl wait --for=condition=Ready cephpool/$rbd --timeout=30s"
run "kubectl get cephpool $rbd -o jsonpath='{\"request \"}{.status.requestId}{\"\\nepoch   \"}{.status.observedOsdEpoch}{\"\\n\"}'"
request=$(kubectl get cephpool "$rbd" -o jsonpath='{.status.requestId}')
run "kubectl get cephrequest $request -o jsonpath='{range .status.rounds[*].commands[*]}{.command}{\"  -> \"}{.code}{\"\\n\"}{end}'"

title "Somebody changes it by hand: it is put back, and the status says so"
pool=$(kubectl get cephpool "$rbd" -o jsonpath='{.status.poolName}')
run "timeout 20 ceph osd pool set-quota $pool max_objects 7"
run "kubectl wait --for=jsonpath='{.status.drift.corrections}'=1 cephpool/$rbd --timeout=30s && kubectl wait --for=condition=Ready cephpool/$rbd --timeout=30s"
run "timeout 20 ceph osd pool get-quota $pool | grep objects"
run "kubectl get cephpool $rbd -o jsonpath='{.status.drift}{\"\\n\"}'"

title "What could lose data is refused, with the reason"
run "kubectl patch cephpool $rbd --type merge -p '{\"spec\":{\"minSize\":1}}'"
run "kubectl wait --for=condition=Stalled cephpool/$rbd --timeout=30s"
run "kubectl get cephpool $rbd -o jsonpath='{.status.conditions[?(@.type==\"Stalled\")].reason}{\": \"}{.status.conditions[?(@.type==\"Stalled\")].message}{\"\\n\"}'"
run "kubectl patch cephpool $rbd --type merge -p '{\"spec\":{\"minSize\":2}}'"
run "kubectl wait --for=condition=Ready cephpool/$rbd --timeout=30s"

title "Delete the object: the pool stays, since deletionPolicy is Retain. Made again, it has its pool back"
run "kubectl delete cephpool $rbd"
run "timeout 20 ceph osd pool ls"
run "kubectl apply -f examples/pools.yaml"
run "kubectl wait --for=condition=Ready --timeout=60s cephpool --all"
run "kubectl get cephpool,cephrequest"
run "kubectl get events --field-selector involvedObject.name=$rbd --sort-by=.lastTimestamp | cut -c 1-140"

title "Remove a pool with its object: only what is proven empty goes, everything else needs your word"
allow='[{"op":"replace","path":"/spec/grants/0/allow","value":["Create","Update","Delete"]}]'
run "kubectl patch clusterconnection main --type json -p '$allow'"
run "kubectl patch cephpool scratch --type merge -p '{\"spec\":{\"deletionPolicy\":\"Delete\"}}'"
run "timeout 20 rados -p scratch put note /etc/hostname"
run "kubectl delete cephpool scratch --wait=false"
run "kubectl wait --for=condition=DeletionBlocked --timeout=60s cephpool/scratch"
message='{.status.conditions[?(@.type=="DeletionBlocked")].message}'
run "kubectl get cephpool scratch -o jsonpath='$message{\"\\n\"}'"
note "somebody says so, with the token from the message:"
token=$(kubectl get cephpool scratch -o jsonpath='{.status.askedTokens[0].token}')
run "kubectl annotate cephpool scratch poolwright.dev/confirm=$token --overwrite"
run "kubectl wait --for=delete --timeout=60s cephpool/scratch"
run "timeout 20 ceph osd pool ls"
run "kubectl get cephrequest -o jsonpath='{range .items[?(@.spec.operation==\"Delete\")].status.rounds[*].commands[*]}{.command}{\"  -> \"}{.code}{\"\\n\"}{end}'"

if [ -n "${KEEP:-}" ]; then
  cat <<TEXT

Everything is still running. In another terminal:

  export KUBECONFIG=$KUBECONFIG CEPH_CONF=$CEPH_CONF PATH=$KUBEBUILDER_ASSETS:$root/target/debug:\$PATH
  kubectl get cephpool        the pools
  timeout 20 ceph -s                     the cluster
  tail -f $dir/controller.log            the controller's log

To end it:  tests/env/demo.sh stop $dir
TEXT
else
  printf '\nThat was Poolwright on real Ceph and real Kubernetes. Stopping both; nothing is left running.\n'
  printf 'To look around for yourself: make demo KEEP=1\n'
fi
