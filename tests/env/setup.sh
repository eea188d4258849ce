#!/usr/bin/env bash
# Brings a machine to where the tests and the demo run: Ceph from the
# distribution's packages, a Kubernetes control plane and Helm, each built once
# from Go modules, and Schemathesis from PyPI. Does only what is missing, so it is
# cheap to call every time.
#
#   setup.sh           set up; says what it does on stderr
#   setup.sh assets    print the folder of the control plane's programs, do nothing else
#   setup.sh helm      print the folder of helm, do nothing else
#   setup.sh schemathesis  print the folder of schemathesis, do nothing else
#
# POOLWRIGHT_CACHE     where they are kept (default: the user's cache folder)
# CEPH_RELEASE=18      another release of Ceph as well, beside the machine's own (see rootfs.sh)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${POOLWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poolwright}

# version_of FOLDER MODULE: the version of a module that a folder's go.mod names.
version_of() { sed -n "s|^.*$2 \(v[0-9.]*\)\( //.*\)\{0,1\}$|\1|p" "$here/$1/go.mod" | head -n 1; }

# folder_of NAME VERSION: where it is kept. The name says what is in it, so a
# changed program is a new folder and an old checkout still finds its own.
folder_of() { echo "$cache/$1-$2-$(cd "$here/$1" && cat ./*.go go.mod go.sum 2>/dev/null | sha256sum | cut -c1-10)"; }

version=$(version_of controlplane k8s.io/kubernetes)
helm_version=$(version_of helm helm.sh/helm/v3)
controlplane=$(folder_of controlplane "$version")
helm=$(folder_of helm "$helm_version")
schemathesis_version=$(sed -n 's/^schemathesis==//p' "$here/schemathesis/requirements.txt")
schemathesis=$cache/schemathesis-$schemathesis_version-$(sha256sum <"$here/schemathesis/requirements.txt" | cut -c1-10)

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

case ${1:-} in
  assets) echo "$controlplane/bin"; exit 0 ;;
  helm) echo "$helm/bin"; exit 0 ;;
  schemathesis) echo "$schemathesis/bin"; exit 0 ;;
