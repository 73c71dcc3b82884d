#!/usr/bin/python3
"""Whatever arrives on a socket: a clear error where somebody can be told, no process ends, memory stays
bounded, nothing is written, and the next request works, from the same client and from another."""
import random
import socket
import struct

import msgpack
import zmq

import mesh_support
from mesh_support import memory_kib, now_ns, wait_until

# What a few 10 MB frames, queues of junk and one 4 MB request of small values may cost.
# Sanitizers keep what was freed.
GROWTH_KIB_MAX = (64 if not mesh_support.IS_SANITIZED else 640) * 1024
HOUR_NS = 3600 * 10**9
ROW = ["view", 1]
MESSAGE_TYPE_MAX = 17


class Raw:
    """A socket that sends bytes as they are. One answer to each body, where one is due."""

    def __init__(self, mesh, process="gateway-us-east", kind=zmq.DEALER):
        self.socket = zmq.Context.instance().socket(kind)
        self.socket.linger = 0
        self.socket.connect(f"tcp://127.0.0.1:{mesh.ports[process]}")

    def ask(self, body, timeout_ms=10000):
        self.socket.send(body)
        assert self.socket.poll(timeout_ms), f"no answer to {body[:40]!r}, {len(body)} bytes"
        return msgpack.unpackb(self.socket.recv_multipart()[-1], strict_map_key=False)

    def refused(self, body, *codes):
        answer = self.ask(body)
        assert answer["ok"] is False, (body[:80], answer)
        error = answer["error"]
        assert error["code"] in codes, (body[:80], error, codes)
        assert len(error["message"]) > 10 and error["retryable"] is False, error
        return error

    def works(self):
        answer = self.ask(msgpack.packb({"op": "ping", "id": "after"}))
        assert answer["ok"] and answer["id"] == "after", answer

    def works_after_all(self):
        """All that was sent before has been taken: the answer to a ping comes at last."""
        self.socket.send(msgpack.packb({"op": "ping", "id": "last"}))
        while True:
            assert self.socket.poll(20000), "no answer to the ping behind the junk"
            answer = msgpack.unpackb(self.socket.recv_multipart()[-1], strict_map_key=False)
            if isinstance(answer, dict) and answer.get("id") == "last":
                assert answer["ok"], answer
                return

    def close(self):
        self.socket.close(0)


