"""From a model's directory to versions that are ready to be loaded: configuration read, completed and
validated.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from kserve_v2.backend import Backend, CompletesUnopened, IsolatesModels, ModelConfig, ModelSource
from kserve_v2.caching.cache import ResponseCache
from kserve_v2.config import (
    ConfigError,
    config_error,
    fill_defaults,
    infer_backend,
    is_ensemble,
    link_problems,
    parse_config_json,
    raise_if_invalid,
    read_config,
    select_versions,
    validate,
    written_problems,
)
from kserve_v2.config.isolation import EXECUTION_ENV_PATH, isolation_without_effect, wants_isolation
from kserve_v2.config.loaded_fields import what_a_load_goes_by
from kserve_v2.config.platforms import OWN_BACKENDS
from kserve_v2.config.switches import AUTO_WARMUP, switch
from kserve_v2.environments.models import EnvironmentNotMadeError, ModelEnvironments
from kserve_v2.environments.named import leads_outside
from kserve_v2.errors import ContradictionError, InvalidArgumentError, NotFoundError
from kserve_v2.isolation.backend import Home, IsolatedBackend
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.locations.area import tree_of
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.models.batching import BatchingOrigin
from kserve_v2.repository.models.caching import model_caching
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble, prepare_ensemble
from kserve_v2.repository.models.model import Prepared, placements
from kserve_v2.repository.preparing.kept import kept_path
from kserve_v2.repository.preparing.missing_modules import advising
from kserve_v2.repository.preparing.threads import cpu_budget, divide
from kserve_v2.repository.reading.file_content import explained
from kserve_v2.repository.reading.initial_states import read_states
from kserve_v2.repository.reading.layout import (
    CONFIG,
    advice_on_files,
    advice_without_model,
    advice_without_versions,
    unread_configuration,
    unread_version,
)
from kserve_v2.repository.reading.namespaces import (
    Namespaces,
    ambiguous,
    find_models,
    step_key,
)
from kserve_v2.repository.reading.scan import ModelEntry, config_path, scan_folder, scan_model
from kserve_v2.repository.reading.warm_up_samples import read_samples
from kserve_v2.repository.residency.residency import Budget
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found, find_release
from kserve_v2.repository.uploads.store import UploadedFolder, Uploads
from kserve_v2.scheduling.warm_up import WarmUp

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RepositoryOptions:
    """What the operator has said about models in general.

    `backend_settings`: `--backend-config` by backend. `auto_complete`: whether backends may fill in
    configurations. `config_name`: use `configs/<name>.pbtxt` where a model has it. `explicit`: whether models are
    loaded and unloaded on request. `cache`: for the models that ask for one. `environments`: those that models have of
    their own. `needs_environments`: false if nothing is to be run, so that one which is not made is not missed. `kept`:
    where models keep what is to outlive the server; None for nowhere. `isolated`: the backends whose models run in
    processes of their own, unless their configuration says something else. `opens_files`: false if models are only
    looked at, so that no framework is needed where their files can be read without one. `gpus`: how many there are to
    be; None for those that the backend can use on this machine. `uploads`: where files that come with a load
    are kept; None if such loads are refused. `namespaces`: the repositories by name, if they tell models apart.
    `polling`: whether models are loaded and unloaded as the repository
    changes. `on_demand_wait_s`: how long a request waits for its model, which is loaded for it; None if it is not.
    `auto_warm_up`: whether models without samples of their own execute made-up ones before they are ready.
    `drain_limit_s`: how long what is under way in a version that is served no longer may take; 0 for any time.
    `release_directory`: where releases are kept that are changed while the server runs; None for the models' own.
    `locations`: what brings models to this machine, into folders beside `roots`. `memory`: what models may use
    together.
    """

    roots: tuple[Path, ...] = ()
    backend_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    auto_complete: bool = True
    config_name: str = ""
    explicit: bool = False
    polling: bool = False
    on_demand_wait_s: float | None = None
    cache: ResponseCache | None = None
    environments: ModelEnvironments = field(default_factory=ModelEnvironments)
    needs_environments: bool = True
    kept: Path | None = None
    isolated: frozenset[str] = frozenset()
    opens_files: bool = True
    gpus: int | None = None
    uploads: Uploads | None = None
    namespaces: Namespaces = field(default_factory=dict)
    auto_warm_up: bool = False
    drain_limit_s: float = 0
    release_directory: Path | None = None
    memory: Budget = field(default_factory=Budget)
    locations: Locations | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of models that there are now."""
        return self.roots if self.locations is None else (*self.roots, *self.locations.roots)


