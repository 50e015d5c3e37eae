"""A loaded version of an ensemble. It has no instances: its steps are other loaded versions."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kserve_v2.backend import ModelConfig, ModelSource
from kserve_v2.caching.cache import Caching, ResponseCache
from kserve_v2.config import fill_defaults, raise_if_invalid
from kserve_v2.config.loaded_fields import adopt
from kserve_v2.messages import InferRequest
from kserve_v2.repository.models.caching import model_caching
from kserve_v2.repository.models.loaded import LoadedModel
from kserve_v2.repository.reading.class_labels import read_labels
from kserve_v2.scheduling.cached import CachedTarget
from kserve_v2.scheduling.calling.caller import Callee
from kserve_v2.scheduling.ensemble.binding import Binding
from kserve_v2.scheduling.ensemble.from_config import graph_of
from kserve_v2.scheduling.ensemble.graph import Graph
from kserve_v2.scheduling.ensemble.target import EnsembleTarget
from kserve_v2.scheduling.merging.rows import RowMerger
from kserve_v2.scheduling.shared import Shared
from kserve_v2.scheduling.signature import ModelSignature
from kserve_v2.scheduling.spec import ModelSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedEnsemble:
    """An ensemble whose configuration is valid by itself. `labels`: of its own files."""

    source: ModelSource
    config: ModelConfig
    graph: Graph
    signature: ModelSignature
    labels: Mapping[str, tuple[str, ...]]
    caching: Caching | None = None


def prepare_ensemble(
    config: ModelConfig, model_path: Path, version_path: Path, cache: ResponseCache | None
) -> PreparedEnsemble:
    """Complete and validate an ensemble's configuration; the models of its steps are another matter. `cache`: the
    server's. Blocks on the file system. Raises InvalidArgumentError with all problems at once.
    """
    for step in config.ensemble_scheduling.step:
        # Not written, it is 0, which no version is.
        step.model_version = step.model_version or -1
    fill_defaults(config, gpu_count=0)
    raise_if_invalid(config, gpu_count=0, directory_name=model_path.name)
    labels = read_labels(config, model_path)
    source = ModelSource(config.name, int(version_path.name), model_path, version_path)
    caching = model_caching(cache, source, config)
    return PreparedEnsemble(source, config, graph_of(config), ModelSignature(config), labels, caching)


class EnsembleModel(LoadedModel):
    """One loaded version of an ensemble. Lives on the server's event loop."""

    def __init__(
        self,
        prepared: PreparedEnsemble,
        binding: Binding,
        holder: Callable[[Callee, InferRequest], Callee],
        shared: Shared | None = None,
    ) -> None:
        """`holder`: gives the version of a step's model that holds the sequence of a request, or what it is given.
        `shared`: what it has in common with the server's other models; nothing by default.
        """
        source, config = prepared.source, ModelConfig()
        config.CopyFrom(prepared.config)
        # One of its own: what is remembered of requests goes by it.
        signature = ModelSignature(config)
        if config.model_transaction_policy.decoupled and not binding.decoupled:
            logger.warning(
                "model '%s': model_transaction_policy.decoupled is set but has no effect: none of its steps' models is "
                "decoupled",
                source.name,
            )
        config.ClearField("model_transaction_policy")
        if binding.decoupled:
            config.model_transaction_policy.decoupled = True
        self.prepared = prepared
        self._holder = holder
        self._shared = shared or Shared()
        spec = ModelSpec(
            signature,
            str(source.version),
            (),
            RowMerger(signature),
            decoupled=binding.decoupled,
            inflight=self._shared.inflight,
            changes=self._shared.changes,
        )
        self._ensemble = EnsembleTarget(
            spec, binding, config.ensemble_scheduling.max_inflight_requests, holder
        )
        self._cached: CachedTarget | None = None
        if prepared.caching is not None:
            self._cached = CachedTarget(self._ensemble, spec, prepared.caching)
            self._cached.renew(binding)
        target = self._cached or self._ensemble
        super().__init__(source, config, target, spec.statistics, self._labels(binding), signature)

    @property
    def binding(self) -> Binding:
        """What its steps are now."""
        return self._ensemble.binding

    @property
    def live(self) -> int:
        """Those of the models of its steps, for some may have come through it. Once it is about to go, only those that
        go with it.
        """
        return sum(step.live for step in self._steps if step.leaving or not self.leaving)

    @property
    def spare(self) -> bool:
        """Its steps are all that it needs."""
        return all(step.spare for step in self._steps)

    async def sequences_over(self) -> None:
        """Wait until no model of a step that is about to go has one."""
        for step in self._steps:
            if step.leaving:
                await step.sequences_over()

    async def drain(self) -> None:
        """Wait until nothing is under way. Sequences of models that go with it may have to end through it, and need the
        models of the other steps.
        """
        leases = [model.lease() for model in self.binding.all_callees if not _has_sequences(model)]
        try:
            await self.sequences_over()
        finally:
            for lease in leases:
                lease.release()
        await super().drain()

    def adopt(self, written: ModelConfig) -> None:
        """What is made anew, because other steps answer, shows the same."""
        super().adopt(written)
        self.prepared = replace(self.prepared, config=adopt(self.prepared.config, written))

    @property
    def _steps(self) -> list[LoadedModel]:
        return [callee for callee in self.binding.callees if isinstance(callee, LoadedModel)]

    def rebind(self, binding: Binding) -> "EnsembleModel | None":
        """From now on requests are answered by these steps; those under way keep theirs. Where clients have to ask in
        another way from now on, that is another generation of the ensemble, which is returned.
        """
        if binding.decoupled is not self.decoupled:
            return EnsembleModel(self.prepared, binding, self._holder, self._shared)
        self._ensemble.binding = binding
        if self._cached is not None:
            self._cached.renew(binding)
        self.labels = self._labels(binding)
        return None

    def _labels(self, binding: Binding) -> dict[str, tuple[str, ...]]:
        """Those of the models that make the outputs, unless the ensemble has files of its own."""
        labels: dict[str, tuple[str, ...]] = {}
        graph = self.prepared.graph
        for step, callee in zip(graph.steps, binding.callees, strict=True):
            for output, tensor in step.outputs.items():
                if tensor in graph.outputs and output in callee.labels:
                    labels[tensor] = callee.labels[output]
        return labels | dict(self.prepared.labels)


def _has_sequences(callee: Callee) -> bool:
    """Whether it lets its own sequences finish before it goes: a lease would keep it from refusing new ones."""
    return isinstance(callee, LoadedModel) and callee.sequences is not None
