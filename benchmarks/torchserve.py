"""This server beside a real TorchServe: the same archives, the same requests to `/predictions`, in turns.

    python -m benchmarks.torchserve --torchserve .venv-torchserve/bin/torchserve [--seconds 5] [--rounds 5]
       [--write]

Needs Java, wrk and Linux; `make compare-torchserve` makes the environment. Each model is served in three ways: as both
servers do by default, a request at a time by as many workers as there are CPUs; in the same way, with handlers that
tell torch to use one thread each; and so by one worker, in batches of up to 16 requests that wait for each other for a
millisecond at most. Each server answers 20,000 requests before anything is
measured. The target is three times TorchServe's throughput at 16 connections; the exit status is 1 where it is missed.
With `--write` the table goes into TORCHSERVE.md, too; with `--seconds 2 --rounds 3` all of it takes about eight
minutes.

Beside the throughput stands the CPU time of a request, of all processes of a server together, and what of it the
handler takes by itself, with the reading of its JSON as this server does it. TorchServe's CPU time over that is the
ratio that a server would have which takes no other time at all, where the CPUs are what both lack. None that reads JSON
so can have a higher one; how far below it one has to stay, it does not tell: reading and writing a request cost
something.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kserve_v2_child.json_text import loads
from kserve_v2_child.torchserve.host import MODULES as HANDLERS
from PIL import Image

from benchmarks.load.exchange import NoAnswerError, RestExchange
from benchmarks.load.generator import Load
from benchmarks.load.wrk import Wrk
from tests.torchserve_api.both import INFERENCE, both
from tests.torchserve_api.support import mar

TARGET = 3.0
TARGET_CONNECTIONS = 16
CONNECTIONS = (1, 16)

# What each server has answered before anything is measured: Java compiles what is executed often, and is many times
# slower before. Not for longer than this, though, on a machine that others use.
WARM_UPREQUESTS = 20_000
_MOST_WARM_UP_S = 60

_LONGER = 10


@dataclass(frozen=True, slots=True)
class Way:
    """How models are served. `yaml`: what their archives say of workers; `most`: how many requests a worker then
    handles together; `one_thread`: whether handlers tell torch how many threads to use, or leave that to the server, as
    nearly all do.
    """

    yaml: str
    most: int
    one_thread: bool


WAYS = {
    "defaults": Way("{}\n", 1, one_thread=False),
    "one thread of torch": Way("{}\n", 1, one_thread=True),
    "one worker, batches": Way(
        "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 16\nmaxBatchDelay: 1\n", 16, one_thread=True
    ),
}

MLP = """
import torch

class Handler:
    def initialize(self, context):
        torch.manual_seed(0)
        layers = torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
        self.model = torch.nn.Sequential(*layers).eval()

    def handle(self, data, context):
        rows = torch.tensor([row.get("data") or row.get("body") for row in data])
        with torch.inference_mode():
            return self.model(rows).argmax(1).tolist()
"""

IMAGES = """
import io

import torch
from PIL import Image

class Handler:
    def initialize(self, context):
        torch.manual_seed(0)
        layers = torch.nn.Conv2d(3, 16, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2), torch.nn.ReLU()
        pool = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10)
        self.model = torch.nn.Sequential(*layers, *pool).eval()

    def handle(self, data, context):
        images = [Image.open(io.BytesIO(row.get("data") or row.get("body"))).resize((64, 64)) for row in data]
        rows = torch.stack([torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in images])
        pixels = rows.view(-1, 64, 64, 3).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return self.model(pixels).argmax(1).tolist()
"""


# Digits, with the layers that networks for them have in introductions, TorchServe's among them: the first image model
# that its users meet.
DIGITS = """
import io

import torch
from PIL import Image

