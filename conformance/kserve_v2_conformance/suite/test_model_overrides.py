"""The model repository extension: models that are loaded by what the request says."""

import json
from importlib.resources import files
from typing import Any

import pytest

from kserve_v2_conformance.findings import Checks
from kserve_v2_conformance.inference.carriers import infer
from kserve_v2_conformance.suite.repository import Repository, require_switched_on
from kserve_v2_conformance.suite.support import both, done, request_of, values_of
from kserve_v2_conformance.target import NotCovered, ServedModel, Target

# Of the files that are sent; no model of the catalogue has it.
_VERSION = "7"


def _configuration(repository: Repository, model: ServedModel) -> dict[str, Any]:
    """The model's configuration, by the server that has loaded it. Raises NotCovered where it does not load."""
    failure = repository.load(model.name)
    require_switched_on(failure)
    return _asked_for(repository, model)


def _asked_for(repository: Repository, model: ServedModel) -> dict[str, Any]:
    return repository.target.rest.get(f"{model.path}/config").object()


@pytest.mark.needs("model_configuration")
@both("REPO-009")
def test_configuration(carrier: str, target: Target, check: Checks) -> None:
    """The model's own configuration, with one more parameter."""
    repository = Repository(target, carrier)
    clause, model = f"{repository.prefix}-REPO-009", repository.subject()
    configuration = _configuration(repository, model)
    added = {"conformance": {"string_value": "as sent"}}
    configuration["parameters"] = {**configuration.get("parameters", {}), **added}
    done(check, clause, "load", repository.load(model.name, {"config": json.dumps(configuration)}))
    parameters = _asked_for(repository, model).get("parameters") or {}
    check.equal(clause, "the added parameter", parameters.get("conformance"), added["conformance"])
    got = values_of(infer(target, request_of(model, [7]), carrier, check), "OUTPUT0")
    check.equal(clause, "the answer", got, [7])
    repository.unload(model.name)


@both("REPO-010")
def test_files_without_configuration(carrier: str, target: Target, check: Checks) -> None:
    """A file, and nothing that says how to use it."""
    repository = Repository(target, carrier)
    model = repository.subject()
    failure = repository.load(model.name, {f"file:{_VERSION}/model.py": b"pass"})
    require_switched_on(failure)
    check.that(f"{repository.prefix}-REPO-010", "load", failure is not None, "an error", "success")
    repository.unload(model.name)


@pytest.mark.needs("model_configuration")
@both("REPO-011")
def test_files(carrier: str, target: Target, check: Checks) -> None:
    """A version that the repository does not have, of Python code."""
    repository = Repository(target, carrier)
    clause, model = f"{repository.prefix}-REPO-011", repository.subject()
    configuration = _configuration(repository, model)
    if configuration.get("backend") != "python":
        raise NotCovered(f"the backend of {model.name} is not the one of Python files")
    template = files("kserve_v2_conformance.models.templates").joinpath("override.py")
    sent: dict[str, str | bytes] = {
        "config": json.dumps(configuration),
        f"file:{_VERSION}/model.py": template.read_bytes(),
    }
    failure = repository.load(model.name, sent)
    require_switched_on(failure)
    done(check, clause, "load", failure)
    check.equal(clause, "versions", target.rest.get(model.path).object().get("versions"), [_VERSION])
    got = values_of(infer(target, request_of(model, [7]), carrier, check), "OUTPUT0")
    check.equal(clause, "the answer", got, [7 + 100 * int(_VERSION)])
    repository.unload(model.name)
