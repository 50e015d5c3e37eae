"""Trace and log settings of the deliberately wrong server."""

import json
from typing import Any

from wrongserver.checking import Checking

from kserve_v2_conformance.models.catalogue import ModelSpec

_TRACE_NUMBERS = ("trace_rate", "trace_count", "log_frequency")


class Settings(Checking):
    """`files_can_change`: whether the files of traces and of the log are settings as the others."""

    models: dict[str, ModelSpec]
    trace: dict[str, Any]
    model_trace: dict[str, dict[str, Any]]
    log: dict[str, Any]
    files_can_change: bool

    def trace_setting(self, model: str, changes: dict[str, Any]) -> dict[str, Any]:
        if model and model not in self.models:
            self.refuse("trace-unknown-model", f"unknown model '{model}'")
        if "trace_file" in changes and not self.files_can_change:
            self.refuse("trace-file", "the file cannot be changed", "UNIMPLEMENTED")
        for name, value in changes.items():
            if name in _TRACE_NUMBERS and value is not None and not str(value).lstrip("-").isdecimal():
                self.refuse("trace-rate", f"unable to parse '{name}', got: {value}")
        own = (
            self.model_trace.setdefault(model, {})
            if model and "trace-scope-ignored" not in self.defects
            else self.trace
        )
        if "trace-change-ignored" not in self.defects:
            for name, value in changes.items():
                if "trace-numbers-kept" in self.defects and name != "trace_rate":
                    continue
                if value is None:
                    own.pop(name, None) if model else None
                else:
                    own[name] = value
        settings = {**self.trace, **(own if model else {})}
        if "trace-files-lost" in self.defects:
            settings = {
                name: each for name, each in settings.items() if name not in ("trace_file", "log_frequency")
            }
        return settings

    def log_setting(self, changes: dict[str, Any]) -> dict[str, Any]:
        for name, value in changes.items():
            kind = type(self.log.get(name, ""))
            if name == "log_file" and not self.files_can_change:
                self.refuse("log-file", "the file cannot be changed", "UNIMPLEMENTED")
            if type(value) is not kind or (name == "log_format" and value not in ("default", "ISO8601")):
                self.refuse("log-setting", f"invalid value for '{name}': {json.dumps(value)}")
            if name == "log_verbose_level" and value < 0:
                self.refuse("negative-level", f"'{name}' has to be 0 or more")
        if "log-switches-kept" in self.defects:
            changes = {name: each for name, each in changes.items() if name == "log_verbose_level"}
        if "log-change-ignored" not in self.defects:
            self.log.update(changes)
        return dict(self.log)
