#!/usr/bin/python3
"""The suite `replication` over ZeroMQ and real files: three regions of five shards through the
partition proxy. The same behaviours in process: tests/simulation/test_replication.c."""
import random
import glob
import os
import struct

import msgpack

import mesh_support
from mesh_support import (BATCH_HEADER_SIZE, HALF_LIFE_S, REGIONS, analytic, apart, batches, flip,
                          item_led_by, now_ns, set_links, wait_until)

HOUR_NS = 3600 * 10**9
# Of common/wire/msg.h.
MSG_WRITE, MSG_WRITE_REPLY, CODE_READ_ONLY = 1, 2, 6


def topology(mesh):
    return mesh.gateway().ok("topology")["shards"]


def test_smoke_ten_signals_converge_within_two_seconds(mesh):
    gateway = mesh.gateway("us-east")
    at = now_ns()
    for i in range(10):
        gateway.ok("signal", signal="view", item=7, user=i + 1, ts=at - i)
    mesh.await_equal(2.0)
    scores = [mesh.gateway(region).ok("score", signal="view", item=7, at=at)["score"]
              for region in REGIONS]
    assert scores[0] == scores[1] == scores[2] and abs(scores[0] - 10.0) < 1e-6, scores


def test_replication_decay_scores_match(mesh):
    """10,000 signals with weights that f32 cannot hold, some late: equal bits everywhere, and the
    formula to 6 decimals."""
    gateway = mesh.gateway("eu-west")
    at = now_ns()
    truth = {}
    for chunk in range(20):
        rows = []
        for i in range(500):
            n = chunk * 500 + i
            item, weight = 1000 + n % 50, 1.0 + n * 2.0**-30
            ts = at - (n % 97) * HOUR_NS if n % 7 == 0 else at - n
            rows.append(["like", item, 0, weight, ts])
            truth.setdefault(item, []).append((ts, weight))
        answer = gateway.ok("signals", rows=rows, producer="decay", seq=chunk)
        assert answer["accepted"] == 500
    mesh.await_equal(10.0)
    for item, events in truth.items():
        expected = analytic(events, at, HALF_LIFE_S["like"])
        scores = {mesh.gateway(region).ok("score", signal="like", item=item, at=at)["score"]
                  for region in REGIONS} if item < 1005 else {
            gateway.ok("score", signal="like", item=item, at=at)["score"]}
        assert len(scores) == 1, scores
        assert abs(scores.pop() - expected) < 5e-7, (item, expected)


def test_replication_columns_count_as_rows_do(mesh):
    gateway = mesh.gateway("ap-south")
    n = 1000
    items = struct.pack(f"<{n}Q", *(5000 + i % 10 for i in range(n)))
    answer = gateway.ok("signals", columns={"n": n, "signal": "view", "item": items})
    assert answer["accepted"] == n
    mesh.await_equal(5.0)
    for region in REGIONS:
        counts = mesh.gateway(region).ok("count", signal="view", item=5003, window="all")
        assert counts["count"] == n // 10


def payloads_of_every_write(mesh):
    """op -> (shard, events, payload of its batch), as it was logged when a gateway sent it."""
    gateway, found = mesh.gateway("eu-west"), {}
    for op, fields in (("signal", {"signal": "view", "item": 31, "user": 1}),
                       ("signals", {"rows": [["like", 31], ["view", 31, 2, 0.5]]}),
                       ("put_item", {"item": 31, "title": "a", "tags": ["b"]}),
                       ("put_items", {"items": [{"item": 31, "text": "c"}]}),
                       ("put_user", {"user": 31, "attrs": {"locale": "EU"}}),
                       ("hide", {"user": 31, "item": 31}), ("unhide", {"user": 31, "item": 31}),
                       ("mute", {"user": 31, "creator": 5}), ("unmute", {"user": 31, "creator": 5}),
                       ("block", {"user": 31, "creator": 5}),
                       ("unblock", {"user": 31, "creator": 5}), ("delete_item", {"item": 31})):
        answer = gateway.ok(op, **fields)
        shard = answer["shard"] if "shard" in answer else answer["shards"][0]["shard"]
        leader = next(row["leader"] for row in topology(mesh) if row["shard"] == shard)
        payload = batches(mesh.segments(leader, shard, leader)[-1])[-1][2]
        found[op] = (shard, 2 if op == "signals" else 1, payload)
    return found


