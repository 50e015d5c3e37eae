"""One version of a model: what a load of it would say, and what can be judged although the load would have ended."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path

from kserve_v2.backend import ChecksFile, CompletesUnopened, ModelConfig, ModelSource
from kserve_v2.checking.findings import Level, Rule
from kserve_v2.checking.report import Report, problems_of
from kserve_v2.checking.step import StepVersion
from kserve_v2.checking.unwise import Machine, unwise
from kserve_v2.config import ConfigError, is_ensemble, link_problems
from kserve_v2.config.files import file_problems
from kserve_v2.config.platforms import OWN_BACKENDS
from kserve_v2.config.validate import NO_GPUS
from kserve_v2.environments.models import EnvironmentNotMadeError
from kserve_v2.errors import InvalidArgumentError, reason_of
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.preparing.candidate import Candidate
from kserve_v2.repository.preparing.options import RepositoryOptions
from kserve_v2.repository.preparing.prepare import Stage, check_model_file, prepare_version
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.repository.reading.file_content import explained
from kserve_v2.repository.reading.initial_states import read_states
from kserve_v2.scheduling.signature import ModelSignature

_UNKNOWN_TENSOR = re.compile(r"([^.:]+)\.name: .+ has no (?:input|output) '")

PutTogether = Callable[[PreparedEnsemble], StepVersion]


class VersionCheck:
    """Looks at one version."""

    def __init__(
        self,
        candidate: Candidate,
        version: int,
        report: Report,
        options: RepositoryOptions,
        registry: BackendRegistry,
        said: Sequence[str],
    ) -> None:
        """`said`: what has been logged, up to now."""
        self._said = said
        self._candidate = candidate
        self._version = version
        self._report = report
        self._options = options
        self._registry = registry
        self._path = candidate.entry.path / str(version)
        self._inferred: ModelConfig | None = None
        self._complete: ModelConfig | None = None

    def look(self, put_together: PutTogether, machine: Machine) -> StepVersion | None:
        """What could be loaded; None if something is wrong, which is in the report. Blocks on the file system."""
        step = self._with_gpus(put_together)
        if self._complete is not None:
            for advice in unwise(self._complete, self._report.text.places.paths(), machine, self._said):
                self._report.advise(advice, self._path, [self._version])
        return step

    def _with_gpus(self, put_together: PutTogether) -> StepVersion | None:
        """As though there were GPUs if a model asks for some where there are none: it is perhaps served elsewhere."""
        options = self._options
        try:
            return self._prepare(options, put_together)
        except InvalidArgumentError as error:
            missing = [problem for problem in error.problems if NO_GPUS in problem]
            if options.gpus is not None or not missing:
                self._wrong(error, options)
                return None
        except Exception as error:  # noqa: BLE001 - one model's failure, whatever it is, is its finding
            self._wrong(error, options)
            return None
        for problem in missing:
            self._report.add(Level.WARNING, Rule.DEVICES, problem, self._path, [self._version])
        wanted = [max(group.gpus, default=0) + 1 for group in self._candidate.config.instance_group]
        options = replace(options, gpus=max(wanted))
        try:
            return self._prepare(options, put_together)
        except Exception as error:  # noqa: BLE001 - as above
            self._wrong(error, options)
            return None

    def _prepare(self, options: RepositoryOptions, put_together: PutTogether) -> StepVersion | None:
        """As a load does it. Raises what a load would raise."""
        try:
            return self._prepare_whole(options, put_together)
        except EnvironmentNotMadeError as error:
            self._report.add(Level.NOTE, Rule.ENVIRONMENT, error.message, self._path, [self._version])
        # What its configuration says alone may be enough for the ensembles that have it as a step.
        with suppress(InvalidArgumentError):
            return self._prepare_whole(
                replace(options, auto_complete=False, needs_environments=False), put_together
            )
        return None

    def _prepare_whole(self, options: RepositoryOptions, put_together: PutTogether) -> StepVersion:
        candidate = self._candidate
        # A handler may go to another directory when it is imported.
        with chdir(Path.cwd()):
            prepared = prepare_version(candidate, self._version, options, self._registry, self._watch)
        self._complete = prepared.config
        if isinstance(prepared, PreparedEnsemble):
            return put_together(prepared)
        prepared.source.handover.close()
        config = prepared.config
        backend = self._registry.get(config.backend)
        if options.opens_files and isinstance(backend, ChecksFile):
            with explained(prepared.source.model_file(config), config.backend):
                backend.check_file(prepared.source, config)
        labels = read_labels(config, candidate.entry.path)
        decoupled = config.model_transaction_policy.decoupled
        return StepVersion(config.name, ModelSignature(config), decoupled, labels)

    def _watch(self, stage: Stage, config: ModelConfig) -> None:
        if stage is Stage.INFERRED:
            self._inferred = ModelConfig()
            self._inferred.CopyFrom(config)

    # --- what is wrong ------------------------------------------------------------------------------------------------

    def _wrong(self, error: Exception, options: RepositoryOptions) -> None:
        told = set(problems_of(error))
        self._report.reasons.append(reason_of(error))
        self._tell(error, problems_of(error))
        for other in self._independent(error, options):
            left = [problem for problem in other.problems if problem not in told]
            told.update(left)
            self._tell(other, left)

    def _tell(self, error: Exception, problems: Sequence[str]) -> None:
        rule, path = Rule.LAYOUT, self._path
        problems = _without_consequences(problems)
        if is_ensemble(self._candidate.config):
            rule, path = Rule.ENSEMBLE, self._report.text.path or path
        elif self._inferred is not None:
            file = self._path / self._inferred.default_model_filename
            if self._inferred.default_model_filename and file.exists():
                rule, path = Rule.FILE, file
        self._report.wrong(error, problems, rule, path, [self._version])

    def _independent(self, first: Exception, options: RepositoryOptions) -> Iterator[InvalidArgumentError]:
        """What is wrong beside that, by the same judgements as in a load that comes as far as to them."""
        entry, config = self._candidate.entry, self._inferred
        judgements: list[Callable[[], object]] = []
        outside = [*file_problems(self._candidate.config), *link_problems(self._candidate.config, entry.path)]
        if not outside:
            judgements.append(lambda: read_labels(self._candidate.config, entry.path))
        if config is not None and not outside:
            if config.backend in OWN_BACKENDS:
                judgements.append(lambda: check_model_file(config, entry.path.name, self._path))
            if not any("sequence_batching.state" in problem for problem in problems_of(first)):
                judgements.append(lambda: read_states(config, entry.path))
            backend = self._registry.get(config.backend)
            there = (self._path / config.default_model_filename).exists()
            if isinstance(first, ConfigError) and isinstance(backend, CompletesUnopened) and there:
                judgements.append(lambda: self._contradictions(backend, config, options))
        for judge in judgements:
            try:
                judge()
            except InvalidArgumentError as error:
                yield error
            except Exception:  # noqa: BLE001, S110 - it is confused by what has been told already
                pass

    def _contradictions(
        self, backend: CompletesUnopened, config: ModelConfig, options: RepositoryOptions
    ) -> None:
        """Raises ContradictionError, also of a configuration that says something else that is wrong."""
        entry = self._candidate.entry
        if options.auto_complete:
            tried = ModelConfig()
            tried.CopyFrom(config)
            settings = options.backend_settings.get(config.backend, {})
            source = ModelSource(entry.name, self._version, entry.path, self._path, settings)
            backend.complete_unopened(source, tried)


def _without_consequences(problems: Sequence[str]) -> list[str]:
    """Of a tensor that the model does not have, nobody has to say what it is."""
    unknown = {found[1] for problem in problems if (found := _UNKNOWN_TENSOR.match(problem))}
    return [
        problem
        for problem in problems
        if not ("must specify" in problem and problem.partition(": ")[0].rpartition(".")[0] in unknown)
    ]
