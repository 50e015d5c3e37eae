"""A backend around a backend: what that would do in the server's process is done in processes of the model's own."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kserve_v2_child.channel.messages import Kind

from kserve_v2.backend import Backend, GuessesBatching, ModelConfig, ModelSource, TakesMessages
from kserve_v2.config.defaults import fill_defaults
from kserve_v2.config.isolation import isolation_of
from kserve_v2.config.printing import config_to_dict
from kserve_v2.environments.interpreter import Interpreter
from kserve_v2.isolation.devices import devices_of, environment_of, gpu_count
from kserve_v2.isolation.model import IsolatedModel, told_placement
from kserve_v2.isolation.process import GIVEN_UP, ModelProcess

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

    def start(self, model: str, devices: Sequence[int] = ()) -> ModelProcess:
        """Start a process that sees these GPUs. Raises UnavailableError."""
        return ModelProcess(model, self.python, environment_of(devices, self.environment))

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
        if isinstance(backend, TakesMessages):
            self.takes_messages = True
        self._home = home

    def gpu_count(self) -> int:
        """By the driver's files: the backend would initialize the driver, or import a framework, to know it. Where
        there are GPUs, it is asked in a process of its own whether it can use them.
        """
        there = gpu_count()
        return min(there, _usable_gpus(self._home)) if there and self._home.host == "backend" else there

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Complete the configuration in the process that the model is loaded in next."""
        devices = self._first_devices(config)
        process = self._home.start(source.name, devices)
        source.handover.put(_Held(process, devices))
        source.handover.if_given_up(partial(process.kill, GIVEN_UP))
        told = {**self._home.told(), "source": told_source(source), "config": config_to_dict(config)}
        completed = process.ask(Kind.COMPLETE, told).fields["config"]
        config.CopyFrom(json_format.ParseDict(completed, ModelConfig()))

    def load(self, source: ModelSource, config: ModelConfig) -> IsolatedModel:
        """Load the model in its first process; those of further instances are started when these are made."""
        isolation = isolation_of(config)
        devices = devices_of(source.placements[:: isolation.processes_for(len(source.placements))])
        held: _Held | None = source.handover.take()
        if held is not None and held.devices != devices:
            # It was not known what the instances would need.
            held.close()
            held = None
        if held is None:
            process = self._home.start(source.name, devices)
            source.handover.if_given_up(partial(process.kill, GIVEN_UP))
        else:
            process = held.process
        told = {**self._home.told(), "source": told_source(source), "config": config_to_dict(config)}
        rounds = config.sequence_batching.iterative_sequence
        streams = config.model_transaction_policy.decoupled and not rounds
        return IsolatedModel(process, source, told, self._home, isolation, streams=streams)

    def _first_devices(self, config: ModelConfig) -> tuple[int, ...]:
        """The GPUs of the first process, as far as the configuration tells before it is complete."""
        filled = ModelConfig()
        filled.CopyFrom(config)
        fill_defaults(filled, gpu_count=self.gpu_count())
        group = filled.instance_group[0] if filled.instance_group else None
        return (group.gpus[0],) if group is not None and group.kind == group.KIND_GPU and group.gpus else ()


# By the interpreter and the backend: it does not change.
_usable: dict[tuple[Path | None, str], int] = {}


def _usable_gpus(home: Home) -> int:
    """How many GPUs a backend can use. Raises what asking it raises."""
    key = (home.python, home.backend)
    if key not in _usable:
        process = home.start(home.backend)
        try:
            _usable[key] = process.ask(Kind.COMPLETE, {**home.told(), "describe": True}).fields["gpu_count"]
        finally:
            process.kill("is not needed")
    return _usable[key]


@dataclass(slots=True)
class _Held:
    """A process between `complete` and `load`."""

    process: ModelProcess
    devices: tuple[int, ...]

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
        "placements": [told_placement(each) for each in source.placements],
        "threads": (source.threads.intra_op, source.threads.inter_op),
        "cache_path": None if source.cache_path is None else str(source.cache_path),
        "served": source.caller is not None,
    }
