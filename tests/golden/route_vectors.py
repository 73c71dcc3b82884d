#!/usr/bin/python3
"""Shard routing as common/topology/route.h describes it, written again without any library (and in
doubles, as the paper has it, where the C code has whole numbers), and the
golden vectors made by it.

    tests/golden/route_vectors.py            prints the vectors
    tests/golden/route_vectors.py --check    compares them with tests/golden/route_v1.txt
"""
import os
import sys

MASK = (1 << 64) - 1
SHARD_COUNTS = (1, 5, 16, 40)
FLIP_LOW = 0x6782737BEA4239B9
FLIP_HIGH = 0xAF56BC3B0996523A


def fold(low, high):
    """The two halves of the 128-bit product, xor-ed."""
    product = low * high
    return (product & MASK) ^ (product >> 64)


def route_key(tenant, entity):
    """XXH3_64bits, seed 0, of 16 bytes."""
    low = tenant ^ FLIP_LOW
    high = entity ^ FLIP_HIGH
    swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
    value = (16 + swapped + high + fold(low, high)) & MASK
    value ^= value >> 37
    value = value * 0x165667919E3779F9 & MASK
    return value ^ (value >> 32)


def jump(key, shard_count):
    bucket, following = -1, 0
    while following < shard_count:
        bucket = following
        key = (key * 2862933555777941757 + 1) & MASK
        following = int(float(bucket + 1) * (2147483648.0 / float((key >> 33) + 1)))
    return bucket


def cases():
    """(tenant, entity): edges, small ids of `default`, powers of two, and a spread over both."""
    for tenant in (1, 2, MASK):
        for entity in (0, 1, 2, 1 << 32, (1 << 53) + 1, MASK - 1, MASK):
            yield tenant, entity
    for entity in range(3, 35):
        yield 1, entity
    for shift in range(3, 64, 5):
        yield 7, 1 << shift
    state = 20240229
    for _ in range(46):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield 1 + (state >> 54), state
    yield 1, 1234567890123456789


def text():
    lines = [
        "# Golden vectors of shard routing, version 1: common/topology/route.h says what they mean.",
        "# Columns: tenant id, entity id, key (hex), then the shard for "
        + ", ".join(str(count) for count in SHARD_COUNTS) + " shards.",
    ]
    for tenant, entity in cases():
        key = route_key(tenant, entity)
        shards = " ".join(str(jump(key, count)) for count in SHARD_COUNTS)
        lines.append(f"{tenant} {entity} {key:016x} {shards}")
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] == ["--check"]:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "route_v1.txt")
        with open(path, encoding="ascii") as file:
            if file.read() != text():
                sys.exit(f"{path}: expected what route_vectors.py prints, found something else")
    elif len(sys.argv) == 1:
        sys.stdout.write(text())
    else:
        sys.exit(__doc__)


main()
