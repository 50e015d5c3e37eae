"""Python objects of this process that are served as models. A model's file names its object by a key, and nothing of it
is pickled: so another process cannot serve it.
"""

import secrets
from threading import Lock

from kserve_v2.backend import LiveModel
from kserve_v2.errors import InvalidArgumentError

_FILE = """\
from kserve_v2.handlers.live import taken

Model = taken("{key}")
"""

ONE_INSTANCE = "instance_group { count: 1 kind: KIND_CPU }\n"
"""The configuration of a model that is one object of the program, wherever its instances would be."""


_models: dict[str, LiveModel] = {}
_lock = Lock()


def put(model: LiveModel) -> str:
    """Have a model served by its key, until `drop`."""
    key = secrets.token_hex(8)
    with _lock:
        _models[key] = model
    return key


def drop(key: str) -> None:
    """Let go of a model."""
    with _lock:
        _models.pop(key, None)


def live_model(key: str) -> LiveModel:
    """The model of a key. Raises InvalidArgumentError."""
    try:
        return _models[key]
    except KeyError:
        raise InvalidArgumentError(
            "it is an object of another process, or of a server that was stopped: an object that lives in a program "
            "is served by that program alone, and not in a process of its own (--isolate)"
        ) from None


def taken(key: str) -> object:
    """What is called, for a model's file. Raises InvalidArgumentError."""
    return live_model(key).handler


def directory_files(key: str) -> dict[str, bytes]:
    """The files of the model's directory, by name. Raises InvalidArgumentError."""
    model = live_model(key)
    files = {f"1/{name}": content for name, content in model.files.items()}
    if model.handler is not None:
        files["1/model.py"] = _FILE.format(key=key).encode()
    config = model.config
    if model.handler is not None:
        config += 'parameters { key: "handler" value { string_value: "model:Model" } }\n'
    if config:
        files["config.pbtxt"] = config.encode()
    return files
