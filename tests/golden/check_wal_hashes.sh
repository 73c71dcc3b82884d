#!/usr/bin/env bash
# The hashes in the golden segment, computed again by b3sum, which shares no code with ours: of the
# header, of every batch, and the footer's root. Skipped (77) where there is no b3sum.
set -euo pipefail
cd "$(dirname "$0")"

command -v b3sum >/dev/null || {
    echo "skipped: no b3sum (package b3sum)"
    exit 77
}

file=wal_sealed_v1.seg
size=$(stat -c %s "$file")

# part OFFSET SIZE: these bytes of the file.
part() {
    tail -c +$(($1 + 1)) "$file" | head -c "$2"
}

# number OFFSET SIZE: little-endian.
number() {
    part "$1" "$2" | od -An -t "u$2" | tr -d ' '
}

# hex OFFSET: the hash field there.
hex() {
    part "$1" 32 | od -An -v -t x1 | tr -d ' \n'
}

# expect NAME FOUND WANTED
expect() {
    if [ "$2" != "$3" ]; then
        echo "$1: b3sum says $2, the file says $3"
        exit 1
    fi
    echo "$1: $2"
}

expect "segment header" "$(part 0 224 | b3sum --no-names)" "$(hex 224)"

offset=256
hashes=$(mktemp)
trap 'rm -f "$hashes"' EXIT
while [ "$(part "$offset" 4)" = TMB1 ]; do
    producer=$(number $((offset + 6)) 1)
    payload=$(number $((offset + 128)) 4)
    block=$(((208 + producer + payload + 7) / 8 * 8))
    found=$({
        part "$offset" 176
        part $((offset + 208)) $((block - 208))
    } | b3sum --no-names)
    expect "batch at $offset" "$found" "$(hex $((offset + 176)))"
    part $((offset + 176)) 32 >>"$hashes"
    offset=$((offset + block))
done

if [ "$(part "$offset" 4)" != TMF1 ] || [ $((offset + 96)) != "$size" ]; then
    echo "expected the footer at $offset and then the end"
    exit 1
fi
found=$({
    part "$offset" 64
    cat "$hashes"
} | b3sum --no-names)
expect "footer's root" "$found" "$(hex $((offset + 64)))"
