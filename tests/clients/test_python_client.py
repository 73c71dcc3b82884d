#!/usr/bin/python3
"""Clients in other languages against a running mesh: the README's quickstart as it stands there, and
what the protocol promises about sockets and numbers. Python here; Node in test_node_client.js, which
this file runs against the same mesh."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mesh"))
# pylint: disable=wrong-import-position
import msgpack
import zmq

import mesh_support
from mesh_support import REGIONS, ROOT, now_ns

CLIENTS = os.path.join(ROOT, "tests", "clients")
NODE_MAJOR_MIN = 18


def readme_block(language, mesh):
    """The README's code in that language, with the ports of the test's mesh."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"README.md: expected one block of {language}, found {len(blocks)}"
    for i, region in enumerate(REGIONS):
        blocks[0] = blocks[0].replace(f"127.0.0.1:{7101 + i}",
                                      f"127.0.0.1:{mesh.ports['gateway-' + region]}")
    assert not re.search(r"127\.0\.0\.1:71\d\d\b", blocks[0]), "a port that this test does not know"
    return blocks[0]


def run_program(command, name, text, environment=None):
    folder = tempfile.mkdtemp(prefix="tidal-clients-")
    try:
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        result = subprocess.run([*command, path], env={**os.environ, **(environment or {})},
                                capture_output=True, text=True, timeout=60, check=False)
    finally:
        shutil.rmtree(folder)
    assert result.returncode == 0, f"{name}: {result.stdout}{result.stderr}"
    return result.stdout


def find_node():
    """A node that will do: the first of PATH, else Debian's."""
    for node in (shutil.which("node"), "/usr/bin/node"):
        if node and os.path.exists(node):
            version = subprocess.run([node, "--version"], capture_output=True, text=True,
                                     check=True).stdout
            if int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR_MIN:
                return node
    raise AssertionError(f"expected node {NODE_MAJOR_MIN} or later, found none: run scripts/setup")


def request_socket(port, correlate):
    socket = zmq.Context.instance().socket(zmq.REQ)
    socket.linger = 0
    socket.rcvtimeo = 10000
    if correlate:
        socket.setsockopt(zmq.REQ_CORRELATE, 1)
        socket.setsockopt(zmq.REQ_RELAXED, 1)
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


def call(socket, op, **fields):
    socket.send(msgpack.packb({"op": op, **fields}))
    return msgpack.unpackb(socket.recv())


def test_readme_quickstart_in_python(mesh):
    lines = run_program(["/usr/bin/python3"], "quickstart.py",
                        readme_block("python", mesh)).splitlines()
    assert len(lines) >= 5, lines
    assert all("'ok': True" in line for line in lines[:3]), lines
    ranked = dict(line.split() for line in lines[3:])
    assert "7" in ranked and "8" in ranked, lines


def test_readme_quickstart_in_node(mesh):
    """Item 7 was seen in us-east by the quickstart in Python; here it is seen in eu-west."""
    output = run_program([find_node()], "quickstart.js", readme_block("js", mesh),
                         {"NODE_PATH": os.path.join(CLIENTS, "node_modules")})
    assert "ok: true" in output and "item: 7" in output, output


def test_dealer_answers_match_requests_in_any_order(mesh):
    """200 requests in flight, reads among writes; every answer bears the id of its request, also
    when that is no number."""
    client = mesh.gateway("us-east")
    ids = ["text", -5, 2**63, True, None, b"\x00\xff", 1.5]
    for number, identity in enumerate(ids):
        client.socket.send(msgpack.packb({"op": "ping", "id": identity, "v": 1}))
        answer = msgpack.unpackb(client.socket.recv())
        assert answer["ok"] and answer["pong"] and answer["id"] == identity, (number, answer)
    sent = {}
    for i in range(200):
        item = 1000 + i % 10
        sent[client.send("signal", signal="view", item=item) if i % 2 else
             client.send("count", signal="view", item=item, window="all")] = i % 2
    for request, is_write in sent.items():
        answer = client.receive(request)
        assert answer["ok"] and ("seq_first" in answer) == bool(is_write), answer
    assert client.ok("count", signal="view", item=1001, window="all", read="leader")["count"] == 20


