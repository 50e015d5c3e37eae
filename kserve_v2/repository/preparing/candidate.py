"""A model as it is on disk now, or as it has come with a load call: its versions that are to be served, and its
configuration as it is written.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kserve_v2.backend import ModelConfig
from kserve_v2.config import (
    is_ensemble,
    parse_config_json,
    read_config,
    select_versions,
    versions_in_vain,
)
from kserve_v2.config.isolation import EXECUTION_ENV_PATH
from kserve_v2.config.loaded_fields import what_a_load_goes_by
from kserve_v2.environments.named import leads_outside
from kserve_v2.errors import DuplicateError, InvalidArgumentError, NotFoundError
from kserve_v2.regular_files import read_regular
from kserve_v2.repository.locations.linked import is_of_links
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.reading.layout import (
    CONFIG,
    advice_without_versions,
    unread_configuration,
    unread_settings,
    unread_version,
)
from kserve_v2.repository.reading.namespaces import (
    Namespaces,
    ambiguous,
    find_models,
    step_key,
)
from kserve_v2.repository.reading.scan import ModelEntry, config_path, scan_folder, scan_model
from kserve_v2.repository.routing.store import NOTHING_FOUND, Found, find_release
from kserve_v2.repository.uploads.store import UploadedFolder

logger = logging.getLogger(__name__)


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


def outdated(candidate: Candidate, version: int) -> str:
    """Why the files of a version, or those that all versions may read, are not those of the candidate any more; "" if
    they are. Of the configuration nothing is said: what is made of it does not go by the file again. Blocks.
    """
    if candidate.uploaded is not None:
        now = _scan_uploaded(candidate.uploaded, candidate.entry.name)
    else:
        now = scan_folder(candidate.entry.path)
    were, are = candidate.entry.fingerprints, now.fingerprints
    if (were.versions.get(version), were.shared) == (are.versions.get(version), are.shared):
        return ""
    if now.problem:
        return f"its files are not as they were when it was loaded: {now.problem}"
    return "its files have changed since it was loaded: load it again"


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
    if entry.places:
        raise _duplicate(entry, options)
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
    if in_vain := versions_in_vain(config, entry.versions, versions):
        logger.warning("model '%s': %s", name, in_vain)
    if unread := unread_version(entry.path):
        logger.warning("model '%s': not served: %s", name, unread)
    # What lies in a folder that is a version, and no directory of a repository, may belong to what has exported it.
    if not is_of_links(entry.path) and (unread := unread_settings(entry.path, versions)):
        logger.warning("model '%s': %s", name, unread)
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
        state = f"{path.relative_to(entry.path)} {_hash(path)}"
    if override.over not in (None, state):
        logger.info(
            "model '%s': its configuration file has changed since a load call brought one along: the file is in force",
            entry.name,
        )
        return None
    return replace(override, over=state)


def _hash(path: Path) -> str:
    """Of a file that can be read; otherwise why it cannot."""
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        return str(error.strerror)


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


def _duplicate(entry: ModelEntry, options: RepositoryOptions) -> DuplicateError:
    locations = options.locations
    origins = (
        (locations.origin_of_file(path) if locations is not None else "") or path for path in entry.places
    )
    return DuplicateError(entry.problem or "", [f"{entry.problem}: {' and '.join(map(str, origins))}"])


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
