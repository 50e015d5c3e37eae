"""`kserve_v2.serve`."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kserve_v2_child.freed_memory import keep_freed_memory

from kserve_v2.embedded.models import Given, read_models
from kserve_v2.embedded.options import make_settings
from kserve_v2.embedded.server import Server
from kserve_v2.logs import console, log


def serve(
    models: object = None,
    /,
    *,
    name: str = "",
    example: object | None = None,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    max_batch_size: int | None = None,
    port: int | None = None,
    block: bool = True,
    **settings: Any,
) -> Server:
    """Serve a model, or several, from a program: over REST and gRPC, with the page and everything else that
    `kserve-v2 serve` has.

        kserve_v2.serve(model)                                      # a script: until Ctrl-C

        with kserve_v2.serve(model, port=0, block=False) as server: # a test, or a part of a larger program
            server.infer("model", x=array)

        server = kserve_v2.serve({"a": model, "b": other})          # a notebook: returns at once
        server.stop()

    `models`: one of these, or a dict of several by name:

    * a path, as on the command line: a repository, a model's folder, its file, `package.module:Class`
    * a function, with annotations or with `inputs` and `outputs`; see `kserve_v2.model`
    * a handler's class, or an object of one; see `kserve_v2.Model`
    * a `torch.nn.Module`, with `example`: what it would be called with, as a tensor, a tuple, or a dict by name. It is
      put into evaluation mode, and stays on its device. Without `max_batch_size` its requests are not merged
    * an `onnxruntime.InferenceSession`, an ONNX `ModelProto`, or its bytes
    * a fitted estimator of scikit-learn or alike, with the input `x` (FP64) and the outputs `label` and
      `probabilities`, or `prediction`

    `name`: of the one model; by default that of the file, class or function. `inputs`, `outputs`, `max_batch_size`: as
    in `kserve_v2.model`. `port`: of REST; 0 for any free one, and for gRPC and the metrics as well. `settings`: the
    options of `kserve-v2 serve`, by their names with underscores, such as `grpc_port=9001` or
    `model_control_mode="explicit"`.

    `block`: return only when the server has ended, by Ctrl-C, SIGTERM or `Server.stop`. Where an event loop is running,
    as in a notebook, it returns at once in any case. In other threads than the main one signals are left alone.

    Objects are served as they are, by this process: nothing is pickled, and an object that is changed answers
    accordingly. Raises StartupError with the reasons if a model cannot be loaded (with `reload`, or a
    `model_control_mode` other than "none", it may be mended later), SettingsError for an option's value,
    InvalidArgumentError for what cannot be served, TypeError for what is no model.
    """
    _raise_if_loading()
    given = Given(name, example, inputs, outputs, max_batch_size)
    served = read_models(models, given)
    in_loop = _in_event_loop()
    try:
        effective = make_settings({**served.tensors, **settings}, port, served.repositories, served.models)
    except BaseException:
        served.drop()
        raise
    if in_loop or not block:
        server = Server(effective, served)
        if in_loop or block:
            console.say(server.banner)
        return server
    log.configure(effective)
    try:
        keep_freed_memory(one_heap=True)
        with _ended_by_signals():
            try:
                server = Server(effective, served, owns_process=True)
            except _TerminatedError:
                raise SystemExit(1) from None
            try:
                console.say(server.banner)
                server.wait()
            except (KeyboardInterrupt, _TerminatedError):
                logging.getLogger(__name__).info("stopping: requests under way are finished first")
            finally:
                server.stop()
        return server
    finally:
        log.shutdown()


def _raise_if_loading() -> None:
    """Raise RuntimeError if it is the file of a model that calls, while a server loads it."""
    if str(sys._getframe(2).f_globals.get("__name__", "")).startswith("_handler_"):
        raise RuntimeError(
            "kserve_v2.serve was called by a file that a server loads as a model: write it below "
            '`if __name__ == "__main__":`, which is for the file as a script'
        )


class _TerminatedError(BaseException):
    """SIGTERM has come."""


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """In the main thread, SIGTERM is an exception, as SIGINT is. Elsewhere nothing can be done about signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL:
        # The program has its own ways.
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _TerminatedError

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
