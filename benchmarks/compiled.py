"""The command `python -m benchmarks.compiled`: what the ways to run a torch module are worth, on the benchmarks' CNN.

The module has the weights of the ONNX file, and is run as handlers run theirs with `context.prepare`: uncompiled and
compiled, in FP32 and bf16, contiguous and channels-last, with one row and with eight. One thread per operator, so that
the CPU time of the thread is all there is. All ways take turns within every round; of each, the median of the rounds.
ONNX Runtime, with one thread as well, is there to compare with.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

from backends.pytorch.optimize import Example, optimize
from backends.pytorch.options import TorchOptions
from benchmarks.models import IMAGE_SHAPE, cnn_onnx

ROWS = (1, 8)
YARDSTICK = "ONNX Runtime"
MOST_ERROR = 0.05
SECONDS = 0.2

WAYS = {
    "uncompiled": TorchOptions(),
    "channels-last": TorchOptions(channels_last=True),
    "bf16": TorchOptions(autocast="bf16"),
    "bf16, channels-last": TorchOptions(autocast="bf16", channels_last=True),
    "compiled": TorchOptions("default"),
    "compiled, channels-last": TorchOptions("default", channels_last=True),
    "compiled, bf16": TorchOptions("default", autocast="bf16"),
    "compiled, bf16, channels-last": TorchOptions("default", autocast="bf16", channels_last=True),
    "max-autotune": TorchOptions("max-autotune"),
}

Call = Callable[[], Any]


class Cnn(nn.Module):
    """As `benchmarks.models.cnn_onnx` describes it."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        kernels = [weights[name] for name in sorted(weights) if name.startswith("conv")]
        layers: list[nn.Module] = []
        for kernel, stride in zip(kernels, (2, 1, 2), strict=True):
            filters, channels = kernel.shape[:2]
            conv = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
            conv.weight.data = torch.from_numpy(kernel.copy())
            layers += [conv, nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.dense = nn.Linear(weights["dense.weight"].shape[1], weights["dense.weight"].shape[0], bias=False)
        self.dense.weight.data = torch.from_numpy(weights["dense.weight"].copy())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of images."""
        scores: torch.Tensor = self.dense(self.features(image).mean((2, 3)))
        return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. The exit status is 1 if answers do not agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="(default: 15)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        # What torch has compiled at another time would make loads look short.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = directory
        return _report(options.rounds)


def _report(rounds: int) -> int:
    file = cnn_onnx()
    weights = {
        each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(file).graph.initializer
    }
    images = np.random.default_rng(0).random((max(ROWS), *IMAGE_SHAPE[1:]), np.float32)
    session = _session(file)
    expected = np.concatenate([session.run(None, {"image": image[np.newaxis]})[0] for image in images])
    calls: dict[str, dict[int, Call]] = {YARDSTICK: {1: lambda: session.run(None, {"image": images[:1]})}}
    loads, errors = {YARDSTICK: ""}, {YARDSTICK: 0.0}
    for name, options in WAYS.items():
        started = time.perf_counter()
        called = optimize(Cnn(weights).eval().requires_grad_(False), options, device="cpu", model=name)
        called.warm_up([_example(images[:rows]) for rows in ROWS[::-1]])
        loads[name] = f"{time.perf_counter() - started:.1f}"
        answer = called(torch.from_numpy(images)).numpy()
        errors[name] = float(np.abs(answer - expected).max() / np.abs(expected).max())
        calls[name] = {rows: partial(called, torch.from_numpy(images[:rows])) for rows in ROWS}
    times = _measure(calls, rounds)
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, 1 thread, {rounds} rounds\n"
    )
    print("| | load, s | 1 row, ms CPU | | 8 rows, ms CPU | | largest error, of the largest score |")
    print("|---|---|---|---|---|---|---|")
    for name in calls:
        cells = [_cell(times[name].get(each), times["uncompiled"][each]) for each in ROWS]
        print(f"| {name} | {loads[name]} | {' | '.join(cells)} | {errors[name]:.1e} |")
    return 0 if max(errors.values()) <= MOST_ERROR else 1


def _example(images: Any) -> Example:
    return Example((torch.from_numpy(images),), {}, [frozenset({0})])


def _measure(calls: dict[str, dict[int, Call]], rounds: int) -> dict[str, dict[int, float]]:
    """CPU milliseconds of one call: by name and number of rows."""
    found: dict[str, dict[int, list[float]]] = {
        name: {rows: [] for rows in each} for name, each in calls.items()
    }
    for _ in range(rounds):
        for name, by_rows in calls.items():
            for rows, call in by_rows.items():
                found[name][rows].append(_milliseconds(call))
    return {name: {rows: statistics.median(each) for rows, each in by.items()} for name, by in found.items()}


def _milliseconds(call: Call) -> float:
    call()
    started, end, times = time.process_time(), time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        call()
        times += 1
    return (time.process_time() - started) / times * 1000


def _cell(milliseconds: float | None, uncompiled: float) -> str:
    return " | " if milliseconds is None else f"{milliseconds:.2f} | {milliseconds / uncompiled:.2f}"


def _session(file: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.exit(main())
