"""Instance threads: each makes one backend instance, pulls batches from its feed, executes and delivers
them.

A thread makes, uses and closes its instance, so a backend never sees two threads in one instance. The outcome
of a batch goes back to the event loop in one wake-up.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from kserve_v2.backend import (
    AnyInstance,
    HasTrialInstances,
    Instance,
    Model,
    MovableInstance,
    Placement,
    has_fresh_outputs,
)
from kserve_v2.errors import describe, ordinary
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.scheduling.contained import log_error
from kserve_v2.scheduling.executing.batching_trial import Finding, Verdict, try_batching
from kserve_v2.scheduling.executing.driving import runner
from kserve_v2.scheduling.executing.padding_trial import try_padding
from kserve_v2.scheduling.executing.post_runner import PostRunner
from kserve_v2.scheduling.executing.runners import Deliver, LoopRunner, Runner
from kserve_v2.scheduling.executing.warming import Progress, warm_up
from kserve_v2.scheduling.feed import Batch, Feed
from kserve_v2.scheduling.merging.answers import tensors_of
from kserve_v2.scheduling.merging.padded import PaddedMerger
from kserve_v2.scheduling.spec import ModelSpec
from kserve_v2.scheduling.warm_up import Sample

logger = logging.getLogger(__name__)

# An instance that is interrupted more often than this in a row, without a batch in between, is lost.
_MAX_INTERRUPTIONS = 3

# After this time a warning says what the load is waiting for.
_LONG_TRIAL_S = 10


class InstanceThread:
    """One instance and the thread that owns it."""

    def __init__(
        self,
        slot: int,
        placement: Placement,
        spec: ModelSpec,
        model: Model,
        feed: Feed,
        deliver: Deliver,
        on_interrupted: Callable[[], None],
    ) -> None:
        """The instance of number `slot`. `on_interrupted` is called on the event loop if something has ended the work
        of the instance, whether it goes on or is `lost`.
        """
        self.slot = slot
        self.placement = placement
        self.feed = feed
        self.spec = spec
        self.deliver = deliver
        self.loop = asyncio.get_running_loop()
        self.instance: AnyInstance | None = None
        # Set once the instance is made. `movable`: the instance, if other threads may execute it; see `FreshOutputs`.
        # `post_runner`: what drives it, if the event loop may hand executions over itself.
        self.movable: MovableInstance | None = None
        self.post_runner: PostRunner | None = None
        self._runner: Runner | None = None
        self.fresh_outputs = False
        self.concurrency = 1
        self.finding: Finding | None = None
        self.lost = False
        """Whether it executes nothing any more, though nobody has asked it to stop."""
        self._on_interrupted = on_interrupted
        # The first on each kind of device.
        firsts = {each.kind: each for each in reversed(spec.placements)}
        self._tries_batching = spec.tries_batching and self.placement is firsts[self.placement.kind]
        self._trying = False
        self._model = model
        # What is to be executed between `start` and the first batch; None: nothing more.
        self._samples: SimpleQueue[tuple[Sequence[Sample], Progress] | None] = SimpleQueue()
        self._warm: asyncio.Future[None] = self.loop.create_future()
        self._started: asyncio.Future[None] = self.loop.create_future()
        self._stopped: asyncio.Future[None] = self.loop.create_future()
        # A daemon thread: a model that hangs must not keep the process from exiting.
        self._thread = threading.Thread(target=self._main, name=self.placement.name, daemon=True)

    def __repr__(self) -> str:
        state = "stopped" if self._stopped.done() else "started" if self._started.done() else "starting"
        return f"<InstanceThread {self.placement.name} {self.placement.device} {state}>"

    async def start(self) -> None:
        """Start the thread; returns when its instance is made. Raises what making it raised."""
        self._thread.start()
        warning = self.loop.call_later(_LONG_TRIAL_S, self._warn_of_trial)
        try:
            await asyncio.shield(self._started)
        finally:
            warning.cancel()

    def _warn_of_trial(self) -> None:
        if self._trying:
            logger.warning(
                "model '%s': it is still being tried with made-up rows; the parameter try_batching, set to false in "
                "config.pbtxt, leaves that out",
                self.spec.name,
            )

    def on_stopped(self, callback: Callable[[], None]) -> None:
        """Call this on the event loop once the instance is closed."""
        self._stopped.add_done_callback(lambda _: callback())

    async def warm_up(self, samples: Sequence[Sample], progress: Progress) -> None:
        """Execute samples before the first batch. Raises as `warming.warm_up`."""
        self._samples.put((samples, progress))
        await asyncio.shield(self._warm)

    def begin(self) -> None:
        """Take batches from now on."""
        self._samples.put(None)

    async def stopped(self) -> None:
        """Wait until the instance is closed, which happens after the feed is closed and empty."""
        if self._thread.ident is not None:
            await asyncio.shield(self._stopped)

    @property
    def under_way(self) -> Sequence[Batch]:
        """What it executes now, but for what the event loop has handed over itself."""
        runner = self._runner
        return runner.under_way if runner is not None else ()

    def _main(self) -> None:
        try:
            drive = self._make()
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises ends this load, not the server
            self._on_loop(self._resolve, self._started, ordinary(error))
            self._on_loop(self._resolve, self._stopped, None)
            return
        self._on_loop(self._resolve, self._started, None)
        try:
            self._warm_up(drive)
            self._drive(drive)
        finally:
            self.feed.leave(self.slot)
            instance, self.instance, self.movable, self.post_runner = self.instance, None, None, None
            self._runner = None
            self._close(instance)
            # The thread outlives its last callback for a moment, and must not keep the model alive meanwhile.
            del drive, instance, self._model
            self._on_loop(self._resolve, self._stopped, None)

    def _make(self) -> Runner:
        """Make the instance. Raises what that raises, and InternalError if it is none."""
        instance = self._model.instance(self.placement)
        try:
            drive = runner(instance, self)
            if self._tries_batching:
                self._trying = True
                self.finding = self._try_batching(instance)
                self._trying = False
            # Read here and not on the event loop, because a property of the plug-in's may run its code.
            if isinstance(instance, MovableInstance) and instance.movable is True:
                self.movable = instance
            self.fresh_outputs = has_fresh_outputs(instance)
            self.concurrency = drive.concurrency
            self.post_runner = drive if isinstance(drive, PostRunner) else None
        except BaseException:
            self._close(instance)
            raise
        self.instance, self._runner = instance, drive
        return drive

    def _try_batching(self, instance: AnyInstance) -> Finding:
        try:
            trial = self._trial_instance()
        except Exception as error:  # noqa: BLE001 - the model can be served, only not tried
            return Finding(Verdict.UNKNOWN, f"no instance could be made for that: {describe(error)}")
        finding = _try_batching(trial or instance, self.spec)
        self._close(trial)
        return finding

    def _trial_instance(self) -> AnyInstance | None:
        model = self._model
        return model.trial_instance(self.placement) if isinstance(model, HasTrialInstances) else None

    def _warm_up(self, drive: Runner) -> None:
        while (told := self._samples.get()) is not None:
            error: Exception | None = None
            try:
                self._execute_samples(drive, *told)
            except BaseException as raised:  # noqa: BLE001 - whatever a plug-in raises ends this load, not the server
                error = ordinary(raised)
                told[1].given_up = True
            self._on_loop(self._resolve, self._warm, error)
            del told, error

    def _execute_samples(self, drive: Runner, samples: Sequence[Sample], progress: Progress) -> None:
        instance = self.instance
        assert instance is not None  # noqa: S101 - it is made
        # What is made up must not change the answers to the first requests.
        trial = self._trial_instance() if progress.automatic else None
        try:
            run_first = drive.run_first if isinstance(drive, LoopRunner) else None
            warm_up(trial or instance, self, samples, progress, run_first)
        finally:
            self._close(trial)

    def _drive(self, drive: Runner) -> None:
        """Have batches executed until the feed is closed and empty.

        Nothing that a model raises gets so far. But code in this process can raise exceptions in other threads, and
        that of an async handler can close its event loop.
        """
        interruptions = 0
        while True:
            batches = drive.batches
            try:
                drive.run()
            except BaseException as error:  # noqa: BLE001 - see above
                log_error(logger, "instance %s was interrupted", self.placement.name, error=error)
                drive.give_back(error)
                interruptions = interruptions + 1 if drive.batches == batches else 1
                goes_on = interruptions <= _MAX_INTERRUPTIONS
                self.lost = not goes_on
                self._on_loop(self._on_interrupted)
                if not goes_on:
                    drive.lost(error)
                    logger.critical("instance %s is lost: it cannot go on", self.placement.name)
                    return
            else:
                return

    def _close(self, instance: AnyInstance | None) -> None:
        try:
            if instance is not None:
                instance.close()
        except BaseException as error:  # noqa: BLE001 - whatever a plug-in raises
            log_error(logger, "instance %s failed to close", self.placement.name, error=error)

    def _on_loop(self, callback: Callable[..., None], *args: object) -> None:
        # The loop is closed only when the process exits.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *args)

    @staticmethod
    def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _try_batching(instance: AnyInstance, spec: ModelSpec) -> Finding:
    if not isinstance(instance, Instance):
        return Finding(Verdict.UNKNOWN, "asynchronous handlers are not tried")
    if isinstance(spec.merger, PaddedMerger):
        return try_padding(instance, spec.merger.uncounted(), spec.signature)

    def execute(tensors: Tensors, request: InferRequest) -> Tensors:
        answers = instance.execute(tensors, (request,))
        return tensors_of(answers[0] if isinstance(answers, list) else answers)

    return try_batching(execute, spec.signature)
