"""Headers with weights, such as Accept and Accept-Encoding (RFC 9110, section 12.4.2)."""

from operator import itemgetter


def preferred(header: bytes) -> tuple[str, ...]:
    """What a client takes, in lower case and without parameters: the highest weight first, and those of equal weights
    as they stand there. What it refuses, by a weight of 0, or gives a weight that is none, is left out.
    """
    found: list[tuple[float, str]] = []
    for item in header.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        try:
            weight = float(values.get("q", 1))
        except ValueError:
            continue
        if name and weight > 0:
            found.append((-weight, name))
    return tuple(name for _, name in sorted(found, key=itemgetter(0)))
