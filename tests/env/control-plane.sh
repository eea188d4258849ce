#!/usr/bin/env bash
# A real Kubernetes control plane on loopback: etcd, kube-apiserver and
# kube-controller-manager, without nodes, so pods do not run. Several can run
# side by side. The programs come from setup.sh, or from KUBEBUILDER_ASSETS.
#
#   control-plane.sh start DIR     DIR must be new or empty; prints the admin's kubeconfig
#   control-plane.sh stop DIR      ends all three in order; the files stay
#
# In DIR: admin.kubeconfig (system:masters), jane.kubeconfig (a user without
# rights, group devs), pki/, etcd/, run/ (pid files), log/ (audit.json has what the
# controller of the chart asked for). RBAC and the admission of service accounts are on.
set -euo pipefail

me=control-plane
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

# launch NAME ARG...: in a session of its own, so that a Ctrl-C in the terminal
# reaches the caller alone, who then stops the three in order.
launch() {
  local name=$1
  shift
  setsid "$bin/$name" "$@" >"$dir/log/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/run/$name.pid"
}

running() { alive "$(<"$dir/run/$1.pid")"; }

# Certificates of their own for servers, users and service accounts, good for a month.
ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
authority() { # NAME
  openssl req -x509 "${ec[@]}" -days 30 -subj "/CN=$1" -keyout "$dir/pki/$1.key" -out "$dir/pki/$1.crt"
}
certificate() { # NAME AUTHORITY SUBJECT EXTENSIONS
  openssl req "${ec[@]}" -subj "$3" -keyout "$dir/pki/$1.key" -out "$dir/pki/$1.csr"
  openssl x509 -req -in "$dir/pki/$1.csr" -CA "$dir/pki/$2.crt" -CAkey "$dir/pki/$2.key" -CAcreateserial \
    -days 30 -extfile <(printf '%b' "$4") -out "$dir/pki/$1.crt"
}

user() { # NAME GROUP
  certificate "$1" clients "/O=$2/CN=$1" 'extendedKeyUsage=clientAuth\n'
  cat >"$dir/$1.kubeconfig" <<C
apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: $1}
clusters:
- name: test
  cluster:
    server: https://127.0.0.1:$api
    certificate-authority-data: $(base64 -w 0 <"$dir/pki/serving.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w 0 <"$dir/pki/$1.crt")
    client-key-data: $(base64 -w 0 <"$dir/pki/$1.key")
C
  chmod 600 "$dir/$1.kubeconfig"
}

certificates() {
  authority serving
  authority clients
  certificate apiserver serving /CN=localhost \
    'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n'
  openssl genrsa -out "$dir/pki/sa.key" 2048
  openssl rsa -in "$dir/pki/sa.key" -pubout -out "$dir/pki/sa.pub"
  user admin system:masters
  user jane devs
}

# A request as admin; curl, because it starts faster than kubectl.
get() {
  curl -sf -m 5 --noproxy '*' --cacert "$dir/pki/serving.crt" --cert "$dir/pki/admin.crt" --key "$dir/pki/admin.key" \
    "https://127.0.0.1:$api$1" >/dev/null 2>&1
}

wait_for() { # PATH
  until get "$1"; do
    ((SECONDS < 60)) || fail "no $1 within 60 s"
    running etcd && running kube-apiserver || fail "etcd or kube-apiserver ended"
    sleep 0.1
  done
}

start() {
  [ ! -e "$dir/pki" ] || die "$dir is in use; stop it and take another folder"
  bin=${KUBEBUILDER_ASSETS:-$("$here/setup.sh" assets)}
  [ -x "$bin/kube-controller-manager" ] || die "no control plane in $bin; run 'make setup'"
  mkdir -p "$dir"/{etcd,pki,run,log}
  guard_start
  reserve_ports "$dir"
  local etcd=http://127.0.0.1:$((ports + 1)) peer=http://127.0.0.1:$((ports + 2))
  api=$ports
  # Data that a power failure may eat: no fsync.
  launch etcd --data-dir "$dir/etcd" --unsafe-no-fsync --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
  certificates 2>"$dir/log/openssl.log" >&2 || fail "openssl failed"
  cat >"$dir/audit.yaml" <<'A'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [system:serviceaccount:poolwright-system:poolwright]
- level: None
A
  # No endpoint reconciler: it wants an address that is not loopback, which a
  # machine without a network does not have. Nothing here asks for endpoints.
  launch kube-apiserver --etcd-servers "$etcd" --cert-dir "$dir/pki" --bind-address 127.0.0.1 --secure-port "$api" \
    --advertise-address 127.0.0.1 --endpoint-reconciler-type none \
    --client-ca-file "$dir/pki/clients.crt" --authorization-mode RBAC --allow-privileged \
    --service-cluster-ip-range 10.0.0.0/24 --service-account-issuer "https://127.0.0.1:$api/" \
    --service-account-key-file "$dir/pki/sa.pub" --service-account-signing-key-file "$dir/pki/sa.key" \
    --audit-policy-file "$dir/audit.yaml" --audit-log-path "$dir/log/audit.json" \
    --max-requests-inflight 3000 --max-mutating-requests-inflight 1500 --profiling=false
  wait_for /readyz
  # No nodes, so nothing to do for their controllers; more requests per second
  # than by default, so that tests with many namespaces do not wait for it.
  launch kube-controller-manager --kubeconfig "$dir/admin.kubeconfig" --bind-address 127.0.0.1 --secure-port $((ports + 3)) \
    --service-account-private-key-file "$dir/pki/sa.key" --root-ca-file "$dir/pki/serving.crt" \
    --cert-dir "$dir/pki/controller-manager" --cluster-signing-cert-file '' \
    --use-service-account-credentials=false --leader-elect=false --profiling=false \
    --controllers='*,-node-ipam-controller,-node-lifecycle-controller' \
    --kube-api-qps 300 --kube-api-burst 600 --concurrent-namespace-syncs 20
  wait_for /api/v1/namespaces/default/serviceaccounts/default
  running kube-controller-manager || fail "kube-controller-manager ended"
  unguard_start
  say "Kubernetes $("$bin/kubectl" version --client | sed -n 's/^Client Version: //p') ready after $(elapsed)"
  echo "$dir/admin.kubeconfig"
}

# This order: an API server whose etcd is gone takes minutes to end.
stop() {
  local name
  for name in kube-controller-manager kube-apiserver etcd; do stop_all 15 "$dir" "$name"; done
  release_ports "$dir"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

[ $# = 2 ] || usage
dir=$(realpath -m -- "$2") bin='' api='' ports=''
case $1 in
  start) start ;;
  stop) stop ;;
  *) usage ;;
esac
