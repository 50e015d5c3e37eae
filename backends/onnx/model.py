"""A model version in ONNX Runtime: a session for each device that has instances, which these share."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError, ServingError, without_directories
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BF16, BY_CONFIG_ENUM, BYTES, Array, Datatype

from ..completion import raise_contradictions
from .bound import BoundRuns
from .classifiers import maps_to_array
from .external_data import find_external_data
from .metadata import contradictions, read_graph
from .options import ACCEPT_EMPTY_INPUTS, read_options
from .session import inference_session, run_options, warn_of_unused_accelerators
from .structure import OnnxStructure, read_structure
from .tensors import decode_strings, encode_strings, from_ort_value, to_ort_value

Convert = Callable[[Array], Any]


def load_model(source: ModelSource, config: ModelConfig, file: Path) -> "OnnxModel":
    """Make one session for each device that has instances. Raises InvalidArgumentError."""
    warn_of_unused_accelerators(config, source.placements)
    structure = read_structure(file)
    elsewhere = find_external_data(source, file, structure.external_locations)
    instances = Counter(placement.device for placement in source.placements)
    placements = {placement.device: placement for placement in source.placements}
    sessions = {
        device: inference_session(file, config, placement, instances[device], source.threads, elsewhere)
        for device, placement in placements.items()
    }
    for session in sessions.values():
        graph = read_graph(session, structure)
        raise_contradictions(source.name, contradictions(config, graph, file.name))
    files = [file, *(elsewhere.get(name, file.parent / name) for name in structure.external_locations)]
    return OnnxModel(sessions, config, structure, sum(each.stat().st_size for each in files))


class OnnxModel:
    """The sessions of one model version, by device. `output_labels`: those of outputs whose classes the file lists."""

    adds_instances: Literal[True] = True

    def __init__(
        self,
        sessions: dict[str, ort.InferenceSession],
        config: ModelConfig,
        structure: OnnxStructure,
        file_bytes: int = 0,
    ) -> None:
        """`file_bytes`: of the file and its external data, which are almost all weights."""
        self._file_bytes = file_bytes
        self._sessions = sessions
        self._config = config
        self._structure = structure
        classes = structure.classes
        names = [output.name for output in config.output if output.name in classes]
        self.output_labels = {name: tuple(map(str, classes[name])) for name in names}

    def instance(self, placement: Placement) -> Instance:
        """An instance that runs the session of its device."""
        # How long a loop or a range is may be the client's choice: such a model is never executed on the event loop's
        # thread.
        structure = self._structure
        stays = placement.kind == "GPU" or structure.has_control_flow or structure.sized_by_values
        kind = OnnxInstance if stays else OnnxCpuInstance
        return kind(self._sessions[placement.device], self._config, structure)

    def memory(self) -> Mapping[str, int]:
        """Its weights, once in each session."""
        return dict.fromkeys(tuple(self._sessions), self._file_bytes)

    def close(self) -> None:
        """Drop the sessions, and with them weights, arenas and threads."""
        self._sessions.clear()


class OnnxInstance:
    """Runs a session and converts what its Python interface does not take or give as the server wants it."""

    # A session allocates each output anew, also where the graph only hands an input or a constant on.
    fresh_outputs: Literal[True] = True

    def __init__(self, session: ort.InferenceSession, config: ModelConfig, structure: OnnxStructure) -> None:
        self._session = session
        self._refuses_empty = structure.recurrent and not read_options(config).accepts_empty_inputs
        self._run_options = run_options(config)
        self._outputs = [output.name for output in config.output]
        scalars = _scalars(session, config)
        self._encode = _conversions(_encode, config.input, scalars)
        maps = {name: classes for name, classes in structure.classes.items() if name in self._outputs}
        self._decode = _conversions(_decode, config.output, scalars) | {
            name: functools.partial(maps_to_array, name, classes) for name, classes in maps.items()
        }
        bf16 = [output.name for output in config.output if BY_CONFIG_ENUM[output.data_type] is BF16]
        strings = [tensor.name for tensor in config.input if BY_CONFIG_ENUM[tensor.data_type] is BYTES]
        unwilling = [
            *(f"input '{name}' of strings" for name in strings),
            *(f"output '{name}' of maps" for name in maps),
        ]
        if bf16 and unwilling:
            raise InvalidArgumentError(
                f"onnxruntime's Python interface cannot combine {unwilling[0]} with output '{bf16[0]}' of BF16"
            )
        self._run = self._run_values if bf16 else self._run_arrays
        # Without the wrapper, which checks the names of the inputs once more: for a small model that takes as long as
        # a fifth of its execution.
        self._run_session = getattr(session, "_sess", session).run

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Run the session. Only the outputs that the configuration names are computed."""
        if self._refuses_empty:
            _refuse_empty(tensors)
        feed: Mapping[str, Any] = tensors
        if self._encode:
            feed = {
                name: self._encode[name](array) if name in self._encode else array
                for name, array in tensors.items()
            }
        outputs = dict(zip(self._outputs, self._run(feed), strict=True))
        for name, decode in self._decode.items():
            outputs[name] = decode(outputs[name])
        return outputs

    def close(self) -> None:
        """Let go of the session."""
        del self._session, self._run, self._run_session

    def _run_arrays(self, feed: Mapping[str, Any]) -> list[Array]:
        try:
            outputs: list[Array] = self._run_session(self._outputs, feed, self._run_options)
        except Exception as error:
            raise _run_error(error) from error
        return outputs

    def _run_values(self, feed: Mapping[str, Any]) -> list[Array]:
        """The slower way, by which BF16 outputs can be had."""
        try:
            values = {
                name: value if isinstance(value, ort.OrtValue) else to_ort_value(value)
                for name, value in feed.items()
            }
            outputs = self._session.run_with_ort_values(self._outputs, values, self._run_options)
        except Exception as error:
            raise _run_error(error) from error
        return [from_ort_value(output) for output in outputs]


