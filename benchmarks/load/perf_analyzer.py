"""perf_analyzer as load generator, for REST and gRPC: Triton's own, which makes its requests itself.

It asks for the model's metadata, fills the inputs with random numbers, sends them as binary data over REST and raw
contents over gRPC, and does not check the outputs.
"""

import csv
import re
from pathlib import Path

from benchmarks.load.exchange import LoadError
from benchmarks.load.generator import Latency, Load, timed_run

_WINDOWS = 3
"""It measures so many windows, and reports all of them together."""
_TRIALS = 10
"""It goes on so long where a window was without an answer."""

_ANY_VARIATION = "1000"  # per cent: the spread over our own rounds is shown instead
_START_SECONDS = 30
_COUNT = re.compile(r"Request count: (\d+)")


class PerfAnalyzer:
    """Runs the program at `path`."""

    def __init__(self, path: Path, work_directory: Path) -> None:
        """`work_directory`: where its files may be written."""
        self._path = path
        self._report = work_directory / "perf_analyzer.csv"

    def run(self, protocol: str, address: str, model: str, connections: int, seconds: int) -> Load:
        """Load a server in a closed loop. `protocol`: REST or gRPC. `address`: host:port.

        Its threads share connections as its client library wants it: `connections` is the number of requests under
        way. Raises LoadError if it has no result.
        """
        self._report.unlink(missing_ok=True)
        command = [
            str(self._path),
            "-m",
            model,
            "-u",
            address,
            "-i",
            "http" if protocol == "REST" else "grpc",
        ]
        command += ["--concurrency-range", str(connections), "-f", str(self._report)]
        command += ["-p", str(seconds * 1000 // _WINDOWS), "-r", str(_TRIALS), "-s", _ANY_VARIATION]
        output, busy = timed_run(command, seconds * _TRIALS / _WINDOWS + _START_SECONDS)
        count = _COUNT.search(output)
        if count is None or not self._report.exists():
            raise LoadError(f"perf_analyzer: no result:\n{output}")
        with self._report.open() as report:
            (seen,) = csv.DictReader(report)
        rate = float(seen["Inferences/Second"])
        latency = Latency(float(seen["p50 latency"]), float(seen["p99 latency"]), None)
        return Load(int(count[1]), int(count[1]) / rate, latency, busy)
