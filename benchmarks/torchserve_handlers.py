"""What the handlers of `benchmarks.torchserve` take without any server: one process by itself, and as many at a time as
there are CPUs, as servers have them.

    python -m benchmarks.torchserve_handlers [--seconds 2]

CPU microseconds for a request, reading included. What processes take from each other, caches and the way to memory, is
in a server's CPU time as well, and no server can take it off. Below that, the steps of the built-in image classifier.
"""

import argparse
import io
import multiprocessing
import os
import time
from statistics import median
from typing import Any

import torch
from kserve_v2_child.freed_memory import keep_freed_memory
from PIL import Image

from benchmarks.torchserve import MODELS, REQUESTS, handler_times_us, make_handler

_RUNS = 100
_barrier: Any = None


def _begin_with(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603 - of each process of a pool, which cannot be handed one in another way
    _barrier = barrier


def _times_us(model: str, seconds: float) -> list[float]:
    """Of one process, which keeps freed memory as those of models do."""
    keep_freed_memory(one_heap=True)
    handler = make_handler(model)
    handler_times_us(model, handler, 1, _RUNS)
    _barrier.wait()
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end:
        found += handler_times_us(model, handler, 1, _RUNS)
    return found


def _at_once(model: str, processes: int, seconds: float) -> list[list[float]]:
    spawning = multiprocessing.get_context("spawn")
    with spawning.Pool(processes, _begin_with, (spawning.Barrier(processes),)) as pool:
        return pool.starmap(_times_us, [(model, seconds)] * processes, chunksize=1)


def line(model: str, alone: list[float], together: list[list[float]]) -> str:
    """One of the table."""
    beside = median(each for times in together for each in times)
    return f"| {model} | {min(alone):,.0f} us | {median(alone):,.0f} us | {beside:,.0f} us |"


def steps_us(seconds: float) -> dict[str, float]:
    """Median CPU microseconds of each step of the built-in image classifier."""
    handler = make_handler("image of 128 x 128, built-in classifier")
    body, _ = REQUESTS["classifier"]
    times: dict[str, list[float]] = {}
    begun = 0.0

    def ended(step: str) -> None:
        nonlocal begun
        now = time.thread_time()
        times.setdefault(step, []).append((now - begun) * 1e6)
        begun = time.thread_time()

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.thread_time()
        value: Any = Image.open(io.BytesIO(body))
        value.load()
        ended("decode (Pillow)")
        for each in handler.image_processing.transforms:
            value = each(value)
            ended(type(each).__name__)
        batch = torch.stack([value])
        ended("stack")
        scores = handler.inference(batch)
        ended("inference")
        handler.postprocess(scores)
        ended("postprocess")
    return {step: median(each) for step, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2)
    seconds = parser.parse_args().seconds
    cpus = os.cpu_count() or 1
    print(f"load {os.getloadavg()[0]:.1f} before\n")
    print(
        f"| model | alone, the least | alone, the median | {cpus} at a time, the median |\n|---|---|---|---|"
    )
    for model in MODELS:
        (alone,) = _at_once(model, 1, seconds)
        print(line(model, alone, _at_once(model, cpus, seconds)), flush=True)
    print("\n| step of the built-in image classifier | median |\n|---|---|")
    keep_freed_memory(one_heap=True)
    for step, taken in steps_us(seconds).items():
        print(f"| {step} | {taken:,.0f} us |")


if __name__ == "__main__":
    main()
