"""Model configuration: parse, infer the backend, fill defaults, validate, print.

The `ModelConfig` message is the only truth about a model. The order for one version is: `read_config` →
`infer_backend` → the backend's `complete` → `fill_defaults` → `raise_if_invalid`. Only `read_config` touches
the disk; everything else is a function of its arguments.
"""

from kserve_v2.config.defaults import fill_defaults, infer_backend
from kserve_v2.config.parse import parse_config, parse_config_json, read_config
from kserve_v2.config.printing import config_to_dict
from kserve_v2.config.problems import ConfigError, Problem
from kserve_v2.config.support import ignored_fields
from kserve_v2.config.validate import raise_if_invalid, validate
from kserve_v2.config.versions import select_versions

__all__ = [
    "ConfigError",
    "Problem",
    "config_to_dict",
    "fill_defaults",
    "ignored_fields",
    "infer_backend",
    "parse_config",
    "parse_config_json",
    "raise_if_invalid",
    "read_config",
    "select_versions",
    "validate",
]
