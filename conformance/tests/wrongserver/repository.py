"""The models of the deliberately wrong server: what is said about them, and how they come and go."""

import json
from dataclasses import replace
from typing import Any

from wrongserver.bookkeeping import Counters
from wrongserver.checking import Checking
from wrongserver.requests import Pretended, Refused

from kserve_v2_conformance.models.catalogue import BY_NAME, CATALOGUE, Behaviour, ModelSpec


class Repository(Checking):
    """`models`: those that are loaded; `reasons`: why others are not; `failed`: those that could not be.

    `withheld`: models of the catalogue that the repository does not have. `configurations`: those that were sent.
    """

    models: dict[str, ModelSpec]
    reasons: dict[str, str]
    failed: set[str]
    withheld: set[str]
    configurations: dict[str, dict[str, Any]]
    counters: dict[tuple[str, str], Counters]
    backend: str

    def find(self, name: str, version: str, purpose: str) -> tuple[ModelSpec, str]:
        """A model and the version that answers. `purpose`: names the check."""
        if "case-of-models-ignored" in self.defects:
            name = name.lower()
        model = self.models.get(name)
        if model is None:
            self.refuse(f"{purpose}-unknown-model", f"unknown model '{name}'", "NOT_FOUND")
        assert model is not None
        versions = [str(each) for each in model.versions]
        if version and version not in versions:
            self.refuse(f"{purpose}-unknown-version", f"model '{name}' has no version {version}", "NOT_FOUND")
        return model, version if version in versions else versions[-1]

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        model, _ = self.find(name, version, "metadata")
        batch = [-1] if model.max_batch_size else []

        def tensors(specs: Any) -> list[dict[str, Any]]:
            return [{"name": s.name, "datatype": s.datatype, "shape": [*batch, *s.dims]} for s in specs]

        return {
            "name": name,
            "versions": [version] if version else [str(each) for each in model.versions],
            "platform": "numpy_python",
            "inputs": tensors(model.inputs),
            "outputs": tensors(model.outputs),
        }

    def configuration(self, name: str, version: str) -> dict[str, Any]:
        model, _ = self.find(name, version, "config")
        if name in self.configurations:
            return self.configurations[name]

        def tensors(specs: Any) -> list[dict[str, Any]]:
            kinds = {"BYTES": "STRING"}
            return [
                {
                    "name": s.name,
                    "data_type": f"TYPE_{kinds.get(s.datatype, s.datatype)}",
                    "dims": list(s.dims),
                }
                for s in specs
            ]

        return {
            "name": name,
            "backend": self.backend,
            "max_batch_size": model.max_batch_size,
            "input": tensors(model.inputs),
            "output": tensors(model.outputs),
        }

    def statistics(self, name: str, version: str) -> list[dict[str, Any]]:
        """Of a version, of all versions of a model, or of all models."""
        models = [self.find(name, version, "stats")[0]] if name else list(self.models.values())
        if "statistics-of-all-versions" in self.defects:
            version = ""
        versions = {
            each.name: [version] if version else [str(number) for number in each.versions] for each in models
        }
        if "statistics-of-the-latest" in self.defects:
            versions = {each: numbers[-1:] for each, numbers in versions.items()}
        return [
            self.counters[each, number].document(each, number)
            for each, numbers in versions.items()
            for number in numbers
        ]

    def ready(self, name: str, version: str) -> bool:
        try:
            self.find(name, version, "ready")
        except Refused:
            return False
        except Pretended:
            return True
        return True

    def server_ready(self) -> bool:
        """Whether every model that was to be loaded is."""
        return "ready-though-broken" in self.defects or not self.failed

    def index(self, only_ready: bool) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for spec in CATALOGUE:
            if spec.name in self.withheld:
                continue
            model, reason = self.models.get(spec.name), self.reasons.get(spec.name)
            if model is not None:
                hidden = "index-never-ready" in self.defects and not spec.loaded_at_start
                state = "UNAVAILABLE" if hidden else "READY"
                entries += [{"name": model.name, "version": str(v), "state": state} for v in model.versions]
            elif "index-of-what-is-loaded" in self.defects:
                continue
            elif reason is not None:
                state = "READY" if "index-stale" in self.defects else "UNAVAILABLE"
                entries.append({"name": spec.name, "version": "1", "state": state, "reason": reason})
            else:
                entries.append({"name": spec.name})
        if only_ready and "index-ready-ignored" not in self.defects:
            entries = [each for each in entries if each.get("state") == "READY"]
        return entries

    def load(self, name: str, parameters: dict[str, Any]) -> None:
        """`parameters`: a configuration and files instead of the repository's."""
        model = BY_NAME.get(name) if name not in self.withheld else None
        if model is None:
            self.refuse("load-unknown-model", f"failed to load '{name}'", "NOT_FOUND")
        if model is None or "load-ignored" in self.defects:
            return
        if model.behaviour is Behaviour.BROKEN:
            self.reasons[name] = "told not to load"
            self.failed.add(name)
            self.refuse("load-broken-model", "load failed: told not to load")
        if name in self.models and not parameters and "second-load-refused" in self.defects:
            raise Refused(f"'{name}' is loaded already")
        sent = [key for key in parameters if key.startswith("file:")]
        if sent and "config" not in parameters:
            self.refuse("files-without-config", "files need a configuration")
        if sent and "files-ignored" not in self.defects:
            # What the suite sends adds 100 times its version.
            version = int(sent[0].removeprefix("file:").partition("/")[0])
            model = replace(model, behaviour=Behaviour.ADD_VERSION, versions=(version,))
            self.counters[name, str(version)] = Counters(self.defects)
        self.configurations.pop(name, None)
        if "config" in parameters and "config-ignored" not in self.defects:
            self.configurations[name] = json.loads(parameters["config"])
        self.models[name] = model

    def unload(self, name: str) -> None:
        if name not in self.models and "second-unload-refused" in self.defects:
            raise Refused(f"'{name}' is not loaded")
        if "unload-ignored" not in self.defects:
            self.models.pop(name, None)
            self.reasons[name] = "unloaded"
            self.failed.discard(name)
