"""The host of Triton's Python models in a process of their own, whatever interpreter that has."""

from __future__ import annotations

import logging
from typing import Any

from ..host import Json, Source
from ..plain_host import PlainHost
from .version import TritonModel, TritonVersion

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "debug": logging.DEBUG}


class TritonHost(PlainHost):
    """Hosts one version of a model."""

    def __init__(self) -> None:
        self._version: TritonVersion | None = None

    def complete(self, source: Source, config: Json) -> Json:
        """The configuration, with what the model says filled in."""
        return self._made(source, config).complete(config)

    def load(self, source: Source, config: Json) -> TritonModel:
        """Load the model."""
        version = self._made(source, config)
        version.context.services = ChildServices(source)
        return version.load(config)

    def _made(self, source: Source, config: Json) -> TritonVersion:
        if self._version is None:
            told = {
                "name": source.name,
                "version": source.version,
                "model_path": str(source.model_path),
                "version_path": str(source.version_path),
                "filename": config.get("default_model_filename") or "model.py",
            }
            self._version = TritonVersion(told, ChildServices(source))
        return self._version


class ChildServices:
    """What the model needs of the server, which is at the other end of a channel."""

    def __init__(self, source: Source) -> None:
        self.caller = source.caller
        self.metrics: Any = getattr(source, "metrics", None)
        self.control: Any = getattr(source, "control", None)
        self._logger = logging.getLogger(f"kserve_v2.model.{source.name}")

    def log(self, level: str, text: str) -> None:
        """Write a line."""
        self._logger.log(_LEVELS[level], "%s", text)
