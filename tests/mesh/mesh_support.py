"""Real meshes for tests: processes under their keepers, on free ports, with a data folder of their own.

A test file defines functions test_<what>_<outcome>(mesh) and ends with mesh_support.main(...). Every
wait is bounded and polls; nothing sleeps and hopes. Only processes of the test's own mesh are ended,
through their keepers. A mesh ends with its test, also when the test is killed: a guard that nobody
kills stops it when the test is gone."""
import glob
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import msgpack
import zmq

ROOT = os.environ.get("TIDAL_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("TIDAL_BIN", os.path.join(ROOT, "build", "release", "bin"))
IS_SANITIZED = os.path.basename(os.path.dirname(os.path.normpath(BIN))) in ("asan", "tsan")
REGIONS = ["us-east", "eu-west", "ap-south"]
# Of the log, by common/wal/wal_format.h.
SEGMENT_HEADER_SIZE = 256
BATCH_HEADER_SIZE = 208
# The first byte of the address frame that names a process; each shard has one node.
PROCESS_KINDS = {"shard": 1, "shipper": 2, "receiver": 3, "reconciler": 4, "gateway": 5,
                 "control": 6, "proxy": 7}
HALF_LIFE_S = {"view": 7 * 86400, "like": 30 * 86400, "share": 14 * 86400, "skip": 86400}


def now_ns():
    return time.time_ns()


def analytic(events, at_ns, half_life_s):
    """Sum of w * 2^-((at - t) / half-life) over (ts_ns, weight)."""
    return sum(w * 2.0 ** (-((at_ns - ts) / 1e9) / half_life_s) for ts, w in events)


def wait_until(condition, timeout_s, what, pause_s=0.01):
    """Polls until the condition holds and returns its value; a clear error when it never does.
    `what` is a text, or makes one."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s} s: {text}")
        time.sleep(pause_s)


def is_running(pid):
    """False also for a process that only waits to be fetched by its parent."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def memory_kib(pid, field="VmRSS"):
    """VmRSS is what it holds now, VmHWM the most that it held."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise AssertionError(f"/proc/{pid}/status: expected {field}, found none")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def flip(path, offset, bit=3):
    """Turns one bit of a file around."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def batches(path):
    """(offset, size, payload) of each batch of a segment."""
    data, found, offset = content(path), [], SEGMENT_HEADER_SIZE
    while data[offset:offset + 4] == b"TMB1":
        producer_size = data[offset + 6]
        payload_size = int.from_bytes(data[offset + 128:offset + 132], "little")
        begin = offset + BATCH_HEADER_SIZE + producer_size
        size = (BATCH_HEADER_SIZE + producer_size + payload_size + 7) // 8 * 8
        found.append((offset, size, data[begin:begin + payload_size]))
        offset += size
    return found


class Client:
    """A DEALER of its own; any number of requests in flight, answers matched by id."""

    def __init__(self, port):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        self.next_id = random.randrange(1 << 32)
        self.answers = {}

    def send(self, op, **fields):
        self.next_id += 1
        self.socket.send(msgpack.packb({"op": op, "id": self.next_id, **fields}))
        return self.next_id

    def receive(self, wanted, timeout_s=15.0):
        deadline = time.monotonic() + timeout_s
        while wanted not in self.answers:
            left_ms = int(1000 * (deadline - time.monotonic()))
            if left_ms <= 0 or not self.socket.poll(left_ms):
                raise TimeoutError(f"no answer to request {wanted} within {timeout_s} s")
            body = self.socket.recv_multipart()[-1]
            answer = msgpack.unpackb(body, strict_map_key=False)
            self.answers[answer.get("id")] = answer
        return self.answers.pop(wanted)

    def poll(self, timeout_s):
        """The answers that are there, waiting for the first; none after the time."""
        answers = list(self.answers.values())
        self.answers.clear()
        while self.socket.poll(0 if answers else int(1000 * timeout_s)):
            answers.append(msgpack.unpackb(self.socket.recv_multipart()[-1], strict_map_key=False))
        return answers

    def call(self, op, timeout_s=15.0, **fields):
        return self.receive(self.send(op, **fields), timeout_s)

    def ok(self, op, timeout_s=15.0, **fields):
        answer = self.call(op, timeout_s, **fields)
        assert answer["ok"], (op, answer.get("error"))
        return answer

    def refused(self, code, op, timeout_s=15.0, **fields):
        answer = self.call(op, timeout_s, **fields)
        assert not answer["ok"], (op, answer)
        codes = code if isinstance(code, (list, tuple)) else [code]
        assert answer["error"]["code"] in codes, (op, answer["error"])
        assert len(answer["error"]["message"]) > 10, answer["error"]
        return answer

    def until_ok(self, op, timeout_s=30.0, **fields):
        """Repeats a request that is safe to repeat (a read, or a write with producer and seq)."""
        deadline = time.monotonic() + timeout_s
        answer = None
        while time.monotonic() < deadline:
            try:
                answer = self.call(op, 3.0, **fields)
                if answer["ok"]:
                    return answer
                if not answer["error"]["retryable"]:
                    raise AssertionError((op, answer["error"]))
            except TimeoutError:
                answer = "no answer"
            time.sleep(0.05)
        raise AssertionError(f"{op} did not succeed within {timeout_s} s: {answer}")

    def close(self):
        self.socket.close(0)


class Load(threading.Thread):
    """Writes with (producer, seq), and repeats each request until it is acknowledged. Thus every
    request counts once, whatever dies meanwhile: `counts` holds item -> events acknowledged."""

    def __init__(self, port, producer, first_item=1, item_count=200, row_count=20, window=8,
                 retry_s=3.0, give_up_s=60.0):
        super().__init__(daemon=True)
        self.port, self.producer = port, producer
        self.first_item, self.item_count = first_item, item_count
        self.row_count, self.window = row_count, window
        self.retry_s, self.give_up_s = retry_s, give_up_s
        self.random = random.Random(producer)
        self.counts = {}
        self.acknowledged = 0
        self.repeated = 0
        self.error = None
        self.codes = {}
        self.ends = threading.Event()

    def rows(self):
        """Of the next request."""
        return [["view", self.first_item + self.random.randrange(self.item_count)]
                for _ in range(self.row_count)]

    def run(self):
        client = Client(self.port)
        try:
            self._run(client)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
        finally:
            client.close()

    def _run(self, client):
        seq, pending, by_id = 0, {}, {}
        while pending or not self.ends.is_set():
            while len(pending) < self.window and not self.ends.is_set():
                pending[seq] = {"rows": self.rows(), "due": 0.0, "since": time.monotonic()}
                seq += 1
            now = time.monotonic()
            for number, request in pending.items():
                if request["due"] > now:
                    continue
                if now - request["since"] > self.give_up_s:
                    raise AssertionError(f"{self.producer} {number} not acknowledged within "
                                         f"{self.give_up_s} s; answers so far: {self.codes}")
                self.repeated += request["due"] != 0.0
                by_id[client.send("signals", rows=request["rows"], producer=self.producer,
                                  seq=number)] = number
                request["due"] = now + self.retry_s
            self._take(client, pending, by_id)

    def _take(self, client, pending, by_id):
        for answer in client.poll(0.05):
            number = by_id.pop(answer["id"], None)
            if number not in pending:
                continue
            if answer["ok"]:
                for row in pending.pop(number)["rows"]:
                    self.counts[row[1]] = self.counts.get(row[1], 0) + 1
                self.acknowledged += 1
                continue
            error = answer["error"]
            self.codes[error["code"]] = self.codes.get(error["code"], 0) + 1
            if not error["retryable"]:
                raise AssertionError(f"{self.producer} {number}: {error}")
            pending[number]["due"] = time.monotonic() + error.get("retry_after_ms", 50) / 1000

    def await_acknowledged(self, more, timeout_s=30.0):
        """Until so many more requests are acknowledged than now."""
        wanted = self.acknowledged + more
        wait_until(lambda: self.error or self.acknowledged >= wanted, timeout_s,
                   f"{more} more requests of {self.producer} are acknowledged; "
                   f"codes so far: {self.codes}")
        if self.error:
            raise self.error

    def finish(self, timeout_s=60.0):
        """Sends nothing new; returns the truth once all that was sent is acknowledged."""
        self.ends.set()
        self.join(timeout_s)
        if self.error:
            raise self.error
        assert not self.is_alive(), f"the load did not end within {timeout_s} s: {self.codes}"
        return self.counts


class Mesh:
    """One mesh. In `topology` extra arguments of scripts/free_topology."""

    def __init__(self, regions=3, shards=5, topology=(), data=None):
        self.folder = tempfile.mkdtemp(prefix="tidal-mesh-")
        self.data = data or os.path.join(self.folder, "data")
        self.guard = None
        self.topology = os.path.join(self.folder, "topology.yaml")
        self.regions = REGIONS[:regions]
        self.shards = shards
        subprocess.run([os.path.join(ROOT, "scripts", "free_topology"), self.topology,
                        "--regions", str(regions), "--shards", str(shards), *topology], check=True)
        self.link_port_base = None
        self.ports = self._read_ports()
        self.clients = []
        self.is_up = False

    def _read_ports(self):
        ports, section, name = {}, None, None
        with open(self.topology, encoding="utf-8") as file:
            for line in file:
                if not line.startswith(" "):
                    section = line.split(":")[0].strip()
                key, _, value = line.strip().removeprefix("- ").partition(": ")
                if key == "name":
                    name = value
                elif key == "gateway_port":
                    ports["gateway-" + name] = int(value)
                elif key == "port_base":
                    self._add_region_ports(ports, name, int(value))
                elif key == "port":
                    ports[section] = int(value)
                elif key == "link_port_base":
                    self.link_port_base = int(value)
        return ports

    def link_ports(self):
        """The endpoints of the proxy: four for each directed pair of places."""
        places = len(self.regions) + 1
        return [self.link_port_base + (source * places + target) * 4 + purpose
                for source in range(places) for target in range(places) if source != target
                for purpose in range(4)]

    def address(self, process):
        """The frame that names a process: kind, zero, region, shard, zero."""
        words = process.split("-")
        region = next((i + 1 for i, name in enumerate(self.regions) if name in process), 0)
        shard = int(words[-1]) if words[0] == "shard" else 0
        return struct.pack("<BBHHH", PROCESS_KINDS[words[0]], 0, region, shard, 0)

    def _add_region_ports(self, ports, region, base):
        for shard in range(self.shards):
            ports[f"shard-{region}-{shard}"] = base + 2 * shard
        for offset, kind in ((90, "shipper"), (92, "receiver"), (94, "reconciler")):
            ports[f"{kind}-{region}"] = base + offset

    def run_script(self, *arguments, check=True, environment=None):
        """scripts/mesh with the data folder of this mesh."""
        result = subprocess.run(
            [os.path.join(ROOT, "scripts", "mesh"), *arguments, "--data", self.data],
            env={**os.environ, "TIDAL_BIN": BIN, **(environment or {})}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"mesh {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result

    def _start_guard(self):
        """A process that stops the mesh when the pipe from here closes, for whatever reason. It is
        nobody's child, so that it survives who kills a test with all its children."""
        read_end, self.guard = os.pipe()
        script = ('( trap "" HUP INT TERM; read -r _ <&"$0"; '
                  '"$1" down --data "$2"; rm -rf "$3" ) >/dev/null 2>&1 &')
        subprocess.run(["setsid", "sh", "-c", script, str(read_end),
                        os.path.join(ROOT, "scripts", "mesh"), self.data, self.folder],
                       env={**os.environ, "TIDAL_BIN": BIN}, pass_fds=[read_end], check=True)
        os.close(read_end)

    def up(self, ready_s=30):
        if self.guard is None:
            self._start_guard()
        self.is_up = True
        self.run_script("up", "--topology", self.topology, "--detach",
                        environment={"TIDAL_READY_S": str(ready_s)})

    def down(self):
        self.run_script("down")
        self.is_up = False

    def keeper(self, *arguments, check=True):
        return subprocess.run([os.path.join(BIN, "tidal_keeper"), *arguments, "--run",
                               os.path.join(self.data, "run")], capture_output=True, text=True,
                              timeout=30, check=check)

    def processes(self):
        """name -> what its keeper says: state, pid, keeper (pid) and so on, all as text."""
        found = {}
        for line in self.keeper("status").stdout.splitlines():
            fields = dict(word.split("=", 1) for word in line.split())
            found[fields["name"]] = fields
        return found

    def pid(self, process):
        """Of the process itself, once its keeper has started it."""
        def running():
            return int(self.processes().get(process, {}).get("pid", 0))
        return wait_until(running, 10.0, f"{process} runs")

    def kill(self, process, hold=False, signal_name="KILL"):
        self.keeper("kill", process, "--signal", signal_name, *(["--hold"] if hold else []))

    def release(self, process):
        self.keeper("release", process)

    def kill_all(self):
        """kill -9 of every process and every keeper at once."""
        pids = [int(fields[key]) for fields in self.processes().values()
                for key in ("keeper", "pid") if int(fields.get(key, 0)) > 0]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # with its keeper
        wait_until(lambda: not any(is_running(pid) for pid in pids), 10.0, "all are gone")
        self.is_up = False

    def client(self, process):
        client = Client(self.ports[process])
        self.clients.append(client)
        return client

    def gateway(self, region="us-east"):
        return self.client("gateway-" + region)

    def wait_ready(self, process, timeout_s=20.0):
        def ready():
            client = self.client(process)
            try:
                return client.call("health", 1.0)["ready"]
            except TimeoutError:
                return False
            finally:
                client.close()
        wait_until(ready, timeout_s, f"{process} is ready")

    def digests(self, gateway=None, tenant="default"):
        """(region, shard) -> (applied, digest) of every node, as one gateway hears them."""
        owned = gateway or self.gateway()
        answer = owned.ok("digest", tenant=tenant)
        return {(row["region"], row["shard"]): (row["applied"], row["digest"])
                for row in answer["nodes"]}

    def await_equal(self, timeout_s=10.0, gateway=None, tenant="default", regions=None):
        """Every replica of every shard has the same vector and the same digest. `regions`: where
        the tenant is placed, if not everywhere."""
        owned = gateway or self.gateway()
        regions = regions or self.regions
        last = {}

        def equal():
            last.clear()
            last.update(self.digests(owned, tenant))
            if len(last) != len(regions) * self.shards:
                return False
            for shard in range(self.shards):
                states = [last[(region, shard)] for region in regions]
                if any(state != states[0] or state[1] is None for state in states):
                    return False
            return True

        def seen():
            rows = [f"shard {shard} {region}: {last.get((region, shard))}"
                    for shard in range(self.shards) for region in regions
                    if any(last.get((other, shard)) != last.get((region, shard))
                           for other in regions)]
            return "all replicas are equal; those that are not: " + "; ".join(rows)
        wait_until(equal, timeout_s, seen)
        return last

    def counts(self, region, items, signal_name="view"):
        """item -> all-time count as this region's own replicas have it."""
        client, found = self.gateway(region), {}
        for start in range(0, len(items), 1000):
            answer = client.ok("cells", items=items[start:start + 1000], signals=[signal_name],
                               windows=["all"])
            found.update({row[0]: row[3][0] for row in answer["rows"]})
        client.close()
        return found

    def check_counts(self, truth, signal_name="view"):
        """Every region has counted exactly what was acknowledged."""
        items = sorted(truth)
        for region in self.regions:
            found = self.counts(region, items, signal_name)
            wrong = {item: (truth[item], found.get(item)) for item in items
                     if found.get(item) != truth[item]}
            assert not wrong, (f"{region}: {len(wrong)} of {len(items)} items, (expected, found): "
                               f"{dict(list(wrong.items())[:5])}")

    def tidalctl(self, *arguments, check=True):
        """Exit status 0, or the run itself with check=False."""
        result = subprocess.run(
            [os.path.join(BIN, "tidalctl"), "--topology", self.topology, *arguments],
            capture_output=True, text=True, timeout=60, check=False)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def verify(self):
        """Replays all logs beside the running mesh; every node must have what the replay gives."""
        result = subprocess.run(
            [os.path.join(BIN, "tidalctl"), "--topology", self.topology, "verify", "--data",
             self.data, "--live"], capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.strip().splitlines()[-1]

    def metric(self, process, name):
        client = self.client(process)
        try:
            return client.ok("metrics")["metrics"].get(name)
        finally:
            client.close()

    def segments(self, holder, shard, origin):
        """The files of the streams of one origin region for one shard that a region holds, in the
        order of their events."""
        return sorted(glob.glob(os.path.join(self.data, holder, f"shard-{shard}", "tenants", "*",
                                             f"{origin}-*", "*.seg")))

    def quarantine(self, holder, shard, origin):
        """What was set aside of those streams, oldest first: segments and the reasons."""
        return sorted(glob.glob(os.path.join(self.data, holder, f"shard-{shard}", "tenants", "*",
                                             f"{origin}-*", "quarantine", "*")))

    def log(self, process):
        path = os.path.join(self.data, "log", process + ".log")
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            keep_logs(self)
        self.close()

    def close(self):
        for client in self.clients:
            client.close()
        self.clients = []
        try:
            if self.is_up:
                self.down()
        finally:
            # The guard finds nothing to stop, and removes the folder as well.
            if self.guard is not None:
                os.close(self.guard)
                self.guard = None
            shutil.rmtree(self.folder, ignore_errors=True)


def set_links(mesh, pairs, mode):
    """Both directions between each pair of regions."""
    proxy = mesh.client("proxy")
    for one, other in pairs:
        for source, target in ((one, other), (other, one)):
            proxy.ok("link", **{"from": source, "to": target, "mode": mode})


def apart(region):
    """The pairs that separate a region from all others."""
    return [(region, other) for other in REGIONS if other != region]


ALL_APART = [("us-east", "eu-west"), ("eu-west", "ap-south"), ("ap-south", "us-east")]


def item_led_by(mesh, tenant, region, first):
    """An item whose shard that region leads."""
    leaders = {row["shard"]: row["leader"]
               for row in mesh.gateway().ok("topology", tenant=tenant)["shards"]}
    gateway, item = mesh.gateway(), first
    while True:
        answer = gateway.until_ok("signal", tenant=tenant, signal="skip", item=item,
                                  producer="probe", seq=item)
        if leaders[answer["shard"]] == region:
            return item
        item += 1


def keep_logs(mesh):
    logs = os.path.join(mesh.data, "log")
    if os.path.isdir(logs):
        kept = tempfile.mkdtemp(prefix="tidal-mesh-logs-")
        shutil.copytree(logs, kept, dirs_exist_ok=True)
        print(f"logs of the mesh: {kept}", flush=True)


def chosen_of(tests):
    """Those that the command line names, all when it names none."""
    chosen = [test for test in tests if len(sys.argv) < 2 or test.__name__ in sys.argv[1:]]
    if not chosen:
        sys.exit(f"expected some of {' '.join(test.__name__ for test in tests)}, "
                 f"found {' '.join(sys.argv[1:])}")
    return chosen


def run_tests(tests, *arguments):
    """Prints a line for each test; returns how many failed."""
    failed = 0
    for test in tests:
        started = time.monotonic()
        try:
            note = test(*arguments)
            print(f"ok     {test.__name__} {time.monotonic() - started:.1f} s {note or ''}",
                  flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED {test.__name__} {time.monotonic() - started:.1f} s", flush=True)
            traceback.print_exc()
    return failed


def finish(tests, failed):
    print(f"{len(tests) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


def main_alone(tests):
    """Runs tests that make their own meshes (Mesh is a context manager)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = chosen_of(tests)
    finish(chosen, run_tests(chosen))


def main(tests, make=Mesh, start=True):
    """Runs the tests one after the other against one mesh; with start=False they start it. Exit
    status 1 when one failed; then the mesh's logs stay and their folder is named."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = chosen_of(tests)
    mesh = make()
    failed = len(chosen)
    try:
        if start:
            mesh.up()
        failed = run_tests(chosen, mesh)
    finally:
        if failed:
            keep_logs(mesh)
        mesh.close()
    finish(chosen, failed)
