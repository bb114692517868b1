"""Reading a byte string from the front, as binary protocols are written down: integers and counted vectors."""

from .malformed import Malformed


class Cursor:
    """What is left to read of `data`; every method raises `Malformed` where it ends too early."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.position = 0

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        end = self.position + count
        if end > len(self._data):
            raise Malformed(f"truncated {self._what}")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def integer(self, width: int) -> int:
        """Read an unsigned integer of `width` bytes in network order."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Read bytes that a length of `width` bytes goes before (RFC 8446 section 3.4)."""
        return self.take(self.integer(width))

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self._data) - self.position)

    def finished(self) -> bool:
        """Tell whether everything is read."""
        return self.position == len(self._data)

    def finish(self) -> None:
        """Require that everything is read."""
        if not self.finished():
            raise Malformed(f"bytes after the end of the {self._what}")
