"""Asks a server about itself and a model: metadata, configuration, statistics. Over the protocol that is measured."""

import http.client
import json
import socket
import ssl
from typing import Any, Protocol

from google.protobuf import json_format

from kserve_v2._generated._pool import POOL
from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.bench.errors import BenchError
from kserve_v2.bench.model_view import ModelView, model_view
from kserve_v2.bench.server_side import Counters
from kserve_v2.bench.target import Target

_TIMEOUT_S = 30
_SHOWN = 500

Json = dict[str, Any]


class NotToldError(BenchError):
    """The server answers, and does not tell this."""


class Control(Protocol):
    """Of one model on one server."""

    def view(self) -> ModelView:
        """What requests are made from. Raises BenchError, with the server's reason."""
        ...

    def counters(self) -> Counters | None:
        """The model's statistics; None of servers that have none."""
        ...


class RestControl:
    """Over HTTP/1.1, with a connection for each question: they are asked between measurements."""

    def __init__(self, target: Target, model: str, version: str = "") -> None:
        self._target = target
        self._path = target.path(model, version)

    def view(self) -> ModelView:
        """See `Control`."""
        server = self.get(f"{self._target.prefix}/v2")
        metadata = self.get(self._path)
        try:
            config = self.config()
        except (NotToldError, json_format.ParseError):
            config = None
        try:
            return model_view(metadata, config, server.get("extensions", []))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._no_server("metadata") from None

    def config(self) -> ModelConfig:
        """What the model is served with. Raises BenchError, and ParseError for what is no configuration."""
        found = self.get(f"{self._path}/config")
        return json_format.ParseDict(found, ModelConfig(), ignore_unknown_fields=True, descriptor_pool=POOL)

    def counters(self) -> Counters | None:
        """See `Control`."""
        try:
            return Counters.of(self.get(f"{self._path}/stats"))
        except (BenchError, KeyError, TypeError, ValueError, AttributeError):
            # Also of a server that is gone: the load will tell.
            return None

    def get(self, path: str) -> Json:
        """What stands there. Raises BenchError."""
        return self._ask("GET", path)

    def post(self, path: str, document: Json, timeout_s: float = _TIMEOUT_S) -> Json:
        """What is answered. Raises BenchError."""
        return self._ask("POST", path, json.dumps(document), timeout_s)

    def _ask(self, method: str, path: str, body: str | None = None, timeout_s: float = _TIMEOUT_S) -> Json:
        status, reason, content = ask(self._target, method, path, body, timeout_s)
        if status != http.client.OK:
            raise NotToldError(f"{method} {path}: {status} {reason}: {_error_text(content)}")
        try:
            found = json.loads(content) if content else {}
        except ValueError:
            raise self._no_server(f"answer to {path}") from None
        if not isinstance(found, dict):
            raise self._no_server(f"answer to {path}")
        return found

    def _no_server(self, what: str) -> BenchError:
        return BenchError(
            f"what answers at {self._target.url} is no v2 server: its {what} is not as expected"
        )


def ask(
    target: Target, method: str, path: str, body: str | bytes | None = None, timeout_s: float = _TIMEOUT_S
) -> tuple[int, str, bytes]:
    """Status, reason and content of an answer. Raises BenchError where none comes."""
    # The host without its port: http.client takes a bracketless IPv6 address as it is.
    if target.tls:
        context = ssl.create_default_context(cafile=target.ca_file or None)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            target.host, target.port, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(target.headers))
        response = connection.getresponse()
        return response.status, response.reason, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(target, error) from None
    finally:
        connection.close()


def unreachable(target: Target, error: Exception) -> BenchError:
    """No server answers."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, (TimeoutError, socket.timeout)):
        why = "no answer in time"
    return BenchError(
        f"no server answers at {target.url}: {why}; start one with kserve-v2 serve, or name another with --url"
    )


def _error_text(content: bytes) -> str:
    """Why a server has refused; whoever else answers may not say it in JSON."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:_SHOWN].decode(errors="replace").strip()
