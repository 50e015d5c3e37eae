"""URLs to what fsspec needs: its name of the protocol, the options and the path. The libraries are imported when they
are needed, and are optional; credentials that are not given here they find by themselves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.repository.locations.credentials import read_credentials

_INSTALL = {
    "s3": ("s3fs", "pip install fsspec s3fs"),
    "gs": ("gcsfs", "pip install fsspec gcsfs"),
    "az": ("adlfs", "pip install fsspec adlfs"),
    "as": ("adlfs", "pip install fsspec adlfs"),
    "hf": ("huggingface_hub", "pip install fsspec huggingface_hub"),
}
# Triton's form: s3://host:port/bucket/path, over HTTP unless https:// stands before the host.
_S3_ENDPOINT = re.compile(
    r"(?P<scheme>https?://)?(?P<host>[^/]+:[0-9]+)/(?P<path>.+)|(?P<only>https?://)(?P<name>[^/]+)/(?P<rest>.+)"
)
_BLOB_HOST = ".blob.core.windows.net"
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 10, 60


@dataclass(frozen=True, slots=True)
class Place:
    """What fsspec is asked for."""

    protocol: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


def place(scheme: str, url: str, environ: Mapping[str, str]) -> Place:
    """Where a URL leads. Raises InvalidArgumentError."""
    given = read_credentials(environ, scheme, url)
    path = url.partition("://")[2]
    fields = given if isinstance(given, Mapping) else {}
    if scheme == "s3":
        return _s3(path, fields)
    if scheme == "gs":
        return Place("gs", path, {"token": given} if isinstance(given, str) and given else {})
    if scheme in ("az", "as"):
        return _azure(scheme, url, path, fields, environ)
    return Place("hf", path)


def _s3(path: str, fields: Mapping[str, str]) -> Place:
    config: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "read_timeout": _READ_TIMEOUT_S,
        "retries": {"max_attempts": 0},
    }
    client: dict[str, Any] = {}
    if found := _S3_ENDPOINT.fullmatch(path):
        path = found["path"] or found["rest"]
        client["endpoint_url"] = (
            f"{found['scheme'] or 'http://'}{found['host']}"
            if found["host"]
            else f"{found['only']}{found['name']}"
        )
        # Servers of one's own have no name for each bucket.
        config["s3"] = {"addressing_style": "path"}
    if region := fields.get("region"):
        client["region_name"] = region
    names = {"key_id": "key", "secret_key": "secret", "session_token": "token", "profile": "profile"}
    options = {names[name]: value for name, value in fields.items() if name in names}
    return Place("s3", path, {**options, "client_kwargs": client, "config_kwargs": config})


def _azure(scheme: str, url: str, path: str, fields: Mapping[str, str], environ: Mapping[str, str]) -> Place:
    """`as://account/container/path` as Triton has it; `az://container/path` with the account in the environment."""
    account = fields.get("account_str") or environ.get("AZURE_STORAGE_ACCOUNT")
    key = fields.get("account_key") or environ.get("AZURE_STORAGE_KEY")
    if scheme == "as":
        named, _, path = path.partition("/")
        if not path:
            raise InvalidArgumentError(f"{url}: expected as://ACCOUNT/CONTAINER/PATH")
        account = named.removesuffix(_BLOB_HOST) or account
    options = {"account_name": account, "account_key": key}
    return Place("abfs", path, {name: value for name, value in options.items() if value})


def open_filesystem(scheme: str, wanted: Place) -> Any:
    """The library's file system. Raises InvalidArgumentError if it is not installed, with what to install."""
    package, install = _INSTALL[scheme]
    try:
        import fsspec  # noqa: PLC0415 - only where models come from somewhere else

        kind = fsspec.get_filesystem_class(wanted.protocol)
    except (ImportError, ValueError) as error:
        raise InvalidArgumentError(
            f"{scheme}:// needs the package {package}, which is not installed: {install}"
        ) from error
    # What has changed is what is asked for: nothing that a library remembers.
    filesystem = kind(**wanted.options, use_listings_cache=False, skip_instance_cache=True)
    if scheme == "s3":
        # Tries that multiply each other take minutes: those of this package can be stopped.
        filesystem.retries = 1
    return filesystem
