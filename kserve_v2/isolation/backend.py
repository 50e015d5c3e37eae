"""A backend around a backend: what that would do in the server's process is done in processes of the model's own."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kserve_v2_child.messages import Kind

from kserve_v2.backend import Backend, GuessesBatching, ModelConfig, ModelSource
from kserve_v2.config.isolation import isolation_of
from kserve_v2.config.printing import config_to_dict
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.isolation.model import IsolatedModel
from kserve_v2.isolation.process import ModelProcess

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Home:
    """Where a model's processes run, and what hosts it there. `host`: `backend` or `triton`. `backend`: the entry point
    of the former's, `module:attribute`. `python`: the interpreter, None for the server's own. `environment`: all of its
    variables, None for the server's.
    """

    host: str = "backend"
    backend: str = ""
    python: Path | None = None
    environment: Mapping[str, str] | None = None

    def within(self, interpreter: Interpreter, what: str) -> "Home":
        """The same, run by the interpreter of another environment. Raises InvalidArgumentError if that lacks what the
        host needs. `what`: how errors call what is hosted.
        """
        if self.host == "backend":
            interpreter.require_server(what)
        return replace(self, python=interpreter.python, environment=interpreter.environ)

    def start(self, model: str) -> ModelProcess:
        """Start a process. Raises UnavailableError."""
        return ModelProcess(model, self.python, self.environment)

    def told(self) -> Json:
        """What a process has to know before it can host anything."""
        fields: Json = {"host": self.host, "log_level": logging.getLogger("kserve_v2").getEffectiveLevel()}
        if self.backend:
            fields["backend"] = self.backend
        if self.python is None:
            # As it has found the server, wherever that was started.
            fields["sys_path"] = sys.path
        return fields


class IsolatedBackend:
    """One for each load of a model."""

    def __init__(self, backend: Backend, home: Home) -> None:
        """`backend`: whose models are isolated. It is asked for what can be said without their files."""
        self.default_filename = backend.default_filename
        self.platform = backend.platform
        if isinstance(backend, GuessesBatching):
            self.guesses_batching = True
        self._backend = backend
        self._home = home

    def gpu_count(self) -> int:
        """As the backend says."""
        return self._backend.gpu_count()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Complete the configuration in the process that the model is loaded in next."""
        process = self._home.start(source.name)
        source.handover.put(_Held(process))
        told = {**self._home.told(), "source": told_source(source), "config": config_to_dict(config)}
        completed = process.ask(Kind.COMPLETE, told).fields["config"]
        config.CopyFrom(json_format.ParseDict(completed, ModelConfig()))

    def load(self, source: ModelSource, config: ModelConfig) -> IsolatedModel:
        """Load the model in its first process; those of further instances are started when these are made."""
        held: _Held | None = source.handover.take()
        process = self._home.start(source.name) if held is None else held.process
        told = {**self._home.told(), "source": told_source(source), "config": config_to_dict(config)}
        rounds = config.sequence_batching.iterative_sequence
        streams = config.model_transaction_policy.decoupled and not rounds
        return IsolatedModel(process, source, told, self._home, isolation_of(config), streams=streams)


@dataclass(slots=True)
class _Held:
    """A process between `complete` and `load`."""

    process: ModelProcess

    def close(self) -> None:
        """There is no load."""
        self.process.kill("is not needed")


def told_source(source: ModelSource) -> Json:
    """What a process is told of the files of the version that it loads."""
    return {
        "name": source.name,
        "version": source.version,
        "model_path": str(source.model_path),
        "version_path": str(source.version_path),
        "settings": dict(source.settings),
        "placements": [(each.name, each.kind, each.device_id) for each in source.placements],
        "threads": (source.threads.intra_op, source.threads.inter_op),
        "cache_path": None if source.cache_path is None else str(source.cache_path),
        "served": source.caller is not None,
    }
