"""Which processes of a server have a model: all of them, or the first one alone. The decision, with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass

from kserve_v2.backend import ModelConfig
from kserve_v2.config import config_error
from kserve_v2.config.home import (
    HOME,
    REPLICATED,
    SINGLE,
    asked_home,
    bound_to_one_process,
    cannot_be_replicated,
)
from kserve_v2.repository.residency.measuring import shown

_KEEPS_SOMETHING = (
    f"it may keep something of one request for another, unless the parameter '{HOME}' says '{REPLICATED}'"
)


@dataclass(frozen=True, slots=True)
class Spread:
    """`processes`: how many the server has. `up_to_bytes`: the files of a version that is replicated unasked."""

    processes: int = 1
    up_to_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Traits:
    """What the decision goes by, beside the configuration. `isolated`: it runs in processes of its own. `cached`: its
    answers are kept. `keeps_nothing`: what its backend says of that; None for nothing. `files_bytes`: how large the
    version is.
    """

    isolated: bool = False
    cached: bool = False
    keeps_nothing: bool | None = None
    files_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelHome:
    """Where a version is. `why`: it is not replicated; "" if it is, or if there is one process."""

    replicated: bool = False
    why: str = ""

    def __str__(self) -> str:
        """For people; "" if there is one process."""
        if self.replicated:
            return "in every process"
        return f"in one process: {self.why}" if self.why else ""


ONE_PROCESS = ModelHome()
"""That of every model, where the server has no other processes."""


def decide_home(config: ModelConfig, traits: Traits, spread: Spread) -> ModelHome:
    """Where a version is to be. `config`: complete and valid. Raises ConfigError if it is to be replicated, and cannot
    be.
    """
    asked = asked_home(config)
    obstacles = list(_obstacles(config, traits))
    if asked == REPLICATED and obstacles:
        raise config_error(map(cannot_be_replicated, obstacles))
    if spread.processes == 1:
        return ONE_PROCESS
    if asked == REPLICATED:
        return ModelHome(replicated=True)
    why = f"its configuration says '{SINGLE}'" if asked == SINGLE else ""
    why = why or next(iter(obstacles), "") or next(_doubts(traits, spread), "")
    return ModelHome(replicated=not why, why=why)


def home_once_loaded(home: ModelHome, config: ModelConfig, keeps_nothing: bool | None) -> ModelHome:
    """Where a version is to be that is loaded. `keeps_nothing`: what the model says itself."""
    if keeps_nothing is False and home.replicated and asked_home(config) != REPLICATED:
        return ModelHome(why=_KEEPS_SOMETHING)
    return home


def _obstacles(config: ModelConfig, traits: Traits) -> Iterator[str]:
    """Yield why it cannot be replicated."""
    yield from bound_to_one_process(config)
    if traits.isolated:
        yield "it runs in processes of its own"
    if traits.cached:
        yield "its answers are kept in the response cache"


def _doubts(traits: Traits, spread: Spread) -> Iterator[str]:
    """Yield why it is not replicated unasked."""
    if not traits.keeps_nothing:
        yield _KEEPS_SOMETHING
    if traits.files_bytes > spread.up_to_bytes:
        yield f"its files are {shown(traits.files_bytes)}, more than {shown(spread.up_to_bytes)}"
