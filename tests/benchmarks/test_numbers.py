"""What the benchmarks make of their measurements: quantiles, targets, turns, the report and the picture."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.bench import Bench
from benchmarks.load.builtin import Builtin
from benchmarks.load.generator import Latency
from benchmarks.plot import svg
from benchmarks.report import markdown_report, text_report
from benchmarks.result import Line, Row, Spread, Target, ratio_row


def _line(server: str, per_second: float) -> Line:
    one = Spread.of([per_second])
    return Line("REST", server, "16 connections", one, one, one, None)


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ([7], (7, 7, 7)),
        (range(1, 1001), (500, 990, 999)),
        (reversed(range(1, 1001)), (500, 990, 999)),
        (range(1, 101), (50, 99, 100)),
        ([1] * 98 + [50, 60], (1, 50, 60)),
    ],
)
def test_quantiles(latencies: list[float], expected: tuple[float, float, float]) -> None:
    assert Latency.of(latencies) == Latency(*expected)


@pytest.mark.parametrize(
    ("target", "value", "met", "margin"),
    [
        (Target("at least", 0.75), 0.75, True, 1),
        (Target("at least", 0.75), 1.5, True, 2),
        (Target("at least", 0.75), 0.375, False, 0.5),
        (Target("at most", 3), 3, True, 1),
        (Target("at most", 3), 1.5, True, 2),
        (Target("at most", 3), 6, False, 0.5),
    ],
)
def test_a_target_is_met_and_by_how_much(target: Target, value: float, met: bool, margin: float) -> None:
    assert target.met(value) is met
    assert target.margin(value) == pytest.approx(margin)


def test_a_ratio_is_taken_within_each_round() -> None:
    row = ratio_row("rest", "throughput", "req/s", [(10, 20), (30, 30), (40, 10)])
    assert row.result == Spread(median=1, low=0.5, high=4)


def test_everyone_takes_turns_at_going_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seconds=1, rounds=4, rest=Builtin(), grpc=Builtin())
    order: list[str] = []

    def measure(name: str) -> str:
        order.append(name)
        return name

    found = [*bench.in_turn("test", [lambda: measure("a"), lambda: measure("b"), lambda: measure("c")])]
    assert found == [("a", "b", "c")] * 4
    assert order == [*"abc", *"bca", *"cab", *"abc"]


def test_the_report_says_what_was_missed() -> None:
    target = Target("at least", 0.75)
    rows = [
        ratio_row("rest", "good", "req/s", [(3, 4)], target),
        ratio_row("rest", "bad", "req/s", [(2, 4)], target),
        Row("rest", "not aimed at", "req/s", note="a note"),
    ]
    report = markdown_report(rows, [_line("server", 12345)], {"Machine": "a"}, "results.svg")
    assert "1 of 2 targets are met. Missed:\n\n- rest: bad\n" in report
    assert "| rest | bad | 2 req/s | 4 req/s | 0.5 x | ≥ 0.75 x | NO |" in report
    assert "| REST | server | 16 connections | 12,345 (12,345 to 12,345) |" in report
    assert "rest: not aimed at: a note" in report
    assert "rest  bad           2 req/s" in text_report(rows, [], {})


def test_the_picture_has_a_bar_for_each_server_as_long_as_its_throughput() -> None:
    picture = ElementTree.fromstring(svg([], [_line("server", 500), _line("bare protocol", 1000)]))  # noqa: S314 - our own
    background, *bars = picture.iter("{http://www.w3.org/2000/svg}rect")
    server, bare = (float(bar.attrib["width"]) for bar in bars)
    assert bare == pytest.approx(2 * server)
    assert float(background.attrib["height"]) > float(bars[-1].attrib["y"])
