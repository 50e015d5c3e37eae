"""The composition root: builds everything, and decides the order of start and stop. The only module that
knows all others.
"""

import asyncio
import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kserve_v2_child.freed_memory import keep_freed_memory
from starlette.types import ASGIApp

from kserve_v2.acceptance import handed_on
from kserve_v2.caching.cache import ResponseCache
from kserve_v2.caching.make import MissingPackageError, make_cache
from kserve_v2.config.content_types import input_contents
from kserve_v2.errors import NotFoundError, OverloadedError, ServingError
from kserve_v2.front_ends import grpc_options, has_fast_lane, http_connection, max_inflight_bytes, rest_server
from kserve_v2.inference import InferenceService
from kserve_v2.logs import console, log, start_report
from kserve_v2.logs.example_request import SAMPLE_REQUEST, example_curl
from kserve_v2.logs.load_progress import LoadProgress
from kserve_v2.logs.reload_report import ReloadReport
from kserve_v2.logs.stall_watch import StallWatch
from kserve_v2.logs.terminal import terminal
from kserve_v2.memory.collector import COLLECTOR
from kserve_v2.memory.inflight import InflightBytes
from kserve_v2.messages import IndexEntry
from kserve_v2.net.accepted import SharedServer
from kserve_v2.net.event_loop import loop_factory
from kserve_v2.net.http_server import HttpServer
from kserve_v2.net.limits import HttpLimits
from kserve_v2.net.listening import reachable, take_place
from kserve_v2.net.tls import TlsError, server_context
from kserve_v2.net.unix_socket import unix_path
from kserve_v2.packages import package_problem
from kserve_v2.plugins import BackendRegistry
from kserve_v2.processes.alone import Alone, FrontEnds, Processes
from kserve_v2.processes.balance import Door
from kserve_v2.processes.count import process_count
from kserve_v2.processes.home import Home
from kserve_v2.processes.replicas import ProcessReplicas
from kserve_v2.repository.lifecycle.replicas import NO_REPLICAS, Replicas
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.manager import ModelManager
from kserve_v2.repository.models.homes import Spread
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.sources.polling import Pace, Poller
from kserve_v2.repository.temporary_folder import remove_leftovers
from kserve_v2.repository.uploads.store import Uploads
from kserve_v2.rest.app import create_app
from kserve_v2.rest.cross_site import allow_origins
from kserve_v2.rest.fast_lane import FastLane
from kserve_v2.rest.metrics import MetricsApp
from kserve_v2.rpc.asyncio_server import AsyncioServer
from kserve_v2.rpc.servicer import all_rpcs
from kserve_v2.scheduling.limiting.rate_limiter import RateLimiter
from kserve_v2.scheduling.limiting.resources import Capacity
from kserve_v2.scheduling.shared import Shared
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError, repository_options, unreadable
from kserve_v2.tracing.tracer import Tracer, TracingError
from kserve_v2.ui.routes import add_ui_routes
from kserve_v2.v1.protocol import v1_protocol

if TYPE_CHECKING:
    from kserve_v2.torchserve_api.server import TorchServe

logger = logging.getLogger(__name__)

# What is idle needs that much to end well, even if the exit time-out is 0.
_IDLE_SECONDS = 0.1
# For slow readers, when all requests have been answered in time.
_FLUSH_SECONDS = 1
# To close front ends and models, at the least, when all requests have been answered in time.
_CLOSING_SECONDS = 3
# The same when they have not: to tell those who wait, and to close the models that are idle.
_LAST_WORDS_SECONDS = 1
# How `--reload` looks at the repository.
_RELOAD_EVERY_S = 1.0
_RELOAD_SETTLE_S = 0.3
# After that much more the process is ended from outside of its event loop.
_HANGING_SECONDS = 1


