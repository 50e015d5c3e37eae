"""`pb_utils.ModelConfig`: what `auto_complete_config` completes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_QUOTED = {"input": "'name', 'data_type', 'dims' and 'optional'", "output": "'name', 'data_type' and 'dims'"}
_ALLOWED = {
    "input": ("name", "data_type", "dims", "optional"),
    "output": ("name", "data_type", "dims"),
}


class ModelConfig:
    """A configuration; the functions add what is not in it, and refuse what contradicts it."""

    def __init__(self, model_config: str | Mapping[str, Any]) -> None:
        """`model_config`: JSON, or what is read from it."""
        given: Any = json.loads(model_config) if isinstance(model_config, str) else model_config
        self._model_config: dict[str, Any] = given

    def as_dict(self) -> dict[str, Any]:
        """As it is now."""
        return self._model_config

    @property
    def _model(self) -> str:
        return f"auto-complete-config function for model '{self._model_config['name']}'"

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Set the largest batch. Raises ValueError for a smaller one than there is."""
        given = self._model_config.get("max_batch_size", 0)
        if given > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {given}, but in {self._model} specified max_batch_size "
                f"{max_batch_size}"
            )
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Have requests batched. Raises ValueError if there is another scheduler."""
        for other in ("ensemble_scheduling", "sequence_batching"):
            if other in self._model_config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{other}', but {self._model} tries to set "
                    "scheduling_choice as 'dynamic_batching'"
                )
        self._model_config.setdefault("dynamic_batching", {})

    def add_input(self, input: Mapping[str, Any]) -> None:  # noqa: A002 - Triton's name
        """Add an input, or complete one."""
        self._add("input", input)

    def add_output(self, output: Mapping[str, Any]) -> None:
        """Add an output, or complete one."""
        self._add("output", output)

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, Any]) -> None:
        """Say whether the model is decoupled. Raises ValueError if the contrary has been said."""
        if set(transaction_policy_dict) - {"decoupled"}:
            raise ValueError(
                f"model transaction property in {self._model} contains property other than 'decoupled'."
            )
        policy = self._model_config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        wanted = transaction_policy_dict["decoupled"]
        if policy.get("decoupled", wanted) != wanted:
            raise ValueError(
                "trying to change decoupled property in auto-complete-config for model "
                f"'{self._model_config['name']}', which is already set to '{policy['decoupled']}'."
            )
        policy["decoupled"] = wanted

    def _add(self, kind: str, tensor: Mapping[str, Any]) -> None:
        _check_properties(kind, tensor, self._model)
        entries: list[dict[str, Any]] = self._model_config.setdefault(kind, [])
        for entry in entries:
            if entry["name"] == tensor["name"]:
                self._complete(kind, entry, tensor)
                return
        entries.append(dict(tensor))

    def _complete(self, kind: str, entry: dict[str, Any], tensor: Mapping[str, Any]) -> None:
        model, name, given = (
            self._model_config["name"],
            tensor["name"],
            entry.get("data_type", "TYPE_INVALID"),
        )
        if given not in ("TYPE_INVALID", tensor["data_type"]):
            raise ValueError(
                f"unable to load model '{model}', configuration expects datatype {given} for {kind} '{name}', model "
                f"provides {tensor['data_type']}"
            )
        if entry.get("dims") and list(entry["dims"]) != list(tensor["dims"]):
            raise ValueError(
                f"model '{model}', tensor '{name}': the model expects dims {_dims(tensor['dims'])} but the model "
                f"configuration specifies dims {_dims(entry['dims'])}"
            )
        entry["data_type"], entry["dims"] = tensor["data_type"], list(tensor["dims"])
        if "optional" in tensor:
            entry["optional"] = tensor["optional"]


def _check_properties(kind: str, tensor: Mapping[str, Any], where: str) -> None:
    name = tensor.get("name")
    if set(tensor) - set(_ALLOWED[kind]):
        raise ValueError(f"{kind} '{name}' in {where} contains property other than {_QUOTED[kind]}.")
    if not name:
        raise ValueError(f"{kind} in {where} is missing 'name' property.")
    for needed in ("data_type", "dims"):
        if needed not in tensor:
            raise ValueError(f"{kind} '{name}' in {where} is missing '{needed}' property.")


def _dims(dims: Iterable[int]) -> str:
    return str(list(dims))
