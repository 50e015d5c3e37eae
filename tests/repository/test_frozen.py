"""Models that were there when their libraries were frozen are given back all the same; libraries stay frozen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.unloading import write_models

pytestmark = pytest.mark.slow

SCRIPT = """
import asyncio, gc, sys, weakref
from pathlib import Path
from kserve_v2.memory.collector import COLLECTOR, WORTH_FREEZING
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions

KINDS = {"LoadedModel", "ExecutedModel", "InstanceThread", "InferenceSession", "RecursiveScriptModule", "GraphModule"}

def found():
    return [
        each for each in gc.get_objects()
        if type(each).__name__ in KINDS or (type(each).__name__ == "Model" and hasattr(each, "itself"))
    ]

async def until(true):
    while not true():
        await asyncio.sleep(0.01)

async def main():
    COLLECTOR.freeze()
    begun = gc.get_freeze_count()
    manager = ModelManager(RepositoryOptions((Path(sys.argv[1]),), explicit=True), BackendRegistry())
    await manager.load("good")
    await until(lambda: gc.get_freeze_count() > begun + WORTH_FREEZING)
    frozen = gc.get_freeze_count()
    # Once the thread that freezes has taken out what is not to be frozen.
    await until(lambda: {"ExecutedModel", sys.argv[2]} <= {type(each).__name__ for each in found()})
    refs = {type(each).__name__: weakref.ref(each) for each in found()}
    manager.unload("good")
    await until(lambda: not any(ref() is not None for ref in refs.values()))
    assert gc.get_freeze_count() > begun + WORTH_FREEZING
    await manager.stop()

asyncio.run(asyncio.wait_for(main(), 300))
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(("name", "kind"), [("handler", "Model"), ("torchscript", "RecursiveScriptModule")])
def test_models_go_and_libraries_stay(tmp_path: Path, name: str, kind: str) -> None:
    file = write_models(tmp_path / "models", name, 1000)
    if name == "handler":
        (tmp_path / "library.py").write_text("TABLE = [[number] for number in range(20_000)]\n")
        file.write_text(f"import library\n{file.read_text()}")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "models"), kind],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
