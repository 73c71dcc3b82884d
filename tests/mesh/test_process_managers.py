#!/usr/bin/python3
"""The mesh under process managers: Debian's foreman and npm's foreman (nf) start it from a Procfile that
is generated from a topology on free ports, and stop it by TERM, INT and KILL of the manager. Each
time no process remains, and what was acknowledged before is there the next time."""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import time

import mesh_support
from mesh_support import BIN, ROOT, wait_until

NF = os.path.join(ROOT, "tests", "clients", "node_modules", ".bin", "nf")
STOP_S = 15.0
PR_SET_PDEATHSIG = 1
ITEM = 4242
libc = ctypes.CDLL(None)


def processes_of(mesh):
    """pid -> command line of whatever names the mesh's data folder, but for this test."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        pid = int(path.split("/")[2])
        try:
            with open(path, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mesh.data in line and pid != os.getpid() and mesh_support.is_running(pid):
            found[pid] = line
    return found


class Manager:
    """One run of a manager, in a process group of its own. It dies with this test, and with it, by
    --die-with-parent of the Procfile's lines, the mesh."""

    def __init__(self, mesh, name, command):
        self.mesh, self.name = mesh, name
        self.output = open(os.path.join(mesh.folder, name + ".out"), "w", encoding="utf-8")
        self.process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "TIDAL_BIN": BIN, "TIDAL_DATA": mesh.data},
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))

    def await_ready(self):
        result = subprocess.run([os.path.join(BIN, "tidalctl"), "--topology", self.mesh.topology,
                                 "health", "--all", "--wait-s", "30"], capture_output=True,
                                text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr + self.said()
        assert self.process.poll() is None, self.said()

    def said(self):
        with open(self.output.name, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    def stop(self, number):
        """Ends the manager alone; returns how long the last of the mesh took. One process or more
        left is an orphan."""
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_S)
            wait_until(lambda: not processes_of(self.mesh), STOP_S, "nothing of the mesh runs")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            left = processes_of(self.mesh)
            raise AssertionError(f"{self.name}: {error}; left: {left}; {self.said()}") from None
        return time.monotonic() - started

    def clean_up(self):
        """Whatever a failed test has left, so that it harms nobody."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes_of(self.mesh):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.output.close()


def write_procfile(mesh):
    path = os.path.join(mesh.folder, "Procfile")
    with open(path, "w", encoding="utf-8") as file:
        subprocess.run([os.path.join(BIN, "tidal_procfile"), "--topology", mesh.topology],
                       stdout=file, check=True)
    return path


def starts_and_stops(mesh, name, command):
    """Three rounds on the same data; each signal is counted in the next round."""
    notes = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        manager = Manager(mesh, f"{name}-{number.name}", command)
        try:
            manager.await_ready()
            gateway = mesh.gateway("us-east")
            before = gateway.ok("count", signal="view", item=ITEM, window="all",
                                read="leader")["count"]
            gateway.ok("signal", signal="view", item=ITEM)
            assert before == mesh.written, (before, mesh.written)
            mesh.written += 1
            notes.append(f"{number.name} {manager.stop(number):.1f} s")
            refused = "".join(line for line in open(manager.output.name, encoding="utf-8",
                                                    errors="replace") if "level=fatal" in line)
            assert not refused, refused
            gateway.close()
        finally:
            manager.clean_up()
    return ", ".join(notes)


def test_foreman_starts_and_stops_without_orphans(mesh):
    foreman = shutil.which("foreman")
    assert foreman, "expected foreman, found none: run scripts/setup"
    return starts_and_stops(mesh, "foreman", [foreman, "start", "-f", write_procfile(mesh),
                                              "-d", ROOT])


def test_nf_starts_and_stops_without_orphans(mesh):
    assert os.path.exists(NF), f"expected {NF}, found none: run scripts/setup"
    return starts_and_stops(mesh, "nf", [NF, "-j", write_procfile(mesh), "start"])


def test_one_ended_process_stops_nothing(mesh):
    """Managers end everything when a child of theirs ends; the keepers see to it that none does."""
    manager = Manager(mesh, "foreman-kill", [shutil.which("foreman"), "start", "-f",
                                             write_procfile(mesh), "-d", ROOT])
    try:
        manager.await_ready()
        mesh.kill("shard-eu-west-0")
        mesh.kill("gateway-us-east")
        manager.await_ready()
        mesh.gateway("us-east").until_ok("ping")
        manager.stop(signal.SIGTERM)
    finally:
        manager.clean_up()


def make():
    mesh = mesh_support.Mesh(regions=3, shards=3)
    mesh.written = 0
    return mesh


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, make, start=False)
