"""How an ONNX Runtime session is set up: options and execution providers from a model's configuration.

Parameter names and values are those of Triton's ONNX Runtime backend.
"""

import logging
import mmap
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import onnxruntime as ort

from kserve_v2.backend import ModelConfig, Placement, ThreadBudget
from kserve_v2.errors import InvalidArgumentError, without_directories

from ..parameters import parameter_texts
from .options import CUDA, accelerators, check_options, read_options

logger = logging.getLogger(__name__)

# Windows has another channel, which the variable in the package's __init__ does not close.
ort.disable_telemetry_events()

Provider = tuple[str, dict[str, str]]

_CPU: Provider = ("CPUExecutionProvider", {})

# It lower-cases texts by the rules of a language, en_US unless the model says otherwise.
_MISSING_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")

# ONNX Runtime's log levels.
_ERROR, _FATAL = 3, 4

# The model's `optimization.graph.level`.
_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def metadata_session(file: Path, header: bytes, elsewhere: Mapping[str, Path]) -> ort.InferenceSession:
    """A session that is only asked for inputs and outputs: as little as possible is read, optimised, packed or
    started. `header`: the model without its weights. `elsewhere`: see `find_external_data`.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _FATAL  # what it says is said again when the model is loaded
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # A forest is all header, and some kernels want their weights at once.
    if 0 < len(header) < file.stat().st_size / 2:
        with suppress(Exception), _external_data(options, elsewhere):
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(file.parent)
            )
            return ort.InferenceSession(header, options, providers=[_CPU[0]])
    return _open(file, options, [_CPU], elsewhere)


def check_session_options(config: ModelConfig) -> None:
    """Raise InvalidArgumentError for options that are wrong, also those that only ONNX Runtime knows."""
    check_options(config)
    for placement in (Placement("", "CPU"), Placement("", "GPU")):
        session_options(config, placement, 1, ThreadBudget(1))
        providers(config, placement)


def warn_of_unused_accelerators(config: ModelConfig, placements: Iterable[Placement]) -> None:
    """Say so where accelerators are chosen for a kind of device that no instance runs on."""
    kinds = {placement.kind for placement in placements}
    accelerators = config.optimization.execution_accelerators
    for kind, chosen in (
        ("GPU", accelerators.gpu_execution_accelerator),
        ("CPU", accelerators.cpu_execution_accelerator),
    ):
        if chosen and kind not in kinds:
            logger.warning(
                "model '%s': optimization.execution_accelerators.%s_execution_accelerator is set but has no effect: "
                "no instance runs on a %s",
                config.name,
                kind.lower(),
                kind,
            )


def inference_session(
    file: Path,
    config: ModelConfig,
    placement: Placement,
    instances: int,
    threads: ThreadBudget,
    elsewhere: Mapping[str, Path],
) -> ort.InferenceSession:
    """The session that the `instances` on one device share. `elsewhere`: see `find_external_data`.

    Raises InvalidArgumentError for a file that cannot be loaded, for parameters that are wrong, and where the
    device that the placement asks for cannot be used, unless the parameter `allow_cpu_fallback` is true. An accelerator
    that is not there only costs speed: a warning.
    """
    options = session_options(config, placement, instances, threads)
    fallback = read_options(config).cpu_fallback
    wanted = providers(config, placement)
    usable = [provider for provider in wanted if provider[0] in ort.get_available_providers()]
    _report_missing(config.name, placement, _names(wanted) - _names(usable), fallback)
    if placement.kind == "GPU" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA libraries of torch and of the nvidia packages
    session = _open(file, options, usable, elsewhere)
    _report_missing(config.name, placement, _names(usable) - set(session.get_providers()), fallback)
    logger.info(
        "model '%s': session for %d instance(s) on %s: %s, intra-op threads %d, inter-op threads %d",
        config.name,
        instances,
        placement.device,
        ", ".join(session.get_providers()),
        options.intra_op_num_threads,
        options.inter_op_num_threads,
    )
    return session


def session_options(
    config: ModelConfig, placement: Placement, instances: int, threads: ThreadBudget
) -> ort.SessionOptions:
    """Options from the configuration's parameters, the thread budget where it gives none."""
    wanted = read_options(config)
    options = ort.SessionOptions()
    options.graph_optimization_level = _GRAPH_LEVELS[wanted.graph_level]
    options.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL if wanted.parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    options.intra_op_num_threads = wanted.intra_op or _shared_threads(threads, instances)
    options.inter_op_num_threads = wanted.inter_op or threads.inter_op
    # Warnings, some of them of every run, would go to stderr past the server's log.
    options.log_severity_level = _ERROR
    options.enable_cpu_mem_arena = wanted.memory_arena
    options.enable_mem_pattern = wanted.memory_pattern
    if instances > 1 or placement.kind == "GPU":
        # Threads that spin while they wait take the CPU from the other instances, or from whoever feeds the
        # GPU.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    for key, value in wanted.entries.items():
        options.add_session_config_entry(key, value)
    return options


