"""Tokens: three keys, in a file that only the operator reads, as TorchServe has them. Off unless they are asked for."""

import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kserve_v2.torchserve_api.errors import not_authenticated, not_authorized
from kserve_v2.torchserve_api.routes import Api

KEY_FILE = "key_file.json"
# 96 bits: TorchServe's keys have 48.
_KEY_BYTES = 12
_BEARER = "Bearer "


@dataclass(frozen=True, slots=True)
class _Key:
    text: str
    expires: datetime


class Tokens:
    """Checks the tokens of requests, and makes new ones. Used on the event loop; what it writes is one small file."""

    def __init__(
        self, path: Path, minutes: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """`path`: of the file. `minutes`: how long a key is good."""
        self._path, self._minutes, self._now = path, minutes, now
        self._api = secrets.token_urlsafe(_KEY_BYTES)
        self._keys = {kind: self._new_key() for kind in (Api.INFERENCE, Api.MANAGEMENT)}

    def write(self) -> None:
        """Write the file. Raises OSError."""
        document = {
            kind.value: {"key": key.text, "expiration time": key.expires.isoformat().replace("+00:00", "Z")}
            for kind, key in self._keys.items()
        }
        document["API"] = {"key": self._api}
        # Nobody else ever sees it, or a half of it.
        handle, name = tempfile.mkstemp(prefix=f".{KEY_FILE}.", dir=self._path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Remove the file, at the end."""
        self._path.unlink(missing_ok=True)

    def check(self, api: Api, authorization: str) -> None:
        """Raise TorchServeError unless a request's Authorization header lets it ask an API. Metrics are open."""
        key = self._keys.get(api)
        if key is not None and (not _is(authorization, key.text) or self._now() >= key.expires):
            raise not_authorized()

    def renew(self, kind: str, authorization: str) -> None:
        """Make another key for an API, which replaces the last one; it is in the file. Raises TorchServeError for an
        API that has none, and without the key for this.
        """
        if kind not in (Api.INFERENCE.value, Api.MANAGEMENT.value) or not _is(authorization, self._api):
            raise not_authenticated()
        self._keys[Api(kind)] = self._new_key()
        self.write()

    def _new_key(self) -> _Key:
        return _Key(secrets.token_urlsafe(_KEY_BYTES), self._now() + timedelta(minutes=self._minutes))


def _is(authorization: str, key: str) -> bool:
    given = authorization.removeprefix(_BEARER) if authorization.startswith(_BEARER) else ""
    return hmac.compare_digest(given.encode(errors="replace"), key.encode())
