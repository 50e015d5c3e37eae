"""Models whose files are texts, and whose answers are those texts; with gates to hold loads and executions up."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kserve_v2._generated.model_config_pb2 import TYPE_STRING
from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InvalidArgumentError
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.scheduling.replies import infer


class TextModel:
    """Answers with the text of its model file. A file that says `fail` does not load."""

    def __init__(self, backend: "TextBackend", text: str) -> None:
        self.backend = backend
        self.text = text

    @property
    def adds_instances(self) -> bool:
        return self.backend.adds_instances

    def instance(self, placement: Placement) -> Instance:
        self.backend.instances.append(placement.name)
        assert self.backend.instance_gate.wait(60)
        if placement.name == self.backend.refused:
            raise InvalidArgumentError(f"no room for {placement.name}")
        self.backend.open += 1
        return self

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        self.backend.entered.set()
        assert self.backend.execution_gate.wait(60)
        answer = np.empty(1, dtype=np.object_)
        answer[0] = self.text.encode()
        return {"text": answer}

    def close(self) -> None:
        self.backend.open -= 1


class TextBackend:
    default_filename = "model.text"
    platform = ""

    def __init__(self) -> None:
        self.loads: list[tuple[str, int]] = []
        # Models and instances that are not closed.
        self.open = 0
        self.instances: list[str] = []
        # An instance that cannot be made.
        self.refused = ""
        self.adds_instances = True
        self.load_gate = threading.Event()
        self.load_gate.set()
        self.loading = threading.Event()
        self.instance_gate = threading.Event()
        self.instance_gate.set()
        self.execution_gate = threading.Event()
        self.execution_gate.set()
        self.entered = threading.Event()

    def gpu_count(self) -> int:
        return 0

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        config.output.add(name="text", data_type=TYPE_STRING, dims=[1])

    def load(self, source: ModelSource, config: ModelConfig) -> TextModel:
        self.loads.append((source.name, source.version))
        self.loading.set()
        assert self.load_gate.wait(60)
        text = source.model_file(config).read_text()
        if text == "fail":
            raise InvalidArgumentError("the file says fail")
        if text == "crash":
            raise ValueError("boom in /srv/models/m/vocabulary")
        self.open += 1
        return TextModel(self, text)


class SizedModel(TextModel):
    """Takes as much memory as its text is long, until it and its instances are closed."""

    backend: "SizedBackend"

    def __init__(self, backend: "SizedBackend", text: str) -> None:
        super().__init__(backend, text)
        self.users = 1
        backend.take(len(text))

    def memory(self) -> Mapping[str, int]:
        return {"cpu": len(self.text) + self.backend.extra}

    def instance(self, placement: Placement) -> Instance:
        self.users += 1
        return super().instance(placement)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        gate = self.backend.gates.get(self.text)
        self.backend.entered.set()
        assert gate is None or gate.wait(60)
        return super().execute(tensors, requests)

    def close(self) -> None:
        super().close()
        self.users -= 1
        if not self.users:
            self.backend.take(-len(self.text))


class SizedBackend(TextBackend):
    """`extra`: what each model says that it takes more. `gates`: what executions wait for, by the texts of models. `most`: what all models have taken at most."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, threading.Event] = {}
        self.bytes = self.most = self.extra = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        with self._lock:
            self.bytes += size
            self.most = max(self.most, self.bytes)

    def load(self, source: ModelSource, config: ModelConfig) -> TextModel:
        return SizedModel(self, super().load(source, config).text)


class OneBackend(BackendRegistry):
    """A registry whose only backend is `text`."""

    def __init__(self, backend: TextBackend) -> None:
        super().__init__()
        self._backends["text"] = backend  # type: ignore[assignment]


def write(root: Path, name: str, text: str, version: int = 1, config: str = "") -> None:
    directory = root / name / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.text").write_text(text)
    if config:
        (root / name / "config.pbtxt").write_text(config)


@asynccontextmanager
async def managing(
    root: Path, load_threads: int = 4, **options: Any
) -> AsyncIterator[tuple[ModelManager, TextBackend]]:
    """`options`: further ones of RepositoryOptions."""
    backend = TextBackend()
    manager = ModelManager(RepositoryOptions((root,), **options), OneBackend(backend), load_threads)
    try:
        yield manager, backend
    finally:
        backend.load_gate.set()
        backend.instance_gate.set()
        backend.execution_gate.set()
        await manager.stop()
        assert backend.open == 0


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


async def answer(manager: ModelManager, name: str, version: str = "") -> str:
    model, request = manager.acquire(name, version), InferRequest(name, {})
    model.check(request)
    response = await infer(model, request)
    text: bytes = response.outputs["text"].item()
    return text.decode()


async def is_set(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)
