"""The `pytorch` backend: TorchScript archives, one module per model and device, shared by the instances
there."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.torch_version import TorchVersion

from kserve_v2.backend import Instance, ModelConfig, ModelSource, Placement
from kserve_v2.errors import InternalError, InvalidArgumentError
from kserve_v2.memory.own import copy_shared
from kserve_v2.messages import InferRequest, Tensors

from ...parameters import boolean, parameter_texts
from ..devices import check_device
from ..errors import torch_reason
from ..optimize import optimize
from ..options import read_options
from ..parameters import WEIGHT_SHARING, check_script_parameters, inference_mode, thread_budget
from ..script_archive import check_archive
from ..tensors import memory_is_alone, to_torch
from ..threads import enter_instance_thread, release_gpu_memory
from .inputs import InputBinder, fill_inputs
from .outputs import OutputPicker, fill_outputs
from .signature import ForwardSchema, read_schema
from .state import writes_to_itself

logger = logging.getLogger(__name__)

_jit: Any = torch.jit  # which is only partly typed

# Below this version a crafted file can corrupt memory even where nothing is unpickled (CVE-2026-24747).
_SAFE_TORCH = TorchVersion("2.10")


class TorchScriptBackend:
    """Serves TorchScript archives. The parameters are named as in Triton's PyTorch backend."""

    default_filename = "model.pt"
    platform = "pytorch_libtorch"

    def gpu_count(self) -> int:
        """The GPUs that torch sees."""
        return torch.cuda.device_count()

    def complete(self, source: ModelSource, config: ModelConfig) -> None:
        """Name inputs and outputs where the configuration names none; the file does not know more about
        them."""
        check_script_parameters(config)
        if not config.input or not config.output:
            schema = read_schema(_load(_model_file(source, config), "cpu"))
            if not config.input:
                fill_inputs(config, schema)
            if not config.output:
                fill_outputs(config, schema)

    def check_file(self, source: ModelSource, config: ModelConfig) -> None:
        """Whether the module can be read, and its `forward` takes and returns what the configuration says."""
        _check_fit(config, read_schema(_load(_model_file(source, config), "cpu")))

    def load(self, source: ModelSource, config: ModelConfig) -> "TorchScriptModel":
        """Load the module once for each device that has instances."""
        if torch.__version__ < _SAFE_TORCH:
            logger.warning(
                "torch %s loads crafted model files unsafely (CVE-2026-24747): update to %s or later",
                torch.__version__,
                _SAFE_TORCH,
            )
        return TorchScriptModel(source, config)


