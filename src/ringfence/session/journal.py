"""Events of a session that are to go to the audit together: noted at once, so that a crash loses none.

An append to the audit costs a tenth of a millisecond, a note one write(2) to a file of the run's directory. Two files
take turns: one is noted in while what the other holds is appended. What is found in them after the end of a run was not
appended, or only just: such a record may be there twice.
"""

import os
from collections.abc import Mapping

import msgspec

from ringfence.model.errors import SandboxError

NAMES = ("journal.0", "journal.1")
_FLAGS = os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC

Event = tuple[str, str, Mapping[str, object], int]  # kind, code, fields, Unix time in nanoseconds


class Journal:
    """The two files of one run; raises SandboxError where they cannot be made."""

    def __init__(self, directory: str) -> None:
        self.encoder = msgspec.json.Encoder()
        self.current = 0
        self.directory = directory
        try:
            self.files = [os.open(f"{directory}/{name}", _FLAGS, 0o600) for name in NAMES]
        except OSError as error:
            raise SandboxError(f"cannot note events: {error.strerror}", place=directory) from error

    def note(self, event: Event) -> None:
        """Write an event down; raise SandboxError when that is not possible."""
        line = self.encoder.encode(event) + b"\n"
        try:
            written = os.write(self.files[self.current], line)
        except OSError as error:
            raise SandboxError(f"cannot note events: {error.strerror}", place=self.directory) from error
        if written < len(line):
            raise SandboxError("cannot note events: no space is left", place=self.directory)

    def turn(self) -> int:
        """Note in the other file from now on; return which one is to be cleared once its events are appended."""
        before, self.current = self.current, 1 - self.current
        return before

    def clear(self, which: int) -> None:
        """Forget what has been appended."""
        os.ftruncate(self.files[which], 0)

    def close(self) -> None:
        """Remove the files; what they still hold is lost."""
        while self.files:
            os.close(self.files.pop())
        for name in NAMES:
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                continue  # removed with the run's directory


def left(directory: str) -> list[Event]:
    """The events that were noted by a run that has ended, in order; a line that was cut short is none."""
    found: list[Event] = []
    for name in NAMES:
        try:
            with open(os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=tuple[str, str, dict[str, object], int]))
            except msgspec.DecodeError:
                continue
    return sorted(found, key=lambda event: event[3])
