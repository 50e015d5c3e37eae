"""The static files of the page: each read and compressed once, when it is first asked for, and then kept."""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from starlette.responses import Response

from kserve_v2.net.preferences import preferred

STATIC = Path(__file__).parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

SECURITY_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    }
)
"""What a browser is told of every file: scripts and styles come from here, and nothing is sent elsewhere."""

# Not from the system's table of types, which differs from machine to machine. Only these are served.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_COMPRESSED = {".png"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent. `gzipped`: empty where that would save nothing."""

    media_type: str
    plain: bytes
    gzipped: bytes
    etag: str

    @classmethod
    def read(cls, path: Path) -> "Asset":
        """Read and compress. Blocks. Raises OSError."""
        plain = path.read_bytes()
        # Without a time in it the same file is the same bytes.
        gzipped = b"" if path.suffix in _COMPRESSED else gzip.compress(plain, 9, mtime=0)
        digest = hashlib.sha256(plain).hexdigest()[:20]
        return cls(_TYPES[path.suffix], plain, gzipped if len(gzipped) < len(plain) else b"", digest)

    def answer(self, request_headers: Mapping[str, str]) -> Response:
        """The file, or 304 where the browser has it. It asks every time: a server that was updated shows its new
        page at once.
        """
        # Whichever encoding the client likes best: there is no other one.
        accepted = preferred(request_headers.get("accept-encoding", "").encode("latin-1"))
        gzipped = bool(self.gzipped) and "gzip" in accepted
        # Not the same bytes, not the same tag.
        etag = f'"{self.etag}-gzip"' if gzipped else f'"{self.etag}"'
        headers = {
            **SECURITY_HEADERS,
            "cache-control": "no-cache",
            "etag": etag,
            "vary": "Accept, Accept-Encoding",
        }
        known = {
            tag.strip().removeprefix("W/") for tag in request_headers.get("if-none-match", "").split(",")
        }
        if etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        if gzipped:
            headers["content-encoding"] = "gzip"
        return Response(self.gzipped if gzipped else self.plain, 200, headers, self.media_type)


class Assets:
    """The files of a folder, by their path in it. Lives on the event loop."""

    def __init__(self, folder: Path = STATIC) -> None:
        """The names are looked up once: whatever else a client asks for never reaches the file system."""
        self._paths = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.suffix in _TYPES and path.is_file()
        }
        self._read: dict[str, Asset] = {}

    async def get(self, name: str) -> Asset | None:
        """A file; None if there is none of that name."""
        if name not in self._paths:
            return None
        if name not in self._read:
            self._read[name] = await asyncio.to_thread(Asset.read, self._paths[name])
        return self._read[name]