esac
[ $# = 0 ] || die "unknown argument '$1'; see the head of this script"

# The Debian and Ubuntu packages whose program is not there. Programs are looked
# for and not packages: a Ceph from elsewhere is as good.
missing_packages() {
  local pair
  for pair in ceph:ceph-common ceph-mon:ceph-mon ceph-mgr:ceph-mgr ceph-osd:ceph-osd \
    openssl:openssl curl:curl cc:gcc flock:util-linux; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
  done
  if ! schemathesis_runs; then
    command -v python3 >/dev/null || echo python3
    # Debian has it apart.
    python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
  fi
  if [ -n "${CEPH_RELEASE:-}" ] && ! "$here/rootfs.sh" path "$CEPH_RELEASE" >/dev/null; then
    command -v mmdebstrap >/dev/null || echo mmdebstrap
    # The keys that Debian's own lists are signed with; a Debian has them.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
  fi
  # cc without the C library's headers and start files links nothing.
  if ! command -v cc >/dev/null; then echo libc6-dev; fi
}

install_packages() {
  local missing as_root=()
  # Daemons live in sbin folders on some systems, which a user's PATH may lack.
  PATH=$PATH:/usr/sbin:/sbin
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "please install what these Debian packages hold: ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null ||
      die "neither root nor sudo is there; please run as root: apt-get install --no-install-recommends ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]} (apt-get; a minute or two)"
  local log
  log=$(mktemp)
  # --no-install-recommends keeps it to what the tests use. The packages bring
  # service units, but no monitor or OSD is configured, so none of them starts.
  if ! { "${as_root[@]}" apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    die "apt-get failed; the whole log is in $log"
  fi
  rm -f "$log"
  mapfile -t missing < <(missing_packages)
  [ ${#missing[@]} = 0 ] || die "still missing after the installation: ${missing[*]}"
  did=1
}

check_rust() {
  command -v cargo >/dev/null || die "cargo is missing; please install Rust (rustup is the usual way)"
}

# check_go FOLDER WHAT. Only asked when there is something to build.
check_go() {
  local have minimum
  minimum=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' "$here/$1/go.mod")
  command -v go >/dev/null || die "go is missing; please install Go $minimum or newer (it builds $2)"
  # Asked in the source folder, so a Go that fetches the toolchain a go.mod
  # wants answers for that one.
  have=$(cd "$here/$1" && GOWORK=off go env GOVERSION 2>/dev/null | sed 's/^go//') || have=
  [ -n "$have" ] && [ "$(printf '%s\n' "$minimum" "$have" | sort -V | head -n 1)" = "$minimum" ] ||
    die "Go $minimum or newer is needed to build $2, this is $(go version 2>&1 | tail -n 1)"
}

# build FOLDER PACKAGE FLAGS TARGET WHAT COST NAME...: builds a package of a folder's module into
# TARGET/bin under the first name; the others are links to it. What counts is
# `FOLDER_runs`, a program that runs, not a folder that exists.
build() {
  local folder=$1 package=$2 flags=$3 target=$4 what=$5 cost=$6 name
  local work log started=$SECONDS next=15 pid
  shift 6
  "${folder}_runs" && return 0
  mkdir -p "$cache"
  # Two runs at once build once: the second waits here and then finds it built.
  exec 9>"$cache/lock"
  flock -n 9 || { say "another run is building; waiting for it"; flock 9; }
  if "${folder}_runs"; then
    exec 9>&-
    return 0
  fi
  check_go "$folder" "$what"
  work=$(mktemp -d "$cache/build.XXXXXX")
  build_dir=$work
  log=$work/build.log
  mkdir "$work/bin"
  say "building $what (once; $cost on 2 cores)"
  # -mod=readonly: exactly the modules and sums of this repository. No cgo: the
  # program then runs whatever C library is there.
  (cd "$here/$folder" && GOWORK=off CGO_ENABLED=0 exec go build -v -mod=readonly -trimpath -buildvcs=false \
    -ldflags "$flags" -o "$work/bin/$1" "$package") >"$log" 2>&1 9>&- </dev/null &
  pid=$!
  build_pid=$pid
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if ((SECONDS - started >= next)); then
      say "still building, $((SECONDS - started)) s, $(grep -vc '^go: ' "$log" || true) packages compiled"
      next=$((next + 15))
    fi
  done
  wait "$pid" || {
    tail -n 30 "$log" >&2
    die "go build failed"
  }
  build_pid=
  for name in "${@:2}"; do
    ln -s "$1" "$work/bin/$name"
  done
  rm -f "$log"
  chmod 755 "$work"
  # A rename, so the folder is there whole or not at all; a broken one goes first.
  rm -rf "$target"
  mv -T "$work" "$target"
  build_dir=
  exec 9>&-
  "${folder}_runs" || die "$what in $target does not run"
  say "built $what in $((SECONDS - started)) s: $target"
  did=1
}

controlplane_runs() { "$controlplane/bin/kubectl" version --client >/dev/null 2>&1; }

build_control_plane() {
  local minor=${version#*.} flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"
  flags+=" -X k8s.io/component-base/version.gitMajor=${version:1:1}"
  flags+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
  build controlplane . "$flags" "$controlplane" "the Kubernetes control plane $version" \
    "about 5 minutes and 4 GB of Go caches" controlplane etcd kube-apiserver kube-controller-manager kubectl
}

helm_runs() { "$helm/bin/helm" version >/dev/null 2>&1; }

build_helm() {
  local api package flags="-s -w -X helm.sh/helm/v3/internal/version.version=$helm_version"
  # What `helm template` and `helm lint` take for the Kubernetes there is: the
  # one whose libraries it is built with, as in Helm's own releases.
  api=$(version_of helm k8s.io/api)
  for package in pkg/lint/rules pkg/chartutil; do
    flags+=" -X helm.sh/helm/v3/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/$package.k8sVersionMinor=$(cut -d. -f2 <<<"$api")"
  done
  build helm helm.sh/helm/v3/cmd/helm "$flags" "$helm" "Helm $helm_version" "about a minute and a half" helm
}

schemathesis_runs() { "$schemathesis/bin/schemathesis" --version >/dev/null 2>&1; }

# A virtual environment knows where it is, so it is made in its place.
build_schemathesis() {
  schemathesis_runs && return 0
  local log
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -n 9 || { say "another run is building; waiting for it"; flock 9; }
  if ! schemathesis_runs; then
    say "installing Schemathesis $schemathesis_version from PyPI (once; half a minute)"
    log=$(mktemp)
    rm -rf "$schemathesis"
    # What is broken off half-way does not run, and is made anew.
    { python3 -m venv "$schemathesis" 9>&- && "$schemathesis/bin/pip" install --quiet \
      --disable-pip-version-check --no-input -r "$here/schemathesis/requirements.txt" 9>&-; } >"$log" 2>&1 </dev/null || {
      tail -n 30 "$log" >&2
      die "the installation of Schemathesis failed; the whole log is in $log"
    }
    rm -f "$log"
    schemathesis_runs || die "Schemathesis in $schemathesis does not run"
    did=1
  fi
  exec 9>&-
}

with_release() {
  if [ -n "${CEPH_RELEASE:-}" ]; then "$here/rootfs.sh" enter "$CEPH_RELEASE" "$@"; else "$@"; fi
}

clean_up() {
  [ -z "$build_pid" ] || kill "$build_pid" 2>/dev/null || true
  [ -z "$build_dir" ] || rm -rf "$build_dir"
}

did= build_dir= build_pid=
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
install_packages
check_rust
build_control_plane
build_helm
build_schemathesis
if [ -n "${CEPH_RELEASE:-}" ]; then "$here/rootfs.sh" build "$CEPH_RELEASE"; fi
ceph=$(with_release ceph --version | sed 's/^ceph version \([^ ]*\).*/\1/')
say "${did:+done: }Ceph $ceph and the Kubernetes control plane $version are ready"
