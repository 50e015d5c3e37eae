"""What is found in broken repositories, and in those that are only unwise: `findings.txt` has it word for word.

After a change, `python -m tests.checking.test_broken` writes that file anew; its diff is what has to be reviewed.
"""

import ast
import os
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from kserve_v2.checking import instead
from kserve_v2.checking.formats import as_text
from tests.checking.broken import CASES, Case
from tests.checking.support import check

GOLDEN = Path(__file__).with_name("findings.txt")
CONFIG = Path(__file__).parent.parent.parent / "kserve_v2" / "config"

# What no check comes to: a default is filled in before; it is read before it is validated; only a model that is loaded
# knows it.
UNREACHABLE = {"specifies no GPUs", "parameters['{RELEASE}']", 'is decoupled") for path in found]'}


def read_golden() -> dict[str, str]:
    sections = GOLDEN.read_text(encoding="utf-8").split("### ")[1:]
    return {name: text.strip() for name, _, text in (section.partition("\n") for section in sections)}


GOLDENS = read_golden() if GOLDEN.exists() else {}


def report(root: Path, case: Case) -> str:
    models, findings = check(root, case)
    return as_text(findings, models)


def test_every_case_has_its_findings_and_there_are_no_others() -> None:
    assert list(GOLDENS) == list(CASES)
    assert len(CASES) >= 80


@pytest.mark.parametrize("name", CASES)
def test_a_broken_repository(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(tmp_path, CASES[name]) == GOLDENS[name]


@pytest.mark.slow
def test_every_judgement_of_configurations_is_in_some_case(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For each `Problem(` in kserve_v2/config there is a case that comes to it: add one to broken.py."""
    reached: set[tuple[str, int]] = set()

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return on_line

    def on_call(frame: FrameType, _: str, __: Any) -> Any:
        return on_line if frame.f_code.co_filename.startswith(str(CONFIG)) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        for number, case in enumerate(CASES.values()):
            root = tmp_path / str(number)
            root.mkdir()
            monkeypatch.chdir(root)
            report(root, case)
    finally:
        sys.settrace(before)
    missing = []
    for path in sorted(CONFIG.glob("*.py")):
        code = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(code)):
            text = (
                (ast.get_source_segment(code, node) or "") if isinstance(node, ast.Yield | ast.Return) else ""
            )
            lines = range(node.lineno, (node.end_lineno or 0) + 1) if text else ()
            if "Problem(" in text and not any((str(path), line) in reached for line in lines):
                missing.append(f"{path.name}:{node.lineno}: {text}")
    assert [each for each in missing if not any(known in each for known in UNREACHABLE)] == []


def test_every_advice_is_given_somewhere() -> None:
    said = {line.strip() for text in GOLDENS.values() for line in text.splitlines()}
    texts = {text.format(directory="m") for _, _, text in instead._TABLE}
    assert {text for text in texts if f"write instead: {text}" not in said} == set()


def write_golden() -> None:
    sections = []
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            sections.append(f"### {name}\n{report(Path(directory), case)}\n")
            os.chdir("/")
    GOLDEN.write_text("\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    write_golden()
