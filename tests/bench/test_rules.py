"""When it is enough, when requests are sent, and where they go: pure functions."""

from itertools import islice, pairwise

import pytest

from kserve_v2.bench.arrivals import Arrivals, times
from kserve_v2.bench.charts import Chart, Series, axis, svg
from kserve_v2.bench.errors import BenchUsageError
from kserve_v2.bench.server_side import Counters, cpu_seconds
from kserve_v2.bench.stability import RoundFigures, stable
from kserve_v2.bench.target import Protocol, Target, parse_target


@pytest.mark.parametrize(
    ("rounds", "enough"),
    [
        ([], False),
        ([(100, 5), (100, 5)], False),
        ([(100, 5), (100, 5), (100, 5)], True),
        ([(100, 5), (100, 5), (111, 5)], True),  # 7 % over the average of 103.7
        ([(100, 5), (100, 5), (120, 5)], False),  # 12.5 % over 106.7
        ([(100, 5), (100, 5), (100, 6)], False),  # the latency, by as much
        ([(10, 50), (1, 1), (100, 5), (100, 5), (100, 5)], True),  # what came before does not count
        ([(100, 5), (100, 5), (0, 0)], False),
        ([(0, 0), (0, 0), (0, 0)], False),  # no answers at all
    ],
)
def test_three_rounds_that_are_alike_are_stable(rounds: list[tuple[float, float]], enough: bool) -> None:
    assert stable([RoundFigures(*each) for each in rounds], 0.1) is enough


def test_constant_arrivals_do_not_drift() -> None:
    found = [*islice(times(Arrivals.CONSTANT, 3, seed=1), 30_001)]
    assert found[:3] == [0, 1 / 3, 2 / 3]
    assert found[30_000] == 10_000


def test_poisson_arrivals_have_the_rate_and_the_spread() -> None:
    found = [*islice(times(Arrivals.POISSON, 50, seed=4), 20_000)]
    gaps = [later - sooner for sooner, later in pairwise([0.0, *found])]
    mean = sum(gaps) / len(gaps)
    # Of an exponential distribution, mean and standard deviation are 1/rate; seeded, so these hold every time.
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(1 / 50, rel=0.03)
    assert found == [*islice(times(Arrivals.POISSON, 50, seed=4), 20_000)]
    assert found != [*islice(times(Arrivals.POISSON, 50, seed=5), 20_000)]


@pytest.mark.parametrize(
    ("text", "protocol", "expected"),
    [
        ("http://h:1", None, Target("http://h:1", Protocol.REST, "h", 1)),
        ("h:1", None, Target("http://h:1", Protocol.REST, "h", 1)),
        ("h:1", Protocol.GRPC, Target("grpc://h:1", Protocol.GRPC, "h", 1)),
        ("grpcs://h", None, Target("grpcs://h", Protocol.GRPC, "h", 443, tls=True)),
        ("https://h/triton/", None, Target("https://h/triton", Protocol.REST, "h", 443, True, "/triton")),
        ("http://[::1]:80", None, Target("http://[::1]:80", Protocol.REST, "::1", 80)),
    ],
)
def test_urls(text: str, protocol: Protocol | None, expected: Target) -> None:
    assert parse_target(text, protocol) == expected


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("ftp://h", None),
        ("http://", None),
        ("http://h:x", None),
        ("http://h:70000", None),
        ("grpc://h/path", None),
        ("http://h:1", Protocol.GRPC),
        ("http://user@h", None),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(text: str, protocol: Protocol | None) -> None:
    with pytest.raises(BenchUsageError):
        parse_target(text, protocol)


def test_the_path_of_a_model_is_quoted() -> None:
    assert parse_target("http://h").path("a/b c", "PROD") == "/v2/models/a%2Fb%20c/versions/PROD"


STATS = {
    "model_stats": [
        {
            "inference_count": 12,
            "execution_count": 5,
            "inference_stats": {"success": {"count": 10, "ns": 100}, "queue": {"count": 10, "ns": 40_000}},
            "batch_stats": [
                {"batch_size": 2, "compute_infer": {"count": 4, "ns": 1}},
                {"batch_size": 4, "compute_infer": {"count": 1, "ns": 1}},
            ],
        }
    ]
}


def test_counters_of_two_moments_give_what_happened_in_between() -> None:
    # As protobuf writes 64-bit integers in JSON, and with more of everything.
    later = {
        "model_stats": [
            {
                "inference_count": "22",
                "execution_count": "8",
                "inference_stats": {"success": {"count": "20"}, "queue": {"ns": "90000"}, "fail": {"count": "1"}},
                "batch_stats": [{"batch_size": "2", "compute_infer": {"count": "4"}},
                                {"batch_size": "4", "compute_infer": {"count": "3"}},
                                {"batch_size": "1", "compute_infer": {"count": "1"}}],
            }
        ]
    }  # fmt: skip
    before, after = Counters.of(STATS), Counters.of(later)
    found = after.since(before)
    assert found is not None
    assert (found.rows, found.executions, found.requests, found.failures) == (10, 3, 10, 1)
    assert found.batches == {1: 1, 4: 2}
    assert found.mean_batch == pytest.approx(10 / 3)
    assert found.mean_us("queue") == 5
    # A model that was loaded anew counts from 0 again: no difference means anything.
    assert before.since(after) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("process_cpu_seconds_total{} 12.5\n", 12.5),
        ('process_cpu_seconds_total{process="0"} 12.5\nprocess_cpu_seconds_total{process="1"} 2\n', 14.5),
        ("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 3\n", 3),
        ("other_process_cpu_seconds_total 3\n", None),
        ("", None),
    ],
)
def test_cpu_time_is_read_off_metrics(text: str, expected: float | None) -> None:
    assert cpu_seconds(text) == expected


@pytest.mark.parametrize(
    ("largest", "ticks"),
    [(0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (7, [0, 2, 4, 6, 8]),
     (100, [0, 20, 40, 60, 80, 100]), (1230, [0, 250, 500, 750, 1000, 1250])],
)  # fmt: skip
def test_axes_end_at_round_numbers(largest: float, ticks: list[float]) -> None:
    assert axis(largest) == pytest.approx(ticks)


def test_a_chart_of_nothing_is_one() -> None:
    assert svg(Chart("a < b", "x", "y", [Series("none", [])])).count("a &lt; b") == 2
