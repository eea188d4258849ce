# What ceph-cluster.sh and control-plane.sh share; sourced, never run.
# The sourcing script sets `me`, the word its messages begin with.
# shellcheck shell=bash

say() { echo "$me: $*" >&2; }
die() { say "$*"; exit 1; }

# Seconds with one decimal since this script began.
# EPOCHREALTIME writes the locale's decimal sign, so only its digits are used.
began=${EPOCHREALTIME//[!0-9]/}
elapsed() {
  local tenths=$(((${EPOCHREALTIME//[!0-9]/} - began) / 100000))
  echo "$((tenths / 10)).$((tenths % 10)) s"
}

# reserve_ports DIR: sets `ports` to the first of 256 loopback ports that are
# DIR's until release_ports. Asking the system for free ones, as port 0 does,
# would leave a gap in which a cluster starting at the same time gets the same.
# The range lies below the one outgoing connections take their ports from. A
# block whose DIR is gone, or is stopped, is free again without any cleaning.
reserve_ports() {
  local dir=$1 book holder block first i
  book=/tmp/poolwright-ports-$(id -u)
  mkdir -p "$book"
  exec 8>"$book/lock"
  flock -w 20 8 || die "cannot lock $book/lock"
  first=$((RANDOM % 48))
  for ((i = 0; i < 48; i++)); do
    # Blocks of 256 have a hexadecimal prefix of two digits, as /proc writes ports.
    printf -v block %02X $((0x50 + (first + i) % 48))
    holder=$(cat "$book/$block" 2>/dev/null) || holder=
    if [ -n "$holder" ] && [ "$(cat "$holder/ports" 2>/dev/null)" = "$block" ]; then continue; fi
    # 0A: listening. Somebody else's program may sit here.
    if grep -qE "^ *[0-9]+: [0-9A-F]+:$block[0-9A-F]{2} [0-9A-F:]+ 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null; then continue; fi
    echo "$dir" >"$book/$block"
    echo "$block" >"$dir/ports"
    exec 8>&-
    ports=$((16#${block}00))
    return 0
  done
  die "no free block of ports; are many clusters left running? See $book"
}

release_ports() { rm -f "$1/ports"; }

# pids_of DIR NAME...: the processes of these names that have DIR on their
# command line. Looked up and not read from pid files: a start that was
# interrupted leaves daemons that have not written theirs yet.
pids_of() {
  local dir=$1 proc comm name
  shift
  for proc in /proc/[0-9]*; do
    { read -r comm <"$proc/comm"; } 2>/dev/null || continue
    for name in "$@"; do
      # The kernel keeps 15 characters of a name.
      [ "$comm" = "${name:0:15}" ] || continue
      if grep -qF -- "$dir/" "$proc/cmdline" 2>/dev/null; then echo "${proc#/proc/}"; fi
    done
  done
}

# A zombie has no command line: whoever has to collect it may take its time.
alive() {
  local word
  { IFS= read -r -d '' word <"/proc/$1/cmdline"; } 2>/dev/null
}

# stop_all SECONDS DIR NAME...: ends these processes, frozen ones too, the hard
# way after SECONDS, and returns when they are gone.
stop_all() {
  local ticks=$(($1 * 20)) pids pid i
  shift
  # Again until none is found: one may have been born during the last look.
  while mapfile -t pids < <(pids_of "$@") && [ ${#pids[@]} -gt 0 ]; do
    kill -TERM "${pids[@]}" 2>/dev/null || true
    kill -CONT "${pids[@]}" 2>/dev/null || true
    i=0
    for pid in "${pids[@]}"; do
      while alive "$pid" && ((i++ < ticks)); do sleep 0.05; done
      alive "$pid" || continue
      say "killing process $pid, which did not end when asked to"
      kill -KILL "$pid" 2>/dev/null || true
    done
  done
}

# descendants PID...: all processes below these, as they are now.
descendants() {
  local pid below
  for pid in "$@"; do
    below=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) || continue
    # shellcheck disable=SC2086
    [ -z "$below" ] || { echo $below; descendants $below; }
  done
}

# guard_start: from here on a start that ends by an error or a signal leaves
# nothing running; unguard_start: it has succeeded. The script has a `stop`.
guard_start() {
  trap 'abort_start 1' EXIT
  trap 'abort_start 130' INT TERM
}

unguard_start() { trap - EXIT INT TERM; }

abort_start() {
  trap '' INT TERM
  trap - EXIT
  # The start's own helpers first, which would go on starting daemons.
  # shellcheck disable=SC2046
  kill -TERM $(descendants $$) 2>/dev/null || true
  stop
  exit "$1"
}

# fail WORDS: the same with the ends of DIR's logs.
fail() {
  local file
  # shellcheck disable=SC2154
  say "$1; the ends of the logs in $dir/log follow"
  for file in "$dir"/log/*.log; do
    [ -s "$file" ] || continue
    echo "==> ${file##*/}" >&2
    tail -n 15 "$file" >&2
  done
  abort_start 1
}
