"""Looking at a repository as a server does before it loads models: what is wrong with each of them.

Configurations are read, completed from the models' files and validated by the very functions of a load, and ensembles
are put together from what came of that. Where a load would end at the first thing that is wrong, whatever can be judged
all the same is judged as well. Weights are not loaded, and nothing is executed; but to read what a handler declares is
to import it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kserve_v2.backend import ModelConfig
from kserve_v2.checking.findings import Finding, Level, Rule, as_given, merged
from kserve_v2.checking.listening import listening
from kserve_v2.checking.report import Report, problems_of
from kserve_v2.checking.step import StepVersion
from kserve_v2.checking.texts import ConfigText
from kserve_v2.checking.unwise import Machine, hidden_versions
from kserve_v2.checking.version_check import VersionCheck
from kserve_v2.checking.watch import Watch
from kserve_v2.config import ConfigError, is_ensemble
from kserve_v2.config.release import RELEASE
from kserve_v2.environments.models import EnvironmentNotMadeError
from kserve_v2.errors import InvalidArgumentError, NotFoundError, ServingError, reason_of
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.ensembles import bound, circular, step_callees
from kserve_v2.repository.preparing.candidate import Candidate, find_entry, no_version, read_candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.reading.layout import is_empty
from kserve_v2.repository.reading.namespaces import name_in, scan_namespaces
from kserve_v2.repository.reading.scan import (
    RELEASE_FILE,
    ModelEntry,
    Skipped,
    Snapshot,
    config_path,
    scan,
    with_absent,
)
from kserve_v2.scheduling.ensemble.check import no_loaded_version, required_version
from kserve_v2.scheduling.ensemble.graph import Step


class RepositoryCheck:
    """Looks at each model once, also where several ensembles need it."""

    def __init__(
        self,
        options: RepositoryOptions,
        registry: BackendRegistry,
        machine: Machine,
        watch: Watch | None = None,
    ) -> None:
        """`watch`: who is told which model is looked at."""
        self._options = replace(options, gpus=machine.gpus)
        self._registry = registry
        self._machine = machine
        self._watch = watch or Watch()
        # By model: what was found, what could be loaded, by version, and why not. One that is being looked at has no
        # entry in the first yet.
        self._findings: dict[str, list[Finding]] = {}
        self._steps: dict[str, dict[int, StepVersion]] = {}
        self._reasons: dict[str, list[str]] = {}

    def check_all(self) -> tuple[list[str], list[Finding]]:
        """The names of all models, and what is to be said of them and of what lies beside them. Blocks on the file
        system. Raises OSError for a repository that cannot be listed.
        """
        snapshot = all_models(self._options)
        found = [self._passed_over(each) for each in snapshot.skipped]
        for name in snapshot.models:
            found += self.check(name)
        return list(snapshot.models), merged(found)

    def check(self, name: str) -> Sequence[Finding]:
        """What is to be said of a model. Blocks on the file system. Raises NotFoundError if there is none,
        InvalidArgumentError for what is no name.
        """
        if name not in self._findings:
            if problem := self._bring(name):
                self._steps[name], self._reasons[name] = {}, [problem]
                locations = self._options.locations
                origin = "" if locations is None else locations.origin_of(name)
                finding = Finding(Level.ERROR, Rule.LAYOUT, name, Path(name), problem)
                self._findings[name] = [as_given(finding, origin)]
                return self._findings[name]
            entry = find_entry(name, self._options)
            if entry is None:
                raise NotFoundError(f"no model repository has a directory of the name '{name}'")
            self._steps[name] = {}
            report = Report(name, config_text(entry, self._options))
            if end := self._watch.ended.get(name):
                report.add(Level.ERROR, Rule.FILE, end, entry.path)
                report.reasons.append(end)
            else:
                with listening() as said, self._watch.looking(name):
                    self._look(entry, report, said)
                for each in dict.fromkeys(said):
                    report.said(each, entry.path)
            self._findings[name] = merged(report.findings)
            self._reasons[name] = report.reasons
        return self._findings[name]

    def _bring(self, name: str) -> str:
        """Have a model here that comes from elsewhere. Returns why that cannot be done."""
        try:
            if self._options.locations is not None:
                self._options.locations.materialize(name)
        except ServingError as error:
            return error.message
        return ""

    def _look(self, entry: ModelEntry, report: Report, said: Sequence[str]) -> None:
        try:
            candidate = read_candidate(entry.name, self._options)
        except Exception as error:  # noqa: BLE001 - one model's failure, whatever it is, is its finding
            report.reasons.append(reason_of(error))
            report.wrong(error, problems_of(error), Rule.LAYOUT, entry.path)
            if isinstance(error, ConfigError) and not entry.versions:
                nothing = no_version(entry, ModelConfig())
                report.wrong(nothing, nothing.problems, Rule.LAYOUT, entry.path)
            return
        report.text.config = candidate.config
        for version in candidate.versions:
            look = VersionCheck(candidate, version, report, self._options, self._registry, said)
            step = look.look(self._put_together, self._machine)
            if step is not None:
                self._steps[entry.name][version] = step
        _look_at_versions(candidate, report)

    def _passed_over(self, skipped: Skipped) -> Finding:
        """What lies in a repository and is no model."""
        roots = [*self._options.namespaces.values(), *self._options.folders]
        paths = [path for root in roots if os.path.lexists(path := root / skipped.name)]
        level = Level.NOTE if skipped.foreign else Level.WARNING
        return Finding(level, Rule.LAYOUT, "", (paths or roots)[0], str(skipped))

    # --- ensembles ----------------------------------------------------------------------------------------------------

    def _put_together(self, prepared: PreparedEnsemble) -> StepVersion:
        """An ensemble, of what could be loaded for its steps. Raises InvalidArgumentError."""
        name = prepared.source.name
        callees = step_callees(prepared, lambda step: self._find(name, step), self._names)
        binding = bound(prepared, callees)
        return StepVersion(name, prepared.signature, binding.decoupled, prepared.labels)

    def _names(self) -> list[str]:
        """What the models are called that there are."""
        return [name_in(name) for name in all_models(self._options).models]

    def _find(self, name: str, step: Step) -> StepVersion | str | None:
        """What could be loaded for a step of that ensemble; see `step_callees`. Raises InvalidArgumentError."""
        if step.model in self._steps and step.model not in self._findings:
            raise circular(name, step.model)
        try:
            findings = self.check(step.model)
        except (InvalidArgumentError, NotFoundError):
            return None
        versions = self._steps[step.model]
        notes = [each.message for each in findings if each.rule is Rule.ENVIRONMENT]
        if not versions and notes:
            raise EnvironmentNotMadeError(f"model '{step.model}': {notes[0]}")
        wanted = max(versions, default=0) if not step.version else int(step.version)
        if wanted in versions:
            return versions[wanted]
        if versions:
            return required_version(name, step.model, step.version)
        return no_loaded_version(name, step.model, "; ".join(self._reasons[step.model]))


def all_models(options: RepositoryOptions) -> Snapshot:
    """Of all repositories. Raises OSError for one that cannot be listed, and ServingError for one elsewhere."""
    if options.namespaces:
        return scan_namespaces(options.namespaces)
    locations = options.locations
    names = locations.names() if locations is not None else []
    return with_absent(scan(options.folders), dict.fromkeys(names))


def config_text(entry: ModelEntry, options: RepositoryOptions) -> ConfigText:
    """A model's configuration as it is written."""
    path = config_path(entry, options.config_name or None)
    return ConfigText.of(path, f"{entry.name}/{path.relative_to(entry.path).as_posix()}" if path else "")


def _look_at_versions(candidate: Candidate, report: Report) -> None:
    """Whether the versions that are served are those that are meant."""
    entry = candidate.entry
    missing = [version for version in candidate.found.release.versions if version not in candidate.versions]
    if missing:
        where = RELEASE_FILE if candidate.found.source == RELEASE_FILE else f"parameters['{RELEASE}']"
        shown, served = ", ".join(map(str, missing)), ", ".join(map(str, candidate.versions))
        text = f"{where}: names version {shown}, which is not there: served is {served}"
        report.add(Level.WARNING, Rule.VERSIONS, text, entry.path)
    if is_ensemble(candidate.config):
        return
    empty = [version for version in entry.versions if is_empty(entry.path / str(version))]
    for advice in hidden_versions(candidate.versions, empty, entry.versions):
        report.advise(advice, entry.path / str(max(candidate.versions)), candidate.versions)
