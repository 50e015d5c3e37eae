"""Packages of AOTInductor, `torch._inductor.aoti_compile_and_package`: native code, compiled for one kind of device.

To load one is to run it, like a handler. It says how many inputs it takes and in which containers, but neither their
datatypes nor their shapes: so the configuration has to. It compares each input with what it was compiled for before it
runs.
"""

import logging
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, Tensors
from kserve_v2.tensors.datatypes import BY_CONFIG_ENUM, BYTES

from ..devices import check_device
from ..errors import torch_reason
from ..parameters import inference_mode, thread_budget
from ..tensors import memory_is_alone, to_numpy, to_torch
from ..threads import as_instance_thread, enter_instance_thread, release_gpu_memory
from .archive import ExportArchive
from .trees import input_names, input_paths, output_names, read_tree

logger = logging.getLogger(__name__)

# What makes a package check its inputs, as it would otherwise read beyond those that are too small.
_CHECK_INPUTS = "AOTI_RUNTIME_CHECK_INPUTS"
_WRONG_INPUT = re.compile(r"input_handles\[(\d+)\]: (.*)")
_TOO_SMALL = "dim value is too small"
# torch takes 0 and 1 for special sizes, unless it is told that they are not.
_ADVICE = (
    "; if the program itself takes fewer, compile it with inductor_configs="
    '{"aot_inductor.check_lowerbound": False}'
)
_INDEX = re.compile(r".*__(\d+)")
_VECTORS = ("AVX512", "AVX2")


def complete_compiled(config: ModelConfig, file: str) -> None:
    """Raise InvalidArgumentError unless the configuration says what is in no package."""
    kinds: tuple[tuple[str, Sequence[Any]], ...] = (("input", config.input), ("output", config.output))
    missing = [
        kind for kind, given in kinds if not given or not all(each.data_type and each.dims for each in given)
    ]
    if missing:
        raise InvalidArgumentError(
            f"{file} is a package of AOTInductor, which does not say what its {missing[0]}s are: write them into "
            f'config.pbtxt in their order, as in {missing[0]} {{ name: "{missing[0].upper()}__0" data_type: TYPE_FP32 '
            "dims: [ 4 ] }"
        )
    tensors: list[Any] = [*config.input, *config.output]
    for tensor in tensors:
        if tensor.data_type == BYTES.config_enum:
            raise InvalidArgumentError(f"'{tensor.name}' is TYPE_STRING, but {file} takes and gives tensors")


class CompiledModel:
    """The package of one model version, loaded once for each device."""

    # What its native code writes to cannot be seen.
    keeps_nothing: Literal[False] = False

    def __init__(self, source: ModelSource, config: ModelConfig, archive: ExportArchive) -> None:
        """Raises InvalidArgumentError where the package cannot run here, or has other inputs than are configured."""
        self._config = config
        self._threads = thread_budget(config, source)
        instances = Counter(placement.device for placement in source.placements)
        for device in instances:
            check_device(archive.file, device)
        for problem in _unfit(archive, [*instances]):
            raise InvalidArgumentError(f"{archive.file.name} {problem}")
        os.environ[_CHECK_INPUTS] = "1"
        self._packages = {device: _load(archive, device, count) for device, count in instances.items()}
        self._file = archive.file.name
        for device, package in self._packages.items():
            self._try(CompiledInstance(package, config, device, self._file))
        logger.info(
            "model '%s': AOTInductor package on %s, which is native code that runs in this process",
            source.name,
            ", ".join(sorted(self._packages)),
        )

    def _try(self, instance: "CompiledInstance") -> None:
        """Run one row of zeros, so that a package that was compiled for other inputs is found out at load. Raises
        InvalidArgumentError.
        """
        batch = [1] if self._config.max_batch_size else []
        shapes = {tensor.name: [*batch, *tensor.dims] for tensor in self._config.input}
        if any(-1 in shape for shape in shapes.values()) or any(
            t.HasField("reshape") for t in self._config.input
        ):
            return
        zeros = {
            tensor.name: np.zeros(shapes[tensor.name], BY_CONFIG_ENUM[tensor.data_type].dtype)
            for tensor in self._config.input
        }
        try:
            with as_instance_thread(self._threads):
                instance.execute(zeros, [])
        except InvalidArgumentError as error:
            if _TOO_SMALL not in error.message:
                raise InvalidArgumentError(
                    f"{self._file} contradicts the configuration: {error.message}"
                ) from error
            logger.warning("model '%s': it refuses requests of one row: %s", self._config.name, error.message)
        except InternalError:
            pass  # of values, perhaps

    def instance(self, placement: Placement) -> Instance:
        """An instance that runs the package of its device."""
        enter_instance_thread(self._threads)
        return CompiledInstance(self._packages[placement.device], self._config, placement.device, self._file)

    def close(self) -> None:
        """Drop the packages."""
        self._packages.clear()
        release_gpu_memory()


