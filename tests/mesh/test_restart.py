#!/usr/bin/python3
"""Stop and start of a whole mesh: from checkpoint and tail, from the logs alone, in the middle of a
load; one signal changes the order of retrieve in every region also afterwards; a folder or a port
that is taken is a clear error."""
import glob
import os
import shutil
import socket
import subprocess
import time

import mesh_support
from mesh_support import BIN, REGIONS, Load, wait_until

TERMS = [{"signal": "like", "agg": "count", "window": "all", "weight": 1.0}]
pairs = iter(range(10**6, 2 * 10**6, 2))


def write_load(mesh, name, requests=60):
    loads = [Load(mesh.ports[f"gateway-{region}"], f"{name}-{region}", row_count=50,
                  first_item=1 + 1000 * i) for i, region in enumerate(mesh.regions)]
    for load in loads:
        load.start()
    for load in loads:
        load.await_acknowledged(requests)
    return loads


def add_truth(truth, loads):
    for load in loads:
        for item, count in load.finish().items():
            truth[item] = truth.get(item, 0) + count


def up(mesh):
    started = time.monotonic()
    mesh.up()
    return f"ready after {time.monotonic() - started:.1f} s"


def check_visibility(mesh):
    """One more like in one region turns the order of two items around, there and everywhere."""
    worst = 0.0
    for source in mesh.regions:
        first, second = next(pairs), next(pairs)
        writer = mesh.gateway(source)
        readers = {region: mesh.gateway(region) for region in mesh.regions}

        def shows(region, items):
            answer = readers[region].ok("retrieve", terms=TERMS, candidates=[first, second])
            return [row["item"] for row in answer["items"]] == items
        writer.until_ok("signal", signal="like", item=first, producer=f"see-{first}", seq=1)
        for region in mesh.regions:
            wait_until(lambda r=region: shows(r, [first, second]), 5.0, f"first in {region}")
        started = time.monotonic()
        writer.until_ok("signals", rows=[["like", second], ["like", second]],
                        producer=f"see-{first}", seq=2)
        for region in mesh.regions:
            wait_until(lambda r=region: shows(r, [second, first]), 5.0,
                       f"one signal from {source} shows in {region}")
        worst = max(worst, time.monotonic() - started)
        for client in (writer, *readers.values()):
            client.close()
    assert worst < 2.0, f"{worst:.3f} s until all regions showed it"
    return f"visible everywhere within {1000 * worst:.0f} ms"


def test_restart_from_checkpoint_and_tail(mesh):
    """Twice; the digests of before, all counts, and the pairs seen."""
    truth = mesh.truth
    notes = []
    for number in range(2):
        loads = write_load(mesh, f"first-{number}")
        add_truth(truth, loads)
        before = mesh.await_equal(10.0)
        mesh.down()
        notes.append(up(mesh))
        assert mesh.await_equal(10.0) == before
        mesh.check_counts(truth)
        gateway = mesh.gateway("ap-south")
        again = gateway.until_ok("signals", rows=first_rows(loads[0]), producer=loads[0].producer,
                                 seq=0)
        assert again.get("duplicate") or all(row["duplicate"] for row in again["shards"]), again
        mesh.check_counts(truth)
    return ", ".join(notes)


def first_rows(load):
    """What the load sent first: it draws by its name."""
    copy = Load(load.port, load.producer, load.first_item, load.item_count, load.row_count)
    return copy.rows()


def test_visibility_after_restart(mesh):
    mesh.down()
    up(mesh)
    return check_visibility(mesh)


def test_restart_without_checkpoints(mesh):
    """The stores of all nodes are gone: the logs alone give the same state."""
    add_truth(mesh.truth, write_load(mesh, "second"))
    before = mesh.await_equal(10.0)
    mesh.down()
    stores = glob.glob(os.path.join(mesh.data, "*", "shard-*", "store"))
    assert len(stores) == len(mesh.regions) * mesh.shards, stores
    for store in stores:
        shutil.rmtree(store)
    note = up(mesh)
    assert mesh.await_equal(10.0) == before
    mesh.check_counts(mesh.truth)
    return note


