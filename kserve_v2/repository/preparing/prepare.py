"""From a model's directory and configuration to a version that is ready to be loaded: completed and validated."""

import logging
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

from kserve_v2.backend import (
    AlwaysIsolated,
    Backend,
    CompletesUnopened,
    Handover,
    IsolatesModels,
    ModelConfig,
    ModelSource,
    PreparesFiles,
    keeps_nothing,
)
from kserve_v2.config import (
    ConfigError,
    config_error,
    fill_defaults,
    infer_backend,
    is_ensemble,
    link_problems,
    raise_if_invalid,
    validate,
    written_problems,
)
from kserve_v2.config.isolation import isolation_without_effect, wants_isolation
from kserve_v2.config.platforms import OWN_BACKENDS
from kserve_v2.config.switches import AUTO_WARMUP, switch
from kserve_v2.environments.models import EnvironmentNotMadeError
from kserve_v2.errors import ContradictionError, InvalidArgumentError
from kserve_v2.isolation.backend import Home, IsolatedBackend
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.area import tree_of
from kserve_v2.repository.locations.linked import home_of, is_one_file
from kserve_v2.repository.models.batching import BatchingOrigin
from kserve_v2.repository.models.caching import model_caching
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble, prepare_ensemble
from kserve_v2.repository.models.homes import Traits, decide_home
from kserve_v2.repository.models.spec import Prepared, placements
from kserve_v2.repository.preparing.candidate import Candidate, outdated
from kserve_v2.repository.preparing.kept import kept_path
from kserve_v2.repository.preparing.missing_modules import advising
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.threads import cpu_budget, divide
from kserve_v2.repository.reading.file_content import explained
from kserve_v2.repository.reading.initial_states import read_states
from kserve_v2.repository.reading.layout import (
    CONFIG,
    advice_on_files,
    advice_without_model,
)
from kserve_v2.repository.reading.scan import ModelEntry
from kserve_v2.repository.reading.warm_up_samples import read_samples
from kserve_v2.repository.residency.measuring import source_bytes
from kserve_v2.scheduling.warm_up import WarmUp

logger = logging.getLogger(__name__)


class Stage(Enum):
    """How far a configuration has come, behind what is written."""

    INFERRED = "inferred from names"
    COMPLETED = "completed from the model's file"


def prepare_version(
    candidate: Candidate,
    version: int,
    options: RepositoryOptions,
    registry: BackendRegistry,
    watch: Callable[[Stage, ModelConfig], None] = lambda *_: None,
    handover: Handover | None = None,
) -> Prepared | PreparedEnsemble:
    """Complete and validate the configuration for one version. Blocks: a backend may read the model file for
    it, which it does only when nothing that was written is wrong. `watch` is shown the configuration on its way.
    `handover`: of the load that is to follow.

    Raises InvalidArgumentError with all problems of the configuration at once.
    """
    config = ModelConfig()
    config.CopyFrom(candidate.config)
    entry = candidate.entry
    version_path = entry.path / str(version)
    infer_backend(config, entry.path.name, [path.name for path in version_path.iterdir()])
    if is_ensemble(config):
        prepared = prepare_ensemble(config, entry.path, version_path, options.cache)
        return replace(prepared, source=replace(prepared.source, name=entry.name))
    if not config.backend:
        _raise_without_backend(config, entry.path.name, version_path)
    backend = _find_backend(registry, config, version_path)
    config.platform = config.platform or backend.platform
    config.default_model_filename = config.default_model_filename or backend.default_filename
    watch(Stage.INFERRED, config)
    gpu_count = backend.gpu_count() if options.gpus is None else options.gpus
    _raise_if_written_wrong(config, gpu_count, entry)
    if config.backend in OWN_BACKENDS:
        check_model_file(config, entry.path.name, version_path)
    source = ModelSource(
        name=entry.name,
        version=version,
        model_path=entry.path,
        # It was looked for among the links, which are those files that may be loaded.
        version_path=home_of(entry.path) or version_path,
        settings=options.backend_settings.get(config.backend, {}),
        cache_path=_cache_path(candidate, options),
        outdated=partial(outdated, candidate, version),
        handover=handover or Handover(),
    )
    if isinstance(backend, PreparesFiles):
        source = backend.prepare_files(source, config, gpu_count, options.unpacked.unpack)
    home = _home(backend, source, config, options, registry)
    for vain in isolation_without_effect(config, isolated=home is not None):
        logger.warning("model '%s': %s %s", entry.name, vain.path, vain.message)
    complete = None
    if not options.opens_files and isinstance(backend, CompletesUnopened):
        complete = backend.complete_unopened
    if home is not None:
        backend = IsolatedBackend(backend, home)
    try:
        if options.auto_complete:
            with advising(options.environments, source, config):
                _complete(complete or backend.complete, source, config, gpu_count)
            watch(Stage.COMPLETED, config)
        fill_defaults(config, gpu_count=gpu_count)
        _raise_if_invalid(config, gpu_count, entry)
        caching = model_caching(options.cache, source, config)
        states = read_states(config, entry.path)
        warm_up = _warm_up(config, entry, options)
        size = source_bytes(source) if options.spread.processes > 1 else 0
        traits = Traits(home is not None, caching is not None, keeps_nothing(backend), size)
        where = decide_home(config, traits, options.spread)
    except BaseException:
        source.handover.close()
        raise
    placed = placements(config, gpu_count)
    copies = options.spread.processes if where.replicated else 1
    source = replace(source, placements=placed, threads=divide(cpu_budget(), len(placed) * copies))
    batching = BatchingOrigin.of(candidate.config, config, backend, source.settings)
    return Prepared(source, config, backend, batching, caching, states, warm_up, where)


