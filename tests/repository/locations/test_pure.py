"""What is decided without a store: names, credentials, places, and what a store's words mean."""

import json
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.net.repository_url import RepositoryUrl
from kserve_v2.repository.locations.credentials import VARIABLE, longest
from kserve_v2.repository.locations.filesystems import place
from kserve_v2.repository.locations.manifest import Digest, Item
from kserve_v2.repository.locations.names import check_names, name_problem
from kserve_v2.repository.locations.object_store import item, manifest_of
from kserve_v2.repository.locations.store import archive_name, without_secrets

MD5 = "5d41402abc4b2a76b9719d911017c592"  # of "hello"
MD5_BASE64 = "XUFAKrxLKna5cZ2REBfFkg=="
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@given(st.text(alphabet="ab./\\\0\x1f\ud800é", max_size=12))
def test_a_name_without_a_problem_stays_below(name: str) -> None:
    if name_problem(name) is None:
        parts = PurePosixPath(name).parts
        assert parts
        assert not set(parts) & {"..", "/", "."}
        assert (Path("/top") / name).resolve().is_relative_to("/top")
        name.encode()


@pytest.mark.parametrize(
    "names", [["a", "A"], ["é", "e\u0301"], ["a/b", "A/c"], ["a", "a/b"], ["a/b", "a"], ["straße", "STRASSE"]]
)
def test_names_that_are_one_for_some_file_systems_are_refused(names: list[str]) -> None:
    with pytest.raises(InvalidArgumentError):
        check_names(names)


def test_other_names_are_fine() -> None:
    check_names(["a/b", "a/c", "b", "..data", "a b", "ü/x.y"], ["a", "empty/deep"])


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            {"size": 5, "ETag": f'"{MD5}"', "LastModified": NOON},
            (MD5, Digest("md5", MD5)),
        ),
        # Sent in parts: no checksum of the whole.
        ({"size": 5, "ETag": f'"{MD5}-2"', "LastModified": NOON}, (f"{MD5}-2", None)),
        (
            {"size": 5, "etag": "CJD", "md5Hash": MD5_BASE64, "updated": "2026-11-28T12:00:00Z"},
            ("CJD", Digest("md5", MD5)),
        ),
        (
            {
                "size": 5,
                "etag": "0x8D",
                "content_settings": {"content_md5": bytearray.fromhex(MD5)},
                "last_modified": NOON,
            },
            ("0x8D", Digest("md5", MD5)),
        ),
        (
            {"size": 5, "etag": "0x8D", "content_settings": {"content_md5": None}, "last_modified": NOON},
            ("0x8D", None),
        ),
        (
            {"size": 5, "blob_id": "abc", "lfs": {"sha256": "f00"}, "mtime": NOON},
            ("abc", Digest("sha256", "f00")),
        ),
        (
            {"size": 5, "blob_id": "abc", "lfs": SimpleNamespace(sha256="f00"), "mtime": NOON},
            ("abc", Digest("sha256", "f00")),
        ),
        ({"size": 5, "blob_id": "abc", "lfs": None, "mtime": NOON}, ("abc", None)),
        ({"size": 5, "created": NOON}, (str(NOON), None)),
    ],
    ids=["s3", "s3 in parts", "gcs", "azure", "azure without", "hf large", "hf object", "hf small", "plain"],
)
def test_what_stores_tell_of_a_file(info: dict[str, Any], expected: tuple[str, Digest | None]) -> None:
    found = item("1/model.py", "bucket/m/1/model.py", info)
    assert (found.tag, found.digest) == expected
    assert found.size == 5
    assert found.modified_s == NOON.timestamp()


def test_another_content_of_the_same_second_and_size_has_another_time() -> None:
    one, other = Item("f", "f", 5, "a", None, 100.0), Item("f", "f", 5, "b", None, 100.0)
    assert one.time_ns != other.time_ns
    assert one.time_ns // 10**9 == other.time_ns // 10**9 == 100


def test_directories_and_files_of_a_listing() -> None:
    listed = [
        {"name": "b/m", "type": "directory", "size": 0},
        {"name": "b/m/", "type": "file", "size": 0},
        {"name": "b/m/empty/", "type": "file", "size": 0},
        {"name": "b/m/1", "type": "directory", "size": 0},
        {"name": "b/m/1/model.py", "type": "file", "size": 3, "ETag": "x"},
        {"name": "b/m-other/1/model.py", "type": "file", "size": 3, "ETag": "x"},
    ]
    found = manifest_of("b/m", listed)
    assert found is not None
    assert [each.path for each in found.items] == ["1/model.py"]
    assert found.directories == ("1", "empty")
    assert manifest_of("b/none", []) is None


