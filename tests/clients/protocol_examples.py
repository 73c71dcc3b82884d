#!/usr/bin/python3
"""Runs every example of services/gateway/PROTOCOL.md, in the order of the page, and compares the replies.

    tests/clients/protocol_examples.py                      starts a mesh of its own for it
    tests/clients/protocol_examples.py --topology FILE      asks the mesh that runs by this topology;
                                                            it must have no data yet

An example is a block ```json request [REGION|control|proxy]``` and the block ```json reply [RULE]``` after
it. The page itself says how values are written. Rules: `first-of-nodes`, `first-of-links`: of that array
the first element is shown; `content-may-be-forgotten`: once every region has the write for good the mesh
answers as for a duplicate, and both are right."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mesh"))
# pylint: disable=wrong-import-position
import msgpack
import zmq

import mesh_support
from mesh_support import ROOT

PAGE = os.path.join(ROOT, "services", "gateway", "PROTOCOL.md")
BLOCK = re.compile(r"^```json (request|reply) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"<[a-z0-9-]+>")
CLOSE = 1e-9  # relative; sums are kept in units of 2^-40


class Example:
    def __init__(self, line, place, request, rule, reply):
        self.line, self.place, self.request = line, place or "us-east", request
        self.rule, self.reply = rule, reply


def read_page(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    opened = len(re.findall(r"^```\w", text, re.MULTILINE))
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == opened, f"{path}: {opened} blocks, but only {len(blocks)} can be run"
    examples = []
    for first, second in zip(blocks[::2], blocks[1::2]):
        line = text[:first.start()].count("\n") + 1
        assert (first[1], second[1]) == ("request", "reply"), f"{path}:{line}: not request and reply"
        examples.append(Example(line, first[2], json.loads(first[3]), second[2],
                                json.loads(second[3])))
    assert len(blocks) == 2 * len(examples), f"{path}: the last request has no reply"
    return examples


def fill(value, known):
    """The request as it is sent: names replaced by what they stand for, bins made."""
    if isinstance(value, dict):
        return {key: fill(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, known) for item in value]
    if isinstance(value, str) and NAME.fullmatch(value):
        return known[value]
    if isinstance(value, str) and value.startswith("bin:"):
        return bytes.fromhex(value[4:])
    return value


def compare(shown, found, known, place="reply"):
    """Raises where the reply differs; binds the names that are new. Integers and floats differ."""
    if isinstance(shown, str) and NAME.fullmatch(shown):
        if shown != "<any>":
            shown = known.setdefault(shown, found)
            assert shown == found, f"{place}: shown as {shown!r} before, found {found!r}"
    elif isinstance(shown, dict):
        assert isinstance(found, dict), f"{place}: shown a map, found {found!r}"
        wanted = {key for key in shown if key != "..."}
        missing, more = wanted - set(found), set(found) - wanted
        assert not missing, f"{place}: without {sorted(missing)}: {found!r}"
        assert not more or "..." in shown, f"{place}: has {sorted(more)}, which are not shown"
        for key in wanted:
            compare(shown[key], found[key], known, f"{place}.{key}")
    elif isinstance(shown, list):
        assert isinstance(found, list), f"{place}: shown an array, found {found!r}"
        assert len(shown) == len(found), f"{place}: shown {len(shown)} elements, found {found!r}"
        for i, (one, other) in enumerate(zip(shown, found)):
            compare(one, other, known, f"{place}[{i}]")
    elif isinstance(shown, float):
        assert isinstance(found, float), f"{place}: shown float {shown}, found {found!r}"
        assert abs(shown - found) <= CLOSE * max(1.0, abs(shown)), f"{place}: {shown} {found}"
    else:
        if isinstance(shown, str) and shown.startswith("bin:"):
            shown = bytes.fromhex(shown[4:])
        same = type(shown) is type(found) and shown == found
        assert same, f"{place}: shown {shown!r}, found {found!r}"


def reduce(example, reply):
    """The reply as far as the example shows it."""
    if example.rule.startswith("first-of-"):
        key = example.rule[len("first-of-"):]
        assert reply.get(key), f"reply.{key}: expected some, found {reply!r}"
        return {**reply, key: reply[key][:1]}
    if example.rule == "content-may-be-forgotten" and reply.get("duplicate") is True:
        return example.reply
    assert example.rule in ("", "content-may-be-forgotten"), f"unknown rule {example.rule}"
    return reply


class Places:
    """One socket per process that the page talks to."""

    def __init__(self, ports):
        self.ports, self.sockets, self.last_id = ports, {}, 0

    def ask(self, place, request):
        name = place if place in self.ports else "gateway-" + place
        if name not in self.sockets:
            self.sockets[name] = zmq.Context.instance().socket(zmq.DEALER)
            self.sockets[name].linger = 0
            self.sockets[name].connect(f"tcp://127.0.0.1:{self.ports[name]}")
        self.last_id += 1
        self.sockets[name].send(msgpack.packb({"id": self.last_id, **request}))
        assert self.sockets[name].poll(15000), "no reply within 15 s"
        reply = msgpack.unpackb(self.sockets[name].recv_multipart()[-1])
        assert reply.pop("id", None) == self.last_id, f"the id does not come back: {reply!r}"
        return reply

    def close(self):
        for socket in self.sockets.values():
            socket.close(0)


def run_page(examples, ports):
    """Stops at the first example that differs: later ones may build on it."""
    places, known = Places(ports), {}
    try:
        for example in examples:
            try:
                reply = places.ask(example.place, fill(example.request, known))
                compare(example.reply, reduce(example, reply), known)
            except (AssertionError, KeyError) as error:
                raise AssertionError(f"{os.path.relpath(PAGE, ROOT)}:{example.line}: "
                                     f"{example.request['op']}: {error}") from error
    finally:
        places.close()
    return f"{len(examples)} examples"


def test_every_example_of_the_page_gives_the_reply_shown(mesh):
    return run_page(read_page(PAGE), mesh.ports)


def test_the_page_has_every_op_of_this_version():
    """Goal: no op without an example. Method: the list of ops that the codec has."""
    with open(os.path.join(ROOT, "common", "wire", "client_request.h"), encoding="utf-8") as file:
        ops = set(re.findall(r'^    X\(\w+, "(\w+)", (?:WRITE|READ|MESH),', file.read(), re.MULTILINE))
    shown = {example.request["op"] for example in read_page(PAGE)}
    # One of each pair of opposites is shown.
    shown |= {"unmute", "block", "unblock"} if "mute" in shown else set()
    assert len(ops) > 25 and ops <= shown, f"without an example: {sorted(ops - shown)}"


def ports_of(topology):
    """The ports of a mesh that runs: gateways, control plane and proxy."""
    ports, section, name = {}, None, None
    with open(topology, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith((" ", "#")):
                section = line.split(":")[0].strip()
            key, _, value = line.strip().removeprefix("- ").partition(": ")
            if key == "name":
                name = value
            elif key == "gateway_port":
                ports["gateway-" + name] = int(value)
            elif key == "port" and section in ("control", "proxy"):
                ports[section] = int(value)
    return ports


def main():
    test_the_page_has_every_op_of_this_version()
    if len(sys.argv) == 3 and sys.argv[1] == "--topology":
        print(run_page(read_page(PAGE), ports_of(sys.argv[2])))
        return
    mesh_support.main([test_every_example_of_the_page_gives_the_reply_shown])


if __name__ == "__main__":
    main()
