"""Build wheel and sdist, and check them: `python tools/build_dist.py [--out dist]`.

They are built from a copy of what git knows, or would take: a build leaves files behind, and takes up those of an
earlier one. The wheel has to be the same when it is built from the sdist. Needs setuptools, and no network.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# By the name that it is installed under.
PACKAGES = {"kserve_v2": "kserve_v2", "kserve_v2_backends": "backends", "kserve_v2_child": "child"}

_BUILD = (
    "import sys; from setuptools import build_meta; getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2])"
)
_FIELDS = ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "License-File", "Keywords")


class DistError(Exception):
    """What was built is not what it should be."""


def build(out: Path) -> tuple[Path, Path]:
    """Build and check; returns the wheel and the sdist. Raises DistError."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "source"
        _copy_tree(source)
        sdist = _build("sdist", source, folder / "sdist")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder / "unpacked", filter="data")
        [unpacked] = (folder / "unpacked").iterdir()
        wheel = _build("wheel", source, folder / "wheel")
        again = _build("wheel", unpacked, folder / "again")
        _raise_if_different(_contents(wheel), _contents(again))
        check_wheel(wheel)
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, out)), Path(shutil.copy(sdist, out))


def check_wheel(wheel: Path) -> None:
    """Raises DistError for one that lacks a file or says something wrong of itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    contents = _contents(wheel)
    if wheel.name != f"kserve_v2-{project['version']}-py3-none-any.whl":
        raise DistError(f"{wheel.name}: expected a wheel of version {project['version']} for every platform")
    for package, folder in PACKAGES.items():
        expected = {f"{package}/{path.relative_to(folder).as_posix()}" for path in map(Path, _known(folder))}
        found = {name for name in contents if name.startswith(f"{package}/")}
        if expected != found:
            raise DistError(
                f"{wheel.name}: missing {sorted(expected - found)}, not expected {sorted(found - expected)} "
                "(packages and package-data in pyproject.toml)"
            )
    metadata = metadata_of(wheel)
    missing = [field for field in _FIELDS if not metadata[field]]
    if missing:
        raise DistError(f"{wheel.name}: METADATA says nothing of {', '.join(missing)}")
    if metadata["Description-Content-Type"] != "text/markdown" or not str(metadata.get_payload()).strip():
        raise DistError(f"{wheel.name}: METADATA has no README in Markdown")
    if set(metadata.get_all("Provides-Extra") or []) != set(project["optional-dependencies"]):
        raise DistError(f"{wheel.name}: METADATA has other extras than pyproject.toml")


def metadata_of(wheel: Path) -> Message:
    """What a wheel says of itself."""
    [metadata] = [text for name, text in _contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(metadata.decode())


def _known(*folders: str) -> list[str]:
    """Files of the checkout that git knows, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})


def _copy_tree(target: Path) -> None:
    for name in _known():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def _build(kind: str, source: Path, out: Path) -> Path:
    out.mkdir()
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", _BUILD, kind, str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DistError(f"the {kind} cannot be built:\n{done.stdout}{done.stderr}")
    [built] = out.iterdir()
    return built


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _raise_if_different(wheel: dict[str, bytes], again: dict[str, bytes]) -> None:
    different = [name for name in {*wheel, *again} if wheel.get(name) != again.get(name)]
    if different:
        raise DistError(
            f"the wheel that is built from the sdist differs in {', '.join(sorted(different)[:10])} (MANIFEST.in)"
        )


def main() -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Build wheel and sdist, and check them.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for them [default dist]")
    try:
        built = build(parser.parse_args().out)
    except DistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in built:
        print(f"built {path}, {path.stat().st_size / 1000:.0f} kB")
    print(f"to install it: pip install '{built[0]}[all]'")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
