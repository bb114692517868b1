"""Start bubblewrap on something harmless, the way a run is started, to learn whether that works and why not.

The launcher itself does it, id-mapped mounts included, so what is tested is what runs use. The command is `true`:
nothing of the user's is executed, and nothing but a private scratch directory is written.
"""

import os
import select
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ringfence.planner.system import MERGED_DIRECTORIES

from . import bubblewrap, launch
from .artefact import FIELDS, Artefact

TIMEOUT_S = 30.0  # a machine that is slow is not one that cannot
OUTPUT_BYTES = 4096
TRUE = "/usr/bin/true"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended: the exit status (negative: a signal, or a timeout) and what was written, in one line."""

    status: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.status == 0


def version(program: str) -> Attempt:
    """What bubblewrap says of its version."""
    with scratch("/tmp") as directory:
        return attempt(_artefact(program, ["--version"], (), idmap=False), directory)


def start(program: str, *, idmap: bool, overlay_on: str = "") -> Attempt:
    """Build a view in namespaces of its own and run `true` there.

    `idmap`: through id-mapped mounts, as root does it. `overlay_on`: a directory of the file system on which an
    overlay's layers are to lie; without it there is no overlay. Raises OSError if no scratch directory can be made.
    """
    flags = [flag for flag in bubblewrap.NAMESPACE_FLAGS.values() if flag]
    words = [*flags, "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--as-pid-1", "--die-with-parent"]
    words += [
        "--hostname",
        "ringfence",
        "--tmpfs",
        "/",
        "--ro-bind",
        "/usr",
        "/usr",
        *_merged(),
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    with scratch(overlay_on or "/tmp") as directory:
        lower = f"{directory}/lower"
        # A source of the user's own is what makes the launcher stage an id-mapped mount.
        words += ["--ro-bind", "@source:0", "/mnt"]
        if overlay_on:
            words += ["--overlay-src", "@source:0", "--overlay", "@upper:0", "@work:0", "/srv"]
        return attempt(_artefact(program, words, (lower,), idmap=idmap), directory)


def attempt(artefact: Artefact, directory: str) -> Attempt:
    """Carry `artefact` out and wait for its end, at most `TIMEOUT_S`."""
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    quiet = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with complaints_to(output):
            boundary = launch.start(artefact, launch.Request([], directory, (quiet, output, output)))
        status = wait_for_end(boundary)
        text = os.pread(output, OUTPUT_BYTES, 0).decode("utf-8", "replace")
    finally:
        os.close(quiet)
        os.close(output)
    return Attempt(status=status, output=" ".join(text.split()))


@contextmanager
def complaints_to(descriptor: int) -> Iterator[None]:
    """Let standard error lead to `descriptor` for a moment: what fails before bubblewrap is executed is said there."""
    saved = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def wait_for_end(boundary: launch.Boundary) -> int:
    """The exit status of the monitor, killed once the time is over."""
    handle = os.pidfd_open(boundary.monitor)
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        if not poller.poll(TIMEOUT_S * 1000):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(boundary.monitor, 0)[1])
    finally:
        os.close(handle)
        boundary.control.close()


@contextmanager
def scratch(parent: str) -> Iterator[str]:
    """A private directory shaped like a run's, removed afterwards."""
    directory = tempfile.mkdtemp(prefix=".doctor-", dir=parent)
    try:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{directory}/{name}")
        yield directory
    finally:
        # overlayfs leaves `work/work` with mode 000, which keeps even its owner from listing it.
        if os.path.isdir(f"{directory}/work/work"):
            os.chmod(f"{directory}/work/work", 0o700)
        shutil.rmtree(directory)


def _merged() -> Iterator[str]:
    """Arguments for /bin and its like: links as on the host, else directories."""
    for path in MERGED_DIRECTORIES:
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)


def _artefact(program: str, words: Sequence[str], lowers: Sequence[str], *, idmap: bool) -> Artefact:
    """The least that `launch.start` needs; every other field is empty."""
    values: dict[str, object] = dict.fromkeys(FIELDS, "")
    values.update(
        program=program,
        arguments=[*words, "--", TRUE],
        files=[],
        sources=[(path, True) for path in lowers],
        lowers=list(lowers),
        filter=b"",
        init_filter=b"",
        idmap=idmap,
        owner=(os.getuid(), os.getgid()),
    )
    return Artefact(**values)
