#!/usr/bin/python3
"""Damaged files. A replica's are set aside, counted, fetched again, and end as bytes equal to the
origin's; a node's own log is never cut in its middle: the node refuses to start, says why, deletes
nothing, and the others go on. (Every byte and every kind of damage: tests/unit/test_wal_*.c.)"""
import glob
import os
import shutil

import mesh_support
from mesh_support import (BATCH_HEADER_SIZE, SEGMENT_HEADER_SIZE, Mesh, batches, content, flip,
                          wait_until)

SHARD = 0  # led by us-east, followed by the others
LEADER, FOLLOWER = "us-east", "eu-west"
SEGMENT_SIZE = 65536
SMALL_SEGMENTS = ("--set", f"log.segment_size_bytes={SEGMENT_SIZE}")


first_items = iter(range(1000, 10**6, 1000))


class Written:
    """Signals on items of one shard, others for each test, and how many each has."""

    def __init__(self, mesh):
        self.gateway, self.truth, self.items = mesh.gateway(LEADER), {}, []
        item = next(first_items)
        while len(self.items) < 40:
            item += 1
            if self.gateway.ok("signal", signal="view", item=item)["shard"] == SHARD:
                self.items.append(item)
                self.truth[item] = 1

    def more(self, requests=20, **fields):
        """Each request is one batch of the shard's log, of a bit more than 8 KiB."""
        for number in range(requests):
            rows = [["view", self.items[(number + i) % len(self.items)], 1 + i * 97, 1 + i * 2.0**-40]
                    for i in range(400)]
            self.gateway.ok("signals", rows=rows, **fields)
            for row in rows:
                self.truth[row[1]] += 1


def files_below(folder):
    """path -> content, but for the locks and the store, which change by being opened."""
    return {path: content(path) for path in glob.glob(folder + "/**/*.seg", recursive=True)}


def await_same_segments(mesh, holder):
    """All segments of the shard's leader lie in that region as they lie at the origin. The last one
    of each stream, which is not sealed, may differ in the space behind its batches, and in a last
    batch that is on its way."""
    def shape(region):
        """file, from the stream's folder -> its bytes, and the last file of each stream."""
        paths = mesh.segments(region, SHARD, LEADER)
        files = {os.path.join(os.path.basename(os.path.dirname(path)), os.path.basename(path)):
                 content(path) for path in paths}
        return files, {max(name for name in files if name.startswith(stream))
                       for stream in {os.path.dirname(name) for name in files}}

    def different():
        origin, last = shape(LEADER)
        replica, _ = shape(holder)
        if origin.keys() != replica.keys():
            return sorted(origin.keys() ^ replica.keys())
        return [name for name in origin if origin[name] != replica[name]
                and not (name in last and is_beginning(replica[name], origin[name]))]

    def is_beginning(some, all_of_it):
        some, all_of_it = some.rstrip(b"\0"), all_of_it.rstrip(b"\0")
        return len(some) > SEGMENT_HEADER_SIZE and all_of_it.startswith(some)
    wait_until(lambda: not different(), 15.0,
               lambda: f"{holder} has the leader's segments byte for byte, but for {different()}")


def last_segment(mesh, written, holder):
    """The leader's last segment there, once it has some batches: what is damaged in front of the
    last one is no torn tail."""
    while True:
        path = mesh.segments(holder, SHARD, LEADER)[-1]
        if len(batches(path)) >= 3:
            return path
        written.more(1)
        mesh.await_equal(10.0)


def set_aside_files(mesh, holder):
    return [path for path in mesh.quarantine(holder, SHARD, LEADER) if path.endswith(".seg")]


