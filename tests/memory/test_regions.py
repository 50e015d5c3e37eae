"""Registered regions, on real objects in /dev/shm. Texts start as Triton's do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from kserve_v2.errors import (
    AlreadyExistsError,
    ErrorCode,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ServingError,
    UnsupportedError,
)
from kserve_v2.memory.regions import CudaRegions, SharedMemoryRegions
from kserve_v2.memory.system import RESERVED_PREFIXES, RegionStatus

DIRECTORY = Path("/dev/shm")  # noqa: S108 - the system's place for the objects
DISABLED = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."

MakeObject = Callable[[bytes], Path]


@pytest.fixture
def make_object(request: pytest.FixtureRequest) -> Iterator[MakeObject]:
    """Makes shared memory objects; they are gone after the test."""
    made: list[Path] = []

    def make(content: bytes) -> Path:
        path = DIRECTORY / f"test_{os.getpid()}_{len(made)}"
        path.write_bytes(content)
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink()


@pytest.fixture
def regions() -> SharedMemoryRegions:
    return SharedMemoryRegions(enabled=True)


def mappings(path: Path) -> int:
    """How often an object is mapped into this process."""
    return Path("/proc/self/maps").read_text().count(f"{path}\n")


def open_files(path: Path) -> int:
    """How many open files of this process are the object."""
    return sum(link.is_symlink() and link.readlink() == path for link in Path("/proc/self/fd").iterdir())


# --- registration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_a_region_is_registered_with_its_key_as_it_was_written(
    regions: SharedMemoryRegions, make_object: MakeObject, slash: str
) -> None:
    path = make_object(b"0123456789")
    regions.register("r", slash + path.name, 2, 5)
    assert regions.status() == regions.status("r") == [RegionStatus("r", slash + path.name, 2, 5)]
    assert bytes(regions.part("r", 0, 5).read()) == b"23456"


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 4097, 8191])
def test_offsets_need_no_alignment(
    regions: SharedMemoryRegions, make_object: MakeObject, offset: int
) -> None:
    content = np.random.default_rng(1).bytes(8192)
    regions.register("r", make_object(content).name, offset, 8192 - offset)
    part = regions.part("r", 0, 8192 - offset)
    assert bytes(part.read()) == content[offset:]
    part.write(b"!", "OUT")
    assert bytes(part.read()[:1]) == b"!"


def test_one_object_may_have_several_regions(regions: SharedMemoryRegions, make_object: MakeObject) -> None:
    path = make_object(b"abcdef")
    regions.register("b", path.name, 0, 3)
    regions.register("a", path.name, 3, 3)
    assert [status.name for status in regions.status()] == ["a", "b"]
    assert [bytes(regions.part(name, 0, 3).read()) for name in "ab"] == [b"def", b"abc"]


@pytest.mark.parametrize(
    "key", ["", "/", "//", ".", "..", "/..", "a/b", "../etc/passwd", "/a/", "a\0b", "x" * 256]
)
def test_a_key_names_an_object_directly_in_the_directory(regions: SharedMemoryRegions, key: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        regions.register("n", key, 0, 1)
    assert caught.value.message == f"cannot register shared memory region 'n' - invalid shm key '{key}'"


@pytest.mark.parametrize("prefix", RESERVED_PREFIXES)
@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_reserved_keys_are_refused(regions: SharedMemoryRegions, prefix: str, slash: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        regions.register("n", f"{slash}{prefix}1", 0, 1)
    assert caught.value.message == (
        f"cannot register shared memory region 'n' with key '{slash}{prefix}1' as the key contains the reserved "
        f"prefix '{prefix}'"
    )


@pytest.mark.parametrize(
    ("offset", "byte_size", "text"),
    [
        (0, 0, "failed to register shared memory region 'r': unable to process address space"),
        (0, 11, "failed to register shared memory region 'r': invalid args"),
        (1, 10, "failed to register shared memory region 'r': invalid args"),
        (11, 1, "failed to register shared memory region 'r': invalid args"),
        (2**64 - 1, 1, "failed to register shared memory region 'r': invalid args"),
        (0, 2**64 - 1, "failed to register shared memory region 'r': invalid args"),
        (2**64 - 1, 2**64 - 1, "failed to register shared memory region 'r': invalid args"),
    ],
)
def test_a_region_lies_within_its_object(
    regions: SharedMemoryRegions, make_object: MakeObject, offset: int, byte_size: int, text: str
) -> None:
    path = make_object(b"0123456789")
    with pytest.raises(InvalidArgumentError) as caught:
        regions.register("r", path.name, offset, byte_size)
    assert caught.value.message.startswith(text)
    del caught
    assert (regions.status(), open_files(path), mappings(path)) == ([], 0, 0)


def test_a_name_is_taken_once(regions: SharedMemoryRegions, make_object: MakeObject) -> None:
    path = make_object(b"x")
    regions.register("r1", path.name, 0, 1)
    with pytest.raises(AlreadyExistsError, match=r"^shared memory region 'r1' already in manager$"):
        regions.register("r1", path.name, 0, 1)
    regions.unregister("r1")
    regions.register("r1", path.name, 0, 1)


def test_a_name_is_needed(regions: SharedMemoryRegions) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^'region name' is necessary to register system shared"):
        regions.register("", "key", 0, 1)


def test_an_object_that_does_not_exist(regions: SharedMemoryRegions) -> None:
    with pytest.raises(InternalError, match=r"^Unable to open shared memory region: '/nosuchkey'$"):
        regions.register("r", "/nosuchkey", 0, 1)


def refuse_to_open(regions: SharedMemoryRegions, path: Path) -> str:
    with pytest.raises(InternalError) as caught:
        regions.register("r", path.name, 0, 1)
    assert regions.status() == []
    return caught.value.message.removeprefix(f"Unable to open shared memory region: '{path.name}'")


def test_links_are_not_followed(
    regions: SharedMemoryRegions, make_object: MakeObject, tmp_path: Path
) -> None:
    path = make_object(b"")
    path.unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    path.symlink_to(tmp_path / "secret")
    assert "symbolic links" in refuse_to_open(regions, path)


def test_a_pipe_is_no_object(regions: SharedMemoryRegions, make_object: MakeObject) -> None:
    path = make_object(b"")
    path.unlink()
    os.mkfifo(path)
    assert refuse_to_open(regions, path) == ": it is no shared memory object"
    assert open_files(path) == 0


def test_a_directory_is_no_object(regions: SharedMemoryRegions, tmp_path: Path) -> None:
    directory = DIRECTORY / f"test_{os.getpid()}_directory"
    directory.mkdir()
    try:
        assert refuse_to_open(regions, directory) == ": Is a directory"
    finally:
        directory.rmdir()


def test_unknown_regions(regions: SharedMemoryRegions) -> None:
    assert regions.status() == []
    regions.unregister("r1")
    regions.unregister()
    with pytest.raises(NotFoundError, match=r"^Unable to find system shared memory region: 'r1'$"):
        regions.status("r1")
    with pytest.raises(NotFoundError, match=r"^Unable to find shared memory region: 'r1'$"):
        regions.part("r1", 0, 1)


def test_nothing_can_be_registered_or_used_unless_it_is_allowed() -> None:
    regions = SharedMemoryRegions(enabled=False)
    for refused in (lambda: regions.register("r", "k", 0, 1), lambda: regions.part("r", 0, 1)):
        with pytest.raises(UnsupportedError) as caught:
            refused()
        assert caught.value.message == DISABLED
    regions.unregister()
    assert regions.status() == []


# --- use ----------------------------------------------------------------------------------------------------

TOO_FAR = "Invalid offset for shared memory region: 'r1'"
TOO_LONG = "Invalid offset + byte size for shared memory region: 'r1'"


@pytest.mark.parametrize(
    ("offset", "byte_size", "text"),
    [
        (64, 1, TOO_FAR),
        (-1, 1, TOO_FAR),
        (2**63 - 1, 2**63 - 1, TOO_FAR),
        (0, 65, TOO_LONG),
        (63, 2, TOO_LONG),
        (0, -1, TOO_LONG),
        (1, 2**64 - 1, TOO_LONG),
        (0, 0, TOO_LONG),
    ],
)
def test_a_tensor_lies_within_its_region(
    regions: SharedMemoryRegions, make_object: MakeObject, offset: int, byte_size: int, text: str
) -> None:
    regions.register("r1", make_object(bytes(128)).name, 32, 64)
    with pytest.raises(InvalidArgumentError) as caught:
        regions.part("r1", offset, byte_size).read()
    assert caught.value.message.startswith(f"{text}: got {offset}")
    assert caught.value.message.endswith("the region has 64 bytes")


def test_an_input_is_read_in_place_and_cannot_be_written(
    regions: SharedMemoryRegions, make_object: MakeObject
) -> None:
    path = make_object(np.arange(4, dtype=np.int32).tobytes())
    regions.register("r", path.name, 0, 16)
    array = np.frombuffer(regions.part("r", 4, 8).read(), np.int32)
    assert not array.flags.writeable
    with path.open("r+b") as client:
        client.seek(4)
        client.write(b"\x07")
    assert array.tolist() == [7, 2]


def test_an_output_is_written_in_place(regions: SharedMemoryRegions, make_object: MakeObject) -> None:
    path = make_object(b"." * 10)
    regions.register("r", path.name, 2, 8)
    regions.part("r", 1, 4).write(b"abc", "OUT")
    regions.part("r", 5, 3).write(memoryview(b"xyz"), "OUT")
    regions.part("r", 0, 0).write(b"", "OUT")
    assert path.read_bytes() == b"...abc.xyz"


def test_an_output_needs_room(regions: SharedMemoryRegions, make_object: MakeObject) -> None:
    path = make_object(bytes(64))
    regions.register("r", path.name, 0, 64)
    with pytest.raises(InternalError) as caught:
        regions.part("r", 0, 8).write(b"x" * 12, "OUT")
    assert caught.value.message == (
        "shared memory size specified with the request for output 'OUT' (8 bytes) should be at least 12 bytes "
        "to hold the results"
    )
    assert path.read_bytes() == bytes(64)


def test_an_object_that_has_shrunk_is_neither_read_nor_written(
    regions: SharedMemoryRegions, make_object: MakeObject
) -> None:
    path = make_object(bytes(8192))
    regions.register("r1", path.name, 0, 8192)
    os.truncate(path, 100)
    part = regions.part("r1", 96, 5000)
    for use in (part.read, partial(part.write, bytes(5000), "OUT")):
        with pytest.raises(InvalidArgumentError) as caught:
            use()
        assert caught.value.message == (
            f"{TOO_LONG}: its object '{path.name}' has shrunk to 100 bytes since it was registered, "
            "expected at least 5096"
        )
    assert path.stat().st_size == 100
    assert bytes(regions.part("r1", 0, 100).read()) == bytes(100)


# An object of 1 MiB of which nothing was ever written, in a /dev/shm that has no page left.
FULL = """
import os
from contextlib import suppress
from kserve_v2.errors import InternalError
from kserve_v2.memory.regions import SharedMemoryRegions