class Server:
    """One server process. Made, started and stopped on one event loop."""

    def __init__(self, settings: Settings, *, owns_process: bool = True) -> None:
        """`owns_process`: whether nobody else minds what is done to the process as a whole."""
        self._settings = settings
        self._owns_process = owns_process
        registry = BackendRegistry()
        self._cache = _cache(settings)
        self._uploads = Uploads() if settings.allow_file_override else None
        count = process_count(settings)
        options = replace(
            repository_options(settings, registry, self._cache),
            uploads=self._uploads,
            spread=Spread(count, settings.replicate_up_to),
        )
        self._unpacked = options.unpacked
        inflight = InflightBytes(max_inflight_bytes(settings, count))
        limiter = None
        if settings.rate_limit == "execution_count":
            limiter = RateLimiter(Capacity(*each) for each in settings.rate_limit_resource)
        shared = Shared(inflight, limiter)
        self._tracer = Tracer(settings.trace_config)
        replicas: Replicas = NO_REPLICAS
        self._processes: Processes = Alone(inflight)
        if count > 1:
            replicas = copies = ProcessReplicas(shared.metrics, self._tracer.traces)
            self._processes = Home(settings, count, inflight, copies)
        threads = settings.model_load_thread_count
        self.manager = ModelManager(options, registry, threads, shared, replicas)
        self.service = InferenceService(
            self.manager,
            self._tracer,
            server_id=settings.id,
            explicit=settings.controlled,
            strict_readiness=settings.strict_readiness,
            client_shm=settings.allow_client_shm,
            tell_log_settings=self._processes.tell_log_settings,
        )
        self._torchserve = _torchserve(settings, self.service, options.locations)
        self._poller = _poller(settings, self.manager)
        self._stall_watch = StallWatch(settings.stall_log_secs, settings.exit_on_stall_secs)
        self.terminal = terminal(sys.stdout, os.environ)
        self.owes_nothing = False
        """Whether all that did not end in time is copies of requests for shadows; known once it has stopped."""
        self.progress = LoadProgress(self.terminal, animated=settings.log_format != "json")
        self._http: HttpServer | None = None
        self._metrics: HttpServer | None = None
        self._grpc: AsyncioServer | None = None
        self.urls: dict[str, str] = {}

    async def start(self) -> None:
        """Bind, load the models, then listen. Raises StartupError."""
        try:
            front_ends = self._bind()
            self._tracer.start()
        except (OSError, TlsError, TracingError) as error:
            raise StartupError(f"{error}{_other_ports(error)}") from error
        await self._processes.start(front_ends)
        await asyncio.to_thread(remove_leftovers)
        if problem := await asyncio.to_thread(package_problem):
            logger.warning(problem)
        if self._owns_process:
            COLLECTOR.freeze()
        await self._load_models()
        self._stall_watch.start()
        if self._poller is not None:
            self._poller.start()
        await self._listen()

    async def _listen(self) -> None:
        shared: dict[Door, SharedServer] = {}
        if self._http is not None:
            shared[Door.REST] = self._http
        if self._grpc is not None:
            shared[Door.GRPC] = self._grpc
        accepted = await self._processes.share(shared)
        for server in (self._http, self._grpc, self._metrics, self._torchserve):
            if server is not None and server not in accepted:
                await server.start()

    def _bind(self) -> FrontEnds:
        """Take all ports before the models are loaded: a port in use should not be found out minutes later."""
        settings = self._settings
        app: ASGIApp | None = None
        lane = None
        if settings.allow_http:
            ui = partial(
                add_ui_routes,
                service=self.service,
                max_request_bytes=settings.http_max_input_size,
                urls=self.urls,
                grpc_tls=settings.tls("grpc") is not None,
                caches=self._cache is not None,
            )
            origins = settings.http_cors_allow_origin
            app = create_app(
                self.service,
                settings.http_max_input_size,
                [v1_protocol(self.service, settings.http_max_input_size, settings.v1_flavour)],
                ui if settings.allow_ui else None,
                origins,
            )
            if has_fast_lane(settings):
                lane = FastLane(self.service, settings.http_max_input_size)
            if origins:
                app = allow_origins(app, origins)
            place = take_place(settings.http_address, settings.http_port, settings.http_read_timeout_secs)
            self._http = rest_server(settings, app, place, lane)
            scheme = "https" if settings.tls("http") else "http"
            self.urls["REST"] = _url(scheme, settings.http_address, place.port)
        if settings.allow_grpc:
            files = settings.tls("grpc")
            tls = server_context(files, ()) if files else None
            rpcs = all_rpcs(self.service)
            self._grpc = AsyncioServer(
                rpcs, grpc_options(settings), tls, self.service.inflight, self.service.slicer
            )
            port = self._grpc.bind(settings.grpc_address, settings.grpc_port)
            self.urls["gRPC"] = reachable(settings.grpc_address, port)
        if settings.allow_metrics:
            place = take_place(settings.metrics_address, settings.metrics_port)
            metrics = MetricsApp(self.manager, self._processes.figures, self.service.slicer, self._cache)
            self._metrics = HttpServer(metrics, place, http_connection(settings))
            self.urls["Metrics"] = _url("http", settings.metrics_address, place.port, "/metrics")
        if self._torchserve is not None:
            self._torchserve.bind()
            self.urls |= self._torchserve.urls
        return FrontEnds(app, lane, self.service)

    async def _load_models(self) -> None:
        settings = self._settings
        if self._torchserve is not None:
            await self._torchserve.enter_models()
        try:
            if self._poller is not None:
                # So that the first look knows what it sees.
                await self.manager.refresh()
            snapshot = await self.manager.scan(strict=True)
        except OSError as error:
            raise unreadable(error) from error
        except ServingError as error:
            raise StartupError(f"cannot read the model repository: {error.message}") from error
        for reason in snapshot.skipped:
            logger.warning("skipped in the model repository: %s", reason)
        names = list(snapshot.models)
        if settings.controlled and "*" not in settings.load_model:
            # Those of TorchServe's model store are asked for, too.
            added = self._torchserve.names if self._torchserve is not None else ()
            names = list(dict.fromkeys((*settings.load_model, *added)))
        self.progress.start(names)
        results = await asyncio.gather(*map(self._load_model, names), return_exceptions=True)
        # The bar may wait for whoever reads; the event loop does not.
        await asyncio.to_thread(self.progress.stop)
        # For what there is no room in the memory budget, there may be when it is asked for.
        failed = [
            name
            for name, result in zip(names, results, strict=True)
            if isinstance(result, Exception) and not isinstance(result, OverloadedError)
        ]
        if settings.model_control_mode != "explicit":
            # What comes and goes later makes the server neither ready nor unready.
            self.manager.required = frozenset(names)
        self.manager.started = True
        if self._poller is not None:
            self._poller.note_start(snapshot, failed)
        # To ask for a model that is not there is a mistake in the command line, not in a model.
        missing = [
            name for name, result in zip(names, results, strict=True) if isinstance(result, NotFoundError)
        ]
        if failed and (missing or settings.exit_on_error):
            entries = await self.manager.index()
            problems = start_report.failures(entries, settings, self.terminal)
            console.say(f"{start_report.models_table(entries, self.terminal)}\n\n{problems}")
            raise StartupError(
                f"failed to load {', '.join(missing)}; --load-model: no model repository has a directory of that name"
                if missing
                else f"failed to load {', '.join(failed)}; without --exit-on-error the other models are served"
            )

    async def _load_model(self, name: str) -> None:
        well = False
        try:
            await self.manager.load(name)
            well = True
        finally:
            self.progress.done(name, well=well)

    async def banner(self) -> str:
        """What the person who started the server is told when it answers."""
        try:
            entries = await self.manager.index()
        except (OSError, ServingError):
            # What is served is served, whatever has become of the repository since it was read.
            names = sorted({model.name for model in self.manager.ready_models()})
            entries = [entry for name in names for entry in self.manager.entries(name)]
        urls = self.urls
        # A browser cannot open a Unix socket.
        if self._settings.allow_ui and "REST" in urls and unix_path(urls["REST"]) is None:
            urls = {"Page": f"{urls['REST']}/", **urls, "API docs": f"{urls['REST']}/docs"}
        example, pids = self._example(entries), self._processes.pids
        return start_report.ready_report(entries, self._settings, urls, example, self.terminal, pids)

    def _example(self, entries: list[IndexEntry]) -> str | None:
        """A request to paste: rather for a model with a sample of its own, and one that answers with labels."""
        if "REST" not in self.urls or self._settings.tls("http"):
            # Over TLS the line would have to name certificates that only the client has.
            return None
        found: list[tuple[tuple[bool, bool], str]] = []
        for name in dict.fromkeys(entry.name for entry in entries if entry.state == "READY"):
            # Versions that are ready need not answer requests to the name: a release may say otherwise.
            with suppress(ServingError, OSError):
                model = self.manager.acquire(name)
                # It answers streams, if it is decoupled.
                if not model.decoupled and (line := self._example_of(model)) is not None:
                    found.append((((model.path / SAMPLE_REQUEST).is_file(), bool(model.labels)), line))
        return max(found, key=lambda each: each[0])[1] if found else None

    def _example_of(self, model: LoadedModel) -> str | None:
        return example_curl(
            self.urls["REST"],
            self.service.model_metadata(model.name),
            model.path,
            in_sequence=model.config.HasField("sequence_batching"),
            contents=input_contents(model.config),
        )

    async def stop(self) -> bool:
        """Not ready at once; finish what is under way within the exit time-out; unload. False: the time was
        not enough; see `owes_nothing`. Sequences may go on until then; that one has not is no fault of ours.
        """
        grace = self._settings.exit_timeout_secs
        time = asyncio.get_running_loop().time
        deadline = time() + max(grace, _IDLE_SECONDS)
        if self._poller is not None:
            self._poller.stop()
        # What was read before the signal came is answered.
        await handed_on()
        self.service.exit()
        finished = await _by(deadline, self._finish())
        if not finished:
            silent = self.manager.silent_sequences
            if silent:
                logger.info(
                    "the exit time-out of %d s has passed: ending %d sequence(s) that no request has gone on with",
                    grace, silent,
                )  # fmt: skip
                finished = True
            else:
                logger.warning(
                    "the exit time-out of %d s has passed: giving up what is still under way", grace
                )
            self.manager.abandon()
        # What is under way without a client counts, too: an execution whose client has left, a model that is closing.
        least = _CLOSING_SECONDS if finished else _LAST_WORDS_SECONDS
        closed = await _by(max(deadline, time() + least), self._close(_FLUSH_SECONDS if finished else 0))
        self.owes_nothing = finished and (closed or self.manager.only_copies_left)
        return finished and closed

    async def _finish(self) -> None:
        """Wait until all requests that have come are read and executed, and their answers written."""
        self._processes.go_on()
        await self.service.finish()

    async def _close(self, grace_seconds: float) -> None:
        """Close the front ends, which have so long to send what there is to send, and unload."""
        self._processes.accept_no_more()
        await asyncio.gather(
            self._processes.stop(grace_seconds),
            *(
                server.stop(grace_seconds)
                for server in (self._http, self._grpc, self._metrics, self._torchserve)
                if server
            ),
        )
        await asyncio.to_thread(self._tracer.close)
        await self.manager.stop()
        await asyncio.to_thread(self._unpacked.close)
        if self._uploads is not None:
            await asyncio.to_thread(self._uploads.close)
        self._stall_watch.stop()
        if self._cache is not None:
            await self._cache.stop()


