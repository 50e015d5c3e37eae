"""What the comparison with TorchServe writes down; its servers are not needed for that."""

import subprocess
import sys

import pytest

from benchmarks.torchserve import BEGIN, END, MODELS, REPORT, Seen, line, written
from benchmarks.torchserve_handlers import line as handlers_line


def test_measurements_replace_those_of_the_last_time_and_nothing_else() -> None:
    report = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert written(report, "new\n") == f"before\n{BEGIN}\nnew\n\n{END}\nafter\n"
    assert written(written(report, "x\n"), "new\n") == written(report, "new\n")


@pytest.mark.parametrize("report", ["", BEGIN, END, END + BEGIN])
def test_a_report_without_a_place_for_them_is_left_alone(report: str) -> None:
    with pytest.raises(ValueError, match="Measured"):
        written(report, "new\n")


def test_the_report_has_that_place() -> None:
    assert written(REPORT.read_text(), "new\n") != REPORT.read_text()


def test_a_line_has_medians_of_rounds_and_of_ratios() -> None:
    rounds = [
        (Seen(100, 900), Seen(300, 300)),
        (Seen(100, 800), Seen(200, 400)),
        (Seen(200, 700), Seen(500, 350)),
    ]
    assert line("model", "way", 16, rounds, 100.0) == (
        "| model | way | 16 | 100/s, 800 us | 300/s, 350 us | 2.5 (2.0 to 3.0) | 2.0 | 100 us | 8.0 |"
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_each_handler_that_is_measured_answers_its_request(model: str) -> None:
    # In a process of its own: the modules called `ts` belong in no other.
    code = (
        "import sys; from benchmarks.torchserve import handler_times_us, make_handler; model = sys.argv[1]; "
        "print(len(handler_times_us(model, make_handler(model), 2, 3)))"
    )
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


def test_a_line_of_handlers_has_the_median_of_all_processes() -> None:
    assert handlers_line("model", [2.0, 3.0, 9.0], [[4.0, 5.0], [6.0]]) == "| model | 2 us | 3 us | 5 us |"
