"""The server's own statistics, read before and after a measurement."""

import json
import urllib.request
from dataclasses import dataclass

from benchmarks.processes import Child


@dataclass(frozen=True, slots=True)
class Counters:
    """What a model has done since it was loaded, or between two readings."""

    rows: int
    executions: int
    compute_infer_ns: int
    requests: int

    def __sub__(self, earlier: "Counters") -> "Counters":
        return Counters(
            self.rows - earlier.rows,
            self.executions - earlier.executions,
            self.compute_infer_ns - earlier.compute_infer_ns,
            self.requests - earlier.requests,
        )

    @property
    def mean_batch(self) -> float:
        """Rows of the mean executed batch."""
        return self.rows / self.executions

    @property
    def model_ms(self) -> float:
        """Time in the model of the mean request."""
        return self.compute_infer_ns / self.requests / 1e6


def read_counters(server: Child, model: str) -> Counters:
    """The statistics endpoint's numbers of one model."""
    with urllib.request.urlopen(f"{server.urls['REST']}/v2/models/{model}/stats", timeout=30) as response:
        (seen,) = json.load(response)["model_stats"]
    infer = seen["inference_stats"]["compute_infer"]
    return Counters(seen["inference_count"], seen["execution_count"], infer["ns"], infer["count"])
