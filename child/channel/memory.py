"""Memory that two processes share and that has no name: an anonymous file in memory, sealed at its size, or, where the
system has none, an unlinked temporary file.

A file of another process is mapped only if it is in memory and cannot shrink: else that process could make ours die
of SIGBUS. Others are read like files.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .messages import Array, ProtocolError

# From Linux's fcntl.h and memfd.h: Python's own constants depend on the C library that it was built with.
_MFD_CLOEXEC, _MFD_ALLOW_SEALING, _MFD_NOEXEC_SEAL = 1, 2, 8
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_F_SEAL_SEAL, _F_SEAL_SHRINK, _F_SEAL_GROW = 1, 2, 4

# What the system answers if it has no such files, or none for this process.
_NOT_FOR_US = {errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL}

# One system call writes less than 2 GiB.
_MOST_AT_ONCE = 1 << 30
# What is made contiguous at a time: it stays in the processor's cache.
_CONTIGUOUS_BYTES = 1 << 20


def _is_strict() -> bool:
    """Whether the system promises no more memory than it has. Then a page that another process has punched out of a
    file cannot always be put back, and touching it through a mapping is fatal: nothing is mapped there.
    """
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "2"
    except OSError:
        return False


_STRICT = _is_strict()

CreateMemory = Callable[[int], int]
"""Makes a file of so many bytes, and gives its descriptor. Raises OSError."""


def create(size: int) -> int:
    """Memory of so many bytes, which nobody can make shorter where the system can see to that. Raises OSError where
    there is none left.
    """
    descriptor = _anonymous()
    if descriptor is None:
        return temporary_file(size)
    try:
        os.ftruncate(descriptor, size)
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _anonymous() -> int | None:
    """An empty file in memory; None where the system has none for us."""
    if sys.platform != "linux":
        return None
    flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
    try:
        return _memfd_create(flags)
    except OSError as error:
        if error.errno not in _NOT_FOR_US:
            raise
    with contextlib.suppress(OSError):  # some systems allow this alone
        return _memfd_create(flags | _MFD_NOEXEC_SEAL)
    return None


def _memfd_create(flags: int) -> int:
    made: int
    if hasattr(os, "memfd_create"):
        made = os.memfd_create("kserve-v2", flags)
        return made
    # An interpreter that was built with an old C library may run with one that has it.
    function = getattr(ctypes.CDLL(None, use_errno=True), "memfd_create", None)
    made = -1 if function is None else function(b"kserve-v2", flags)
    if made < 0:
        number = errno.ENOSYS if function is None else ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return made


def temporary_file(size: int) -> int:
    """A file in the folder for temporary files that no folder lists."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write(descriptor: int, array: Array, offset: int) -> None:
    """Copy the elements in C order. Raises OSError where memory cannot be had."""
    if not array.flags.c_contiguous and array.nbytes > _CONTIGUOUS_BYTES:
        row_bytes = array.nbytes // len(array)
        rows = max(1, _CONTIGUOUS_BYTES // row_bytes)
        for start in range(0, len(array), rows):
            part = array[start : start + rows] if rows > 1 else array[start]
            write(descriptor, part, offset + start * row_bytes)
        return
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while view:
        written = os.pwrite(descriptor, view[:_MOST_AT_ONCE], offset)
        view = view[written:]
        offset += written


class Contents:
    """What is in such a file, as its reader sees it."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Takes the descriptor. Raises ProtocolError for a file of another size, OSError where it cannot be mapped."""
        self.size = size
        self._descriptor = descriptor
        self.mapped: Array | None = None
        """All of it; None where it is unsafe to map it."""
        self.address = 0
        try:
            # In this order, or it could shrink in between.
            can_be_mapped = size > 0 and _cannot_shrink(descriptor)
            _check_size(descriptor, size)
            if can_be_mapped:
                self.mapped = np.frombuffer(mapping(descriptor, size), np.uint8)
                self.address = self.mapped.ctypes.data
        except BaseException:
            self.close()
            raise
        if self.mapped is not None:
            self.close()

    def read(self, offset: int, size: int) -> bytes:
        """A copy, which nobody else can change. The range has been checked. Raises ProtocolError if it is gone."""
        if self.mapped is not None:
            return self.mapped[offset : offset + size].tobytes()
        parts = []
        while size:
            part = os.pread(self._descriptor, min(size, _MOST_AT_ONCE), offset)
            if not part:
                raise ProtocolError("a segment has been made shorter")
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close the descriptor; what has been mapped stays as long as there are arrays over it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _check_size(descriptor: int, size: int) -> None:
    held = os.fstat(descriptor).st_size
    if held < size:
        raise ProtocolError(f"a segment of {size} bytes has only {held}")


def _cannot_shrink(descriptor: int) -> bool:
    if _STRICT:
        return False
    try:
        seals: int = fcntl.fcntl(descriptor, _F_GET_SEALS)
    except OSError:  # not a file in memory
        return False
    # Files of huge pages have seals as well, but where those pages have run out, reading is fatal.
    return bool(seals & _F_SEAL_SHRINK) and os.fstatvfs(descriptor).f_bsize == mmap.PAGESIZE


def mapping(descriptor: int, size: int) -> mmap.mmap:
    """All of such a file. Raises OSError."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)
