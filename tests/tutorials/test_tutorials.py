"""Every tutorial is worked through, as it stands there."""

from pathlib import Path

import pytest

from tests.tutorials.steps import Reader, steps_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIALS = sorted(
    [
        *DOCS.glob("tutorials/*.md"),
        *(DOCS / f"migration/{name}.md" for name in ("torchserve", "mlserver", "v1")),
    ]
)


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_it_works_as_it_stands_there(tutorial: Path, tmp_path: Path) -> None:
    steps = steps_of(tutorial.read_text())
    assert steps
    reader = Reader(tmp_path)
    try:
        for step in steps:
            reader.do(step)
    finally:
        reader.leave()
