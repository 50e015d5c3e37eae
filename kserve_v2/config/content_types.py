"""The parameter in which a configuration says what is in the elements of BYTES tensors. Handlers fill it in."""

import json
from collections.abc import Mapping

from kserve_v2._generated.model_config_pb2 import ModelConfig

CONTENT_TYPES = "content_types"
"""A JSON object: `{"inputs": {"image": "image", "question": "text"}, "outputs": {"answer": "json"}}`"""


def input_contents(config: ModelConfig) -> Mapping[str, str]:
    """What is in the inputs, by name, as far as it is said."""
    parameter = config.parameters.get(CONTENT_TYPES)
    try:
        found = json.loads(parameter.string_value if parameter is not None else "{}")["inputs"]
    except (ValueError, TypeError, KeyError):
        # Whatever stands there in the configuration of something that is no handler.
        return {}
    return found if isinstance(found, dict) else {}
