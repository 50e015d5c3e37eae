"""A badge: the verdict on a server, in one line of SVG."""

from collections.abc import Sequence
from html import escape

from kserve_v2_conformance.verdicts import Verdict, Word, overall, share

_CHARACTER_WIDTH = 6.6
_COLORS = {Word.CONFORMS: "#16794c", Word.FAILS: "#c0322b", Word.NOT_TESTED: "#6b7280"}
_LABEL = "KServe v2 protocol"


def badge_text(verdicts: Sequence[Verdict]) -> str:
    """What stands on the badge: the verdict, on what, and the share of its clauses that were tested."""
    asked = [each for each in verdicts if each.asked]
    tested = share(sum(each.covered for each in asked), sum(each.required for each in asked))
    match overall(verdicts):
        case Word.FAILS:
            broken = sum(each.broken for each in verdicts)
            return f"fails: {broken} clause{'s' if broken > 1 else ''} broken, {tested} tested"
        case Word.NOT_TESTED:
            return f"not tested enough: {tested}"
        case _:
            core = " + ".join(
                each.part.removeprefix("core ") for each in asked if each.part.startswith("core")
            )
            extensions = sum(not each.part.startswith("core") for each in asked)
            plus = f", {extensions} extension{'s' if extensions > 1 else ''}" if extensions else ""
            return f"conforms: {core or 'no core'}{plus}, {tested} tested"


def badge(verdicts: Sequence[Verdict]) -> str:
    """The SVG."""
    text, color = badge_text(verdicts), _COLORS[overall(verdicts)]
    left, right = (round(len(each) * _CHARACTER_WIDTH + 14) for each in (_LABEL, text))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(_LABEL)}: {escape(text)}">'
        f'<rect width="{left + right}" height="20" rx="3" fill="{color}"/>'
        f'<path fill="#444" d="M3 0h{left - 3}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="7" y="14" textLength="{left - 14}">{escape(_LABEL)}</text>'
        f'<text x="{left + 7}" y="14" textLength="{right - 14}">{escape(text)}</text></g></svg>'
    )