class Watch:
    """The processes of the mesh: none may end, and none may grow beyond the limit."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.before = {name: (int(fields["pid"]), memory_kib(int(fields["pid"])))
                       for name, fields in mesh.processes().items()}

    def check(self):
        grown = {}
        for name, fields in self.mesh.processes().items():
            pid, kib = self.before[name]
            assert int(fields["pid"]) == pid, f"{name} ended and was started again"
            grown[name] = memory_kib(pid, "VmHWM") - kib
            assert grown[name] < GROWTH_KIB_MAX, f"{name} grew by {grown[name]} KiB"
        name = max(grown, key=grown.get)
        return f"at most {grown[name] // 1024} MiB more in {name}"


def request(**fields):
    return msgpack.packb({"op": "signal", "signal": "view", "item": 7, **fields})


def is_unchanged(mesh, before):
    return mesh.digests() == before


def write_works(mesh):
    for region in mesh.regions:
        mesh.gateway(region).ok("signal", signal="view", item=1, user=1)


def test_not_msgpack_is_refused(mesh):
    raw = Raw(mesh)
    source = random.Random(1)
    for body in (b"", b"\xc1", b"hello", b"\x00", b"\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x93\x01\x02",
                 b"\xc0", b"\x80", b"{}", msgpack.packb([1, 2, 3]), msgpack.packb("op"),
                 msgpack.packb({1: 2}), msgpack.packb({"op": 5}), msgpack.packb({"op": None}),
                 msgpack.packb({"op": "signal"})[:-3], msgpack.packb({"id": 5})):
        raw.refused(body, "BAD_REQUEST")
    for _ in range(500):
        answer = raw.ask(source.randbytes(source.randrange(1, 200)))
        assert answer["ok"] is False and answer["error"]["code"] == "BAD_REQUEST", answer
    raw.works()
    raw.close()


def test_wrong_types_and_ranges_are_refused(mesh):
    """Each field of each kind once with what it must not be; the text names the key."""
    raw = Raw(mesh)
    now = now_ns()
    for key, value in (
            ("item", 0), ("item", -1), ("item", str(2**64)), ("item", 1.5), ("item", "abc"),
            ("item", None), ("item", []), ("item", True), ("item", float("nan")),
            ("user", -1), ("user", {}), ("user", "7.5"), ("weight", float("nan")),
            ("weight", float("inf")), ("weight", float("-inf")), ("weight", 1e9 * 1.0001),
            ("weight", -2e9), ("weight", []), ("ts", -1), ("ts", now + 2 * HOUR_NS),
            ("ts", 2**63), ("ts", 2**64 - 1), ("ts", 1e300), ("ts", "soon"), ("signal", 5),
            ("signal", b"view"), ("signal", ""), ("ack", "some"), ("ack", 1), ("timeout_ms", 0),
            ("timeout_ms", -5), ("timeout_ms", 2**40), ("producer", ""), ("producer", "p" * 65),
            ("producer", 5), ("v", 2), ("tenant", 5), ("tenant", ""), ("tenant", "t" * 65),
            ("token", 5), ("token", "text"), ("token", b"junk"), ("token", [b""] * 17),
            ("token", b"\x00" * 2000)):
        fields = {"producer": "p", "seq": 1} if key == "seq" else {}
        if key == "producer":
            fields = {"seq": 1}
        error = raw.refused(request(**{**fields, key: value}), "BAD_REQUEST", "UNKNOWN_SIGNAL",
                            "UNKNOWN_TENANT", "TOO_LARGE")
        assert key in error["message"] or error["code"] != "BAD_REQUEST", (key, value, error)
    raw.refused(request(producer="p"), "BAD_REQUEST")
    raw.refused(request(seq=1), "BAD_REQUEST")
    raw.refused(request(tenant="nobody"), "UNKNOWN_TENANT")
    raw.refused(request(signal="nothing"), "UNKNOWN_SIGNAL")
    raw.works()
    raw.close()


def test_unknown_ops_are_refused(mesh):
    raw = Raw(mesh)
    for op in ("nonsense", "", "SIGNAL", "signal ", "x" * 100000, "search", "drain",
               "migrate", "link", "status"):
        error = raw.refused(msgpack.packb({"op": op}), "UNKNOWN_OP", "BAD_REQUEST")
        assert len(error["message"]) < 2000, error
    raw.works()
    raw.close()


def test_rows_and_columns_that_do_not_fit_are_refused(mesh):
    raw = Raw(mesh)

    def refused(fields, *codes):
        return raw.refused(msgpack.packb({"op": "signals", **fields}), *codes)
    for rows in ([], [[]], [5], ["view"], [["view"]], [["view", 0]], [["view", 1, 2, 3, 4, 5, 6]],
                 {"view": 1}, [ROW, ["view", 1, None, float("nan")]], [ROW, ["view", -1]],
                 [ROW, ["view", 1, 0, 1, -1]], [ROW, ["view", 1, 0, 1, now_ns() + 2 * HOUR_NS]]):
        refused({"rows": rows}, "BAD_REQUEST")
    error = refused({"rows": [ROW, ROW, ["view", 0]]}, "BAD_REQUEST")
    assert "2" in error["message"], error
    refused({"rows": [ROW, ["nothing", 1]]}, "UNKNOWN_SIGNAL")
    refused({"rows": [ROW] * 10001}, "TOO_LARGE")
    items = struct.pack("<2Q", 1, 2)
    for columns in ({}, {"n": 2}, {"n": 3, "signal": "view", "item": items},
                    {"n": 0, "signal": "view", "item": b""},
                    {"n": 2**31, "signal": "view", "item": items},
                    {"n": 2, "signal": b"\x01", "item": items},
                    {"n": 2, "signal": "view", "item": items[:-1]},
                    {"n": 2, "signal": "view", "item": struct.pack("<2Q", 1, 0)},
                    {"n": 2, "signal": "view", "item": items, "weight": struct.pack("<d", 1)},
                    {"n": 2, "signal": "view", "item": items,
                     "weight": struct.pack("<2d", 1, float("nan"))},
                    {"n": 2, "signal": "view", "item": items, "ts": struct.pack("<2q", 1, -1)},
                    {"n": 2, "signal": "view", "item": [1, 2]}):
        refused({"columns": columns}, "BAD_REQUEST", "TOO_LARGE")
    refused({"columns": {"n": 2, "signal": b"\x01\xff", "item": items}}, "UNKNOWN_SIGNAL",
            "BAD_REQUEST")
    refused({"rows": [ROW], "columns": {"n": 2, "signal": "view", "item": items}}, "BAD_REQUEST")
    refused({}, "BAD_REQUEST")
    raw.works()
    raw.close()


def test_reads_that_ask_too_much_or_nonsense_are_refused(mesh):
    raw = Raw(mesh)
    many = list(range(1, 10002))
    for fields in (
            {"op": "retrieve", "limit": 0}, {"op": "retrieve", "limit": 1001},
            {"op": "retrieve", "candidates": many}, {"op": "retrieve", "candidates": [0]},
            {"op": "retrieve", "terms": []}, {"op": "retrieve", "terms": [{}] * 17},
            {"op": "retrieve", "terms": [{"signal": "view", "agg": "sum", "weight": 1}]},
            {"op": "retrieve", "terms": [{"signal": "view", "agg": "velocity", "window": "all",
                                          "weight": 1}]},
            {"op": "retrieve", "terms": [{"signal": "view", "agg": "decay",
                                          "weight": float("inf")}]},
            {"op": "retrieve", "profile": "nothing"}, {"op": "retrieve", "cursor": b"junk"},
            {"op": "retrieve", "filter": {"category": 5}}, {"op": "retrieve", "filter": "news"},
            {"op": "count", "signal": "view", "item": 7, "window": "2h"},
            {"op": "count", "signal": "view", "item": 7},
            {"op": "velocity", "signal": "view", "item": 7, "window": "all"},
            {"op": "score", "signal": "view", "item": 7, "at": -1},
            {"op": "score", "signal": "view", "item": 7, "read": "nearest"},
            {"op": "cells", "items": many, "signals": ["view"], "windows": []},
            {"op": "cells", "items": list(range(1, 10001)),
             "signals": ["view", "like", "share", "skip"],
             "windows": ["1h", "24h", "7d", "30d", "all"]},
            {"op": "relation", "user": 1}, {"op": "relation", "user": 0, "item": 1},
            {"op": "relation", "user": 1, "item": 1, "creator": 1}):
        raw.refused(msgpack.packb(fields), "BAD_REQUEST", "TOO_LARGE")
    raw.works()
    raw.close()


def test_items_and_users_that_do_not_fit_are_refused(mesh):
    raw = Raw(mesh)
    for fields in (
            {"op": "put_item", "item": 0, "title": "x"}, {"op": "put_item", "title": "x"},
            {"op": "put_item", "item": 1, "title": "x" * 20000},
            {"op": "put_item", "item": 1, "title": 5}, {"op": "put_item", "item": 1, "tags": "a"},
            {"op": "put_item", "item": 1, "tags": ["a"] * 65},
            {"op": "put_item", "item": 1, "created": -5},
            {"op": "put_items", "items": []},
            {"op": "put_items", "items": [{"item": i + 1} for i in range(1001)]},
            {"op": "put_user", "user": 0, "attrs": {"a": "b"}}, {"op": "put_user", "user": 1},
            {"op": "put_user", "user": 1, "attrs": {"a": 5}},
            {"op": "put_user", "user": 1, "attrs": {str(i): "v" for i in range(65)}},
            {"op": "hide", "user": 1}, {"op": "hide", "user": 1, "item": 0},
            {"op": "hide", "user": 1, "item": 1, "hlc": [1]},
            {"op": "hide", "user": 1, "item": 1, "hlc": ["x", 0, 0]},
            {"op": "mute", "user": 1, "item": 1}):
        raw.refused(msgpack.packb(fields), "BAD_REQUEST", "TOO_LARGE")
    bad_text = b"\x83\xa2op\xa8put_item\xa4item\x01\xa5title\xa2\xc3\x28"
    raw.refused(bad_text, "BAD_REQUEST")
    ahead = [now_ns() + 10 * HOUR_NS, 0, 1]
    answer = raw.ask(msgpack.packb({"op": "hide", "user": 1, "item": 1, "hlc": ahead}))
    assert not answer["ok"] and answer["error"]["code"] == "CLOCK_SKEW", answer
    raw.works()
    raw.close()


def test_bombs_are_refused_at_once(mesh):
    """Counts that the frame cannot hold, depth, duplicate keys, bytes behind the map, extensions."""
    watch, raw = Watch(mesh), Raw(mesh)
    head = b"\x82\xa2op\xa7signals\xa4rows"
    deep = b"\x91" * 100000 + b"\xc0"
    for body in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
                 b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01",
                 head + b"\xdd\xff\xff\xff\xff", head + b"\xdf\xff\xff\xff\xff",
                 head + b"\xdd\x00\x00\x27\x10" + b"\xdd\xff\xff\xff\xff",
                 head + b"\xc6\xff\xff\xff\xff", deep, b"\x81\xa2op" + deep,
                 b"\x82\xa2op\xa4ping\xa1x" + b"\x91" * 8 + b"\xc0",
                 b"\x82\xa2op\xa4ping\xa2op\xa4ping",
                 b"\x83\xa2op\xa6signal\xa4item\x01\xa4item\x02", request() + b"\x00",
                 request() + request(), request()[:-1], b"\x81\xa2op\xd4\x01\x02",
                 b"\x82\xa2op\xa4ping\xa1x\xd4\x01\x02"):
        error = raw.refused(body, "BAD_REQUEST")
        assert len(error["message"]) < 1000, error
    raw.refused(head + b"\xdd\x00\x0f\xff\xff" + b"\xc0" * 0xfffff, "BAD_REQUEST", "TOO_LARGE")
    keys = b"".join(b"\xa4" + f"{i:04d}".encode() + b"\xc0" for i in range(9999))
    raw.refused(b"\xde\x27\x10\xa2op\xa4ping" + keys, "BAD_REQUEST", "TOO_LARGE")
    raw.works()
    raw.close()
    return watch.check()


def test_ten_megabytes_of_junk(mesh):
    """As one frame, twenty times, by two clients; a third is served meanwhile."""
    watch, raw, other, third = Watch(mesh), Raw(mesh), Raw(mesh), Raw(mesh)
    junk = random.Random(2).randbytes(10 * 1024 * 1024)
    for _ in range(10):
        for sender in (raw, other):
            sender.refused(junk, "BAD_REQUEST", "TOO_LARGE")
        third.works()
    raw.refused(request(pad=junk), "BAD_REQUEST", "TOO_LARGE")
    raw.works()
    # A frame beyond what any request may be: the connection ends, and comes back.
    huge = Raw(mesh)
    huge.socket.send(b"\x00" * (64 * 1024 * 1024))
    third.works()

    def served_again():
        try:
            huge.socket.send(msgpack.packb({"op": "ping"}), zmq.DONTWAIT)
        except zmq.Again:
            return False
        return huge.socket.poll(100)
    wait_until(served_again, 20.0, "the client with the huge frame is served again")
    for closed in (raw, other, third, huge):
        closed.close()
    write_works(mesh)
    return watch.check()


def test_many_parts(mesh):
    """More frames than a request may have, small ones and large ones."""
    watch, raw, other = Watch(mesh), Raw(mesh), Raw(mesh)
    ping = msgpack.packb({"op": "ping"})
    for parts in ([b"x"] * 9 + [ping], [b"x"] * 20000 + [ping], [b"", ping, b""],
                  [b"y" * 257, ping], [bytes(65536)] * 200, [b""] * 1000):
        raw.socket.send_multipart(parts)
        assert raw.socket.poll(10000), f"no answer to {len(parts)} parts"
        answer = msgpack.unpackb(raw.socket.recv_multipart()[-1])
        assert answer["ok"] is False and answer["error"]["code"] == "BAD_REQUEST", answer
        assert len(answer["error"]["message"]) > 10, answer
        other.works()
    raw.works()
    raw.close()
    other.close()
    return watch.check()


def test_floods_do_not_stop_others(mesh):
    """A client that sends and never reads, and clients that come and go; another one is served."""
    watch = Watch(mesh)
    flood, other = Raw(mesh), Raw(mesh)
    ping, large = msgpack.packb({"op": "ping"}), msgpack.packb({"op": "hello"})
    sent = 0
    for i in range(50000):
        try:
            flood.socket.send(large if i % 2 else ping, zmq.DONTWAIT)
            sent += 1
        except zmq.Again:
            pass
        if i % 5000 == 0:
            other.works()
    for _ in range(100):
        brief = Raw(mesh)
        brief.socket.send(large)
        brief.close()
    other.works()
    flood.close()
    other.close()
    write_works(mesh)
    return f"{sent} requests, {watch.check()}"


def test_bytes_that_are_no_zeromq(mesh):
    """Plain TCP: nothing, random bytes, half a greeting, HTTP; on every port of one region."""
    watch, source = Watch(mesh), random.Random(3)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    for process, port in mesh.ports.items():
        for body in (b"", source.randbytes(5000), greeting[:20], greeting + source.randbytes(5000),
                     b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", greeting + b"\x06" + b"\xff" * 8 + b"x"):
            with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
                try:
                    connection.sendall(body)
                except OSError as error:
                    assert error.errno in (32, 104), (process, error)
    write_works(mesh)
    mesh.await_equal(10.0)
    return watch.check()


def nearly_messages(source, process_count):
    """Arrays as processes send them, with fields of all kinds where others belong."""
    values = [None, 0, 1, -1, 2**63, 2**64 - 1, 1.5, float("nan"), True, "", "default", b"",
              bytes(8), bytes(32), [], [1, 1, 0, 5], [[]], [[1, 1, 0, 5], 7], {}, {"op": "ping"},
              bytes(2000), [0] * 500, [1, 0, 0], [2, 3, 4]]
    for _ in range(process_count):
        kind = source.randrange(0, MESSAGE_TYPE_MAX + 3)
        yield msgpack.packb([kind] + [source.choice(values) for _ in range(source.randrange(30))])
    for _ in range(process_count):
        yield bytes([0x90 + source.randrange(16)]) + source.randbytes(source.randrange(300))
    yield b"\xdd\xff\xff\xff\xff"
    yield b"\x9f" * 100000
    yield b"\x92\x09" + b"\xc6\xff\xff\xff\xff"
    yield b"\x9a\x09" + source.randbytes(1024 * 1024)


def test_junk_between_processes(mesh):
    """The request port of every process, addressed to it and not, and each link of the proxy: maps,
    arrays that are nearly messages, random bytes, many frames."""
    watch, source = Watch(mesh), random.Random(4)
    before = mesh.await_equal(10.0)
    for process in mesh.ports:
        raw = Raw(mesh, process)
        raw.socket.sndtimeo = 5000
        address = mesh.address(process)
        for i, body in enumerate(nearly_messages(source, 60)):
            raw.socket.send_multipart([address, body] if i % 4 else [b"", body])
        for frames in ([], [address] * 8, [bytes(8)], [b"\xff" * 8], [address, b"x" * 300],
                       [b"z"] * 500):
            raw.socket.send_multipart([*frames, source.randbytes(50)])
        raw.works_after_all()
        raw.close()
    for port in mesh.link_ports():
        raw = zmq.Context.instance().socket(zmq.DEALER)
        raw.linger = 1000
        raw.sndtimeo = 1000
        raw.connect(f"tcp://127.0.0.1:{port}")
        for body in nearly_messages(source, 5):
            try:
                raw.send_multipart([mesh.address(source.choice(list(mesh.ports))), body])
            except zmq.Again:
                break  # a link for what is published takes nothing
        raw.close()
    assert is_unchanged(mesh, before), "junk has changed a state"
    write_works(mesh)
    mesh.await_equal(10.0)
    return watch.check()


def test_junk_to_those_who_publish(mesh):
    """Subscriptions of every length, and messages, to the sockets that only publish."""
    watch, source = Watch(mesh), random.Random(5)
    ports = [port + 1 for process, port in mesh.ports.items()
             if process.startswith(("shard", "shipper", "receiver", "reconciler"))]
    ports += [port - 1 for process, port in mesh.ports.items() if process.startswith("gateway")]
    for port in ports + [mesh.ports["control"] + 1, mesh.ports["proxy"] + 1]:
        for kind in (zmq.SUB, zmq.XSUB, zmq.DEALER):
            raw = zmq.Context.instance().socket(kind)
            raw.linger = 0
            raw.connect(f"tcp://127.0.0.1:{port}")
            for size in (0, 1, 100, 245, 246, 255, 256, 5000):
                try:
                    if kind == zmq.SUB:
                        raw.setsockopt(zmq.SUBSCRIBE, source.randbytes(size))
                    else:
                        raw.send(b"\x01" + source.randbytes(size), zmq.DONTWAIT)
                except zmq.Again:
                    pass
            raw.close()
    write_works(mesh)
    mesh.await_equal(10.0)
    return watch.check()


def test_nothing_was_counted_by_all_this(mesh):
    """Only the good requests of these tests stand in the log; every process is ready."""
    for process in mesh.ports:
        mesh.wait_ready(process, 5.0)
    gateway = mesh.gateway()
    for item in (7, 3):
        answer = gateway.ok("cells", items=[item], signals=["view"], windows=["all"])
        assert answer["rows"][0][3] == [0], answer
    mesh.await_equal(10.0)


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, lambda: mesh_support.Mesh(regions=3, shards=2))