def run_options(config: ModelConfig) -> ort.RunOptions:
    """Options of every run: without any, each run would make its own."""
    options = ort.RunOptions()
    # An error of a run is raised, and logged by the server: not once more on stderr.
    options.log_severity_level = _FATAL
    shrink = parameter_texts(config).get("memory.enable_memory_arena_shrinkage")
    if shrink:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrink)
    return options


def providers(config: ModelConfig, placement: Placement) -> list[Provider]:
    """Execution providers in order of preference; the CPU is always the last."""
    if placement.kind == "CPU":
        return [*accelerators(config, "cpu"), _CPU]
    device = {"device_id": str(placement.device_id)}
    chosen: list[Provider] = [(name, {**device, **given}) for name, given in accelerators(config, "gpu")]
    if not any(name == CUDA for name, _ in chosen):
        chosen.append((CUDA, device))
    return [*chosen, _CPU]


def _shared_threads(threads: ThreadBudget, instances: int) -> int:
    """Size of the thread pool that the instances share.

    ONNX Runtime counts the calling thread as one of the pool. `instances` callers with the workers of one
    pool between them are `intra_op * instances` threads, as many as if each had a pool of its own.
    """
    return (threads.intra_op - 1) * instances + 1


def _names(chosen: Iterable[Provider]) -> set[str]:
    return {name for name, _ in chosen}


def _report_missing(model: str, placement: Placement, missing: set[str], fallback: bool) -> None:
    """Raise InvalidArgumentError if the provider of the device is missing, or only warn where the CPU may stand in, and
    of accelerators.
    """
    if not missing:
        return
    fallback = fallback or CUDA not in missing
    text = (
        f"instance '{placement.name}' of model '{model}' asks for {', '.join(sorted(missing))} "
        f"on {placement.device}, which this installation of onnxruntime cannot use: it is built with "
        f"{', '.join(ort.get_available_providers())}, and their libraries may be missing"
    )
    if not fallback:
        raise InvalidArgumentError(f"{text}. Set the parameter allow_cpu_fallback to true to run without")
    logger.warning("%s; running without", text)


def _open(
    file: Path, options: ort.SessionOptions, chosen: list[Provider], elsewhere: Mapping[str, Path]
) -> ort.InferenceSession:
    try:
        with _external_data(options, elsewhere):
            session = ort.InferenceSession(str(file), options, providers=chosen)
    except Exception as error:  # its exceptions have no common base class
        raise InvalidArgumentError(f"{file.name}{_load_problem(str(error))}") from error
    # A provider that fails in a request is an error, not a reason to change the device.
    session.disable_fallback()
    return session


def _load_problem(text: str) -> str:
    """What comes behind the file's name."""
    if missing := _MISSING_LOCALE.search(text):
        name = missing[1]
        charset = name.partition(".")[2] or "UTF-8"
        return (
            f" needs the locale {name}: apt-get install locales && "
            f"echo '{name} {charset}' >> /etc/locale.gen && locale-gen"
        )
    return f": onnxruntime cannot load it: {without_directories(text).removeprefix('[ONNXRuntimeError] : ')}"


@contextmanager
def _external_data(options: ort.SessionOptions, elsewhere: Mapping[str, Path]) -> Iterator[None]:
    """Give a session the content of files that it would not open itself, until it is made."""
    with ExitStack() as stack:
        contents: list[bytes | mmap.mmap] = []
        for path in elsewhere.values():
            stream = stack.enter_context(path.open("rb"))
            contents.append(
                stack.enter_context(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                if path.stat().st_size
                else b""
            )
        if contents and hasattr(options, "add_external_initializers_from_files_in_memory"):
            options.add_external_initializers_from_files_in_memory(
                list(elsewhere), contents, list(map(len, contents))
            )
        yield