def test_replica_damaged_while_its_receiver_is_down(mesh):
    """In the last segment, where the receiver looks at its start: in the segment's header, a batch's
    header, a payload in the middle. Each is found and counted, and what follows is fetched again."""
    written = Written(mesh)
    written.more()
    receiver = f"receiver-{FOLLOWER}"
    for number, offset in enumerate((1, SEGMENT_HEADER_SIZE + 70,
                                     SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE + 999)):
        mesh.await_equal(10.0)
        path = last_segment(mesh, written, FOLLOWER)
        mesh.kill(receiver, hold=True)
        written.more(2, ack="local")
        flip(path, offset, number)
        damaged = content(path)
        before = len(set_aside_files(mesh, FOLLOWER))
        mesh.release(receiver)
        mesh.wait_ready(receiver)
        kept = set_aside_files(mesh, FOLLOWER)
        assert len(kept) > before, f"nothing was set aside after a flip at {offset}"
        assert damaged in [content(one) for one in kept[before:]], (
            f"what is set aside is not what was damaged: {len(damaged)} bytes of {path}; "
            f"{[(one, os.path.getsize(one)) for one in kept]}")
        assert mesh.metric(receiver, "receiver_set_aside") >= 1
        written.more(2)
        mesh.await_equal(15.0)
        mesh.check_counts(written.truth)
    await_same_segments(mesh, FOLLOWER)
    assert glob.glob(os.path.dirname(kept[0]) + "/*.reason"), "no reason stands beside it"


def test_sealed_replica_damaged_is_found_when_it_is_replayed(mesh):
    """Damage in an old segment while all runs. Nobody reads it, until the region's node has lost its
    checkpoint and replays its files: it tells the receiver, which fetches the segment again."""
    written = Written(mesh)
    written.more(40)
    mesh.await_equal(10.0)
    segments = mesh.segments(FOLLOWER, SHARD, LEADER)
    assert len(segments) > 3, segments
    node, receiver = f"shard-{FOLLOWER}-{SHARD}", f"receiver-{FOLLOWER}"
    before = mesh.metric(receiver, "receiver_set_aside")
    flip(segments[1], SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE + 5000)
    mesh.kill(node, hold=True)
    shutil.rmtree(os.path.join(mesh.data, FOLLOWER, f"shard-{SHARD}", "store"))
    mesh.release(node)
    wait_until(lambda: mesh.metric(receiver, "receiver_set_aside") > before, 20.0,
               "the damaged segment is set aside")
    mesh.wait_ready(node)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    written.more(2)
    mesh.await_equal(10.0)
    await_same_segments(mesh, FOLLOWER)


def test_replica_damaged_before_it_is_applied(mesh):
    """The node stands still while its receiver stores what comes; that is damaged before the node
    has seen it. The state stays as it was until the range was fetched again."""
    written = Written(mesh)
    mesh.await_equal(10.0)
    node, receiver = f"shard-{FOLLOWER}-{SHARD}", f"receiver-{FOLLOWER}"
    before = mesh.metric(receiver, "receiver_set_aside")
    mesh.kill(node, hold=True)
    written.more(6)
    path = mesh.segments(FOLLOWER, SHARD, LEADER)[-1]
    used = len(content(path).rstrip(b"\0"))
    flip(path, used - 3000)
    mesh.release(node)
    wait_until(lambda: mesh.metric(receiver, "receiver_set_aside") > before, 20.0,
               "the damaged part is set aside")
    mesh.wait_ready(node)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    written.more(2)
    mesh.await_equal(10.0)