def test_replication_follower_rejects_writes(mesh):
    """A follower that is sent a write of any op itself, as a gateway that is mistaken would, refuses
    it and names the leader; through any gateway the same write reaches the leader."""
    before = None
    for op, (shard, events, payload) in payloads_of_every_write(mesh).items():
        before = before or mesh.await_equal(5.0)
        leader = next(row["leader"] for row in topology(mesh) if row["shard"] == shard)
        for region in REGIONS:
            node = f"shard-{region}-{shard}"
            if region == leader:
                continue
            write = [MSG_WRITE, 77, 1, shard, 2, 1000, False, b"", 0, bytes(16), [0, 0, 0], False,
                     b"", events, payload]
            client = mesh.client(node)
            client.socket.send_multipart([mesh.address(node), msgpack.packb(write)])
            assert client.socket.poll(5000), f"{node} does not answer to {op}"
            reply = msgpack.unpackb(client.socket.recv_multipart()[-1])
            client.close()
            assert reply[:3] == [MSG_WRITE_REPLY, 77, CODE_READ_ONLY], (op, reply)
            assert len(reply[3]) > 10 and reply[4] == REGIONS.index(leader) + 1, (op, reply)
    for region in REGIONS:
        answer = mesh.gateway(region).ok("signal", signal="view", item=31, user=1)
        leader = next(row["leader"] for row in topology(mesh) if row["shard"] == answer["shard"])
        assert answer["origin"].startswith(leader), (answer, leader)
        assert answer["durability"] == "all" and sorted(answer["replicas"]) == sorted(REGIONS)


def test_replication_follower_serves_retrieve_queries(mesh):
    gateway = mesh.gateway("us-east")
    at = now_ns()
    items = list(range(9001, 9021))
    for place, item in enumerate(items):
        gateway.ok("signal", signal="share", item=item, weight=1.0 + place, ts=at)
    mesh.await_equal(5.0)
    terms = [{"signal": "share", "agg": "decay", "weight": 1.0}]
    answers = []
    for region in REGIONS:
        for read in ("local", "leader"):
            answer = mesh.gateway(region).ok("retrieve", terms=terms, candidates=items, limit=20,
                                             at=at, read=read)
            assert not answer["stats"]["degraded"], answer["stats"]
            assert answer["stats"]["shards_answered"] == 5
            answers.append([(row["item"], row["score"]) for row in answer["items"]])
    assert [item for item, _ in answers[0]] == items[::-1]
    assert all(answer == answers[0] for answer in answers)


def test_replication_visibility_in_each_region(mesh):
    """One signal changes the order of retrieve here and in the other regions; p50 and p99 of the
    time from the acknowledgement's send to the first read that shows it."""
    gateways = {region: mesh.gateway(region) for region in REGIONS}
    terms = [{"signal": "like", "agg": "count", "window": "all", "weight": 1.0}]
    times = {region: [] for region in REGIONS}
    for i in range(60):
        pair = [70001 + 2 * i, 70002 + 2 * i]
        first, second = pair[i % 2], pair[1 - i % 2]
        gateways["us-east"].ok("signal", signal="like", item=first, user=1)
        for region in REGIONS:
            wait_until(lambda r=region: gateways[r].ok(
                "retrieve", terms=terms, candidates=pair)["items"][0]["item"] == first, 2.0, "first")
        sent = now_ns()
        ids = [gateways["us-east"].send("signal", signal="like", item=second, user=u)
               for u in (2, 3)]
        for region in REGIONS:
            wait_until(lambda r=region: gateways[r].ok(
                "retrieve", terms=terms, candidates=pair)["items"][0]["item"] == second, 2.0,
                f"visible in {region}", pause_s=0)
            times[region].append((now_ns() - sent) / 1e6)
        for request in ids:
            assert gateways["us-east"].receive(request)["ok"]
    notes = []
    for region, values in times.items():
        values.sort()
        assert values[int(len(values) * 0.99)] < 2000
        notes.append(f"{region} p50 {values[len(values) // 2]:.1f} ms "
                     f"p99 {values[int(len(values) * 0.99)]:.1f} ms")
    return "; ".join(notes)


