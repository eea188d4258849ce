#!/usr/bin/env bash
# Other releases of Ceph than the machine's own: each with its own programs,
# librados and C library, from the packages of the Debian that has it.
#
#   rootfs.sh build RELEASE              builds it, once; says what it does on stderr
#   rootfs.sh path RELEASE               prints its folder; fails where it is not built
#   rootfs.sh enter RELEASE CMD [ARG...] runs a command with it
#
# RELEASE is a major number, such as 18. Where the machine's own Ceph is of that
# release there is nothing to build, path prints /, and enter just runs the command.
#
# A release is a /usr and an /etc. For the command and all it starts they take the
# place of the machine's own, in a mount namespace that ends with them; everything
# else (/tmp, /home, /proc, the network, process numbers) is the machine's, so paths,
# ports and pids mean the same on both sides. Nothing that lies outside a release is
# mounted into it, so removing one, even while it is used, reaches nothing else.
#
# POOLWRIGHT_CACHE           where they are kept, as of setup.sh; 500 MB each
# POOLWRIGHT_DEBIAN_MIRROR   a mirror of Debian, also a snapshot of a day when it had the release
set -euo pipefail

me=rootfs
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"
cache=${POOLWRIGHT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/poolwright}
mirror=${POOLWRIGHT_DEBIAN_MIRROR:-http://deb.debian.org/debian}

# The Debians that have a release. The second is asked where the first has moved on.
suites_of() {
  case $1 in
    16) echo bookworm ;;
    18) echo trixie ;;
    20) echo forky sid ;;
    *) die "no Debian is known to have Ceph $1; there are 16, 18 and 20" ;;
  esac
}

# ceph-osd brings the erasure code plugins with it; the last three are for the
# tests and scripts, which run in it. Essential packages come without being named.
packages=ceph-mon,ceph-mgr,ceph-osd,ceph-common,librados2,python3-rados,python3-rbd,openssl,curl,procps
options=(--variant=essential --include="$packages")
for unused in doc man locale info; do options+=(--dpkgopt="path-exclude=/usr/share/$unused/*"); done

# repair FOLDER: what the packages of a Debian cannot do together.
repair() {
  # Every module of the manager of 18 imports bcrypt for the dashboard's passwords
  # alone, and the bcrypt of today refuses to be loaded into subinterpreters: none
  # of them would run, not even the placement groups' autoscaler.
  local file=$1/usr/share/ceph/mgr/mgr_util.py
  if grep -q '^import bcrypt$' "$file"; then "${as_root[@]}" sed -i 's/^import bcrypt$/# &/' "$file"; fi
}

# What is in it beside its version, for its name: with other packages it is another folder.
recipe=$( (echo "${options[*]}" && declare -f repair) | sha256sum | cut -c1-10)
# In its /etc: the release, which tells a command inside from one outside.
mark=poolwright-ceph-release

version_in() { sed -n 's/^ceph version \([^ ]*\).*/\1/p'; }

# The machine's own, or that of the release this runs in already.
own_release() {
  local version
  if [ -f "/etc/$mark" ]; then
    cat "/etc/$mark"
  else
    version=$(PATH=$PATH:/usr/sbin:/sbin ceph-mon --version 2>/dev/null | version_in) || version=
    echo "${version%%.*}"
  fi
}

# The newest that is there whole: a folder gets its name when it is, see build.
folder_of() { printf '%s\n' "$cache/ceph-$1".*-"$recipe" | sort -V | tail -n 1; }

path() {
  local folder
  suites_of "$1" >/dev/null
  if [ "$(own_release)" = "$1" ]; then echo / && return; fi
  folder=$(folder_of "$1")
  [ -f "$folder/etc/$mark" ] && [ -x "$folder/usr/bin/ceph-mon" ] && echo "$folder"
}

# place FOLDER CMD...: the innermost part of enter, in a namespace of its own.
place() {
  local folder=$1 name
  shift
  # Who runs tests stays who they are, where a program looks a user or a host up.
  for name in passwd group hosts resolv.conf; do
    if [ -f "/etc/$name" ] && [ -f "$folder/etc/$name" ]; then mount --bind "/etc/$name" "$folder/etc/$name"; fi
  done
  # Read only: what runs in it leaves it as it was built.
  mount -o rbind,ro "$folder/etc" /etc
  # The last one: from here on there is no program of the machine's own any more.
  mount -o bind,ro "$folder/usr" /usr
  # Who is not root has been allowed just this.
  [ "$(id -u)" = 0 ] || set -- setpriv --ambient-caps=-all --inh-caps=-all -- "$@"
  exec "$@"
}

