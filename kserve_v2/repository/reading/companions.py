"""Which files beside a model's file belong to it, by their names."""

from glob import escape
from pathlib import Path


def companions(file: Path) -> list[Path]:
    """Files that are named after it, as exporters name those with the weights of an ONNX file. Raises OSError."""
    return sorted(
        path
        for path in file.parent.glob(f"{escape(file.name)}[._]*")
        if "data" in path.name.removeprefix(file.name) and path.is_file()
    )
