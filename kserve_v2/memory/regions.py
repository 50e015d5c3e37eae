"""Shared memory: regions that clients have registered, for tensors that do not travel in messages.

Regions of system memory and of CUDA devices share one set of names: a request does not say which kind it means.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, TypeVar

from kserve_v2.errors import (
    AlreadyExistsError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    NotHereError,
    UnsupportedError,
)
from kserve_v2.memory.cuda import (
    HANDLE_BYTES,
    CudaRegion,
    CudaRegionStatus,
    CudaRuntime,
    CudaUnavailableError,
    find_runtime,
)
from kserve_v2.memory.system import Region, RegionStatus, object_name

Regions = dict[str, Region | CudaRegion]
"""What is registered, by name."""

REGION = "shared_memory_region"
"""The parameter that says in which region a tensor lies."""

_OFFSET, _BYTE_SIZE = "shared_memory_offset", "shared_memory_byte_size"

PARAMETERS = (REGION, _OFFSET, _BYTE_SIZE)
"""By these a tensor says in which region it lies, and where in it."""

_RegionT = TypeVar("_RegionT", Region, CudaRegion)


@dataclass(frozen=True, slots=True)
class RegionPart:
    """Where one tensor lies: `byte_size` bytes from `offset` of a region."""

    region: Region | CudaRegion
    offset: int
    byte_size: int

    def read(self) -> memoryview:
        """The bytes of an input. Raises InvalidArgumentError if there are none, and as the region's `read`."""
        if self.byte_size == 0:
            raise _invalid_size(self.region, self.offset, 0)
        return self.region.read(self.offset, self.byte_size)

    def write(self, data: bytes | memoryview, output: str) -> None:
        """Put the bytes of an output there. Raises InternalError if there is no room, and as the region's `write`."""
        if len(data) > self.byte_size:
            raise InternalError(
                f"shared memory size specified with the request for output '{output}' ({self.byte_size} bytes) "
                f"should be at least {len(data)} bytes to hold the results"
            )
        self.region.write(self.offset, data)


