"""The host of models that any backend of the server runs. The only file here that knows the server: it is for children
whose interpreter has it, too.
"""

from __future__ import annotations

import importlib
from typing import Any

from google.protobuf import json_format

from kserve_v2 import errors
from kserve_v2.backend import Backend, Handover, ModelConfig, ModelSource, Placement, ThreadBudget
from kserve_v2.errors import ServingError, as_serving_error, has_text
from kserve_v2.messages import InferRequest, InferResponse, MarkedResponse, SequenceStep

from . import failures, host
from .channel.messages import Array
from .host import Json, Source


class BackendHost:
    """Hosts a model of one backend."""

    def __init__(self, backend: str) -> None:
        """`backend`: its entry point, as in `module:attribute`."""
        module, _, attribute = backend.partition(":")
        made: Any = importlib.import_module(module)
        for name in attribute.split("."):
            made = getattr(made, name)
        self._backend: Backend = made()
        self._handover = Handover()

    def describe(self) -> Json:
        """What can be said without a model."""
        return {"gpu_count": self._backend.gpu_count()}

    def complete(self, source: Source, config: Json) -> Json:
        """The configuration, with what the model's files say filled in."""
        message = _config(config)
        self._backend.complete(self._model_source(source), message)
        completed: Json = json_format.MessageToDict(message, preserving_proto_field_name=True)
        return completed

    def load(self, source: Source, config: Json) -> Any:
        """Load the model."""
        try:
            return self._backend.load(self._model_source(source), _config(config))
        finally:
            self._handover.close()

    def _model_source(self, source: Source) -> ModelSource:
        return ModelSource(
            name=source.name,
            version=source.version,
            model_path=source.model_path,
            version_path=source.version_path,
            settings=source.settings,
            placements=tuple(map(self.placement, source.placements)),
            threads=ThreadBudget(*source.threads),
            handover=self._handover,
            caller=source.caller,
            metrics=source.metrics,
            control=source.control,
            cache_path=source.cache_path,
        )

    def placement(self, placement: host.Placement) -> Placement:
        """Where an instance runs, as its models expect it."""
        return Placement(placement.name, "GPU" if placement.kind == "GPU" else "CPU", placement.device_id)

    def request(self, told: Json, inputs: dict[str, Array]) -> InferRequest:
        """A request of an execution."""
        outputs, step = told.pop("requested_outputs", ()), told.pop("sequence", None)
        told.pop("trace", None)
        sequence = None if step is None else SequenceStep(**step)
        return InferRequest(
            inputs=inputs, requested_outputs=tuple(outputs), sequence=sequence, checked=True, **told
        )

    def response(self, told: Json, outputs: dict[str, Array]) -> InferResponse:
        """The answer of another model."""
        error, final = told.pop("error", None), told.pop("final", False)
        if error is None and not final:
            return InferResponse(outputs=outputs, **told)
        return MarkedResponse(
            outputs=outputs, error=None if error is None else self.error(error), final=final, **told
        )

    def failure(self, error: BaseException) -> Json:
        """What the server is told of an error."""
        known = as_serving_error(error)
        if known is None:
            return failures.told(error)
        return failures.told(error, type(known).__name__, known.message if has_text(error) else "")

    def error(self, told: Json) -> ServingError:
        """The error that another model has failed with."""
        kind: type[ServingError] = getattr(errors, told["kind"])
        return kind(told["text"])


def _config(config: Json) -> ModelConfig:
    return json_format.ParseDict(config, ModelConfig())
