"""A program of `torch.export` as a function of its inputs, on one device.

The program is called as its graph is: with parameters, buffers, constants and inputs as arguments in a row. It returns
a tuple. That is quicker than `ExportedProgram.module()`, which takes containers apart and checks each argument, and
needs none of the classes of those containers.
"""

import linecache
import operator
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from kserve_v2.errors import InvalidArgumentError, without_directories

from .archive import ExportArchive
from .signature import ProgramSignature, read_signature
from .tensors import TensorReader, Tensors
from .vetting import vetted

# torch keeps what it is reading in a global variable.
_READING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Program:
    """`module`: the graph, whose `forward` takes `state` and then the inputs. `written`: the places in `state` that the
    program writes to. `updates`: the places of results that are new values, and the places in `state` that
    they are for. `outputs`:
    the places of the outputs among the results.
    """

    signature: ProgramSignature
    module: Any
    state: tuple[Any, ...]
    written: frozenset[int]
    updates: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]


def load_program(archive: ExportArchive, device: torch.device, *, allow_pickles: bool) -> Program:
    """The program of an open archive. Raises InvalidArgumentError where it is damaged, or not served."""
    file = archive.file.name
    document = archive.program()
    signature = read_signature(document, file)
    check_version(document, file)
    reader = TensorReader(archive, device, allow_pickles=allow_pickles)
    weights = reader.read(archive.weights())
    constants = reader.read(archive.constants())
    try:
        document = vetted(document, _described(device), signature.takes, signature.returns)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{file}: {error.message}") from error
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(
            f"{file} is damaged: its program is not as torch.export.save writes it"
        ) from error
    exported = _deserialized(document, weights, constants, file)
    return _program(exported, signature, {**constants, **weights}, file)


def check_version(document: Mapping[str, Any], file: str) -> None:
    """Raise InvalidArgumentError where this torch does not read such a program."""
    from torch._export.serde.schema import SCHEMA_VERSION  # noqa: PLC0415 - importing it takes a second

    try:
        major, minor = (int(document["schema_version"][part]) for part in ("major", "minor"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{file} is damaged: its program does not say which version of the format it has"
        ) from error
    if major != SCHEMA_VERSION[0]:
        raise InvalidArgumentError(
            f"{file} was written by torch {document.get('torch_version', '?')} with version {major}.{minor} of the "
            f"format; torch {torch.__version__} reads version {SCHEMA_VERSION[0]}: export the model again with this "
            "torch, or update torch here"
        )


def _described(device: torch.device) -> dict[str, Any]:
    return {"type": device.type, "index": device.index}


def _deserialized(document: Mapping[str, Any], weights: Tensors, constants: Tensors, file: str) -> Any:
    from torch._export.serde import schema, serialize  # noqa: PLC0415

    private: Any = serialize
    try:
        with _READING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = private._dict_to_dataclass(schema.ExportedProgram, document)
            with _forgetting_sources():
                return private.ExportedProgramDeserializer().deserialize(program, weights, constants, None)
    except Exception as error:
        raise InvalidArgumentError(
            f"{file}: torch {torch.__version__} cannot load the program: {_reason(error)}"
        ) from error


@contextmanager
def _forgetting_sources() -> Iterator[None]:
    """Let go of the texts of the functions that are made meanwhile: torch.fx keeps each for ever, with all the globals
    of its function, for the sake of tracebacks.
    """
    loader: Any = getattr(torch.fx.graph_module, "_loader", None)
    before = getattr(loader, "next_id", 0)
    try:
        yield
    finally:
        for number in range(before, getattr(loader, "next_id", 0)):
            key = f"<eval_with_key>.{number}"
            loader.eval_cache.pop(key, None)
            linecache.cache.pop(key, None)


def _reason(error: Exception) -> str:
    """The line that says what happened; torch adds a traceback, and repeats the node."""
    lines = [line.strip() for line in without_directories(str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _program(exported: Any, signature: ProgramSignature, tensors: Tensors, file: str) -> Program:
    from torch.export.graph_signature import InputKind, OutputKind  # noqa: PLC0415

    for module in exported.graph_module.modules():
        _check_targets(module, file)
    specs = exported.graph_signature.input_specs
    kept = [spec for spec in specs if spec.kind is not InputKind.USER_INPUT]
    if specs[: len(kept)] != kept:
        raise InvalidArgumentError(
            f"{file}: the inputs of the program come before its weights; export the model again"
        )
    places = {spec.target: place for place, spec in enumerate(kept)}
    results = exported.graph_signature.output_specs
    updates = [(result, places[spec.target]) for result, spec in enumerate(results) if spec.target in places]
    in_place = [place for place, spec in enumerate(kept) if spec.arg.name in signature.writes]
    return Program(
        signature,
        exported.graph_module,
        tuple(tensors[spec.target] for spec in kept),
        frozenset(in_place),
        tuple(updates),
        tuple(result for result, spec in enumerate(results) if spec.kind is OutputKind.USER_OUTPUT),
    )


def _check_targets(module: Any, file: str) -> None:
    """Raise InvalidArgumentError unless all that is called are operators."""
    from torch._export.serde.serialize import _SYM_OPS  # noqa: PLC0415

    for node in module.graph.nodes:
        if node.op == "call_function" and not (
            isinstance(node.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator)
            or node.target in _SYM_OPS
            or node.target is operator.getitem
            or getattr(node.target, "__module__", "") == "torch._functorch.predispatch"
        ):
            raise InvalidArgumentError(
                f"{file}: the program calls '{node.target}', which is no operator here: register it, with the library "
                "that has it, in a handler, model.py, and load the program there"
            )
        if node.op not in ("call_function", "placeholder", "output", "get_attr"):
            raise InvalidArgumentError(
                f"{file}: the program has a step of kind '{node.op}', which is not served"
            )
