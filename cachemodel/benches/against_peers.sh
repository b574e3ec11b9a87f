#!/bin/bash
# References per second of the models and of other simulators on one stream, run by turns.
#
#   cachemodel/benches/against_peers.sh LRU.c STREAM.ref64[.zst] [ROUNDS]
#
# LRU.c is a naive LRU simulator that reads STREAM and takes the mode `plain` (caches alone, no
# TLBs); ours does L1I, L1D, L2, ITLB and DTLB. Both must find the same misses. Times are CPU times
# of one thread; ours is that of the models on references in memory, the other's is its user time,
# which leaves out reading the file. plain_loop.c beside this script does the same as ours, as plainly as
# can be. Where valgrind and sqlite3 are installed, cachegrind runs once
# on a program like the one that the stream came from.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '4p' "$0" | cut -c3- >&2; exit 2; }
source=$(realpath "$1")
stream=$(realpath "$2")
rounds=${3:-7}
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --release --quiet -p strata-cachemodel --example ref64_speed
ours="${CARGO_TARGET_DIR:-target}/release/examples/ref64_speed"
gcc -O2 -w -o "$work/lru" "$source"
gcc -O2 -o "$work/plain" cachemodel/benches/plain_loop.c
case $stream in
    *.zst) zstd -dqc "$stream" > "$work/stream.ref64"; stream=$work/stream.ref64 ;;
esac
references=$(($(stat -c %s "$stream") / 8))

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

for _ in $(seq "$rounds"); do
    "$ours" "$stream" split-demand-only | tee "$work/ours.txt" | sed 's/ million.*//' >> "$work/ours"
    grep -oE '[0-9.]+ million references/s with' "$work/ours.txt" | sed 's/ .*//' >> "$work/with-making"
    TIMEFORMAT=%U
    { time "$work/lru" "$stream" plain > "$work/lru.txt"; } 2> "$work/seconds"
    awk -v n="$references" '{ print n / $1 / 1e6 }' "$work/seconds" >> "$work/lru-speed"
    "$work/plain" "$stream" | tee "$work/plain.txt" | sed 's/ million.*//' >> "$work/plain-speed"
done
numbers() { grep -oE "$1 [0-9]+" "$2" | head -n 1 | grep -oE '[0-9]+$'; }
[ "$(numbers 'l1i' "$work/ours.txt")" = "$(sed -E 's/.*L1I acc [0-9]+ (miss [0-9]+).*/\1/' "$work/lru.txt" | grep -oE '[0-9]+')" ] ||
    { echo 'the two disagree on the misses of L1I' >&2; exit 1; }
[ "$(numbers 'dtlb' "$work/ours.txt")" = "$(numbers 'dtlb' "$work/plain.txt")" ] ||
    { echo 'the plain loop disagrees on the misses of the DTLB' >&2; exit 1; }

a=$(median < "$work/ours")
b=$(median < "$work/lru-speed")
c=$(median < "$work/plain-speed")
d=$(median < "$work/with-making")
echo "machine: $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; $references references, medians of $rounds"
awk -v a="$a" -v b="$b" 'BEGIN { printf "ratio %.2f: models (two levels, two TLBs) %.0f million references/s, naive C (caches alone) %.0f\n", a / b, a, b }'
awk -v b="$b" -v d="$d" 'BEGIN { printf "ratio %.2f: models, with the making of streams from the words of the file %.0f million references/s\n", d / b, d }'
awk -v b="$b" -v c="$c" 'BEGIN { printf "ratio %.2f: a plain loop (the same structures) %.0f million references/s\n", c / b, c }'
if command -v valgrind > /dev/null && command -v sqlite3 > /dev/null; then
    sql='CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO t SELECT i, hex(i * 7919) FROM n; SELECT count(*) FROM t WHERE b LIKE "%7%";'
    { time valgrind --tool=cachegrind --cache-sim=yes --cachegrind-out-file=/dev/null \
        --I1=32768,8,64 --D1=32768,8,64 --LL=2097152,16,64 sqlite3 :memory: "$sql" \
        > /dev/null 2> "$work/cachegrind.txt"; } 2> "$work/seconds"
    sed 's/,//g' "$work/cachegrind.txt" | awk -v s="$(cat "$work/seconds")" \
        '/[ID] +refs:/ { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+$/) { n += $i; break } }
         END { printf "cachegrind on sqlite3, with its emulation: %.0f million references/s\n", n / s / 1e6 }'
fi
echo 'DynamoRIO drcachesim, as published: 7.7 million references/s'