class OnnxCpuInstance(OnnxInstance):
    """An instance whose runs neither wait for a device nor depend on the thread that calls."""

    movable: Literal[True] = True

    def __init__(self, session: ort.InferenceSession, config: ModelConfig, structure: OnnxStructure) -> None:
        super().__init__(session, config, structure)
        converts = self._encode or self._decode
        self._bound = None if converts else BoundRuns.of(session, config, self._run_options)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Run the session over bound memory where that is possible."""
        if self._refuses_empty:
            _refuse_empty(tensors)
        outputs: Tensors | None = None
        if self._bound is not None:
            try:
                outputs = self._bound.run(tensors)
            except Exception:  # noqa: BLE001 - the session tells better what is wrong
                outputs = super().execute(tensors, requests)
                # Nothing is: an output has another shape than its buffer.
                self._bound.forget(tensors)
        return super().execute(tensors, requests) if outputs is None else outputs

    def close(self) -> None:
        """Let go of the session."""
        self._bound = None
        super().close()


def _refuse_empty(tensors: Tensors) -> None:
    """Raise InvalidArgumentError for a tensor without elements."""
    for name, array in tensors.items():
        if not array.size:
            raise InvalidArgumentError(
                f"input '{name}' has shape {list(array.shape)}, which is without elements: ONNX Runtime's recurrent "
                f"layers would end the server. If the model never hands such an input to one, {ACCEPT_EMPTY_INPUTS} "
                "among its parameters, set to true, lets it pass"
            )


def _scalars(session: ort.InferenceSession, config: ModelConfig) -> frozenset[str]:
    """Tensors without dimensions in the file, which the protocol sees with shape [1]."""
    in_file = (*session.get_inputs(), *session.get_overridable_initializers(), *session.get_outputs())
    ranks = {tensor.name: len(tensor.shape) for tensor in in_file}
    tensors: list[Any] = [*config.input, *config.output]
    return frozenset(
        tensor.name
        for tensor in tensors
        if ranks.get(tensor.name) == 0 and not config.max_batch_size and list(tensor.dims) == [1]
    )


def _conversions(
    convert: Callable[..., Any], tensors: Iterable[Any], scalars: frozenset[str]
) -> dict[str, Convert]:
    """The conversion of each input or output that needs one."""
    return {
        tensor.name: functools.partial(convert, tensor.name, datatype, tensor.name in scalars)
        for tensor in tensors
        if (datatype := BY_CONFIG_ENUM[tensor.data_type]) in (BYTES, BF16) or tensor.name in scalars
    }


def _encode(name: str, datatype: Datatype, scalar: bool, array: Array) -> Any:
    if scalar:
        array = array.reshape(())
    if datatype is BYTES:
        return decode_strings(name, array)
    return to_ort_value(array) if datatype is BF16 else array


def _decode(_: str, datatype: Datatype, scalar: bool, array: Array) -> Array:
    array = encode_strings(array) if datatype is BYTES else array
    return array.reshape(1) if scalar else array


def _run_error(error: Exception) -> ServingError:
    """ONNX Runtime's own check of the inputs is about the client's request, everything else about the
    model."""
    text = without_directories(str(error)).strip().removeprefix("[ONNXRuntimeError] : ")
    if isinstance(error, ort.capi.onnxruntime_pybind11_state.InvalidArgument):
        return InvalidArgumentError(text)
    return InternalError(f"onnxruntime failed: {text}")
