"""What every drill shares: its timeline, its figures and checks, its verdict and its report.

A drill is a function of one Drill; run() starts a mesh of its own for it, ends with the verdict as exit
status, and writes the report whatever happens."""
import json
import os
import sys
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "mesh"))

import mesh_support  # noqa: E402  pylint: disable=wrong-import-position


class Failed(Exception):
    """The drill cannot go on; its checks so far are in the report."""


class Drill:
    """Collects what a report holds. Each line that is printed stands in the timeline as well."""

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.started = time.monotonic()
        self.report = {"drill": name, "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "options": options, "load_at_start": os.getloadavg()[0], "timeline": [],
                       "figures": {}, "checks": [], "verdict": "failed"}

    def say(self, text):
        at_s = time.monotonic() - self.started
        self.report["timeline"].append({"at_s": round(at_s, 3), "what": text})
        print(f"{self.name} {at_s:7.2f} s  {text}", flush=True)

    def figure(self, name, value):
        """A measured number; the unit stands at the end of its name."""
        self.report["figures"][name] = round(value, 4) if isinstance(value, float) else value

    def check(self, holds, what, found=""):
        """One condition of the verdict. A failed one ends nothing: the others are looked at too."""
        self.report["checks"].append({"what": what, "holds": bool(holds), "found": str(found)})
        self.say(f"{'holds' if holds else 'FAILS'}: {what}{f' ({found})' if found != '' else ''}")
        return holds

    def must(self, holds, what, found=""):
        """A condition without which the rest means nothing."""
        if not self.check(holds, what, found):
            raise Failed(what)

    def is_passed(self):
        return bool(self.report["checks"]) and all(row["holds"] for row in self.report["checks"])

    def finish(self, path):
        """Prints figures and verdict, and writes the report."""
        for name, value in self.report["figures"].items():
            print(f"{self.name}           {name} {value}", flush=True)
        self.report["load_at_end"] = os.getloadavg()[0]
        self.report["took_s"] = round(time.monotonic() - self.started, 3)
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.report, file, indent=1)
            file.write("\n")
        os.replace(path + ".new", path)
        holding = sum(row["holds"] for row in self.report["checks"])
        print(f"{self.name}: {self.report['verdict'].upper()}: {holding} of "
              f"{len(self.report['checks'])} checks hold; report: {path}", flush=True)


def add_options(parser, name):
    """Those that every drill has."""
    parser.add_argument("--report", default=os.path.join(ROOT, "build", "drills", name + ".json"),
                        help="where the machine-readable report goes (default: %(default)s)")


def run(name, options, steps, make=mesh_support.Mesh):
    """steps(drill, mesh) against a mesh of its own. Returns the exit status: 0 when it passed."""
    drill = Drill(name, {key: value for key, value in vars(options).items() if key != "report"})
    try:
        with make() as mesh:
            drill.say(f"{len(mesh.regions)} regions of {mesh.shards} shards are up")
            steps(drill, mesh)
            if not drill.is_passed():
                mesh_support.keep_logs(mesh)
        drill.report["verdict"] = "passed" if drill.is_passed() else "failed"
    except Failed as failure:
        drill.say(f"ended early: {failure}")
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        drill.check(False, "the drill runs to its end", f"{type(error).__name__}: {error}"[:2000])
    drill.finish(options.report)
    return 0 if drill.report["verdict"] == "passed" else 1
