#!/usr/bin/python3
"""A full disk under nodes and receivers: writes are refused with DISK_FULL before the log is harmed,
reads go on, writes resume when there is room, and nothing acknowledged is lost.

The disk is a small file system on a loop device, in a mount namespace of its own that ends with this
test. Needs root; without it the test is skipped."""
import os
import subprocess
import sys
import time

import mesh_support
from mesh_support import Load, Mesh, wait_until

SKIPPED = 77
MIB = 1024 * 1024
DISK_SIZE = 48 * MIB
BALLAST_SIZE = 20 * MIB
ROWS = 500
INNER = "TIDAL_TEST_DISK_FULL_INNER"


def enter_namespace():
    """Goes on as a process that may mount without anybody else seeing it."""
    if os.geteuid() != 0:
        print("skipped: expected root, to mount a small file system")
        sys.exit(SKIPPED)
    if INNER in os.environ:
        return
    probe = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                            "mount -t tmpfs none /mnt && command -v mkfs.ext4 && "
                            "test -e /dev/loop-control"], capture_output=True, text=True,
                           check=False)
    if probe.returncode != 0:
        print(f"skipped: expected to be able to mount, found: {probe.stdout}{probe.stderr}")
        sys.exit(SKIPPED)
    os.environ[INNER] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                          os.path.abspath(__file__), *sys.argv[1:]])


