"""What a model's file really is, where that can be told from its first bytes and is no model of its kind.

Looked at only when the file has failed to load: no file that a backend can read is refused for how it looks.
"""

import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kserve_v2.config.platforms import OWN_BACKENDS
from kserve_v2.errors import ConfigurationError, ContradictionError, InvalidArgumentError

_HEAD_BYTES = 1024

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a Git LFS pointer in place of the file: run `git lfs pull`",
    ),
    (
        rb"(?:\.\./)*(?:\.git)?/annex/objects/",
        "a git-annex pointer in place of the file: run `git annex get`",
    ),
    (
        rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head)\b",
        "a web page (HTML), such as a login or error page that was saved in place of the file: download it again",
    ),
    (
        rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|Error)\b",
        "XML, such as the error of a store that was saved in place of the file: download it again",
    ),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras makes: convert the model with tf2onnx"),
    (rb"GGUF", "a model for llama.cpp (GGUF): load it in a handler, model.py"),
    (rb"....TFL3", "a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite FILE`"),
    (rb"(?:ptrt|ftrt)", "a TensorRT engine: serve the ONNX file that it was built from"),
    (rb"\x1f\x8b", "compressed with gzip: unpack it"),
    (
        rb"....\0\0\0\0\{\s*\"",
        "a safetensors file, which holds weights and no model: load them in a handler, model.py",
    ),
)
_TORCH_LEGACY = rb"\x80[\x02-\x05]\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"
_PICKLE = rb"\x80[\x02-\x05]"
_PICKLED = (
    "a pickled Python object: export the model to ONNX (skl2onnx, onnxmltools), or load it in a handler, model.py, if "
    "you trust the file"
)
_SAVED = (
    "what torch.save makes, such as a state_dict, and holds no model that can be served: export the model with "
    "torch.export.save or torch.onnx.export, or load its weights in a handler, model.py"
)
_PICKLED_MODULE = (
    "a whole module that torch.save has pickled (it needs the class {}), and to unpickle it is to run what is in it: "
    "export the model with torch.export.save, or load it in a handler, model.py, if you trust the file"
)
# What a state_dict consists of.
_OF_TENSORS = (
    r"collections |_codecs |torch\._utils |torch\.storage |torch\.serialization "
    r"|torch \w*(?:Storage|Size|device)?$"
)
_MOST_LOOKED_AT = 2**24
# Members that the archives of torch.export have, in old and new layouts.
_EXPORTED = frozenset({"archive_format", "serialized_exported_program.json"})
# An ONNX file begins with its IR version, followed by its producer's name or a later field.
_ONNX = rb"\x08[\x03-\x20][\x12\x1a\x22\x28\x32\x3a\x42]"


@contextmanager
def explained(file: Path, backend: str) -> Iterator[None]:
    """Around what reads a model's file: where it fails because the file is something else, the error says what.

    Only for the server's own backends: what a plug-in of a third party can read is not known here.
    """
    try:
        yield
    except (ConfigurationError, ContradictionError):
        raise
    except Exception as error:
        problem = content_problem(file) if backend in OWN_BACKENDS else None
        if problem is None:
            raise
        raise InvalidArgumentError(problem) from error


def content_problem(file: Path) -> str | None:
    """What a file is that is no model of its kind; None if nothing is seen."""
    try:
        if not file.is_file():
            return None
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return None
    found = _by_signature(head) or (None if file.suffix == ".py" else _of_a_framework(head, file))
    return f"{file.name} is {found}" if found else None


def _by_signature(head: bytes) -> str | None:
    if not head:
        return "empty: perhaps it was not copied to its end"
    return next(
        (text for pattern, text in _SIGNATURES if re.match(pattern, head, re.IGNORECASE | re.DOTALL)), None
    )


def _of_a_framework(head: bytes, file: Path) -> str | None:
    if re.match(_TORCH_LEGACY, head, re.DOTALL):
        return _SAVED
    if re.match(_PICKLE, head):
        return _PICKLED
    if head.startswith(b"PK\x03\x04"):
        return _describe_archive(file)
    if file.suffix in (".pt", ".pt2") and re.match(_ONNX, head, re.DOTALL):
        return "an ONNX file: rename it to model.onnx"
    return None


def _describe_archive(file: Path) -> str | None:
    """What a zip file is; None for a TorchScript archive under its usual name."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        return "a broken zip file: perhaps it was not copied to its end"
    members = {name.partition("/")[2] for name in names}
    if "MAR-INF/MANIFEST.json" in names:
        return "a TorchServe archive: give it its ending, .mar, by which it is known"
    if "constants.pkl" in members:
        return (
            None if file.suffix not in (".onnx", ".pt2") else "a TorchScript archive: rename it to model.pt"
        )
    if _EXPORTED & (members | names):
        return None if file.suffix == ".pt2" else "a program of torch.export: rename it to model.pt2"
    if "data.pkl" in members:
        return _PICKLED_MODULE.format(owner) if (owner := _pickled_class(file)) else _SAVED
    return "a zip file: unpack it"


def _pickled_class(file: Path) -> str | None:
    """The first class, other than those that tensors are made of, in what torch.save has made. It is only looked for:
    nothing is unpickled.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            (member,) = (info for info in archive.infolist() if info.filename.partition("/")[2] == "data.pkl")
            if member.file_size > _MOST_LOOKED_AT:
                return None
            strings: list[str] = []
            for operation, argument, _ in pickletools.genops(archive.read(member)):
                name = " ".join(strings[-2:]) if operation.name == "STACK_GLOBAL" else argument
                if operation.name in ("GLOBAL", "STACK_GLOBAL") and not re.match(_OF_TENSORS, str(name)):
                    return str(name).replace(" ", ".")
                if isinstance(argument, str):
                    strings.append(argument)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, RuntimeError, IndexError):
        pass
    return None