class CompiledInstance:
    """Runs a package."""

    fresh_outputs: Literal[True] = True

    def __init__(self, package: Any, config: ModelConfig, device: str, file: str) -> None:
        """Raises InvalidArgumentError where the package has other inputs and outputs."""
        takes, gives = (read_tree(text, {}) for text in package.get_call_spec())
        known = [*input_names(input_paths(takes, None))]
        self._inputs = _in_order("input", [tensor.name for tensor in config.input], known, file)
        results = [*output_names([*gives.leaves()])]
        order = _in_order("output", [tensor.name for tensor in config.output], results, file, some=True)
        self._outputs = [(name, results.index(result)) for result, name in order.items()]
        self._names = [*self._inputs.values()]
        self._run = package.run
        self._encode = partial(to_torch, device=torch.device(device))
        self._gradient_mode = inference_mode(config)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Run the package, and pick the outputs from what it returns."""
        try:
            with self._gradient_mode():
                returned = self._run([self._encode(tensors[name]) for name in self._names])
            outputs = {name: to_numpy(returned[place]) for name, place in self._outputs}
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = torch_reason(error)
            if wrong := _WRONG_INPUT.match(reason):
                advice = _ADVICE if _TOO_SMALL in wrong[2] else ""
                raise InvalidArgumentError(
                    f"input '{self._names[int(wrong[1])]}': {wrong[2]}{advice}"
                ) from error
            raise InternalError(f"the package failed: {reason}") from error
        del returned
        copy_shared(outputs, memory_is_alone)
        return outputs

    def close(self) -> None:
        """Let go of the package."""
        del self._run


def _load(archive: ExportArchive, device: str, instances: int) -> Any:
    """`instances`: how many may run it at a time."""
    index = torch.device(device).index
    loader: Any = torch._C._aoti.AOTIModelPackageLoader
    try:
        return loader(str(archive.file), archive.model, False, instances, -1 if index is None else index)
    except RuntimeError as error:
        raise InvalidArgumentError(
            f"{archive.file.name}: torch {torch.__version__} cannot load the package: {torch_reason(error)}; a package "
            "is for the version of torch that compiled it"
        ) from error


def _unfit(archive: ExportArchive, devices: Sequence[str]) -> Iterator[str]:
    """Why the package cannot run on these devices of this machine."""
    made_for = archive.compiled_for()
    device = made_for.get("AOTI_DEVICE_KEY", "")
    for each in devices:
        if device and torch.device(each).type != device:
            yield f"was compiled for {device} and cannot run on {each}: set instance_group, or compile it for that"
    for key, here in (("AOTI_PLATFORM", sys.platform), ("AOTI_MACHINE", platform.machine())):
        if made_for.get(key, here) != here:
            yield f"was compiled on {made_for[key]}, and this is {here}: compile it here"
    needed = next((name for name in _VECTORS if name in made_for.get("AOTI_CPU_ISA", "").split()), "")
    capability = torch.backends.cpu.get_cpu_capability()
    if device == "cpu" and needed == "AVX512" and capability in ("AVX2", "DEFAULT", "NO AVX"):
        yield f"was compiled for processors with {needed}, which would end the server on this one: compile it here"


def _in_order(
    kind: str, names: Sequence[str], known: Sequence[str], file: str, *, some: bool = False
) -> dict[str, str]:
    """The names that the configuration gives, by those of the package and in its order: alike, with their place behind
    `__`, or in order.
    """
    found: dict[str, str] = {}
    for name in names:
        index = _INDEX.fullmatch(name)
        if name in known:
            found[name] = name
        elif index and int(index[1]) < len(known):
            found[known[int(index[1])]] = name
    if not found and len(names) == len(known):
        found = dict(zip(known, names, strict=True))
    if len(found) != len(names) or (not some and len(found) != len(known)):
        raise InvalidArgumentError(
            f"{file} has {len(known)} {kind}(s), {', '.join(map(repr, known))}, the configuration says "
            f"{', '.join(map(repr, names))}"
        )
    return {name: found[name] for name in known if name in found}
