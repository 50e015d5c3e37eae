"""From one of TorchServe's own handlers to one of this server's: a `model.py` that a person can read, and change."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from keyword import iskeyword
from pathlib import Path

from kserve_v2.commands.converting.content import Content, classes_of, imports_of
from kserve_v2.commands.converting.result import Result
from kserve_v2.commands.converting.settings import settings_lines
from kserve_v2.repository.reading.layout import HANDLER
from kserve_v2.tensors.written import MAX_BATCH_SIZE, Tensors, WrittenTensor

BEST = 5
_CLASS_NAMES = "class_names.json"
_RENAMED = "network_definition.py"

_RGB = "Images are RGB for the network, also those that are grey or transparent, for which TorchServe's handler fails."
_FEWER = "A network with fewer than 5 classes answers with all of them, in order; TorchServe's handler fails."
_TENSORS = {
    "image_classifier": [
        "image: a JPEG or PNG for each row",
        "label, probability: the {best} most probable classes",
    ],
    "image_segmenter": [
        "image: a JPEG or PNG for each row",
        "class_of_pixel, probability: of each pixel of the middle of the image, 224 x 224",
    ],
    "object_detector": [
        "image: one JPEG or PNG",
        "box (left, top, right, bottom), label, score: of what is surer than 0.5",
    ],
    "text_classifier": [
        "text: a text for each row",
        "label, probability: all classes, in the order of their numbers",
    ],
}


class NotConvertibleError(Exception):
    """Why an archive cannot become a handler of this server's; the text is for the report."""


def converted_handler(content: Content, name: str) -> Result:
    """A model for one of TorchServe's own handlers. Raises NotConvertibleError."""
    handler = content.manifest.handler
    result = Result(f"A handler in Python, {HANDLER}, that does what TorchServe's {handler} did.")
    imports, loads = network_code(content, result)
    names = dict(content.names or {})
    best = min(BEST, len(names)) if names else BEST
    text = rendered(
        f"{handler}.py.in",
        NAME=name,
        ARCHIVE=in_docstring(content.source.name),
        BEST=str(best),
        CLASSES=str(len(names) or -1),
        IMPORTS=imports,
        LOADS=loads,
        PREPARE=_template("prepare.py.in").rstrip(),
    )
    result.files[HANDLER] = text
    result.tensors = [line.format(best=best) for line in _TENSORS[handler]]
    if handler != "image_segmenter":
        result.files[_CLASS_NAMES] = json.dumps(names, indent=0, ensure_ascii=False) + "\n"
        result.files.pop("index_to_name.json", None)
        if not names:
            result.decisions.append(
                f"{_CLASS_NAMES}: the archive has no index_to_name.json, so labels are the classes' numbers. "
                'Write {"0": "first", ...} to name them.'
            )
    if handler == "image_classifier":
        result.differences += [_RGB, *([_FEWER] if names and len(names) < BEST else [])]
    elif handler == "text_classifier":
        _add_text(content, result)
    else:
        result.differences.append(_RGB)
    lines = settings_lines(content, result, rows=0 if handler == "object_detector" else 1)
    result.config = f'backend: "python"\n{lines}\n'
    return result


def converted_network(content: Content, name: str, tensors: Tensors) -> Result:
    """A model for a network written in Python that has no handler but `base_handler`. Raises NotConvertibleError."""
    result = Result(f"A handler in Python, {HANDLER}, that calls the network.")
    imports, loads = network_code(content, result)
    inputs, outputs = tensors
    batched = all(tensor.batched for tensor in (*inputs, *outputs))
    lines = settings_lines(content, result, rows=MAX_BATCH_SIZE if batched else 0)
    result.files[HANDLER] = rendered(
        "network.py.in",
        NAME=name,
        ARCHIVE=in_docstring(content.source.name),
        INPUTS=_attribute(inputs),
        OUTPUTS=_attribute(outputs),
        IMPORTS=imports,
        LOADS=loads,
    )
    result.tensors = [str(tensor) for tensor in (*inputs, *outputs)]
    result.config = f'backend: "python"\n{lines}\n'
    return result


