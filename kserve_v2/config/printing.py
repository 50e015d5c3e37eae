"""`ModelConfig` as the JSON object that the model configuration endpoint answers."""

from kserve_v2._generated.model_config_pb2 import ModelConfig
from kserve_v2.protobuf_json import Json, message_to_dict


def config_to_dict(config: ModelConfig) -> Json:
    """Return the configuration with protobuf's field names; see `message_to_dict`."""
    return message_to_dict(config)
