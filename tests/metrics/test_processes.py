"""Metrics of the server's own processes."""

from kserve_v2.metrics.pauses import GcPauses
from kserve_v2.metrics.processes import ProcessFigures, process_families


def lines(*processes: ProcessFigures) -> list[str]:
    text = "".join(family.text() for family in process_families(processes))
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_of_one_process_nothing_is_labelled_that_was_not() -> None:
    assert lines(ProcessFigures(None, 1.5, 0.25, 10, 100, 3)) == [
        "kserve_v2_inflight_bytes{} 10",
        "kserve_v2_inflight_bytes_limit{} 100",
        "kserve_v2_inflight_refused{} 3",
        "process_cpu_seconds_total{} 1.5",
        'kserve_v2_front_end_busy_ratio{process="0"} 0.25',
    ]


def test_of_several_sums_and_labels() -> None:
    home = ProcessFigures(0, 1.5, 0.25, 10, 100, 3, {"rest": 2})
    worker = ProcessFigures(1, 2.5, 0.75, 1, 100, 4, {"rest": 1, "grpc": 5}, restarts=2)
    assert lines(home, worker) == [
        "kserve_v2_inflight_bytes{} 11",
        "kserve_v2_inflight_bytes_limit{} 200",
        "kserve_v2_inflight_refused{} 7",
        'process_cpu_seconds_total{process="0"} 1.5',
        'process_cpu_seconds_total{process="1"} 2.5',
        'kserve_v2_front_end_busy_ratio{process="0"} 0.25',
        'kserve_v2_front_end_busy_ratio{process="1"} 0.75',
        'kserve_v2_connections{process="0",protocol="rest"} 2',
        'kserve_v2_connections{process="1",protocol="rest"} 1',
        'kserve_v2_connections{process="1",protocol="grpc"} 5',
        'kserve_v2_process_restarts{process="1"} 2',
    ]


def test_each_process_has_pauses_of_its_own() -> None:
    home = ProcessFigures(0, 1.5, 0.25, gc_pauses=GcPauses().figures())
    worker = ProcessFigures(1, 2.5, 0.75, gc_pauses=GcPauses().figures())
    counts = [line for line in lines(home, worker) if line.startswith("kserve_v2_gc_pause_seconds_count")]
    assert counts == [
        f'kserve_v2_gc_pause_seconds_count{{process="{process}",generation="{generation}"}} 0'
        for process in (0, 1)
        for generation in (0, 1, 2)
    ]
