#!/usr/bin/python3
"""Islands over ZeroMQ and real files: ap-south is cut off from both other regions, and both sides
write to a tenant that accepts islands and to one that rejects them."""
import time

import mesh_support
from mesh_support import ALL_APART, REGIONS, item_led_by, set_links, wait_until

AP_SOUTH_APART = mesh_support.apart("ap-south")


def test_islands_write_during_a_cut_and_merge_after_it(mesh):
    control = mesh.client("control")
    control.ok("create_tenant", tenant="open", island="accept")
    control.ok("create_tenant", tenant="shut", island="reject")
    accepted = item_led_by(mesh, "open", "us-east", 1000)
    rejected = item_led_by(mesh, "shut", "us-east", 1000)
    ap_south, us_east = mesh.gateway("ap-south"), mesh.gateway("us-east")
    set_links(mesh, AP_SOUTH_APART, "cut")
    # Between the cut and its discovery a write may be on its way; then the island takes it.
    first = ap_south.until_ok("signal", tenant="open", signal="view", item=accepted,
                              producer="ap", seq=0)
    assert first["island"] and first["durability"] == "local", first
    assert first["replicas"] == ["ap-south"] and first["origin"].startswith("ap-south"), first
    again = ap_south.ok("signal", tenant="open", signal="view", item=accepted, producer="ap", seq=0)
    assert again["island"] and again["duplicate"] and again["seq_first"] == first["seq_first"], again
    ap_south.refused("UNAVAILABLE", "signal", tenant="shut", signal="view", item=rejected)

    truth, rows = {}, 200
    # Of these each side leads some shards itself: a leader that is alone can promise no more.
    for i in range(20):
        for producer, gateway in (("ap-many", ap_south), ("us-many", us_east)):
            items = [5000 + (i * 37 + k * 11) % 500 for k in range(rows)]
            answer = gateway.until_ok("signals", tenant="open", producer=producer, seq=i,
                                      rows=[["view", item] for item in items], ack="local")
            assert answer["accepted"] == rows and answer["island"], answer
            for item in items:
                truth[item] = truth.get(item, 0) + 1
    # The same request on both sides, and a user whose mute reaches every shard of the island.
    for gateway in (us_east, ap_south):
        gateway.until_ok("signal", tenant="open", signal="view", item=accepted, producer="both",
                         seq=1, ack="local")
    mute = ap_south.until_ok("mute", tenant="open", user=9, creator=8, ack="local")
    assert mute["island"], mute
    us_east.ok("hide", tenant="open", user=9, item=accepted, ack="local")
    us_east.until_ok("signal", tenant="shut", signal="view", item=rejected, producer="us", seq=1,
                     ack="local")

    set_links(mesh, AP_SOUTH_APART, "pass")
    started = time.monotonic()
    mesh.await_equal(15.0, tenant="open")
    took_s = time.monotonic() - started
    mesh.await_equal(15.0, tenant="shut")
    mesh.await_equal(15.0)
    truth[accepted] = 2
    for region in REGIONS:
        gateway = mesh.gateway(region)
        answer = gateway.ok("cells", tenant="open", items=sorted(truth), signals=["view"],
                            windows=["all"])
        found = {row[0]: row[3][0] for row in answer["rows"]}
        assert found == truth, {item: (truth[item], found.get(item)) for item in truth
                                if truth[item] != found.get(item)}
        assert gateway.ok("relation", tenant="open", user=9, creator=8)["muted"]
        assert gateway.ok("relation", tenant="open", user=9, item=accepted)["hidden"]
        assert gateway.ok("count", tenant="shut", signal="view", item=rejected,
                          window="all")["count"] == 1
    # The leader answers for the island's copy.
    wait_until(lambda: us_east.call("signal", tenant="open", signal="view", item=accepted,
                                    producer="fresh", seq=1)["ok"], 10.0, "writes after the heal")
    settled = us_east.until_ok("signal", tenant="open", signal="view", item=accepted,
                               producer="ap", seq=0, ack="all")
    assert settled["duplicate"] and "island" not in settled, settled
    assert settled["durability"] == "all", settled
    if "origin" in settled:
        assert settled["origin"] == first["origin"] and settled["seq_first"] == first["seq_first"]
    mesh.await_equal(15.0, tenant="open")
    return f"equal {took_s:.1f} s after the heal; {mesh.verify()}"


HIDE_PAIRS = [((100, "hide"), (50, "unhide"), True), ((200, "unhide"), (50, "hide"), False),
              ((100, "hide"), (100, "unhide"), True)]


