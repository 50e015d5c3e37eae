"""The documents: what they link to is there, and the reference says what the code says."""

import re
from pathlib import Path

import pytest

from kserve_v2.config.support import FIELDS, OWN_PARAMETERS
from tools.reference.field_texts import PARAMETERS, TEXTS
from tools.reference.pages import PAGES

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "conformance/*.md", "model_repository/*.md")
    for path in ROOT.glob(pattern)
)
CODE = re.compile(r"^( *)(```+).*?^\1\2 *$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The headings of a document as GitHub and MkDocs make anchors of them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target, anchor in re.findall(
        r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", CODE.sub("", document.read_text())
    ):
        other = document.parent / target if target else document
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_that_of_the_code(name: str) -> None:
    assert (ROOT / "docs" / "reference" / f"{name}.md").read_text() == PAGES[name](), (
        "run `python tools/generate_reference.py`"
    )


def test_each_field_has_a_text() -> None:
    assert TEXTS.keys() == FIELDS.keys()
    assert PARAMETERS.keys() == OWN_PARAMETERS
