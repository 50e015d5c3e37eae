"""The command `python -m benchmarks.sharing`: what the weights of a model take in several processes of one server.

A model of 500 MB of weights is in every process of a server with 1, 2 and 4 of them, which are all asked once. Written
down is the proportional share of memory (PSS) of all processes together: a page that several of them have mapped counts
once; libraries that other programs on the machine have mapped, too, count in part. Weights that are mapped from their
file take their memory once, and the system may take it back; weights that are copied take it in each process. Linux
only. The exit status is 0 if everything was measured.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.processes import Child, post, serve
from kserve_v2.bench.process_cpu import family_ticks

_SIDE = 2048
_LAYER_BYTES = _SIDE * _SIDE * 4
_EVERYWHERE = 'parameters { key: "home" value { string_value: "replicated" } }\n'
_UNPACKED = 'parameters { key: "session.disable_prepacking" value { string_value: "1" } }\n'
_ASK = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, _SIDE], "data": [1.0] * _SIDE}]}

# y = x W0 W1 ...; `LOAD` makes a list of the layers of the file FILE.
_HANDLER = f"""
import torch

class Model:
    inputs = {{"x": ("FP32", [{_SIDE}])}}
    outputs = {{"y": ("FP32", [{_SIDE}])}}
    max_batch_size = 1
    tensors = "torch"

    def load(self, context):
        path = context.path / "FILE"
        self.layers = list(LOAD.values())

    def __call__(self, inputs):
        y = inputs["x"]
        for layer in self.layers:
            y = y @ layer
        return {{"y": y}}
"""

Write = Callable[[Path, int], None]
"""Writes a version of so many layers into its folder."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of all processes together, in MiB. `anonymous`: what is in no file."""

    total: float
    anonymous: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(MODELS), metavar="MODEL", choices=list(MODELS))
    parser.add_argument("--megabytes", type=int, default=500, help="of weights (default: 500)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args(argv)
    layers = max(1, options.megabytes * 1_000_000 // _LAYER_BYTES)
    size = f"{layers * _LAYER_BYTES / 2**20:.0f} MiB"
    print(f"{size} of weights; PSS of all processes in MiB (and what of it is in no file)")
    print("model | " + " | ".join(f"{count} process(es)" for count in options.processes))
    for name in options.only:
        found = _measure(name, layers, options.processes)
        cells = [f"{each.total:.0f} ({each.anonymous:.0f})" for each in found]
        print(f"{name} | {' | '.join(cells)}", flush=True)
    return 0


def _measure(name: str, layers: int, counts: Sequence[int]) -> list[Memory]:
    write, config = MODELS[name]
    with tempfile.TemporaryDirectory(prefix="kserve-v2-sharing-") as directory:
        folder = Path(directory, "models", "large", "1")
        folder.mkdir(parents=True)
        write(folder, layers)
        (folder.parent / "config.pbtxt").write_text(config)
        return [_memory(Path(directory), count) for count in counts]


def _memory(directory: Path, processes: int) -> Memory:
    flags = [f"--processes={processes}"]
    with (
        serve(directory / "models", ["large"], directory / "server.log", more_flags=flags) as server,
        ExitStack() as stack,
    ):
        # All of them open: each process gets one.
        connections = [server.connect() for _ in range(processes)]
        for connection in connections:
            stack.callback(connection.close)
            connection.connect()
        for connection in connections:
            post(connection, "/v2/models/large/infer", _ASK)
        return memory_of(server)


def memory_of(server: Child) -> Memory:
    """That of a server with all of its processes."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in family_ticks(server.pid)]

    def mebibytes(field: str) -> float:
        sizes = (re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE) for text in texts)
        return sum(int(size[1]) for size in sizes if size) / 1024

    return Memory(mebibytes("Pss"), mebibytes("Pss_Anon"))


def _layers(count: int) -> list[Any]:
    chance = np.random.default_rng(0)
    return [chance.random((_SIDE, _SIDE), np.float32) / np.float32(_SIDE) for _ in range(count)]


def _onnx(folder: Path, count: int, *, external: bool) -> None:
    names = ["x", *(f"h{index}" for index in range(1, count)), "y"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [names[index], f"w{index}"], [names[index + 1]])
            for index in range(count)
        ],
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", _SIDE])],
        [numpy_helper.from_array(layer, f"w{index}") for index, layer in enumerate(_layers(count))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        model, folder / "model.onnx", save_as_external_data=external, location="weights.bin", size_threshold=0
    )


def _torch(folder: Path, count: int, *, load: str, safetensors: bool) -> None:
    import torch  # noqa: PLC0415 - importing it takes seconds

    layers = {f"w{index}": torch.from_numpy(layer) for index, layer in enumerate(_layers(count))}
    file = "weights.safetensors" if safetensors else "weights.pt"
    if safetensors:
        from safetensors.torch import save_file  # noqa: PLC0415

        save_file(layers, folder / file)
    else:
        torch.save(layers, folder / file)
    (folder / "model.py").write_text(_HANDLER.replace("FILE", file).replace("LOAD", load))


_SAFE = "__import__('safetensors.torch').torch.load_file(path)"

MODELS: dict[str, tuple[Write, str]] = {
    "ONNX, weights in the file": (partial(_onnx, external=False), _EVERYWHERE),
    "ONNX, external data": (partial(_onnx, external=True), _EVERYWHERE),
    "ONNX, external data, not packed": (partial(_onnx, external=True), _EVERYWHERE + _UNPACKED),
    "handler, safetensors": (partial(_torch, load=_SAFE, safetensors=True), _EVERYWHERE),
    "handler, torch.load": (partial(_torch, load="torch.load(path)", safetensors=False), _EVERYWHERE),
    "handler, torch.load(mmap=True)": (
        partial(_torch, load="torch.load(path, mmap=True)", safetensors=False),
        _EVERYWHERE,
    ),
}


if __name__ == "__main__":
    sys.exit(main())
