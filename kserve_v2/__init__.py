"""A model server that speaks the KServe v2 / Open Inference Protocol.

What a handler or another program needs of the package itself is here; `kserve_v2.backend` is the contract for
backends.
"""

from kserve_v2.errors import InvalidArgumentError, ServingError

__all__ = ["InvalidArgumentError", "ServingError"]
