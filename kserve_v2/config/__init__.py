"""Model configuration: parse, infer the backend, fill defaults, validate, print.

The `ModelConfig` message is the only truth about a model. The order for one version is: `parse_config` →
`infer_backend` → the backend's `complete` → `fill_defaults` → `raise_if_invalid`. Everything here is a
function of its arguments; nothing reads files.
"""

from kserve_v2.config.defaults import fill_defaults, infer_backend
from kserve_v2.config.parse import parse_config, parse_config_json
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
    "select_versions",
    "validate",
]
