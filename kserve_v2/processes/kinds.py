"""What goes over the link between two processes of one server."""

from enum import IntEnum


class Kind(IntEnum):
    """What a call or a note is about."""

    # The life of a worker: what it has to know, that it is ready, how busy it is, its end.
    SETTINGS = 16
    READY = 17
    FIGURES = 19
    STOP = 20
    # By what it logs has changed.
    LOG_SETTINGS = 21

    # Requests of clients that a worker hands to the home, and those that it had read, whole, before it was told that
    # the server ends. What comes in parts says so with them, see `bodies` and `calls`.
    REST_INFER = 1
    REST_INFER_ACCEPTED = 6
    HTTP = 2
    RPC = 3
    RPC_ACCEPTED = 7
    RPC_STREAM = 4
    # Which RPCs there are.
    RPC_TABLE = 5

    # Copies of models that workers have. The home says what they are to do; a worker reports what they have counted.
    REPLICA_LOAD = 32
    REPLICA_ROUTE = 33
    REPLICA_INSTANCES = 34
    REPLICA_CLOSE = 35
    REPLICA_WITHDRAW = 36
    REPLICA_COUNT = 37
    REPLICA_REPORT = 38
