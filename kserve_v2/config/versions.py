"""The version policy: which of the versions on disk are served."""

from collections.abc import Sequence

from kserve_v2._generated.model_config_pb2 import ModelConfig


def select_versions(
    config: ModelConfig, available: Sequence[int], released: Sequence[int] = ()
) -> tuple[int, ...]:
    """Return the versions to serve, ascending: the latest n (1 if the policy is unset), all, or those named.

    `released`: those that a release names, which are served beside the latest ones, but not where the policy names
    versions itself. A named version that is not available is left out. The result may be empty, which is for the
    caller to refuse.
    """
    versions = sorted(set(available))
    match config.version_policy.WhichOneof("policy_choice"):
        case "all":
            return tuple(versions)
        case "specific":
            named = set(config.version_policy.specific.versions)
            return tuple(version for version in versions if version in named)
        case "latest":
            count = config.version_policy.latest.num_versions
            latest = versions[len(versions) - min(count, len(versions)) :]
        case _:
            latest = versions[-1:]
    return tuple(version for version in versions if version in latest or version in released)


def versions_in_vain(config: ModelConfig, available: Sequence[int], served: Sequence[int]) -> str:
    """What to say of versions that the policy names and that are not available; "" where there are none."""
    named = config.version_policy.specific.versions
    missing = sorted({version for version in named if version > 0} - set(available))
    if not missing:
        return ""
    shown, instead = ", ".join(map(str, missing)), ", ".join(map(str, served))
    return f"version_policy.specific.versions: version {shown} is not there, served is {instead}"
