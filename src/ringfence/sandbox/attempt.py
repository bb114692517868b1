"""Start bubblewrap on something harmless, the way a run would be started, to learn whether and why it fails.

The launcher itself does it (`launch.start`, id-mapped mounts included), so what is tested is what runs use. The
command is `true` or nothing at all: nothing of the user's is executed.
"""

import os
import select
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from . import facts, launch
from .artefact import FIELDS, Artefact
from .removal import remove_empty

TIMEOUT_S = 5.0
OUTPUT_BYTES = 4096
VIEW = ("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib")
LIBRARIES = ("--symlink", "usr/lib64", "/lib64", "--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended: the exit status (-1 after a timeout) and what was written, at most `OUTPUT_BYTES`."""

    status: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status == 0
