"""Model configuration: parse, infer the backend, fill defaults, validate, print.

The `ModelConfig` message is the only truth about a model. The order for one version is: `read_config` →
`infer_backend` → `written_problems` → the backend's `complete` → `fill_defaults` → `raise_if_invalid`: no file that
the configuration names is opened while anything that it says is wrong. Only `read_config` and `link_problems`
touch the disk; everything else is a function of its arguments.
"""

from kserve_v2.config.defaults import fill_defaults, infer_backend
from kserve_v2.config.ensemble import is_ensemble
from kserve_v2.config.files import link_problems
from kserve_v2.config.parse import parse_config, parse_config_json, read_config
from kserve_v2.config.printing import config_to_dict
from kserve_v2.config.problems import ConfigError, Problem, config_error
from kserve_v2.config.support import ignored_fields
from kserve_v2.config.validate import raise_if_invalid, validate, written_problems
from kserve_v2.config.versions import select_versions, versions_in_vain

__all__ = [
    "ConfigError",
    "Problem",
    "config_error",
    "config_to_dict",
    "fill_defaults",
    "ignored_fields",
    "infer_backend",
    "is_ensemble",
    "link_problems",
    "parse_config",
    "parse_config_json",
    "raise_if_invalid",
    "read_config",
    "select_versions",
    "validate",
    "versions_in_vain",
    "written_problems",
]
