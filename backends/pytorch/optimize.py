"""A torch module as the configuration wants it run: without gradients, compiled, in another datatype or memory format.

A compiled module is run at load for each size of batch that it is compiled for, by `Optimized.warm_up`; after that
nothing is compiled any more, so no request waits for a compiler. What comes in other shapes is executed as it was
written, which is said once in the log. Dimensions that vary are compiled as symbols, not as numbers, so that all sizes
from two rows on are usually one piece of code, and one row is another.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kserve_v2.errors import InvalidArgumentError, describe

from .options import AUTOCAST, COMPILE, MEMORY_FORMAT, NO_SCRIPT, TorchOptions

logger = logging.getLogger(__name__)

_torch: Any = torch  # which is only partly typed
_trees: Any = pytree

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_IMAGE_DIMS = 4
_GRAPH_MODES = ("reduce-overhead", "max-autotune")

# torch's own limit is there for programs that change without end. Here, code is compiled for sizes that were chosen,
# and one piece of code may be that of many models.
_RECOMPILE_LIMIT = 256

# Of a thread, as `_ran.times`: how many pieces of compiled code it has run.
_ran = threading.local()


@dataclass(frozen=True, slots=True)
class Example:
    """Arguments to compile for. `varying`: of each tensor among them, in the order in which they are found, the
    dimensions that may be of any size. `title`: what the log calls them.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    varying: Sequence[frozenset[int]] = ()
    title: str = "its inputs"


class Optimized:
    """Calls a module as the options say. Made by `optimize`."""

    def __init__(self, function: Callable[..., Any], options: TorchOptions, device: str, model: str) -> None:
        """`device`: `cpu` or `cuda:N`. `model`: its name, for the log."""
        self._function = function
        self._options = options
        self._device = torch.device(device).type
        self._model = model
        # The function that is compiled, and what it is called through: first to compile it, then to run what there is.
        self._entry = _entry(function)
        self._compiled: Any = None
        if options.compile:
            # Static, but for what `warm_up` marks: torch would find out what varies at the second size.
            self._compiled = _torch.compile(self._entry, backend=_backend(options.compile), dynamic=False)
        # Code that was recorded as a CUDA graph writes its outputs to the same memory each time.
        self._reuses_outputs = self._device == "cuda" and options.compile in _GRAPH_MODES
        # How many pieces of compiled code a call runs, at the least.
        self._pieces = 0
        self._told = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module. Half-precision outputs of autocast come as FP32, which they are without it."""
        with self._gradients(), self._autocast():
            args, kwargs = self._arranged(args, kwargs)
            returned = (
                self._function(*args, **kwargs)
                if self._compiled is None
                else self._call_compiled(args, kwargs)
            )
            return (
                _trees.tree_map_only(torch.Tensor, _to_float, returned)
                if self._options.autocast
                else returned
            )

    def warm_up(self, examples: Sequence[Example]) -> None:
        """Compile for these, and for nothing else from then on. On a thread that has as many threads per operator as
        those that will execute it. Of no effect where nothing is to be compiled.

        Raises InvalidArgumentError where the module does not take an example, or torch cannot compile it.
        """
        if self._compiled is None or not examples:
            return
        self._try(examples[0])
        pieces = []
        for number, example in enumerate(examples, 1):
            started = time.perf_counter()
            pieces.append(self._compile_for(example))
            logger.info(
                "model '%s': compiled for %s in %.1f s (%d of %d)",
                self._model, example.title, time.perf_counter() - started, number, len(examples),
            )  # fmt: skip
        self._pieces = min(pieces)
        if not self._pieces:
            _warn(
                self._model,
                f"parameters['{COMPILE}'] is set but has no effect: torch finds nothing to compile",
            )
        self._compiled = _torch._dynamo.run(self._entry)

    def _call_compiled(self, args: Any, kwargs: Any) -> Any:
        if self._reuses_outputs:
            _torch.compiler.cudagraph_mark_step_begin()
        before = _ran_times()
        returned = self._compiled(*args, **kwargs)
        if _ran_times() - before < self._pieces and not self._told:
            self._told = True
            _warn(
                self._model,
                f"it was not compiled for inputs of shapes such as {_shapes(args, kwargs)}, which are executed "
                "uncompiled, and more slowly",
            )
        return _trees.tree_map_only(torch.Tensor, torch.clone, returned) if self._reuses_outputs else returned

    def _try(self, example: Example) -> None:
        """Tell a module that does not take its example from one that cannot be compiled."""
        try:
            with self._gradients(), self._autocast():
                args, kwargs = self._arranged(example.args, example.kwargs)
                self._function(*args, **kwargs)
        except Exception as error:
            raise InvalidArgumentError(
                f"parameters['{COMPILE}']: the module fails on the inputs that it is to be compiled for, of shapes "
                f"{_shapes(example.args, example.kwargs)}: {describe(error)}"
            ) from error

    def _compile_for(self, example: Example) -> int:
        """How many pieces of code the example runs."""
        with self._gradients(), self._autocast():
            args, kwargs = self._arranged(example.args, example.kwargs)
            for tensor, varying in zip(_tensors(args, kwargs), example.varying, strict=False):
                for dimension in sorted(varying):
                    _torch._dynamo.maybe_mark_dynamic(tensor, dimension)
            before = _ran_times()
            # No dimension is taken to be always as large as another one because they happen to be here.
            apart = _torch.fx.experimental._config.patch(use_duck_shape=False)
            try:
                with apart, _torch._dynamo.config.patch(recompile_limit=_RECOMPILE_LIMIT):
                    self._call_compiled(args, kwargs)
            except Exception as error:
                raise InvalidArgumentError(
                    f"parameters['{COMPILE}']: torch cannot compile the module for {example.title}: {_reason(error)}"
                ) from error
            return _ran_times() - before

    def _arranged(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments in the memory format."""
        if not self._options.channels_last:
            return args, kwargs
        arranged: tuple[Any, Any] = _trees.tree_map_only(
            torch.Tensor, _as_channels_last, (args, dict(kwargs))
        )
        return arranged

    def _gradients(self) -> AbstractContextManager[None]:
        return torch.inference_mode() if self._options.inference_mode else torch.no_grad()

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _DTYPES.get(self._options.autocast)
        return nullcontext() if dtype is None else _torch.autocast(self._device, dtype)


