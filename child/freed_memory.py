"""Keeping freed memory for the next request instead of giving it back to the kernel each time.

By default glibc returns large blocks at once, and every large tensor then pays for fresh pages: on one machine a
quarter of the time of a 1 MiB gRPC request, and as much of what a model's process does for a batch of small pictures.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Callable, Optional

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# Blocks beyond this are still mapped and unmapped one by one: glibc accepts no more.
_MAPPED_BYTES = 32 * 1024 * 1024
# How much freed memory may stay at the end of the heap.
_KEPT_BYTES = 256 * 1024 * 1024


def keep_freed_memory(*, one_heap: bool) -> None:
    """Set the thresholds of the heap, before there are other threads; does nothing where there is no glibc.

    `one_heap`: for all threads. By default they share out several, and what is free at the end of those that are not
    the first is never given back: what models have left stays in whichever heap their thread happened to have.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        if one_heap and "MALLOC_ARENA_MAX" not in os.environ:
            mallopt(_M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Give what is free now back to the kernel, once; does nothing where there is no glibc."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))


def _glibc(name: str) -> Optional[Callable[..., Any]]:  # noqa: UP045 - Python 3.9
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
