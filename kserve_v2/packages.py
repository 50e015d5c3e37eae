"""What is wrong with the packages that are installed, as far as it is known to mislead people."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# All of them bring the module `onnxruntime`. The first one that is installed is the one to keep.
_RUNTIMES = (
    "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-training",
    "onnxruntime",
)  # fmt: skip


def package_problem() -> str:
    """One line that says what is wrong and which command mends it; "" if nothing is."""
    return runtime_problem(_installed(), importable=_is_whole("onnxruntime"))


def runtime_problem(installed: Mapping[str, str], *, importable: bool) -> str:
    """The same of ONNX Runtime. `installed`: versions of the packages that bring it. `importable`: whether its module
    is there.
    """
    names = [name for name in _RUNTIMES if name in installed]
    if not names:
        return ""
    kept = f"{names[0]}=={installed[names[0]]}"
    if len(names) > 1:
        return (
            f"{' and '.join(names)} are installed in one environment, and overwrite each other's files: which of them "
            f"is used is chance, and to uninstall one breaks the other. To keep {names[0]}: "
            f"pip uninstall -y {' '.join(names)} && pip install {kept}"
        )
    if not importable:
        return (
            f"{names[0]} is installed, but its files are gone, as when another package of ONNX Runtime was "
            f"uninstalled: pip install --force-reinstall --no-deps {kept}"
        )
    return ""


def _installed() -> dict[str, str]:
    found = {}
    for name in _RUNTIMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _is_whole(module: str) -> bool:
    """Whether there is such a module, and not only a folder of that name, which uninstalling has left."""
    try:
        spec = find_spec(module)
    except ValueError:  # it is imported, in a way of its own
        return True
    return spec is not None and spec.origin is not None