def _poller(settings: Settings, manager: ModelManager) -> Poller | None:
    """What has models loaded as the repository changes, if that is wanted."""
    if settings.reload:
        pace = Pace(_RELOAD_EVERY_S, _RELOAD_SETTLE_S, only_loaded=settings.controlled)
        return Poller(manager, _folders(settings), pace, ReloadReport())
    if settings.model_control_mode == "poll":
        pace = Pace(settings.repository_poll_secs, settings.repository_settle_secs)
        return Poller(manager, _folders(settings), pace)
    return None


def _torchserve(
    settings: Settings, service: InferenceService, locations: Locations | None
) -> "TorchServe | None":
    """TorchServe's APIs, if they are asked for. Raises StartupError."""
    if not settings.torchserve:
        return None
    from kserve_v2.torchserve_api import start  # noqa: PLC0415 - few need it

    assert locations is not None  # noqa: S101 - repositories that tell models apart do not go with it
    store = next((each for each in settings.model_repository if isinstance(each, Path)), None)
    given = start.Given(
        settings.ts_config,
        store,
        settings.models,
        settings.enable_model_api or None,
        settings.token_auth or None,
        settings.workflow_store,
    )
    around = start.Surroundings(
        HttpLimits(max_stall_s=settings.http_read_timeout_secs),
        grpc_options(settings),
        start.fetch_rules(settings.torchserve_archive_limit, settings.torchserve_networks),
        settings.allow_grpc,
        Path.cwd(),
    )
    try:
        return start.make_torchserve(service, locations, given, around)
    except (ValueError, ServingError) as error:
        raise StartupError(str(error)) from None