class TorchScriptModel:
    """The modules of one model version, by device."""

    def __init__(self, source: ModelSource, config: ModelConfig) -> None:
        """Raises InvalidArgumentError where the file, the configuration or a device does not fit."""
        check_script_parameters(config)
        parameters = parameter_texts(config)
        self._config = config
        self._file = _model_file(source, config)
        self._sharing = boolean(parameters, WEIGHT_SHARING, True)
        self._copies = Counter(placement.device for placement in source.placements)
        self._threads = thread_budget(config, source)
        self._options = read_options(parameters, config.max_batch_size)
        self._modules = {
            device: _load(self._file, device) for device in {p.device for p in source.placements}
        }
        self._calls = {device: self._optimized(module, device) for device, module in self._modules.items()}
        for module in self._modules.values():
            _check_fit(config, read_schema(module))
        if self._sharing:
            self._sharing = self._may_share(source, asked=WEIGHT_SHARING in parameters)
        # One that stays alone may share what it writes to; see `_may_share`.
        self.adds_instances = not (self._sharing and any(map(writes_to_itself, self._modules.values())))
        logger.info(
            "model '%s': TorchScript on %s, intra-op threads %d per instance, inter-op threads %d",
            config.name,
            ", ".join(sorted(self._modules)),
            self._threads.intra_op,
            torch.get_num_interop_threads(),
        )

    def _may_share(self, source: ModelSource, *, asked: bool) -> bool:
        """Whether several instances may run one module: one that writes to itself would mix up their answers."""
        instances = Counter(placement.device for placement in source.placements)
        shared = [module for device, module in self._modules.items() if instances[device] > 1]
        if not any(writes_to_itself(module) for module in shared):
            return True
        logger.warning(
            "model '%s': forward writes to what the module holds, so %s", self._config.name,
            f"instances that share it, as {WEIGHT_SHARING} asks, may write into each other's answers"
            if asked
            else f"each instance has a module of its own; {WEIGHT_SHARING} says otherwise",
        )  # fmt: skip
        return asked

    @property
    def keeps_nothing(self) -> bool:
        """Whether `forward` leaves what the modules hold as it is."""
        return not any(map(writes_to_itself, self._modules.values()))

    def instance(self, placement: Placement) -> Instance:
        """An instance that runs the module of its device, or one of its own where modules are not shared."""
        enter_instance_thread(self._threads)
        device = placement.device
        if self._sharing:
            return TorchScriptInstance(self._modules[device], self._calls[device], self._config, device)
        return self._separate_instance(device)

    def trial_instance(self, placement: Placement) -> Instance | None:
        """An instance with a module of its own, if the trial could change the shared one."""
        if not writes_to_itself(self._modules[placement.device]):
            return None
        return self._separate_instance(placement.device)

    def _separate_instance(self, device: str) -> Instance:
        module = _load(self._file, device)
        return TorchScriptInstance(module, self._optimized(module, device), self._config, device)

    def _optimized(self, module: Any, device: str) -> Callable[..., Any]:
        """What is called for `forward`: the module itself, unless the configuration wants something of it."""
        if not (self._options.autocast or self._options.channels_last):
            called: Callable[..., Any] = module
            return called
        return optimize(module, self._options, device=device, model=self._config.name)

    def memory(self) -> Mapping[str, int]:
        """Parameters and buffers, also of the modules that instances have of their own."""
        return {
            device: sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
            * (1 if self._sharing else 1 + self._copies[device])
            for device, module in dict(self._modules).items()
        }

    def close(self) -> None:
        """Drop the modules."""
        self._calls.clear()
        self._modules.clear()
        release_gpu_memory()


class TorchScriptInstance:
    """Calls a module's `forward`."""

    fresh_outputs: Literal[True] = True

    def __init__(self, module: Any, called: Callable[..., Any], config: ModelConfig, device: str) -> None:
        """`called`: with the arguments of the module's `forward`."""
        schema = read_schema(module)
        parameters = parameter_texts(config)
        self._called = called
        self._inputs = InputBinder(config, schema, partial(to_torch, device=torch.device(device)))
        self._outputs = OutputPicker(config, schema)
        self._gradient_mode = inference_mode(config)
        self._optimized = not boolean(parameters, "DISABLE_OPTIMIZED_EXECUTION", False)

    def execute(self, tensors: Tensors, requests: Sequence[InferRequest]) -> Tensors:
        """Call the module without gradients, and pick the outputs from what it returns."""
        try:
            with self._gradient_mode(), self._optimization():
                returned = self._inputs.call(self._called, tensors)
            outputs = self._outputs.outputs(returned)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise InternalError(f"forward failed: {torch_reason(error)}") from error
        del returned
        copy_shared(outputs, memory_is_alone)
        return outputs

    def close(self) -> None:
        """Let go of the module."""
        del self._called

    def _optimization(self) -> AbstractContextManager[None]:
        return nullcontext() if self._optimized else _jit.optimized_execution(False)


def _check_fit(config: ModelConfig, schema: ForwardSchema) -> None:
    """Raise InvalidArgumentError where the configuration's inputs and outputs cannot be those of `forward`."""
    InputBinder(config, schema, torch.from_numpy)
    OutputPicker(config, schema)


def _model_file(source: ModelSource, config: ModelConfig) -> Path:
    file = source.model_file(config)
    if not file.is_file():
        raise InvalidArgumentError(f"model '{source.name}': version {source.version} has no file {file.name}")
    return file


def _load(file: Path, device: str) -> Any:
    """The module, ready for inference on `device`."""
    check_archive(file)
    check_device(file, device)
    try:
        # The deprecation is for whoever exports models. Threads that do this at the same time can at worst
        # leave the filter behind.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit.load", DeprecationWarning)
            module = _jit.load(str(file), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise InvalidArgumentError(f"{file.name}: torch cannot load it: {torch_reason(error)}") from error
    if not hasattr(module, "forward"):
        raise InvalidArgumentError(f"{file.name}: its module has no method forward")
    for weights in module.parameters():
        weights.requires_grad_(False)
    return module.eval()
