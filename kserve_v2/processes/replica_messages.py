"""What is said of replicas over the link, as bytes: versions to be loaded, routes, counts."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kserve_v2.backend import ModelConfig, ModelSource, Placement, ThreadBudget
from kserve_v2.metrics.reports import FamilyReport, SeriesReport
from kserve_v2.plugins import BackendRegistry
from kserve_v2.repository.models.batching import BatchingOrigin, LargeRequests
from kserve_v2.repository.models.executed import ExecutedModel
from kserve_v2.repository.models.homes import ModelHome
from kserve_v2.repository.models.spec import Prepared
from kserve_v2.repository.reading.warm_up_samples import read_samples
from kserve_v2.scheduling.calling.no_other_models import NoOtherModels
from kserve_v2.scheduling.counts import Counts
from kserve_v2.scheduling.warm_up import WarmUp

Payload = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Order:
    """A version to be loaded, as the home has loaded it. `number`: of its copies, never used again. `config`: complete;
    what the trials of batching have shown is in it, and in `large_requests`. `tried_config`: as it was before them;
    samples to warm up with are read by that.
    """

    number: int
    name: str
    version: int
    model_path: str
    version_path: str
    settings: Mapping[str, str]
    threads: Sequence[int]
    placements: Sequence[tuple[str, int]]
    cache_path: str | None
    auto_warm_up: bool
    large_requests: str
    config: str
    tried_config: str

    @classmethod
    def of(cls, number: int, prepared: Prepared, model: ExecutedModel) -> "Order":
        """To load what was loaded here."""
        source = prepared.source
        return cls(
            number,
            source.name,
            source.version,
            str(source.model_path),
            str(source.version_path),
            dict(source.settings),
            (source.threads.intra_op, source.threads.inter_op),
            [(each.name, each.device_id) for each in source.placements],
            None if source.cache_path is None else str(source.cache_path),
            prepared.warm_up.automatic,
            model.large_requests.value,
            config_text(model.config),
            config_text(prepared.config),
        )

    def encode(self) -> bytes:
        """Its bytes. Names of files need not be UTF-8."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: Payload) -> "Order":
        """From its bytes."""
        return cls(**json.loads(bytes(payload)))

    def prepared(self, registry: BackendRegistry) -> Prepared:
        """What is needed to load it. Blocks: samples to warm up with are read. Raises InvalidArgumentError."""
        config = config_of(self.config)
        alone = NoOtherModels(self.name)
        source = ModelSource(
            self.name,
            self.version,
            Path(self.model_path),
            Path(self.version_path),
            self.settings,
            tuple(Placement(name, "CPU", device_id) for name, device_id in self.placements),
            ThreadBudget(*self.threads),
            caller=alone,
            control=alone,
            cache_path=None if self.cache_path is None else Path(self.cache_path),
        )
        samples = read_samples(config_of(self.tried_config), source.model_path)
        return Prepared(
            source,
            config,
            registry.get(config.backend),
            BatchingOrigin.settled(LargeRequests(self.large_requests)),
            warm_up=WarmUp(samples, automatic=self.auto_warm_up),
            home=ModelHome(replicated=True),
        )


def config_text(config: ModelConfig) -> str:
    """A configuration in a text."""
    return b64encode(config.SerializeToString()).decode()


def config_of(text: str) -> ModelConfig:
    """A configuration from its text."""
    return ModelConfig.FromString(b64decode(text))


@dataclass(frozen=True, slots=True)
class Route:
    """What answers requests to a model: copies by version text. `latest`: the version of the one for requests that name
    none; None if the home answers those. `generation`: of all routes; grows.
    """

    name: str
    versions: Mapping[str, int] = field(default_factory=dict)
    latest: int | None = None
    generation: int = 0

    def encode(self) -> bytes:
        """Its bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: Payload) -> "Route":
        """From its bytes."""
        return cls(**json.loads(bytes(payload)))


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What one copy has counted since its last report, and what it does now. `last_ms`: when its last execution has
    ended. See `Elsewhere`.
    """

    number: int
    counts: Counts
    last_ms: int
    depths: Sequence[int]
    places: int
    idle: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Of all copies in a process of which there is anything new. `metrics`: all that its models have made themselves;
    None if that is as before.
    """

    copies: Sequence[CopyReport] = ()
    metrics: Sequence[FamilyReport] | None = None

    def __bool__(self) -> bool:
        """Whether there is anything new."""
        return bool(self.copies) or self.metrics is not None

    def encode(self) -> bytes:
        """Its bytes. A gauge may be infinite, or no number."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, payload: Payload) -> "Report":
        """From its bytes."""
        said: dict[str, Any] = json.loads(bytes(payload))
        metrics = said["metrics"]
        return cls(
            [CopyReport(**each) for each in said["copies"]],
            None if metrics is None else [_family(**each) for each in metrics],
        )


def _family(name: str, kind: str, description: str, series: Sequence[Mapping[str, Any]]) -> FamilyReport:
    return FamilyReport(name, kind, description, [SeriesReport(**each) for each in series])
