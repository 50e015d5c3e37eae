"""One S3 server for all tests of locations, and a bucket of its own for each."""

import io
import itertools
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from kserve_v2.net.repository_url import RepositoryUrl
from kserve_v2.repository.locations.locations import Locations, Where
from tests.repository.locations.s3_server import SIGNED, Bucket, Proxy, running_proxy, running_s3

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """`host:port` of an S3 server."""
    with running_s3() as address:
        yield address


@pytest.fixture(scope="session")
def shared_proxy(s3_address: str) -> Iterator[Proxy]:
    with running_proxy(s3_address) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: Proxy) -> Iterator[Proxy]:
    """What stands in front of the S3 server."""
    shared_proxy.reset()
    yield shared_proxy
    shared_proxy.reset()


@pytest.fixture
def bucket(s3_address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    found = Bucket(f"bucket-{next(_numbers)}", f"http://{s3_address}", f"127.0.0.1:{proxy.port}")
    assert httpx.put(f"{found.direct}/{found.name}", headers=SIGNED).status_code == 200
    return found


MakeLocations = Callable[..., Locations]


@pytest.fixture
def make_locations(tmp_path: Path) -> Iterator[MakeLocations]:
    """Makes the locations of a server: `make_locations(where, model_name="", limit=0, environ={})`."""
    with ExitStack() as stack:

        def make(
            where: str | Path, model_name: str = "", limit: int = 0, environ: dict[str, str] | None = None
        ) -> Locations:
            place = RepositoryUrl.parse(where) if isinstance(where, str) else where
            locations = Locations(
                Where([place], model_name, staging_dir=tmp_path / "staging", staging_size_limit=limit),
                environ or {},
            )
            stack.callback(locations.close)
            return locations

        yield make


class Pack:
    """Makes archives of texts by names."""

    @staticmethod
    def zip(files: Mapping[str, str]) -> bytes:
        """A zip, with the same times in it whatever the clock says."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name), text)
        return buffer.getvalue()

    @staticmethod
    def tar(files: Mapping[str, str]) -> bytes:
        """A tar.gz, likewise."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return buffer.getvalue()


@pytest.fixture(scope="session")
def pack() -> Pack:
    return Pack()


def write(top: Path, files: dict[str, str]) -> Path:
    """Write texts below a folder, by their names."""
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def config_map(folder: Path, generation: str, files: dict[str, str]) -> None:
    """What the kubelet does with a ConfigMap: a new hidden folder, and a link that is replaced. Files of the same text
    have the same time here, so that those of another one have to be seen.
    """
    write(folder / generation, files)
    for name, text in files.items():
        os.utime(folder / generation / name, (len(text), len(text)))
    link = folder / "..data_tmp"
    link.symlink_to(generation)
    link.replace(folder / "..data")
    for name in files:
        top = name.partition("/")[0]
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
