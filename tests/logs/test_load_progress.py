"""How far the models are: the bar and the words."""

import pytest

from kserve_v2.logs.load_progress import LoadProgress, progress_bar, progress_text
from kserve_v2.logs.terminal import PLAIN


@pytest.mark.parametrize(
    ("total", "failed", "pending", "expected"),
    [
        (3, 0, ["a", "b", "c"], "0 of 3 loaded; not yet: a, b, c"),
        (3, 1, ["c"], "1 of 3 loaded, 1 failed; not yet: c"),
        (9, 0, list("abcdefg"), "2 of 9 loaded; not yet: a, b, c, d and 3 more"),
        (2, 0, [], "2 of 2 loaded"),
    ],
)
def test_in_words(total: int, failed: int, pending: list[str], expected: str) -> None:
    assert progress_text(total, failed, pending) == expected


@pytest.mark.parametrize(
    ("width", "symbols", "expected"),
    [
        (80, False, "Loading models ############............ 2 of 4, 1 failed, 7 s: slow, slower"),
        (80, True, "Loading models ████████████░░░░░░░░░░░░ 2 of 4, 1 failed, 7 s: slow, slower"),
        (60, False, "Loading models ############............ 2 of 4, 1 failed, 7"),
        (30, False, "Loading models ############.."),
    ],
)
def test_as_a_bar(width: int, symbols: bool, expected: str) -> None:
    assert progress_bar(4, 1, ["slow", "slower"], 7.3, width, symbols=symbols) == expected


def test_names_cannot_move_the_cursor() -> None:
    assert "\x1b" not in progress_bar(1, 0, ["a\x1b[2Jb"], 0, 80, symbols=False)
    assert "\x1b" not in progress_text(1, 0, ["a\x1b[2Jb"])


def test_models_are_counted() -> None:
    progress = LoadProgress(PLAIN, animated=False)
    progress.start(["a", "b", "c"])
    progress.done("a", well=True)
    progress.done("c", well=False)
    progress.stop()
    assert progress.text == "1 of 3 loaded, 1 failed; not yet: b"
