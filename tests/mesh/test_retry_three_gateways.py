#!/usr/bin/python3
"""One client repeats each request at three gateways, with the same producer, seq and content, while the
leader is killed or another is named: one effect, and every gateway names the same copy."""
import os
import signal
import time

import mesh_support
from mesh_support import REGIONS, Client, Load, wait_until

REQUESTS, BATCH = 32, 8
ROWS = 5
RETRY_S = 1.0
producers = iter(range(1000))


def record(mesh, shard):
    return mesh.client("control").ok("topology")["shards"][shard]


def items_of_shard(mesh, shard, count):
    """So many items that all lie on one shard."""
    gateway, found, item = mesh.gateway(), [], 50000
    while len(found) < count:
        item += 1
        answer = gateway.until_ok("signal", signal="skip", item=item,
                                  producer=f"probe-{shard}", seq=item)
        if answer["shard"] == shard:
            found.append(item)
    gateway.close()
    return found


class Repeater:
    """Sends every request at all three gateways at once, each again until that gateway acknowledges it.
    `answers` holds for each request what the three answered in the end."""

    def __init__(self, mesh, items):
        self.clients = {region: Client(mesh.ports["gateway-" + region]) for region in REGIONS}
        self.producer = f"client-{next(producers)}"
        self.requests = [self._request(seq, items) for seq in range(REQUESTS)]
        self.answers = [{} for _ in self.requests]
        self.codes, self.repeated = {}, 0
        self.by_id, self.due = {}, {}

    def _request(self, seq, items):
        """One event, or some of one shard, so that each answer names one copy."""
        fields = {"producer": self.producer, "seq": seq, "timeout_ms": 1000}
        if seq % 2:
            return {"op": "signal", "signal": "view", "item": items[seq % len(items)], **fields}
        rows = [["view", items[(seq + i) % len(items)]] for i in range(ROWS)]
        return {"op": "signals", "rows": rows, **fields}

    def truth(self):
        counts = {}
        for request in self.requests:
            for row in request.get("rows", [["view", request.get("item")]]):
                counts[row[1]] = counts.get(row[1], 0) + 1
        return counts

    def send(self, seq, region):
        sent = self.clients[region].send(**self.requests[seq])
        self.by_id[(region, sent)] = seq
        self.due[(seq, region)] = time.monotonic() + RETRY_S

    def start(self, numbers):
        for seq in numbers:
            for region in REGIONS:
                self.send(seq, region)

    def run(self, timeout_s=60.0):
        """Until all that was started is acknowledged everywhere."""
        deadline = time.monotonic() + timeout_s
        while self.due:
            assert time.monotonic() < deadline, (sorted(self.due)[:6], self.codes)
            for region, client in self.clients.items():
                for answer in client.poll(0.002):
                    self._take(region, answer)
            for (seq, region), due in list(self.due.items()):
                if time.monotonic() >= due:
                    self.repeated += 1
                    self.send(seq, region)

    def _take(self, region, answer):
        seq = self.by_id.pop((region, answer["id"]), None)
        if seq is None or (seq, region) not in self.due:
            return
        if answer["ok"]:
            self.answers[seq][region] = answer
            del self.due[(seq, region)]
            return
        error = answer["error"]
        self.codes[error["code"]] = self.codes.get(error["code"], 0) + 1
        assert error["retryable"], (seq, region, error)
        self.due[(seq, region)] = time.monotonic() + error.get("retry_after_ms", 50) / 1000

    def close(self):
        for client in self.clients.values():
            client.close()

    def check_answers(self):
        """One copy per request. An answer without a place is legal for what all regions hold for good."""
        named, fresh, origins = 0, 0, set()
        for seq, answers in enumerate(self.answers):
            assert set(answers) == set(REGIONS), (seq, answers)
            places = {(a["origin"], a["seq_first"], a["seq_last"]) for a in answers.values()
                      if "origin" in a}
            assert len(places) <= 1, (seq, answers)
            for answer in answers.values():
                assert "origin" in answer or (answer["duplicate"] and
                                              answer["durability"] == "all"), (seq, answer)
                named += "origin" in answer
            assert all(last - first + 1 == (1 if seq % 2 else ROWS) for _, first, last in places)
            origins.update(origin for origin, _, _ in places)
            firsts = sum(not answer.get("duplicate", False) for answer in answers.values())
            assert firsts <= 1, (seq, answers)
            fresh += firsts
        assert named >= 2 * len(self.answers), f"only {named} answers name their copy"
        return named, fresh, origins