def test_hardneg_of_two_islands_is_decided_by_hlc(mesh):
    """Each pair originated on the two sides of a cut, either side first, for items that either side leads:
    hide(100) beats unhide(50), unhide(200) beats hide(50), a hide wins an exact tie."""
    mesh.client("control").ok("create_tenant", tenant="registers", island="accept")
    leads = {}
    for region in ("us-east", "ap-south"):
        item = 1000
        for _ in HIDE_PAIRS:
            for side in ("us-east", "ap-south"):
                item = item_led_by(mesh, "registers", region, item + 1)
                leads.setdefault((region, side), []).append(item)
    gateways = {side: mesh.gateway(side) for side in ("us-east", "ap-south")}
    expected, islands = {}, {side: 0 for side in gateways}
    set_links(mesh, AP_SOUTH_APART, "cut")
    for (leader, first), items in leads.items():
        second = "ap-south" if first == "us-east" else "us-east"
        for item, (one, other, hidden) in zip(items, HIDE_PAIRS):
            for side, (wall, op) in ((first, one), (second, other)):
                answer = gateways[side].until_ok(op, tenant="registers", user=9, item=item,
                                                 hlc=[wall, 0, 1], ack="local", producer=side,
                                                 seq=item)
                assert answer.get("island", False) == (side != leader), (side, leader, answer)
                islands[side] += side != leader
            # Each side knows its own alone.
            for side, (_, op) in ((first, one), (second, other)):
                found = gateways[side].ok("relation", tenant="registers", user=9, item=item)
                assert found["hidden"] == (op == "hide"), (side, item, found)
            expected[item] = hidden
    set_links(mesh, AP_SOUTH_APART, "pass")
    mesh.await_equal(15.0, tenant="registers")
    for region in REGIONS:
        gateway = mesh.gateway(region)
        found = {item: gateway.ok("relation", tenant="registers", user=9, item=item)["hidden"]
                 for item in expected}
        assert found == expected, (region, found, expected)
    return f"{len(expected)} pairs, {islands} written as islands; {mesh.verify()}"


def session_led_by(mesh, tenant, region, first_user):
    """A session whose home shard that region leads, known in all regions; and its leader's name."""
    leaders = {row["shard"]: row["leader"]
               for row in mesh.gateway().ok("topology", tenant=tenant)["shards"]}
    gateway, user = mesh.gateway(region), first_user
    while True:
        started = gateway.until_ok("session_start", tenant=tenant, user=user, agent="web",
                                   producer="start", seq=user)
        if leaders[started["shard"]] == region:
            break
        user += 1
    for other in REGIONS:
        mesh.gateway(other).until_ok("session_get", tenant=tenant, session=started["session"],
                                     token=started["token"], wait_ms=5000)
    return started["session"]


def check_roaming(mesh, tenant, cuts, writers, first_user):
    """An agent roams between `writers` while they are apart; the first of them closes the session, and
    the others, which do not know it, take one signal more each."""
    session = session_led_by(mesh, tenant, "us-east", first_user)
    gateways = {region: mesh.gateway(region) for region in REGIONS}
    sent, numbers = [], {region: 0 for region in writers}

    def signal(region):
        numbers[region] += 1
        item = 100 + len(sent)
        answer = gateways[region].until_ok(
            "session_signal", tenant=tenant, session=session, signal="view", item=item,
            producer=f"roam-{region}-{first_user}", seq=numbers[region], ack="local")
        assert answer.get("island", False) == (region != "us-east"), (region, answer)
        assert answer["session_seq"] == numbers[region], answer
        assert answer["origin"].startswith(region), answer
        sent.append((numbers[region], item, answer["origin"]))

    set_links(mesh, cuts, "cut")
    for _ in range(4):
        for region in writers:
            signal(region)
    closed = gateways[writers[0]].until_ok("session_close", tenant=tenant, session=session,
                                           ack="local")
    assert closed["signals"] == 4 and not closed["auto_closed"], closed
    for region in writers[1:]:
        signal(region)
    gateways[writers[0]].refused("BAD_REQUEST", "session_signal", tenant=tenant, session=session,
                                 signal="view", item=1, ack="local")
    set_links(mesh, cuts, "pass")
    mesh.await_equal(15.0, tenant=tenant)
    for region, gateway in gateways.items():
        found = gateway.ok("session_get", tenant=tenant, session=session)
        rows = [(row[0], row[2], row[5]) for row in found["signals"]]
        assert rows == sent, (region, rows, sent)
        assert not found["open"], (region, found)
    wait_until(lambda: gateways["us-east"].call("session_close", tenant=tenant,
                                                session=session)["ok"], 10.0, "the leader answers")
    again = gateways["us-east"].ok("session_close", tenant=tenant, session=session)
    assert again["signals"] == len(sent), again
    gateways["us-east"].refused("BAD_REQUEST", "session_signal", tenant=tenant, session=session,
                                signal="view", item=1)


def test_session_roams_between_leader_and_islands(mesh):
    """Signals of one session on both sides of a cut, as leader and as island, closed on either side; and
    at two islands with all regions apart: the same rows in HLC order everywhere, closed everywhere."""
    mesh.client("control").ok("create_tenant", tenant="roaming", island="accept")
    cases = [(AP_SOUTH_APART, ["us-east", "ap-south"]), (AP_SOUTH_APART, ["ap-south", "us-east"]),
             (ALL_APART, ["eu-west", "ap-south"]), (ALL_APART, ["ap-south", "us-east", "eu-west"])]
    for number, (cuts, writers) in enumerate(cases):
        check_roaming(mesh, "roaming", cuts, writers, 1000 * (number + 1))
    return f"{len(cases)} sessions; {mesh.verify()}"


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
