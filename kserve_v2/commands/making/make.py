"""`kserve-v2 init`: a model's folder from a template, or from what somebody has."""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kserve_v2.commands.command import CommandError
from kserve_v2.commands.making.config_text import config_text
from kserve_v2.commands.making.publish import staging
from kserve_v2.commands.making.sample import datatype_of, sample_request
from kserve_v2.commands.making.sources import split_member, take
from kserve_v2.commands.making.templates import chosen, rendered, test_file, test_path
from kserve_v2.repository.reading.layout import CONFIG
from kserve_v2.tensors.written import Tensors

_SAMPLE = "sample_request.json"
_URL = "http://127.0.0.1:8000"
# Of what a script or another command has said, as much is repeated.
_LAST_LINES = 12

_READY_CHECKS = """\
def test_the_model_is_ready(url):
    with urllib.request.urlopen(f"{url}/v2/models/{quote(NAME, safe='')}/ready") as answer:
        assert answer.status == 200
"""
_SAMPLE_CHECKS = '''\
def test_the_sample_is_answered(url):
    """The numbers in it are made up: put real ones there, and here what they should give."""
    outputs = infer(url, SAMPLE)
    assert set(outputs) == {names}
    assert [output["datatype"] for output in outputs.values()] == {datatypes}
'''


def from_template(template_name: str, name: str, repository: Path) -> str:
    """Make the models of a template; returns what is to be said of it. Raises CommandError."""
    template = chosen(template_name)
    models = rendered(template, name)
    with staging(repository, list(models)) as folder:
        for model, contents in models.items():
            for path, content in contents.items():
                target = folder / model / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        if template.script:
            _run_script(folder / name, template.script, template.made)
    return _report(repository, list(models))


def from_source(text: str, name: str, repository: Path, tensors: Tensors, *, link: bool) -> str:
    """Make a model of a file, a class of a Python file, or a folder; returns what is to be said of it. Raises
    CommandError.
    """
    source, member = split_member(text)
    with staging(repository, [name]) as folder:
        model = folder / name
        take(source, member, model, tensors, link=link)
        configured = (model / CONFIG).exists() and source.is_dir()
        document = _configuration(folder, name)
        config = document["config"]
        if not configured:
            (model / CONFIG).write_text(config_text(name, document), encoding="utf-8")
        _write_sample_and_test(model, name, config)
    return _report(repository, [name])


def _write_sample_and_test(model: Path, name: str, config: Mapping[str, Any]) -> None:
    sample = None if (model / _SAMPLE).exists() else sample_request(config)
    if sample is not None:
        (model / _SAMPLE).write_text(sample, encoding="utf-8")
    test = model / test_path(name)
    if test.exists():
        return
    # A stream is not answered by one answer.
    if (model / _SAMPLE).exists() and not config.get("model_transaction_policy", {}).get("decoupled"):
        names = {output["name"]: datatype_of(output) for output in config["output"]}
        checks = _SAMPLE_CHECKS.replace("{names}", repr(set(names))).replace(
            "{datatypes}", repr(list(names.values()))
        )
        test.write_bytes(test_file(name, checks))
    else:
        test.write_bytes(test_file(name, _READY_CHECKS, sample=False))


def _run_script(model: Path, script: str, made: str) -> None:
    print(f"running {script} …", flush=True)
    done = subprocess.run(  # noqa: S603 - a file of the template
        [sys.executable, script], cwd=model, capture_output=True, text=True, check=False
    )
    if done.returncode or not (model / made).is_file():
        raise CommandError(f"{script} has failed, nothing was made:\n{_last(done.stderr)}")


def _configuration(folder: Path, name: str) -> dict[str, Any]:
    """What a server would make of the model. Its code, if it has some, runs in another process."""
    done = subprocess.run(  # noqa: S603 - this program
        # Nothing is found in the current directory: a server would not find it there either.
        [sys.executable, "-P", "-m", "kserve_v2", "config", str(folder), name, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandError(f"this would not be served, nothing was made:\n{_without(folder, done.stderr)}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _without(folder: Path, text: str) -> str:
    """What a command says, without the folder that is gone when it is read."""
    return _last(text.replace(f"{folder}/", ""))


def _last(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_LAST_LINES:])


def _report(repository: Path, names: Sequence[str]) -> str:
    name = names[-1]
    lines = []
    for each in names:
        lines.append(f"made {repository / each}:")
        paths = [
            path for path in sorted((repository / each).rglob("*")) if path.is_file() and path.name[0] != "."
        ]
        lines += [f"  {path.relative_to(repository / each).as_posix()}" for path in paths]
    where, model = str(repository), repository / name
    commands = [["kserve-v2", "check", where, *names], ["kserve-v2", "serve", "--model-repository", where]]
    lines += ["", "next:", *(f"  {shlex.join(command)}" for command in commands)]
    if (model / _SAMPLE).exists():
        ask = ["kserve-v2", "infer", name, "--request", str(model / _SAMPLE)]
        lines.append(f"  {shlex.join(ask)}   # in another terminal; or on the page, {_URL}/")
    lines.append(f"  {shlex.join(['python', '-m', 'pytest', str(model)])}   # needs pytest")
    return "\n".join(lines)