def test_req_writes_and_reads(mesh):
    """REQ, plain and with REQ_CORRELATE and REQ_RELAXED, whose frames before the body differ."""
    for correlate, item in ((False, 2001), (True, 2002)):
        socket = request_socket(mesh.ports["gateway-eu-west"], correlate)
        written = call(socket, "signal", signal="like", item=item, user=3, weight=2.5)
        assert written["ok"] and written["durability"] in ("replicated", "all"), written
        read = call(socket, "count", signal="like", item=item, window="all", token=written["token"])
        assert read["ok"] and read["count"] == 1, read
        refused = call(socket, "signal", signal="nothing", item=item)
        assert not refused["ok"] and refused["error"]["code"] == "UNKNOWN_SIGNAL", refused
        socket.close()


def test_req_relaxed_drops_the_answer_it_no_longer_waits_for(mesh):
    """A second request before the first answer: the answer that comes is that of the second."""
    socket = request_socket(mesh.ports["gateway-ap-south"], True)
    socket.send(msgpack.packb({"op": "retrieve", "id": "first", "limit": 10}))
    socket.send(msgpack.packb({"op": "ping", "id": "second"}))
    answer = msgpack.unpackb(socket.recv())
    assert answer["id"] == "second" and answer["pong"], answer
    socket.close()


def test_frames_before_the_body_come_back(mesh):
    """Up to 8 frames, as proxies of clients add them."""
    client = mesh.gateway("us-east")
    for count in (0, 1, 2, 8):
        frames = [bytes([i]) * (i + 1) for i in range(count)]
        client.socket.send_multipart([*frames, msgpack.packb({"op": "ping"})])
        answer = client.socket.recv_multipart()
        assert answer[:-1] == frames, (count, answer)
        assert msgpack.unpackb(answer[-1])["pong"]


def test_numbers_in_the_forms_of_other_languages(mesh):
    """Ids as decimal strings and integral floats, integers where floats are meant."""
    client = mesh.gateway("us-east")
    large = 2**60 + 1
    now = now_ns()
    client.ok("signal", signal="view", item=str(large), user="18446744073709551615", weight=3,
              ts=str(now))
    client.ok("signal", signal="view", item=large, user=4.0, weight=2.5, ts=now)
    written = client.ok("signals", rows=[["view", 3001.0, "7", 1, float(2**60)],
                                         ["view", "3001", None, 0.5]],
                        timeout_ms="5000", producer=b"numbers", seq="1")
    for item in (large, str(large)):
        answer = client.ok("score", signal="view", item=item, at=now, read="leader")
        assert abs(answer["score"] - 5.5) < 1e-6, answer
    answer = client.ok("count", signal="view", item=3001.0, window="all", token=[written["token"]],
                       wait_ms=1000.0)
    assert answer["count"] == 2, answer
    answer = client.ok("retrieve", candidates=[str(large), 3001.0], limit="2", read="leader",
                       terms=[{"signal": "view", "agg": "count", "window": "all", "weight": 1}])
    assert {row["item"] for row in answer["items"]} == {large, 3001}, answer
    again = client.ok("signals", rows=[["view", 3001, 7, 1.0, 2**60], ["view", 3001, 0, 0.5]],
                      producer="numbers", seq=1)
    assert again["duplicate"] or all(row["duplicate"] for row in again["shards"]), again
    client.refused("BAD_REQUEST", "signal", signal="view", item=7.5)
    client.refused("BAD_REQUEST", "signal", signal="view", item="7x")
    client.refused("BAD_REQUEST", "signal", signal="view", item=-1)


def test_node_client(mesh):
    ports = {region: mesh.ports["gateway-" + region] for region in REGIONS}
    result = subprocess.run([find_node(), os.path.join(CLIENTS, "test_node_client.js")],
                            env={**os.environ, "TIDAL_GATEWAYS": json.dumps(ports)},
                            capture_output=True, text=True, timeout=90, check=False)
    print(result.stdout, end="")
    assert result.returncode == 0, result.stderr


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