def optimize(module: Callable[..., Any], options: TorchOptions, *, device: str, model: str) -> Optimized:
    """The module, or function, to be called as the options say; its memory format is changed in place. `device`: `cpu`
    or `cuda:N`, where it is. `model`: its name, for the log. If it is to be compiled, `warm_up` is to be called.

    Raises InvalidArgumentError where an option cannot be followed; one that has no effect is a warning.
    """
    if options.compile:
        _check_compiler(module, device)
        if device == "cpu" and options.compile == "reduce-overhead":
            _warn(
                model,
                f"parameters['{COMPILE}'] is '{options.compile}', which is the same as 'default' on the CPU",
            )
    if options.channels_last:
        _arrange(module, model)
    if options.autocast == "bf16" and device == "cpu" and not _computes_bf16():
        _warn(
            model, f"parameters['{AUTOCAST}'] is 'bf16', for which this CPU has no instructions: it is slow"
        )
    return Optimized(module, options, device, model)


def _check_compiler(module: Callable[..., Any], device: str) -> None:
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise InvalidArgumentError(NO_SCRIPT)
    if device == "cpu" and not _has_cpp_compiler():
        raise InvalidArgumentError(
            f"parameters['{COMPILE}']: on the CPU torch.compile needs a C++ compiler, and there is none: install g++, "
            "or name one in the environment variable CXX, or remove the parameter"
        )


def _has_cpp_compiler() -> bool:
    from torch._inductor import cpp_builder, exc  # noqa: PLC0415 - it takes a second, and only compiling needs it

    try:
        cpp_builder.get_cpp_compiler()
    except (exc.InvalidCxxCompiler, OSError):
        return False
    return True


def _arrange(module: Callable[..., Any], model: str) -> None:
    if not isinstance(module, torch.nn.Module):
        return
    if not any(weights.dim() == _IMAGE_DIMS for weights in module.parameters()):
        _warn(model, f"parameters['{MEMORY_FORMAT}'] is set but has no effect: no weights have 4 dimensions")
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _warn(model: str, text: str) -> None:
    logger.warning("model '%s': %s", model, text)


def _computes_bf16() -> bool:
    asked = (
        getattr(_torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    known = [ask() for ask in asked if ask is not None]
    return any(known) or not known


def _entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls it, with code of its own: torch keeps what it has compiled by the code that it began with,
    and would look among that of all models.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace()
    return call


@functools.cache
def _backend(mode: str) -> Callable[..., Any]:
    """Inductor in that mode. One for all, so that instances find what others have compiled."""
    settings = _torch._inductor.list_mode_options(mode)

    def compile_piece(graph: Any, inputs: Any) -> Callable[..., Any]:
        code = _torch._inductor.compile(graph, inputs, options=settings)

        def piece(*args: Any) -> Any:
            _ran.times = _ran_times() + 1
            return code(*args)

        return piece

    return compile_piece


def _ran_times() -> int:
    return getattr(_ran, "times", 0)


def _tensors(args: Any, kwargs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in _trees.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]


def _reason(error: Exception) -> str:
    """What has happened, without torch's advice behind it, which is for whoever has written the module."""
    return " ".join(describe(error).partition("\n\n")[0].split())


def _shapes(args: Any, kwargs: Any) -> str:
    return ", ".join(str(list(tensor.shape)) for tensor in _tensors(args, kwargs))


def _as_channels_last(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() != _IMAGE_DIMS or not tensor.is_floating_point():
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def _to_float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in _DTYPES.values() else tensor
