"""From a file or folder that somebody has to the files of a model's folder, copied or linked."""

import re
import shutil
from pathlib import Path

from kserve_v2.commands.command import CommandError
from kserve_v2.repository.locations.flat import has_model_file, has_versions
from kserve_v2.repository.reading.companions import companions
from kserve_v2.repository.reading.foreign_files import foreign_advice
from kserve_v2.repository.reading.imported_files import imported_files
from kserve_v2.repository.reading.layout import CONFIG, HANDLER, is_hidden
from kserve_v2.tensors.written import EXPECTED, MAX_BATCH_SIZE, Tensors

# The name that the server looks for, by the suffix of what is given.
_NAMES = {".onnx": "model.onnx", ".pt2": "model.pt2", ".pt": "model.pt", ".pth": "model.pt", ".py": HANDLER}
# Beside the folder for the version.
_BESIDE = (CONFIG, "sample_request.json")
_TORCHSCRIPT = "model.pt"
# Of a whole configuration: at the beginning of a line.
_NAME = re.compile(rb'^name\s*:\s*"[^"]*"', re.MULTILINE)


def split_member(text: str) -> tuple[Path, str]:
    """`file.py:Class` as the file and the class; otherwise the path and ""."""
    file, colon, member = text.rpartition(":")
    if colon and file.endswith(".py") and member.isidentifier() and not Path(text).exists():
        return Path(file), member
    return Path(text), ""


def take(source: Path, member: str, model: Path, tensors: Tensors, *, link: bool) -> None:
    """Make the model's folder of a source, without a configuration unless it has one, or cannot do without. `member`:
    the class of a Python file, if it is named. Raises CommandError.
    """
    if source.is_dir():
        _raise_if_written(tensors, source)
        _take_folder(source, model, link=link)
        return
    if not source.is_file():
        raise CommandError(
            f"--from {source}: {'is no file or folder' if source.exists() else 'does not exist'}"
        )
    name = _NAMES.get(source.suffix.lower())
    if name is None:
        advice = (
            foreign_advice([source.name])
            or "expected .onnx, .pt2, .pt (TorchScript), .py or a model's folder"
        )
        raise CommandError(f"--from {source}: {advice}")
    if name == _TORCHSCRIPT:
        _raise_if_missing(tensors, source)
    else:
        _raise_if_written(tensors, source)
    version = model / "1"
    version.mkdir(parents=True)
    for path, file in _belonging(source, name).items():
        (version / path).parent.mkdir(parents=True, exist_ok=True)
        _place(file, version / path, link=link)
    if member:
        handler = f'parameters {{ key: "handler"  value {{ string_value: "model:{member}" }} }}\n'
        (model / CONFIG).write_text(f'backend: "python"\n{handler}', encoding="utf-8")
    if name == _TORCHSCRIPT:
        (model / CONFIG).write_text(_torchscript_config(tensors), encoding="utf-8")


def _take_folder(source: Path, model: Path, *, link: bool) -> None:
    names = sorted(child.name for child in source.iterdir() if not is_hidden(child.name))
    if not has_versions(source) and not has_model_file(names):
        advice = (
            foreign_advice(names)
            or "expected model.onnx, model.pt2, model.pt or model.py in it, or in folders 1, 2, …"
        )
        raise CommandError(f"--from {source}: there is no model in it: {advice}")
    version = model if has_versions(source) else model / "1"
    version.mkdir(parents=True)
    for name in names:
        # Labels are looked for beside the configuration, which is not in a folder for a version.
        outside = name in _BESIDE or (name.endswith(".txt") and "label" in name.lower())
        _place(source / name, (model if outside else version) / name, link=link and name != CONFIG)
    _rename(model / CONFIG, model.name)


def _rename(config: Path, name: str) -> None:
    """A configuration that says its model's name has to say that of the folder."""
    if config.is_file():
        written = config.read_bytes()
        renamed = _NAME.sub(f'name: "{name}"'.encode(), written, count=1)
        if renamed != written:
            config.write_bytes(renamed)


def _place(source: Path, target: Path, *, link: bool) -> None:
    if link:
        target.symlink_to(source.resolve())
    elif source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    else:
        shutil.copy2(source, target)


def _belonging(source: Path, name: str) -> dict[str, Path]:
    """The files that make up a model, by their paths in the version's folder: its own is called `name`."""
    if name == HANDLER:
        modules = [path for path in imported_files(source, source.parent) if path != source]
        found = {path.relative_to(source.parent).as_posix(): path for path in modules}
    else:
        found = {path.name: path for path in companions(source)}
    if name in found:
        raise CommandError(
            f"--from {source}: it would be called {name}, and so is a file that it imports: rename that"
        )
    return {name: source, **found}


def _raise_if_missing(tensors: Tensors, source: Path) -> None:
    if not all(tensors):
        raise CommandError(
            f"--from {source}: a TorchScript file does not say what its tensors are: give --input and --output for "
            f"each of them, as {EXPECTED}; N is the batch. (A file of torch.export, .pt2, says it.)"
        )


def _raise_if_written(tensors: Tensors, source: Path) -> None:
    if any(tensors):
        raise CommandError(f"--input and --output: {source} says itself what its tensors are")


def _torchscript_config(tensors: Tensors) -> str:
    batched = [tensor.batched for written in tensors for tensor in written]
    if any(batched) and not all(batched):
        raise CommandError("--input and --output: either all tensors have a batch dimension, N, or none")
    lines = ['backend: "pytorch"', f"max_batch_size: {MAX_BATCH_SIZE if all(batched) else 0}"]
    for kind, written in zip(("input", "output"), tensors, strict=True):
        for tensor in written:
            dims = ", ".join(map(str, tensor.dims))
            lines.append(
                f'{kind} {{ name: "{tensor.name}"  data_type: {tensor.config_name}  dims: [ {dims} ] }}'
            )
    return "\n".join([*lines, ""])
