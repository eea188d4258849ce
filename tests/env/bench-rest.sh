#!/usr/bin/env bash
# How the REST API bears up, in tables: see benches/rest.rs. About two minutes, once
# it is compiled (with optimizations, as it is run by people).
set -euo pipefail

me=bench-rest
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$here/lib.sh"

for program in hey curl openssl; do
  command -v "$program" >/dev/null || die "$program is missing; please install the package of this name"
done
cd "$here/../.."
say "compiling"
program=$(cargo bench --locked --bench rest --no-run 2>&1 | tee /dev/stderr |
  sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -x "$program" ] || die "the bench does not compile"
export CARGO_MANIFEST_DIR=$PWD
exec "$here/with-env.sh" "$PWD/${program#"$PWD"/}"
