"""The command `python -m benchmarks.resnet`: a real model, ResNet-18 in PyTorch, beside a bare loop.

On the first GPU, or where there is none, on the CPUs. The loop executes batches of 1 to 32 images that are in the
device's memory already, one after the other: more is not to be had from one stream of executions. The server gets one
image in each request, over gRPC, from as many clients, and makes batches of them itself (`dynamic_batching`): with one
instance and with two, and with two processes, where the model is at home in one. The exit status is 0 if everything was
measured.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.handlers.resnet18 import resnet18
from benchmarks.processes import run, serve

_BATCHES = (1, 4, 8, 16, 32)
_HANDLER = Path(__file__).parent / "handlers" / "resnet18.py"
_LIMIT_S = 120


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resnet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="length of one measurement (default: 3)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    options = parser.parse_args(argv)
    gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name(0) if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"ResNet-18 in torch {torch.__version__} on {where}; images per second", flush=True)
    print("| | " + " | ".join(f"batch {size}" for size in _BATCHES) + " |")
    loop = [_loop("cuda:0" if gpu else "cpu", size, options.seconds) for size in _BATCHES]
    print("| bare loop | " + " | ".join(f"{each:,.0f}" for each in loop) + " |", flush=True)
    print("| | " + " | ".join(f"{clients} clients" for clients in options.clients) + " |")
    with tempfile.TemporaryDirectory(prefix="kserve-v2-resnet-") as directory:
        for instances, processes in ((1, 1), (2, 1), (1, 2)):
            found = _server(Path(directory), instances, processes, options, gpu=gpu)
            cells = [f"{each:,.0f} ({each / max(loop):.2f} of the loop's best)" for each in found]
            print(f"| {instances} instance(s), {processes} process(es) | {' | '.join(cells)} |", flush=True)
    return 0


def _loop(device: str, size: int, seconds: float) -> float:
    network = resnet18().to(device)
    images = torch.rand(size, 3, 224, 224, device=device)

    def once() -> None:
        # The scores are wanted on the CPU: that waits for the device, too.
        network(images).cpu()

    with torch.inference_mode():
        for _ in range(3):
            once()
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            once()
            count += size
    return count / passed


def _server(
    directory: Path, instances: int, processes: int, options: argparse.Namespace, *, gpu: bool
) -> list[float]:
    """Images per second, by number of clients. Raises RuntimeError if a request fails."""
    version = directory / "models" / "resnet18" / "1"
    version.mkdir(parents=True, exist_ok=True)
    shutil.copy(_HANDLER, version / "model.py")
    kind = "KIND_GPU" if gpu else "KIND_CPU"
    config = f"instance_group {{ count: {instances} kind: {kind} }}\ndynamic_batching {{ }}\n"
    (version.parent / "config.pbtxt").write_text(config)
    flags = [f"--processes={processes}"]
    with serve(directory / "models", ["resnet18"], directory / "server.log", more_flags=flags) as server:
        command = [sys.executable, "-P", "-m", "kserve_v2", "bench", "resnet18"]
        command += ["--url", f"grpc://{server.urls['gRPC']}", "--pid", str(server.pid), "--json", "--quiet"]
        command += ["--concurrency", ",".join(map(str, options.clients)), "--max-rounds", "1"]
        command += ["--duration", f"{options.seconds:g}", "--vary", "ids"]
        results = json.loads(run(command, _LIMIT_S))["results"]
    if any(each["errors"] for each in results):
        raise RuntimeError(f"requests failed: {results}")
    return [each["requests_per_second"] for each in results]


if __name__ == "__main__":
    sys.exit(main())