def test_restart_without_one_regions_checkpoints(mesh):
    """Beside regions that have theirs: the same digests again."""
    before = mesh.await_equal(10.0)
    mesh.down()
    for store in glob.glob(os.path.join(mesh.data, "eu-west", "shard-*", "store")):
        shutil.rmtree(store)
    up(mesh)
    assert mesh.await_equal(10.0) == before


def test_stop_and_start_in_the_middle_of_a_load(mesh):
    loads = write_load(mesh, "third", 20)
    started = time.monotonic()
    mesh.down()
    stopped_s = time.monotonic() - started
    note = up(mesh)
    for load in loads:
        load.await_acknowledged(20)
    repeated = sum(load.repeated for load in loads)
    add_truth(mesh.truth, loads)
    mesh.await_equal(15.0)
    mesh.check_counts(mesh.truth)
    return f"stopped in {stopped_s:.1f} s, {note}, {repeated} requests repeated"


def test_visibility_after_a_heal(mesh):
    """A region is cut off from the others; after the heal one signal shows everywhere again."""
    proxy, gateway = mesh.client("proxy"), mesh.gateway("us-east")
    leaders = {row["shard"]: row["leader"] for row in gateway.ok("topology")["shards"]}
    item = next(item for item in range(3 * 10**6, 4 * 10**6) if leaders[
        gateway.ok("signal", signal="view", item=item)["shard"]] == "us-east")
    try:
        for other in REGIONS[:2]:
            for source, target in ((other, "ap-south"), ("ap-south", other)):
                proxy.ok("link", **{"from": source, "to": target, "mode": "cut"})
        gateway.refused(["NOT_REPLICATED", "UNAVAILABLE"], "signal", signal="view", item=item,
                        timeout_ms=300)
        gateway.ok("signal", signal="view", item=item, ack="local")
    finally:
        proxy.ok("heal")
    mesh.await_equal(15.0)
    note = check_visibility(mesh)
    proxy.close()
    return note


def test_a_second_mesh_in_the_same_folder_is_refused(mesh):
    """By the script, and by each program on its own; the first mesh is untouched."""
    pids = {name: fields["pid"] for name, fields in mesh.processes().items()}
    result = mesh.run_script("up", "--topology", mesh.topology, "--detach", check=False)
    assert result.returncode == 1 and mesh.data in result.stderr and "down" in result.stderr, result
    other = mesh_support.Mesh(3, mesh.shards, data=mesh.data)
    try:
        for program, name in (("tidal_shard_node", "shard-us-east-0"), ("tidal_gateway",
                              "gateway-eu-west"), ("tidal_segment_receiver", "receiver-ap-south"),
                              ("tidal_control_plane", "control")):
            result = subprocess.run([os.path.join(BIN, program), "--topology", other.topology,
                                     "--data", mesh.data, "--name", name], capture_output=True,
                                    text=True, timeout=20, check=False)
            said = result.stdout + result.stderr
            assert result.returncode == 78, (program, result.returncode, said)
            assert "lock" in said and "level=error" in said, said
    finally:
        shutil.rmtree(other.folder)
    assert pids == {name: fields["pid"] for name, fields in mesh.processes().items()}
    mesh.await_equal(5.0)
    return said.split("text=")[-1].strip()


def test_a_port_that_is_taken_is_named(mesh):
    """`mesh up` says which process is not ready and why; with the port free again it comes up."""
    mesh.down()
    port = mesh.ports["gateway-eu-west"]
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wait_until(lambda: holder.connect_ex(("127.0.0.1", port)) != 0, 10.0, "the port is free")
    holder.close()
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    holder.listen()
    mesh.is_up = True
    started = time.monotonic()
    result = mesh.run_script("up", "--topology", mesh.topology, "--detach", check=False,
                             environment={"TIDAL_READY_S": "3"})
    took_s = time.monotonic() - started
    said = result.stdout + result.stderr
    assert result.returncode == 1 and took_s < 20, (result.returncode, took_s)
    assert "gateway-eu-west" in said and str(port) in said and "address in use" in said, said
    holder.close()
    mesh.wait_ready("gateway-eu-west", 20.0)
    mesh.await_equal(10.0)
    return next(line.split("text=")[1] for line in said.splitlines() if "address in use" in line)


