#!/bin/bash
# What the paper's sweep costs, in plain replays of the same capture on one core, run by turns.
#
#   cli/benches/sweep_against_replay.sh [CAPTURE] [ROUNDS] > cost.csv
#   cargo run -p strata-results --example sweep_cost -- docs < cost.csv
#
# 196 points: 7 sizes of L2, 7 sizes of both TLBs, 4 tag schemes. Both run on one core with one
# thread; times are CPU times, which other work on the machine changes least. The ratio goes to
# standard error. The CSV tells the sweep's cost with more and more of the points, and with more and
# more of the trace, each beside one replay; the example draws it (docs/benchmarks.md).
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
# by_turns SIZES ENTRIES TAGS [OPTION...]: medians of a sweep and of a replay, with a comma between.
by_turns() {
    rm -f "$work"/*
    for _ in $(seq "$rounds"); do
        seconds sweep "$capture" -q --format csv --l2-size "$1" --tlb-entries "$2" --tags "$3" \
            "${@:4}" >> "$work/sweep"
        seconds replay "$capture" -q --no-symbols --threads 1 "${@:4}" >> "$work/replay"
    done
    echo "$(median < "$work/sweep"),$(median < "$work/replay")"
}
points() {
    "$strata" sweep "$capture" -q --format csv --range ..1 --l2-size "$1" --tlb-entries "$2" \
        --tags "$3" | tail -n +2 | wc -l
}

schemes=none,global-hypervisor,vpid,pcid
echo "$(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; medians of $rounds" >&2
echo 'over,at,sweep_seconds,replay_seconds'
while read -r grid; do
    cost=$(by_turns $grid)
    echo "points,$(points $grid),$cost"
done << END
2MiB 64 none
512KiB..32MiB 64 none
512KiB..32MiB 16..1024 none
512KiB..32MiB 16..1024 none,vpid
512KiB..32MiB 16..1024 $schemes
END
awk -F, -v points="$(points 512KiB..32MiB 16..1024 $schemes)" '{
    printf "%d points: %.2f s of CPU time, one replay %.2f s, ratio %.2f\n", points, $1, $2, $1 / $2
}' <<< "$cost" >&2
for millions in 10 20 30 40 50 60; do
    cost=$(by_turns 512KiB..32MiB 16..1024 $schemes --range ..${millions}M)
    echo "instructions,${millions}000000,$cost"
done
