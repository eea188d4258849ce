#!/usr/bin/env bash
# The same tests on several releases of Ceph, one after the other, each with its
# own programs and librados, and at the end a table of what came of it. Ends
# with 1 when a test failed, or a release could not be tested.
#
#   matrix.sh [FILTER...]      for example: matrix.sh real::drift. Without any: what
#                              has to be so on every release
#
# RELEASES="16 18 20"   which, see rootfs.sh
# KEEP_LOGS=1           keep the clusters' files where something failed
set -euo pipefail

me=matrix
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

filters=("$@")
if [ $# = 0 ]; then
  for name in matrix erasure placement create noop drift removal contents adoption calamari rados maps; do
    filters+=("real::$name::")
  done
  # Minutes of waiting for monitors that are frozen, or at Ceph's own pace.
  filters+=(--skip real::removal::halfway:: --skip real::removal::quorum::)
fi

# Outside, with the machine's compiler. The program links the C library alone, of
# which all the releases have the same or a newer one.
cd "$here/../.."
say "compiling the tests"
program=$(cargo test --locked --test it --no-run 2>&1 | tee /dev/stderr |
  sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -x "$program" ] || die "the tests do not compile"
# What cargo would tell it; it runs without cargo, which another release has not.
export CARGO_MANIFEST_DIR=$PWD INSTA_WORKSPACE_ROOT=$PWD

# Two processors do not keep up with more; the tests mostly wait.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}

logs=$(mktemp -d "${TMPDIR:-/tmp}/poolwright-matrix.XXXXXX") run=''
# What each setting came to on each release: real::matrix writes it there.
export POOLWRIGHT_TABLES=$logs/settings
mkdir "$POOLWRIGHT_TABLES"
finish() {
  local code=$?
  trap '' INT TERM HUP
  if [ -n "$run" ]; then
    kill -TERM "$run" 2>/dev/null || true
    wait "$run" || true
  fi
  rm -rf "$logs"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# row RELEASE CODE SECONDS: its line of the table, and the names of what failed.
row() {
  local log=$logs/$1 version result
  version=$(sed -n 's/^ceph-cluster: Ceph \([^ ]*\) ready.*/\1/p' "$log" | head -n 1)
  result=$(sed -n 's/^test result: [^.]*\. \([0-9]* passed; [0-9]* failed\);.*/\1/p' "$log" | tail -n 1)
  case $2:$result in
    0:'0 passed; 0 failed' | 0:) bad=1 result="no test has such a name" ;;
    0:*) ;;
    *) bad=1 result=${result:-"the tests did not end (code $2)"} ;;
  esac
  printf '%-10s %-32s %2d min %02d s\n' "${version:-$1}" "$result" $(($3 / 60)) $(($3 % 60))
  # The second list of this name has the names alone.
  sed -n '/^failures:$/,/^test result:/s/^    \(real::[^ ]*\)$/  failed:  \1/p' "$log" | sort -u
}

bad='' table=$logs/table
for release in ${RELEASES:-16 18 20}; do
  since=$SECONDS code=0
  exec {copied}> >(tee -i "$logs/$release")
  copy=$!
  # In the background, so that a signal is seen at once and passed on.
  CEPH_RELEASE=$release "$here/with-env.sh" "$program" "${filters[@]}" >&"$copied" 2>&1 {copied}>&- &
  run=$!
  wait "$run" || code=$?
  run=''
  exec {copied}>&-
  wait "$copy"
  row "$release" "$code" $((SECONDS - since)) >>"$table"
done
if [ -n "$(ls "$POOLWRIGHT_TABLES")" ]; then
  printf '\n%-28s%-15s%-10s%-12s%-12s%-12s%-8s%s\n' ROW RELEASE SET 'READ BACK' DRIFT OBSERVED UNSET EXPORT
  cat "$POOLWRIGHT_TABLES"/* | sort
fi
printf '\n%-10s %-32s %s\n' CEPH TESTS TIME
cat "$table"
[ -z "$bad" ]
