#!/usr/bin/env bash
# Runs the histories of some seeds; says beside each that fails which commit it was.
#
#   some_seeds.sh FIRST..LAST
set -euo pipefail
cd "$(dirname "$0")"

TIDAL_COMMIT=${TIDAL_COMMIT:-$(git describe --always --dirty 2>/dev/null || printf unknown)}
export TIDAL_COMMIT
exec "$TIDAL_BIN/tidal_simulate" --seeds "${1:?expected FIRST..LAST}" --jobs 1
