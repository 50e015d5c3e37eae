"""What a load has made is gone after the unload, after the next generation's load, and after a load that fails: the short
form of `python -m benchmarks.unloading`, by objects and threads, which can be counted exactly.
"""

import asyncio
import gc
import linecache
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.unloading import MODELS, write_models
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.residency.residency import Claim
from kserve_v2.scheduling.executing.instance import InstanceThread
from kserve_v2.scheduling.replies import infer

pytestmark = pytest.mark.slow

KINDS: tuple[type, ...] = (
    LoadedModel,
    InstanceThread,
    Claim,
    onnxruntime.InferenceSession,
    torch.jit.ScriptModule,
    torch.fx.GraphModule,
)
IN_PROCESS = [name for name in MODELS if "isolated" not in name]


class Census:
    """What there is of what loads make, beside what other tests in this process have left. `more`: what there was too
    much of at the last look.
    """

    def __init__(self) -> None:
        self.more: Counter[str] = Counter()
        gc.collect()
        # Held, so that nothing that comes later has the identity of one of these.
        self._before = [each for each in gc.get_objects() if self._is_counted(each)]
        self._before_ids = {id(each) for each in self._before}
        self._threads_before = set(threading.enumerate())
        self._sources_before = set(linecache.cache)

    @staticmethod
    def _is_counted(each: object) -> bool:
        return issubclass(type(each), KINDS) or (type(each).__name__ == "Model" and hasattr(each, "itself"))

    async def shrinks_to(self, most: Counter[str]) -> None:
        """Wait until there is no more than this. A thread outlives its last callback for a moment."""
        while more := self.take() - most:
            self.more = more
            await asyncio.sleep(0.01)

    def take(self) -> Counter[str]:
        """What there is now."""
        gc.collect()
        found = Counter(
            next((kind.__name__ for kind in KINDS if isinstance(each, kind)), "of the model's class")
            for each in gc.get_objects()
            if self._is_counted(each) and id(each) not in self._before_ids
        )
        # torch keeps the texts of generated functions, unless it is told not to.
        sources = linecache.cache.keys() - self._sources_before
        found["sources"] = sum("eval_with_key" in key for key in sources)
        new = set(threading.enumerate()) - self._threads_before
        found["threads"] = sum("good" in thread.name or "broken" in thread.name for thread in new)
        return found


async def ask(manager: ModelManager) -> None:
    model = manager.acquire("good")
    request = InferRequest("good", {"x": np.ones((1, 1), np.float32)})
    model.check(request)
    answer = await infer(model, request)
    assert answer.outputs["y"].tolist() == [[1.0]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", IN_PROCESS)
def test_nothing_is_left(tmp_path: Path, name: str) -> None:
    file = write_models(tmp_path, name, 1000)

    async def main() -> None:
        manager = ModelManager(RepositoryOptions((tmp_path,), explicit=True), BackendRegistry())
        try:
            await manager.load("good")
            await ask(manager)
            with pytest.raises(InvalidArgumentError):
                await manager.load("broken")
            loaded = census.take()
            assert loaded["threads"] == loaded["InstanceThread"] >= 1
            for _ in range(2):
                manager.unload("good")
                await manager.load("good")
                await ask(manager)
            await census.shrinks_to(loaded)
            for number in range(2):
                os.utime(file, ns=(number, number))
                await manager.load("good")
                await ask(manager)
            await census.shrinks_to(loaded)
            for _ in range(2):
                with pytest.raises(InvalidArgumentError):
                    await manager.load("broken")
            await census.shrinks_to(loaded)
            manager.unload("good")
            for kind in ("LoadedModel", "Claim", "threads", "of the model's class", "InferenceSession"):
                del loaded[kind]
            await census.shrinks_to(loaded)
            assert manager.residency.used == {}
        finally:
            await manager.stop()

    census = Census()
    try:
        asyncio.run(asyncio.wait_for(main(), 60))
    except TimeoutError:
        pytest.fail(f"left over: {census.more}")
