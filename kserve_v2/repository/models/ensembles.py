"""Ensembles and the models of their steps: loaded together, checked against each other, and checked again whenever a
step's model is replaced, lost or found.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from kserve_v2.config.response_cache import DECOUPLED, no_cache
from kserve_v2.errors import InvalidArgumentError, ServingError
from kserve_v2.messages import InferRequest
from kserve_v2.repository.models.ensemble_model import EnsembleModel, PreparedEnsemble
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.reading.namespaces import name_in
from kserve_v2.scheduling.calling.caller import Callee
from kserve_v2.scheduling.ensemble.binding import Binding
from kserve_v2.scheduling.ensemble.check import (
    check_steps,
    no_loaded_version,
    required_version,
    unknown_models,
)
from kserve_v2.scheduling.ensemble.graph import MixedStreamsError, Step
from kserve_v2.scheduling.shared import Shared

logger = logging.getLogger(__name__)

AnyCallee = TypeVar("AnyCallee", bound=Callee)


class Managed(Protocol):
    """One model of the repository."""

    @property
    def ready(self) -> list[LoadedModel]:
        """Its versions that answer."""
        ...

    @property
    def busy(self) -> bool:
        """Whether it is being loaded because somebody has asked for that."""
        ...

    async def settled(self) -> None:
        """Wait until it is not busy."""
        ...

    def reasons(self, version: int | None = None) -> str:
        """Why it does not answer, behind a colon."""
        ...

    def lose(self, model: LoadedModel, failure: str) -> None:
        """One version lacks something that it is made of. `failure`: what does not fit; "" if it is gone."""
        ...

    def replace(self, model: LoadedModel, successor: LoadedModel) -> None:
        """Serve another generation of a version from now on."""
        ...

    def refresh(self) -> None:
        """Load what is wanted once more: what it is made of is there."""
        ...


class Models(Protocol):
    """All models of the repository."""

    def acquire(self, name: str, version: str = "") -> LoadedModel:
        """The version that answers. Raises ServingError."""
        ...

    def holder(self, callee: Callee, request: InferRequest) -> Callee:
        """The version that holds the sequence of a request, or else the callee itself."""
        ...

    def managed(self, name: str) -> Managed | None:
        """A model that is or was loaded."""
        ...

    async def load_step(self, name: str) -> None:
        """Load a model because an ensemble needs it. Raises ServingError."""
        ...

    async def names(self) -> Collection[str]:
        """What the models are called that there are, loaded or not."""
        ...


class StepsMissingError(InvalidArgumentError):
    """Models of steps do not answer."""


class Ensembles:
    """Lives on the server's event loop."""

    def __init__(self, models: Models, shared: Shared | None = None) -> None:
        """`shared`: what all models have in common; nothing by default."""
        self._models = models
        self._shared = shared
        # What each ensemble is made of that is loaded, is being loaded or has failed.
        self._steps: dict[str, frozenset[str]] = {}

    # --- loading --------------------------------------------------------------------------------------------------

    async def load(self, prepared: PreparedEnsemble, *, revived: bool = False) -> EnsembleModel:
        """Load the models of the steps that do not answer yet, and the ensemble. Raises InvalidArgumentError with all
        that is missing or does not fit. `revived`: it is loaded because its steps were there again, and by nobody's
        wish: one that was unloaded meanwhile stays so.
        """
        name = prepared.source.name
        steps = frozenset(step.model for step in prepared.graph.steps)
        self._check_circle(name, steps)
        self._steps[name] = steps
        if not revived:
            await asyncio.gather(*(self._ensure(step) for step in sorted(steps)))
        unknown = any(self._models.managed(step) is None for step in steps)
        known = await self._models.names() if unknown else ()
        # Nothing gives way to the loop from here on, until the ensemble is among what is served.
        return EnsembleModel(prepared, self._bind(prepared, known), self._models.holder, self._shared)

    def _check_circle(self, name: str, steps: frozenset[str]) -> None:
        todo, seen = [(name, steps)], set[str]()
        while todo:
            each, inner = todo.pop()
            if name in inner:
                raise circular(name, each)
            todo += [(step, self._steps.get(step, frozenset())) for step in inner - seen]
            seen |= inner

    async def _ensure(self, name: str) -> None:
        """Have a step's model loaded if it does not answer. What comes of it is seen when all are put together."""
        managed = self._models.managed(name)
        if managed is not None and managed.busy:
            await managed.settled()
        elif managed is None or not managed.ready:
            try:
                await self._models.load_step(name)
            except ServingError as error:
                logger.debug("a step's model was not loaded: %s", error)

    def _bind(self, prepared: PreparedEnsemble, known: Collection[str] = ()) -> Binding:
        """Put an ensemble and what answers for its steps together. `known`: see `step_callees`. Raises
        InvalidArgumentError.
        """
        name = prepared.source.name
        return bound(prepared, step_callees(prepared, lambda step: self._find(name, step), lambda: known))

    def _find(self, name: str, step: Step) -> LoadedModel | str | None:
        """What answers for a step of that ensemble; see `step_callees`."""
        try:
            # A step keeps to one version: of those that share requests, to the one that gets most.
            return self._models.acquire(step.model, step.version).like
        except ServingError:
            managed = self._models.managed(step.model)
            if managed is None:
                return None
            if managed.ready:
                return required_version(name, step.model, step.version)
            return no_loaded_version(name, step.model, managed.reasons().removeprefix(": "))

    # --- afterwards -----------------------------------------------------------------------------------------------

    def changed(self, name: str) -> None:
        """Something else answers for a model than before, or nothing: check all ensembles again that it is part of."""
        for ensemble, steps in list(self._steps.items()):
            managed = self._models.managed(ensemble)
            if name in steps and managed is not None:
                ready = [model for model in managed.ready if isinstance(model, EnsembleModel)]
                if ready:
                    self._check_again(ensemble, managed, ready)
                elif self._complete(steps):
                    managed.refresh()

    def _check_again(self, name: str, managed: Managed, ready: list[EnsembleModel]) -> None:
        rebound = False
        for model in ready:
            try:
                binding = self._bind(model.prepared)
            except StepsMissingError as error:
                logger.info("ensemble '%s' version %d is not served: %s", name, model.version, error)
                managed.lose(model, "")
            except InvalidArgumentError as error:
                logger.error("ensemble '%s' version %d is not served: %s", name, model.version, error)  # noqa: TRY400
                managed.lose(model, f"Invalid argument: {error.message}")
            else:
                successor = model.rebind(binding)
                if successor is None:
                    rebound = True
                else:
                    managed.replace(model, successor)
        if rebound:
            self.changed(name)

    def _complete(self, steps: frozenset[str]) -> bool:
        managed = [self._models.managed(step) for step in steps]
        return all(each is not None and each.ready for each in managed)

    # --- unloading ------------------------------------------------------------------------------------------------

    def forget(self, name: str) -> frozenset[str]:
        """A model is to be served no longer. Returns the models of its steps, none if it is no ensemble."""
        return self._steps.pop(name, frozenset())

    def with_steps_named(self, name: str) -> list[tuple[str, frozenset[str]]]:
        """The ensembles that have a step whose model has that name, in whatever repository, each with its steps."""
        return [
            (ensemble, steps)
            for ensemble, steps in self._steps.items()
            if any(name_in(step) == name for step in steps)
        ]

    def needed(self, name: str) -> bool:
        """Whether a model is part of an ensemble that answers."""
        return any(name in self._steps[ensemble] for ensemble in self._serving())

    def users(self) -> dict[str, list[str]]:
        """The ensembles that answer and need a model, also through one another, by the name of that: those that need
        others in front of these.
        """
        needs = {ensemble: self._all_steps(ensemble) for ensemble in self._serving()}
        found: dict[str, list[str]] = {}
        # Whoever needs another ensemble needs all that this one does, and it besides.
        for ensemble in sorted(needs, key=lambda each: -len(needs[each])):
            for step in needs[ensemble]:
                found.setdefault(step, []).append(ensemble)
        return found

    def _all_steps(self, ensemble: str) -> set[str]:
        """The models of its steps, and those of ensembles among them."""
        todo, seen = [ensemble], set[str]()
        while todo:
            inner = self._steps.get(todo.pop(), frozenset()) - seen
            seen |= inner
            todo += inner
        return seen

    def _serving(self) -> Iterator[str]:
        for ensemble in self._steps:
            managed = self._models.managed(ensemble)
            if managed is not None and managed.ready:
                yield ensemble