def _attribute(tensors: Sequence[WrittenTensor]) -> str:
    pairs = (f'{_literal(tensor.name)}: ("{tensor.datatype}", {list(tensor.dims)})' for tensor in tensors)
    return f"{{{', '.join(pairs)}}}"


def network_code(content: Content, result: Result) -> tuple[str, str]:
    """What a handler imports for its network, and the lines that load it; the files go into the result. Raises
    NotConvertibleError.
    """
    manifest, files = content.manifest, content.files()
    weights = manifest.serialized_file
    for file in filter(None, (weights, manifest.model_file)):
        if file not in files:
            raise NotConvertibleError(f"its manifest names {file}, which is not in it")
    if not manifest.model_file:
        if Path(weights).suffix != ".pt":
            raise NotConvertibleError(
                f"the network is no TorchScript file and has no Python file: {weights or 'there is none'}"
            )
        result.files.update(_beside_handler(files, {}))
        load = f"torch.jit.load(context.path / {_literal(weights)}, map_location=context.device).eval()"
        return "", f"        self.network = {load}"
    classes = classes_of(files[manifest.model_file])
    if len(classes) != 1:
        found = ", ".join(classes) or "none"
        raise NotConvertibleError(
            f"{manifest.model_file} should define one class, the network; it has {found}"
        )
    renamed = _renamed(manifest.model_file, files)
    result.files.update(_beside_handler(files, renamed))
    module = Path(renamed.get(manifest.model_file, manifest.model_file)).stem
    lines = [f"network = {classes[0]}()"]
    if weights:
        read = f'torch.load(context.path / {_literal(weights)}, map_location="cpu", weights_only=True)'
        lines.append(f"network.load_state_dict({read})")
    lines.append("self.network = network.to(context.device).eval()")
    return f"from {module} import {classes[0]}", "\n".join(f"        {line}" for line in lines)


def _renamed(model_file: str, files: Mapping[str, Path]) -> dict[str, str]:
    """The network's file may not be called as the handler's is here, and has to be a module's name."""
    module = Path(model_file).stem
    if model_file != HANDLER and module.isidentifier() and not iskeyword(module):
        return {}
    users = [name for name, path in files.items() if name.endswith(".py") and module in imports_of(path)]
    if users:
        raise NotConvertibleError(f"{model_file} would have to be renamed, and {', '.join(users)} import it")
    return {model_file: _RENAMED}


def _beside_handler(files: Mapping[str, Path], renamed: Mapping[str, str]) -> dict[str, Path | str]:
    found: dict[str, Path | str] = {renamed.get(name, name): path for name, path in files.items()}
    taken = {HANDLER, _CLASS_NAMES} & set(found)
    if taken or len(found) < len(files):
        raise NotConvertibleError(f"a file of its own is called {', '.join(taken) or _RENAMED}")
    return found


def _add_text(content: Content, result: Result) -> None:
    if "source_vocab.pt" not in content.files():
        raise NotConvertibleError("text_classifier needs source_vocab.pt, and the archive has none")
    result.files["torchserve_contractions.py"] = _contractions()
    result.decisions.append(
        "source_vocab.pt: it has to be a dict, saved with torch.save: a torchtext Vocab cannot be read any more. If it "
        "is one, load it where torchtext is installed, and save `vocab.get_stoi()` in its place."
    )


def _contractions() -> str:
    """The short forms of English, and what they stand for, as handlers of TorchServe's find them here."""
    place = files("kserve_v2_child") / "torchserve" / "modules" / "ts" / "torch_handler" / "contractions.py"
    return place.read_text(encoding="utf-8")


def rendered(template: str, **values: str) -> str:
    """A template with its placeholders replaced, without lines that are empty by that."""
    text = _template(template)
    if not values.get("IMPORTS", "-"):
        text = text.replace("@IMPORTS@\n", "")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def in_docstring(text: str) -> str:
    """A name that somebody else has chosen, in a docstring: it cannot end it."""
    return "".join(c if c.isprintable() and c not in '"\\@' else "_" for c in text)


def _literal(text: str) -> str:
    """A text as Python reads it; in JSON's escapes, what is beyond 16 bits would become two characters."""
    return json.dumps(text, ensure_ascii=False)


def _template(name: str) -> str:
    return (files("kserve_v2") / "templates" / "converted" / name).read_text(encoding="utf-8")