class SmallDisk:
    """A file system of DISK_SIZE bytes, with a ballast that can be taken away."""

    def __init__(self, image, folder):
        self.folder = folder
        self.ballast = os.path.join(folder, "ballast")
        os.makedirs(folder, exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(DISK_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, folder], check=True)
        self.grow_ballast(BALLAST_SIZE)

    def free_bytes(self):
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def grow_ballast(self, size):
        with open(self.ballast, "ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), size)

    def take_all(self):
        """Nothing is left, as if somebody else had filled the disk; again and again, since a
        process may give some back."""
        ballast = os.open(self.ballast, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        size = MIB
        while size >= 512:
            try:
                os.write(ballast, bytes(size))
            except OSError:
                size //= 2
        os.close(ballast)

    def free(self):
        os.remove(self.ballast)

    def close(self):
        subprocess.run(["umount", "--lazy", self.folder], check=False)


class Disks:
    """A mesh, and a small disk below one of its folders."""

    def __init__(self, regions, shards, place, checkpoint_ms=200):
        self.mesh = Mesh(regions, shards, ("--set", f"checkpoint.interval_ms={checkpoint_ms}"))
        self.disk = SmallDisk(os.path.join(self.mesh.folder, "image"),
                              os.path.join(self.mesh.data, place))

    def __enter__(self):
        self.mesh.up()
        return self.mesh, self.disk

    def __exit__(self, kind, *_):
        if kind is not None:
            mesh_support.keep_logs(self.mesh)
        try:
            if self.mesh.is_up:
                self.mesh.down()
        finally:
            self.disk.close()
            self.mesh.close()


def rows(number):
    return [["view", 1 + (number * 7 + i) % 50, 1 + (number * 31 + i * 17) % 100000,
             1.0 + i * 2.0**-40] for i in range(ROWS)]


def write_until_refused(gateway, truth, limit_s=40.0):
    """Returns the number of the first request that was refused with DISK_FULL."""
    deadline, number = time.monotonic() + limit_s, 0
    while time.monotonic() < deadline:
        answer = gateway.call("signals", rows=rows(number), producer="full", seq=number)
        if not answer["ok"]:
            assert answer["error"]["code"] == "DISK_FULL", answer["error"]
            return number
        for row in rows(number):
            truth[row[1]] = truth.get(row[1], 0) + 1
        number += 1
    raise AssertionError(f"{number} requests in {limit_s} s and the disk is not full")


def test_disk_full_writes_are_refused_and_resume():
    """One region with one node."""
    with Disks(1, 1, "") as (mesh, disk):
        gateway, truth = mesh.gateway(), {}
        refused = write_until_refused(gateway, truth)
        assert refused > 5
        pids = {name: fields["pid"] for name, fields in mesh.processes().items()}
        free = disk.free_bytes()
        assert free > 0, "the log was filled to the last byte"
        for _ in range(20):
            error = gateway.refused("DISK_FULL", "signals", rows=rows(refused), producer="full",
                                    seq=refused)["error"]
            assert error["retryable"], error
        mesh.check_counts(truth)
        answer = gateway.ok("retrieve", user=1, limit=10)
        assert len(answer["items"]) == 10 and not answer["stats"]["degraded"], answer["stats"]
        assert gateway.ok("health")["ready"]
        assert pids == {name: fields["pid"] for name, fields in mesh.processes().items()}
        disk.free()
        again = gateway.until_ok("signals", 15.0, rows=rows(refused), producer="full", seq=refused)
        assert not again.get("duplicate") and not again["shards"][0].get("duplicate"), again
        for row in rows(refused):
            truth[row[1]] += 1
        gateway.ok("put_item", item=5, title="room")
        mesh.check_counts(truth)
        assert pids == {name: fields["pid"] for name, fields in mesh.processes().items()}
        mesh.kill("shard-us-east-0")
        mesh.wait_ready("shard-us-east-0")
        mesh.check_counts(truth)
        return f"refused after {refused} requests with {free // 1024} KiB free"


def test_disk_full_to_the_last_byte_loses_nothing():
    """Somebody else takes all space at once: a node may end, for its log is not written on half a
    promise. Checkpoints fail meanwhile and succeed afterwards. Once there is room, all that was
    acknowledged is there. The first checkpoint is due when the disk is full already: a store that
    has written some has pages of its own to write into."""
    with Disks(1, 1, "us-east", checkpoint_ms=8000) as (mesh, disk):
        load = Load(mesh.ports["gateway-us-east"], "last-byte", row_count=100, retry_s=2.0)
        load.start()
        load.await_acknowledged(50)
        disk.take_all()
        wait_until(lambda: load.codes or load.repeated, 20.0, "a write was refused")

        def checkpoint_failed():
            disk.take_all()
            return mesh.metric("shard-us-east-0", "node_checkpoints_failed")
        wait_until(checkpoint_failed, 40.0, "a checkpoint failed")
        mesh.gateway().ok("count", signal="view", item=1, window="all")
        disk.free()
        load.await_acknowledged(50, 40.0)
        truth = load.finish()
        mesh.check_counts(truth)
        wait_until(lambda: mesh.metric("shard-us-east-0", "node_checkpoints"), 20.0,
                   "a checkpoint succeeded")
        mesh.kill("shard-us-east-0")
        mesh.wait_ready("shard-us-east-0")
        mesh.check_counts(truth)
        return f"{load.codes}, {load.repeated} requests repeated"


def test_disk_full_in_one_region_the_others_go_on():
    """Leader of one shard and receiver of the others' streams. Its own writes say DISK_FULL; those
    of other leaders miss a member and say so; local reads and `ack: local` elsewhere go on; with
    room again everything flows and all are equal."""
    with Disks(3, 3, "us-east") as (mesh, disk):
        loads = [Load(mesh.ports[f"gateway-{region}"], f"three-{region}", first_item=1 + 1000 * i,
                      row_count=200, retry_s=2.0) for i, region in enumerate(mesh.regions)]
        for load in loads:
            load.start()
        wait_until(lambda: any(load.codes.get("DISK_FULL") or load.codes.get("PARTIAL")
                               for load in loads), 60.0, "a write was refused for want of room")
        east, west = mesh.gateway("us-east"), mesh.gateway("eu-west")
        leaders = {row["shard"]: row["leader"] for row in west.ok("topology")["shards"]}
        by_leader = {}
        for item in range(500000, 500100):
            answer = west.call("signal", signal="like", item=item, ack="local", timeout_ms=3000)
            if answer["ok"]:
                by_leader[leaders[answer["shard"]]] = item
            else:
                assert answer["error"]["code"] == "DISK_FULL", answer["error"]
                by_leader["us-east"] = item
            if len(by_leader) == 3:
                break
        assert len(by_leader) == 3, by_leader
        for reader in (east, west):
            answer = reader.ok("retrieve", limit=10)
            assert len(answer["items"]) == 10, answer["stats"]
        disk.free()
        for load in loads:
            load.await_acknowledged(20, 40.0)
        truth = {}
        for load in loads:
            truth.update(load.finish())
        mesh.await_equal(30.0)
        mesh.check_counts(truth)
        codes = {}
        for load in loads:
            for code, count in load.codes.items():
                codes[code] = codes.get(code, 0) + count
        return f"{sum(truth.values())} signals; {codes}"


enter_namespace()
TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main_alone(TESTS)
