"""The first minutes of somebody who is new here, done and timed: from `git clone` to an answer on the page.

    python -m tools.first_minutes            (or: make first-minutes)

All of it happens in a temporary folder, with a virtual environment of its own: a clone of this checkout, the packages,
a notebook that trains a model of scikit-learn, `kserve-v2 serve`, and a row that is pasted into the page's form in
Chromium, whose answer is compared with what scikit-learn itself says. This checkout's environment is needed for the
browser alone. Exit status: 0 if the answer is right, 1 if not.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.ui.conftest import CHROMIUM, PATIENCE_MS
from tests.ui.form import Reading, paste_a_row, read_answer

ROOT = Path(__file__).resolve().parents[1]
CLONE = f"git clone -q {shlex.quote(str(ROOT))} kserve-v2"
ENVIRONMENT = f"{shlex.quote(sys.executable)} -m venv venv"
INSTALL = "pip install -q -c kserve-v2/constraints.txt './kserve-v2[onnx]' scikit-learn skl2onnx"
TRAIN = "python kserve-v2/tests/ui/notebook.py"
# Ports that are free, whoever else is on this machine.
SERVE = "kserve-v2 serve wine.onnx --http-port 0 --grpc-port 0 --metrics-port 0"
ON_THE_PAGE = "open the page, choose the model, paste the row, Send"
TOLERANCE = 1e-4


@dataclass
class Diary:
    """What was done in a folder, and how many seconds each took."""

    folder: Path
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        print(f"  {what}", flush=True)
        start = time.monotonic()
        yield
        self.steps.append((what, time.monotonic() - start))

    def run(self, command: str) -> str:
        """Run a command, and return what it printed. Raises CalledProcessError if it fails."""
        with self.step(command):
            return subprocess.run(  # noqa: S603
                shlex.split(command),
                cwd=self.folder,
                env=self._activated(),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve until the end of the block. Yields the page's address. Raises RuntimeError if the server ends first."""
        command = shlex.split(SERVE)
        with subprocess.Popen(  # noqa: S603
            command, cwd=self.folder, env=self._activated(), stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                with self.step(SERVE):
                    page = _address(server)
                yield page
            finally:
                server.terminate()

    def table(self) -> str:
        """In Markdown."""
        rows = [f"| {_elsewhere(what)} | {taken:.1f} |" for what, taken in self.steps]
        total = sum(taken for _, taken in self.steps)
        return "\n".join(["| step | seconds |", "|---|---|", *rows, f"| all {len(rows)} | {total:.1f} |"])

    def _activated(self) -> dict[str, str]:
        """As in a shell in which the virtual environment is active."""
        scripts = self.folder / "venv" / "bin"
        return {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


def _elsewhere(step: str) -> str:
    """A step without what is so on this machine alone."""
    return step.replace(shlex.quote(str(ROOT)), "…").replace(shlex.quote(sys.executable), "python3")


def _address(server: subprocess.Popen[str]) -> str:
    for line in server.stdout or ():
        if match := re.match(r"Page\s+(http://\S+)", line):
            return match[1]
    raise RuntimeError(f"the server ended with status {server.wait()}, before it had a page")


def ask_on_the_page(address: str, row: str) -> Reading:
    """As somebody with a browser would."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        paste_a_row(page, row)
        return read_answer(page)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as folder:
        diary = Diary(Path(folder))
        for command in (CLONE, ENVIRONMENT, INSTALL):
            diary.run(command)
        trained = json.loads(diary.run(TRAIN).splitlines()[-1])
        with diary.serving() as address, diary.step(ON_THE_PAGE):
            reading = ask_on_the_page(address, trained["row"])
    apart = max(
        abs(here - there)
        for here, there in zip(reading.raw["probabilities"], trained["probabilities"], strict=True)
    )
    right = reading.label == trained["label"] and apart < TOLERANCE
    load = os.getloadavg()[1]
    print(f"\n{diary.table()}\n\n{os.cpu_count()} CPUs, load average {load:.1f} meanwhile.")
    print(
        f"Class {reading.label} on the page, {trained['label']} of scikit-learn; probabilities differ by {apart:.1e}."
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