def _warm_up(config: ModelConfig, entry: ModelEntry, options: RepositoryOptions) -> WarmUp:
    """What its author has written goes before what can be made up."""
    if config.model_warmup:
        return WarmUp(read_samples(config, entry.path))
    wanted = switch(config, AUTO_WARMUP)
    return WarmUp(automatic=options.auto_warm_up if wanted is None else wanted)


def _cache_path(candidate: Candidate, options: RepositoryOptions) -> Path | None:
    """Where a model keeps what is to outlive the server. One that was uploaded takes over what the directory of its
    name has, in the first repository that has one: its own folder is there for one load.
    """
    if options.kept is None:
        return None
    path = candidate.entry.path
    if candidate.uploaded is not None:
        paths = [tree_of(root / path.name) for root in options.folders]
        path = next((each for each in paths if each.is_dir()), paths[0] if paths else Path(path.name))
    return kept_path(options.kept, path)


def _raise_without_backend(config: ModelConfig, name: str, version_path: Path) -> None:
    """Say what is missing or not supported yet, before a backend is looked for. Raises ConfigError."""
    try:
        raise_if_invalid(config, gpu_count=0, directory_name=name)
    except ConfigError as error:
        if config.platform:
            raise
        advice = advice_without_model(version_path)
        *others, last = error.problems
        raise ConfigError(f"{error.message}. {advice}", [*others, f"{last}. {advice}"]) from None


def _find_backend(registry: BackendRegistry, config: ModelConfig, version_path: Path) -> Backend:
    """The backend of a model. Raises InvalidArgumentError where there is none, with what to do with the model's
    files.
    """
    try:
        return registry.get(config.backend)
    except InvalidArgumentError as error:
        advice = advice_on_files(sorted(path.name for path in version_path.iterdir()))
        if advice is None or config.backend in registry.names:
            raise
        raise InvalidArgumentError(f"{error.message}. {advice}") from None


def _home(
    backend: Backend,
    source: ModelSource,
    config: ModelConfig,
    options: RepositoryOptions,
    registry: BackendRegistry,
) -> Home | None:
    """Where the model's processes run; None if it runs in the server's. Makes its environment, if it has one. Raises
    InvalidArgumentError.
    """
    interpreter, host = None, ""
    try:
        interpreter = options.environments.interpreter_for(source, config)
    except EnvironmentNotMadeError:
        if options.needs_environments:
            raise
    if isinstance(backend, IsolatesModels):
        host = backend.isolated_host(source.model_file(config))
    wanted = wants_isolation(config)
    if wanted is None:
        wanted = bool(host) or interpreter is not None or config.backend in options.isolated
    if not wanted and not isinstance(backend, AlwaysIsolated):
        return None
    home = Home(host=host) if host else Home(backend=registry.entry_point(config.backend))
    return home if interpreter is None else home.within(interpreter, f"backend '{config.backend}'")


