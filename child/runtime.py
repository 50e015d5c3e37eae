"""The life of a model's process: one thread reads what the server says of the process as a whole; the main thread
completes, loads and makes the first instance, which it serves; further instances have threads of their own.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import failures
from .calls import Calls
from .channel.channel import Channel
from .channel.messages import ChannelClosed, Kind, Message, MessageError
from .channel.outbox import Outbox
from .executing import Executing
from .freed_memory import keep_freed_memory, return_freed_memory
from .host import Host, Json, Placement, Source, ThreadBudget
from .idle_memory import IdleMemory
from .logs import SideHandler
from .remote_services import RemoteControl, RemoteMetrics
from .serving import Conversation, describe, serve
from .serving_async import serve_async

logger = logging.getLogger("kserve_v2.isolation")


UNCONNECTED = 122
"""The exit status of a process that can hear nothing from its server."""

_PARENT = os.getppid()


def run(side: int, sockets: int) -> None:
    """Serve a model until the server says stop. Does not return."""
    keep_freed_memory(one_heap=False)
    process = _Process(Channel(socket.socket(fileno=side)), socket.socket(fileno=sockets))
    try:
        process.run()
    except ChannelClosed:
        leave()
    except BaseException:
        logger.exception("the model's process ends")
        os._exit(1)


def leave() -> None:
    """The server is gone: end, with whatever the model has started. If it is there, the model has closed what connects
    it to that.
    """
    if os.getppid() != _PARENT and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(UNCONNECTED)


def _backend_host(told: Json) -> Host:
    from .host_backend import BackendHost  # noqa: PLC0415 - only where the server is installed

    return BackendHost(told["backend"])


def _triton_host(told: Json) -> Host:
    host: Host = importlib.import_module(".triton.host", __package__).TritonHost()
    return host


def _torchserve_host(told: Json) -> Host:
    host: Host = importlib.import_module(".torchserve.host", __package__).TorchServeHost()
    return host


HOSTS: Mapping[str, Callable[[Json], Host]] = {
    "backend": _backend_host,
    "triton": _triton_host,
    "torchserve": _torchserve_host,
}
"""By the name that the server has for them."""


class _Process:
    """One process."""

    def __init__(self, side: Channel, sockets: socket.socket) -> None:
        self._side = side
        self._sockets = sockets
        # What the main thread is to do.
        self._jobs: queue.SimpleQueue[tuple[Message, Channel | None]] = queue.SimpleQueue()
        # It is tended as long as somebody has it.
        self._memory = IdleMemory()
        self._executing = Executing(self._memory.used)
        self._host: Host | None = None
        self._calls = Calls(side, self._known_host, self._executing)
        self._metrics = RemoteMetrics(self._calls)
        self._control = RemoteControl(self._calls)
        self._model: Any = None
        self._served = False
        self._instances: list[threading.Thread] = []

    def run(self) -> None:
        """Do what the server says. Raises ChannelClosed if it is gone."""
        threading.Thread(target=self._read, name="server", daemon=True).start()
        while True:
            message, work = self._jobs.get()
            try:
                self._do(message, work)
            except ChannelClosed:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a model raises
                self._side.send(Kind.ERROR, message.number, self._failure(error))
            if message.kind is Kind.STOP:
                _end()

    def _read(self) -> None:
        """Take what the server says, on a thread of its own, whatever the model does."""
        try:
            while True:
                try:
                    message = self._side.receive()
                except MessageError as error:
                    logger.error("a message of the server was lost: %s", error)  # noqa: TRY400
                    # Whoever waits for it, waits no longer.
                    if error.kind is Kind.ANSWER:
                        told = {"kind": "InternalError", "text": str(error)}
                        self._calls.take(Message(Kind.ERROR, error.number, told))
                    continue
                if message.kind is Kind.CANCEL:
                    self._executing.cancel(message.number, message.fields["index"])
                elif message.kind in (Kind.ANSWER, Kind.ERROR, Kind.REPLY):
                    self._calls.take(message)
                elif message.kind is Kind.INSTANCE:
                    self._take_instance(message)
                elif message.kind is Kind.HEALTH:
                    # Whatever else the model does, and however long it takes.
                    asked = threading.Thread(target=self._tell_health, args=(message.number,), daemon=True)
                    asked.start()
                else:
                    self._jobs.put((message, None))
                # Otherwise the tensors of the last one would stay alive until another one comes.
                del message
        except ChannelClosed:
            leave()

    def _tell_health(self, number: int) -> None:
        try:
            ready = bool(self._model.is_ready())
        except BaseException as error:  # noqa: BLE001 - whatever a model raises
            kind, fields = Kind.ERROR, self._failure(error)
        else:
            kind, fields = Kind.REPLY, {"value": ready}
        with suppress(ChannelClosed):
            self._side.send(kind, number, fields)

    def _known_host(self) -> Host:
        assert self._host is not None  # noqa: S101 - who calls has been loaded
        return self._host

    def _failure(self, error: BaseException) -> Json:
        if self._host is None:
            return failures.told(error)
        return self._host.failure(error)

    def _do(self, message: Message, work: Channel | None) -> None:
        number, fields = message.number, message.fields
        if message.kind is Kind.COMPLETE:
            host = self._made_host(fields)
            if fields.get("describe"):
                self._side.send(Kind.COMPLETED, number, host.describe())
                return
            completed = host.complete(self._told_source(fields["source"]), fields["config"])
            self._side.send(Kind.COMPLETED, number, {"config": completed})
        elif message.kind is Kind.LOAD:
            host = self._made_host(fields)
            self._model = host.load(self._told_source(fields["source"]), fields["config"])
            self._side.send(Kind.LOADED, number, _describe_model(self._model))
        elif work is not None:
            self._serve_instance(work, message)
        elif message.kind is Kind.STOP:
            for thread in self._instances:
                thread.join()
            if self._model is not None:
                self._model.close()
            self._side.send(Kind.REPLY, number)

    def _made_host(self, fields: Json) -> Host:
        if self._host is None:
            _settle(fields, self._side)
            self._host = HOSTS[fields["host"]](fields)
        return self._host

    def _told_source(self, told: Json) -> Source:
        return Source(
            name=told["name"],
            version=told["version"],
            model_path=Path(told["model_path"]),
            version_path=Path(told["version_path"]),
            settings=told["settings"],
            placements=tuple(Placement(*each) for each in told["placements"]),
            threads=ThreadBudget(*told["threads"]),
            caller=self._calls if told["served"] else None,
            metrics=self._metrics if told["served"] else None,
            control=self._control if told["served"] else None,
            cache_path=Path(told["cache_path"]) if told["cache_path"] else None,
        )

    # --- instances --------------------------------------------------------------------------------------------------

    def _take_instance(self, message: Message) -> None:
        """An instance is asked for: its socket and its outbox come beside the message."""
        _, (descriptor, outbox), _, _ = socket.recv_fds(self._sockets, 1, 2)
        for each in (descriptor, outbox):
            os.set_inheritable(each, False)
        work = Channel(socket.socket(fileno=descriptor), keep_in=Outbox(outbox))
        if not self._served:
            self._served = True
            self._jobs.put((message, work))
            return
        name = message.fields["placement"][0]
        thread = threading.Thread(target=self._serve_apart, args=(work, message), name=name, daemon=True)
        self._instances.append(thread)
        thread.start()

    def _serve_apart(self, work: Channel, message: Message) -> None:
        try:
            self._serve_instance(work, message)
        except ChannelClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever a model raises
            self._side.send(Kind.ERROR, message.number, self._failure(error))

    def _serve_instance(self, channel: Channel, message: Message) -> None:
        """Make an instance and serve it until it is closed."""
        host, fields = self._known_host(), message.fields
        try:
            placement = host.placement(Placement(*fields["placement"]))
            make = self._model.trial_instance if fields.get("trial") else self._model.instance
            instance = make(placement)
            # What loading has needed, and executions may not.
            return_freed_memory()
            if instance is None:
                self._side.send(Kind.READY, message.number, {"none": True})
                return
            told = describe(instance)
            self._side.send(Kind.READY, message.number, told)
            conversation = Conversation(
                instance, fields["model"], channel, host, self._executing, separate=_is_separate(self._model)
            )
            del instance
            kinds = [kind for kind in fields["order"] if kind in told["kinds"]]
            (serve_async if kinds and kinds[0].endswith("_async") else serve)(conversation)
        finally:
            channel.close()


def _is_separate(model: Any) -> bool:
    return getattr(model, "separates_requests", False) is True


def _describe_model(model: Any) -> Json:
    labels = getattr(model, "output_labels", None)
    return {
        "separates_requests": _is_separate(model),
        "output_labels": None if labels is None else {name: list(texts) for name, texts in labels.items()},
        "trial_instances": hasattr(model, "trial_instance"),
        "reports_readiness": getattr(model, "reports_readiness", False) is True,
    }


def _settle(fields: Json, side: Channel) -> None:
    """Be as the server's process is, where the model may see it."""
    if "sys_path" in fields:
        sys.path[:] = fields["sys_path"]
    root = logging.getLogger()
    root.addHandler(SideHandler(side))
    root.setLevel(logging.INFO)
    logging.getLogger("kserve_v2").setLevel(fields.get("log_level", logging.INFO))
    logging.captureWarnings(True)


def _end() -> None:
    """Leave without waiting for the threads that the model has left behind."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(0)
