"""Archives on a web server: one that the test starts, and that misbehaves as it is told."""

import base64
import io
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kserve_v2.errors import ServingError, UnavailableError
from kserve_v2.repository.locations import transfer
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.locations.staging import area_key
from kserve_v2.repository.locations.store import RefusedError
from kserve_v2.repository.locations.web_archive import _Redirects
from kserve_v2.repository.reading.scan import scan
from tests.repository.locations.conftest import MakeLocations, Pack

MODELS = {"a/1/model.py": "a", "b/1/model.py": "b" * 3000}


@dataclass
class Web:
    """One file, at any path."""

    url: str = ""
    content: bytes = b""
    etag: str = '"one"'
    ranges: bool = True
    cuts: int = 0
    redirect: str = ""
    seen: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, pack: Pack) -> Iterator[Web]:
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(transfer, "CHUNK", 1000)
    state = Web(content=pack.zip(MODELS))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            state.seen.append(self.headers.get("Range", ""))
            state.authorizations.append(self.headers.get("Authorization"))
            if state.redirect and "moved" not in self.path:
                self.send_response(302)
                self.send_header("Location", state.redirect)
                self.end_headers()
                return
            if self.path.startswith("/missing"):
                self.send_error(404)
                return
            if self.headers.get("If-Match", state.etag) != state.etag:
                self.send_error(412)
                return
            body, total = state.content, len(state.content)
            if state.ranges:
                start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
                body = body[int(start) : int(end) + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{int(start) + len(body) - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("ETag", state.etag)
            self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cuts and len(body) > 1:
                state.cuts -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def content(locations: Locations) -> dict[str, str]:
    models = scan(locations.roots).models
    return {
        f"{name}/{path.relative_to(entry.path)}": path.read_text()
        for name, entry in models.items()
        for path in entry.path.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("ranges", [True, False])
def test_a_repository_in_an_archive(
    web: Web, make_locations: MakeLocations, pack: Pack, *, ranges: bool
) -> None:
    web.ranges = ranges
    locations = make_locations(f"{web.url}/models.zip")
    locations.names()
    assert content(locations) == MODELS
    # What has not changed is not fetched again; that it has not is asked by one byte.
    web.seen.clear()
    locations.refresh()
    assert web.seen == ["bytes=0-0"]
    web.content, web.etag = pack.zip({"a/1/model.py": "newer"}), '"two"'
    locations.refresh()
    assert content(locations) == {"a/1/model.py": "newer"}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_is_cut_is_taken_up_again(
    web: Web, make_locations: MakeLocations, *, ranges: bool
) -> None:
    web.ranges, web.cuts = ranges, 3
    locations = make_locations(f"{web.url}/models.zip")
    locations.names()
    assert content(locations) == MODELS


def test_an_archive_that_is_damaged_is_an_error_until_it_is_whole(
    web: Web, make_locations: MakeLocations, pack: Pack
) -> None:
    web.content = pack.zip(MODELS)[:-20]
    locations = make_locations(f"{web.url}/models.zip")
    with pytest.raises(ServingError, match="cannot be unpacked"):
        locations.names()
    assert locations.roots == ()
    web.content = pack.zip(MODELS)
    locations.names()
    assert content(locations) == MODELS


def test_that_it_is_gone_unloads_nothing(web: Web, make_locations: MakeLocations) -> None:
    with pytest.raises(UnavailableError, match=r"missing\.zip: nothing is there$"):
        make_locations(f"{web.url}/missing.zip").names()


def test_passwords_are_sent_and_never_to_another_host(web: Web, make_locations: MakeLocations) -> None:
    locations = make_locations(f"{web.url.replace('//', '//user:pass%2Fword@')}/models.zip?token=x")
    locations.names()
    expected = f"Basic {base64.b64encode(b'user:pass/word').decode()}"
    assert set(web.authorizations) == {expected}
    web.redirect = f"{web.url.replace('127.0.0.1', 'localhost')}/moved.zip"
    web.authorizations.clear()
    locations.refresh()
    assert web.authorizations == [expected, None]


def test_no_path_tells_a_password(
    web: Web, make_locations: MakeLocations, caplog: pytest.LogCaptureFixture
) -> None:
    """What is staged lies below a name that the URL has made, and paths are shown and logged."""
    locations = make_locations(f"{web.url.replace('//', '//token:hidden@')}/models.zip?sig=hidden")
    locations.names()
    [root] = locations.roots
    assert "models.zip" in str(root)
    assert not any(secret in f"{root} {caplog.text}" for secret in ("token", "hidden"))


def test_locations_are_told_apart_by_what_is_not_shown_and_not_by_passwords() -> None:
    one, *others = (
        area_key(f"https://{who}host/a.zip{query}")
        for who, query in (("me:x@", "?v=1"), ("me:x@", "?v=2"), ("you:x@", "?v=1"), ("", "?v=1"))
    )
    assert one not in others
    assert len(set(others)) == len(others)
    assert area_key("https://me:other@host/a.zip?v=1") == one
    assert {each.rpartition("-")[0] for each in (one, *others)} == {"https_host_a.zip"}
    assert area_key("s3://https://host:1/b/c") != area_key("s3://https://host:2/b/c")


def test_plain_http_is_warned_of(
    web: Web, make_locations: MakeLocations, caplog: pytest.LogCaptureFixture
) -> None:
    make_locations(f"{web.url.replace('//', '//token:hidden@')}/models.zip")
    [record] = [each for each in caplog.records if "use https://" in each.message]
    assert "hidden" not in record.message


def test_a_redirection_away_from_https_is_refused_and_says_why() -> None:
    before = urllib.request.Request("https://host/models.zip")
    with pytest.raises(RefusedError, match="away from HTTPS"):
        _Redirects().redirect_request(before, io.BytesIO(), 302, "", HTTPMessage(), "http://host/models.zip")


def test_nothing_but_http_is_followed(
    web: Web, make_locations: MakeLocations, tmp_path: Path, pack: Pack
) -> None:
    (tmp_path / "local.zip").write_bytes(pack.zip(MODELS))
    web.redirect = f"file://{tmp_path}/local.zip"
    locations = make_locations(f"{web.url}/models.zip")
    with pytest.raises(UnavailableError, match=r"HTTP 302$"):
        locations.names()
