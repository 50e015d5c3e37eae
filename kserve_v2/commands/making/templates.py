"""The templates of `kserve-v2 init`: which files of `kserve_v2/templates` make up which model, and what they need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec

from kserve_v2.commands.command import CommandError

# What is rendered: placeholders are replaced, and the suffix goes.
_RENDERED = ".in"
_CHECKS = "checks.py.in"
_CONFIG = "config.pbtxt.in"

Files = dict[str, bytes]
"""By path in a model's folder; "1/" for a folder that is empty."""


@dataclass(frozen=True, slots=True)
class Part:
    """Files of one folder below `kserve_v2/templates`, for the model whose name has this suffix. `only`: of these
    paths. Parts of one model are laid over each other.
    """

    folder: str
    suffix: str = ""
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """`does`: one line for people. `needs`: modules without which it cannot be made or served, and what to install.
    `script`: makes the model's file, in its folder. `made`: what that is. `checks`: the folder with those of its test.
    """

    does: str
    parts: tuple[Part, ...]
    needs: tuple[tuple[str, str], ...] = ()
    script: str = ""
    made: str = ""
    checks: str = ""


_FLOWERS = ("config.pbtxt.in", "labels.txt", "sample_request.json")
_HANDLER = "a Python handler, plain numpy: measured flowers"
_ONNXRUNTIME = ("onnxruntime", "onnxruntime")
_SKLEARN_PACKAGE = ("sklearn", "scikit-learn")
_SKLEARN = "scikit-learn, trained now"

TEMPLATES: Mapping[str, Template] = {
    "handler": Template(_HANDLER, (Part("handler"),)),
    "torch": Template(
        "PyTorch, trained and exported now: points on a plane",
        (Part("torch"),),
        (("torch", "torch"),),
        script="train.py",
        made="1/model.pt2",
    ),
    "onnx": Template("an ONNX file: measured flowers", (Part("onnx"),), (_ONNXRUNTIME,), checks="handler"),
    "sklearn": Template(
        f"{_SKLEARN}: measured flowers; as ONNX where skl2onnx is installed, else as numbers for a handler",
        (Part("handler"), Part("sklearn_handler")),
        (_SKLEARN_PACKAGE,),
        script="train.py",
        made="1/weights.json",
    ),
    "image": Template("a handler that takes images: drawn digits", (Part("image"),), (("PIL", "pillow"),)),
    "text": Template("a handler that takes texts: their language", (Part("text"),)),
    "ensemble": Template(
        "three models: a handler that reads a line of text, one that classifies, and the ensemble of both",
        (Part("handler", "_classify"), Part("ensemble_parse", "_parse"), Part("ensemble")),
    ),
}

_SKLEARN_AS_ONNX = Template(
    f"{_SKLEARN}, as ONNX",
    (Part("onnx", only=_FLOWERS), Part("sklearn_onnx")),
    (_SKLEARN_PACKAGE, _ONNXRUNTIME),
    script="train.py",
    made="1/model.onnx",
    checks="handler",
)


def chosen(name: str) -> Template:
    """The template of that name, in the form that is right here. Raises CommandError where something is missing."""
    template = TEMPLATES[name]
    if name == "sklearn" and find_spec("skl2onnx") is not None:
        template = _SKLEARN_AS_ONNX
    missing = [package for module, package in template.needs if find_spec(module) is None]
    if missing:
        raise CommandError(
            f"--template {name}: needs {', '.join(missing)}, not installed here: pip install {' '.join(missing)}"
        )
    return template


def rendered(template: Template, name: str) -> dict[str, Files]:
    """The files of each model of a template: the steps first, the model that is called `name` last."""
    models: dict[str, Files] = {}
    root = files("kserve_v2") / "templates"
    for part in template.parts:
        own = models.setdefault(name + part.suffix, {})
        for path, file in _walk(root / part.folder):
            if path == _CHECKS or (part.only and path not in part.only):
                continue
            content = file.read_bytes()
            if path.endswith(_RENDERED):
                # What a part says of itself is said of the whole model where it is alone.
                whole = name + part.suffix if path == _CONFIG and part.folder == "handler" else name
                content = content.replace(b"@NAME@", whole.encode())
            # Packages leave hidden files out.
            own[path.removesuffix(_RENDERED).replace("gitkeep", ".gitkeep")] = content
    checks = root / (template.checks or template.parts[-1].folder) / _CHECKS
    if not checks.is_file():
        checks = root / template.parts[0].folder / _CHECKS
    models[name][test_path(name)] = test_file(name, checks.read_text(encoding="utf-8"))
    return models


def test_path(name: str) -> str:
    """The name of a model's test, which Python can import."""
    return f"test_{''.join(c if c.isalnum() else '_' for c in name)}.py"


def test_file(name: str, checks: str, *, sample: bool = True) -> bytes:
    """A test of a model: a server, and what is asked of it. `sample`: whether there is a sample request."""
    text = (files("kserve_v2") / "templates" / "test.py.in").read_text(encoding="utf-8")
    if not sample:
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("SAMPLE"))
    return text.replace("@CHECKS@\n", checks).replace("@NAME@", name).encode()


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for child in sorted(folder.iterdir(), key=lambda each: each.name):
        path = prefix + child.name
        if child.is_dir():
            if child.name != "__pycache__":
                yield from _walk(child, f"{path}/")
        else:
            yield path, child
