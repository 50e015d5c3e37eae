"""What goes over the link between two processes of one server."""

from enum import IntEnum


class Kind(IntEnum):
    """What a call or a note is about."""

    # Requests of clients that a worker hands to the home.
    REST_INFER = 1
    HTTP = 2
    RPC = 3
    RPC_STREAM = 4
    # Which RPCs there are.
    RPC_TABLE = 5