class Handler:
    def initialize(self, context):
        torch.manual_seed(0)
        convolutions = torch.nn.Conv2d(1, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3), torch.nn.ReLU()
        dense = torch.nn.Linear(9216, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        pool = torch.nn.MaxPool2d(2), torch.nn.Flatten()
        self.model = torch.nn.Sequential(*convolutions, *pool, *dense).eval()

    def handle(self, data, context):
        images = [Image.open(io.BytesIO(row.get("data") or row.get("body"))).convert("L") for row in data]
        rows = torch.stack([torch.frombuffer(bytearray(each.tobytes()), dtype=torch.uint8) for each in images])
        pixels = (rows.view(-1, 1, 28, 28).float() / 255 - 0.1307) / 0.3081
        with torch.inference_mode():
            return self.model(pixels).argmax(1).tolist()
"""


def _picture(size: int, mode: str, form: str) -> bytes:
    written = io.BytesIO()
    Image.effect_noise((size, size), 50).convert(mode).save(written, form)
    return written.getvalue()


# What both servers bring along for images, with all that it does by default but for the loading of a file: TorchServe's
# needs torchvision.
CLASSIFIER = """
import torch
from ts.torch_handler.image_classifier import ImageClassifier

class Handler(ImageClassifier):
    def initialize(self, context):
        torch.manual_seed(0)
        layers = torch.nn.Conv2d(3, 16, 3, 4), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 4), torch.nn.ReLU()
        pool = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10)
        self.model = torch.nn.Sequential(*layers, *pool).eval()
        self.device, self.mapping, self.context = torch.device("cpu"), None, context
        self.initialized = True
