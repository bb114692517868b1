"""One fact that somebody waits for, in a form that fits into a poll loop: that a command has ended."""

import _thread
import os


class Ending:
    """`descriptor` is readable from the end on, until it is closed or nobody holds this any more.

    It is -1 where it `is_polled` by nobody.
    """

    __slots__ = ("descriptor", "has_come", "lock")

    def __init__(self, *, is_polled: bool = True) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if is_polled else -1
        self.has_come = False
        self.lock = _thread.allocate_lock()

    def come(self) -> None:
        """It has ended; from any thread."""
        with self.lock:
            self.has_come = True
            if self.descriptor >= 0:
                os.eventfd_write(self.descriptor, 1)

    def watch(self) -> int:
        """A descriptor of the caller's own like `descriptor`, which another thread may close; -1 where it has come."""
        with self.lock:
            return -1 if self.has_come or self.descriptor < 0 else os.dup(self.descriptor)

    def close(self) -> None:
        """Nobody waits any more; `descriptor` is -1 from now on."""
        with self.lock:
            descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        """A command that its caller has forgotten keeps no descriptor."""
        self.close()
