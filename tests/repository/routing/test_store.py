"""Where releases are kept: found in the right order, replaced as a whole, and never half."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kserve_v2.config import parse_config
from kserve_v2.config.release import NO_RELEASE, Release
from kserve_v2.errors import InvalidArgumentError, UnavailableError
from kserve_v2.repository.locations import area
from kserve_v2.repository.locations.locations import Locations, Where
from kserve_v2.repository.reading.scan import scan, scan_model
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found, find_release, write_release

PLAIN = parse_config("", "c")
CONFIGURED = parse_config(
    """parameters { key: "release" value { string_value: '{"labels": {"C": 1}}' } }""", "c"
)


def text(label: str) -> str:
    return f'{{"labels": {{"{label}": 1}}}}'


def labels(found: Found) -> list[str]:
    return list(found.release.labels)


def test_the_last_that_was_said_counts(tmp_path: Path) -> None:
    model, kept = tmp_path / "m", tmp_path / "kept"
    model.mkdir()
    assert find_release("m", model, PLAIN, None) == NOTHING_FOUND
    assert find_release("m", model, CONFIGURED, kept) == Found(Release({"C": 1}), "configuration")
    (model / "release.json").write_text(text("M"))
    assert find_release("m", model, CONFIGURED, kept) == Found(Release({"M": 1}), "release.json")
    write_release("m", model, kept, text("K"))
    assert labels(find_release("m", model, CONFIGURED, kept)) == ["K"]
    assert labels(find_release("m", model, CONFIGURED, None)) == ["M"]


def test_an_empty_release_outweighs_a_configuration(tmp_path: Path) -> None:
    write_release("m", tmp_path, None, "{}")
    assert find_release("m", tmp_path, CONFIGURED, None) == Found(NO_RELEASE, "release.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "release.json: is no JSON: "),
        ('{"labels": {"A": 0}}', "release.json: labels['A']: expected a version"),
        (" " * 300_000, "release.json: expected up to 262144 bytes, got more"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "release.json").write_text(content)
    with pytest.raises(InvalidArgumentError) as caught:
        find_release("m", tmp_path, CONFIGURED, None)
    assert caught.value.message.startswith(problem)


def test_a_parameter_that_is_wrong_is_named(tmp_path: Path) -> None:
    config = parse_config("""parameters { key: "release" value { string_value: 'x' } }""", "c")
    with pytest.raises(InvalidArgumentError, match=r"^parameters\['release'\]: is no JSON"):
        find_release("m", tmp_path, config, None)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "release.json")
    # To open it would wait for a writer for ever.
    with pytest.raises(InvalidArgumentError, match="it is a pipe"):
        find_release("m", tmp_path, PLAIN, None)
    (tmp_path / "release.json").unlink()
    (tmp_path / "release.json").symlink_to("gone")
    with pytest.raises(InvalidArgumentError, match="a link to something that does not exist"):
        find_release("m", tmp_path, PLAIN, None)


def test_what_cannot_be_written_is_told_and_changes_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "m"
    blocked.write_text("a file where the directory should be")
    with pytest.raises(UnavailableError, match="--release-directory"):
        write_release("m", blocked, None, text("A"))
    with pytest.raises(UnavailableError, match="--release-directory"):
        write_release("m", tmp_path, blocked, text("A"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_what_would_be_lost_is_not_written(tmp_path: Path) -> None:
    copy = tmp_path / area.TREES / "m" / "1" / "m"
    copy.mkdir(parents=True)
    (copy.parent / area._NOTE).write_text("{}")
    assert area.is_staged(copy)
    with pytest.raises(UnavailableError, match="it comes from elsewhere"):
        write_release("m", copy, None, text("A"))
    assert list(copy.iterdir()) == []
    write_release("m", copy, tmp_path / "kept", text("A"))
    assert labels(find_release("m", copy, PLAIN, tmp_path / "kept")) == ["A"]


def test_a_release_is_not_written_beside_files_that_lie_in_no_version(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    (folder / "model.py").write_text("code")
    locations = Locations(Where((folder,), "flowers"), {})
    try:
        locations.materialize("flowers")
        entry = scan(locations.roots).models["flowers"]
        with pytest.raises(
            UnavailableError, match=r"in no folder with folders for versions.*; --release-directory"
        ):
            write_release("flowers", entry.path, None, text("A"))
        assert [path.name for path in folder.iterdir()] == ["model.py"]
        # With such folders, it is a model's directory like any other.
        (folder / "1").mkdir()
        (folder / "model.py").rename(folder / "1" / "model.py")
        locations.materialize("flowers")
        write_release("flowers", scan(locations.roots).models["flowers"].path, None, text("A"))
        assert sorted(path.name for path in folder.iterdir()) == ["1", "release.json"]
    finally:
        locations.close()


def test_nothing_is_left_behind_and_no_model_changes(tmp_path: Path) -> None:
    model = tmp_path / "m"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.onnx").write_text("x")
    before = scan_model([tmp_path], "m")
    write_release("m", model, None, text("A"))
    write_release("m", model, None, text("B"))
    assert sorted(path.name for path in model.iterdir()) == ["1", "release.json"]
    # Whoever polls notices, and it is no reason to load anything again.
    after = scan_model([tmp_path], "m")
    assert before is not None
    assert after is not None
    assert after.fingerprint != before.fingerprint
    assert replace(after.fingerprints, release=before.fingerprints.release) == before.fingerprints


WRITER = """
import sys
from pathlib import Path
from kserve_v2.repository.routing.store import write_release
print("ready", flush=True)
number = 0
while True:
    number += 1
    # Long, so that a write in two parts would be seen.
    write_release("m", Path(sys.argv[1]), None, '{"labels": {"A": %d}, "split": null}%s' % (number, " " * 50000))
"""


@pytest.mark.slow
def test_who_is_killed_leaves_one_or_the_other(tmp_path: Path) -> None:
    write_release("m", tmp_path, None, '{"labels": {"A": 1}}')
    for attempt in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            seen = set()
            deadline = time.monotonic() + 60
            # It is at work while others read: they see whole files only.
            while len(seen) < 5 + attempt:
                assert time.monotonic() < deadline
                seen.add(find_release("m", tmp_path, PLAIN, None).release.labels["A"])
            writer.send_signal(signal.SIGKILL)
        assert find_release("m", tmp_path, PLAIN, None).source == "release.json"
        model = scan_model([tmp_path.parent], tmp_path.name)
        assert model is not None
        assert model.problem is None