"""

MODELS = {
    "MLP of 256 inputs": ("mlp", MLP),
    "digit of 28 x 28": ("digits", DIGITS),
    "image of 128 x 128": ("images", IMAGES),
    "image of 128 x 128, built-in classifier": ("classifier", CLASSIFIER),
}


def _models_of(torchserve: str) -> list[str]:
    """Those of `MODELS` that this TorchServe can serve. Whatever its environment lacks is told."""
    python = Path(torchserve).with_name("python")
    found = subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False)
    if not found.returncode:
        return list(MODELS)
    print("TorchServe's environment has no torchvision that can be imported: without its built-in classifier")
    return [model for model, (name, _) in MODELS.items() if name != "classifier"]


def _source(model: str, *, one_thread: bool) -> str:
    """That of its handler."""
    _, source = MODELS[model]
    seed = "torch.manual_seed(0)"
    return source.replace(seed, f"{seed}; torch.set_num_threads(1)") if one_thread else source


def _exchange(url: str, model: str) -> RestExchange:
    name, _ = MODELS[model]
    body, kind = REQUESTS[name]
    return RestExchange(f"{url}/predictions/{name}", body, {"Content-Type": kind})


REQUESTS = {
    "mlp": (json.dumps([0.5] * 256).encode(), "application/json"),
    "digits": (_picture(28, "L", "PNG"), "image/png"),
    "images": (_picture(128, "RGB", "JPEG"), "image/jpeg"),
}
REQUESTS["classifier"] = REQUESTS["images"]


def make_handler(model: str) -> Any:
    """The handler of one of `MODELS`, ready to handle."""
    name, _ = MODELS[model]
    if name == "classifier" and str(HANDLERS) not in sys.path:
        sys.path.append(str(HANDLERS))
    module: dict[str, Any] = {}
    exec(_source(model, one_thread=True), module)  # noqa: S102 - it stands above
    handler = module["Handler"]()
    handler.initialize(None)
    return handler


def handler_times_us(model: str, handler: Any, batch: int, runs: int = 200) -> list[float]:
    """CPU microseconds that its handler takes for each request of a batch, with what is read for it, as this server
    reads it: of each of so many runs.
    """
    body, kind = REQUESTS[MODELS[model][0]]

    def once() -> float:
        begun = time.thread_time()
        read = [loads(body) if kind == "application/json" else bytearray(body) for _ in range(batch)]
        handler.handle([{"body": each} for each in read], None)
        return (time.thread_time() - begun) / batch * 1e6

    return [once() for _ in range(runs)]


def cpu_ns(root: int) -> int:
    """CPU time of a process and those that it has started, by the scheduler's own account."""
    return sum(
        int(path.read_text().split()[0])
        for pid in _family(root)
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def _family(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, newest = {root}, {root}
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest}
        found |= newest
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one server in one round."""

    per_second: float
    cpu_us: float


Rounds = list[tuple[Seen, Seen]]


def measure(
    torchserve: str, models: Sequence[str], way: Way, seconds: int, rounds: int
) -> dict[tuple[str, int], Rounds]:
    """TorchServe and this server in each round, by model and connections."""
    found: dict[tuple[str, int], Rounds] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for model in models:
            source = _source(model, one_thread=way.one_thread)
            mar(folder / "store", MODELS[model][0], source, yaml=way.yaml)
        archives = [f"{MODELS[model][0]}.mar" for model in models]
        with both(torchserve, folder, archives, "") as sides:
            wrk = Wrk(folder)
            for each in sides:
                _warm_up(wrk, each.urls[INFERENCE])
            for number in range(rounds + 1):
                for model in models:
                    for connections in CONNECTIONS:
                        seen: dict[int, Seen] = {}
                        # They take turns at going first, and the first round only warms up the models.
                        for side in (0, 1) if number % 2 else (1, 0):
                            before = cpu_ns(sides[side].pid)
                            exchange = _exchange(sides[side].urls[INFERENCE], model)
                            load = _load(wrk, exchange, connections, seconds if number else min(seconds, 2))
                            cpu_us = (cpu_ns(sides[side].pid) - before) / load.requests / 1000
                            seen[side] = Seen(load.requests / load.seconds, cpu_us)
                        if number:
                            found.setdefault((model, connections), []).append((seen[0], seen[1]))
    return found


def _load(wrk: Wrk, exchange: RestExchange, connections: int, seconds: int) -> Load:
    """For longer if nothing is answered in that time."""
    try:
        return wrk.run(exchange, connections, seconds)
    except NoAnswerError:
        return wrk.run(exchange, connections, _LONGER * seconds)


def _warm_up(wrk: Wrk, url: str) -> None:
    """With the quickest model: what servers do is the same for all of them."""
    exchange, answered = _exchange(url, next(iter(MODELS))), 0
    until_s = time.monotonic() + _MOST_WARM_UP_S
    while answered < WARM_UPREQUESTS and time.monotonic() < until_s:
        answered += wrk.run(exchange, TARGET_CONNECTIONS, 2).requests


HEAD = """| model | served | connections | TorchServe | here | throughput, ratio | CPU, ratio | handler alone | most |
|---|---|---|---|---|---|---|---|---|"""


def line(model: str, way: str, connections: int, rounds: Rounds, handler: float) -> str:
    """One of the table; `handler`: the least of `handler_times_us`."""
    most = median(theirs.cpu_us for theirs, _ in rounds) / handler
    return f"| {model} | {way} | {connections} | {cells(rounds)} | {handler:,.0f} us | {most:.1f} |"


def cells(rounds: Rounds) -> str:
    """Both sides in a line of a table: throughput and CPU time of each, and their ratios, of which those
    above 1 are in this server's favour.
    """
    sides = [
        f"{median(each[side].per_second for each in rounds):,.0f}/s, "
        f"{median(each[side].cpu_us for each in rounds):,.0f} us"
        for side in (0, 1)
    ]
    ratios = sorted(ours.per_second / theirs.per_second for theirs, ours in rounds)
    cpu = median(theirs.cpu_us / ours.cpu_us for theirs, ours in rounds)
    return f"{sides[0]} | {sides[1]} | {median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) | {cpu:.1f}"


REPORT = Path(__file__).with_name("TORCHSERVE.md")
BEGIN = "<!-- Measured: written by python -m benchmarks.torchserve --write. -->\n"
END = "<!-- The end of what was measured. -->\n"


def written(report: str, measured: str) -> str:
    """The report with these measurements. Raises ValueError where it has no place for them."""
    before, begin, rest = report.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN.strip()!r} before {END.strip()!r}")
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--torchserve", required=True, help="the program")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"put the table into {REPORT.name}")
    arguments = parser.parse_args()
    for program in ("java", "wrk"):
        if shutil.which(program) is None:
            raise SystemExit(f"it takes {program}, which is not there")
    missed = False
    torchserve = str(Path(arguments.torchserve).absolute())
    models = _models_of(torchserve)
    cpus, load = os.cpu_count(), os.getloadavg()[0]
    how = f"`--seconds {arguments.seconds} --rounds {arguments.rounds}`, {cpus} CPUs, load {load:.1f} before"
    lines = [f"{time.strftime('%Y-%m-%d')}, {how}:", "", HEAD]
    print(*lines, sep="\n")
    for name, way in WAYS.items():
        found = measure(torchserve, models, way, arguments.seconds, arguments.rounds)
        for (model, connections), rounds in found.items():
            # One connection has one request under way.
            handler = min(handler_times_us(model, make_handler(model), min(way.most, connections)))
            lines.append(line(model, name, connections, rounds, handler))
            print(lines[-1], flush=True)
            ratio = median(ours.per_second / theirs.per_second for theirs, ours in rounds)
            missed |= connections == TARGET_CONNECTIONS and ratio < TARGET
    if arguments.write:
        # Only all of it: the rows of two runs cannot be compared.
        REPORT.write_text(written(REPORT.read_text(), "\n".join(lines) + "\n"))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
