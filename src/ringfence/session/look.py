"""Look at paths again, all in one step where that was compiled (look.c), which takes half the time.

INVARIANT: the compiled look says that all is as it was only if the functions of this module and of `cache` do; it is
asked first, and where it says no, they decide. tests/contract/test_look.py holds it to them.
"""

import ctypes
import os
from struct import pack

from ringfence.sandbox import native

from . import cache

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable

    Known = tuple[int, str, tuple[int, ...]]

# What was seen of a path, and by which function: look.c has the same numbers.
STAMP, LISTING, PLACE, MARK, FILE, ABSENT = range(6)  # of `cache`: stamp, listing_stamp, file_stamp
FIELDS = 10  # of a symbolic link and what it leads to
MASK = (1 << 64) - 1


def known(path: str) -> "Known":
    """What there is now."""
    was = cache.stamp(path)
    return (STAMP, path, was) if was else (ABSENT, path, ())


def place(path: str) -> "tuple[int, int]":
    """Which directory it is; raise OSError."""
    found = os.stat(path)
    return (found.st_dev, found.st_ino)


def mark(directory: str) -> "tuple[int, int, int] | None":
    """What changes with the entries of a directory; None where there is none."""
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns)


def library_places() -> "tuple[str, ...]":
    """The compiled look, its source and what that follows, whether they are there or not."""
    here = os.path.dirname(__file__)
    return tuple(f"{here}/{name}" for name in ("native-look.so", "look.c", "look.py", "cache.py"))


def load(path: str) -> "Callable[[bytes, bytes, int], int] | None":
    """The compiled look; None where there is none for this interpreter."""
    if not path:
        return None
    try:
        found = ctypes.CDLL(path).ringfence_look
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long), ctypes.c_int
    return found


class Look:
    """Whether all is `as_known`, by the compiled look; without one it is never said."""

    __slots__ = ("count", "paths", "records")

    def __init__(self, as_known: "list[Known]") -> None:
        self.count = len(as_known)
        self.paths = b"".join(os.fsencode(path) + b"\0" for _, path, _ in as_known)
        self.records = b"".join(record(how, was) for how, _, was in as_known)

    def is_the_same(self) -> bool:
        """Look again; True is certain, False is not."""
        return together is not None and bool(together(self.paths, self.records, self.count))


def record(how: int, was: "tuple[int, ...]") -> bytes:
    """What was seen, as look.c compares it."""
    return pack(f"{FIELDS + 1}Q", how, *(value & MASK for value in was), *(0,) * (FIELDS - len(was)))


together = load(native.current(library_places()))
