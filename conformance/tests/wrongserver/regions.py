"""Shared memory of the deliberately wrong server."""

import mmap
from pathlib import Path
from typing import Any

from wrongserver.checking import Checking
from wrongserver.requests import Refused


class Regions(Checking):
    """`regions`: key, offset and size by name."""

    regions: dict[str, tuple[str, int, int]]

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        if name in self.regions:
            raise Refused(f"shared memory region '{name}' already in manager")
        if not Path(f"/dev/shm{key if key.startswith('/') else f'/{key}'}").is_file():
            self.refuse("no-memory", f"unable to open shared memory '{key}'", "INTERNAL")
        if "register-ignored" not in self.defects:
            self.regions[name] = (key, offset, size)

    def unregister(self, name: str) -> None:
        if "unregister-ignored" in self.defects:
            return
        if name:
            self.regions.pop(name, None)
        else:
            self.regions.clear()

    def region_named(self, name: str) -> dict[str, tuple[str, int, int]]:
        """One region, or all of them."""
        if not name or "status-of-all" in self.defects:
            return self.regions
        if name not in self.regions:
            self.refuse("status-unknown-region", f"unable to find region '{name}'", "NOT_FOUND")
        return {name: self.regions[name]}

    def cuda_region(self, name: str) -> None:
        """There is no device, so no region."""
        if name:
            self.refuse("cuda-unknown-region", f"unable to find cuda region '{name}'", "NOT_FOUND")

    def check_place(self, parameters: dict[str, Any]) -> None:
        """A region and a size come together."""
        if ("shared_memory_region" in parameters) != ("shared_memory_byte_size" in parameters):
            self.refuse("half-a-place", "a region and a size have to come together")

    def region(self, parameters: dict[str, Any]) -> tuple[mmap.mmap, int, int]:
        """The memory that parameters name, with offset and size in it."""
        name = parameters["shared_memory_region"]
        if name not in self.regions:
            self.refuse("unknown-region", f"unable to find region '{name}'", "NOT_FOUND")
        if "shared_memory_offset" not in parameters and "offset-required" in self.defects:
            raise Refused("shared_memory_offset is missing")
        key, start, length = self.regions[name]
        offset, size = parameters.get("shared_memory_offset", 0), parameters.get("shared_memory_byte_size", 0)
        if offset + size > length:
            self.refuse("beyond-region", "invalid offset and byte size")
        if "region-offset-ignored" in self.defects:
            offset = 0
        if "region-start-ignored" in self.defects:
            start = 0
        with Path(f"/dev/shm/{key.lstrip('/')}").open("r+b") as file:
            return mmap.mmap(file.fileno(), 0), start + offset, size

    def read_region(self, parameters: dict[str, Any]) -> bytes:
        memory, offset, size = self.region(parameters)
        with memory:
            return memory[offset : offset + size]

    def write_region(self, parameters: dict[str, Any], data: bytes) -> None:
        memory, offset, size = self.region(parameters)
        with memory:
            if len(data) > size:
                self.refuse("small-region", "the region is too small for the output", "INTERNAL")
            if "region-not-written" not in self.defects:
                memory[offset : offset + len(data)] = data
