#!/usr/bin/python3
"""Writes that concern all shards over ZeroMQ and real files: what a gateway has begun on a user's home
shard and not ended, the mesh ends by itself."""
import os
import signal
import time

import mesh_support
from mesh_support import REGIONS, wait_until

CREATOR = 77
ITEMS = list(range(1001, 1041))  # some on every shard


def put_items(mesh):
    gateway = mesh.gateway()
    answer = gateway.until_ok("put_items", items=[{"item": item, "creator": CREATOR,
                                                   "title": f"item {item}"} for item in ITEMS])
    assert answer["durability"] == "all", answer
    mesh.await_equal()


def shown(mesh, region, user):
    """How many of the creator's items, which lie on all shards, the user gets to see, by an answer that
    is not degraded, as one may be for a moment after a cut."""
    gateway, last = mesh.gateway(region), {}

    def is_whole():
        last.update(gateway.ok("retrieve", user=user, candidates=ITEMS, limit=len(ITEMS)))
        return not last["stats"]["degraded"]
    wait_until(is_whole, 15.0, lambda: f"an answer that is not degraded: {last['stats']}")
    return len(last["items"])


def pending(mesh):
    return sum(mesh.metric(f"shard-{region}-{shard}", "node_home_pending")
               for region in REGIONS for shard in range(mesh.shards))


def sent(mesh):
    return sum(mesh.metric(f"shard-{region}-{shard}", "node_home_sent")
               for region in REGIONS for shard in range(mesh.shards))


def test_mutes_that_their_gateway_ended_cost_nothing_more(mesh):
    """In an undisturbed mesh the gateway tells the home shard, and nobody repeats anything."""
    put_items(mesh)
    gateway, before = mesh.gateway("eu-west"), sent(mesh)
    for user in range(1, 51):
        gateway.ok("mute", user=user, creator=CREATOR)
    gateway.ok("put_user", user=7, attrs={"locale": "EU", "plan": "free"})
    wait_until(lambda: pending(mesh) == 0, 10.0, "the home shards know")
    assert sent(mesh) - before <= mesh.shards - 1, "more than one was repeated"
    mesh.await_equal()
    assert shown(mesh, "ap-south", 1) == 0 and shown(mesh, "ap-south", 99) == len(ITEMS)
    return f"sent {sent(mesh) - before}"


def test_mute_that_a_cut_left_partial_is_completed_after_it(mesh):
    """The client is told PARTIAL and never comes back. Where another region than that of the cut gateway
    leads the user's home shard, the mute may be completed behind the answer: that one shows nothing."""
    proxy, gateway, users = mesh.client("proxy"), mesh.gateway("us-east"), []
    for pair in (("us-east", "ap-south"), ("ap-south", "us-east")):
        proxy.ok("link", **{"from": pair[0], "to": pair[1], "mode": "cut"})
    for user in range(100, 160):
        answer = gateway.call("mute", user=user, creator=CREATOR, ack="local", timeout_ms=1500)
        if not answer["ok"] and answer["error"]["code"] == "PARTIAL":
            if 0 < shown(mesh, "eu-west", user) < len(ITEMS):
                users.append(user)
        if len(users) == 3:
            break
    assert users, "no mute was left partial"
    for pair in (("us-east", "ap-south"), ("ap-south", "us-east")):
        proxy.ok("link", **{"from": pair[0], "to": pair[1], "mode": "pass"})
    started = time.monotonic()
    wait_until(lambda: all(shown(mesh, region, user) == 0 for region in REGIONS for user in users),
               30.0, "the mutes are on all shards in all regions")
    took_s = time.monotonic() - started
    wait_until(lambda: pending(mesh) == 0, 15.0, "all shards hold them")
    mesh.await_equal()
    return f"complete {took_s:.1f} s after the heal; {mesh.verify()}"


def test_mutes_of_a_killed_gateway_are_everywhere_or_nowhere(mesh):
    """kill -9 of the gateway with many mutes on their way."""
    gateway, users = mesh.gateway("us-east"), range(1000, 1600)
    pid = mesh.pid("gateway-us-east")
    for user in users:
        gateway.send("mute", user=user, creator=CREATOR)
    assert gateway.poll(10.0), "no answer to the first"
    os.kill(pid, signal.SIGKILL)
    mesh.wait_ready("gateway-us-east")
    wait_until(lambda: pending(mesh) == 0, 30.0, "all shards hold what the home shards have")
    mesh.await_equal()
    counts = [shown(mesh, "eu-west", user) for user in users]
    assert set(counts) <= {0, len(ITEMS)}, counts
    assert 0 in counts, "nothing was logged before the kill"
    return f"{counts.count(0)} of {len(counts)} mutes logged, sent {sent(mesh)}; {mesh.verify()}"


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