# --- places and credentials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "protocol", "path", "endpoint"),
    [
        ("s3://bucket/models", "s3", "bucket/models", None),
        ("s3://bucket", "s3", "bucket", None),
        ("s3://host:9000/bucket/models", "s3", "bucket/models", "http://host:9000"),
        ("s3://https://host:9000/bucket/models", "s3", "bucket/models", "https://host:9000"),
        ("s3://http://10.0.0.1:9000/bucket", "s3", "bucket", "http://10.0.0.1:9000"),
        ("s3://https://minio.example.com/bucket/models", "s3", "bucket/models", "https://minio.example.com"),
    ],
)
def test_s3_in_triton_s_form(text: str, protocol: str, path: str, endpoint: str | None) -> None:
    url = RepositoryUrl.parse(text)
    found = place(url.scheme, url.full, {})
    assert (found.protocol, found.path) == (protocol, path)
    assert found.options["client_kwargs"].get("endpoint_url") == endpoint


CREDENTIALS = {
    "gs": {"": "/default.json", "gs://bucket-2": "/second.json"},
    "s3": {
        "": {"key_id": "k", "secret_key": "s", "region": "r", "session_token": "", "profile": ""},
        "s3://https://host:9000/b": {
            "key_id": "k2",
            "secret_key": "s2",
            "session_token": "t2",
            "profile": "p2",
        },
    },
    "as": {
        "": {"account_str": "a", "account_key": "k"},
        "as://other/": {"account_str": "other", "account_key": "k2"},
    },
}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("gs://bucket-1/m", {"token": "/default.json"}),
        ("gs://bucket-2/m", {"token": "/second.json"}),
        ("gcs://bucket-2/m", {"token": "/second.json"}),
        ("s3://bucket/m", {"key": "k", "secret": "s"}),
        ("s3://https://host:9000/b/m", {"key": "k2", "secret": "s2", "token": "t2", "profile": "p2"}),
        ("as://account/container/m", {"account_name": "account", "account_key": "k"}),
        ("as://other/container/m", {"account_name": "other", "account_key": "k2"}),
        ("az://container/m", {"account_name": "a", "account_key": "k"}),
    ],
)
def test_triton_s_credential_file(tmp_path: Path, text: str, options: dict[str, str]) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(CREDENTIALS))
    url = RepositoryUrl.parse(text)
    found = dict(place(url.scheme, url.full, {VARIABLE: str(file)}).options)
    client = found.pop("client_kwargs", {})
    found.pop("config_kwargs", None)
    assert found == options
    assert client.get("region_name") == ("r" if options.get("key") == "k" else None)


def test_azure_s_variables_are_triton_s() -> None:
    environ = {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "k"}
    assert place("az", "az://container/m", environ).options == {"account_name": "a", "account_key": "k"}
    found = place("as", "as://b.blob.core.windows.net/container/m", environ)
    assert (found.path, found.options) == ("container/m", {"account_name": "b", "account_key": "k"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{ secret", r"cannot be read as JSON \(JSONDecodeError\)$"),
        ('{"s3": "secret"}', "expected"),
        ('{"s3": {"": "secret"}}', "expected an object of texts"),
        ('{"s3": {"": {"secret_kee": "secret"}}}', "has no field 'secret_kee'"),
    ],
)
def test_a_credential_file_that_is_wrong_is_not_repeated(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        place("s3", "s3://bucket/m", {VARIABLE: str(file)})
    assert "secret" not in str(caught.value).replace("secret_ke", "")


def test_the_longest_beginning_counts() -> None:
    assert longest({"": 1, "s3://a": 2, "s3://a/b": 3}, "s3://a/b/c") == 3
    assert longest({"s3://a": 2}, "s3://b") is None


# --- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/a.zip", "https://host/a.zip"),
        ("https://secret@host/a.zip", "https://host/a.zip"),
        ("https://host/a.zip?X-Amz-Signature=secret&x=1", "https://host/a.zip?…"),
        ("GET https://host/a.zip?sig=secret failed", "GET https://host/a.zip?… failed"),
        ("s3://bucket/models", "s3://bucket/models"),
    ],
)
def test_secrets_are_not_logged(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    if "://" in text and " " not in text:
        assert "secret" not in str(RepositoryUrl.parse(text))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("m.zip", "m"),
        ("m.tar.gz", "m"),
        ("m.TGZ", "m"),
        ("m.v2.zip", "m.v2"),
        (".zip", None),
        ("m.onnx", None),
    ],
)
def test_archives_by_their_names(name: str, model: str | None) -> None:
    assert archive_name(name) == model


@pytest.mark.parametrize("text", ["s4://bucket/m", "s3://", "s3:///", "s3://a b", "://x", "file:///models"])
def test_urls_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"scheme"):
        RepositoryUrl.parse(text)
