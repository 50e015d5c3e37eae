"""`kserve-v2 release`: shows and changes the release of a model, as a client of a server that runs."""

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kserve_v2.commands.client_options import add_server, asking
from kserve_v2.commands.command import Command, CommandError, UsageError

_DESCRIPTION = """\
Say which versions of a model answer requests that name a label, or no version: of a server that runs with
--model-control-mode explicit, poll or on-demand. Without a change, what holds is shown. A change is in force
when the command returns, is kept across restarts in release.json beside the model's versions (or in the
server's --release-directory), and is written to the server's log.
"""

_EXAMPLES = """\
examples:
  Register version 3 beside version 2: copy it to its place, and have it loaded. By default only the highest version
  is loaded: what one can go back to needs a version_policy, as in config.pbtxt
    version_policy { latest { num_versions: 2 } }
    cp -r new models/digits/3 && kserve-v2 load digits
  Release it, as what PROD stands for (/v2/models/digits/versions/PROD/infer), and as the only one for requests
  that name no version; and roll back:
    kserve-v2 release digits --label PROD --version 3 --split 3=100
    kserve-v2 release digits --label PROD --version 2 --split 2=100
  Give a tenth of the requests that name no version to version 3, always the same users:
    kserve-v2 release digits --split 2=90,3=10 --sticky-header x-user-id
  Have version 3 answer copies of requests, also of those to PROD, and count how its answers differ (see /metrics):
    kserve-v2 release digits --shadow 3 --shadow-label PROD
  Go back to the highest version for all requests that name none:
    kserve-v2 release digits --clear split --clear shadow
"""

_PARTS = ("split", "shadow", "labels", "all")

Json = dict[str, Any]


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name")
    change = parser.add_argument_group("what to change")
    change.add_argument("--label", metavar="NAME", help="have a label stand for the version of --version")
    change.add_argument("--version", metavar="N", help="the version of --label")
    change.add_argument(
        "--split",
        metavar="N=P,...",
        help="share requests that name no version: per cent by version, as in 2=90,3=10",
    )
    change.add_argument(
        "--sticky-header",
        metavar="NAME",
        help="with --split: requests with the same value of this header go together",
    )
    change.add_argument("--sticky-parameter", metavar="NAME", help="the same by a parameter of requests")
    change.add_argument(
        "--shadow",
        metavar="N",
        help="have a version answer copies of requests that name no version, and compare",
    )
    change.add_argument(
        "--shadow-label", metavar="NAME", action="append", default=[],
        help="with --shadow: copies also of requests to this label; may be repeated",
    )  # fmt: skip
    change.add_argument("--shadow-percent", metavar="P", help="with --shadow: how many of them (default 100)")
    change.add_argument(
        "--shadow-tolerance",
        metavar="X",
        help="with --shadow: by how much numbers may differ that count as equal (default 1e-6), beside 1e-5 of "
        "the greater one",
    )
    change.add_argument(
        "--clear", metavar="WHAT", action="append", default=[],
        help="take away: split, shadow, labels, all, or label:NAME; may be repeated",
    )  # fmt: skip
    change.add_argument("--show", action="store_true", help="only show what holds")
    add_server(parser, rest_only=True)


def _run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    document = change_of(arguments)
    if arguments.show and document:
        raise UsageError("--show changes nothing: give it alone, or leave it out")
    with asking(arguments, environ, rest_only=True) as client:
        from kserve_v2.client import NoServerError  # noqa: PLC0415 - large

        try:
            print(shown(client.release(arguments.model, document or None)))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise CommandError(
                f"what answers at {client.url} is no kserve-v2 server: its answer is no release"
            ) from None
        except NoServerError as error:
            what = "JSON" if "no JSON" in error.message else "release"
            raise CommandError(
                f"what answers at {client.url} is no kserve-v2 server: its answer is no {what}"
            ) from None
    return 0


def change_of(arguments: argparse.Namespace) -> Json:
    """The change that a command line asks for, as the server takes it. Raises UsageError."""
    _raise_if_contradictory(arguments)
    document = _cleared(arguments.clear)
    if (arguments.label is None) != (arguments.version is None):
        missing = "--version" if arguments.version is None else "--label"
        raise UsageError(f"--label and --version belong together: {missing} is missing")
    if arguments.label is not None:
        set_to = {arguments.label: _version(arguments.version, "--version")}
        document["labels"] = document.get("labels", {}) | set_to
    sticky = [
        {kind: name}
        for kind, name in (("header", arguments.sticky_header), ("parameter", arguments.sticky_parameter))
        if name is not None
    ]
    if len(sticky) > 1 or (sticky and arguments.split is None):
        raise UsageError("--sticky-header or --sticky-parameter goes with --split, one of them at most")
    if arguments.split is not None:
        document["split"] = {"shares": _shares(arguments.split)} | ({"sticky": sticky[0]} if sticky else {})
    document |= _shadow(arguments)
    return document


