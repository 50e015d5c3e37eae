"""From what the operator says to TorchServe's APIs."""

import ipaddress
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from kserve_v2.errors import InvalidArgumentError
from kserve_v2.inference import InferenceService
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.torchserve_api.config import Given, load_config
from kserve_v2.torchserve_api.fetching import FetchRules
from kserve_v2.torchserve_api.server import Surroundings, TorchServe

__all__ = ["Given", "Surroundings", "fetch_rules", "make_torchserve"]

logger = logging.getLogger(__name__)


def fetch_rules(max_bytes: int, networks: Sequence[str]) -> FetchRules:
    """What may be fetched. `networks`: as texts, which are checked."""
    return FetchRules(max_bytes, tuple(ipaddress.ip_network(each) for each in networks))


def make_torchserve(
    service: InferenceService, locations: Locations, given: Given, around: Surroundings
) -> TorchServe:
    """All of it, which does not listen yet. Raises TorchServeConfigError, InvalidArgumentError."""
    config, warnings = load_config(given, os.environ, Path.cwd())
    for warning in warnings:
        logger.warning(warning)
    if config.model_store is None:
        raise InvalidArgumentError(
            "--torchserve: there is no model store: give --model-store DIR, or model_store in config.properties"
        )
    if not config.model_store.is_dir():
        raise InvalidArgumentError(f"the model store '{config.model_store}' is no directory")
    return TorchServe(service, locations, config, around)
