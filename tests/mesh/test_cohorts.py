#!/usr/bin/python3
"""Cohorts over a mesh of real processes: users put at one gateway, their signals sent through it, and
read by cohort in every region; a user who moves; stores that are lost. Replayed from the logs at the
end."""
import glob
import os
import random
import shutil

import mesh_support
from mesh_support import analytic

HALF_LIFE_S = 7 * 86400  # of view
AT_NS = 1700000000 * 10**9
ITEMS = list(range(1, 41))
LOCALES = ["EU", "US", "AP"]


class Truth:
    """What was acknowledged: cohort -> item -> times of its events. "" are all users."""

    def __init__(self):
        self.attributes = {}
        self.events = {}
        self.token = None

    def count(self, rows):
        for row in rows:
            cohorts = [f"{name}:{value}" for name, value in
                       self.attributes.get(row[2], {}).items()]
            for cohort in ["", *cohorts]:
                self.events.setdefault(cohort, {}).setdefault(row[1], []).append(row[4])

    def times(self, cohort, item):
        return self.events.get(cohort, {}).get(item, [])


def put_user(mesh, user, **attrs):
    truth = mesh.truth
    answer = mesh.gateway().until_ok("put_user", user=user, attrs=attrs, token=truth.token,
                                     producer=f"user-{user}-{len(truth.events)}", seq=1)
    truth.attributes.setdefault(user, {}).update(attrs)
    truth.token = answer["token"]


def send(mesh, region, rows, producer):
    """Each request after the users' attributes, so that the leaders know them."""
    truth = mesh.truth
    gateway = mesh.gateway(region)
    for number, start in enumerate(range(0, len(rows), 100)):
        part = rows[start:start + 100]
        truth.token = gateway.until_ok("signals", rows=part, producer=producer, seq=number,
                                       token=truth.token)["token"]
        truth.count(part)
    gateway.close()


def random_rows(seed, count, users):
    draw = random.Random(seed)
    return [["view", draw.choice(ITEMS), draw.choice(users), 1.0,
             AT_NS - draw.randrange(20 * 86400) * 10**9] for _ in range(count)]


def check(mesh):
    """Counts and scores of every cohort in every region."""
    truth = mesh.truth
    for region in mesh.regions:
        gateway = mesh.gateway(region)
        for cohort in sorted(truth.events) + ["locale:XX"]:
            fields = {"cohort": cohort} if cohort else {}
            answer = gateway.ok("cells", items=ITEMS, signals=["view"], windows=["all"], at=AT_NS,
                                token=truth.token, wait_ms=10000, **fields)
            for item, _, score, counts in answer["rows"]:
                times = truth.times(cohort, item)
                where = f"{region}, {cohort or 'all users'}, item {item}"
                assert counts == [len(times)], f"{where}: expected {len(times)}, found {counts}"
                expected = analytic([(time, 1.0) for time in times], AT_NS, HALF_LIFE_S)
                assert abs(score - expected) < 1e-6, f"{where}: expected {expected}, found {score}"
        gateway.close()


def test_signals_count_for_cohorts_in_every_region(mesh):
    """24 users in three locales and two plans, 4 without attributes; 2,000 signals through us-east."""
    for user in range(1, 25):
        put_user(mesh, user, locale=LOCALES[user % 3], plan="paid" if user % 5 == 0 else "free")
    send(mesh, "us-east", random_rows(1, 2000, list(range(0, 29))), "first")
    check(mesh)
    return f"{len(mesh.truth.events) - 1} cohorts"


def test_single_reads_and_ranking_by_cohort(mesh):
    truth = mesh.truth
    for region in mesh.regions:
        gateway = mesh.gateway(region)
        fields = {"signal": "view", "cohort": "locale:EU", "token": truth.token, "at": AT_NS}
        item = ITEMS[0]
        score = gateway.ok("score", item=item, **fields)["score"]
        expected = analytic([(time, 1.0) for time in truth.times("locale:EU", item)], AT_NS,
                            HALF_LIFE_S)
        assert abs(score - expected) < 1e-6, (region, score, expected)
        in_window = [time for time in truth.times("locale:EU", item)
                     if time >= AT_NS - 6 * 86400 * 10**9]
        count = gateway.ok("count", item=item, window="7d", **fields)["count"]
        assert len(in_window) <= count <= len(truth.times("locale:EU", item)), (count, in_window)
        velocity = gateway.ok("velocity", item=item, window="7d", **fields)["velocity"]
        assert abs(velocity - count / (7 * 86400)) < 1e-12, (velocity, count)
        assert gateway.ok("count", item=item, window="all",
                          **{**fields, "cohort": "x" * 1000})["count"] == 0
        answer = gateway.ok("retrieve", candidates=ITEMS, limit=len(ITEMS), cohort="plan:paid",
                            terms=[{"signal": "view", "agg": "count", "window": "all",
                                    "weight": 1.0}], token=truth.token)
        found = [(row["item"], row["score"]) for row in answer["items"]]
        ranked = sorted(((item, float(len(truth.times("plan:paid", item)))) for item in ITEMS),
                        key=lambda row: (-row[1], row[0]))
        assert found == ranked, (region, found[:5], ranked[:5])
        gateway.close()


def test_user_who_moves_leaves_events_where_they_are(mesh):
    """Every third user moves; signals through eu-west then count for the new locale."""
    for user in range(3, 25, 3):
        put_user(mesh, user, locale="US", device="phone")
    send(mesh, "eu-west", random_rows(2, 1000, list(range(1, 29))), "second")
    check(mesh)


def test_restart_without_one_regions_checkpoints(mesh):
    """From checkpoint and tail, and in eu-west from the logs alone: the digests of before."""
    before = mesh.await_equal(10.0)
    mesh.down()
    stores = glob.glob(os.path.join(mesh.data, "eu-west", "shard-*", "store"))
    assert len(stores) == mesh.shards, stores
    for store in stores:
        shutil.rmtree(store)
    mesh.up()
    assert mesh.await_equal(10.0) == before
    check(mesh)


def test_replay_of_all_logs_agrees(mesh):
    mesh.await_equal(10.0)
    return mesh.verify()


def make():
    mesh = mesh_support.Mesh(topology=("--set", "checkpoint.interval_ms=500"))
    mesh.truth = Truth()
    return mesh


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]
mesh_support.main(TESTS, make)
