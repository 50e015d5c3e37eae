"""From what a person names to the directory of links that shows it as a model of a repository."""

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from google.protobuf import text_format

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.handlers.live import directory_files
from kserve_v2.repository.locations import flat
from kserve_v2.repository.locations.linked import ModelLinks
from kserve_v2.repository.locations.operands import OBJECT, Kind, Operand, shown
from kserve_v2.repository.reading.companions import companions
from kserve_v2.repository.reading.imported_files import imported_files
from kserve_v2.repository.reading.layout import CONFIG, is_hidden
from kserve_v2.tensors.written import BATCH, MAX_BATCH_SIZE, Tensors

HANDLER_PARAMETER = "handler"
"""Says which class of which module is the handler: `package.module:Class`."""

_BACKENDS = {
    ".onnx": "onnxruntime", ".ort": "onnxruntime", ".pt2": "pytorch", ".pt": "pytorch", ".pth": "pytorch",
    ".mar": "torchserve",
}  # fmt: skip
_TRITON_CLASS = re.compile(rb"^class\s+TritonPythonModel\b", re.MULTILINE)


def links_of(operand: Operand, tensors: Tensors) -> Callable[[], ModelLinks]:
    """What makes up the model's directory, as it is whenever that is asked; then it raises OSError, or ServingError.

    Raises InvalidArgumentError for tensors that nobody would read.
    """
    match operand.kind:
        case Kind.FILE:
            return partial(_file_links, operand.path.absolute(), _file_config(operand, tensors))
        case Kind.HANDLER:
            _raise_if_written(operand, tensors)
            return partial(_handler_links, operand.path.absolute(), operand.member)
        case Kind.CLASS:
            _raise_if_written(operand, tensors)
            return _class_links(operand, Path.cwd())
        case Kind.OBJECT:
            return lambda: ModelLinks(files=directory_files(operand.where.removeprefix(OBJECT)))
    _raise_if_written(operand, tensors)
    return partial(flat.links_of, operand.path.absolute())


def _raise_if_written(operand: Operand, tensors: Tensors) -> None:
    if any(tensors):
        where = "its code" if operand.kind in (Kind.HANDLER, Kind.CLASS) else f"its {CONFIG}"
        raise InvalidArgumentError(
            f"--input and --output say what the tensors of a model's file are; {shown(operand)} is "
            f"{operand.kind.value}: write them into {where}"
        )


# --- a model's file -------------------------------------------------------------------------------------------------


def _file_links(file: Path, config: bytes) -> ModelLinks:
    links = {f"1/{path.name}": path for path in (file, *companions(file))}
    # So that it is not called a broken link of a model that is there.
    file.stat()
    return ModelLinks(links=links, files={CONFIG: config}, home=file.parent)


def _file_config(operand: Operand, tensors: Tensors) -> bytes:
    config = ModelConfig(
        backend=_BACKENDS[operand.path.suffix.lower()], default_model_filename=operand.path.name
    )
    written = [*tensors[0], *tensors[1]]
    if batched := [each for each in written if each.batched]:
        if len(batched) < len(written):
            other = next(each for each in written if not each.batched)
            raise InvalidArgumentError(
                f"{batched[0]} has a dimension {BATCH} for the batch, and {other} has not: all of them have it, or none"
            )
        config.max_batch_size = MAX_BATCH_SIZE
        config.dynamic_batching.SetInParent()
    for add, given in ((config.input.add, tensors[0]), (config.output.add, tensors[1])):
        for tensor in given:
            field = add(name=tensor.name, data_type=tensor.config_name, dims=tensor.dims or (1,))
            if not tensor.dims:
                field.reshape.SetInParent()
    return _text(config, operand)


def _text(config: ModelConfig, operand: Operand) -> bytes:
    return f"# What the server has made of {shown(operand)}.\n{text_format.MessageToString(config)}".encode()


# --- handlers -------------------------------------------------------------------------------------------------------


def _handler_links(file: Path, member: str) -> ModelLinks:
    """A Python file, with what it imports from beside it."""
    text = file.read_bytes()
    files = imported_files(file, file.parent)
    if _TRITON_CLASS.search(text):
        # Such a model looks for its files in the model's directory.
        files = (*files, *(child for child in sorted(file.parent.iterdir()) if not is_hidden(child.name)))
    operand = Operand(Kind.HANDLER, file.name, member=member)
    config = ModelConfig(backend="python", default_model_filename=file.name)
    if member:
        config.parameters[HANDLER_PARAMETER].string_value = f"{file.stem}:{member}"
    return _python_links(files, file.parent, _text(config, operand))


def _python_links(files: Sequence[Path], home: Path, config: bytes) -> ModelLinks:
    links = {f"1/{path.relative_to(home).as_posix()}": path for path in files}
    return ModelLinks(links=links, files={CONFIG: config}, home=home)


def _class_links(operand: Operand, here: Path) -> Callable[[], ModelLinks]:
    """A class by the name of its module, found from the current directory or, where that does not have it, among what
    is installed.
    """
    file = _module_file(operand.where, here)
    if file is None:
        if not any(_module_file(operand.where, Path(entry)) for entry in sys.path if entry):
            raise InvalidArgumentError(
                f"{shown(operand)}: there is no module {operand.where}, neither in the current directory nor among "
                f"what is installed; a file is named with its ending, as in {operand.where.split('.')[-1]}.py"
            )
        # What is installed does not change while the server runs.
        code = f"from {operand.where} import {operand.member} as Model\n"
        return lambda: ModelLinks(files={"1/model.py": code.encode()})
    config = ModelConfig(backend="python", default_model_filename=file.relative_to(here).as_posix())
    config.parameters[HANDLER_PARAMETER].string_value = f"{operand.where}:{operand.member}"
    text = _text(config, operand)

    def links() -> ModelLinks:
        file.stat()
        packages = [each / "__init__.py" for each in file.relative_to(here).parents]
        files = {*imported_files(file, here)}
        files.update(here / each for each in packages if each.parent.name and (here / each).is_file())
        return _python_links(sorted(files), here, text)

    return links


def _module_file(module: str, folder: Path) -> Path | None:
    path = folder.joinpath(*module.split("."))
    found = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next((each for each in found if each.is_file()), None)
