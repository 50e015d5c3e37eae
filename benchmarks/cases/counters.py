"""The server's own statistics, read before and after a measurement."""

import json
import urllib.request
from dataclasses import dataclass


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
        return self.rows / self.executions if self.executions else 0.0

    @property
    def model_ms(self) -> float:
        """Time in the model of the mean request."""
        return self.compute_infer_ns / self.requests / 1e6


def read_counters(url: str, model: str) -> Counters:
    """The numbers of one model by the statistics endpoint of the server at `url`."""
    with urllib.request.urlopen(f"{url}/v2/models/{model}/stats", timeout=30) as response:
        (seen,) = json.load(response)["model_stats"]
    infer = seen["inference_stats"]["compute_infer"]
    return Counters(seen["inference_count"], seen["execution_count"], infer["ns"], infer["count"])