def test_replication_hide_reaches_every_region(mesh):
    gateway = mesh.gateway("us-east")
    items = [81001, 81002, 81003]
    for item in items:
        gateway.ok("signal", signal="view", item=item, user=5)
    hide = gateway.ok("hide", user=77, item=81002)
    for region in REGIONS:
        other = mesh.gateway(region)
        answer = other.ok("retrieve", user=77, candidates=items, token=hide["token"])
        assert sorted(row["item"] for row in answer["items"]) == [81001, 81003], answer
        assert other.ok("relation", user=77, item=81002, token=hide["token"])["hidden"]
    shown = gateway.ok("unhide", user=77, item=81002)
    answer = mesh.gateway("ap-south").ok("retrieve", user=77, candidates=items,
                                         token=shown["token"])
    assert len(answer["items"]) == 3


def test_replication_users_and_creators_reach_all_shards(mesh):
    gateway = mesh.gateway("eu-west")
    for item in range(82000, 82020):
        gateway.ok("put_item", item=item, title=f"item {item}", category="news", creator=item % 2 + 1,
                   tags=["a", "b"], created=now_ns())
    gateway.ok("put_user", user=500, attrs={"locale": "EU"})
    mute = gateway.ok("mute", user=500, creator=1)
    for region in REGIONS:
        other = mesh.gateway(region)
        answer = other.ok("retrieve", user=500, candidates=list(range(82000, 82020)),
                          token=mute["token"])
        assert sorted(row["item"] for row in answer["items"]) == list(range(82001, 82020, 2))
        assert other.ok("relation", user=500, creator=1, token=mute["token"])["muted"]
        assert other.ok("get_user", user=500, token=mute["token"])["attrs"] == {"locale": "EU"}
        assert other.ok("get_item", item=82003,
                        token=mute["token"])["fields"]["title"] == "item 82003"
    gateway.ok("delete_item", item=82003)
    gateway.refused("NOT_FOUND", "get_item", item=82003, read="leader")


def test_replication_duplicates_return_the_original(mesh):
    """Pairs in flight together and out of order; the same pair anywhere gives the first result."""
    gateway = mesh.gateway("us-east")
    ids = {seq: gateway.send("signal", signal="view", item=600 + seq, producer=b"p-1", seq=seq)
           for seq in (5, 3, 4, 1, 2)}
    first = {seq: gateway.receive(request) for seq, request in ids.items()}
    assert all(answer["ok"] and not answer.get("duplicate") for answer in first.values())
    for region in REGIONS:
        for seq in (2, 5):
            again = mesh.gateway(region).ok("signal", signal="view", item=600 + seq,
                                            producer="p-1", seq=seq)
            assert again["duplicate"], again
            if "seq_first" in again:
                assert again["seq_first"] == first[seq]["seq_first"]
                assert again["origin"] == first[seq]["origin"]
        assert mesh.gateway(region).ok("count", signal="view", item=602, window="all",
                                       token=first[2]["token"])["count"] == 1


def segment_count(mesh, region):
    return len(glob.glob(os.path.join(mesh.data, region, "shard-*", "tenants", "*", "*", "*.seg")))


