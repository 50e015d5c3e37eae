"""The interpreter that runs the process of a model with an environment of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One that has been tried: it runs, its version of Python is supported, and it finds numpy.

    `python`: the executable. `origin`: where the environment comes from, for messages, such as `requirements.txt of
    model 'flowers'`. `same_version`: it was made for this server's own Python, whose packages are found behind the
    environment's; otherwise nothing of the server's is found there, but what is started by its path. `server`: the
    version of the package kserve-v2 that is found there, "" if there is none. `environ`: all the variables of its
    processes, in place of the server's.
    """

    python: Path
    origin: str
    python_version: tuple[int, int, int]
    same_version: bool
    server: str
    environ: Mapping[str, str] = field(repr=False)

    def require_server(self, why: str) -> None:
        """Raise InvalidArgumentError if the environment lacks the package kserve-v2, or has another than the server.
        `why`: what needs it, such as `backend 'onnxruntime'`.
        """
        own = version("kserve-v2")
        if self.server != own:
            has = f"has in version {self.server}" if self.server else "does not have"
            raise InvalidArgumentError(
                f"{why} runs with the package kserve-v2, which {self.origin} {has}: install version {own} "
                "there, from the wheel or the clone that this server comes from, with what the backend needs"
            )
