#!/usr/bin/python3
"""Regions that lose their files of a shard after the logs were truncated come back by a snapshot of
another region: over real processes, files and a real LMDB. (The same in virtual time, with what is
refused: tests/simulation/test_snapshot.c.)"""
import json
import os
import shutil
import time

import mesh_support
from mesh_support import Mesh, wait_until

SHARD = 0  # led by us-east
LEADER, FOLLOWER, OTHER = "us-east", "eu-west", "ap-south"
RETAIN = 65536


class Written:
    """Signals on items of the shard, from one producer; how many each item has; one hidden item."""

    def __init__(self, mesh):
        self.mesh, self.truth, self.items, self.seq, item = mesh, {}, [], 0, 0
        gateway = mesh.gateway(OTHER)
        while len(self.items) < 50:
            item += 1
            if gateway.ok("signal", signal="view", item=item)["shard"] == SHARD:
                self.items.append(item)
            self.truth[item] = 1
        gateway.ok("hide", user=9, item=self.items[0])
        gateway.close()

    def rows(self, seq):
        return [["view", self.items[(seq + i) % len(self.items)], 1 + i * 97, 1 + i * 2.0**-40]
                for i in range(400)]

    def more(self, requests, region=OTHER):
        gateway = self.mesh.gateway(region)
        for _ in range(requests):
            self.seq += 1
            rows = self.rows(self.seq)
            gateway.until_ok("signals", rows=rows, producer="loader", seq=self.seq)
            for row in rows:
                self.truth[row[1]] += 1
        gateway.close()


written = {}


def first_events(mesh):
    """First event that each region's copies of the leader's first stream hold."""
    return [int(os.path.basename(mesh.segments(region, SHARD, LEADER)[0]).split(".")[0])
            for region in mesh.regions]


def truncate(mesh, above):
    """Writes until every region's log begins behind that event."""
    def have_truncated():
        written[mesh].more(10)
        return min(first_events(mesh)) > above
    wait_until(have_truncated, 60.0, "every region has truncated")


def lose(mesh, region):
    """The region's files of the shard go, under its receiver, which is killed too."""
    held = [f"shard-{region}-{SHARD}", f"receiver-{region}"]
    for process in held:
        mesh.kill(process, hold=True)
    shutil.rmtree(os.path.join(mesh.data, region, f"shard-{SHARD}"))
    for process in held:
        mesh.release(process)


def check(mesh, region):
    """One snapshot was adopted and taken; all is equal, exact, and what the verifier replays."""
    node = f"shard-{region}-{SHARD}"
    assert mesh.metric(node, "node_snapshots_taken") == 1
    assert mesh.metric(node, "node_snapshots_refused") == 0
    assert mesh.metric(f"reconciler-{region}", "reconciler_snapshots_refused") == 0
    assert mesh.metric(f"receiver-{region}", "receiver_joined") >= 1
    written[mesh].more(3)
    mesh.await_equal(20.0)
    mesh.check_counts(written[mesh].truth)
    gateway = mesh.gateway(region)
    shown = gateway.ok("retrieve", user=9, limit=100)["items"]
    assert written[mesh].items[0] not in [row["item"] for row in shown]
    again = gateway.ok("signals", rows=written[mesh].rows(1), producer="loader", seq=1)
    assert again["duplicate"], again
    return mesh.verify()


def test_follower_that_lost_its_files_takes_a_snapshot(mesh):
    written[mesh] = Written(mesh)
    truncate(mesh, 1)
    lose(mesh, FOLLOWER)
    started = time.monotonic()
    mesh.wait_ready(f"shard-{FOLLOWER}-{SHARD}", 60.0)
    took = time.monotonic() - started
    note = check(mesh, FOLLOWER)
    path = os.path.join(mesh.data, FOLLOWER, "reconciler", "report.json")
    wait_until(lambda: json.load(open(path, encoding="utf-8"))["snapshots"]["adopted"] == 1, 20.0,
               "the report mentions the snapshot")
    return f"ready after {took:.1f} s; {note}"


def test_leader_that_lost_its_files_takes_a_snapshot(mesh):
    truncate(mesh, max(first_events(mesh)))
    lose(mesh, LEADER)
    started = time.monotonic()
    mesh.wait_ready(f"shard-{LEADER}-{SHARD}", 60.0)
    return f"ready after {time.monotonic() - started:.1f} s; {check(mesh, LEADER)}"


def test_every_process_starts_again_from_what_was_joined(mesh):
    mesh.kill_all()
    mesh.up()
    for region in mesh.regions:
        mesh.wait_ready(f"shard-{region}-{SHARD}", 30.0)
    written[mesh].more(3)
    mesh.await_equal(20.0)
    mesh.check_counts(written[mesh].truth)
    for region in mesh.regions:
        assert mesh.metric(f"receiver-{region}", "receiver_set_aside") == 0
        assert mesh.metric(f"reconciler-{region}", "reconciler_snapshots_begun") == 0
    return mesh.verify()


def base_path(mesh, region):
    tenants = os.path.join(mesh.data, region, f"shard-{SHARD}", "tenants")
    return os.path.join(tenants, os.listdir(tenants)[0], "state.base")


def replaced(mesh, region, damage):
    """The region's base is damaged under its processes, which run on; another region's replaces it,
    and bases are made again. Returns how long it took."""
    node, reconciler = f"shard-{region}-{SHARD}", f"reconciler-{region}"
    pids = {name: fields["pid"] for name, fields in mesh.processes().items()}
    adopted = mesh.metric(node, "node_snapshots_adopted")
    damage()
    started = time.monotonic()

    def is_replaced():
        written[mesh].more(10)
        return mesh.metric(node, "node_snapshots_adopted") == adopted + 1
    wait_until(is_replaced, 60.0, "another region's base is in place")
    took = time.monotonic() - started
    assert mesh.metric(node, "node_bases_lost") == 0
    assert mesh.metric(reconciler, "reconciler_snapshots_refused") == 0
    bases = mesh.metric(node, "node_bases")

    def is_made():
        written[mesh].more(10)
        return mesh.metric(node, "node_bases") > bases
    wait_until(is_made, 60.0, "the next base was made")
    assert pids == {name: fields["pid"] for name, fields in mesh.processes().items()}
    mesh.await_equal(20.0)
    mesh.check_counts(written[mesh].truth)
    return took


def test_damaged_base_is_replaced_under_the_running_node(mesh):
    def damage():
        path = base_path(mesh, LEADER)
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 4]))
    return f"after {replaced(mesh, LEADER, damage):.1f} s; {mesh.verify()}"


def test_files_that_were_removed_under_the_processes_come_back(mesh):
    def damage():
        """At once, whatever the processes do there meanwhile."""
        removed = os.path.join(mesh.folder, "removed")
        os.rename(os.path.dirname(base_path(mesh, FOLLOWER)), removed)
        shutil.rmtree(removed, ignore_errors=True)
    took = replaced(mesh, FOLLOWER, damage)
    mesh.kill(f"shard-{FOLLOWER}-{SHARD}")
    mesh.wait_ready(f"shard-{FOLLOWER}-{SHARD}", 30.0)
    mesh.await_equal(20.0)
    return f"after {took:.1f} s; {mesh.verify()}"


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: Mesh(3, 2, ("--set", "log.segment_size_bytes=16384",
                                             "--set", f"log.retain_bytes={RETAIN}",
                                             "--set", "timing.reconcile_ms=1000",
                                             "--set", "checkpoint.interval_ms=2000")))
