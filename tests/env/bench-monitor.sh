#!/usr/bin/env bash
# What reading the map costs other clients of the monitors, on each release of
# Ceph, as a table: see benches/monitor.rs. About four minutes per release.
#
# RELEASES="16 18 20"   which, see rootfs.sh
set -euo pipefail

me=bench-monitor
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

# Outside, with the machine's compiler, as in matrix.sh.
cd "$here/../.."
say "compiling"
program=$(cargo test --locked --bench monitor --no-run 2>&1 | tee /dev/stderr |
  sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -x "$program" ] || die "the bench does not compile"
export CARGO_MANIFEST_DIR=$PWD

table=$(mktemp "${TMPDIR:-/tmp}/poolwright-bench.XXXXXX") run=''
finish() {
  local code=$?
  trap '' INT TERM HUP
  if [ -n "$run" ]; then
    kill -TERM "$run" 2>/dev/null || true
    wait "$run" || true
  fi
  rm -f "$table"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

bad=''
for release in ${RELEASES:-16 18 20}; do
  # In the background, so that a signal is seen at once and passed on.
  CEPH_RELEASE=$release "$here/with-env.sh" "$PWD/${program#"$PWD"/}" >>"$table" &
  run=$!
  wait "$run" || { bad=1; say "Ceph $release: failed"; }
  run=''
done
echo '`osd stat` of another client, in ms: half of the answers / 99 of 100 / all, in 20 s in which the map moves every second'
echo
echo '| Ceph | pools | nobody follows it | Poolwright follows it | `osd dump` for each epoch |'
echo '|---|---|---|---|---|'
cat "$table"
[ -z "$bad" ]
