"""What the comparison with TorchServe writes down; its servers are not needed for that."""

import pytest

from benchmarks.torchserve import BEGIN, END, REPORT, Seen, line, written


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
