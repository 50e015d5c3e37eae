"""A conformance suite for servers of the KServe v2 / Open Inference Protocol."""

__version__ = "0.1.0"
