"""Regions in the system's shared memory: parts of the objects that `shm_open` makes.

Inputs are read where they lie, through a mapping that nobody can write through. A mapping has one danger: touching a
page that the object does not have, or that the system has no memory for, ends the process with SIGBUS. So the size of
the object is checked and its pages are asked for before each use, and outputs are written with `pwrite`: both fail with
an error instead. What remains is a client that shrinks the object while a request reads it.
"""

import mmap
import os
import stat
import weakref
from dataclasses import dataclass

from kserve_v2.errors import InternalError, InvalidArgumentError

# Where the objects of shm_open are files.
_DIRECTORY = "/dev/shm"  # noqa: S108 - the system's place for them

_MAX_KEY_BYTES = 255

RESERVED_PREFIXES = ("triton_python_backend_shm_region_", "kserve_v2_", "torch_", "sem.")
"""Keys that no client can register: Triton's own, ours, those of the frameworks inside this process, semaphores."""


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """What a client has registered: `byte_size` bytes from `offset` of the object `key`."""

    name: str
    key: str
    offset: int
    byte_size: int


class Region:
    """One registered region. Its mapping and its file live until nothing refers to them any more, neither the
    registry nor a request nor an array: a region can be unregistered while it is in use.
    """

    KIND = "system"

    def __init__(self, status: RegionStatus, file_name: str) -> None:
        """Opens and maps the object. Raises InternalError if it cannot be opened, InvalidArgumentError if it has no
        such part.
        """
        self.status = status
        self._fd = _open(status.key, file_name)
        weakref.finalize(self, os.close, self._fd)
        size = os.fstat(self._fd).st_size
        if status.offset + status.byte_size > size:
            raise InvalidArgumentError(
                f"failed to register shared memory region '{status.name}': invalid args: offset {status.offset} + "
                f"byte_size {status.byte_size} is beyond the end of object '{status.key}', which has {size} bytes"
            )
        self._bytes = self._mapped()

    def _mapped(self) -> memoryview:
        # Mappings start at page boundaries, regions anywhere.
        start, lead = self.status.offset, self.status.offset % mmap.ALLOCATIONGRANULARITY
        length = lead + self.status.byte_size
        try:
            mapping = mmap.mmap(self._fd, length, access=mmap.ACCESS_READ, offset=start - lead)
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(
                f"failed to register shared memory region '{self.status.name}': unable to process address space: "
                f"{error}"
            ) from error
        return memoryview(mapping)[lead:]

    def __repr__(self) -> str:
        return f"<Region {self.status}>"

    def read(self, offset: int, byte_size: int) -> memoryview:
        """A read-only view, which keeps the mapping alive. Raises InvalidArgumentError if the object has shrunk,
        InternalError if there is no memory for pages that were never written.
        """
        self._check_object_size(offset + byte_size)
        try:
            os.posix_fallocate(self._fd, self.status.offset + offset, byte_size)
        except OSError as error:
            raise self._system_error("read from", error) from error
        return self._bytes[offset : offset + byte_size]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Copy `data` into the region. Raises InvalidArgumentError if the object has shrunk, InternalError if there
        is no memory left for it.
        """
        self._check_object_size(offset + len(data))
        position, rest = self.status.offset + offset, memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._fd, rest, position)
                position, rest = position + written, rest[written:]
        except OSError as error:
            raise self._system_error("write to", error) from error

    def _system_error(self, what: str, error: OSError) -> InternalError:
        return InternalError(f"Unable to {what} shared memory region: '{self.status.name}': {error.strerror}")

    def _check_object_size(self, end: int) -> None:
        """Raise unless the object still reaches to byte `end` of the region."""
        size = os.fstat(self._fd).st_size
        if self.status.offset + end > size:
            raise InvalidArgumentError(
                f"Invalid offset + byte size for shared memory region: '{self.status.name}': its object "
                f"'{self.status.key}' has shrunk to {size} bytes since it was registered, expected at least "
                f"{self.status.offset + end}"
            )


def object_name(region: str, key: str) -> str:
    """The name of the file that `shm_open(key)` means. Raises InvalidArgumentError for one outside of the
    directory of such objects, or for a reserved one.
    """
    name = key.lstrip("/")
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > _MAX_KEY_BYTES:
        raise InvalidArgumentError(
            f"cannot register shared memory region '{region}' - invalid shm key '{key}'"
        )
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            raise InvalidArgumentError(
                f"cannot register shared memory region '{region}' with key '{key}' as the key contains the reserved "
                f"prefix '{prefix}'"
            )
    return name


def _open(key: str, file_name: str) -> int:
    """Open a shared memory object. Raises InternalError, also for anything but a regular file."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(f"{_DIRECTORY}/{file_name}", flags)
    except FileNotFoundError as error:
        raise InternalError(f"Unable to open shared memory region: '{key}'") from error
    except OSError as error:
        raise InternalError(f"Unable to open shared memory region: '{key}': {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InternalError(f"Unable to open shared memory region: '{key}': it is no shared memory object")
    return fd
