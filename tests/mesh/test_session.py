#!/usr/bin/python3
"""The suite `session` over ZeroMQ and real files: sessions and hard negatives across three regions. The
same behaviours in process: tests/simulation/test_session.c."""
import time

import mesh_support
from mesh_support import ALL_APART, REGIONS, item_led_by, set_links, wait_until


def start(gateway, user, **fields):
    return gateway.ok("session_start", user=user, agent="web", **fields)


def rows_of(gateway, session, **fields):
    answer = gateway.call("session_get", session=session, **fields)
    return answer["signals"] if answer["ok"] else None


def home_leader(mesh, answer):
    shards = mesh.gateway().ok("topology")["shards"]
    return next(row["leader"] for row in shards if row["shard"] == answer["shard"])


def test_session_cross_region_visibility(mesh):
    """Started in us-east, five signals: all five in eu-west within 200 ms, in HLC order, for users of
    every home shard."""
    us, eu = mesh.gateway("us-east"), mesh.gateway("eu-west")
    homes, worst = set(), 0.0
    for user in range(100, 140):
        started = start(us, user)
        session = started["session"]
        homes.add(started["shard"])
        numbers = [us.ok("session_signal", session=session, signal="view", item=9000 + i,
                         weight=0.5, ack="local")["session_seq"] for i in range(5)]
        written = time.monotonic()
        rows = wait_until(lambda s=session: len(rows_of(eu, s) or []) == 5 and rows_of(eu, s), 5.0,
                          f"five signals of user {user} in eu-west", pause_s=0.001)
        worst = max(worst, time.monotonic() - written)
        assert numbers == [1, 2, 3, 4, 5], numbers
        assert [row[0] for row in rows] == numbers
        assert [row[2] for row in rows] == [9000 + i for i in range(5)]
        assert all(row[1] == "view" and row[3] == 0.5 and row[5] == rows[0][5] for row in rows)
    assert worst < 0.2, worst
    assert len(homes) > 1, homes
    mesh.await_equal(5.0)
    assert us.ok("count", signal="view", item=9000, window="all")["count"] == 0
    return f"40 sessions, slowest {worst * 1000:.1f} ms"


def test_session_replication_idempotent(mesh):
    """One (producer, seq) forced again at every gateway changes nothing: not the rows, not a digest."""
    gateways = [mesh.gateway(region) for region in REGIONS]
    pair = {"producer": "visit", "seq": 1}
    started = [start(gateway, 500, **pair) for gateway in gateways]
    assert len({answer["session"] for answer in started}) == 1
    assert [answer.get("duplicate", False) for answer in started] == [False, True, True]
    session, token = started[0]["session"], started[0]["token"]
    signal = {"session": session, "signal": "like", "item": 7, "producer": "visit", "seq": 2,
              "token": token}
    first = gateways[0].ok("session_signal", **signal)
    mesh.await_equal(5.0)
    before = mesh.gateway().ok("digest")["nodes"]
    for _ in range(3):
        for gateway in gateways:
            again = gateway.ok("session_signal", **signal)
            assert again["duplicate"] and again.get("session_seq", 1) == 1, again
            gateway.refused("BAD_REQUEST", "session_signal", **{**signal, "session": b"short"})
    mesh.await_equal(5.0)
    after = mesh.gateway().ok("digest")["nodes"]
    assert [row["digest"] for row in before] == [row["digest"] for row in after]
    for gateway in gateways:
        assert [row[0] for row in rows_of(gateway, session, token=first["token"])] == [1]


def test_session_seqno_hwm_rejects_duplicates(mesh):
    """1..5 taken, 3 again refused as a duplicate, 6 taken: also after the leader was killed."""
    gateway = mesh.gateway("ap-south")
    started = start(gateway, 600)
    session, token = started["session"], started["token"]

    def signal(number):
        return gateway.until_ok("session_signal", session=session, signal="view", item=number,
                                producer="hwm", seq=number, token=token)

    assert [signal(i)["session_seq"] for i in range(1, 6)] == [1, 2, 3, 4, 5]
    third = signal(3)
    assert third["duplicate"] and third["session_seq"] == 3
    leader = f"shard-{home_leader(mesh, started)}-{started['shard']}"
    mesh.kill(leader)
    assert signal(3)["duplicate"]
    sixth = signal(6)
    assert sixth["session_seq"] == 6 and "duplicate" not in sixth
    for region in REGIONS:
        rows = rows_of(mesh.gateway(region), session, token=sixth["token"], wait_ms=5000)
        assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6], rows


def test_session_roams_and_is_closed_once(mesh):
    """Signals through three gateways, a close, the same summary anywhere; then nothing more."""
    gateways = [mesh.gateway(region) for region in REGIONS]
    answer = start(gateways[0], 700, meta={"a": [1, "x"]})
    session, token = answer["session"], answer["token"]
    for i in range(9):
        answer = gateways[i % 3].ok("session_signal", session=session, signal="share", item=i + 1,
                                    token=token)
        token = answer["token"]
    closed = gateways[1].ok("session_close", session=session, token=token)
    assert (closed["user"], closed["signals"], closed["auto_closed"]) == (700, 9, False)
    for gateway in gateways:
        again = gateway.ok("session_close", session=session, token=closed["token"])
        assert all(again[key] == closed[key] for key in ("user", "signals", "duration_ms",
                                                         "auto_closed"))
        found = gateway.ok("session_get", session=session, token=closed["token"], wait_ms=5000)
        assert not found["open"] and found["meta"] == {"a": [1, "x"]} and len(found["signals"]) == 9
        gateway.refused("BAD_REQUEST", "session_signal", session=session, signal="view", item=1,
                        token=closed["token"])
    gateways[2].refused("NOT_FOUND", "session_get", session=bytes([9] + 23 * [0]))


