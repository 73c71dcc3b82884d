#!/usr/bin/python3
"""Lost disks. A node whose folder is gone or set back, and a region that lost everything, come back
whole by themselves: what they held is fetched from whoever has it, nothing acknowledged is lost, and
they serve nothing before it is there. (Kills at each step: tests/simulation/test_streams.c.)"""
import glob
import os
import shutil

import mesh_support
from mesh_support import Load, Mesh, wait_until

SHARD = 0  # led by us-east, followed by the others
LEADER, FOLLOWER, OTHER = "us-east", "eu-west", "ap-south"
first_items = iter(range(1000, 10**6, 1000))


def shard_folder(mesh, region):
    return os.path.join(mesh.data, region, f"shard-{SHARD}")


def streams_of(mesh, holder, origin):
    """Folders of that origin's streams of the shard."""
    return sorted(glob.glob(os.path.join(shard_folder(mesh, holder), "tenants", "*", origin + "-*")))


def item_of_shard(mesh):
    gateway = mesh.gateway(FOLLOWER)
    return next(item for item in range(1, 1000)
                if gateway.ok("signal", signal="share", item=item)["shard"] == SHARD)


def lose(mesh, held, folder, after=None):
    """Holds the processes down, removes the folder, puts what `after` makes in its place."""
    for process in held:
        mesh.kill(process, hold=True)
    shutil.rmtree(folder)
    if after is not None:
        after()
    for process in held:
        mesh.release(process)


def check_all(mesh, load, ready):
    """Ready by themselves, equal everywhere, and exactly what was acknowledged."""
    for process in ready:
        mesh.wait_ready(process, 30.0)
    load.await_acknowledged(20)
    truth = load.finish()
    mesh.await_equal(20.0)
    mesh.check_counts(truth)
    mesh.truth = truth


def start_load(mesh, name, region=FOLLOWER):
    load = Load(mesh.ports["gateway-" + region], name, first_item=next(first_items))
    load.start()
    load.await_acknowledged(50)
    return load


def test_emptied_leader_comes_back_whole(mesh):
    """Under load. The lost stream is fetched into its folder, which bears the mark; new events have a
    new incarnation; a retry of what was logged in the lost one is a duplicate."""
    gateway, item = mesh.gateway(FOLLOWER), item_of_shard(mesh)
    first = gateway.until_ok("signal", signal="share", item=item, producer="lost", seq=1)
    load = start_load(mesh, "emptied-leader")
    before = {os.path.basename(path) for path in streams_of(mesh, LEADER, LEADER)}
    node = f"shard-{LEADER}-{SHARD}"
    lose(mesh, [node], shard_folder(mesh, LEADER))
    check_all(mesh, load, [node])
    again = gateway.until_ok("signal", signal="share", item=item, producer="lost", seq=1)
    assert again.get("duplicate") and not first.get("duplicate"), (first, again)
    after = {os.path.basename(path) for path in streams_of(mesh, LEADER, LEADER)}
    assert before < after, (before, after)
    for path in streams_of(mesh, LEADER, LEADER):
        is_marked = os.path.exists(os.path.join(path, "handed-over"))
        assert is_marked == (os.path.basename(path) in before), path


def test_emptied_follower_comes_back_whole(mesh):
    load = start_load(mesh, "emptied-follower")
    node = f"shard-{FOLLOWER}-{SHARD}"
    lose(mesh, [node], shard_folder(mesh, FOLLOWER))
    check_all(mesh, load, [node])


def test_leader_set_back_comes_back_whole(mesh):
    """An older copy of the whole folder, as from a backup: what follows it is fetched behind it."""
    load = start_load(mesh, "set-back")
    node, receiver = f"shard-{LEADER}-{SHARD}", f"receiver-{LEADER}"
    copy = shard_folder(mesh, LEADER) + ".copy"
    for process in (node, receiver):
        mesh.kill(process, hold=True)
    shutil.copytree(shard_folder(mesh, LEADER), copy)
    for process in (node, receiver):
        mesh.release(process)
    load.await_acknowledged(50, 60.0)
    lose(mesh, [node, receiver], shard_folder(mesh, LEADER),
         lambda: os.rename(copy, shard_folder(mesh, LEADER)))
    check_all(mesh, load, [node, receiver])


def test_emptied_region_comes_back_whole(mesh):
    """Everything of the region that leads, twice, so that lost incarnations are lost again."""
    held = [f"{kind}-{LEADER}" for kind in ("gateway", "shipper", "receiver", "reconciler")]
    held += [f"shard-{LEADER}-{shard}" for shard in range(mesh.shards)]
    for number in range(2):
        load = start_load(mesh, f"emptied-region-{number}")
        lose(mesh, held, os.path.join(mesh.data, LEADER))
        check_all(mesh, load, held)


def test_emptied_node_says_what_it_waits_for(mesh):
    """While the region's receiver is down nobody fetches: the node is not ready and says which events
    are elsewhere; its gateway refuses nothing that others can answer."""
    node, receiver = f"shard-{LEADER}-{SHARD}", f"receiver-{LEADER}"
    item = item_of_shard(mesh)
    mesh.await_equal(10.0)
    mesh.kill(receiver, hold=True)
    lose(mesh, [node], shard_folder(mesh, LEADER))

    def reasons():
        client = mesh.client(node)
        try:
            answer = client.call("health", 3.0)
            return not answer["ready"] and " ".join(answer["reasons"])
        finally:
            client.close()
    wait_until(lambda: "receiver" in (reasons() or ""), 20.0, "the node says what it waits for")
    assert mesh.counts(OTHER, sorted(mesh.truth)) == mesh.truth
    gateway = mesh.gateway(FOLLOWER)

    def is_refused():
        """NOT_REPLICATED: the gateway's connection to the node is not there again yet."""
        answer = gateway.refused(("UNAVAILABLE", "NOT_REPLICATED"), "signal", signal="share",
                                 item=item, timeout_ms=500)
        return answer["error"]["code"] == "UNAVAILABLE"
    wait_until(is_refused, 10.0, "the write is refused")
    mesh.release(receiver)
    mesh.wait_ready(node, 30.0)
    mesh.await_equal(20.0)
    return "ready again"


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


def make():
    mesh = Mesh(3, 3, ("--set", "checkpoint.interval_ms=500"))
    mesh.truth = {}
    return mesh


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, make)