enter() {
  local release=$1 folder user=() name real
  shift
  folder=$(path "$release") || die "Ceph $release is not built; run: tests/env/rootfs.sh build $release"
  [ "$folder" != / ] || exec "$@"
  # Without it programs in /bin would stay the machine's, and find no libraries.
  for name in /bin /sbin /lib; do
    [ -L "$name" ] || die "$name is not a link into /usr on this machine, so another release cannot take its place"
  done
  for name in "$here" "$cache" "${TMPDIR:-/tmp}" "$PWD"; do
    real=$(realpath -m -- "$name")
    case $real/ in
      /usr/* | /etc/*) die "$real cannot be seen with another release of Ceph, which takes the place of /usr and /etc" ;;
    esac
  done
  [ "$(id -u)" = 0 ] || user=(--user --map-current-user --keep-caps)
  # Asked first, to tell a machine that forbids it from a command that fails.
  unshare --mount ${user[@]+"${user[@]}"} true 2>/dev/null ||
    die "this machine allows no mount namespace to $(id -un); please run it as root"
  # Its own programs come first: what lies elsewhere may need the machine's libraries.
  PATH=/usr/sbin:/usr/bin:$PATH exec unshare --mount --propagation private ${user[@]+"${user[@]}"} \
    bash "${BASH_SOURCE[0]}" place "$folder" "$@"
}

# The machine's own settings for reaching a mirror and judging its age.
apt_settings() {
  apt-config dump 2>/dev/null | grep -E '^Acquire::(Check-|https?::)' || true
  # The signature of an old day's list stays good, its date does not.
  [ -z "${POOLWRIGHT_DEBIAN_MIRROR:-}" ] || echo 'Acquire::Check-Valid-Until "false";'
}

clean_up() {
  # A package's script may be at work below.
  # shellcheck disable=SC2046
  [ -z "$build_pid" ] || "${as_root[@]}" kill -KILL "$build_pid" $(descendants "$build_pid") 2>/dev/null || true
  [ -z "$work" ] || "${as_root[@]}" rm -rf --one-file-system "$work"
}

# bootstrap SUITE: into $work/root. Says how it goes, as a minute is long.
bootstrap() {
  local since=$SECONDS next=15
  # In a mount namespace: what it mounts for the packages' scripts is never
  # there for anybody else, least of all for an rm of its folder.
  "${as_root[@]}" unshare --mount --propagation private mmdebstrap --mode=root "${options[@]}" \
    --aptopt="$work/apt.conf" "$1" "$work/root" "$mirror" >"$work/log" 2>&1 </dev/null 9>&- &
  build_pid=$!
  while kill -0 "$build_pid" 2>/dev/null || "${as_root[@]}" kill -0 "$build_pid" 2>/dev/null; do
    sleep 0.5
    if ((SECONDS - since >= next)); then
      say "still building, $((SECONDS - since)) s: $(grep '^I: ' "$work/log" | tail -n 1 | cut -c 4-)"
      next=$((next + 15))
    fi
  done
  wait "$build_pid" || {
    tail -n 20 "$work/log" >&2
    build_pid=
    die "mmdebstrap failed"
  }
  build_pid=
}

build() {
  local release=$1 suite suites version target since=$SECONDS
  suites=$(suites_of "$release")
  path "$release" >/dev/null && return
  command -v mmdebstrap >/dev/null || die "mmdebstrap is missing; run: CEPH_RELEASE=$release tests/env/setup.sh"
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  mkdir -p "$cache"
  exec 9>"$cache/lock-ceph-$release"
  flock -n 9 || { say "another run is building Ceph $release; waiting for it"; flock 9; }
  path "$release" >/dev/null && return
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  version=
  for suite in $suites; do
    work=$(mktemp -d "$cache/build-ceph.XXXXXX")
    apt_settings >"$work/apt.conf"
    say "building Ceph $release from the packages of Debian $suite (once; about a minute and 500 MB)"
    bootstrap "$suite"
    # Only these two are used; without the rest there is no device file either.
    mkdir "$work/whole"
    "${as_root[@]}" mv "$work/root/usr" "$work/root/etc" "$work/whole/"
    repair "$work/whole"
    version=$("${as_root[@]}" unshare --mount --propagation private bash "${BASH_SOURCE[0]}" \
      place "$work/whole" /usr/bin/ceph-mon --version | version_in) || version=
    [ "${version%%.*}" != "$release" ] || break
    say "Debian $suite has Ceph ${version:-that does not run}"
    "${as_root[@]}" rm -rf --one-file-system "$work"
    work='' version=''
  done
  [ -n "$version" ] || die "no Debian of $mirror has Ceph $release any more; POOLWRIGHT_DEBIAN_MIRROR may name a snapshot that had it"
  # The machine's addresses and mirrors are no part of it.
  "${as_root[@]}" rm -rf "$work/whole/etc/apt"
  "${as_root[@]}" tee "$work/whole/etc/$mark" >/dev/null <<<"$release"
  chmod 755 "$work/whole"
  target=$cache/ceph-$version-$recipe
  # A rename, so the folder is there whole or not at all; a broken one goes first.
  "${as_root[@]}" rm -rf --one-file-system "$target"
  mv -T "$work/whole" "$target"
  say "built Ceph $version in $((SECONDS - since)) s, $(du -sm "$target" | cut -f1) MB: $target"
}

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }

[ $# -ge 2 ] || usage
action=$1 build_pid='' work=''
as_root=(env)
shift
case $action in
  build) [ $# = 1 ] || usage; build "$1" ;;
  path) [ $# = 1 ] || usage; path "$1" ;;
  enter) [ $# -ge 2 ] || usage; enter "$@" ;;
  # Not for people: only right in a mount namespace that nobody else has.
  place) place "$@" ;;
  *) usage ;;
esac
