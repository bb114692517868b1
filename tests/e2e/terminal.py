"""A terminal with something running on it, seen from the side where the person sits."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pyte

TIMEOUT_S = 60.0
ROWS, COLUMNS = 24, 100
CONTROL_C, CONTROL_D, CONTROL_Z, CONTROL_BACKSLASH = b"\x03", b"\x04", b"\x1a", b"\x1c"

Attributes = list[int | list[bytes | int]]


class Terminal:
    """Start `argv` as the leader of a new session whose controlling terminal this is; use it in a `with`."""

    def __init__(
        self, argv: Sequence[str], *, directory: Path, environment: dict[str, str], account: dict[str, object]
    ):
        self.person, self.line = pty.openpty()
        os.set_inheritable(self.line, False)
        self.resize(ROWS, COLUMNS)
        if "user" in account:
            os.fchown(self.line, account["user"], -1)  # type: ignore[arg-type]  # Place.identity gives a number
        self.screen = b""
        self.seen = 0
        self.painted = 0
        self.display = pyte.Screen(COLUMNS, ROWS)
        self.painter = pyte.ByteStream(self.display)
        self.process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # account is what Popen takes
            ["setsid", "--ctty", *argv],
            stdin=self.line,
            stdout=self.line,
            stderr=self.line,
            cwd=directory,
            env=environment,
            **account,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self.line)

    def hang_up(self) -> None:
        """Take the terminal away, as closing its window does."""
        if self.person >= 0:
            os.close(self.person)
            self.person = -1

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel tells the foreground group."""
        fcntl.ioctl(self.person, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: bytes | str) -> None:
        """Type."""
        os.write(self.person, keys.encode() if isinstance(keys, str) else keys)

    def insist(self, keys: bytes, pattern: str) -> None:
        """Type `keys`, again each second, until the terminal has got `pattern`: readline loses a key between two waits.

        Whoever is slow gets some of them later.
        """
        self._again_and_again(keys, lambda: self.expect(pattern, within_s=1))

    def expect(self, pattern: str, *, within_s: float = TIMEOUT_S) -> "re.Match[bytes]":
        """Wait until the screen shows `pattern` after what was expected before; give the match."""
        end = time.monotonic() + within_s
        while (found := re.compile(pattern.encode()).search(self.screen, self.seen)) is None:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"no `{pattern}` on the terminal after `{self.screen[self.seen :]!r}`")
        self.seen = found.end()
        return found

    def shows(self, pattern: str, *, within_s: float = TIMEOUT_S) -> "re.Match[str]":
        """Wait until `pattern` is to be read on the screen as it is now; give the match."""
        end = time.monotonic() + within_s
        while (found := re.search(pattern, text := self._text())) is None:
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"no `{pattern}` on\n{text}")
        return found

    def _text(self) -> str:
        """What is to be read on the screen now."""
        self.painter.feed(self.screen[self.painted :])
        self.painted = len(self.screen)
        return "\n".join(self.display.display)

    def press(self, keys: bytes, pattern: str, *, every_s: float = 1.0) -> None:
        """Type `keys`, again after a while, until `pattern` is to be read on the screen."""
        self._again_and_again(keys, lambda: self.shows(pattern, within_s=every_s))

    def _again_and_again(self, keys: bytes, wait: Callable[[], object]) -> None:
        """Type `keys` until `wait` fails no more."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            self.send(keys)
            try:
                wait()
            except AssertionError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
            else:
                return

    def _read(self, longest_s: float) -> bool:
        if not select.select([self.person], [], [], longest_s)[0]:
            return False
        try:
            part = os.read(self.person, 65536)
        except OSError:  # EIO: nobody holds the other end
            return False
        self.screen += part
        return bool(part)

    def wait(self) -> int:
        """Read to the end and give the status of the session's leader."""
        end = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < end:
            if not self._read(0.05):
                time.sleep(0.01)  # where nobody holds the other end nothing is waited for
        return self.process.wait(1)

    def attributes(self) -> Attributes:
        """The terminal's settings."""
        return termios.tcgetattr(self.person)

    def foreground(self) -> int:
        """The process group in the foreground."""
        group: int = os.tcgetpgrp(self.person)
        return group
