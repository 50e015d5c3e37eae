"""The copies of models that a worker has: it loads what the home has loaded, has requests answered by them where the
home says so, and tells what they count.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

from kserve_v2.acceptance import handed_on, is_accepted
from kserve_v2.errors import NotHereError
from kserve_v2.handlers.modules import OWN_MODULES
from kserve_v2.memory.regions import RegionsElsewhere, SharedMemoryRegions
from kserve_v2.memory.tidying import Tidying
from kserve_v2.messages import InferRequest
from kserve_v2.plugins import BackendRegistry
from kserve_v2.processes.accepted import Accepted
from kserve_v2.processes.kinds import Kind
from kserve_v2.processes.link import Link
from kserve_v2.processes.replica_messages import CopyReport, Order, Payload, Report, Route, config_of
from kserve_v2.repository.lifecycle.draining import drain
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.routing.choose import Headers
from kserve_v2.repository.routing.served import Served
from kserve_v2.scheduling.contained import call_on_thread
from kserve_v2.scheduling.counts import Counts, counts_of, since
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.slices import Slicer
from kserve_v2.tracing.config import TraceConfig
from kserve_v2.tracing.tracer import Tracer

logger = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
"""How often the home is told what was counted, unasked."""

# Together their counts stay below what the link sends in one piece, so reports arrive in the order in which they were
# made.
_MOST_REPORTED = 64


class Copy:
    """One copy, and what the home knows of it."""

    def __init__(self, number: int, model: ExecutedModel) -> None:
        self.number = number
        self.model = model
        self._counts: Counts = {}
        self._activity = -1
        self._doing: tuple[tuple[int, ...], int, bool] = ((), 0, True)

    def report(self) -> CopyReport | None:
        """What is new since the last time; None for nothing."""
        model = self.model
        doing = tuple(model.depths), model.places, model.idle
        if (self._activity, self._doing) == (model.activity, doing):
            return None
        self._activity, self._doing = model.activity, doing
        counts = counts_of(model.statistics)
        new, self._counts = since(counts, self._counts), counts
        return CopyReport(self.number, new, model.executed_ms, *doing)


class ReplicaHost:
    """All of them. Lives on the worker's event loop."""

    def __init__(self, registry: BackendRegistry, shared: Shared, load_threads: int = 4) -> None:
        """`shared`: what the copies have in common."""
        self.service = ReplicaService(self, shared)
        self._registry = registry
        self._shared = shared
        self._loaders = ThreadPoolExecutor(load_threads, thread_name_prefix="replica-load")
        self._copies: dict[int, Copy] = {}
        # As in `ModelMap`.
        self._serving: dict[str, Served] = {}
        # What the home answers of what has come here.
        self.accepted = Accepted()
        self._withdrawn = False
        self._tidying = Tidying(OWN_MODULES)
        self._reporting: asyncio.Task[None] | None = None
        self._metrics_said = Report(metrics=[]).encode()

    def __repr__(self) -> str:
        return (
            f"<ReplicaHost {[copy.model for copy in self._copies.values()]} serving {sorted(self._serving)}>"
        )

    def serve(self, link: Link) -> None:
        """Do what the home says."""
        link.on(Kind.REPLICA_LOAD, self._load)
        link.on(Kind.REPLICA_ROUTE, self._route)
        link.on(Kind.REPLICA_INSTANCES, self._change_instances)
        link.on(Kind.REPLICA_CLOSE, self._close)
        link.on(Kind.REPLICA_COUNT, lambda _: self._report().encode())
        link.on(Kind.REPLICA_WITHDRAW, self._withdraw)
        self._reporting = asyncio.get_running_loop().create_task(self._keep_reporting(link))

    # --- requests -------------------------------------------------------------------------------------------------

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """See `Inference.acquire`. Raises NotHereError for what is the home's to answer."""
        served = self._serving.get(name) if is_accepted() or not self._withdrawn else None
        if served is not None:
            model = served.latest if not version else served.versions.get(version)
            if model is not None:
                return model
        raise NotHereError(f"Request for model '{name}' is another process's")

    def has(self, name: str, version: str = "") -> bool:
        """Whether a copy answers requests to a model now."""
        served = self._serving.get(name) if not self._withdrawn else None
        return served is not None and (served.versions.get(version) if version else served.latest) is not None

    # --- what the home says ---------------------------------------------------------------------------------------

    async def _load(self, payload: Payload) -> bytes:
        order = Order.decode(payload)
        prepared = await call_on_thread(self._loaders, order.prepared, self._registry)
        try:
            model = await ExecutedModel.load(prepared, self._loaders, self._shared)
        except BaseException:
            self._tidying.after_end()
            raise
        self._copies[order.number] = Copy(order.number, model)
        self._tidying.after_load()
        return b""

    def _route(self, payload: Payload) -> None:
        """Done when the home is told that it is."""
        route = Route.decode(payload)
        copies = {version: self._copies.get(number) for version, number in route.versions.items()}
        models: dict[str, LoadedModel] = {
            version: copy.model for version, copy in copies.items() if copy is not None
        }
        if models and not self._withdrawn:
            latest = next((each for each in models.values() if each.version == route.latest), None)
            self._serving[route.name] = Served(MappingProxyType(models), latest)
        else:
            self._serving.pop(route.name, None)

    async def _change_instances(self, payload: Payload) -> bytes:
        said = json.loads(bytes(payload))
        await self._copies[said["number"]].model.change_instances(config_of(said["config"]), 0)
        return b""

    async def _close(self, payload: Payload) -> bytes:
        said = json.loads(bytes(payload))
        model = self._copies[said["number"]].model
        model.leaving = True
        await drain(model, said["limit_s"], self._answering)
        await model.close()
        del self._copies[said["number"]], model
        self._tidying.after_end()
        return b""

    def _answering(self) -> list[LoadedModel]:
        return [model for served in self._serving.values() for model in served.versions.values()]

    def _withdraw(self, payload: Payload) -> Awaitable[bytes]:
        """Nothing that comes is answered from now on; what has come is waited for."""
        self._withdrawn = True
        return self._finish()

    async def _finish(self) -> bytes:
        await handed_on()
        self.accepted.open = False
        slicer = self.service.slicer
        # What is being read was accepted, and needs its model.
        await slicer.idle()
        await self.accepted.none()
        self._serving.clear()
        await asyncio.gather(*(copy.model.drain() for copy in self._copies.values()))
        await slicer.idle()
        return self._report().encode()

    # --- what it is told ------------------------------------------------------------------------------------------

    def _report(self, most: int | None = None) -> Report:
        """What is new of up to so many copies, and of the metrics that their models make themselves."""
        found: list[CopyReport] = []
        for copy in self._copies.values():
            if most is not None and len(found) == most:
                break
            if (report := copy.report()) is not None:
                found.append(report)
        metrics = self._shared.metrics.report()
        said = Report(metrics=metrics).encode()
        if said == self._metrics_said:
            return Report(found)
        self._metrics_said = said
        return Report(found, metrics)

    async def _keep_reporting(self, link: Link) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            while report := self._report(_MOST_REPORTED):
                link.notify(Kind.REPLICA_REPORT, report.encode())

    # --- the end --------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """The time to wait is up: fail what has not begun."""
        for copy in self._copies.values():
            copy.model.abandon()

    async def close(self) -> None:
        """Close all copies: what waits fails, and what is being executed is awaited."""
        if self._reporting is not None:
            self._reporting.cancel()
        self._tidying.stop()
        self._withdrawn = True
        self._serving.clear()
        self.abandon()
        copies, self._copies = self._copies, {}
        await asyncio.gather(*(copy.model.close() for copy in copies.values()))
        self._loaders.shutdown(wait=False, cancel_futures=True)


class ReplicaService:
    """What front ends ask: an `Inference` that raises NotHereError for what is not this process's to answer."""

    def __init__(self, host: ReplicaHost, shared: Shared) -> None:
        self.acquire = host.acquire
        self.inflight = shared.inflight
        # Models that are traced are asked in the home.
        self.tracer = Tracer(TraceConfig())
        self.shared_memory: SharedMemoryRegions = RegionsElsewhere()
        self.slicer = Slicer()

    def route(self, model: LoadedModel, request: InferRequest | None, headers: Headers) -> LoadedModel:
        """No copy splits."""
        return model

    def check(self, model: LoadedModel, request: InferRequest) -> LoadedModel:
        """Check a decoded request."""
        model.check(request)
        return model

    async def demand(self, name: str, size: int = 0) -> None:
        """Never needed: `acquire` does not ask for it."""
        raise NotHereError(f"Request for model '{name}' is another process's")
