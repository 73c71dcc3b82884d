#!/usr/bin/env bash
# Runs every seed of failed_seeds.txt; prints those that fail again.
set -euo pipefail
cd "$(dirname "$0")"

TIDAL_COMMIT=${TIDAL_COMMIT:-$(git describe --always --dirty 2>/dev/null || printf unknown)}
export TIDAL_COMMIT
failed=0
while read -r seed _; do
    "$TIDAL_BIN/tidal_simulate" --seeds "$seed..$seed" --jobs 1 >"/tmp/tidal-seed-$$" || {
        failed=$((failed + 1))
        cat "/tmp/tidal-seed-$$"
    }
done < <(grep -v '^#' failed_seeds.txt)
rm -f "/tmp/tidal-seed-$$"
printf '%s seeds that failed once, %s fail again\n' "$(grep -vc '^#' failed_seeds.txt)" "$failed"
[ "$failed" = 0 ]
