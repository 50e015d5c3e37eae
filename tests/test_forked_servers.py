"""A server that is forked finds what one that is started finds."""

from pathlib import Path

import pytest

from tests import forked_servers

pytestmark = pytest.mark.slow

NAME = "libof_this_test_alone.so"


@pytest.fixture
def library() -> Path:
    """Any shared library."""
    maps = Path("/proc/self/maps").read_text().split()
    return Path(next(word for word in maps if "/libc.so" in word or "/libc-" in word or "/ld-musl" in word))


def test_each_has_the_library_path_that_it_is_given_whichever_had_another_before(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "libraries"
    there.mkdir()
    (there / NAME).symlink_to(library)
    (tmp_path / "looks.py").write_text(
        f"import ctypes\ntry:\n    ctypes.CDLL({NAME!r})\n    print('found')\nexcept OSError:\n    print('not found')\n"
    )

    def looked() -> str:
        with (tmp_path / "log").open("w") as log:
            process = forked_servers.start("looks", (), log, tmp_path)
        with process.stdout:
            said = process.stdout.read().strip()
        assert process.wait(60) == 0
        return said

    said = [looked()]
    monkeypatch.setenv("LD_LIBRARY_PATH", str(there))
    said.append(looked())
    monkeypatch.undo()
    said.append(looked())
    assert said == ["not found", "found", "not found"]
