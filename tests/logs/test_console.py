"""Printing that nobody has to wait for."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_v2.logs import console


def test_what_is_said_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.say("hello")
    assert capsys.readouterr().out == "hello\n"


def test_a_reader_that_has_gone_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", buffering=1, closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert not console.say("hello")
        assert not console.flush()
        monkeypatch.undo()
        os.close(write)
        # What is left in it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    os.close(write)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_no_failure() -> None:
    code = "from kserve_v2.logs import console; raise SystemExit(console.say('hello'))"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - no path of ours
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_encoding_does_not_have_becomes_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert console.say("modèle █")
    assert written.getvalue() == b"mod?le ?\n"


def test_colours_and_cursor_movements_are_not_printable() -> None:
    assert console.printable("you have \x1b[1mtwo\x1b[0m options\x07,\x1b]0;t") == "you have two options,]0;t"
