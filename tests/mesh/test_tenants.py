#!/usr/bin/python3
"""Tenants over ZeroMQ and real files: created, used from every region, isolated from each other,
led by whom an operator names, and there again after a restart of everything."""
import json

import mesh_support
from mesh_support import REGIONS, wait_until

TWO = ["us-east", "ap-south"]


def leaders(mesh, tenant):
    return {row["shard"]: row["leader"]
            for row in mesh.gateway().ok("topology", tenant=tenant)["shards"]}


def count(mesh, region, item, **fields):
    return mesh.gateway(region).ok("count", signal="view", item=item, window="all",
                                   **fields)["count"]


def test_tenant_create_is_idempotent_and_checked(mesh):
    """tidalctl creates it; the same again is the same generation; all else is refused."""
    control = mesh.client("control")
    made = json.loads(mesh.tidalctl("tenant", "create", "shop", "--json").stdout)
    assert made["tenant"] == "shop" and made["regions"] == REGIONS and made["island"] == "reject"
    again = control.ok("create_tenant", tenant="shop", regions=REGIONS[::-1], island="reject")
    assert again["generation"] == made["generation"] > 1
    answer = control.refused("BAD_REQUEST", "create_tenant", tenant="shop", island="accept")
    assert f"generation {made['generation']}" in answer["error"]["message"], answer
    two = control.ok("create_tenant", tenant="games", regions=TWO, island="accept")
    assert two["generation"] > made["generation"] and two["regions"] == TWO
    before = control.ok("topology")["version"]
    for fields in ({"tenant": "x", "regions": ["atlantis"]}, {"tenant": "x", "regions": []},
                   {"tenant": "x", "regions": ["us-east", "us-east"]}, {"tenant": "-x"},
                   {"tenant": "x/y"}, {"tenant": "x", "island": "maybe"}, {"regions": TWO}):
        control.refused("BAD_REQUEST", "create_tenant", **fields)
    assert control.ok("topology")["version"] == before
    assert control.ok("topology")["tenants"] == ["default", "shop", "games"]
    mesh.gateway().refused("UNKNOWN_TENANT", "topology", tenant="nobody")


def test_tenant_is_served_at_once_in_every_region(mesh):
    """Whoever was told that it is there may use it, through any gateway."""
    control = mesh.client("control")
    for i, region in enumerate(REGIONS):
        name = f"fresh-{i}"
        gateway = mesh.gateway(region)
        control.ok("create_tenant", tenant=name)
        answer = gateway.ok("signal", tenant=name, signal="view", item=1, producer="p", seq=1)
        assert answer["durability"] == "all", answer
        mesh.await_equal(10.0, tenant=name)


def test_tenants_are_isolated(mesh):
    """Same item, user, producer and seq in two tenants: two effects, each in its own."""
    for region in REGIONS:
        gateway = mesh.gateway(region)
        for tenant, times in (("default", 1), ("shop", 2)):
            for i in range(times):
                answer = gateway.ok("signal", tenant=tenant, signal="view", item=77, user=5,
                                    producer="client", seq=i)
                assert answer.get("duplicate", False) == (region != REGIONS[0]), answer
    mesh.gateway().ok("hide", tenant="shop", user=5, item=77)
    mesh.await_equal(10.0)
    mesh.await_equal(10.0, tenant="shop")
    for region in REGIONS:
        assert count(mesh, region, 77) == 1
        assert count(mesh, region, 77, tenant="shop") == 2
        relation = {tenant: mesh.gateway(region).ok("relation", tenant=tenant, user=5, item=77)
                    for tenant in ("default", "shop")}
        assert relation["shop"]["hidden"] and not relation["default"]["hidden"], relation