def _raise_if_contradictory(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what is to be set and taken away. With a split or a shadow, `--clear all` takes away what
    else there is.
    """
    label = arguments.label
    for flag, given, clears in (
        (f"--label {label}", label, (f"label:{label}", "labels", "all")),
        ("--split", arguments.split, ("split",)),
        ("--shadow", arguments.shadow, ("shadow",)),
    ):
        if given is not None and (both := [what for what in clears if what in arguments.clear]):
            raise UsageError(f"{flag} and --clear {both[0]} contradict each other: leave one of them out")


def _shadow(arguments: argparse.Namespace) -> Json:
    given = {
        "--shadow-percent": arguments.shadow_percent is not None,
        "--shadow-label": bool(arguments.shadow_label),
        "--shadow-tolerance": arguments.shadow_tolerance is not None,
    }
    if arguments.shadow is None:
        if flags := [flag for flag, there in given.items() if there]:
            raise UsageError(f"{flags[0]} goes with --shadow")
        return {}
    shadow: Json = {"version": _version(arguments.shadow, "--shadow")}
    if given["--shadow-percent"]:
        shadow["percent"] = _number(arguments.shadow_percent, "--shadow-percent")
    if given["--shadow-label"]:
        shadow["labels"] = arguments.shadow_label
    if given["--shadow-tolerance"]:
        shadow["tolerance"] = {"absolute": _difference(arguments.shadow_tolerance, "--shadow-tolerance")}
    return {"shadow": shadow}


def _cleared(whats: Sequence[str]) -> Json:
    document: Json = {}
    for what in whats:
        if what.startswith("label:"):
            labels = document.setdefault("labels", {})
            if labels is not None:
                # Otherwise it goes with all of them.
                labels[what.removeprefix("label:")] = None
        elif what not in _PARTS:
            raise UsageError(f"--clear: expected {', '.join(_PARTS)} or label:NAME, got {what!r}")
        else:
            document |= dict.fromkeys(("labels", "split", "shadow") if what == "all" else (what,))
    return document


def _shares(text: str) -> Json:
    shares: Json = {}
    for part in text.split(","):
        version, equals, share = part.strip().partition("=")
        if not equals:
            raise UsageError(f"--split: expected VERSION=PERCENT, as in 2=90,3=10, got {part!r}")
        number = str(_version(version.strip(), "--split"))
        if number in shares:
            raise UsageError(f"--split: version {number} is there twice")
        shares[number] = _number(share.strip().removesuffix("%"), "--split")
    return shares


def _version(text: str, flag: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"{flag}: expected a version, which is a whole number from 1, got {text!r}")
    return int(text)


def _number(text: str, flag: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{flag}: expected per cent, got {text!r}") from None
    if not 0 <= number <= 100:
        raise UsageError(f"{flag}: expected per cent from 0 to 100, got {text!r}")
    return number


def _difference(text: str, flag: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(f"{flag}: expected a number from 0, got {text!r}")
    return number


def shown(view: Json) -> str:
    """What a server has answered, for people."""
    lines = [f"{view['name']}: ready are {', '.join(view['ready_versions']) or 'no versions'}"]
    lines += [
        f"  label {label} stands for version {version}" for label, version in view.get("labels", {}).items()
    ]
    if split := view.get("split"):
        shares = ", ".join(f"version {version} {share:g} %" for version, share in split["shares"].items())
        sticky = "".join(f", sticky by {kind} {name}" for kind, name in split.get("sticky", {}).items())
        lines.append(f"  requests without a version: {shares}{sticky}")
    else:
        lines.append("  requests without a version: the highest")
    if shadow := view.get("shadow"):
        lines.append(f"  shadow: {_shown_shadow(shadow)}")
    if view["source"]:
        lines.append(f"  kept in {view['source']}")
    lines += [f"  warning: {problem}" for problem in view.get("problems", ())]
    return "\n".join(lines)


def _shown_shadow(shadow: Json) -> str:
    labels = "".join(f" and to {label}" for label in shadow.get("labels", ()))
    tolerance = shadow.get("tolerance", {})
    within = f", equal within {tolerance['absolute']:g}" if "absolute" in tolerance else ""
    percent = shadow.get("percent", 100)
    return f"version {shadow['version']} gets copies of {percent:g} % of requests without a version{labels}{within}"


COMMAND = Command(
    "release",
    "say which versions of a model answer: labels, canaries, shadows",
    "MODEL [options]",
    _DESCRIPTION,
    _EXAMPLES,
    _add,
    _run,
)
