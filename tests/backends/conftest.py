import asyncio
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import text_format

from kserve_v2.backend import (
    AsyncInstance,
    Backend,
    Instance,
    Model,
    ModelConfig,
    ModelSource,
    Placement,
    ThreadBudget,
)
from kserve_v2.messages import Tensors

CPU = Placement("model_0_0", "CPU")


class InstanceThread:
    """Makes, runs and closes one instance on a thread of its own, as the server does."""

    def __init__(self, model: Model, placement: Placement = CPU) -> None:
        self._thread = ThreadPoolExecutor(1)
        try:
            self.instance: Instance | AsyncInstance = self.call(model.instance, placement)
        except BaseException:
            self._thread.shutdown()
            raise

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a function on the instance's thread."""
        return self._thread.submit(function, *args).result()

    def execute(self, tensors: Tensors) -> Tensors:
        """One execution, whichever kind of instance this is."""
        if isinstance(self.instance, AsyncInstance):
            result: Tensors = self.call(asyncio.run, self.instance.execute_async(tensors, []))
        else:
            result = self.call(self.instance.execute, tensors, [])
        return result

    def close(self) -> None:
        """Close the instance and end its thread."""
        try:
            self.call(self.instance.close)
        finally:
            del self.instance
            self._thread.shutdown()


class Loader:
    """Writes model versions to disk and loads them; closes at the end of the test what it still holds."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self._root = root
        self._stack = stack

    def source(
        self,
        files: Mapping[str, str | bytes],
        *,
        name: str = "m",
        version: int = 1,
        instances: int = 1,
        threads: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> ModelSource:
        """A version directory with these files, and what a backend is told about it."""
        version_path = self._root / name / str(version)
        for relative, content in files.items():
            path = version_path / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        version_path.mkdir(parents=True, exist_ok=True)
        source = ModelSource(
            name=name,
            version=version,
            model_path=version_path.parent,
            version_path=version_path,
            settings=settings or {},
            placements=tuple(Placement(f"{name}_0_{index}", "CPU") for index in range(instances)),
            threads=ThreadBudget(threads),
        )
        self._stack.callback(source.handover.close)
        return source

    def config(self, backend: Backend, source: ModelSource, text: str = "") -> ModelConfig:
        """A configuration in text form with the defaults of the backend, not completed yet."""
        config = ModelConfig(
            name=source.name, default_model_filename=backend.default_filename, platform=backend.platform
        )
        text_format.Merge(text, config)
        return config

    def complete(self, backend: Backend, source: ModelSource, text: str = "") -> ModelConfig:
        """The completed configuration."""
        config = self.config(backend, source, text)
        backend.complete(source, config)
        return config

    def load(self, backend: Backend, source: ModelSource, text: str = "") -> Model:
        """A loaded model, to be closed by the test or at its end."""
        model = backend.load(source, self.complete(backend, source, text))
        self._stack.callback(model.close)
        return model

    def serve(self, backend: Backend, source: ModelSource, text: str = "") -> InstanceThread:
        """One instance of a freshly loaded model."""
        instance = InstanceThread(self.load(backend, source, text), source.placements[0])
        self._stack.callback(instance.close)
        return instance


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    with ExitStack() as stack:
        yield Loader(tmp_path, stack)


@pytest.fixture
def instance_thread() -> type[InstanceThread]:
    return InstanceThread


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module fake.py, which test modules cannot import by name."""
    spec = importlib.util.spec_from_file_location("fake_backend", Path(__file__).with_name("fake.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
