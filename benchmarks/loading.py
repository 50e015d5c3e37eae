"""The command `python -m benchmarks.loading`: how the time to load a model grows with the number of models.

Each model is a handler of a few lines, so that what is measured is the server's own part. For each number of models a
server loads all of them at its start, and another one loads them one by one, by requests on one connection. What counts
is the CPU time of the server, by the kernel's account (so on Linux only). The exit status is 0 if a model costs at most
1.5 times as much among the most models as among the fewest.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Child, post, serve

HANDLER = """
class Model:
    inputs = {"IN": ("INT32", [1])}
    outputs = {"OUT": ("INT32", [1])}

    def __call__(self, inputs):
        return {"OUT": inputs["IN"]}
"""

MOST_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Times:
    """Of one number of models, in milliseconds: `start` and `request` of CPU time for each, `index` as its client
    sees it.
    """

    models: int
    start: float
    request: float
    index: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[125, 250, 500, 1000], metavar="NUMBER")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken (default: 3)")
    options = parser.parse_args(argv)
    print("models | loaded at the start, CPU ms each | by request, CPU ms each | index, ms")
    found = [_best(number, options.rounds) for number in sorted(options.models)]
    fewest, most = found[0], found[-1]
    growth = max(most.start / fewest.start, most.request / fewest.request)
    print(f"growth: {growth:.2f} (at most {MOST_GROWTH})")
    return 0 if growth <= MOST_GROWTH else 1


def _best(models: int, rounds: int) -> Times:
    tried = [_measure(models) for _ in range(rounds)]
    start, request, index = (
        min(getattr(each, name) for each in tried) for name in ("start", "request", "index")
    )
    print(f"{models:6} | {start:32.2f} | {request:24.2f} | {index:9.1f}", flush=True)
    return Times(models, start, request, index)


def _measure(models: int) -> Times:
    first, *names = [f"model_{number:05}" for number in range(models + 1)]
    with tempfile.TemporaryDirectory(prefix="kserve-v2-loading-") as directory:
        repository, log_path = Path(directory, "models"), Path(directory, "server.log")
        for name in (first, *names):
            version = repository / name / "1"
            version.mkdir(parents=True)
            (version / "model.py").write_text(HANDLER)
        # The first model brings what all of them need.
        with serve(repository, [first], log_path) as server:
            empty_s = _cpu_seconds(server)
            _load_one_by_one(server, names)
            request_s = _cpu_seconds(server) - empty_s
            index_s = _index(server, models + 1)
        with serve(repository, [first, *names], log_path) as server:
            start_s = _cpu_seconds(server) - empty_s
    return Times(models, 1000 * start_s / models, 1000 * request_s / models, 1000 * index_s)


def _cpu_seconds(server: Child) -> float:
    seconds = server.cpu_seconds()
    if seconds is None:
        raise RuntimeError("there is no /proc to read CPU times from")
    return seconds


def _load_one_by_one(server: Child, names: Sequence[str]) -> None:
    connection = server.connect()
    for name in names:
        post(connection, f"/v2/repository/models/{name}/load")
    connection.close()


def _index(server: Child, models: int) -> float:
    connection = server.connect()
    began_s = time.perf_counter()
    entries = json.loads(post(connection, "/v2/repository/index"))
    took_s = time.perf_counter() - began_s
    connection.close()
    if sum(entry.get("state") == "READY" for entry in entries) != models:
        raise RuntimeError("the index does not show all models as loaded")
    return took_s


if __name__ == "__main__":
    sys.exit(main())
