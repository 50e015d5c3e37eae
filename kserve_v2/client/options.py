"""Arguments that both kinds of client take."""

import math
from enum import Enum
from typing import Final

from kserve_v2.client.address import Address
from kserve_v2.client.grpc_protocol import GrpcProtocol
from kserve_v2.client.protocol import ServerProtocol
from kserve_v2.client.rest_protocol import RestProtocol
from kserve_v2.errors import InvalidArgumentError


class Default(Enum):
    """That an argument is not given."""

    TIMEOUT = "the client's"


DEFAULT: Final = Default.TIMEOUT

Timeout = float | None | Default
"""Seconds, None for no limit, or what the client has been made with."""

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_RETRIES = 3


def seconds(timeout: Timeout, default: float | None) -> float | None:
    """Of an argument. Raises InvalidArgumentError."""
    value = default if timeout is DEFAULT else timeout
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise InvalidArgumentError(f"timeout: expected seconds above 0, or None for no limit, got {value!r}")
    return None if value == math.inf else value


def protocol_of(address: Address) -> ServerProtocol:
    """What the server at an address is asked in."""
    return GrpcProtocol() if address.grpc else RestProtocol()
