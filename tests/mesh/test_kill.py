#!/usr/bin/python3
"""kill -9 of each kind of process in the middle of a load, one at a time, and of all of them at once.
The load sends with (producer, seq) through all gateways and repeats what is not acknowledged. Each
time it finishes; what was acknowledged counts exactly once in every region; all digests are equal."""
import mesh_support
from mesh_support import REGIONS, Load, now_ns

LEADER, FOLLOWER, OTHER = REGIONS  # of shard 0
producers = iter(range(1000))


class Loads:
    """One load through each gateway, on items of its own."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.loads = []
        for region in mesh.regions:
            number = next(producers)
            self.loads.append(Load(mesh.ports["gateway-" + region], f"load-{number}",
                                   first_item=1 + 1000 * number))
            self.loads[-1].start()

    def go_on(self, more):
        for load in self.loads:
            load.await_acknowledged(more)

    def finish(self):
        """Checks everything that must hold. Returns a note."""
        truth = {}
        for load in self.loads:
            truth.update(load.finish())
        self.mesh.await_equal(20.0)
        self.mesh.check_counts(truth)
        answers = {}
        for load in self.loads:
            for code, count in load.codes.items():
                answers[code] = answers.get(code, 0) + count
        return (f"{sum(truth.values())} signals, {sum(load.repeated for load in self.loads)} "
                f"requests repeated, {answers or 'no error seen'}")


def survives(mesh, *victims):
    """Kills under load, waits until the keeper's next process is ready, lets the load go on."""
    loads = Loads(mesh)
    loads.go_on(20)
    for victim in victims:
        before = mesh.pid(victim)
        started = now_ns()
        mesh.kill(victim)
        mesh.wait_ready(victim)
        ready_ms = (now_ns() - started) / 1e6
        assert mesh.pid(victim) != before
        loads.go_on(20)
    return f"ready {ready_ms:.0f} ms after the kill; {loads.finish()}"


def test_kill_leader(mesh):
    return survives(mesh, f"shard-{LEADER}-0")


def test_kill_follower(mesh):
    return survives(mesh, f"shard-{FOLLOWER}-0")


def test_kill_shipper(mesh):
    return survives(mesh, f"shipper-{LEADER}")


def test_kill_receiver(mesh):
    return survives(mesh, f"receiver-{FOLLOWER}")


def test_kill_gateway(mesh):
    return survives(mesh, f"gateway-{LEADER}")


def test_kill_proxy(mesh):
    return survives(mesh, "proxy")


def test_kill_control(mesh):
    return survives(mesh, "control")


def test_kill_reconciler(mesh):
    return survives(mesh, f"reconciler-{OTHER}")


def test_kill_a_whole_region(mesh):
    """Every process of one region at the same moment."""
    loads = Loads(mesh)
    loads.go_on(20)
    victims = [process for process in mesh.processes() if FOLLOWER in process]
    assert len(victims) == mesh.shards + 4
    for victim in victims:
        mesh.kill(victim, hold=True)
    for victim in victims:
        mesh.release(victim)
    for victim in victims:
        mesh.wait_ready(victim)
    loads.go_on(20)
    return loads.finish()


def test_kill_again_while_it_starts(mesh):
    """The leader and its receiver, three times each, without waiting for either."""
    loads = Loads(mesh)
    loads.go_on(10)
    for _ in range(3):
        for victim in (f"shard-{LEADER}-0", f"receiver-{LEADER}"):
            mesh.pid(victim)
            mesh.kill(victim)
    for victim in (f"shard-{LEADER}-0", f"receiver-{LEADER}"):
        mesh.wait_ready(victim)
    loads.go_on(20)
    return loads.finish()


def test_kill_all_at_once(mesh):
    """Processes and keepers; then `mesh up` on what the disks hold."""
    loads = Loads(mesh)
    loads.go_on(20)
    mesh.kill_all()
    started = now_ns()
    mesh.up()
    ready_ms = (now_ns() - started) / 1e6
    loads.go_on(20)
    return f"ready again after {ready_ms:.0f} ms; {loads.finish()}"


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS)
