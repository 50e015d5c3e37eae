"""What docs/guides/client.md shows works as it stands there."""

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunningServer, StartServer

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/guides/client.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    root = tmp_path_factory.mktemp("models")
    for name in ("digits_onnx", "intent", "typeahead"):
        shutil.copytree(ROOT / "model_repository" / name, root / name)
    return start_server(root)


@pytest.mark.slow
def test_blocks_do_what_their_comments_say(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for block in BLOCKS:
        here = block.replace("http://127.0.0.1:8000", server.rest).replace("127.0.0.1:8001", server.grpc)
        exec(compile(here, "docs/guides/client.md", "exec"), names)  # noqa: S102 - our own guide
        said = capsys.readouterr().out.splitlines()
        assert said
        promised = re.findall(r"print\(.*  # (.*)$", block, re.MULTILINE)
        assert said[: len(promised)] == promised
