#!/bin/bash
# `strata exits` and `xenalyze --summary` on the same file with VM exits, run by turns.
#
#   exits/benches/against_xenalyze.sh XENALYZE [ROUNDS] [BYTES] [LONG_BYTES]
#
# XENALYZE is the program of Debian's package xen-utils-4.17 (or xen-utils-common). The file of BYTES
# (1.1e9) is generated into a temporary folder and read once before the first turn, so that it is in
# the system's cache. Both must count as many exits. With LONG_BYTES, such as 10e9, strata then reads a
# file of as many, once, and its peak memory is told. Needs GNU time; both programs use one thread.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '4p' "$0" | cut -c3- >&2; exit 2; }
xenalyze=$(realpath "$1")
rounds=${2:-5}
bytes=$(printf '%.0f' "${3:-1.1e9}")
long=$(printf '%.0f' "${4:-0}")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release --quiet -p strata
cargo build --release --quiet -p strata-exits --example generate_xentrace
built="${CARGO_TARGET_DIR:-target}/release"
"$built/examples/generate_xentrace" "$bytes" > "$work/trace"
cat "$work/trace" > /dev/null

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# measured NAME COMMAND...: adds its CPU and wall seconds and its peak memory in KiB to NAME's.
measured() {
    command time -f '%U %S %e %M' -o "$work/one" "${@:2}" > "$work/$1.txt" 2> "$work/$1.err"
    awk '{ print $1 + $2 }' "$work/one" >> "$work/$1-cpu"
    awk '{ print $3 }' "$work/one" >> "$work/$1-wall"
    awk '{ print $4 }' "$work/one" >> "$work/$1-memory"
}
for _ in $(seq "$rounds"); do
    measured ours "$built/strata" exits -q --format csv "$work/trace"
    measured theirs "$xenalyze" --summary "$work/trace"
done

# Reasons stand behind the first space, their counts next, until the ports.
exits=$(sed -n '/^Exit reasons:/,/^Guest interrupt/p' "$work/theirs.txt" |
    awk '/^ [A-Z]/ { sum += $2 } END { print sum }')
counted=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "count") at = i; next }
    { sum += $at } END { print sum }' "$work/ours.txt")
[ "$exits" = "$counted" ] || { echo "xenalyze counts $exits exits, strata $counted" >&2; exit 1; }

echo "machine: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg);" \
    "$(stat -c %s "$work/trace") bytes, $exits exits, medians of $rounds"
for what in cpu wall; do
    a=$(median < "$work/ours-$what")
    b=$(median < "$work/theirs-$what")
    awk -v what=$what -v a="$a" -v b="$b" -v bytes="$bytes" 'BEGIN {
        printf "ratio %.2f: %s time of strata %.2f s (%.0f MB/s), of xenalyze %.2f s (%.0f MB/s)\n",
            b / a, what, a, bytes / a / 1e6, b, bytes / b / 1e6 }'
done
echo "peak memory: strata $(median < "$work/ours-memory") KiB, xenalyze $(median < "$work/theirs-memory") KiB"
if [ "$long" -gt 0 ]; then
    rm "$work/trace"
    "$built/examples/generate_xentrace" "$long" > "$work/trace"
    measured long "$built/strata" exits -q --format csv "$work/trace"
    echo "$(stat -c %s "$work/trace") bytes: $(cat "$work/long-wall") s, peak memory $(cat "$work/long-memory") KiB"
fi
