"""What is said of several processes: how busy the load generators are, and have to be."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cores import Case, Measured, generator_report
from benchmarks.load.exchange import rest_json
from benchmarks.load.generator import Latency, Load
from benchmarks.load.least import kernel_us
from benchmarks.processes import child


def measured(per_second: float, busy: float) -> Measured:
    return Measured(Load(int(per_second), 1.0, Latency(1, 1, 1), busy), 40.0)


def test_what_generators_cost_and_would_cost() -> None:
    found = {
        Case("REST", "server", 64, 1): [measured(20_000, 0.34)],
        Case("gRPC", "server", 64, 1): [measured(30_000, 0.3)],
        # These say nothing of the generator beside one process of the server.
        Case("REST", "server", 64, 2): [measured(30_000, 0.5)],
        Case("REST", "trivial", 64, 1): [measured(60_000, 0.9)],
    }
    assert list(generator_report(found, 7.0)) == [
        "To write a request over REST to a socket and to read the answer costs the kernel 7.0 µs of CPU time on the "
        "generator's side.",
        "REST, 64 connections: the generator takes 17.0 µs per request; for 1.6 times the throughput of one process it "
        "would take 0.54 CPU, 0.22 CPU at the least.",
        "gRPC, 64 connections: the generator takes 10.0 µs per request; for 1.6 times the throughput of one process it "
        "would take 0.48 CPU.",
    ]


@pytest.mark.slow
def test_the_least_is_measured_with_a_process_that_answers(tmp_path: Path) -> None:
    with child(["benchmarks.load.trivial", "rest", "200", "1"], {"REST"}, tmp_path / "log") as trivial:
        exchange = rest_json(trivial.urls["REST"], "add_sub", {"IN": np.zeros((1, 16), np.int32)})
        assert kernel_us(exchange, 4, 0.2) > 0
