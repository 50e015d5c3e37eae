"""A badge: what a server conforms to, in one line of SVG."""

from collections import Counter
from collections.abc import Mapping
from html import escape

from kserve_v2_conformance.report.table import part_of
from kserve_v2_conformance.requirements import requirements
from kserve_v2_conformance.results import Outcome

_CHARACTER_WIDTH = 6.6
_GREEN, _RED = "#16794c", "#c0322b"


def verdict(outcomes: Mapping[str, Outcome]) -> tuple[str, bool]:
    """What stands on the badge, and whether nothing required fails."""
    broken = Counter(
        part_of(requirements()[each]) for each, what in outcomes.items() if what is Outcome.FAILED
    )
    if broken:
        return f"{broken.total()} clauses broken", False
    kept = {
        part_of(requirements()[clause]) for clause, outcome in outcomes.items() if outcome is Outcome.PASSED
    }
    extensions = len([part for part in kept if not part.startswith("core")])
    protocols = " + ".join(part.removeprefix("core ") for part in sorted(kept) if part.startswith("core"))
    return f"{protocols or 'nothing tested'}{f', {extensions} extensions' if extensions else ''}", bool(kept)


def badge(outcomes: Mapping[str, Outcome]) -> str:
    """The SVG."""
    label = "KServe v2 protocol"
    text, good = verdict(outcomes)
    left, right = (round(len(each) * _CHARACTER_WIDTH + 14) for each in (label, text))
    color = _GREEN if good else _RED
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(label)}: {escape(text)}"><rect width="{left + right}" height="20" rx="3" fill="{color}"/>'
        f'<path fill="#444" d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="7" y="14" textLength="{left - 14}">{escape(label)}</text>'
        f'<text x="{left + 7}" y="14" textLength="{right - 14}">{escape(text)}</text></g></svg>'
    )
