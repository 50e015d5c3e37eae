"""A tutorial as what its reader does, step by step: files that are written, commands that are run, what they show.

A fence with `title="PATH"` is a file. One of `sh` is run as it stands, in the tutorial's directory; `pip install` is
left out, because the tests' environment has what the tutorials need. One of `python` without a title is a script. One
of `text` behind a command or a script is what it shows, where `…` stands for anything. `kserve-v2 serve …` starts a
server that lives until the next one starts, or the tutorial ends.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import RunningServer, launch

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
_SERVE = "kserve-v2 serve"
_TORCHSERVE_PORTS = {"inference": 8080, "management": 8081, "metrics": 8082}


@dataclass(frozen=True)
class Step:
    """One fence. `shows`: what stands in the fence of `text` behind it."""

    language: str
    title: str
    content: str
    shows: str


def steps_of(markdown: str) -> list[Step]:
    """The fences of a tutorial, in their order."""
    steps: list[Step] = []
    for language, title, content in _FENCE.findall(markdown):
        if language == "text" and not title:
            last = steps.pop()
            steps.append(Step(last.language, last.title, last.content, content))
        else:
            steps.append(Step(language, title, content, ""))
    return steps


def _on_free_ports(properties: str) -> str:
    """A `config.properties` whose ports the system chooses."""
    ports = "grpc_inference_port=0\ngrpc_management_port=0\n"
    return re.sub(r":80\d\d$", ":0", properties, flags=re.MULTILINE) + ports


@dataclass
class Reader:
    """Somebody who works through a tutorial in a directory of their own."""

    directory: Path
    server: RunningServer | None = field(default=None, init=False)

    def do(self, step: Step) -> None:
        """Do what a fence says. Raises AssertionError if it fails, or shows something else."""
        if step.title:
            path = self.directory / step.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_on_free_ports(step.content) if path.suffix == ".properties" else step.content)
        elif step.language == "python":
            self._shown([sys.executable, "-c", self._with_urls(step.content)], step)
        elif step.language == "sh":
            lines = step.content.replace("\\\n", " ").splitlines()
            serving = [line for line in lines if line.startswith(_SERVE)]
            others = [line for line in lines if line not in serving and not line.startswith("pip install")]
            if others:
                self._shown(["bash", "-ec", self._with_urls("\n".join(others))], step)
            for line in serving:
                self.leave()
                flags = shlex.split(line, comments=True)[2:]
                self.server = launch(self.directory, None, *flags, cwd=self.directory)

    def leave(self) -> None:
        """End the server, if there is one."""
        if self.server is not None:
            assert self.server.stop() == 0
            self.server = None

    def _shown(self, command: list[str], step: Step) -> None:
        scripts = str(Path(sys.executable).parent)
        environ = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
        if self.server is not None:
            environ["KSERVE_V2_URL"] = self.server.rest
        done = subprocess.run(
            command, cwd=self.directory, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{step.content}\n{done.stdout}{done.stderr}"
        if step.shows:
            pattern = re.escape(step.shows.strip()).replace("…", ".*?")
            shown = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
            assert re.fullmatch(pattern, shown, re.DOTALL), f"{step.content}\nshows\n{shown}"

    def _with_urls(self, text: str) -> str:
        if self.server is None:
            return text
        for name, port in _TORCHSERVE_PORTS.items():
            text = text.replace(f"http://127.0.0.1:{port}", self.server.urls.get(f"TorchServe {name}", ""))
        text = text.replace("http://127.0.0.1:8000", self.server.rest)
        return text.replace("127.0.0.1:8000", self.server.rest.removeprefix("http://")).replace(
            "127.0.0.1:8001", self.server.grpc
        )