class Stage(Enum):
    """How far a configuration has come, behind what is written."""

    INFERRED = "inferred from names"
    COMPLETED = "completed from the model's file"


@dataclass(frozen=True, slots=True)
class Override:
    """A configuration that has come with a load call, in place of the file. `text`: JSON. `over`: the state of the file
    when it was loaded first, "" for none; None if it has not been loaded. It does not outlast a change of the file.
    """

    text: str
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model as it is on disk now: which versions to serve, and from what configuration. `uploaded`: what lies in the
    place of its directory. `listed`: whether a repository has such a directory. `override`: where its configuration
    comes from, if that is not the file. `found`: its release.
    """

    entry: ModelEntry
    config: ModelConfig
    versions: Sequence[int]
    uploaded: UploadedFolder | None = None
    listed: bool = True
    override: Override | None = None
    found: Found = NOTHING_FOUND

    def fingerprint(self, version: int) -> str:
        """Changes whenever one version has to be loaded again: with its files, those that all versions may read, and
        what the configuration says, wherever that comes from, of what a load goes by.
        """
        files = self.entry.fingerprints
        return f"{files.versions.get(version)}/{files.shared}/{what_a_load_goes_by(self.config)}"


def read_candidate(
    name: str,
    options: RepositoryOptions,
    override: Override | None = None,
    uploaded: UploadedFolder | None = None,
) -> Candidate:
    """Look at the model's directory and configuration, or at what has come in their places. Blocks on the file system.

    Raises NotFoundError if there is no such directory, InvalidArgumentError for a configuration that cannot
    be read and where the version policy leaves nothing to serve.
    """
    on_disk = find_entry(name, options)
    entry = on_disk if uploaded is None else _scan_uploaded(uploaded, name)
    if entry is None:
        raise NotFoundError(
            f"failed to load '{name}', failed to poll from model repository: no directory of that name"
        )
    if entry.problem:
        raise InvalidArgumentError(entry.problem)
    override = _still_in_force(override, entry, options)
    config = _read_config(entry, options, None if override is None else override.text)
    if options.namespaces and is_ensemble(config):
        _find_steps(config, entry.name, options.namespaces)
    path = None if on_disk is None else on_disk.path
    found = find_release(entry.name, path, config, options.release_directory)
    versions = select_versions(config, entry.versions, found.release.versions)
    if not versions:
        raise no_version(entry, config)
    if unread := unread_version(entry.path):
        logger.warning("model '%s': not served: %s", name, unread)
    return Candidate(
        entry, config, versions, uploaded, listed=on_disk is not None, override=override, found=found
    )


def _still_in_force(
    override: Override | None, entry: ModelEntry, options: RepositoryOptions
) -> Override | None:
    """An override as it is to be kept; None for one whose file has changed since it was loaded."""
    if override is None:
        return None
    path = config_path(entry, options.config_name or None)
    state = ""
    if path is not None:
        state = f"{path.relative_to(entry.path)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    if override.over not in (None, state):
        logger.info(
            "model '%s': its configuration file has changed since a load call brought one along: the file is in force",
            entry.name,
        )
        return None
    return replace(override, over=state)


def find_entry(name: str, options: RepositoryOptions) -> ModelEntry | None:
    """A model's directory, by its name or key; None if no repository has it. Raises InvalidArgumentError for what is no
    name, and for one of several models.
    """
    if not options.namespaces:
        return scan_model(options.folders, name)
    found = find_models(options.namespaces, name)
    if len(found) > 1:
        raise ambiguous(name, len(found))
    return found[0] if found else None


def _find_steps(config: ModelConfig, ensemble: str, namespaces: Namespaces) -> None:
    """Write the keys of the models that the steps of an ensemble mean into its configuration."""
    for step in config.ensemble_scheduling.step:
        if "/" in step.model_name or not step.model_name.strip():
            # It is a key already, or no name, which the validation tells of.
            continue
        listed = [entry.name for entry in find_models(namespaces, step.model_name)]
        step.model_name = step_key(namespaces, ensemble, step.model_name, step.model_namespace, listed)
        step.model_namespace = ""


def _scan_uploaded(uploaded: UploadedFolder, name: str) -> ModelEntry:
    """What was uploaded, which is always another model than before: files may be as old, and as large, as others."""
    entry = scan_folder(uploaded.path)
    shared = f"upload {uploaded.number}/{entry.fingerprints.shared}"
    return replace(entry, name=name, fingerprints=replace(entry.fingerprints, shared=shared))


def no_version(entry: ModelEntry, config: ModelConfig) -> InvalidArgumentError:
    """The version policy leaves nothing to serve, or there is nothing."""
    found = ", ".join(map(str, entry.versions))
    if found:
        advice = f"it selects none of {found}"
    elif is_ensemble(config):
        advice = f"an ensemble has a version, too, which is empty: make the directory {entry.name}/1"
    else:
        advice = advice_without_versions(entry.path)
    return InvalidArgumentError(
        f"at least one version must be available under the version policy of model '{entry.name}': {advice}"
    )


def _read_config(entry: ModelEntry, options: RepositoryOptions, override: str | None) -> ModelConfig:
    if override is not None:
        config = parse_config_json(override)
        _raise_if_foreign_environment(config, entry, options)
        return config
    path = config_path(entry, options.config_name or None)
    if path is None:
        if unread := unread_configuration(entry.path, entry.versions):
            logger.warning("model '%s': %s", entry.name, unread)
        return ModelConfig()
    return read_config(path, f"{entry.name}/{path.relative_to(entry.path)}")


def _raise_if_foreign_environment(config: ModelConfig, entry: ModelEntry, options: RepositoryOptions) -> None:
    """Raise InvalidArgumentError if a configuration that a client has sent has the server run an interpreter that lies
    somewhere else, and which the operator's configuration does not name.
    """
    named = (
        config.parameters[EXECUTION_ENV_PATH].string_value if EXECUTION_ENV_PATH in config.parameters else ""
    )
    if named and leads_outside(named, entry.path):
        own = _read_config(entry, options, None)
        if named != own.parameters[EXECUTION_ENV_PATH].string_value:
            raise InvalidArgumentError(
                f"parameters['{EXECUTION_ENV_PATH}']: a configuration that is sent with a load may name what is in the "
                f"model's directory, or what {CONFIG} names, not '{named}'"
            )


def prepare_version(
    candidate: Candidate,
    version: int,
    options: RepositoryOptions,
    registry: BackendRegistry,
    watch: Callable[[Stage, ModelConfig], None] = lambda *_: None,
) -> Prepared | PreparedEnsemble:
    """Complete and validate the configuration for one version. Blocks: a backend may read the model file for
    it, which it does only when nothing that was written is wrong. `watch` is shown the configuration on its way.

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
        version_path=version_path,
        settings=options.backend_settings.get(config.backend, {}),
        cache_path=_cache_path(candidate, options),
    )
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
        _raise_if_invalid(config, gpu_count, entry.path.name)
        caching = model_caching(options.cache, source, config)
        states = read_states(config, entry.path)
        warm_up = _warm_up(config, entry, options)
    except BaseException:
        source.handover.close()
        raise
    placed = placements(config, gpu_count)
    source = replace(source, placements=placed, threads=divide(cpu_budget(), len(placed)))
    batching = BatchingOrigin.of(candidate.config, config, backend, source.settings)
    return Prepared(source, config, backend, batching, caching, states, warm_up)


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
    if not wanted:
        return None
    home = Home(host=host) if host else Home(backend=registry.entry_point(config.backend))
    return home if interpreter is None else home.within(interpreter, f"backend '{config.backend}'")