def test_tenant_lies_where_it_is_placed(mesh):
    """A tenant of two regions: its leaders are theirs, any gateway serves it, and the third region
    is sent nothing of it."""
    assert set(leaders(mesh, "games").values()) == set(TWO)
    refused = mesh.metric("receiver-eu-west", "receiver_refused")
    truth = {}
    for n, region in enumerate(REGIONS):
        gateway = mesh.gateway(region)
        for i in range(20):
            answer = gateway.ok("signal", tenant="games", signal="view", item=100 + i,
                                producer=region, seq=i)
            assert sorted(answer["replicas"]) == sorted(TWO), answer
            truth[100 + i] = n + 1
    mesh.await_equal(10.0, tenant="games", regions=TWO)
    for region in REGIONS:
        for item, number in truth.items():
            assert count(mesh, region, item, tenant="games") == number
    rows = mesh.gateway("eu-west").ok("lag", tenant="games")["nodes"]
    assert {row["region"] for row in rows} == set(TWO) and {row["tenant"] for row in rows} == {
        "games"}, rows
    status = mesh.client("control").ok("status", tenant="games")
    assert {name for row in status["shards"] for name in row["regions"]} == set(TWO)
    assert mesh.metric("receiver-eu-west", "receiver_refused") == refused
    assert not mesh.segments("eu-west", 0, "us-east") or not any(
        "games" in path for path in mesh.segments("eu-west", 0, "us-east"))


def test_promotion_moves_writes_and_keeps_retries(mesh):
    """One request, repeated at three gateways through a promotion and through a kill -9 of the old
    leader: one effect and one answer."""
    control = mesh.client("control")
    gateways = [mesh.gateway(region) for region in REGIONS]
    request = {"tenant": "shop", "signal": "view", "item": 500, "producer": "once", "seq": 1}
    first = gateways[0].ok("signal", **request)
    shard, old = first["shard"], leaders(mesh, "shop")[first["shard"]]
    new = REGIONS[(REGIONS.index(old) + 1) % 3]
    control.refused("BAD_REQUEST", "promote", tenant="shop", shard=shard, region="atlantis")
    mesh.tidalctl("promote", str(shard), new, "--tenant", "shop")
    record = control.ok("promote", tenant="shop", shard=shard, region=new)
    assert record["leader"] == new and record["epoch"] == 2, record
    for gateway in gateways:
        again = gateway.until_ok("signal", **request)
        assert again["duplicate"] and again["origin"] == first["origin"], again
        assert again["seq_first"] == first["seq_first"]
    second = gateways[1].until_ok("signal", **{**request, "seq": 2})
    assert second["origin"].startswith(new), second
    mesh.kill(f"shard-{new}-{shard}", hold=True)
    pending = [gateway.send("signal", timeout_ms=20000, **{**request, "seq": 3})
               for gateway in gateways]
    control.ok("promote", tenant="shop", shard=shard, region=old)
    answers = [gateway.receive(one, 25.0) for gateway, one in zip(gateways, pending)]
    assert all(answer["ok"] for answer in answers), answers
    assert len({(answer["origin"], answer["seq_first"]) for answer in answers}) == 1, answers
    assert answers[0]["origin"].startswith(old), answers
    mesh.release(f"shard-{new}-{shard}")
    mesh.wait_ready(f"shard-{new}-{shard}")
    mesh.await_equal(15.0, tenant="shop")
    assert {count(mesh, region, 500, tenant="shop") for region in REGIONS} == {3}


def test_tenants_survive_a_restart_of_everything(mesh):
    """kill -9 of all processes: tenants, leaders and data are there again; writes go on."""
    before = {tenant: mesh.digests(tenant=tenant) for tenant in ("default", "shop", "games")}
    led = leaders(mesh, "shop")
    for tenant, count_before in (("default", 1), ("shop", 2)):
        assert count(mesh, "eu-west", 77, tenant=tenant) == count_before
    mesh.kill_all()
    mesh.up()
    for tenant, digests in before.items():
        wait_until(lambda: mesh.digests(tenant=tenant) == digests, 10.0, f"{tenant} is as it was")
    assert leaders(mesh, "shop") == led
    for tenant in before:
        mesh.gateway("ap-south").until_ok("signal", tenant=tenant, signal="view", item=900,
                                          producer="after", seq=1)
    mesh.await_equal(10.0, tenant="shop")
    mesh.await_equal(10.0, tenant="games", regions=TWO)
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
