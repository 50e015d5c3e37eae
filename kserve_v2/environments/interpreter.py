"""The interpreter that runs the process of a model with an environment of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One that has been tried: it runs, its version is supported, and it finds numpy.

    `python`: the executable. `origin`: where the environment comes from, for messages, such as `requirements.txt of
    model 'flowers'`. `same_version`: it was made for this server's own Python, whose packages are found behind the
    environment's; otherwise nothing of the server's is found there, but what is started by its path. `has_server`: the
    package `kserve_v2` is found. `environ`: all the variables of its processes, in place of the server's.
    """

    python: Path
    origin: str
    version: tuple[int, int, int]
    same_version: bool
    has_server: bool
    environ: Mapping[str, str] = field(repr=False)

    def require_server(self, why: str) -> None:
        """Raise InvalidArgumentError if the environment lacks the package `kserve_v2`. `why`: what needs it, such as
        `backend 'onnxruntime'`.
        """
        if not self.has_server:
            raise InvalidArgumentError(
                f"{why} runs with the package kserve-v2, which {self.origin} does not have: install it there (pip "
                "install kserve-v2), with what the backend needs"
            )
