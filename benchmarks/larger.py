"""The command `python -m benchmarks.larger`: all that wants a larger machine than two CPUs, in under ten minutes.

It describes the machine, then shows what 1, 2, 4, 8 and 16 processes bring (as many as there are CPUs for), for a
model that is in all of them and for one that is at home in one, and how few connections are spread; ResNet-18 beside a
bare loop, on a GPU if there is one; and has the tests with a GPU's memory run, where there is one. A step that fails,
or takes too long, does not keep the others from running. The exit status is 0 if all went well.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_MORE_CONNECTIONS_AT_MOST = 4
_ROOT = Path(__file__).resolve().parent.parent


class Step(NamedTuple):
    """`arguments`: of Python. `limit_s`: how long it may take; together they stay under ten minutes."""

    title: str
    arguments: tuple[str, ...]
    limit_s: int


def steps(cpus: int, *, gpu: bool) -> Iterator[Step]:
    """What is done on a machine with so many CPUs."""
    cores, brief = ("-m", "benchmarks.cores"), ("--seconds", "2", "--rounds", "1")
    yield Step("In all processes", (*cores, *brief), 200)
    yield Step("At home in one process", (*cores, *brief, "--single", "--protocols", "gRPC"), 120)
    few = ("--processes", str(min(cpus, _MORE_CONNECTIONS_AT_MOST)), "--connections", "1", "4", "64")
    yield Step("Few connections", (*cores, *brief, *few), 60)
    yield Step("A real model", ("-m", "benchmarks.resnet", "--seconds", "2"), 150)
    if gpu:
        yield Step("Memory of a GPU", ("-m", "pytest", "-q", "-m", "gpu", "tests/cuda"), 60)


def main(argv: Sequence[str] | None = None) -> int:
    """Do all steps. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.larger", description=__doc__)
    parser.parse_args(argv)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = _gpus()
    for line in _machine(cpus, gpus):
        print(line)
    failed = [step.title for step in steps(cpus, gpu=bool(gpus)) if not _do(step)]
    if failed:
        print(f"\nNot measured: {', '.join(failed)}")
    return 1 if failed else 0


def _do(step: Step) -> bool:
    """Run it, with what it writes; whether that went well."""
    print(f"\n## {step.title}\n", flush=True)
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *step.arguments], cwd=_ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            status = process.wait(step.limit_s)
        except subprocess.TimeoutExpired:
            # As with Ctrl-C, it ends what it has started.
            process.send_signal(signal.SIGINT)
            print(f"took longer than {step.limit_s} s", flush=True)
            return False
    print(f"\n({time.monotonic() - began:.0f} s)", flush=True)
    if status:
        print(f"`python {' '.join(step.arguments)}` ended with {status}: run it alone to see why", flush=True)
    return status == 0


def _machine(cpus: int, gpus: Sequence[str]) -> Iterator[str]:
    yield f"- {cpus} CPUs ({_cpu_name()}), {platform.system()} {platform.release()}, Python {platform.python_version()}"
    if hasattr(os, "sysconf"):
        yield f"- {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    yield f"- GPUs: {', '.join(gpus) or 'none'}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def _gpus() -> list[str]:
    """The names of NVIDIA's; empty where there is none, or no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