with open("/dev/shm/sparse", "wb") as sparse, open("/dev/shm/filler", "wb", buffering=0) as filler:
    os.truncate(sparse.fileno(), 2**20)
    with suppress(OSError):
        while filler.write(bytes(4096)):
            pass
regions = SharedMemoryRegions(enabled=True)
regions.register("r", "sparse", 0, 2**20)
part = regions.part("r", 5000, 100)
for use in (part.read, lambda: part.write(b"abc", "OUT")):
    try:
        use()
    except InternalError as error:
        print(error.message)
"""


@pytest.mark.slow
def test_a_page_that_the_system_has_no_memory_for_is_an_error() -> None:
    unshare = shutil.which("unshare")
    private = [unshare or "", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
    if unshare is None or subprocess.run([*private, mount], capture_output=True, check=False).returncode:
        pytest.skip("needs a /dev/shm of its own, which this system does not let us mount")
    script = [*private, f'{mount}; exec "$0" -c "$1"', sys.executable, FULL]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Unable to read from shared memory region: 'r': No space left on device",
        "Unable to write to shared memory region: 'r': No space left on device",
    ]


@pytest.mark.parametrize("name", ["r", ""])
def test_a_region_that_is_in_use_lives_until_it_is_not(
    regions: SharedMemoryRegions, make_object: MakeObject, name: str
) -> None:
    path = make_object(b"0123456789")
    regions.register("r", path.name, 0, 10)
    read, written = regions.part("r", 0, 10).read(), regions.part("r", 0, 1)
    regions.unregister(name)
    with pytest.raises(NotFoundError):
        regions.part("r", 0, 10)
    written.write(b"!", "OUT")
    assert bytes(read) == b"!123456789"
    del written
    assert mappings(path) == 1
    del read
    assert (mappings(path), open_files(path)) == (0, 0)


# --- CUDA, as far as it goes without a device; the rest is in tests/cuda ------------------------------------


@pytest.mark.parametrize(
    ("enabled", "name", "raw_handle", "code", "message"),
    [
        (False, "x", bytes(64), ErrorCode.UNSUPPORTED, DISABLED),
        (True, "", bytes(64), ErrorCode.INVALID_ARGUMENT,
         "'region name' is necessary to register cuda shared memory region"),
        (True, "x", bytes(63), ErrorCode.INVALID_ARGUMENT,
         "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t: got 63 bytes, expected 64"),
    ],
)  # fmt: skip
def test_cuda_regions_that_are_refused_anywhere(
    enabled: bool, name: str, raw_handle: bytes, code: ErrorCode, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        CudaRegions(enabled=enabled).register(name, raw_handle, 0, 1)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_cuda_regions_without_a_device() -> None:
    regions = CudaRegions(enabled=True)
    if regions.available:
        pytest.skip("there is a CUDA device")
    text = "^failed to register CUDA shared memory region: 'x', GPUs not supported: no "
    with pytest.raises(InvalidArgumentError, match=text):
        regions.register("x", bytes(64), 0, 1)
    assert regions.status() == []


def test_cuda_is_not_looked_for_unless_it_is_allowed() -> None:
    assert not CudaRegions(enabled=False).available


def test_a_name_of_system_memory_is_taken_for_cuda(
    regions: SharedMemoryRegions, make_object: MakeObject
) -> None:
    regions.register("r1", make_object(b"x").name, 0, 1)
    with pytest.raises(AlreadyExistsError, match=r"^shared memory region 'r1' already in manager$"):
        regions.cuda.register("r1", bytes(64), 0, 1)
    text = "^The region named 'r1' is registered as system shared memory, not CUDA shared memory$"
    with pytest.raises(NotFoundError, match=text):
        regions.cuda.status("r1")
    regions.cuda.unregister("r1")
    regions.cuda.unregister()
    assert regions.cuda.status() == []
    assert [status.name for status in regions.status()] == ["r1"]


def test_there_are_no_cuda_regions() -> None:
    regions = CudaRegions(enabled=False)
    regions.unregister("x")
    regions.unregister()
    assert regions.status() == []
    with pytest.raises(NotFoundError, match=r"^Unable to find cuda shared memory region: 'x'$"):
        regions.status("x")
