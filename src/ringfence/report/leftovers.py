"""What killed runs, standbys and doctors have left behind: found, never touched.

INVARIANT: what may be in use is not a leftover. Each kind is told by a lock that nobody holds, a process that is not
there, or a mount that no process has; where that cannot be known, it stays (tests/e2e/test_doctor_mends.py).
"""

import contextlib
import fcntl
import os
import re
import socket
import stat
import time
from collections.abc import Iterator

from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import HostPath
from ringfence.sandbox import cgroup
from ringfence.session import cache
from ringfence.session.unix_sockets import SO_PEERCRED, SOL_SOCKET, at_short_path, peer_uid
from ringfence.workspace import layout
from ringfence.workspace import runs as runs_module

SETTLED_S = 600.0  # what is younger may be about to be used
ANSWER_TIMEOUT_S = 2.0
_ARTEFACT = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = re.compile(r"[0-9a-f]{32}\.([0-9]+)")
_STANDBY = re.compile(r"[0-9a-f]{24}")
_FRESH = re.compile(r"fresh-[0-9a-f]{16}")


def listed(directory: str) -> list[str]:
    """The names in a directory of ours, none where it cannot be read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def broken_artefacts(directory: str) -> Iterator[str]:
    """Files of the launch cache that would be passed over, and those whose writer has ended."""
    for name in listed(directory):
        path = f"{directory}/{name}"
        if unfinished := _UNFINISHED.fullmatch(name):
            if not os.path.exists(f"/proc/{unfinished[1]}"):
                yield path
        elif _ARTEFACT.fullmatch(name) and _is_damaged(path):
            yield path


def _is_damaged(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        found = os.fstat(descriptor)
        data = os.read(descriptor, found.st_size + 1)
    finally:
        os.close(descriptor)
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return not private or cache.digest(data[16:]) != data[:16]


def dead_sockets(directory: str) -> Iterator[str]:
    """Sockets whose lock nobody holds: each standby holds its own until it ends."""
    for name in listed(directory):
        path = f"{directory}/{name}"
        if _STANDBY.fullmatch(name) and _is_socket(path) and not _is_held(f"{path}.lock"):
            yield path


def silent_standbys(directory: str) -> Iterator[tuple[int, str]]:
    """Processes, each with its socket, that hold its lock and do not close a connection that asks for nothing."""
    for name in listed(directory):
        path = f"{directory}/{name}"
        if _STANDBY.fullmatch(name) and _is_socket(path) and _is_held(f"{path}.lock"):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.settimeout(ANSWER_TIMEOUT_S)
                at_short_path(directory, name, asking.connect)
                pid = int.from_bytes(asking.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)[:4], "little")
                if peer_uid(asking) == os.geteuid() and pid > 1 and not _closes(asking):
                    yield pid, path


def _closes(asking: socket.socket) -> bool:
    asking.send(b"?")
    try:
        asking.recv(1)
    except TimeoutError:
        return False
    return True


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_held(path: str) -> bool:
    """Whether somebody holds the lock; one that cannot be looked at counts as held."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def empty_runs(directory: str) -> Iterator[str]:
    """Runs that nobody holds, with no change to apply and none to take back. One without a record stays."""
    for name in listed(directory):
        path = HostPath(f"{directory}/{name}")
        try:
            run = runs_module.load(path)
        except (HostError, UsageError, OSError):
            continue
        if run.state in (runs_module.State.RUNNING, runs_module.State.ENDED) and not run.of:
            if not _has_content(path) and not _is_held(f"{path}/{layout.LOCK}") and is_settled(path):
                yield path


def _has_content(run: str) -> bool:
    """Whether any upper layer has an entry, or an apply has begun."""
    for name in listed(run):
        kind = name.partition(".")[0]
        if kind in (layout.JOURNAL, layout.UNDO):
            return True
        if kind == layout.UPPER:
            try:
                if os.listdir(f"{run}/{name}"):
                    return True
            except OSError:
                return True
    return False


def is_settled(path: str) -> bool:
    """Whether nothing was done to `path` for a while."""
    try:
        return time.time() - os.lstat(path).st_mtime > SETTLED_S
    except OSError:
        return False


def scratch(state: str) -> Iterator[str]:
    """Directories in which parts of the boundary were tried (sandbox/attempt.py)."""
    for name in listed(state):
        if name.startswith(".doctor-") and is_settled(f"{state}/{name}"):
            yield f"{state}/{name}"


def fresh_states(directory: str, runs: str) -> Iterator[str]:
    """States of agents for one run only, while there is no run."""
    found = [
        f"{directory}/{agent}/{name}"
        for agent in listed(directory)
        for name in listed(f"{directory}/{agent}")
        if _FRESH.fullmatch(name) and is_settled(f"{directory}/{agent}/{name}")
    ]
    return iter([] if _is_any_live(runs) else found)


def _is_any_live(runs: str) -> bool:
    """Whether any run is going on: what belongs to none of them in particular may be its own."""
    return any(_is_held(f"{runs}/{name}/{layout.LOCK}") for name in listed(runs))


def dead_groups(parent: str) -> Iterator[str]:
    """Control groups below `parent` whose maker has ended, and that hold no process."""
    for name in listed(parent):
        if name.startswith(cgroup.PREFIX):
            maker = name[len(cgroup.PREFIX) :].partition("-")[0]
            with contextlib.suppress(OSError), open(f"{parent}/{name}/cgroup.procs", encoding="ascii") as file:
                if maker.isdigit() and not os.path.exists(f"/proc/{maker}") and not file.read():
                    yield f"{parent}/{name}"