def test_replication_lag_converges_to_zero(mesh):
    """500 segments and more (they are small in this mesh) in one go: lag 0 everywhere within 5 s of the
    last write, and every region has the same number of files."""
    gateway = mesh.gateway("us-east")
    before = segment_count(mesh, "ap-south")
    sent = 0
    started = now_ns()
    while segment_count(mesh, "us-east") < before + 500:
        ids = [gateway.send("signals", rows=[["view", 40000 + ((sent + i) * 31 + k) % 997, k + 1]
                                             for k in range(100)]) for i in range(50)]
        for request in ids:
            assert gateway.receive(request)["ok"]
        sent += 50
        assert sent < 20000, "500 segments were never reached"
    started = now_ns()

    def no_lag():
        rows = gateway.ok("lag")["nodes"]
        return len(rows) > 0 and all(row["lag_seq"] == 0 for row in rows)
    wait_until(no_lag, 5.0, "no lag")
    took_ms = (now_ns() - started) / 1e6
    mesh.await_equal(5.0)
    counts = {region: segment_count(mesh, region) for region in REGIONS}
    assert len(set(counts.values())) == 1, counts
    return f"{counts['us-east'] - before} segments, lag 0 after {took_ms:.0f} ms"


def test_replication_leader_restart_follower_continues(mesh):
    """The leader of an item's shard is killed and held: its followers go on reading. Released, it
    catches up, and the load that went on with retries counts once."""
    gateway = mesh.gateway("eu-west")
    answer = gateway.ok("signal", signal="view", item=90001, user=1)
    shard = answer["shard"]
    leader = next(row["leader"] for row in topology(mesh) if row["shard"] == shard)
    victim = f"shard-{leader}-{shard}"
    other = next(region for region in REGIONS if region != leader)
    mesh.kill(victim, hold=True)
    reader = mesh.gateway(other)
    for _ in range(20):
        assert reader.ok("count", signal="view", item=90001, window="all")["count"] == 1
    request = gateway.send("signal", signal="view", item=90001, user=2, producer="restart", seq=1,
                           timeout_ms=20000)
    mesh.release(victim)
    mesh.wait_ready(victim)
    first = gateway.receive(request, 25.0)
    if not first["ok"]:
        gateway.until_ok("signal", signal="view", item=90001, user=2, producer="restart", seq=1)
    mesh.await_equal(10.0)
    for region in REGIONS:
        assert mesh.gateway(region).ok("count", signal="view", item=90001,
                                       window="all")["count"] == 2


def test_replication_corrupted_segment_is_rejected(mesh):
    """A replica's file with bits flipped in a batch's header and in its payload, while its receiver
    is down: refused, counted, set aside, fetched again; the state stays as it was."""
    gateway = mesh.gateway("us-east")
    shard = next(row["shard"] for row in topology(mesh) if row["leader"] == "us-east")
    source, receiver = random.Random(6), "receiver-eu-west"
    for place in range(4):
        for i in range(30):
            gateway.ok("signals", rows=[["view", 92000 + (i * 7 + k) % 50] for k in range(20)])
        before = mesh.await_equal(5.0)
        found = batches(mesh.segments("eu-west", shard, "us-east")[-1])
        while len(found) < 3:
            gateway.ok("signals", rows=[["view", 92000 + k] for k in range(50)])
            before = mesh.await_equal(5.0)
            found = batches(mesh.segments("eu-west", shard, "us-east")[-1])
        offset, size, _ = found[source.randrange(len(found) - 1)]
        mesh.kill(receiver, hold=True)
        low, high = (0, BATCH_HEADER_SIZE) if place % 2 else (BATCH_HEADER_SIZE, size)
        for _ in range(1 if place < 2 else 20):
            flip(mesh.segments("eu-west", shard, "us-east")[-1],
                 offset + source.randrange(low, high), source.randrange(8))
        mesh.release(receiver)
        mesh.wait_ready(receiver)
        assert mesh.metric(receiver, "receiver_set_aside") >= 1
        assert mesh.await_equal(10.0) == before


def test_replication_idempotent_segment_replay(mesh):
    """Duplicated and reordered messages on every link: nothing counts twice, nothing is skipped."""
    proxy = mesh.client("proxy")
    gateway = mesh.gateway("us-east")
    before = gateway.ok("count", signal="skip", item=95001, window="all")["count"]
    for source in REGIONS:
        for target in REGIONS:
            if source != target:
                proxy.ok("link", **{"from": source, "to": target, "duplicate": 0.5, "reorder": 0.5})
    for i in range(100):
        gateway.until_ok("signal", signal="skip", item=95001, producer="dup", seq=i)
    proxy.ok("heal")
    mesh.await_equal(10.0)
    for region in REGIONS:
        assert mesh.gateway(region).ok("count", signal="skip", item=95001,
                                       window="all")["count"] == before + 100


