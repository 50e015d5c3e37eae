"""What the operator has said about models in general."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kserve_v2.caching.cache import ResponseCache
from kserve_v2.environments.models import ModelEnvironments
from kserve_v2.repository.locations.locations import Locations
from kserve_v2.repository.models.homes import Spread
from kserve_v2.repository.preparing.unpacked import UnpackedArchives
from kserve_v2.repository.reading.namespaces import (
    Namespaces,
)
from kserve_v2.repository.residency.residency import Budget
from kserve_v2.repository.uploads.store import Uploads


@dataclass(frozen=True, slots=True)
class RepositoryOptions:
    """What holds for all models."""

    # --- where they are

    roots: tuple[Path, ...] = ()
    locations: Locations | None = None
    """What brings models to this machine, into folders beside `roots`."""
    namespaces: Namespaces = field(default_factory=dict)
    """The repositories by name, if they tell models apart."""
    config_name: str = ""
    """Use `configs/<name>.pbtxt` where a model has it."""
    uploads: Uploads | None = None
    """Where files that come with a load are kept; None if such loads are refused."""
    unpacked: UnpackedArchives = field(default_factory=UnpackedArchives)
    """Where archives of models are unpacked."""
    release_directory: Path | None = None
    """Where releases are kept that are changed while the server runs; None for the models' own."""

    # --- who has them loaded, and how many

    explicit: bool = False
    """Whether they are loaded and unloaded on request."""
    polling: bool = False
    """Whether they are loaded and unloaded as the repository changes."""
    on_demand_wait_s: float | None = None
    """How long a request waits for its model, which is loaded for it; None if it is not."""
    memory: Budget = field(default_factory=Budget)
    """What they may use together."""
    drain_limit_s: float = 0
    """How long what is under way in a version that is served no longer may take; 0 for any time."""

    spread: Spread = field(default_factory=Spread)
    """The processes of the server, and which models all of them have."""

    # --- how they are configured

    backend_settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`--backend-config` by backend."""
    auto_complete: bool = True
    """Whether backends may fill in configurations."""
    auto_warm_up: bool = False
    """Whether those without samples of their own execute made-up ones before they are ready."""
    cache: ResponseCache | None = None
    """For the responses of those that ask for one."""

    # --- what they run in

    environments: ModelEnvironments = field(default_factory=ModelEnvironments)
    """Those that they have of their own."""
    needs_environments: bool = True
    """False if nothing is to be run, so that one which is not made is not missed."""
    isolated: frozenset[str] = frozenset()
    """The backends whose models run in processes of their own, unless their configuration says something else."""
    kept: Path | None = None
    """Where they keep what is to outlive the server; None for nowhere."""
    opens_files: bool = True
    """False if they are only looked at, so that no framework is needed where their files can be read without one."""
    gpus: int | None = None
    """How many there are to be; None for those that the backend can use on this machine."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of models that there are now."""
        return self.roots if self.locations is None else (*self.roots, *self.locations.roots)