def check_model_file(config: ModelConfig, name: str, version_path: Path) -> None:
    """Raise InvalidArgumentError if the model's file is not there."""
    if not (version_path / config.default_model_filename).exists():
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


def _raise_if_invalid(config: ModelConfig, gpu_count: int, model: str) -> None:
    """Raise ConfigError, with what to write where it is not in the model's file."""
    if config.backend == "python" and not config.input and not config.output:
        raise ConfigError(
            f"neither {config.default_model_filename} nor config.pbtxt says what the model takes and gives: write "
            'inputs = {"x": ("FP32", [4])} and outputs alike into the class, names with datatypes and dims; of a '
            "TritonPythonModel, auto_complete_config says it"
        )
    try:
        raise_if_invalid(config, gpu_count=gpu_count, directory_name=model)
    except ConfigError as error:
        kind, name = _first_unknown(config)
        if config.platform == "pytorch_libtorch" and name:
            advice = (
                f"no TorchScript file says what its tensors are: write it into {model}/{CONFIG}, as in {kind} "
                f'{{ name: "{name}" data_type: TYPE_FP32 dims: [ 4 ] }}, for every input and output'
            )
            raise ConfigError(f"{advice}\n{error.message}", [advice, *error.problems]) from None
        raise


def _first_unknown(config: ModelConfig) -> tuple[str, str]:
    """The first input or output, and its name, whose datatype or dims nobody has said; empty if there is none."""
    for tensor in config.input:
        if not (tensor.data_type and tensor.dims):
            return "input", tensor.name
    for output in config.output:
        if not (output.data_type and output.dims):
            return "output", output.name
    return "", ""


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