def _folders(settings: Settings) -> list[Path]:
    """The folders of this machine that models come from."""
    return [each for each in settings.model_repository if isinstance(each, Path) and each.is_dir()]


async def _by(deadline: float, work: Coroutine[Any, Any, None]) -> bool:
    """Do something until a time of the event loop's clock. False: the time has come first."""
    try:
        async with asyncio.timeout_at(deadline):
            await work
    except TimeoutError:
        return False
    return True


def _cache(settings: Settings) -> ResponseCache | None:
    """The response cache. Raises StartupError."""
    try:
        return make_cache(settings.cache_config)
    except MissingPackageError as error:
        raise StartupError(str(error)) from None


def _other_ports(error: Exception) -> str:
    """What to do about a port that somebody else has."""
    cause = error.__cause__
    if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
        return ""
    return "; --http-port, --grpc-port and --metrics-port take others, or 0 for any that is free"


def _url(scheme: str, address: str, port: int, path: str = "") -> str:
    """What a client on this machine can use: a URL, or the name of a Unix socket, which stands in none."""
    place = reachable(address, port)
    return place if unix_path(place) is not None else f"{scheme}://{place}{path}"


def run(settings: Settings) -> int:
    """Serve until a signal comes. Returns the exit status of the process. Raises StartupError."""
    keep_freed_memory(one_heap=True)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stopping = _stop_on_signals()
    server = Server(settings)
    starting = asyncio.create_task(server.start())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        server.progress.stop()
        _leave(f"stopped while models were loading ({server.progress.text})", 1)
    try:
        starting.result()
    except StartupError:
        stopped.cancel()
        await server.stop()
        raise
    console.say(await server.banner())
    await stopped
    if settings.exit_delay_secs:
        logger.info("stopping in %d s: not ready from now on", settings.exit_delay_secs)
        server.service.leave()
        await asyncio.sleep(settings.exit_delay_secs)
    logger.info("stopping: requests under way are finished first, for up to %d s", settings.exit_timeout_secs)
    _leave_after(settings.exit_timeout_secs + _CLOSING_SECONDS + _HANGING_SECONDS)
    if not await server.stop():
        if server.owes_nothing:
            _leave("a shadow still executes a copy of a request, which nobody waits for", 0)
        _leave("the exit time-out was not enough", 1)
    return 0


def _stop_on_signals() -> asyncio.Event:
    """An event that the first SIGINT or SIGTERM sets. A second one ends the process there and then."""
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            _leave("a second signal came", 1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(on_signal))
        else:
            loop.add_signal_handler(number, on_signal)
    return stopping


def _leave_after(seconds: float) -> None:
    """Make sure that the process has ended by then, whatever holds up its event loop or does not end with it."""
    watchdog = threading.Timer(seconds, _leave, ("it did not end by itself", 1))
    watchdog.daemon = True
    watchdog.start()


def _leave(why: str, status: int) -> None:
    """End the process without waiting for its threads: one of them may be inside a model that never returns."""
    logger.warning("leaving at once: %s", why)
    log.shutdown()
    console.flush()
    os._exit(status)
