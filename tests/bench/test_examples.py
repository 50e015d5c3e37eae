"""The examples of `--help`: all of them are command lines that exist; those of commands that a test can run, it runs."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from kserve_v2 import cli
from kserve_v2.commands.registry import COMMANDS

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def examples(text: str) -> Iterator[list[str]]:
    """The command lines of `kserve-v2` in a command's examples, without what a shell makes of them."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if not line.startswith("    "):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for between_operators, words in groupby(
            lexer, lambda word: word not in ("|", "&&", ";", ">", "<", "&")
        ):
            told = list(words)
            if between_operators and "kserve-v2" in told:
                yield told[told.index("kserve-v2") + 1 :]


ALL = [(command.name, words) for command in COMMANDS for words in examples(command.examples)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_command_has_examples_of_itself(command: Any) -> None:
    assert sum(name == command.name == words[0] for name, words in ALL) >= 2


@pytest.mark.parametrize(
    ("name", "words"), ALL, ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
def test_an_example_is_a_command_line_that_exists(name: str, words: list[str]) -> None:
    command, _ = cli._parse(words)
    assert command.name == words[0]
    assert name in {each.name for each in COMMANDS}


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any]) -> Any:
    """With the models that the examples name."""
    models = ("add_sub", "digits_onnx", "intent", "typeahead")
    loaded = (f"--load-model={name}" for name in models)
    return start_server(REPOSITORY, "--model-control-mode=explicit", *loaded)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, where the models of the examples are, and nothing that is written stays."""
    shutil.copytree(REPOSITORY, tmp_path / "model_repository")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_options(words: list[str], **options: str) -> list[str]:
    """A command line on which these have other values than there, if they are there: none may be given twice."""
    words = list(words)
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if flag in words:
            at = words.index(flag)
            del words[at : at + 2]
        words += [flag, value]
    return words


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for name, words in ALL if name == "bench"], ids=" ".join)
def test_the_examples_of_bench_run(
    words: list[str], server: Any, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"grpc://{server.grpc}" if "grpc" in words else server.rest
    # Of this server, and for a short time.
    here = [re.sub(r"^http://\S+", server.rest, word) for word in words]
    if "--url" not in here:
        here += ["--url", url]
    if "--rate" in here:
        here = with_options(here, rate="20,40")
    here = with_options(here, duration="0.3", warm_up="0", max_rounds="1")
    assert cli.main([*here, "--quiet"], {}) == 0
    assert "requests" in capsys.readouterr().out
    for option in ("--html", "--plot"):
        if option in words:
            assert (checkout / words[words.index(option) + 1]).stat().st_size > 1000


@pytest.mark.slow
def test_an_example_of_analyze_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [words] = [words for name, words in ALL if name == "analyze" and "--write" in words]
    short = with_options(words, minutes="0.001", round="0.1", max_concurrency="2")
    assert cli.main([*short, "--quiet"], {}) == 0
    assert "Throughput against latency" in capsys.readouterr().out
    assert (checkout / "model_repository" / "add_sub" / "config.pbtxt").is_file()
