"""A batch in pieces, so that one is prepared while another one is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any, Callable, Optional

_STEPS = ("preprocess", "inference", "postprocess")


class MicroBatching:
    """Call it in the place of a handler's `handle`: `handler.handle = MicroBatching(handler)`. Each step has threads of
    its own; answers come in the order of the batch.
    """

    def __init__(
        self,
        parent_handler: Any,
        micro_batch_size: int = 1,
        parallelism: Optional[dict[str, int]] = None,
    ) -> None:
        self.handler = parent_handler
        self.micro_batch_size = micro_batch_size
        wanted = parallelism or {}
        self.parallelism = {step: max(1, int(wanted.get(step, 1))) for step in _STEPS}
        self.terminate = threading.Event()
        self._queues: dict[str, queue.SimpleQueue[Any]] = {step: queue.SimpleQueue() for step in _STEPS}
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, args=(step,), name=f"micro-batch-{step}-{number}", daemon=True)
            for step in _STEPS
            for number in range(self.parallelism[step])
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, step: str) -> None:
        following = dict(zip(_STEPS, _STEPS[1:]))
        work: Callable[[Any], Any] = getattr(self.handler, step)
        while True:
            task = self._queues[step].get()
            if task is None:
                return
            index, data = task
            try:
                result = work(data)
            except BaseException as error:  # noqa: BLE001 - whoever waits raises it
                self._done.put((index, None, error))
            else:
                if step in following:
                    self._queues[following[step]].put((index, result))
                else:
                    self._done.put((index, result, None))

    def handle(self, data: Sequence[Any]) -> list[Any]:
        """The answers to a batch. Raises what one of the steps raises, after the others have ended."""
        size = self.micro_batch_size
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        for index, piece in enumerate(pieces):
            self._queues[_STEPS[0]].put((index, piece))
        found: dict[int, Any] = {}
        failed: Optional[BaseException] = None
        for _ in pieces:
            index, result, error = self._done.get()
            found[index] = result
            failed = failed or error
        if failed is not None:
            raise failed
        return [answer for index in range(len(pieces)) for answer in found[index]]

    def shutdown(self) -> None:
        """End the threads."""
        self.terminate.set()
        for step in _STEPS:
            for _ in range(self.parallelism[step]):
                self._queues[step].put(None)

    def __call__(self, data: Sequence[Any], context: Any) -> list[Any]:
        """As `handle` of a handler."""
        self.handler.context = context
        return self.handle(data)
