"""An interpreter is tried before a model is run by it."""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import kserve_v2.environments.probe as module
from kserve_v2.environments.probe import probe
from kserve_v2.errors import InvalidArgumentError

ORIGIN = "EXECUTION_ENV_PATH env"


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], Path]:
    """An interpreter that does what a script says."""

    def write(script: str) -> Path:
        path = tmp_path / "python"
        path.write_text(script)
        path.chmod(0o755)
        return path

    return write


def failure(python: Path) -> str:
    with pytest.raises(InvalidArgumentError) as raised:
        probe(python, os.environ, ORIGIN)
    return raised.value.message


def test_our_own_interpreter_is_fine() -> None:
    found = probe(Path(sys.executable), os.environ, ORIGIN)
    assert (found.version, found.server) == (tuple(sys.version_info[:3]), version("kserve-v2"))


@pytest.mark.parametrize(
    ("told", "fits"),
    [
        ("[3, 8, 18]", False),
        ("[3, 9, 0]", True),
        ("[3, 13, 9]", True),
        ("[3, 14, 0]", False),
        ("[2, 7, 18]", False),
    ],
)
def test_versions_that_run_models(python: Callable[[str], Path], told: str, fits: bool) -> None:
    path = python(f"""#!/bin/sh\necho chatter\necho '{{"version": {told}, "server": ""}}'\n""")
    if fits:
        assert probe(path, os.environ, ORIGIN).server == ""
    else:
        shown = told.strip("[]").replace(", ", ".")
        assert failure(path) == f"{ORIGIN} has Python {shown}; models run with 3.9 to 3.13"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            '#!/bin/sh\necho \'{"version": [3, 9, 1], "server": "", "numpy": "ImportError: /opt/env/numpy.so: bad"}\'\n',
            f"{ORIGIN} has no numpy that works, which every model needs: install it there (ImportError: numpy.so: bad)",
        ),
        (
            "#!/bin/sh\necho error while loading /opt/env/lib/libpython3.9.so >&2; exit 127\n",
            f"{ORIGIN}: bin/python does not run: error while loading libpython3.9.so",
        ),
        ("#!/bin/sh\nexit 1\n", f"{ORIGIN}: bin/python does not run: it ended with status 1"),
        ("#!/bin/sh\necho hello\n", f"{ORIGIN}: bin/python does not run: it ended with status 0"),
        ("#!/bin/sh\necho '[]'\n", f"{ORIGIN}: bin/python does not run: it ended with status 0"),
        (
            "\x7fELF of another machine",
            f"{ORIGIN}: bin/python does not run: OSError: [Errno 8] Exec format error: 'python'. It has to be made for "
            "this machine",
        ),
    ],
)
def test_one_that_does_not_fit_is_an_error(python: Callable[[str], Path], script: str, reason: str) -> None:
    assert failure(python(script)) == reason


def test_one_that_hangs_is_given_up(python: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.05)
    assert (
        failure(python("#!/bin/sh\nexec sleep 600\n")) == f"{ORIGIN}: bin/python has not answered for 0.05 s"
    )
