"""Reaches the server under test, and says what a run is meant to test of it."""

from collections.abc import Iterator
from typing import Any

import httpx

from kserve_v2_conformance.findings import UnreadableAnswer
from kserve_v2_conformance.profile import Profile
from kserve_v2_conformance.profile_check import check_models
from kserve_v2_conformance.requirements import GRPC, matches, requirements
from kserve_v2_conformance.rest import RestClient
from kserve_v2_conformance.rpc import GrpcClient
from kserve_v2_conformance.target import Target
from kserve_v2_conformance.verdicts import part_of, parts


def connect(url: str, address: str | None, profile: Profile, only: list[str]) -> Target:
    """The server, once it has answered over each protocol that is to be tested.

    Raises UnreadableAnswer if it has not, and ProfileError if its models are not what the profile says.
    """
    rest, grpc = RestClient(url), GrpcClient(address) if address else None
    try:
        _reach(rest, grpc)
        target = Target(rest, grpc, profile, _asked_for(only))
        check_models(target)
    except BaseException:
        rest.close()
        if grpc is not None:
            grpc.close()
        raise
    return target


def _reach(rest: RestClient, grpc: GrpcClient | None) -> None:
    try:
        foreign = all(rest.get(path).status == 404 for path in ("/v2/health/live", "/v2/health/ready", "/v2"))
    except (UnreadableAnswer, httpx.InvalidURL) as error:
        raise UnreadableAnswer(f"the server cannot be reached at {rest.url}: {error}") from None
    if foreign:
        raise UnreadableAnswer(
            f"no v2 server is at {rest.url}: /v2/health/live, /v2/health/ready and /v2 are not found; "
            "is it another port or path?"
        )
    if grpc is None:
        return
    if grpc.address.startswith(("https://", "grpcs://")):
        raise UnreadableAnswer(
            f"{grpc.address}: gRPC is tested without TLS; give the HOST:PORT of a port without it"
        )
    if why := grpc.reach():
        raise UnreadableAnswer(f"the server cannot be reached over gRPC at {grpc.address}: {why}")


def _asked_for(only: list[str]) -> frozenset[str]:
    """The extensions that a selection names: they are tested though the server may not advertise them."""
    return frozenset(
        each.extension
        for each in requirements().values()
        if each.extension and any(matches(each.id, one) for one in only)
    )


def describe(target: Target, name: str | None) -> dict[str, Any]:
    """What reports say about the server."""
    return {
        "name": name or str(target.metadata.get("name") or "") or target.rest.url,
        "version": str(target.metadata.get("version") or ""),
        "extensions": list(target.advertised),
        "rest": target.rest.url,
        "grpc": target.grpc.address if target.has_grpc else "",
    }


def unasked(target: Target, only: list[str], level: str) -> dict[str, str]:
    """The parts of the specification that the run is not meant to test, and why."""
    return dict(_unasked(target, only, level))


def _unasked(target: Target, only: list[str], level: str) -> Iterator[tuple[str, str]]:
    for part in parts():
        own = [each for each in requirements().values() if part_of(each) == part]
        extension = own[0].extension
        selected = not only or any(matches(each.id, wanted) for each in own for wanted in only)
        if not selected or (extension and level == "core"):
            yield part, "not selected"
        elif extension and extension in target.profile.without:
            yield part, "left out by the profile"
        elif extension and extension not in target.extensions:
            yield part, "the server does not advertise it"
        elif not target.has_grpc and all(each.protocol == GRPC for each in own):
            yield part, "no gRPC address was given"
