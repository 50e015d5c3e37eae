"""The graph of an ensemble, from its configuration."""

from kserve_v2.backend import ModelConfig
from kserve_v2.scheduling.ensemble.graph import Graph, Step


def graph_of(config: ModelConfig) -> Graph:
    """The graph that a valid configuration with `ensemble_scheduling` describes."""
    return Graph(
        tuple(tensor.name for tensor in config.input),
        tuple(tensor.name for tensor in config.output),
        tuple(
            Step(
                step.model_name,
                str(step.model_version) if step.model_version > 0 else "",
                dict(sorted(step.input_map.items())),
                dict(sorted(step.output_map.items())),
            )
            for step in config.ensemble_scheduling.step
        ),
    )