def test_data_of_another_topology_is_refused(mesh):
    """Control plane and nodes say that the folder is another topology's; with its own it starts as before."""
    before = mesh.await_equal(10.0)
    mesh.down()
    other = mesh_support.Mesh(2, mesh.shards, data=mesh.data)
    try:
        for program, name in (("tidal_control_plane", "control"),
                              ("tidal_shard_node", "shard-us-east-0")):
            result = subprocess.run([os.path.join(BIN, program), "--topology", other.topology,
                                     "--data", mesh.data, "--name", name], capture_output=True,
                                    text=True, timeout=20, check=False)
            said = result.stdout + result.stderr
            assert result.returncode == 78, (program, result.returncode, said)
            assert "topology" in said and "level=error" in said and "level=fatal" not in said, said
    finally:
        shutil.rmtree(other.folder)
    up(mesh)
    assert mesh.await_equal(10.0) == before
    return said.split("text=")[-1].strip()[:200]


def test_a_schema_without_a_logged_signal_skips_nothing(mesh):
    """A signal type that the log holds is taken from the schema: the nodes that hold such signals say
    so and stop, and skip none. With the schema as it was, nothing is missing."""
    gateway = mesh.gateway("us-east")
    items = list(range(50001, 50021))
    for item in items:
        gateway.until_ok("signal", signal="skip", item=item, producer="schema", seq=2 * item)
        gateway.until_ok("signal", signal="view", item=item, producer="schema", seq=2 * item + 1)
    mesh.await_equal(10.0)
    mesh.down()
    for store in glob.glob(os.path.join(mesh.data, "*", "shard-*", "store")):
        shutil.rmtree(store)
    path = os.path.join(os.path.dirname(mesh.topology), "schema.yaml")
    with open(path, encoding="utf-8") as file:
        schema = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line for line in schema.splitlines(keepends=True) if "skip" not in line)
    mesh.is_up = True
    result = mesh.run_script("up", "--topology", mesh.topology, "--detach", check=False,
                             environment={"TIDAL_READY_S": "5"})
    mesh.down()
    with open(path, "w", encoding="utf-8") as file:
        file.write(schema)
    assert result.returncode == 1, result
    assert "signal 4 is not in the schema" in mesh.log("shard-us-east-0"), "the node says why"
    mesh.up()
    mesh.await_equal(20.0)
    for signal in ("skip", "view"):
        for region in mesh.regions:
            assert mesh.counts(region, items, signal) == {item: 1 for item in items}, signal


def test_another_half_life_refuses_the_checkpoint(mesh):
    """Cells that were made with another half-life are not read as if they were not: the nodes say what
    to do. With the schema as it was, everything is there."""
    gateway = mesh.gateway("us-east")
    gateway.until_ok("signal", signal="skip", item=70001, producer="half", seq=1)
    before = mesh.await_equal(10.0)
    wait_until(lambda: all(mesh.metric(f"shard-{region}-{shard}", "node_checkpoints")
                           for region in mesh.regions for shard in range(mesh.shards)
                           if mesh.metric(f"shard-{region}-{shard}", "node_signals")), 20.0,
               "every node with signals has a checkpoint")
    mesh.down()
    path = os.path.join(os.path.dirname(mesh.topology), "schema.yaml")
    with open(path, encoding="utf-8") as file:
        schema = file.read()
    assert "86400" in schema
    with open(path, "w", encoding="utf-8") as file:
        file.write(schema.replace("half_life_s: 86400", "half_life_s: 86401"))
    mesh.is_up = True
    result = mesh.run_script("up", "--topology", mesh.topology, "--detach", check=False,
                             environment={"TIDAL_READY_S": "5"})
    mesh.down()
    with open(path, "w", encoding="utf-8") as file:
        file.write(schema)
    assert result.returncode == 1, result
    said = "".join(mesh.log(f"shard-us-east-{shard}") for shard in range(mesh.shards))
    assert "half_life_s of signal skip" in said, "a node says what it found"
    mesh.up()
    assert mesh.await_equal(20.0) == before


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


def make():
    mesh = mesh_support.Mesh(topology=("--set", "checkpoint.interval_ms=500"))
    mesh.truth = {}
    return mesh


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, make)
