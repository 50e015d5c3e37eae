"""The user's cache directory, as the XDG Base Directory specification has it."""

from collections.abc import Mapping
from pathlib import Path


def user_cache(environ: Mapping[str, str]) -> Path | None:
    """The server's part of it; None for a user without one."""
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        # As the specification has it: a relative path counts for none.
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    return cache / "kserve-v2"
