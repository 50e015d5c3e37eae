"""Generate `kserve_v2/_generated` and the conformance suite's own copies from `protos/`: message classes and stubs.

    python tools/generate_protos.py            write the files
    python tools/generate_protos.py --check    exit 1 if the committed files are stale

The compiler pins its protobuf runtime, so it lives in a virtual environment of its own (`.venv-protos`) that
this script makes when it is missing. The output of the compiler is changed in three ways:

* messages are registered in the package's `_generated._pool.POOL`, not in protobuf's default pool;
* the check of the runtime's version is removed: it refuses runtimes that are older than the compiler, or more
  than one major version newer, which all run this code;
* imports are relative to the package.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
# The protos of each package; None stands for all. The suite never imports the server, so it has its own copies.
OUTPUTS: dict[Path, tuple[str, ...] | None] = {
    ROOT / "kserve_v2" / "_generated": None,
    ROOT / "conformance" / "kserve_v2_conformance" / "_generated": ("grpc_service", "model_config"),
}
COMPILER_ENVIRONMENT = ROOT / ".venv-protos"
# A compiler of protobuf 5.27: its output runs under every runtime from 5.26 to 7.x.
REQUIREMENTS = ("grpcio-tools==1.66.2", "mypy-protobuf==3.6.0", "protobuf==5.29.6")
HEADER = "# Generated from protos/{source} by `python tools/generate_protos.py`. Do not edit.\n"


def compiler_python() -> Path:
    """Return the interpreter of the compiler's environment, which is made if it is missing or out of date."""
    scripts = COMPILER_ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / ("python.exe" if sys.platform == "win32" else "python")
    stamp = COMPILER_ENVIRONMENT / "requirements.stamp"
    wanted = "\n".join(REQUIREMENTS)
    if not stamp.is_file() or stamp.read_text() != wanted:
        venv.create(COMPILER_ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)  # noqa: S603
        stamp.write_text(wanted)
    return python


def compile_protos(python: Path, sources: list[Path], destination: Path) -> None:
    """Run the protocol compiler: `_pb2.py` and `_pb2.pyi` for each source, without service code."""
    plugin = python.parent / ("protoc-gen-mypy.exe" if sys.platform == "win32" else "protoc-gen-mypy")
    command = [
        *(str(python), "-m", "grpc_tools.protoc"),
        *(f"--plugin=protoc-gen-mypy={plugin}", f"--proto_path={PROTOS}"),
        *(f"--python_out={destination}", f"--mypy_out=quiet:{destination}"),
        *(source.name for source in sources),
    ]
    subprocess.run(command, check=True)  # noqa: S603


def adapt_module(text: str, source: str) -> str:
    """Apply the three changes of the module docstring to one `_pb2.py`."""
    text = text[text.index("from google.protobuf import descriptor as _descriptor") :]
    text = text.replace("from google.protobuf import runtime_version as _runtime_version\n", "")
    text = re.sub(r"_runtime_version\.ValidateProtobufRuntimeVersion\(.*?\n\)\n", "", text, flags=re.DOTALL)
    default_pool = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
    text = text.replace(default_pool, "from ._pool import POOL as _POOL\n")
    text = text.replace("_descriptor_pool.Default()", "_POOL")
    text = relative_imports(text)
    for leftover in ("_runtime_version", "_descriptor_pool"):
        if leftover in text:
            raise SystemExit(f"{source}: {leftover} is still in the compiler's output; adapt adapt_module()")
    return HEADER.format(source=source) + text


def adapt_stub(text: str, source: str) -> str:
    """Make the imports of one `_pb2.pyi` relative and replace its header."""
    body = text[text.index("import builtins") :]
    return HEADER.format(source=source) + relative_imports(body)


def relative_imports(text: str) -> str:
    """Import sibling `_pb2` modules from the package instead of from `sys.path`."""
    return re.sub(r"^import (\w+_pb2)", r"from . import \1", text, flags=re.MULTILINE)


def generate() -> dict[str, str]:
    """Return the generated files as a mapping from file name to content."""
    sources = sorted(PROTOS.glob("*.proto"))
    files: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        destination = Path(name)
        compile_protos(compiler_python(), sources, destination)
        for source in sources:
            module = destination / f"{source.stem}_pb2.py"
            stub = destination / f"{source.stem}_pb2.pyi"
            files[module.name] = adapt_module(module.read_text(), source.name)
            files[stub.name] = adapt_stub(stub.read_text(), source.name)
    return files


def selected(files: dict[str, str], stems: tuple[str, ...] | None) -> dict[str, str]:
    """The files of one package."""
    return {name: text for name, text in files.items() if stems is None or name.split("_pb2")[0] in stems}


def stale_files(output: Path, files: dict[str, str]) -> list[str]:
    """Return the committed files of `output` that differ from `files`, are missing, or lost their source."""
    committed = {path.name: path.read_text() for path in output.glob("*_pb2.py*")}
    names = sorted(name for name in files.keys() | committed.keys() if files.get(name) != committed.get(name))
    return [str((output / name).relative_to(ROOT)) for name in names]


def write(output: Path, files: dict[str, str]) -> None:
    """Replace the generated files of `output`."""
    for path in output.glob("*_pb2.py*"):
        path.unlink()
    for name, content in files.items():
        (output / name).write_text(content)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Generate the message classes of both packages from protos/."
    )
    parser.add_argument("--check", action="store_true", help="exit 1 if the committed files are stale")
    check = parser.parse_args().check
    files = generate()
    packages = {output: selected(files, stems) for output, stems in OUTPUTS.items()}
    if not check:
        for output, content in packages.items():
            write(output, content)
        return 0
    stale = [name for output, content in packages.items() for name in stale_files(output, content)]
    if stale:
        names = ", ".join(stale)
        print(f"stale generated code: {names}; run `python tools/generate_protos.py`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