class SharedMemoryRegions:
    """The shared memory that clients have registered, by name: system memory here, CUDA's in `cuda`."""

    def __init__(self, *, enabled: bool) -> None:
        """`enabled`: otherwise nothing can be registered or used."""
        self.enabled = enabled
        self._regions: Regions = {}
        self.cuda = CudaRegions(enabled=enabled, regions=self._regions)

    def __repr__(self) -> str:
        return f"<SharedMemoryRegions enabled={self.enabled} {sorted(self._regions)}>"

    def check_may_register(self, name: str) -> None:
        """Raise UnsupportedError if nothing can be registered, InvalidArgumentError without a name."""
        _check_may_register(name, "system", self.enabled)

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Map `byte_size` bytes from `offset` of the shared memory object `key`.

        Raises UnsupportedError, AlreadyExistsError, InvalidArgumentError, or InternalError for an object that cannot
        be opened.
        """
        self.check_may_register(name)
        file_name = object_name(name, key)
        _check_free(self._regions, name)
        if byte_size == 0:
            raise InvalidArgumentError(
                f"failed to register shared memory region '{name}': unable to process address space: byte_size is 0"
            )
        self._regions[name] = Region(RegionStatus(name, key, offset, byte_size), file_name)

    def unregister(self, name: str = "") -> None:
        """Forget one region of system memory, or all. Unknown ones are forgotten already; requests that use one are
        not disturbed.
        """
        _forget(self._regions, name, Region)

    def status(self, name: str = "") -> list[RegionStatus]:
        """One region of system memory, or all by name. Raises NotFoundError for one that is not registered."""
        return [region.status for region in _select(self._regions, name, Region)]

    def announced(self, given: Container[str], tensor: str, read: Callable[[str], Any]) -> RegionPart | None:
        """Where a tensor lies by those of PARAMETERS that are `given`, each of which `read` reads; None if in no
        region. Raises InvalidArgumentError for parameters that do not fit together, and as `read` and `part`.
        """
        if REGION not in given:
            for name in (_OFFSET, _BYTE_SIZE):
                if name in given:
                    raise InvalidArgumentError(
                        f"'{name}' can not be specified without '{REGION}' parameter for tensor '{tensor}'"
                    )
            return None
        region, offset = read(REGION), read(_OFFSET) if _OFFSET in given else 0
        if _BYTE_SIZE not in given:
            raise InvalidArgumentError(
                f"'{_BYTE_SIZE}' must be specified along with '{REGION}' parameter for tensor '{tensor}'"
            )
        return self.part(region, offset, read(_BYTE_SIZE))

    def part(self, name: str, offset: int, byte_size: int) -> RegionPart:
        """Where a request says that a tensor lies, in a region of either kind. Raises UnsupportedError, NotFoundError
        or InvalidArgumentError.
        """
        _check_enabled(self.enabled)
        region = self._regions.get(name)
        if region is None:
            raise NotFoundError(f"Unable to find shared memory region: '{name}'")
        size = region.status.byte_size
        if not 0 <= offset < size:
            raise InvalidArgumentError(
                f"Invalid offset for shared memory region: '{name}': got {offset}, the region has {size} bytes"
            )
        if not 0 <= byte_size <= size - offset:
            raise _invalid_size(region, offset, byte_size)
        return RegionPart(region, offset, byte_size)


class RegionsElsewhere(SharedMemoryRegions):
    """That of a process that has none: the first process of the server has them, and answers requests that name one."""

    def __init__(self) -> None:
        super().__init__(enabled=False)

    def part(self, name: str, offset: int, byte_size: int) -> RegionPart:
        """Raise NotHereError."""
        raise NotHereError(f"shared memory region '{name}' is another process's")


class CudaRegions:
    """The CUDA shared memory that clients have registered, by name."""

    def __init__(self, *, enabled: bool, regions: Regions | None = None) -> None:
        """`enabled`: otherwise nothing can be registered, and CUDA is not touched. `regions`: all that are registered,
        of both kinds.
        """
        self.enabled = enabled
        self._regions: Regions = {} if regions is None else regions
        self._runtime: CudaRuntime | None = None
        self._missing = ""
        if enabled:
            try:
                self._runtime = find_runtime()
            except CudaUnavailableError as error:
                self._missing = str(error)

    def __repr__(self) -> str:
        return f"<CudaRegions available={self.available} {[status.name for status in self.status()]}>"

    @property
    def available(self) -> bool:
        """Whether regions can be registered: clients may do so, and there is a device."""
        return self._runtime is not None

    def check_may_register(self, name: str) -> None:
        """Raise UnsupportedError if nothing can be registered, InvalidArgumentError without a name."""
        _check_may_register(name, "cuda", self.enabled)

    def register(self, name: str, raw_handle: bytes, device_id: int, byte_size: int) -> None:
        """Open `byte_size` bytes from the start of an allocation on a device.

        Raises UnsupportedError, AlreadyExistsError, InvalidArgumentError, also where there is no CUDA device, or
        InternalError if CUDA fails.
        """
        self.check_may_register(name)
        check_raw_handle(raw_handle)
        _check_free(self._regions, name)
        if self._runtime is None:
            raise InvalidArgumentError(
                f"failed to register CUDA shared memory region: '{name}', GPUs not supported: {self._missing}"
            )
        status = CudaRegionStatus(name, device_id, byte_size)
        self._regions[name] = CudaRegion(status, raw_handle, self._runtime)

    def unregister(self, name: str = "") -> None:
        """Forget one CUDA region, or all; as for system memory."""
        _forget(self._regions, name, CudaRegion)

    def status(self, name: str = "") -> list[CudaRegionStatus]:
        """One CUDA region, or all by name. Raises NotFoundError for one that is not registered."""
        return [region.status for region in _select(self._regions, name, CudaRegion)]


def check_raw_handle(raw_handle: bytes) -> None:
    """Raise InvalidArgumentError unless these may be the bytes of a cudaIpcMemHandle_t."""
    if len(raw_handle) != HANDLE_BYTES:
        raise InvalidArgumentError(
            f"'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t: got {len(raw_handle)} bytes, "
            f"expected {HANDLE_BYTES}"
        )


def _select(regions: Regions, name: str, kind: type[_RegionT]) -> list[_RegionT]:
    """The region of the name, or for "" all of the kind, by name. Raises NotFoundError."""
    if not name:
        return [region for _, region in sorted(regions.items()) if isinstance(region, kind)]
    region = regions.get(name)
    if region is None:
        raise NotFoundError(f"Unable to find {kind.KIND.lower()} shared memory region: '{name}'")
    if not isinstance(region, kind):
        raise NotFoundError(
            f"The region named '{name}' is registered as {region.KIND} shared memory, not {kind.KIND} shared memory"
        )
    return [region]


def _forget(regions: Regions, name: str, kind: type[Region | CudaRegion]) -> None:
    """Remove the region of the name if it is of the kind, or for "" all of the kind."""
    for each in [name] if name else list(regions):
        if isinstance(regions.get(each), kind):
            del regions[each]


def _check_free(regions: Regions, name: str) -> None:
    if name in regions:
        raise AlreadyExistsError(f"shared memory region '{name}' already in manager")


def _check_enabled(enabled: bool) -> None:
    if not enabled:
        raise UnsupportedError(
            "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
        )


def _check_may_register(name: str, kind: str, enabled: bool) -> None:
    _check_enabled(enabled)
    if not name:
        raise InvalidArgumentError(f"'region name' is necessary to register {kind} shared memory region")


def _invalid_size(region: Region | CudaRegion, offset: int, byte_size: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"Invalid offset + byte size for shared memory region: '{region.status.name}': got {offset} + {byte_size}, "
        f"the region has {region.status.byte_size} bytes"
    )
