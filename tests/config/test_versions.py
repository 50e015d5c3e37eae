"""The version policy, as a table."""

import pytest

from kserve_v2.config import parse_config, select_versions, versions_in_vain


@pytest.mark.parametrize(
    ("policy", "available", "expected"),
    [
        ("", [1, 2, 10], (10,)),
        ("", [], ()),
        ("version_policy {}", [2, 1], (2,)),
        ("version_policy { latest { num_versions: 2 } }", [10, 2, 1], (2, 10)),
        ("version_policy { latest { num_versions: 5 } }", [1, 2], (1, 2)),
        ("version_policy { latest { num_versions: 0 } }", [1, 2], ()),
        ("version_policy { latest {} }", [1, 2], ()),
        ("version_policy { all {} }", [10, 1, 2], (1, 2, 10)),
        ("version_policy { specific { versions: [1, 7] } }", [1, 2], (1,)),
        ("version_policy { specific { versions: [7, 2, 1, 2] } }", [1, 2, 7], (1, 2, 7)),
        ("version_policy { specific {} }", [1, 2], ()),
    ],
)
def test_select_versions(policy: str, available: list[int], expected: tuple[int, ...]) -> None:
    assert select_versions(parse_config(policy, "c"), available) == expected


@pytest.mark.parametrize(
    ("policy", "released", "expected"),
    [
        ("", (2,), (2, 10)),
        ("", (10,), (10,)),
        ("", (7,), (10,)),
        ("version_policy { latest { num_versions: 2 } }", (1,), (1, 3, 10)),
        ("version_policy { all {} }", (1,), (1, 2, 3, 10)),
        # Who names versions means these, and no others.
        ("version_policy { specific { versions: [3] } }", (1, 2), (3,)),
    ],
)
def test_what_a_release_names_is_served_beside_the_latest(
    policy: str, released: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert select_versions(parse_config(policy, "c"), [1, 2, 3, 10], released) == expected


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ("[1, 2]", ""),
        ("[1, 9]", "version_policy.specific.versions: version 9 is not there, served is 1"),
        ("[9, 8, 1, 9]", "version_policy.specific.versions: version 8, 9 is not there, served is 1"),
    ],
)
def test_versions_that_are_named_in_vain(versions: str, said: str) -> None:
    config = parse_config(f"version_policy {{ specific {{ versions: {versions} }} }}", "c")
    assert versions_in_vain(config, [1, 2], [1]) == said
