#!/bin/bash
# Wall time of `strata reproduce` on the bundled captures: cli/benches/reproduce.sh [RUNS]
# Build first: cargo build --release -p strata
set -euo pipefail
cd "$(dirname "$0")/../.."
strata=${CARGO_TARGET_DIR:-target}/release/strata
runs=${1:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$strata" reproduce -q -o "$work/report" > /dev/null    # files in the system's cache
for _ in $(seq "$runs"); do
    /usr/bin/env bash -c "TIMEFORMAT='%R %U %S'; time '$strata' reproduce -q -o '$work/report' > /dev/null" 2>&1
done | sort -n | awk '{ wall[NR] = $1; cpu[NR] = $2 + $3 }
    END { printf "wall s: median %.2f of %d (%.2f to %.2f); CPU s of that run: %.2f\n",
          wall[int((NR + 1) / 2)], NR, wall[1], wall[NR], cpu[int((NR + 1) / 2)] }'
printf 'processors: %s, load at the end:%s\n' "$(nproc)" "$(uptime | sed 's/.*average://')"
