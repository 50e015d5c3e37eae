"""How a version that asks for a response cache uses the server's."""

import hashlib
import logging
import os
from collections.abc import Iterator
from importlib.metadata import version as distribution_version
from pathlib import Path

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.caching.cache import Caching, ResponseCache
from kserve_v2.config.switches import COALESCE_REQUESTS, switch
from kserve_v2.repository.reading.layout import is_hidden

logger = logging.getLogger(__name__)


def model_caching(cache: ResponseCache | None, source: ModelSource, config: ModelConfig) -> Caching | None:
    """What a version's complete configuration asks for; None for no cache. Blocks: where servers share the cache, the
    model's files are read.
    """
    if not config.response_cache.enable:
        return None
    if cache is None:
        logger.warning(
            "model '%s': response_cache.enable is set but has no effect: start the server with "
            "--cache-config local,size=BYTES, or with --cache-config redis,host=HOST,port=PORT",
            source.name,
        )
        return None
    identity = f"model '{source.name}' version {source.version}"
    composed = config.HasField("ensemble_scheduling")
    if cache.shared and not composed:
        identity += f" {fingerprint(source, config)}"
    coalesces = switch(config, COALESCE_REQUESTS) is not False
    return Caching(cache, identity, coalesces=coalesces, composed=composed)


def fingerprint(source: ModelSource, config: ModelConfig) -> str:
    """A hash of what a version is: its configuration, its files and the server's version. Two servers with the same
    fingerprint give the same answers, as far as that can be known; of what a handler reads elsewhere it says nothing.
    """
    digest = hashlib.blake2b(distribution_version("kserve-v2").encode(), digest_size=16)
    digest.update(config.SerializeToString(deterministic=True))
    for path in _files(source):
        name = path.relative_to(source.model_path).as_posix().encode("utf-8", "surrogateescape")
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").digest()
        digest.update(hashlib.blake2b(name).digest() + content)
    return digest.hexdigest()


def _files(source: ModelSource) -> Iterator[Path]:
    """The files beside the versions, such as labels, and those of this version; hidden ones are not the model's."""
    yield from sorted(
        path for path in source.model_path.iterdir() if path.is_file() and not is_hidden(path.name)
    )
    for directory, subdirectories, files in os.walk(source.files_path):
        subdirectories[:] = sorted(name for name in subdirectories if not is_hidden(name))
        paths = [Path(directory, name) for name in sorted(files) if not is_hidden(name)]
        yield from (path for path in paths if path.is_file())
