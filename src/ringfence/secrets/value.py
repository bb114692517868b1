"""The value of a secret in memory: never shown, never copied out by accident, zeroed at the end.

SECURITY: a value must not get into logs, errors, audits, core dumps or crash reports. So nothing that turns objects to
text, pickles or compares them gets hold of it; `reveal` is the one way. The bytes are locked against swapping where the
limit (RLIMIT_MEMLOCK, getrlimit(2)) allows. What Python and RE2 made of them on the way (copies in strings, in
automata) cannot be zeroed; the process that holds them is not dumpable, and ends with the run.
"""

import ctypes
import hmac
from typing import NoReturn, Self

FEWEST_BYTES = 8


class Value:
    """Bytes that are not shown. Close it, or use it in a `with`, to zero them."""

    __slots__ = ("_data", "locked")

    def __init__(self, data: bytes | bytearray) -> None:
        """Take a copy of `data`; `locked` tells whether the kernel will keep it out of swap."""
        self._data = bytearray(data)
        self.locked = _memory_call("mlock", self._data)

    def reveal(self) -> bytes:
        """Give the bytes; raise ValueError once they have been zeroed."""
        if not self._data:
            raise ValueError("the value has been zeroed")
        return bytes(self._data)

    def close(self) -> None:
        """Zero the bytes."""
        self._data[:] = bytes(len(self._data))  # in place: a slice of equal length moves nothing
        if self.locked:
            _memory_call("munlock", self._data)
        self.locked = False
        self._data = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on where the bytes differ."""
        return isinstance(other, Value) and hmac.compare_digest(self._data, other._data)

    __hash__ = None  # type: ignore[assignment] # a hash in a table would be a fact about the value

    def __repr__(self) -> str:
        return "Value(...)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a value is not serialised")


def _memory_call(name: str, data: bytearray) -> bool:
    """Call mlock(2) or munlock(2) on the pages of `data`; tell whether the kernel did it."""
    if not data:
        return False
    place = (ctypes.c_char * len(data)).from_buffer(data)
    call = getattr(ctypes.CDLL(None), name)
    done: int = call(ctypes.c_void_p(ctypes.addressof(place)), ctypes.c_size_t(len(data)))
    return done == 0
