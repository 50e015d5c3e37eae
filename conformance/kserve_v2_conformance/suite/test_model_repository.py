"""The model repository extension: index, load, unload."""

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.inference.request import Failure
from kserve_v2_conformance.suite.repository import Repository, require_switched_on
from kserve_v2_conformance.suite.support import (
    UNKNOWN_MODEL,
    both,
    done,
    eventually,
    failure_of,
    refused,
    request_of,
)
from kserve_v2_conformance.target import NotCovered, ServedModel, Target

_BROKEN = "broken"
_READY = "READY"


@both("REPO-001")
def test_index(carrier: str, target: Target, check: Checks) -> None:
    """Every model that is served is listed, ready, with each of its versions."""
    repository = Repository(target, carrier)
    clause, entries = f"{repository.prefix}-REPO-001", repository.index()
    for entry in entries:
        check.has_type(clause, "name", entry.get("name"), str)
        for member in ("version", "state", "reason"):
            check.has_type(clause, f"{member} of {entry.get('name')}", entry.get(member, ""), str)
    for capability in ("identity", "add_sub"):
        model = target.model(capability)
        states = {
            each.get("version"): each.get("state") for each in entries if each.get("name") == model.name
        }
        expected = dict.fromkeys(model.versions, _READY)
        kept = expected.items() <= states.items() and _READY in states.values()
        check.that(clause, f"versions and states of {model.name}", kept, expected, states)


@both("REPO-002")
def test_index_of_ready_models(carrier: str, target: Target, check: Checks) -> None:
    """Only what is ready."""
    repository = Repository(target, carrier)
    clause, entries = f"{repository.prefix}-REPO-002", repository.index(ready=True)
    check.that(clause, "entries", bool(entries), "some", "none")
    for entry in entries:
        check.equal(clause, f"state of {entry.get('name')}", entry.get("state"), _READY)


def _unloaded(repository: Repository) -> ServedModel:
    """The model to load and unload, which is not loaded. Raises NotCovered where loading is switched off."""
    model = repository.subject()
    if repository.ready(model.name):
        require_switched_on(repository.unload(model.name))
        eventually(lambda: not repository.ready(model.name))
    return model


def _loaded(repository: Repository, check: Checks) -> ServedModel:
    """The model to load and unload, which is loaded: a failure breaks REPO-003."""
    model = _unloaded(repository)
    failure = repository.load(model.name)
    require_switched_on(failure)
    done(check, f"{repository.prefix}-REPO-003", "load", failure)
    return model


@both("REPO-003", "REPO-004")
def test_load_and_unload(carrier: str, target: Target, check: Checks) -> None:
    """Load, infer, unload, infer."""
    repository = Repository(target, carrier)
    model = _loaded(repository, check)
    load, unload = f"{repository.prefix}-REPO-003", f"{repository.prefix}-REPO-004"
    check.that(load, "ready", repository.ready(model.name), "true", "false")
    outcome = infer(target, request_of(model, [7]), carrier, check)
    check.that(load, "inference", not isinstance(outcome, Failure), "success", str(outcome))
    done(check, unload, "unload", repository.unload(model.name))
    gone = eventually(lambda: not repository.ready(model.name))
    check.that(unload, "ready", gone, "false", "true")
    gone = eventually(lambda: _READY not in repository.states(model.name))
    check.that(unload, "states in the index", gone, "not READY", repository.states(model.name))
    outcome = infer(target, request_of(model, [7]), carrier, check)
    check.that(unload, "inference", isinstance(outcome, Failure), "an error", str(outcome))


@both("REPO-008")
def test_index_of_what_is_not_loaded(carrier: str, target: Target, check: Checks) -> None:
    """A model that is not loaded yet, and one that is not loaded any more."""
    repository = Repository(target, carrier)
    model, clause = _loaded(repository, check), f"{repository.prefix}-REPO-008"
    repository.unload(model.name)
    eventually(lambda: not repository.ready(model.name))
    states = repository.states(model.name)
    check.that(clause, "entries of what was unloaded", bool(states), "one or more", states)


@both("REPO-012")
def test_load_again(carrier: str, target: Target, check: Checks) -> None:
    """A model that is loaded already."""
    repository = Repository(target, carrier)
    model, clause = _loaded(repository, check), f"{repository.prefix}-REPO-012"
    done(check, clause, "load again", repository.load(model.name))
    check.that(clause, "ready", repository.ready(model.name), "true", "false")
    outcome = infer(target, request_of(model, [7]), carrier, check)
    check.that(clause, "inference", not isinstance(outcome, Failure), "success", str(outcome))
    repository.unload(model.name)


@both("REPO-013")
def test_unload_again(carrier: str, target: Target, check: Checks) -> None:
    """A model that is not loaded."""
    repository = Repository(target, carrier)
    model, clause = _unloaded(repository), f"{repository.prefix}-REPO-013"
    failure = repository.unload(model.name)
    require_switched_on(failure)
    done(check, clause, "unload again", failure)
    check.that(clause, "ready", not repository.ready(model.name), "false", "true")


@both("REPO-014")
def test_readiness_and_index(carrier: str, target: Target, check: Checks) -> None:
    """What both say before a model is loaded, while it is, and after."""
    repository = Repository(target, carrier)
    model = _unloaded(repository)

    def seen() -> tuple[bool, bool]:
        return repository.ready(model.name), _READY in repository.states(model.name)

    before = seen()
    require_switched_on(repository.load(model.name))
    loaded = seen()
    repository.unload(model.name)
    eventually(lambda: not any(seen()))
    got = [list(each) for each in (before, loaded, seen())]
    expected = [[False, False], [True, True], [False, False]]
    check.equal(f"{repository.prefix}-REPO-014", "ready by itself, and by the index", got, expected)


@pytest.mark.clause("REST-REPO-007")
@pytest.mark.parametrize("name", [UNKNOWN_MODEL, _BROKEN])
def test_error_of_load(name: str, target: Target, check: Checks) -> None:
    """A model that the repository does not have, and one whose initialization fails."""
    repository = Repository(target, "json")
    if name == _BROKEN and not repository.states(_BROKEN):
        raise NotCovered("the repository has no model broken")
    answer = target.rest.post(f"/v2/repository/models/{name}/load")
    require_switched_on(failure_of(answer))
    refused(check, "REST-REPO-007", answer)
    repository.unload(name)


@both("REPO-005")
def test_load_unknown_model(carrier: str, target: Target, check: Checks) -> None:
    """A model that the repository does not have."""
    repository = Repository(target, carrier)
    failure = repository.load(UNKNOWN_MODEL)
    require_switched_on(failure)
    check.that(f"{repository.prefix}-REPO-005", "load", failure is not None, "an error", "success")


@both("REPO-006", "READY-003")
def test_load_broken_model(carrier: str, target: Target, check: Checks) -> None:
    """A model whose initialization fails."""
    repository = Repository(target, carrier)
    if not repository.states(_BROKEN):
        raise NotCovered("the repository has no model broken")
    clause = f"{repository.prefix}-REPO-006"
    failure = repository.load(_BROKEN)
    require_switched_on(failure)
    check.that(clause, "load", failure is not None, "an error", "success")
    reasons = [entry.get("reason") for entry in repository.index() if entry.get("name") == _BROKEN]
    check.that(clause, "reason in the index", any(reasons), "a reason", str(reasons))
    if failure is not None:
        ready = repository.server_ready()
        check.that(f"{repository.prefix}-READY-003", "the server", not ready, "not ready", "ready")
    # Until it is unloaded the server is asked for a model that it does not have, and so may be not ready.
    repository.unload(_BROKEN)