def test_session_counts_in_a_retrieve(mesh):
    """In every region the session's signals rank, for that answer alone, and what its user hid does not
    show."""
    us = mesh.gateway("us-east")
    items = [7000 + i for i in range(5)]
    us.ok("signals", rows=[["view", item, 1] for item in items])
    answer = start(us, 800)
    session, token = answer["session"], answer["token"]
    for item in (7003, 7003, 7004, 7900):
        token = us.ok("session_signal", session=session, signal="view", item=item,
                      token=token)["token"]
    token = us.ok("hide", user=800, item=7004, token=token)["token"]
    terms = [{"signal": "view", "agg": "count", "window": "all", "weight": 1}]
    candidates = items + [7900]
    for region in REGIONS:
        gateway = mesh.gateway(region)
        ranked = gateway.ok("retrieve", session=session, candidates=candidates, terms=terms,
                            token=token, wait_ms=5000)
        assert not ranked["stats"]["degraded"], ranked["stats"]
        scores = [(row["item"], row["score"]) for row in ranked["items"]]
        assert scores == [(7003, 3.0), (7000, 1.0), (7001, 1.0), (7002, 1.0), (7900, 1.0)], scores
        fresh = gateway.ok("retrieve", session=session, candidates=candidates, terms=terms,
                           token=token, filter={"unseen": True})
        assert [row["item"] for row in fresh["items"]] == [7000, 7001, 7002]
        without = gateway.ok("retrieve", candidates=candidates, terms=terms, token=token)
        assert [row["score"] for row in without["items"]] == [1.0] * 5 + [0.0]


def hide(gateway, user, item, wall, hidden):
    return gateway.ok("hide" if hidden else "unhide", user=user, item=item, hlc=[wall, 0, 1])["token"]


def expect_hidden(mesh, user, item, tokens, hidden):
    for region in REGIONS[:2]:
        answer = mesh.gateway(region).ok("relation", user=user, item=item, token=tokens, wait_ms=5000)
        assert answer["hidden"] is hidden, (region, answer)


def test_hardneg_monotonicity_hide_wins(mesh):
    """hide(100) beats unhide(50) in both regions and either order, whoever takes it; a hide wins a tie."""
    us, eu = mesh.gateway("us-east"), mesh.gateway("eu-west")
    cases = [((100, True), (50, False)), ((50, False), (100, True)),
             ((100, True), (100, False)), ((100, False), (100, True))]
    for i, (first, second) in enumerate(cases):
        tokens = [hide(us, 900, 8000 + i, *first), hide(eu, 900, 8000 + i, *second)]
        expect_hidden(mesh, 900, 8000 + i, tokens, True)


def test_hardneg_explicit_unhide_with_higher_hlc(mesh):
    """unhide(200) beats hide(50) in both regions and either order."""
    us, eu = mesh.gateway("us-east"), mesh.gateway("eu-west")
    for i, (first, second) in enumerate([((50, True), (200, False)), ((200, False), (50, True))]):
        tokens = [hide(eu, 901, 8100 + i, *first), hide(us, 901, 8100 + i, *second)]
        expect_hidden(mesh, 901, 8100 + i, tokens, False)


def check_islands(mesh, tenant, words, hidden):
    """All regions are apart. us-east and eu-west, of which neither leads the items' shards, write one
    word each as islands, either of them first; each holds its own alone, and after the heal every region
    says the same."""
    mesh.client("control").ok("create_tenant", tenant=tenant, island="accept")
    gateways = {region: mesh.gateway(region) for region in REGIONS}
    cases, item = [], 1000
    for sides in (("us-east", "eu-west"), ("eu-west", "us-east")):
        for pair in (words, words[::-1]):
            item = item_led_by(mesh, tenant, "ap-south", item + 1)
            cases.append((item, list(zip(sides, pair))))
    set_links(mesh, ALL_APART, "cut")
    for item, case in cases:
        for region, (wall, is_hide) in case:
            answer = gateways[region].until_ok("hide" if is_hide else "unhide", tenant=tenant, user=9,
                                               item=item, hlc=[wall, 0, 1], ack="local",
                                               producer=region, seq=item)
            assert answer["island"] and answer["replicas"] == [region], answer
        for region, (_, is_hide) in case:
            found = gateways[region].ok("relation", tenant=tenant, user=9, item=item)
            assert found["hidden"] == is_hide, (region, item, found)
    set_links(mesh, ALL_APART, "pass")
    mesh.await_equal(15.0, tenant=tenant)
    for region, gateway in gateways.items():
        for item, case in cases:
            found = gateway.ok("relation", tenant=tenant, user=9, item=item)
            assert found["hidden"] == hidden, (region, case, found)


def test_hardneg_monotonicity_hide_wins_of_two_islands(mesh):
    """hide(100) of one island beats unhide(50) of the other; a hide wins a tie."""
    check_islands(mesh, "hide-wins", ((100, True), (50, False)), True)
    check_islands(mesh, "hide-wins-tie", ((100, True), (100, False)), True)


def test_hardneg_explicit_unhide_with_higher_hlc_of_two_islands(mesh):
    """unhide(200) of one island beats hide(50) of the other."""
    check_islands(mesh, "unhide-wins", ((200, False), (50, True)), False)


def test_session_verify_agrees(mesh):
    """All logs replayed give every checkpoint and every running node, sessions included, and the counts
    add up."""
    gateway = mesh.gateway()
    session = start(gateway, 1000)
    gateway.ok("session_signal", session=session["session"], signal="view", item=5,
               token=session["token"])
    gateway.ok("signal", signal="view", item=5)
    mesh.await_equal(5.0)
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: mesh_support.Mesh(
    topology=("--set", "checkpoint.interval_ms=500")))
