"""A server that runs on a thread of its own in this process, with an event loop of its own."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from kserve_v2 import server as composition
from kserve_v2.embedded.models import Served
from kserve_v2.embedded.tensors import answer_of, make_request
from kserve_v2.errors import InternalError, NotLoadedError, UnavailableError, UnsupportedError
from kserve_v2.handlers.context import Answer
from kserve_v2.messages import InferRequest, InferResponse, ParameterValue, TensorMetadata
from kserve_v2.net.event_loop import loop_factory
from kserve_v2.scheduling.replies import stream
from kserve_v2.settings.settings import Settings
from kserve_v2.startup import StartupError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Beyond the exit time-out: to close what is open.
_ENDING_SECONDS = 10


class Server:
    """A server in this process, as `kserve_v2.serve` gives it: it answers from the moment at which it is there.

        with kserve_v2.serve(model, port=0, block=False) as server:
            answer = server.infer("model", x=array)
            httpx.get(f"{server.url}/v2/health/ready")

    It runs on a thread of its own. `stop`, or the end of the block, finishes what is under way, closes its ports and
    gives back what the models hold. What still runs at the end of the program is stopped then.
    """

    def __init__(self, settings: Settings, served: Served, *, owns_process: bool = False) -> None:
        """Starts it. Raises StartupError, with the reasons, if it cannot start or a model cannot be loaded."""
        self.settings = settings
        """The options that it runs with."""
        self._served = served
        self._owns_process = owns_process
        self._server: composition.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._begun: Future[None] = Future()
        # Waited for in the place of the thread: a signal that interrupts `Thread.join` makes a thread that lives look
        # as if it had ended (Python 3.11).
        self._ended = threading.Event()
        self._clean = True
        self._banner = ""
        self._thread = threading.Thread(target=self._run, name="kserve-v2-server", daemon=True)
        self._thread.start()
        try:
            self._begun.result()
        except BaseException:
            # Also one that has interrupted the start.
            self.stop()
            raise
        _at_exit(weakref.WeakMethod(self.stop))

    def __repr__(self) -> str:
        return f"<kserve_v2.Server {self.url or self.grpc_url} {'running' if self.running else 'stopped'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._begun.done() and not self._ended.is_set() and not self._is_stopping()

    @property
    def url(self) -> str:
        """Of REST, such as `http://127.0.0.1:8000`; "" if there is none."""
        return self._urls.get("REST", "")

    @property
    def grpc_url(self) -> str:
        """Of gRPC, such as `127.0.0.1:8001`; "" if there is none."""
        return self._urls.get("gRPC", "")

    @property
    def metrics_url(self) -> str:
        """Of the metrics; "" if there are none."""
        return self._urls.get("Metrics", "")

    @property
    def banner(self) -> str:
        """What a person is told at the start: models, URLs, and a request to try."""
        return self._banner

    @property
    def _urls(self) -> Mapping[str, str]:
        return {} if self._server is None else self._server.urls

    # --- inference
    # ----------------------------------------------------------------------------------------------------------

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        timeout: float | None = None,
        **tensors: Any,
    ) -> Answer:
        """Ask a model of this server, without a connection: the request waits in its queue, and shares batches, as any
        other. Blocks.

            server.infer("digits", image=array)["probabilities"]
            server.infer("digits", {"image": array}, version=2, outputs=["probabilities"])

        The inputs are numpy arrays, torch tensors, or lists and numbers, which become the model's datatype; texts are
        `str` or `bytes`. An array of another datatype than the model's is an error, never cast. Those whose names are
        also arguments here are given as a dict. The answer is a dict of arrays, with `version` and `parameters`.

        `timeout`: seconds; then the request is given up, and TimeoutError is raised. Raises the ServingError that a
        handler's call would get: InvalidArgumentError, NotFoundError, UnavailableError, and so on.
        """
        request = self._request(model, inputs, tensors, version, outputs, parameters)
        return answer_of(self._wait(self._answer(request), timeout))

    async def infer_async(
        self,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        **tensors: Any,
    ) -> Answer:
        """As `infer`, for programs with an event loop of their own, such as notebooks. Cancelling it gives the request
        up.
        """
        make = (model, inputs, tensors, version, outputs, parameters)
        request = await asyncio.to_thread(self._request, *make)
        try:
            return answer_of(await asyncio.wrap_future(self._begin(self._answer(request))))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                # It was the server that has given up.
                raise _ended() from None
            raise

    def stream(
        self,
        model: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        version: str | int = "",
        outputs: Iterable[str] = (),
        parameters: Mapping[str, ParameterValue] | None = None,
        **tensors: Any,
    ) -> Generator[Answer, None, None]:
        """As `infer`, for each of the answers of a model that gives any number of them. One that is not read to its end
        is to be closed.
        """
        request = self._request(model, inputs, tensors, version, outputs, parameters)
        answers = self._answers(request)
        try:
            while True:
                try:
                    yield answer_of(self._wait(anext(answers)))
                except StopAsyncIteration:
                    return
        finally:
            with suppress(UnavailableError):
                self._wait(answers.aclose())

    def _request(
        self,
        model: str,
        inputs: Mapping[str, Any] | None,
        tensors: Mapping[str, Any],
        version: str | int,
        outputs: Iterable[str],
        parameters: Mapping[str, ParameterValue] | None,
    ) -> InferRequest:
        given = {**(inputs or {}), **tensors}
        declared: Mapping[str, TensorMetadata] = {}
        if any(not hasattr(value, "dtype") for value in given.values()):
            declared = self._wait(self._inputs(model, str(version)))
        wanted = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        return make_request(model, given, declared, str(version), wanted, parameters or {})

    async def _inputs(self, model: str, version: str) -> dict[str, TensorMetadata]:
        service = self._running_server().service
        metadata = await service.loaded(lambda: service.model_metadata(model, version))
        return {each.name: each for each in metadata.inputs}

    async def _answer(self, request: InferRequest) -> InferResponse:
        service, name = self._running_server().service, request.model_name
        model = await service.loaded(lambda: service.acquire(name, request.model_version))
        if model.decoupled:
            raise UnsupportedError(f"model '{name}' gives any number of answers: ask it by Server.stream")
        # It may be unloaded again before it is asked: then it is loaded again, too.
        while True:
            try:
                return await service.infer(request)
            except NotLoadedError:
                await service.demand(name)

    async def _answers(self, request: InferRequest) -> Any:
        service, name = self._running_server().service, request.model_name
        model = await service.loaded(lambda: service.acquire(name, request.model_version))
        if model.splits:
            model = service.route(model, request, ())
        async for response in stream(service.check(model, request), request):
            yield response

    def _running_server(self) -> composition.Server:
        if self._server is None or self._is_stopping():
            raise UnavailableError("the server is stopped")
        return self._server

    def _begin(self, work: Any) -> "Future[Any]":
        """Have a coroutine run on the server's loop. Raises UnavailableError when the server has ended."""

        async def run() -> Any:
            return await work

        running = run()
        try:
            return asyncio.run_coroutine_threadsafe(running, self._running_loop())
        except BaseException:
            # What does not begin is not said to have been forgotten.
            running.close()
            if hasattr(work, "close"):
                work.close()
            raise

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or not self.running:
            raise UnavailableError("the server is stopped")
        if threading.current_thread() is self._thread:
            raise InternalError(
                "this would wait for itself: code that runs on the server's event loop calls models by its context"
            )
        return self._loop

    def _wait(self, work: Any, seconds: float | None = None) -> Any:
        future = self._begin(work)
        try:
            return future.result(seconds)
        except CancelledError:
            raise _ended() from None
        except TimeoutError:
            if future.done():
                raise
            raise TimeoutError(f"no answer within {seconds} s") from None
        finally:
            # Does nothing to one that has ended.
            future.cancel()

    # --- start and stop
    # -----------------------------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Finish what is under way, for up to `exit_timeout_secs`, and end; returns when it has ended. False: the time
        was not enough. Does nothing if that is done.
        """
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(stopping.set)
        if threading.current_thread() is self._thread:
            return True
        if self._ended.wait(self.settings.exit_timeout_secs + _ENDING_SECONDS):
            self._thread.join()
        else:
            logger.warning("a model does not end: its thread is left behind")
            self._clean = False
        self._served.drop()
        return self._clean

    def wait(self) -> None:
        """Wait until it has ended."""
        # In steps, so that a signal is heard on every platform.
        while not self._ended.wait(1):
            pass

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    def _run(self) -> None:
        make: Callable[[], asyncio.AbstractEventLoop] = loop_factory() or asyncio.new_event_loop
        loop = self._loop
        try:
            loop = self._loop = make()
            loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._begun.done():
                logger.exception("the server has ended")
            else:
                self._begun.set_exception(error)
        finally:
            try:
                if loop is not None:
                    self._end(loop)
            finally:
                self._ended.set()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = composition.Server(self.settings, owns_process=self._owns_process)
        starting = asyncio.ensure_future(self._start(server))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                raise StartupError("stopped while models were loading")
            starting.result()
            self._server = server
            self._begun.set_result(None)
            await stopping
        finally:
            stopping.cancel()
            self._clean = await server.stop()

    async def _start(self, server: composition.Server) -> None:
        """Raises StartupError also for a model that was not loaded: a program has named it."""
        await server.start()
        failed = {
            entry.name: entry.reason for entry in await server.manager.index() if entry.state == "UNAVAILABLE"
        }
        if failed and not self._keeps_failed:
            raise StartupError(
                "; ".join(f"model '{name}' cannot be loaded: {reason}" for name, reason in failed.items())
            )
        self._banner = await server.banner()

    @property
    def _keeps_failed(self) -> bool:
        """Whether a model that cannot be loaded is to be mended while the server runs."""
        return self.settings.reload or self.settings.model_control_mode != "none"

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is left of the loop."""
        try:
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks))
            loop.run_until_complete(loop.shutdown_asyncgens())
            if self._clean:
                # Otherwise a thread that hangs would be waited for.
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def _ended() -> UnavailableError:
    return UnavailableError("the server was stopped before it had answered")


def _at_exit(method: "weakref.WeakMethod[Callable[[], Any]]") -> None:
    """Stop before the interpreter joins the threads of all pools, as none can be used from then on."""

    def stop() -> None:
        if (found := method()) is not None:
            found()

    register: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
    if register is not None:
        register(stop)
