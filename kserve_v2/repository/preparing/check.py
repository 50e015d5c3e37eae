"""Looking at a repository as a server does before it loads models: what is wrong with each of them.

Configurations are read, completed from the models' files and validated by the very functions of a load, and ensembles
are put together from what came of that. Weights are not loaded, and nothing is executed; but to read what a handler
declares is to import it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from kserve_v2.environments.models import EnvironmentNotMadeError
from kserve_v2.errors import ServingError, as_serving_error, describe
from kserve_v2.messages import InferRequest, InferResponse
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.ensemble_model import PreparedEnsemble
from kserve_v2.repository.models.ensembles import bound, circular, step_callees
from kserve_v2.repository.preparing.prepare import RepositoryOptions, prepare_version, read_candidate
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.scheduling.calling.caller import Lease
from kserve_v2.scheduling.ensemble.check import no_loaded_version, required_version
from kserve_v2.scheduling.ensemble.graph import Step
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.target import Reply, Ticket

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One version of a model, 0 for the model as a whole, and all that is wrong with it; "" for nothing. `note`: what
    could not be looked at.
    """

    model: str
    version: int
    problem: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """A version that could be loaded, as the ensembles see it that have it as a step."""

    name: str
    signature: ModelSignature
    decoupled: bool
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def call(self, request: InferRequest, reply: Reply) -> InferResponse | Ticket:
        """It is only looked at."""
        raise NotImplementedError

    def lease(self) -> Lease:
        """It is only looked at."""
        raise NotImplementedError


class RepositoryCheck:
    """Looks at each model once, also where several ensembles need it."""

    def __init__(self, options: RepositoryOptions, registry: BackendRegistry) -> None:
        self._options = options
        self._without_files = replace(options, auto_complete=False, needs_environments=False)
        self._registry = registry
        # By model: what was found, and what could be loaded, by version. A model that is being looked at has no entry
        # in the former yet.
        self._findings: dict[str, list[Finding]] = {}
        self._steps: dict[str, dict[int, _Step]] = {}

    def check(self, name: str) -> Sequence[Finding]:
        """What is to be said of a model, one finding for each of its versions. Blocks on the file system."""
        if name not in self._findings:
            self._steps[name] = {}
            self._findings[name] = list(self._look_at(name))
        return self._findings[name]

    def _look_at(self, name: str) -> Iterator[Finding]:
        problem, candidate = _attempt(lambda: read_candidate(name, self._options))
        if candidate is None:
            yield Finding(name, 0, problem)
            return
        for version in candidate.versions:

            def look(options: RepositoryOptions = self._options, version: int = version) -> _Step:
                prepared = prepare_version(candidate, version, options, self._registry)
                if isinstance(prepared, PreparedEnsemble):
                    return self._put_together(prepared)
                prepared.source.handover.close()
                config = prepared.config
                labels = read_labels(config, prepared.source.model_path)
                decoupled = config.model_transaction_policy.decoupled
                return _Step(name, ModelSignature(config), decoupled, labels)

            problem, note, step = "", "", None
            try:
                problem, step = _attempt(look)
            except EnvironmentNotMadeError as error:
                # What its configuration says alone may be enough for the ensembles that have it as a step.
                note = error.message
                with suppress(EnvironmentNotMadeError):
                    _, step = _attempt(partial(look, self._without_files))
            if step is not None:
                self._steps[name][version] = step
            yield Finding(name, version, problem, note)

    def _put_together(self, prepared: PreparedEnsemble) -> _Step:
        """An ensemble, of what could be loaded for its steps. Raises InvalidArgumentError."""
        name = prepared.source.name
        binding = bound(prepared, step_callees(prepared, lambda step: self._find(name, step)))
        return _Step(name, prepared.signature, binding.decoupled, prepared.labels)

    def _find(self, name: str, step: Step) -> _Step | str | None:
        """What could be loaded for a step of that ensemble; see `step_callees`. Raises InvalidArgumentError."""
        if step.model in self._steps and step.model not in self._findings:
            raise circular(name, step.model)
        findings = self.check(step.model)
        if not self._steps[step.model] and (note := next((each.note for each in findings if each.note), "")):
            raise EnvironmentNotMadeError(f"model '{step.model}': {note}")
        versions = self._steps[step.model]
        wanted = max(versions, default=0) if not step.version else int(step.version)
        if wanted in versions:
            return versions[wanted]
        if versions:
            return required_version(name, step.model, step.version)
        if any(finding.version for finding in findings):
            return no_loaded_version(name, step.model, "; ".join(finding.problem for finding in findings))
        return None


def _attempt(look: Callable[[], T]) -> tuple[str, T | None]:
    """What `look` gives, or why it fails. Raises EnvironmentNotMadeError."""
    try:
        return "", look()
    except EnvironmentNotMadeError:
        raise
    except ServingError as error:
        return error.message, None
    except Exception as error:  # noqa: BLE001 - one model's failure, whatever it is, is its finding
        known = as_serving_error(error)
        return known.message if known is not None else describe(error), None
