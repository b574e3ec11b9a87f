#!/bin/bash
# What the paper's sweep costs, in plain replays of the same capture on one core, run by turns.
#
#   cli/benches/sweep_against_replay.sh [CAPTURE] [ROUNDS]
#
# 196 points: 7 sizes of L2, 7 sizes of both TLBs, 4 tag schemes. Both run on one core with one
# thread; times are CPU times, which other work on the machine changes least. Then the sweep's with
# more and more of the points, and with more and more of the trace.
set -euo pipefail
cd "$(dirname "$0")/../.."
capture=${1:-workloads/samples/xen-net-tx}
rounds=${2:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release --quiet -p strata
strata="${CARGO_TARGET_DIR:-target}/release/strata"
export RAYON_NUM_THREADS=1
TIMEFORMAT='%U %S'
seconds() { { time taskset -c 0 "$strata" "$@" > /dev/null; } 2>&1 | awk '{ print $1 + $2 }'; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
sweep() {
    seconds sweep "$capture" -q --format csv --l2-size "$1" --tlb-entries "$2" --tags "$3" "${@:4}"
}

schemes=none,global-hypervisor,vpid,pcid
for _ in $(seq "$rounds"); do
    sweep 512KiB..32MiB 16..1024 $schemes >> "$work/sweep"
    seconds replay "$capture" -q --no-symbols --threads 1 >> "$work/replay"
done
a=$(median < "$work/sweep")
b=$(median < "$work/replay")
echo "machine: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; medians of $rounds"
awk -v a="$a" -v b="$b" 'BEGIN { printf "ratio %.2f: 196 points %.2f s of CPU time, one replay %.2f s\n", a / b, a, b }'

echo 'points,seconds'
for grid in '2MiB 64 none' '512KiB..32MiB 64 none' '512KiB..32MiB 16..1024 none' \
    "512KiB..32MiB 16..1024 none,vpid" "512KiB..32MiB 16..1024 $schemes"; do
    read -r sizes entries tags <<< "$grid"
    for _ in $(seq "$rounds"); do sweep "$sizes" "$entries" "$tags"; done | median > "$work/median"
    count() { "$strata" sweep "$capture" -q --format csv --range ..1 "$@" | tail -n +2 | wc -l; }
    points=$(count --l2-size "$sizes" --tlb-entries "$entries" --tags "$tags")
    echo "$points,$(cat "$work/median")"
done
echo 'instructions,seconds'
for end in 10M 20M 30M 40M 50M 60M; do
    for _ in $(seq "$rounds"); do
        sweep 512KiB..32MiB 16..1024 $schemes --range ..$end
    done | median | sed "s/^/$end,/"
done
