"""The service that both front ends call: everything that a client can ask for, free of any wire format."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version as distribution_version
from typing import Protocol, TypeVar

from kserve_v2.acceptance import is_accepted
from kserve_v2.backend import ModelConfig
from kserve_v2.errors import (
    ExitingError,
    InvalidArgumentError,
    NotLoadedError,
    NotServedError,
    ServingError,
    UnavailableError,
)
from kserve_v2.logs import log
from kserve_v2.logs.settings import LogChanges, LogSettings
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.memory.regions import SharedMemoryRegions
from kserve_v2.messages import IndexEntry, InferRequest, InferResponse, ModelMetadata, ServerMetadata
from kserve_v2.repository.lifecycle.control import not_allowed
from kserve_v2.repository.lifecycle.load_request import PLAIN, LoadRequest, check_may_upload
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.choose import Headers
from kserve_v2.repository.routing.releases import ReleaseView
from kserve_v2.repository.routing.split_model import SplitModel
from kserve_v2.scheduling.failures import unheard
from kserve_v2.scheduling.replies import infer
from kserve_v2.scheduling.sequences.table import SERVER_STOPS, finishes, stopping
from kserve_v2.scheduling.slices import Slicer
from kserve_v2.tracing.settings import TraceChanges
from kserve_v2.tracing.tracer import Tracer

T = TypeVar("T")

EXTENSIONS = (
    "classification",
    "sequence",
    "sequence(string_id)",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""What the server metadata advertises: only what works."""

SYSTEM_SHARED_MEMORY = "system_shared_memory"
"""Advertised as well where clients may use it."""

CUDA_SHARED_MEMORY = "cuda_shared_memory"
"""Advertised as well where clients may use it and there is a CUDA device."""


FIXED_RELEASES = (
    "releases are not changed by clients: start the server with --model-control-mode=explicit, or edit release.json "
    "and start it again"
)


class Inference(Protocol):
    """What it takes to answer inference requests. The members are those of `InferenceService`."""

    tracer: Tracer
    inflight: InflightBytes
    shared_memory: SharedMemoryRegions
    slicer: Slicer
    """Reads large requests, and writes large answers. Who drains the models waits for it, too."""

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """The model that answers a request; once the server was told to end, only one that is accepted, see
        `acceptance`. Raises ServingError.
        """
        ...

    def route(self, model: LoadedModel, request: InferRequest | None, headers: Headers) -> LoadedModel:
        """The version that answers a request to a model that `splits`."""
        ...

    def check(self, model: LoadedModel, request: InferRequest) -> LoadedModel:
        """Check a decoded request; returns what answers it. Raises ServingError."""
        ...

    async def demand(self, name: str, size: int = 0) -> None:
        """Have a model loaded for which `acquire` has raised NotLoadedError. Raises ServingError."""
        ...


