"""From `base_handler`, which only calls a network, to the network's file itself."""

import json
from pathlib import Path

from kserve_v2.commands.command import CommandError
from kserve_v2.commands.converting.content import Content
from kserve_v2.commands.converting.handlers import converted_network
from kserve_v2.commands.converting.result import Result
from kserve_v2.commands.converting.settings import settings_lines
from kserve_v2.tensors.written import EXPECTED, MAX_BATCH_SIZE, Tensors

_LISTS = (
    "TorchServe's base_handler gave the first output as nested lists; here each output is a tensor with a name. "
    "Clients that came through its envelope kservev2 called the output as they called the input."
)


def converted_base(content: Content, name: str, tensors: Tensors) -> Result:
    """A model for an archive with `base_handler`. `tensors`: what a person says of them, where the file does not.
    Raises CommandError, and NotConvertibleError.
    """
    file = content.manifest.serialized_file
    if Path(file).suffix == ".onnx" and not content.manifest.model_file:
        if any(tensors):
            raise CommandError(f"--input and --output: {file} says itself what its tensors are")
        result = _onnx(content)
    elif not all(tensors):
        raise CommandError(
            f"{content.source.name}: base_handler takes tensors, and neither {file or 'the archive'} nor the handler "
            f"says which: give --input and --output for each of them, as {EXPECTED}; N is the batch"
        )
    else:
        _check_batch(tensors)
        result = (
            converted_network(content, name, tensors)
            if content.manifest.model_file
            else _script(content, tensors)
        )
    result.differences.append(_LISTS)
    return result


def _check_batch(tensors: Tensors) -> None:
    batched = [tensor.batched for written in tensors for tensor in written]
    if any(batched) and not all(batched):
        raise CommandError("--input and --output: either all tensors have a batch dimension, N, or none")


def _onnx(content: Content) -> Result:
    """The file says what its tensors are."""
    result = Result("ONNX Runtime executes the file itself.")
    _place(content, "model.onnx", result)
    result.tensors = ["as the file says: `kserve-v2 config` shows them"]
    lines = settings_lines(content, result, rows=None)
    result.config = f'backend: "onnxruntime"\n{lines}\n'
    return result


def _script(content: Content, tensors: Tensors) -> Result:
    result = Result("PyTorch executes the TorchScript file itself.")
    _place(content, "model.pt", result)
    batched = all(tensor.batched for tensor in (*tensors[0], *tensors[1]))
    lines = ['backend: "pytorch"', settings_lines(content, result, rows=MAX_BATCH_SIZE if batched else 0)]
    for kind, written in zip(("input", "output"), tensors, strict=True):
        for tensor in written:
            dims = ", ".join(map(str, tensor.dims))
            lines.append(
                f"{kind} {{ name: {json.dumps(tensor.name)}  data_type: {tensor.config_name}  dims: [ {dims} ] }}"
            )
            result.tensors.append(str(tensor))
    result.config = "\n".join([*lines, ""])
    return result


def _place(content: Content, usual: str, result: Result) -> None:
    """The network's file by the name that the server looks for; what belongs to it keeps its own."""
    file = content.manifest.serialized_file
    files = content.files()
    if file not in files:
        raise CommandError(f"{content.source.name}: its manifest names {file}, which is not in it")
    if usual in files and usual != file:
        raise CommandError(
            f"{content.source.name}: {file} would be called {usual}, and so is another file in it"
        )
    result.files.update({usual if name == file else name: path for name, path in files.items()})
