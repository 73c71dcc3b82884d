#!/usr/bin/python3
"""Logs whose oldest segments went, below a base: over real processes, files and a real LMDB. Every
process starts again from them, a lost checkpoint begins with the base, and the verifier replays what
is left. (The same in virtual time: tests/simulation/test_truncation.c.)"""
import os
import shutil

import mesh_support
from mesh_support import Mesh, wait_until

SHARD = 0  # led by us-east
LEADER, FOLLOWERS = "us-east", ("eu-west", "ap-south")
RETAIN = 262144


class Written:
    """Signals on items of one shard, from one producer, and how many each item has."""

    def __init__(self, mesh):
        self.gateway, self.truth, self.items, item = mesh.gateway(LEADER), {}, [], 0
        while len(self.items) < 50:
            item += 1
            if self.gateway.ok("signal", signal="view", item=item)["shard"] == SHARD:
                self.items.append(item)
            self.truth[item] = 1
        self.seq = 0

    def more(self, requests):
        for _ in range(requests):
            self.seq += 1
            rows = [["view", self.items[(self.seq + i) % len(self.items)], 1 + i * 97,
                     1 + i * 2.0**-40] for i in range(400)]
            self.gateway.ok("signals", rows=rows, producer="loader", seq=self.seq)
            for row in rows:
                self.truth[row[1]] += 1


written = {}


def truncated(mesh):
    """How many segments each region has unlinked, the least of them."""
    counts = [mesh.metric(f"shard-{LEADER}-{SHARD}", "node_truncated_segments")]
    counts += [mesh.metric(f"receiver-{region}", "receiver_truncated_segments")
               for region in FOLLOWERS]
    return min(counts)


def test_oldest_segments_go_and_nothing_is_lost(mesh):
    written[mesh] = Written(mesh)

    def have_truncated():
        """A base that is made before the floors have risen lets nothing go: the next one does."""
        written[mesh].more(15)
        return truncated(mesh) >= 5
    wait_until(have_truncated, 60.0, "every region has truncated")
    for region in mesh.regions:
        first = os.path.basename(mesh.segments(region, SHARD, LEADER)[0])
        assert int(first.split(".")[0]) > 1, f"{region} still begins with event 1"
        assert mesh.metric(f"shard-{region}-{SHARD}", "node_bases") >= 1
        assert mesh.metric(f"shard-{region}-{SHARD}", "node_bases_failed") == 0
    mesh.await_equal(10.0)
    mesh.check_counts(written[mesh].truth)
    return mesh.verify()


def test_every_process_starts_again(mesh):
    mesh.kill_all()
    mesh.up()
    for process in [f"shard-{region}-{SHARD}" for region in mesh.regions]:
        mesh.wait_ready(process, 30.0)
    written[mesh].gateway.until_ok("score", signal="view", item=written[mesh].items[0])
    written[mesh].more(5)
    mesh.await_equal(20.0)
    mesh.check_counts(written[mesh].truth)
    for region in FOLLOWERS:
        assert mesh.metric(f"receiver-{region}", "receiver_set_aside") == 0
    return mesh.verify()


def test_lost_checkpoint_begins_with_the_base(mesh):
    for region in (LEADER, FOLLOWERS[0]):
        node = f"shard-{region}-{SHARD}"
        mesh.kill(node, hold=True)
        shutil.rmtree(os.path.join(mesh.data, region, f"shard-{SHARD}", "store"))
        mesh.release(node)
        mesh.wait_ready(node, 20.0)
    written[mesh].more(2)
    mesh.await_equal(20.0)
    mesh.check_counts(written[mesh].truth)
    assert written[mesh].gateway.ok("signals", rows=[["view", written[mesh].items[1], 1]],
                                    producer="other", seq=1)["ok"]
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: Mesh(3, 2, ("--set", "log.segment_size_bytes=65536",
                                             "--set", f"log.retain_bytes={RETAIN}",
                                             "--set", "checkpoint.interval_ms=2000")))
