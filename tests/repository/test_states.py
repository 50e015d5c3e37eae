"""The states in ARCHITECTURE.md are those that the server goes by."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.repository.lifecycle.states import FIRST, TRANSITIONS, WHEN, Event, ModelState

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_diagram_is_that_of_the_table() -> None:
    command = [sys.executable, ROOT / "tools" / "generate_states.py", "--check"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_table_is_that_of_the_diagram() -> None:
    """Read from the drawing by itself, so that a drawing that leaves something out is noticed."""
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("stateDiagram-v2\n")[2].partition("```")[0]
    found = set(re.findall(r"(\S+) --> (\S+?)(?:: (\w+))?$", text, re.MULTILINE))
    drawn = {(str(state), str(following), str(event)) for (state, event), following in TRANSITIONS.items()}
    assert found == drawn | {("[*]", str(FIRST), "load"), ("UNAVAILABLE", "[*]", "")}


def test_every_state_is_reached_and_every_event_explained() -> None:
    assert {FIRST, *TRANSITIONS.values()} == set(ModelState)
    assert {event for _, event in TRANSITIONS} == set(WHEN) == set(Event)
