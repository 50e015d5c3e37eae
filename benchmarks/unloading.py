"""The command `python -m benchmarks.unloading`: whether unloading a model gives its memory back.

For each backend a server loads and unloads a model of 16 MiB of weights 200 times, then loads it 1,000 times again
without an unload, as when its file has changed, and then tries 200 times to load one that is broken. The resident
memory of the server and of its models' processes is written down on the way (by the kernel's account, so on Linux
only). It is flat if the last tenth of a series is within 5 % of what there was after the first tenth. `--write` draws
all series. The exit status is 0 if all are flat.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.lines import Series, svg
from benchmarks.processes import Child, post, serve

MOST_GROWTH = 0.05
_ELEMENTS = 4 * 1024 * 1024
_PICTURE = Path(__file__).with_name("memory.svg")
# The server collects at most once a second.
_COLLECTED_S = 1.3
_ASK = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}
_CONFIG = (
    'max_batch_size: 1 input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } '
    'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } '
)
_APART = 'parameters { key: "isolation" value { string_value: "process" } } '
_HANDLER = """
import numpy as np

class Model:
    inputs = {"x": ("FP32", [1])}
    outputs = {"y": ("FP32", [1])}
    max_batch_size = 1

    def load(self, context):
        self.weights = np.ones(ELEMENTS, np.float32)
        self.itself = self

    def __call__(self, inputs):
        return {"y": inputs["x"] * self.weights[:1]}
"""


@dataclass(frozen=True, slots=True)
class Flatness:
    """Of one series of loads, in MiB, after the first tenth and over the last."""

    name: str
    first: float
    last: float

    @property
    def growth(self) -> float:
        """In parts of the first."""
        return self.last / self.first - 1

    @property
    def flat(self) -> bool:
        """Whether it is as it should be."""
        return self.growth <= MOST_GROWTH

    @classmethod
    def of(cls, name: str, points: Sequence[tuple[float, float]]) -> "Flatness":
        """`points`: loads so far, and memory."""
        tenth = max(1, len(points) // 10)
        sizes = [size for _, size in points]
        return cls(name, median(sizes[tenth : 2 * tenth] or sizes[:tenth]), median(sizes[-tenth:]))


def _onnx(folder: Path, elements: int) -> None:
    weights = np.ones(elements, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["w"], ["one"], keepdims=0),
            helper.make_node("Mul", ["x", "one"], ["y"]),
        ],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    # It is not folded: a graph's initializers may be overridden below IR version 4.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")


def _torch(folder: Path, elements: int, *, exported: bool) -> None:
    import torch  # noqa: PLC0415 - importing it takes seconds

    class Scale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.ones(elements))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weights[:1]

    if exported:
        sizes = {"x": {0: torch.export.Dim("batch", max=64)}}
        program = torch.export.export(Scale().eval(), (torch.ones(2, 1),), dynamic_shapes=sizes)
        torch.export.save(program, folder / "model.pt2")
    else:
        script: Callable[..., torch.jit.ScriptModule] = torch.jit.script
        script(Scale().eval()).save(str(folder / "model.pt"))


def _handler(folder: Path, elements: int) -> None:
    (folder / "model.py").write_text(_HANDLER.replace("ELEMENTS", str(elements)))


# By backend: who writes a model's file, and its configuration.
MODELS: dict[str, tuple[Callable[[Path, int], None], str]] = {
    "handler": (_handler, ""),
    "handler, isolated": (_handler, _APART),
    "onnx": (_onnx, _CONFIG),
    "onnx, isolated": (_onnx, _CONFIG + _APART),
    "torchscript": (partial(_torch, exported=False), _CONFIG),
    "torch.export": (partial(_torch, exported=True), _CONFIG),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unloading", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(MODELS), metavar="BACKEND", choices=list(MODELS))
    parser.add_argument(
        "--cycles", type=int, default=200, help="loads and unloads, and failing loads (default: 200)"
    )
    parser.add_argument("--reloads", type=int, default=1000, help="loads without an unload (default: 1000)")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=_PICTURE,
        metavar="FILE",
        help=f"draw it (default: {_PICTURE.name})",
    )
    options = parser.parse_args(argv)
    charts: dict[str, dict[str, list[tuple[float, float]]]] = {"cycles": {}, "reloads": {}, "failures": {}}
    found: list[Flatness] = []
    print("series | after the first tenth, MiB | over the last, MiB | growth")
    for name in options.only:
        for chart, points in _measure(name, options.cycles, options.reloads).items():
            charts[chart][name] = points
            found.append(flatness := Flatness.of(f"{name}, {chart}", points))
            print(
                f"{flatness.name:30} | {flatness.first:8.1f} | {flatness.last:8.1f} | {flatness.growth:+.1%}"
                f"{'' if flatness.flat else '  TOO MUCH'}",
                flush=True,
            )
    if options.write:
        options.write.write_text(picture(charts))
    return 0 if all(each.flat for each in found) else 1


def picture(charts: Mapping[str, Series]) -> str:
    """All series of one kind together."""
    titles = {
        "cycles": "Resident memory, loading and unloading a model of 16 MiB",
        "reloads": "Resident memory, loading it again without an unload",
        "failures": "Resident memory, failing to load it",
    }
    return svg({titles[chart]: (series, "loads", "MiB") for chart, series in charts.items()})


def write_models(repository: Path, name: str, elements: int) -> Path:
    """Two models of a backend, `good` and `broken`, with so many weights. Returns the file of the first."""
    write, config = MODELS[name]
    for model in ("good", "broken"):
        folder = repository / model / "1"
        folder.mkdir(parents=True)
        write(folder, elements)
        if config:
            (repository / model / "config.pbtxt").write_text(config)
    [file] = (repository / "good" / "1").iterdir()
    broken = repository / "broken" / "1" / file.name
    data = broken.read_bytes()
    broken.write_bytes(data + b"\nraise RuntimeError\n" if file.suffix == ".py" else data[: len(data) // 2])
    return file


def _measure(name: str, cycles: int, reloads: int) -> dict[str, list[tuple[float, float]]]:
    with tempfile.TemporaryDirectory(prefix="kserve-v2-unloading-") as directory:
        repository = Path(directory, "models")
        file = write_models(repository, name, _ELEMENTS)
        with serve(repository, ["good"], Path(directory, "server.log")) as server:
            connection = server.connect()

            def load_and_ask() -> None:
                post(connection, "/v2/repository/models/good/load")
                post(connection, "/v2/models/good/infer", _ASK)

            def cycle(_: int) -> None:
                post(connection, "/v2/repository/models/good/unload")
                load_and_ask()

            def reload(number: int) -> None:
                os.utime(file, (number, number))
                load_and_ask()

            def fail(_: int) -> None:
                post(connection, "/v2/repository/models/broken/load", expected=400)

            return {
                "cycles": _series(cycle, cycles, server),
                "reloads": _series(reload, reloads, server),
                "failures": _series(fail, cycles, server),
            }


def _series(step: Callable[[int], None], count: int, server: Child) -> list[tuple[float, float]]:
    """Memory after every fiftieth of so many steps, which are told their number."""
    every = max(1, count // 50)
    points = []
    for number in range(1, count + 1):
        step(number)
        if number % every == 0:
            time.sleep(_COLLECTED_S)
            points.append((float(number), server.memory_bytes() / 2**20))
    return points


if __name__ == "__main__":
    sys.exit(main())
