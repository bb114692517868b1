"""Records of many threads, written together: whoever comes first writes what all others wait to have written.

A hundred threads that each looked for the lock on the audit would keep it, and the interpreter, from one another, for
longer than anybody waits. In each file records are in the order in which they were handed in, and every caller waits
until its own is written, or learns that it is not.
"""

import _thread
import os

from ringfence.model.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .chain import Link

    Key = tuple[str, str, int]


class Entry:
    """One record that is to be written: `seal` makes its line, `stamp` is its time, `error` why it was not written."""

    __slots__ = ("done", "error", "seal", "stamp")

    def __init__(self, seal: "Callable[[Link], tuple[bytes, Link]]", stamp: str) -> None:
        self.seal = seal
        self.stamp = stamp
        self.done = False
        self.error: Exception | None = None


class Together:
    """What waits to be written by this process."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, as in a forked process: whatever waits is written by our parent."""
        self._waiting: dict[Key, list[Entry]] = {}
        self._guard = _thread.allocate_lock()
        self._turn = _thread.allocate_lock()

    def write(self, key: "Key", entry: Entry, append: "Callable[[list[Entry]], None]") -> None:
        """Have an entry written, by `append` of whoever's turn it is with the same key; raise what that raised."""
        with self._guard:
            self._waiting.setdefault(key, []).append(entry)
        with self._turn:
            if not entry.done:
                with self._guard:
                    batch = self._waiting.pop(key)
                carry_out(batch, append)
        if entry.error:
            raise entry.error


def carry_out(batch: list[Entry], append: "Callable[[list[Entry]], None]") -> None:
    """Write what waits; what was not written knows why."""
    failure: SandboxError | None = SandboxError("whoever wrote the record was interrupted")
    try:
        append(batch)
        failure = None
    except SandboxError as error:
        failure = error
    finally:
        for entry in batch:
            entry.error = entry.error or failure
            entry.done = True


TOGETHER = Together()
os.register_at_fork(after_in_child=TOGETHER.renew)
