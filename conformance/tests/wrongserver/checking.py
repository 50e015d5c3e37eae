"""What the parts of the deliberately wrong server share: defects that are switched on, and checks that they switch off."""

from wrongserver.requests import Pretended, Refused


class Checking:
    """A part of the server. `defects`: names that are switched on."""

    defects: frozenset[str]
    stopped: bool

    def refuse(self, check: str, text: str, kind: str = "INVALID") -> None:
        """Refuse a request, unless the check is switched off."""
        if f"unchecked:{check}" in self.defects:
            raise Pretended(check)
        self.stopped = "stops-after-errors" in self.defects
        raise Refused(text, kind)
