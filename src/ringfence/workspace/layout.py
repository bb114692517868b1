"""Make a run's private directory, on the hot path.

    RUN/            0700
      run.json      what `runs` reads
      lock          held by flock(2) for as long as the run, or an apply of it, is going on
      upper/ work/  the overlay's writable layer and its scratch space
      undo/ journal made by the first apply

Import budget: os, time, fcntl and the C half of json; `msgspec` and `json` would cost more than the rest of a launch.
Paths are plain `str` here: `HostPath` brings `typing` with it.
"""

import fcntl
import os
import time
from _json import encode_basestring_ascii

METADATA = "run.json"
LOCK = "lock"
UPPER = "upper"
WORK = "work"
UNDO = "undo"
JOURNAL = "journal"


class Created:
    """A run that has just been made: its identifier, its directory and the descriptor that holds its lock."""

    __slots__ = ("directory", "lock_fd", "run")

    def __init__(self, run: str, directory: str, lock_fd: int) -> None:
        self.run = run
        self.directory = directory
        self.lock_fd = lock_fd

    def release(self) -> None:
        """Give the run's lock back: every process of it is dead. A second call does nothing."""
        if self.lock_fd >= 0:
            # Unlocked by name and not only closed: a process forked for another run may hold a copy until it execs.
            fcntl.flock(self.lock_fd, fcntl.LOCK_UN)
            os.close(self.lock_fd)
            self.lock_fd = -1


def runs_directory(environ: "os._Environ[str] | dict[str, str]", home: str) -> str:
    """Give the directory that holds every run: `$XDG_STATE_HOME/ringfence/runs`."""
    state = environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # the XDG specification: a relative path is to be ignored
        state = f"{home}/.local/state"
    return f"{state}/ringfence/runs"


def new_run() -> str:
    """Make an identifier that sorts by time: `20250131-235959-` and six hexadecimal digits."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + os.urandom(3).hex()


def create(runs: str, *, workspace: str, argv0: str, run: str = "") -> Created:
    """Make the directory of a new run over `workspace` and take its lock; raise `OSError`.

    Keep `lock_fd` open (it is not inherited) until every process of the run is dead. The upper layer gets the owner
    and mode of the workspace, because its root is what the contained side sees as the workspace itself.
    """
    os.makedirs(runs, mode=0o700, exist_ok=True)
    run = run or new_run()
    directory = f"{runs}/{run}"
    os.mkdir(directory, 0o700)
    lock_fd = os.open(f"{directory}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)  # waits for a moment where another run looks who is alive
    owner = os.stat(workspace)
    for name in (UPPER, WORK):
        path = f"{directory}/{name}"
        os.mkdir(path, 0o700)
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)
        os.chmod(path, owner.st_mode & 0o7777)
    write_metadata(directory, workspace, argv0, state="running", start_ns=time.time_ns())
    return Created(run, directory, lock_fd)


def write_metadata(directory: str, workspace: str, argv0: str, *, state: str, start_ns: int, of: str = "") -> None:
    """Replace `run.json` in one step; `of` names the run of which this is a snapshot."""
    text = (
        f'{{"version": 1, "workspace": {encode_basestring_ascii(workspace)}, "argv0": {encode_basestring_ascii(argv0)},'
        f' "state": {encode_basestring_ascii(state)}, "start_ns": {start_ns}, "of": {encode_basestring_ascii(of)}}}\n'
    )
    fd = os.open(f"{directory}/{METADATA}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
    os.rename(f"{directory}/{METADATA}.new", f"{directory}/{METADATA}")


def mark_ended(directory: str) -> bool:
    """Turn the state `running` into `ended`; False where the run was in another state. The caller holds its lock."""
    path = f"{directory}/{METADATA}"
    with open(path, "rb") as file:
        text = file.read()
    ended = text.replace(b'"state": "running"', b'"state": "ended"')
    if ended == text:
        return False
    with open(f"{path}.new", "wb") as file:
        file.write(ended)
    os.rename(f"{path}.new", path)
    return True


def make_layers(directory: str, number: int, lower: str) -> None:
    """Upper and work directory of a further overlay, with the owner and mode of what they cover."""
    status = os.stat(lower)
    for name in (f"upper.{number}", f"work.{number}"):
        os.mkdir(f"{directory}/{name}", 0o700)
        os.chmod(f"{directory}/{name}", status.st_mode & 0o7777)
