"""The path of somebody who is new here: a model from a notebook of theirs, one command, and the page answers as
scikit-learn does.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.conftest import RunningServer, launch
from tests.ui.conftest import OpenPage
from tests.ui.form import paste_a_row, read_answer

NOTEBOOK = Path(__file__).parent / "notebook.py"


@dataclass(frozen=True)
class Trained:
    """A row to try, and what scikit-learn makes of it."""

    row: str
    label: int
    probabilities: list[float]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    done = subprocess.run(
        [sys.executable, str(NOTEBOOK)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Trained(**json.loads(done.stdout.splitlines()[-1]))


def test_from_a_notebook_to_an_answer_on_the_page(
    tmp_path: Path, trained: Trained, open_page: OpenPage
) -> None:
    server: RunningServer = launch(tmp_path, None, "wine.onnx", cwd=tmp_path)
    try:
        page = open_page(server)
        expect(page.get_by_role("link", name="wine").first).to_be_visible()
        paste_a_row(page, trained.row)
        reading = read_answer(page)
    finally:
        assert server.stop() == 0
    assert max(trained.probabilities) < 0.9, "a row that a wrong model would not answer in the same way"
    assert reading.label == trained.label
    assert reading.raw["label"] == [trained.label]
    assert reading.raw["probabilities"] == pytest.approx(trained.probabilities, abs=1e-4)
    # To a tenth of a percent, the most likely one first.
    assert list(reading.shares) == sorted(range(3), key=lambda index: -trained.probabilities[index])
    assert [reading.shares[index] for index in range(3)] == pytest.approx(trained.probabilities, abs=6e-4)