def test_replication_cut_link_refuses_then_converges(mesh):
    """us-east and eu-west cut: their leaders' writes are refused or unconfirmed; ap-south writes to
    itself; reads say degraded; after the heal all replicas are equal."""
    proxy = mesh.client("proxy")
    gateway = mesh.gateway("us-east")
    shards = {row["shard"]: row["leader"] for row in topology(mesh)}
    by_leader = {}
    item = 97000
    while len(by_leader) < 3:
        item += 1
        answer = gateway.ok("signal", signal="view", item=item)
        by_leader.setdefault(shards[answer["shard"]], item)
    for source, target in (("us-east", "eu-west"), ("eu-west", "us-east")):
        proxy.ok("link", **{"from": source, "to": target, "mode": "cut"})
    for i in range(3):
        gateway.refused(["NOT_REPLICATED", "UNAVAILABLE"], "signal", signal="view",
                        item=by_leader["us-east"], timeout_ms=1500)
    ap_south = mesh.gateway("ap-south")
    ap_south.until_ok("signal", signal="view", item=by_leader["ap-south"], producer="cut", seq=1)
    answer = gateway.ok("retrieve", candidates=list(by_leader.values()))
    assert answer["stats"]["degraded"] and "region_unreachable" in answer["stats"]["reasons"], answer
    gateway.ok("signal", signal="view", item=by_leader["us-east"], ack="local")
    links = {(row["from"], row["to"]): row for row in proxy.ok("links")["links"]}
    assert links[("us-east", "eu-west")]["mode"] == "cut"
    proxy.ok("heal")
    mesh.await_equal(15.0)
    wait_until(lambda: gateway.call("signal", signal="view", item=by_leader["us-east"])["ok"], 10.0,
               "writes after the heal")
    wait_until(lambda: not gateway.ok("retrieve", candidates=[1])["stats"]["degraded"], 10.0,
               "no longer degraded")


def test_replication_reads_of_a_cut_region_are_bounded(mesh):
    """eu-west is cut off from both others: a read there that allows a second is STALE, one that allows a
    minute, or anything, is answered, and the leader of another region's shard is UNAVAILABLE; its own is
    not. Before the cut and after the heal all are answered."""
    gateway = mesh.gateway("eu-west")
    items = {region: item_led_by(mesh, "default", region, 98000) for region in REGIONS}
    mesh.await_equal(10.0)

    def code(item, **fields):
        answer = gateway.call("count", signal="skip", item=item, window="all", **fields)
        return "ok" if answer["ok"] else answer["error"]["code"]

    def await_code(wanted, item, **fields):
        last = {}

        def is_wanted():
            last["code"] = code(item, **fields)
            return last["code"] == wanted
        wait_until(is_wanted, 15.0, lambda: f"{wanted} for {fields}; the last answer is {last}")

    for region in REGIONS:
        await_code("ok", items[region], max_staleness_ms=2000)
        await_code("ok", items[region], read="leader")
    set_links(mesh, apart("eu-west"), "cut")
    await_code("UNAVAILABLE", items["us-east"], read="leader")
    await_code("UNAVAILABLE", items["ap-south"], read="leader")
    for region in REGIONS:
        # Each region may write, so what a leader has may be too old as well.
        await_code("STALE", items[region], max_staleness_ms=1000)
        await_code("ok", items[region], max_staleness_ms=60000)
        await_code("ok", items[region])
    await_code("ok", items["eu-west"], read="leader")
    set_links(mesh, apart("eu-west"), "pass")
    for region in REGIONS:
        await_code("ok", items[region], max_staleness_ms=1000)
        await_code("ok", items[region], read="leader")
    mesh.await_equal(10.0)


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: mesh_support.Mesh(
    topology=("--set", "log.segment_size_bytes=4096")))
