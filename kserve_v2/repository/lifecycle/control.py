"""What models may do with the repository: load and unload other models, and ask whether they are ready."""

import asyncio
import concurrent.futures
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from kserve_v2.errors import (
    InternalError,
    InvalidArgumentError,
    ServingError,
    UnavailableError,
)
from kserve_v2.repository.lifecycle.load_request import NO_FILES, PLAIN, LoadRequest

T = TypeVar("T")

NOT_EXPLICIT = (
    "explicit model load / unload is not allowed: start the server with --model-control-mode=explicit"
)


POLLING = "explicit model load / unload is not allowed if polling is enabled"
"""Triton's text."""


def not_allowed(*, polling: bool) -> UnavailableError:
    """Why neither clients nor models may load and unload."""
    return UnavailableError(POLLING if polling else NOT_EXPLICIT)


class Repository(Protocol):
    """Whoever loads and unloads. On the event loop's thread."""

    exiting: bool

    @property
    def explicit(self) -> bool:
        """Whether others than the operator may do it."""
        ...

    @property
    def polling(self) -> bool:
        """Whether it is the repository's changes that do it."""
        ...

    async def load(self, name: str, request: LoadRequest = PLAIN) -> None:
        """Load a model; returns when it is ready."""
        ...

    def aside(self, names: Collection[str]) -> AbstractContextManager[None]:
        """While models, which may be being loaded, wait until another one is loaded."""
        ...

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Serve a model no longer."""
        ...

    async def in_force(self) -> None:
        """Wait until all processes of the server go by what was said."""
        ...

    def acquire(self, name: str, version: str = "") -> object:
        """The version that answers. Raises the ServingError of one that does not."""
        ...


class Controls:
    """What all models have: whose load waits for whose."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._waits: dict[str, Counter[str]] = {}

    def of(self, model: str) -> "ThreadControl":
        """The face of it for a version of a model that is about to be loaded."""
        return ThreadControl(self, model)

    async def load(self, model: str, name: str, request: LoadRequest, *, loading: bool) -> None:
        """`model` loads another one; `loading`: it is not ready until that is. Raises InternalError if both would wait
        for ever.
        """
        repository = self.repository
        self.check_explicit()
        if repository.exiting:
            raise UnavailableError("Server exiting")
        if not loading:
            await repository.load(name, request)
            return
        if self._reaches(name, model):
            raise InternalError(
                f"model '{name}' cannot be loaded: its load would wait for that of model '{model}', which waits for it"
            )
        waits = self._waits.setdefault(model, Counter())
        waits[name] += 1
        try:
            with repository.aside([model]):
                await repository.load(name, request)
        finally:
            waits[name] -= 1
            if not waits[name]:
                del waits[name]
            if not waits:
                self._waits.pop(model, None)

    def check_explicit(self) -> None:
        """Raise UnavailableError unless models may do this."""
        if not self.repository.explicit:
            raise not_allowed(polling=self.repository.polling)

    def _reaches(self, start: str, goal: str) -> bool:
        seen: set[str] = set()
        to_see = [start]
        while to_see:
            model = to_see.pop()
            if model == goal:
                return True
            if model not in seen:
                seen.add(model)
                to_see.extend(self._waits.get(model, ()))
        return False


class ThreadControl:
    """For one version of a model, from any thread. See `ModelControl`."""

    def __init__(self, controls: Controls, model: str) -> None:
        """Made on the server's event loop."""
        self._controls = controls
        self._model = model
        self._loop = asyncio.get_running_loop()
        self.loading = True
        """Whether the version is not ready yet."""

    def load(self, name: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model, or load it anew."""
        # Copied, as the model may change its own.
        copied = {name: bytes(content) for name, content in files.items()} if files else NO_FILES
        request = LoadRequest(config, copied)
        self._run(self._controls.load(self._model, name, request, loading=self.loading))

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Unload a model."""

        async def unload() -> None:
            self._controls.check_explicit()
            self._controls.repository.unload(name, dependents=dependents)
            await self._controls.repository.in_force()

        self._run(unload())

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers."""

        async def ask() -> bool:
            try:
                self._controls.repository.acquire(name, version)
            except InvalidArgumentError:
                raise
            except ServingError:
                return False
            return True

        return self._run(ask())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise UnavailableError("Server exiting") from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise UnavailableError("Server exiting") from None
        except BaseException:
            future.cancel()
            raise
        finally:
            # The error that it has holds this frame.
            del future
