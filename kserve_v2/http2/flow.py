"""Flow control (RFC 9113, section 5.2) of what is received; `output` has that of what is sent."""


class ReceiveWindow:
    """What a client may still send, on the connection or one stream. It is given leave to send more not for each
    frame, but when half of the window is used up.
    """

    __slots__ = ("_due", "_size", "left")

    def __init__(self, size: int) -> None:
        self._size = size
        self.left = size
        self._due = 0

    def __repr__(self) -> str:
        return f"<ReceiveWindow {self.left} of {self._size}, {self._due} due>"

    def receive(self, size: int) -> bool:
        """Take `size` bytes off the window; False if the client has sent more than it may."""
        self.left -= size
        return self.left >= 0

    def consume(self, size: int) -> int:
        """`size` bytes that were received are done with. Returns what to announce in a WINDOW_UPDATE, mostly 0."""
        self._due += size
        if self._due * 2 < self._size:
            return 0
        due, self._due = self._due, 0
        self.left += due
        return due