def circular(name: str, last: str) -> InvalidArgumentError:
    """An ensemble is a step of its own. `last`: the one that has it as a step."""
    return InvalidArgumentError(f"circular dependency between ensembles: {name} -> ... -> {last} -> {name}")


def step_callees(
    prepared: PreparedEnsemble,
    find: Callable[[Step], AnyCallee | str | None],
    known: Callable[[], Collection[str]],
) -> list[AnyCallee]:
    """What answers for each step of an ensemble. `find`: what answers for one, or why nothing does; None for a model
    that nobody knows. `known`: the models that there are, one of which was perhaps meant. Raises StepsMissingError,
    which also says what does not fit of those that answer.
    """
    name, graph = prepared.source.name, prepared.graph
    callees: list[AnyCallee] = []
    answered: list[Step] = []
    problems: list[str] = []
    unknown: list[str] = []
    for step in graph.steps:
        found = find(step)
        if found is None:
            unknown.append(step.model)
        elif isinstance(found, str):
            problems.append(found)
        else:
            callees.append(found)
            answered.append(step)
    if unknown:
        problems.append(unknown_models(name, unknown, known()))
    if problems:
        problems += check_steps(replace(graph, steps=tuple(answered)), prepared.signature, callees)
        different = list(dict.fromkeys(problems))
        raise StepsMissingError("; ".join(different), different)
    return callees


def bound(prepared: PreparedEnsemble, callees: Sequence[Callee]) -> Binding:
    """An ensemble and what answers for its steps, put together. Raises InvalidArgumentError with all that does not
    fit.
    """
    name, graph, signature = prepared.source.name, prepared.graph, prepared.signature
    problems = check_steps(graph, signature, callees)
    if not problems:
        inner = [callee if isinstance(callee, EnsembleModel) else None for callee in callees]
        try:
            binding = Binding(graph, signature, callees, inner)
        except MixedStreamsError as error:
            who = f"step of model '{error.step.model}' receives inputs" if error.step else "the outputs are"
            problems = [f"in ensemble {name}, {who} originated from different decoupled models"]
        else:
            if not (binding.decoupled and prepared.config.response_cache.enable):
                return binding
            problems = [no_cache(prepared.config, DECOUPLED).message]
    different = list(dict.fromkeys(problems))
    raise InvalidArgumentError("; ".join(different), different)
