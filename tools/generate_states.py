"""Draws the states of a version, from the table that the server goes by, into ARCHITECTURE.md.

python tools/generate_states.py [--check]
"""

import argparse
import sys
from pathlib import Path

from kserve_v2.repository.lifecycle.states import FIRST, TRANSITIONS, WHEN

DOCUMENT = Path(__file__).resolve().parent.parent / "ARCHITECTURE.md"
BEGIN = "<!-- The states: made by tools/generate_states.py. -->\n"
END = "<!-- The end of the states. -->\n"


def drawn() -> str:
    """The states as a diagram, and as a table that says when each event is."""
    arrows = [f"    {state} --> {following}: {event}" for (state, event), following in TRANSITIONS.items()]
    ends = sorted(set(TRANSITIONS.values()) - {state for state, _ in TRANSITIONS})
    diagram = [
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {FIRST}: load",
        *arrows,
        *(f"    {end} --> [*]" for end in ends),
        "```",
    ]
    rows = [
        f"| {state} | {event} | {following} | {WHEN[event]} |"
        for (state, event), following in TRANSITIONS.items()
    ]
    table = ["| state | event | next | when |", "|---|---|---|---|", *rows]
    return "\n".join([*diagram, "", *table, ""])


def with_states(document: str) -> str:
    """The document with the states as they are now. Raises ValueError where it has no place for them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("there are no lines between which the states belong")
    return f"{before}{begin}\n{drawn()}\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the states of a version into ARCHITECTURE.md.")
    parser.add_argument("--check", action="store_true", help="exit 1 if what is there is stale")
    check = parser.parse_args().check
    document = DOCUMENT.read_text()
    current = with_states(document)
    if not check:
        DOCUMENT.write_text(current)
        return 0
    if document != current:
        print("stale states in ARCHITECTURE.md; run `python tools/generate_states.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
