"""One version of a Triton Python model, in whatever process: completed, loaded, and made instances of.

Made of plain values, so that it can be made in another interpreter, with numpy alone.
"""

from __future__ import annotations

import json
import re
import traceback
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from ..answers import ModelError
from .context import ModelContext
from .importing import Importer, PathImporter
from .instances import BatchInstance, SenderInstance, StreamInstance
from .model_config import ModelConfig
from .services import Services
from .stub import NO_EXECUTE, Stub
from .utils import make_utils

CLASS = "TritonPythonModel"


@dataclass(frozen=True)
class TritonSource:
    """Where a model is. `model_path`: as the repository was given, relative if it was. `filename`: of its Python file
    in the version's directory.
    """

    name: str
    version: int
    model_path: str
    version_path: str
    filename: str = "model.py"

    @property
    def file(self) -> Path:
        """Its Python file."""
        return Path(self.version_path) / self.filename


class TritonVersion:
    """One version of a model: completed, loaded, or both, in this process."""

    def __init__(
        self, source: Mapping[str, Any], services: Services, importer: Importer | None = None
    ) -> None:
        """`source`: the fields of a `TritonSource`. `importer`: for a process that is not the model's alone."""
        self.source = TritonSource(**source)
        self._context = ModelContext(self.source.version_path, services)
        self._utils = make_utils(self._context)
        self._importer = importer or PathImporter(
            Path(self.source.model_path), Path(self.source.version_path), self.source.filename
        )
        self._class: Any = None

    def complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration, as `auto_complete_config` leaves it. Raises ModelError."""
        model = self._model_class()
        completed: dict[str, Any] = json.loads(json.dumps(config))
        if not hasattr(model, "auto_complete_config"):
            return completed
        try:
            with self._context.life_cycle(self.source.name):
                returned = model.auto_complete_config(ModelConfig(completed))
        except BaseException as error:
            raise self.load_error(error) from error
        if not isinstance(returned, ModelConfig):
            name = self.source.name
            raise ModelError(
                f"auto_complete_config function in model '{name}' must return a valid pb.ModelConfig object."
            )
        return returned.as_dict()

    def load(self, config: Mapping[str, Any]) -> TritonModel:
        """The model, of a configuration that is complete. Raises ModelError."""
        return TritonModel(self, self._model_class(), config)

    def close(self) -> None:
        """Forget what was imported."""
        self._class = None
        self._importer.close()

    @property
    def context(self) -> ModelContext:
        """What its functions work for."""
        return self._context

    @property
    def request_class(self) -> Any:
        """The class of its requests."""
        return self._utils.InferenceRequest

    @property
    def importer(self) -> Importer:
        """What has imported its file."""
        return self._importer

    def _model_class(self) -> Any:
        if self._class is None:
            try:
                with self._context.life_cycle(self.source.name):
                    module = self._importer.load(self._utils)
            except BaseException as error:
                raise self.load_error(error) from error
            found = getattr(module, CLASS, None)
            if not isinstance(found, type):
                name = f"{self.source.version}.{self.source.file.stem}"
                raise ModelError(f"AttributeError: module '{name}' has no attribute '{CLASS}'")
            if found.__module__ == module.__name__ and self._lacks_execute(found):
                raise ModelError(NO_EXECUTE.format(self.source.filename))
            self._class = found
        return self._class

    def _lacks_execute(self, found: type) -> bool:
        """Whether no object of a class can have the method: it is not there, inherited neither, and no code of the file
        puts it there, as that would have the word.
        """
        if hasattr(found, "execute") or found.__bases__ != (object,) or hasattr(found, "__getattr__"):
            return False
        text = self.source.file.read_text(encoding="utf-8", errors="replace")
        return re.search(r"\bexecute\b", text) is None

    def load_error(self, error: BaseException) -> ModelError:
        """What is told of an exception in the model's code while it is loaded: file and line, type and text."""
        if isinstance(error, ModelError):
            return error
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return ModelError(f"{self._place(error)}: {type(error).__name__}: {text}".rstrip(": "))

    def _place(self, error: BaseException) -> str:
        if isinstance(error, SyntaxError) and error.filename:
            return f"{Path(error.filename).name}, line {error.lineno}"
        # Either may be relative, as the repository was given.
        directory = Path(self.source.model_path).absolute()
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if directory in Path(frame.filename).absolute().parents]
        return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else self.source.filename


Instance = Union[BatchInstance, SenderInstance, StreamInstance]


class TritonModel:
    """A loaded version."""

    separates_requests: Literal[True] = True

    def __init__(self, owner: TritonVersion, model_class: Any, config: Mapping[str, Any]) -> None:
        self._owner = owner
        self._class = model_class
        self._config = visible(config)
        self._outputs = frozenset(output["name"] for output in self._config.get("output", ()))
        self._hidden = frozenset(output["name"] for output in config.get("output", ())) - self._outputs
        policy = config.get("model_transaction_policy") or {}
        batching = config.get("sequence_batching") or {}
        self._rounds = bool(batching.get("iterative_sequence"))
        self._stubs: weakref.WeakSet[Stub] = weakref.WeakSet()
        self.reports_readiness = hasattr(model_class, "is_ready")
        self._streams = bool(policy.get("decoupled")) and not self._rounds

    def instance(self, placement: Any) -> Instance:
        """Make and initialize one. `placement`: its `name`, `kind` and `device_id`. Raises ModelError."""
        stub = Stub(
            self._owner.context,
            self._class,
            self._owner.request_class,
            self._owner.importer,
            placement.name,
            self._outputs | self._hidden,
            self._hidden,
            self._owner.source.file,
            rounds=self._rounds,
        )
        self._stubs.add(stub)
        kind: Any = BatchInstance
        if self._streams:
            kind = StreamInstance
        elif not self._rounds and "get_response_sender" in self._owner.source.file.read_text(
            encoding="utf-8", errors="replace"
        ):
            kind = SenderInstance
        try:
            made: Instance = kind(stub, self._arguments(placement))
        except BaseException as error:
            raise self._owner.load_error(error) from error
        return made

    def is_ready(self) -> bool:
        """Whether all of its instances say that they are. From any thread."""
        return all(stub.is_ready() for stub in list(self._stubs))

    def close(self) -> None:
        """Forget it."""
        self._class = None
        self._owner.close()

    def _arguments(self, placement: Any) -> dict[str, str]:
        source = self._owner.source
        return {
            "model_config": json.dumps(self._config),
            "model_instance_kind": placement.kind,
            "model_instance_name": placement.name,
            "model_instance_device_id": str(placement.device_id),
            "model_repository": source.model_path,
            "model_version": str(source.version),
            "model_name": source.name,
        }


def visible(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as clients see it: without the tensors that the server adds behind the model's own, such as
    controls and states of sequences.
    """
    batching = config.get("sequence_batching") or {}
    states = batching.get("state", ())
    made = {
        "input": {each["name"] for each in batching.get("control_input", ())}
        | {state["input_name"] for state in states}
        | {name for each in config.get("batch_input", ()) for name in each.get("target_name", ())},
        "output": {state["output_name"] for state in states},
    }
    shown = dict(config)
    for kind, names in made.items():
        tensors = list(config.get(kind, ()))
        while len(tensors) > 1 and tensors[-1]["name"] in names:
            tensors.pop()
        shown[kind] = tensors
    return shown
