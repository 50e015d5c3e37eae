"""A pure-Python package in two versions, as wheels made by hand, and the settings that install them without a network."""

import base64
import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path


def write_wheel(directory: Path, name: str, version: str, source: str) -> Path:
    """A wheel of one module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{path},{_record_hash(text)},{len(text)}\n" for path, text in files.items())
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(member, text)
    return path


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def write_colours(directory: Path) -> Path:
    """Wheels of the package `colour`, versions 1 and 2."""
    directory.mkdir(parents=True, exist_ok=True)
    for version, colour in (("1.0", "red"), ("2.0", "blue")):
        source = f"NAME = {colour!r}\ndef main():\n    print(NAME)\n"
        write_wheel(directory, "colour", version, source)
    return directory


def offline(wheels: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a process whose installers find those wheels and nothing else."""
    kept = {name: text for name, text in environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
    return {**kept, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