def test_damaged_middle_of_an_own_log_stops_the_node_alone(mesh):
    """The leader refuses to start, names the file, changes nothing. Followers go on reading that
    shard, the other shards go on writing. With the bit flipped back it starts by itself."""
    written = Written(mesh)
    written.more(10)
    mesh.await_equal(10.0)
    node = f"shard-{LEADER}-{SHARD}"
    folder = os.path.join(mesh.data, LEADER, f"shard-{SHARD}")
    path = last_segment(mesh, written, LEADER)
    mesh.kill(node, hold=True)
    offset = SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE + 20
    flip(path, offset)
    before = files_below(folder)
    said_before = len(mesh.log(node))
    mesh.release(node)

    def refused():
        return [line for line in mesh.log(node)[said_before:].splitlines()
                if "level=fatal" in line or "level=error" in line]
    lines = wait_until(refused, 15.0, f"{node} says why it does not start")
    assert any(os.path.basename(path) in line for line in lines), lines
    wait_until(lambda: "event=child_config_error" in mesh.log(node)[said_before:], 10.0,
               "the keeper says that a restart does not mend it")
    assert files_below(folder) == before, "a file was changed"
    assert not glob.glob(folder + "/**/quarantine/*", recursive=True)
    for region in (FOLLOWER, "ap-south"):
        reader = mesh.gateway(region)
        answer = reader.ok("count", signal="view", item=written.items[0], window="all")
        assert answer["count"] == written.truth[written.items[0]]
        assert len(reader.ok("retrieve", limit=5)["items"]) == 5
    other = next(item for item in range(10**6, 10**6 + 1000)
                 if mesh.gateway(FOLLOWER).call("signal", signal="view", item=item,
                                                timeout_ms=500)["ok"])
    answer = mesh.gateway("ap-south").ok("signal", signal="view", item=other)
    assert answer["shard"] != SHARD
    mesh.gateway(FOLLOWER).refused(["UNAVAILABLE", "TIMEOUT", "NOT_REPLICATED"], "signal",
                                   signal="view", item=written.items[0], timeout_ms=500)
    flip(path, offset)
    mesh.wait_ready(node, 20.0)
    written.more(2)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    return lines[0].split("text=")[-1]


def test_damage_in_a_sealed_segment_of_an_own_log_is_told(mesh):
    """Sealed segments are not read at a start, but when they are replayed: the leader, whose checkpoint is
    gone, ends there and names the file, changes nothing, and starts by itself with the bit flipped back."""
    written = Written(mesh)
    written.more(30)
    mesh.await_equal(10.0)
    node = f"shard-{LEADER}-{SHARD}"
    folder = os.path.join(mesh.data, LEADER, f"shard-{SHARD}")
    path = mesh.segments(LEADER, SHARD, LEADER)[-2]
    mesh.kill(node, hold=True)
    shutil.rmtree(os.path.join(folder, "store"))
    offset, size, _ = batches(path)[2]
    flip(path, offset + size // 2)
    before = files_below(folder)
    said_before = len(mesh.log(node))
    mesh.release(node)
    wait_until(lambda: "event=child_config_error" in mesh.log(node)[said_before:], 20.0,
               "the keeper says that a restart does not mend it")
    lines = [line for line in mesh.log(node)[said_before:].splitlines()
             if f"segment {int(os.path.basename(path).split('.')[0])} " in line]
    assert lines and "move the stream's folder away" in lines[0], mesh.log(node)[said_before:]
    after = files_below(folder)
    assert after.keys() == before.keys() and after[path] == before[path], "a file was changed"
    flip(path, offset + size // 2)
    mesh.wait_ready(node, 20.0)
    written.more(2)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    return lines[0].split("text=")[-1][:200]


def test_damaged_end_of_an_own_log_is_not_passed_over(mesh):
    """The last batch, acknowledged by all regions, no longer verifies: to the node alone that is a
    torn tail. The others hold it, so the node does not serve what is left as if it were all: it gives
    the stream up, its receiver fetches the end, and the folder's bytes are the origin's again."""
    written = Written(mesh)
    written.more(5)
    mesh.await_equal(10.0)
    node = f"shard-{LEADER}-{SHARD}"
    shard_folder = os.path.join(mesh.data, LEADER, f"shard-{SHARD}")
    path = last_segment(mesh, written, LEADER)
    mesh.kill(node, hold=True)
    offset, size, _ = batches(path)[-1]
    flip(path, offset + size // 2)
    shutil.rmtree(os.path.join(shard_folder, "store"))
    mesh.release(node)
    mark = os.path.join(os.path.dirname(path), "handed-over")
    wait_until(lambda: os.path.exists(mark), 20.0, "the node gives the stream up")
    mesh.wait_ready(node, 20.0)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    written.more(2)
    mesh.await_equal(15.0)
    mesh.check_counts(written.truth)
    await_same_segments(mesh, FOLLOWER)


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: Mesh(3, 3, SMALL_SEGMENTS))
