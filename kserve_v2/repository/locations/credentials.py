"""Triton's file with credentials of clouds, which the environment variable TRITON_CLOUD_CREDENTIAL_PATH names:

    {"s3": {"": {"key_id": …, "secret_key": …, "region": …}, "s3://bucket-002": {…}}, "gs": …, "as": …}

Behind each scheme: the beginning of a path, the longest that fits, to what it takes. Without the file, libraries look
for credentials by themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_v2.errors import InvalidArgumentError

VARIABLE = "TRITON_CLOUD_CREDENTIAL_PATH"

_FIELDS = {
    "s3": {"key_id", "secret_key", "session_token", "region", "profile"},
    "as": {"account_str", "account_key"},
}


def read_credentials(environ: Mapping[str, str], scheme: str, url: str) -> Mapping[str, str] | str | None:
    """What the file has for a URL; None without a file, or if it has nothing for it. Raises InvalidArgumentError for a
    file that cannot be used.
    """
    path = environ.get(VARIABLE)
    if not path:
        return None
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        # The text of the file is not repeated: it is a secret.
        raise InvalidArgumentError(
            f"{VARIABLE}: {path!r} cannot be read as JSON ({type(error).__name__})"
        ) from None
    scheme = {"az": "as"}.get(scheme, scheme)
    of_scheme = content.get(scheme, {}) if isinstance(content, dict) else None
    if not isinstance(of_scheme, dict):
        raise InvalidArgumentError(f'{VARIABLE}: expected {{"{scheme}": {{PATH: …}}}} in {path!r}')
    found = longest(of_scheme, url)
    if found is None:
        return None
    return _checked(found, scheme, path)


def longest(by_prefix: Mapping[str, Any], url: str) -> Any:
    """The entry with the longest beginning of a URL; that of "" fits all. None if there is none."""
    fitting = [prefix for prefix in by_prefix if url.startswith(prefix)]
    return by_prefix[max(fitting, key=len)] if fitting else None


def _checked(found: Any, scheme: str, path: str) -> Mapping[str, str] | str:
    if scheme == "gs":
        if isinstance(found, str):
            return found
        raise InvalidArgumentError(
            f'{VARIABLE}: for "gs", expected the path of a credential file in {path!r}'
        )
    fields = _FIELDS.get(scheme, set())
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidArgumentError(f'{VARIABLE}: for "{scheme}", expected an object of texts in {path!r}')
    if unknown := sorted(found.keys() - fields):
        raise InvalidArgumentError(
            f'{VARIABLE}: "{scheme}" has no field {unknown[0]!r} in {path!r}; expected {", ".join(sorted(fields))}'
        )
    return {field: value for field, value in found.items() if value}
