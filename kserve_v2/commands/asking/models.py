"""What `kserve-v2 models`, `load` and `unload` do."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kserve_v2.client import Client, InvalidArgumentError, ServingError, UnreachableError
from kserve_v2.commands.asking.tables import show_table
from kserve_v2.commands.client_options import asking, time_of
from kserve_v2.commands.command import UsageError
from kserve_v2.commands.output import say
from kserve_v2.plain_text import in_a_line, visible


def run_models(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """List them. Raises UsageError, CommandError."""
    with asking(namespace, environ) as client:
        models = client.models(ready=namespace.ready)
    if namespace.json:
        say(json.dumps(models, indent=2, ensure_ascii=False))
        return 0
    # Where there is a budget for it.
    memory = ["MEMORY"] if any(each.get("memory_bytes") for each in models) else []
    rows = [
        [str(each.get(name) or "") for name in ("name", "version", "state")]
        + [_memory(each) for _ in memory]
        + [_reason(each)]
        for each in models
    ]
    if rows:
        show_table(("MODEL", "VERSION", "STATE", *memory, "REASON"), rows, environ)
    else:
        say("no model is ready" if namespace.ready else "there are no models")
    return 0


def _memory(entry: Mapping[str, Any]) -> str:
    """What a version uses: `16.0 MiB`, `~3.0 MiB, 1024.0 MiB on gpu0`."""
    about = "~" if entry.get("memory_estimated") else ""
    return ", ".join(
        f"{about}{size / 2**20:.1f} MiB" + ("" if device == "cpu" else f" on {device}")
        for device, size in (entry.get("memory_bytes") or {}).items()
    )


def _reason(entry: Mapping[str, Any]) -> str:
    """Why a model is not ready; the labels of one that is, and what of its release is not done."""
    labels = entry.get("labels") or ()
    known = entry.get("reason") or ", ".join(f"label {label}" for label in labels)
    return "; ".join(str(each) for each in (known, entry.get("release_problems")) if each)


def run_load(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Load them, one after the other. Raises UsageError, CommandError."""
    names = _names(namespace, "load")
    if len(names) > 1 and (namespace.config is not None or namespace.file):
        raise UsageError("--config and --file are for one model")
    if namespace.file and namespace.config is None:
        raise UsageError("--file goes with --config: say with which configuration the files are to be served")
    config = _config(namespace.config)
    files = _files(namespace.file)
    with asking(namespace, environ) as client:
        return _each(names, lambda name: _load(client, name, config, files, time_of(namespace)))


def _load(
    client: Client, name: str, config: str | None, files: Mapping[str, bytes], timeout: float | None
) -> str:
    client.load(name, config=config, files=files, timeout=timeout)
    ready = [each for each in client.models(ready=True) if each.get("name") == name]
    problems = [str(problem) for each in ready if (problem := each.get("release_problems"))]
    versions = ", ".join(str(each.get("version")) for each in ready)
    return "; ".join([f"ready, version {versions}" if ready else "loaded", *problems])


def run_unload(namespace: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Unload them, one after the other. Raises UsageError, CommandError."""
    names = _names(namespace, "unload")
    with asking(namespace, environ) as client:
        return _each(names, lambda name: _unload(client, name, dependents=namespace.dependents))


def _unload(client: Client, name: str, *, dependents: bool) -> str:
    client.unload(name, dependents=dependents)
    if all(each.get("name") != name for each in client.models()):
        return "the server has no such model, so there was nothing to unload"
    return "unloaded"


def _each(names: Sequence[str], do: Callable[[str], str]) -> int:
    """Do it for each model, also when it fails for one, and say what has become of it. Returns the exit status."""
    failed = False
    for name in names:
        try:
            say(in_a_line(f"{name}: {do(name)}"))
        except UnreachableError:
            raise
        except ServingError as error:
            # Servers end each of several reasons like this, also the last one.
            message = visible(error.message.rstrip().removesuffix(";"))
            print(f"error: {in_a_line(name)}: {message}", file=sys.stderr)
            failed = True
    return int(failed)


def _names(namespace: argparse.Namespace, command: str) -> list[str]:
    names: list[str] = list(dict.fromkeys(namespace.operands))
    if not names:
        raise UsageError(f"expected a model: kserve-v2 {command} MODEL (see kserve-v2 {command} --help)")
    return names


def _files(texts: Sequence[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for text in texts:
        name, content = _file(text)
        if files.setdefault(name, content) != content:
            raise UsageError(f"--file: {name} is given twice, the second time as {text!r}: give it once")
    return files


def _file(text: str) -> tuple[str, bytes]:
    name, equals, path = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--file: expected PATH=FILE, as in 1/model.onnx=new/model.onnx, got {text!r}")
    return name, _read(path, "--file")


def _read(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{option}: cannot read {path!r}: {error.strerror}") from None


def _config(text: str | None) -> str | None:
    """A configuration as JSON, which load calls take. Raises UsageError."""
    if text is None:
        return None
    where = "--config"
    if not text.lstrip().startswith("{"):
        where = f"--config {text}"
        path, text = text, _read(text, "--config").decode(errors="replace")
        if not path.endswith(".json"):
            return _of_pbtxt(text, f"--config {path}")
    try:
        json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where}: it is no JSON: {error}") from None
    return text


def _of_pbtxt(text: str, where: str) -> str:
    from kserve_v2.config import config_to_dict, parse_config  # noqa: PLC0415 - not for the other commands

    try:
        return json.dumps(config_to_dict(parse_config(text, where)))
    except InvalidArgumentError as error:
        raise UsageError(error.message) from None