class InferenceService:
    """One server's answers. Lives on the server's event loop."""

    def __init__(
        self,
        manager: ModelManager,
        tracer: Tracer,
        *,
        server_id: str,
        explicit: bool,
        strict_readiness: bool = True,
        client_shm: bool = False,
        tell_log_settings: Callable[[LogSettings], Awaitable[None]] | None = None,
    ) -> None:
        """`explicit`: clients may load and unload models. `strict_readiness`: not ready while any model is
        not. `client_shm`: clients may register shared memory. `tell_log_settings`: to other processes that log.
        """
        self._tell_log_settings = tell_log_settings
        self.manager = manager
        self.tracer = tracer
        self.inflight = manager.inflight
        self.shared_memory = SharedMemoryRegions(enabled=client_shm)
        self.slicer = Slicer()
        self._server_id = server_id
        self._explicit = explicit
        self._strict_readiness = strict_readiness
        self._exiting = False
        self._leaving = False

    async def readiness(self) -> AsyncIterator[bool]:
        """Whether the server is ready: now, and again whenever that changes."""
        last: bool | None = None
        while True:
            changed = self.manager.changed
            ready = self.ready()
            if ready is not last:
                last = ready
                yield ready
            await changed.wait()

    def leave(self) -> None:
        """The server is not ready from now on, but answers as before: until `exit`."""
        self._leaving = True
        self.manager.announce_change()

    def exit(self) -> None:
        """Stop taking inference requests: the server is not ready from now on, and finishes what is under
        way.
        """
        self._exiting = self._leaving = True
        self.manager.exit()

    async def finish(self) -> None:
        """Wait until what has come is read and executed, and its answers are written. After `exit`."""
        # What is being read, here and in workers, was accepted; models wait for it.
        await asyncio.gather(self.slicer.idle(), self.manager.replicas.withdraw())
        await self.manager.drain()
        await self.slicer.idle()

    # --- health and metadata
    # ------------------------------------------------------------------------------------------

    @property
    def leaving(self) -> bool:
        """Whether the server ends, soon or now: requests should go elsewhere."""
        return self._leaving

    def ready(self) -> bool:
        """Whether the server should get requests."""
        return not self._leaving and (not self._strict_readiness or self.manager.all_ready())

    async def all_say_ready(self, names: Sequence[str]) -> bool:
        """Whether the server should get requests to all these models, whatever the others are."""
        if self._leaving:
            return False
        return all([await self.model_says_ready(name) for name in names])

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers. Unknown models are not ready; raises InvalidArgumentError for a malformed
        version.
        """
        try:
            self.manager.acquire(name, version)
        except InvalidArgumentError:
            raise
        except ServingError:
            return False
        return not self._leaving

    async def model_says_ready(self, name: str, version: str = "") -> bool:
        """As `model_ready`; a model that can say more of it is asked. Raises as that."""
        return self.model_ready(name, version) and await self.manager.acquire(name, version).says_ready()

    def server_metadata(self) -> ServerMetadata:
        """Name, version and extensions of this server."""
        extensions: tuple[str, ...] = EXTENSIONS
        if self.shared_memory.enabled:
            extensions += (SYSTEM_SHARED_MEMORY,)
        if self.shared_memory.cuda.available:
            extensions += (CUDA_SHARED_MEMORY,)
        return ServerMetadata(self._server_id, distribution_version("kserve-v2"), extensions)

    def model_metadata(self, name: str, version: str = "") -> ModelMetadata:
        """Inputs and outputs of a model. Raises as `acquire` does."""
        model = self.manager.acquire(name, version)
        name = self.manager.asked(name, version)
        versions = [model] if version else self.manager.ready_versions(name)
        signature = model.signature
        shown = tuple(str(each.version) for each in versions)
        labels = self.manager.labels(name)
        return ModelMetadata(
            name,
            shown,
            signature.platform,
            signature.input_metadata(),
            signature.output_metadata(),
            {label: str(number) for label, number in labels.items() if str(number) in shown},
        )

    def model_config(self, name: str, version: str = "") -> ModelConfig:
        """The complete configuration of a model. Raises as `acquire` does."""
        return self.manager.acquire(name, version).config

    def versions(self, name: str, version: str = "") -> Sequence[IndexEntry]:
        """What the index says of one model that is or was loaded, without a look at the disk; nothing of others. It is
        the one that answers requests to `name` and `version`.
        """
        return self.manager.entries(self.manager.asked(name, version))

    def statistics(self, name: str = "", version: str = "") -> Sequence[LoadedModel]:
        """The loaded versions whose statistics are asked for; "" for all models, or all versions of one.

        Raises InvalidArgumentError for a model or version that does not answer, as Triton does, and NotFoundError for a
        label that there is not.
        """
        if not name:
            return self.manager.ready_models()
        ready = self.manager.ready_versions(self.manager.asked(name, version))
        if not ready:
            raise InvalidArgumentError(f"requested model '{name}' is not available")
        if not version:
            return ready
        number = self.manager.version_number(name, version)
        wanted = [model for model in ready if model.version == number]
        if not wanted:
            raise InvalidArgumentError(f"requested model version is not available for model '{name}'")
        return wanted

    async def counted(self, name: str = "", version: str = "") -> Sequence[LoadedModel]:
        """As `statistics`, once everything is counted that other processes of the server have counted by now."""
        await self.manager.count()
        return self.statistics(name, version)

    # --- models that are loaded when they are asked for
    # ------------------------------------------------------------------------------------------------------------------

    async def demand(self, name: str, size: int = 0) -> None:
        """Have a model loaded that `acquire` has not found loaded; see `ModelManager.demand`. `size`: what the request
        that waits for it takes of memory. Raises as that, and as `InflightBytes.take`.
        """
        if size:
            self.inflight.take(size)
        try:
            await self.manager.demand(name)
        finally:
            self.inflight.give(size)

    async def loaded(self, ask: Callable[[], T], size: int = 0) -> T:
        """What `ask` returns, once the model that it asks for is loaded. `size`: as for `demand`. Raises as `ask`,
        and as `demand`.
        """
        while True:
            try:
                return ask()
            except NotLoadedError as error:
                name = error.model_name
            # It may be unloaded again before it is asked: then it is loaded again, too.
            await self.demand(name, size)

    async def is_on_demand(self, name: str) -> bool:
        """Whether a model is not loaded, and would be if it was asked for."""
        try:
            self.acquire(name)
        except NotLoadedError:
            return await self.manager.find(name) is not None
        except ServingError:
            return False
        return False

    # --- inference
    # ----------------------------------------------------------------------------------------------------

    @property
    def _refuses(self) -> bool:
        """Whether the request at hand has come too late."""
        return self._exiting and not is_accepted()

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """The model that answers an inference request; see `ModelManager.acquire`. Raises UnavailableError when
        exiting, but for what was accepted.
        """
        try:
            if self._refuses:
                raise ExitingError("Server exiting")
            return self.manager.acquire(name, version)
        except ServingError:
            # Sequences that have begun may end.
            model = self.manager.finishing(name, version)
            if model is None:
                raise
            return model

    def check(self, model: LoadedModel, request: InferRequest) -> LoadedModel:
        """Check a decoded request to an acquired model; see `LoadedModel.check`. Returns the version that answers it,
        which is another one if that holds its sequence.

        Raises UnavailableError for one that would begin a sequence of what goes away.
        """
        if request.control:
            model = self.manager.for_sequence(model, request)
        if self._refuses or model.leaving:
            self._check_begins_nothing(model, request)
        model.check(request)
        return model

    def _check_begins_nothing(self, model: LoadedModel, request: InferRequest) -> None:
        """The sequences of a model may end, and what is under way may begin some: its scheduler takes them until that
        is over. A client begins none any more. Raises UnavailableError.
        """
        control = request.control
        starts = control.get("sequence_start")
        if not (starts or (model.sequences is not None and not control.get("sequence_id"))):
            return
        if not self._refuses:
            comes_again = self.manager.comes_again(model)
            why = finishes(model.name, model.version)
            raise stopping(why, UnavailableError if comes_again else NotServedError)
        raise (
            stopping(SERVER_STOPS, ExitingError)
            if model.sequences is not None
            else ExitingError("Server exiting")
        )

    def route(self, model: LoadedModel, request: InferRequest | None, headers: Headers) -> LoadedModel:
        """The version that answers a request to an acquired model that `splits`. `request`: None if it is not decoded
        yet; then the model is returned as it is, if more than the headers matters. It counts as a request for that
        version.
        """
        assert isinstance(model, SplitModel)  # noqa: S101 - no other splits
        return model if request is None and model.reads_requests else model.choose(request, headers)

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer one request. Raises the error that is its outcome instead."""
        model = self.acquire(request.model_name, request.model_version)
        if model.splits:
            model = self.route(model, request, ())
        model = self.check(model, request)
        return await infer(model, request)

    # --- the repository
    # -----------------------------------------------------------------------------------------------

    async def index(self, *, ready_only: bool = False) -> list[IndexEntry]:
        """The models of the repository and their states, by name and version."""
        entries = await self.slicer.finish(self.manager.index_of(await self.manager.scan()))
        return [entry for entry in entries if entry.state == "READY"] if ready_only else entries

    async def load(self, name: str, request: LoadRequest = PLAIN) -> None:
        """Load or reload a model; returns when it is ready.

        Raises UnavailableError unless clients may do this, or when exiting, OverloadedError if there is no room for its
        files, and otherwise as `ModelManager.load`.
        """
        self.check_may_load(request.files)
        size = sum(map(len, request.files.values()))
        self.inflight.take(size)
        # A load goes on when its caller leaves, and so does what its files take of memory.
        load = asyncio.ensure_future(self.manager.load(name, request))
        load.add_done_callback(lambda _: self.inflight.give(size))
        try:
            await asyncio.shield(load)
        except asyncio.CancelledError:
            load.add_done_callback(unheard)
            raise

    def check_may_load(self, files: Iterable[str] = ()) -> None:
        """Raise UnavailableError unless clients may load models, or when exiting, and UnsupportedError if `files`, the
        names of their parameters, must not come with a load.
        """
        self._check_explicit()
        if self._exiting:
            raise ExitingError("Server exiting")
        check_may_upload(files, allowed=self.manager.takes_files)

    async def unload(self, name: str, *, dependents: bool = False) -> None:
        """Unload a model; returns as soon as it does not answer any more. Unknown models are unloaded already.
        `dependents`: see `ModelManager.unload`. Raises UnavailableError as `load`.
        """
        self._check_explicit()
        self.manager.unload(name, dependents=dependents)
        await self.manager.in_force()

    # --- settings
    # -----------------------------------------------------------------------------------------------------

    def log_settings(self) -> LogSettings:
        """What is logged."""
        return log.current()

    async def update_log_settings(self, changes: LogChanges) -> LogSettings:
        """Change what is logged from now on; returns all settings."""
        changed = log.current().updated(changes)
        log.apply(changed)
        if self._tell_log_settings is not None:
            await self._tell_log_settings(changed)
        return changed

    def trace_settings(self, model: str = "") -> dict[str, str | list[str]]:
        """The trace settings that hold for a model, or for "" the server's. Raises InvalidArgumentError for an
        unknown model.
        """
        if model and not self.model_ready(model):
            raise InvalidArgumentError(f"Request for unknown model : {model}")
        return self.tracer.describe(model)

    async def update_trace_settings(self, model: str, changes: TraceChanges) -> dict[str, str | list[str]]:
        """Change a model's trace settings, or for "" the server's; returns all of them. Raises
        InvalidArgumentError for an unknown model, or settings that cannot be.
        """
        self.trace_settings(model)
        self.tracer.update(model, changes)
        self.manager.replicas.publish_again()
        await self.manager.in_force()
        return self.tracer.describe(model)

    # --- releases
    # -----------------------------------------------------------------------------------------------------

    async def release(self, name: str) -> ReleaseView:
        """The release of a model. Raises NotFoundError for one that is not loaded."""
        return await self.manager.releases.show(name)

    async def change_release(self, name: str, document: object, who: str) -> ReleaseView:
        """Change the release of a model; see `Releases.change`. One that is loaded when it is asked for is asked for.
        Raises UnavailableError unless clients may do this, or when exiting, and otherwise as that, and as `demand`.
        """
        if not self._explicit and not self.manager.polling:
            raise UnavailableError(FIXED_RELEASES)
        if self._exiting:
            raise ExitingError("Server exiting")
        await self.loaded(lambda: self._ask_for(name))
        changed = await self.manager.releases.change(name, document, who)
        await self.manager.in_force()
        return changed

    def _ask_for(self, name: str) -> None:
        """Raise NotLoadedError for a model that is not loaded, and is when it is asked for."""
        try:
            self.manager.acquire(name)
        except NotLoadedError:
            raise
        except ServingError:
            # Whether it can answer is another matter.
            pass

    def _check_explicit(self) -> None:
        if not self._explicit:
            raise not_allowed(polling=self.manager.polling)
