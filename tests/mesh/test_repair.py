#!/usr/bin/python3
"""A replica whose state is not what its logs come to: found, repaired and named by the first run of
its region's reconciler that sees it, on a follower and on the leader. (The same in virtual time, and
more of it: tests/simulation/test_repair.c.)"""
import json
import os
import subprocess

import mesh_support
from mesh_support import BIN, Mesh, wait_until

SHARD = 0  # led by us-east
RECONCILE_MS = 2000
VIEW = 1


def written_items(mesh, count=20):
    """Items of the shard, with some signals each; and their scores."""
    gateway, items, item = mesh.gateway(), [], 0
    while len(items) < count:
        item += 1
        if gateway.ok("signal", signal="view", item=item, weight=1 + item * 2.0**-40)["shard"] == SHARD:
            items.append(item)
    return items


def report_of(mesh, region):
    try:
        with open(os.path.join(mesh.data, region, "reconciler", "report.json"),
                  encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {"checks": []}


def reconciler_metrics(mesh, region):
    client = mesh.client(f"reconciler-{region}")
    try:
        return client.ok("metrics")["metrics"]
    finally:
        client.close()


def await_quiet(mesh, region):
    """Until a replica that was checked in an earlier test would be asked again at once."""
    runs = reconciler_metrics(mesh, region)["reconciler_runs"]
    wait_until(lambda: reconciler_metrics(mesh, region)["reconciler_runs"] > runs + 2,
               5 * RECONCILE_MS / 1000 + 10, "three more runs")


def await_repair(mesh, region, repaired):
    """Until the first run that begins from now on has found and mended what there is: of the runs that
    end from now on, one was under way at most, the next one is that run, and none after it may end
    without the repair. Runs and repairs are counted in one answer, and a repair takes milliseconds of
    the seconds until the next run."""
    first = reconciler_metrics(mesh, region)["reconciler_runs"]

    def is_repaired():
        found = reconciler_metrics(mesh, region)
        done = found["reconciler_repaired"] > repaired
        assert done or found["reconciler_runs"] <= first + 2, (first, found)
        return done
    wait_until(is_repaired, 3 * RECONCILE_MS / 1000 + 10, "the region's replica is repaired")


def score(mesh, region, item, at):
    return mesh.gateway(region).ok("score", signal="view", item=item, at=at)["score"]


def await_checkpoint(mesh, node, item):
    """Until all that the node has now is in its checkpoint."""
    for _ in range(2):  # the first one may have been under way before
        made = mesh.metric(node, "node_checkpoints")
        mesh.gateway().ok("signal", signal="view", item=item)
        wait_until(lambda: mesh.metric(node, "node_checkpoints") > made, 20.0, "a checkpoint is made")


def check_flip(mesh, region):
    node = f"shard-{region}-{SHARD}"
    items = written_items(mesh)
    item = items[3]
    await_quiet(mesh, region)
    await_checkpoint(mesh, node, items[0])
    mesh.await_equal(10.0)
    at = mesh_support.now_ns()
    expected = score(mesh, region, item, at)
    repaired = reconciler_metrics(mesh, region)["reconciler_repaired"]
    before = {other: len(report_of(mesh, other)["checks"]) for other in mesh.regions}
    mesh.kill(node, hold=True)
    store = os.path.join(mesh.data, region, f"shard-{SHARD}", "store")
    subprocess.run([os.path.join(BIN, "tidal_flip_sum"), store, str(item), str(VIEW)], check=True)
    mesh.release(node)
    mesh.wait_ready(node)
    await_repair(mesh, region, repaired)
    # The report is written behind that; the others check theirs only where they see the difference
    # before it is mended.
    wait_until(lambda: len(report_of(mesh, region)["checks"]) > before[region], 10.0,
               "the report has the repair")
    for other in mesh.regions:
        checks = report_of(mesh, other)["checks"]
        if other != region and len(checks) == before[other]:
            continue
        check = checks[-1]
        assert check["node"] == f"shard-{other}-{SHARD}", check
        if other != region:
            assert check["result"] == "checked", check
            continue
        assert check["result"] == "repaired" and check["differences"] == 1, check
        assert check["entries"][0]["entry"] == f"cell item {item} signal {VIEW}", check
    mesh.await_equal(10.0)
    assert score(mesh, region, item, at) == expected
    assert "replica_repaired" in mesh.log(f"reconciler-{region}")
    # What was repaired is in the checkpoint only once the next one is made.
    await_checkpoint(mesh, node, items[0])
    mesh.await_equal(10.0)
    return mesh.verify()


def test_flip_in_a_followers_checkpoint(mesh):
    return check_flip(mesh, "eu-west")


def test_flip_in_the_leaders_checkpoint(mesh):
    return check_flip(mesh, "us-east")


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: Mesh(3, 2, ("--set", f"timing.reconcile_ms={RECONCILE_MS}",
                                             "--set", "checkpoint.interval_ms=1000")))