def check_model_file(config: ModelConfig, name: str, version_path: Path) -> None:
    """Raise InvalidArgumentError if the model's file is not there, or cannot be read to its end."""
    path = version_path / config.default_model_filename
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InvalidArgumentError(
            f"model '{name}': {config.default_model_filename} of version {version_path.name} is neither a file nor a "
            "directory"
        )
    if not path.exists():
        raise InvalidArgumentError(
            f"model '{name}': version {version_path.name} has no file {config.default_model_filename}: "
            f"{advice_without_model(version_path)}"
        )


def _raise_if_written_wrong(config: ModelConfig, gpu_count: int, entry: ModelEntry) -> None:
    """Raise ConfigError for what is wrong before the backend opens the model's file: to open a handler is to run it."""
    problems = written_problems(config, gpu_count=gpu_count, directory_name=entry.path.name)
    problems += link_problems(config, entry.path)
    if problems:
        raise config_error(problems)


def _raise_if_invalid(config: ModelConfig, gpu_count: int, entry: ModelEntry) -> None:
    """Raise ConfigError, with what to write where it is not in the model's file."""
    if config.backend == "python" and not config.input and not config.output:
        raise ConfigError(
            f"neither {config.default_model_filename} nor config.pbtxt says what the model takes and gives: write "
            'inputs = {"x": ("FP32", [4])} and outputs alike into the class, names with datatypes and dims, or of a '
            "function, into @kserve_v2.model(inputs=…, outputs=…); of a TritonPythonModel, auto_complete_config says it"
        )
    model = entry.path.name
    try:
        raise_if_invalid(config, gpu_count=gpu_count, directory_name=model)
    except ConfigError as error:
        unknown = _unknown_tensors(config)
        if config.platform != "pytorch_libtorch" or not unknown:
            raise
        known = "no TorchScript file says what its tensors are"
        if is_one_file(entry.path):
            flags = " ".join(f"--{kind} '{name}:FP32[N,4]'" for kind, name in unknown)
            advice = f"{known}: give {flags}, or whatever they are, with N for the rows of a batch"
            others = [problem for problem in error.problems if "must specify" not in problem]
            raise ConfigError("\n".join([advice, *others]), [advice, *others]) from None
        kind, name = unknown[0]
        advice = (
            f'{known}: write it into {model}/{CONFIG}, as in {kind} {{ name: "{name}" data_type: TYPE_FP32 '
            "dims: [ 4 ] }, for every input and output"
        )
        raise ConfigError(f"{advice}\n{error.message}", [advice, *error.problems]) from None


def _unknown_tensors(config: ModelConfig) -> list[tuple[str, str]]:
    """The inputs and outputs, and their names, whose datatype or dims nobody has said."""
    inputs = [each.name for each in config.input if not (each.data_type and each.dims)]
    outputs = [each.name for each in config.output if not (each.data_type and each.dims)]
    tensors = [*(("input", name) for name in inputs), *(("output", name) for name in outputs)]
    return [(kind, name) for kind, name in tensors if name]


def _complete(
    complete: Callable[[ModelSource, ModelConfig], None],
    source: ModelSource,
    config: ModelConfig,
    gpu_count: int,
) -> None:
    """Complete the configuration from the model's file. Raises what the backend raises; where the file contradicts the
    configuration, what else is wrong with that is said as well.
    """
    try:
        with explained(source.model_file(config), config.backend):
            complete(source, config)
    except ContradictionError as error:
        fill_defaults(config, gpu_count=gpu_count)
        problems = validate(config, gpu_count=gpu_count, directory_name=source.model_path.name)
        if not problems:
            raise
        texts = [str(problem) for problem in problems]
        raise ContradictionError("; ".join([error.message, *texts]), [*error.problems, *texts]) from error