def retry_through(mesh, shard, aim, with_load):
    """Some requests at a time, and beside them the strike that `aim` returns. Afterwards all are sent once
    more everywhere."""
    items = items_of_shard(mesh, shard, 12)
    repeater = Repeater(mesh, items)
    load = Load(mesh.ports["gateway-" + REGIONS[1]], f"beside-{repeater.producer}",
                first_item=90000 + 1000 * shard) if with_load else None
    if load:
        load.start()
        load.await_acknowledged(20)
    for first in range(0, REQUESTS, BATCH):
        strike = aim()
        # By turns: the requests meet what was struck, and are struck on their way.
        if first // BATCH % 2:
            strike()
        repeater.start(range(first, first + BATCH))
        if first // BATCH % 2 == 0:
            strike()
        repeater.run()
    named, fresh, origins = repeater.check_answers()
    before = repeater.answers
    repeater.answers = [{} for _ in repeater.requests]
    repeater.start(range(REQUESTS))
    repeater.run()
    for seq, answers in enumerate(repeater.answers):
        for region, answer in answers.items():
            assert answer["duplicate"], (seq, region, answer)
            if "origin" in answer and "origin" in before[seq][region]:
                same = ("origin", "seq_first", "seq_last")
                assert [answer[key] for key in same] == \
                    [before[seq][region][key] for key in same], (seq, answer, before[seq])
    repeater.close()
    truth = repeater.truth()
    if load:
        truth.update(load.finish())
    mesh.await_equal(20.0)
    mesh.check_counts(truth)
    return (f"{REQUESTS} requests x 3 gateways, {named} answers name their copy, {fresh} were the first; "
            f"{repeater.repeated} repeated; streams {len(origins)}; {repeater.codes or 'no error'}; "
            f"{mesh.verify()}")


def test_retry_three_gateways_through_a_leader_kill_is_one_effect(mesh):
    """kill -9 of the shard's leader, four times, each beside eight requests."""
    shard = 0
    leader = f"shard-{record(mesh, shard)['leader']}-{shard}"
    killed = set()

    def aim():
        pid = mesh.pid(leader)

        def strike():
            # At once: the keeper's verb takes longer than all eight requests do.
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return strike
    note = retry_through(mesh, shard, aim, with_load=False)
    assert len(killed) == REQUESTS // BATCH, killed
    return note


def test_retry_three_gateways_through_a_promotion_under_load_is_one_effect(mesh):
    """Four times another leader is named, while a load goes on beside."""
    shard, control = 1, mesh.client("control")
    epoch = record(mesh, shard)["epoch"]

    def aim():
        leader = record(mesh, shard)["leader"]
        target = REGIONS[(REGIONS.index(leader) + 1) % len(REGIONS)]
        return lambda: control.until_ok("promote", shard=shard, region=target)
    note = retry_through(mesh, shard, aim, with_load=True)
    assert record(mesh, shard)["epoch"] == epoch + REQUESTS // BATCH
    return note


def test_other_content_under_a_pair_is_refused_on_whichever_shard(mesh):
    """One request, then others under its pair on every shard, at every gateway: refused, nothing logged.
    The first request again is its duplicate all the same."""
    gateways = {region: mesh.gateway(region) for region in REGIONS}
    found = {}
    for item in range(60000, 60100):
        found[gateways["us-east"].ok("signal", signal="skip", item=item)["shard"]] = item
    items = [found[shard] for shard in range(5)]
    refused = 0
    for seq, item in enumerate(items):
        pair = {"producer": "one-content", "seq": seq}
        first = {"op": "signal", "signal": "view", "item": item, **pair}
        token = gateways["us-east"].ok(**first)["token"]
        for gateway in gateways.values():
            others = [{"op": "signal", "signal": "view", "item": other} for other in items]
            others[seq]["weight"] = 3.0
            others.append({"op": "hide", "user": 4, "item": items[seq - 1]})
            others.append({"op": "put_user", "user": 4, "attrs": {"locale": "EU"}})
            others.append({"op": "session_start", "user": 5})
            others.append({"op": "signals", "rows": [["view", items[seq]], ["view", items[seq - 1]]]})
            for other in others:
                gateway.refused("BAD_REQUEST", **other, **pair, token=token)
                refused += 1
            assert gateway.ok(**first)["duplicate"]
    for gateway in gateways.values():
        gateway.close()
    mesh.await_equal(10.0)
    mesh.check_counts({item: 1 for item in items})
    return f"{refused} refused; {mesh.verify()}"


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
