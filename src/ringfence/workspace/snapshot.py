"""A point-in-time copy of what a run has changed, kept under a name and treated like a run of its own.

SECURITY: the run may be alive, so its layer changes while it is read. Everything is opened beneath the layer without
following links, content comes from the descriptor of a regular file, and what has gone meanwhile is left out. Devices,
pipes and sockets are left out too; none of them could ever be applied.
"""

import contextlib
import errno
import os
import re
import stat

from ringfence.model.errors import UsageError
from ringfence.model.paths import HostPath

from .beneath import Tree, lstat_at
from .content import copy_content, open_regular
from .layout import UPPER, new_run, write_metadata
from .removal import remove_tree
from .runs import Run, State, load

_REPLACED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EINVAL)  # something else took the file's place just now
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")  # no digit in front: identifiers of runs begin with one


def snapshot(run: Run, name: str = "") -> Run:
    """Copy the layers of `run`, which may be alive, into a run directory called `name`; give the new run.

    Raise `UsageError` for a name that is none or that is taken, `OSError` where a copy fails; nothing is left then.
    """
    if name and not _NAME.fullmatch(name):
        raise UsageError(f"`{name}` is no name for a snapshot", hint="a letter, then letters, digits, `.`, `_` and `-`")
    directory = HostPath(f"{os.path.dirname(run.directory)}/{name or new_run()}")
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        raise UsageError(f"there is already a run or snapshot `{name}`", hint="`ringfence runs --all` lists") from None
    try:
        for layer in sorted(entry for entry in os.listdir(run.directory) if entry.split(".")[0] == UPPER):
            _copy_layer(HostPath(f"{run.directory}/{layer}"), HostPath(f"{directory}/{layer}"))
        # Last: without it the directory is no run.
        state = State.ENDED.value
        write_metadata(directory, run.workspace, run.argv0, state=state, start_ns=run.start_ns, of=run.of or run.run)
    except BaseException:
        remove_tree(directory)
        raise
    return load(directory)


def _copy_layer(source: HostPath, target: HostPath) -> None:
    os.mkdir(target, 0o700)
    with Tree(source) as layer, Tree(target) as copy:
        times: list[tuple[str, os.stat_result]] = []
        pending = [""]
        while pending:
            path = pending.pop()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                times.append((path, _copy_directory(layer, copy, path, pending)))
        for path, found in reversed(times):  # a directory's own mode and time come last
            fd = copy.open_directory(path)
            os.fchmod(fd, stat.S_IMODE(found.st_mode))
            os.utime(fd, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.close(fd)


def _copy_directory(layer: Tree, copy: Tree, path: str, pending: list[str]) -> os.stat_result:
    with contextlib.ExitStack() as stack:
        source = layer.open_directory(path)
        stack.callback(os.close, source)
        target = copy.open_directory(path)
        stack.callback(os.close, target)
        _copy_attributes(source, target)
        for name in os.listdir(source):
            with contextlib.suppress(FileNotFoundError):
                if _copy_entry(source, target, name):
                    pending.append(f"{path}/{name}" if path else name)
        return os.fstat(source)


def _copy_entry(source: int, target: int, name: str) -> bool:
    """Copy one name between two open directories; True for a directory whose content is still to come."""
    found = lstat_at(source, name)
    if found is None:
        return False
    if stat.S_ISDIR(found.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)
    elif stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=target)  # a whiteout; anybody may make one (Linux 5.8)
    elif stat.S_ISREG(found.st_mode):
        _copy_file(source, target, name)
    else:
        return False
    if os.geteuid() == 0:
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode)


def _copy_file(source: int, target: int, name: str) -> None:
    with contextlib.ExitStack() as stack:
        try:
            reading = open_regular(source, name)
        except OSError as error:
            if error.errno in _REPLACED:
                return
            raise
        stack.callback(os.close, reading)
        writing = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        stack.callback(os.close, writing)
        found = os.fstat(reading)
        copy_content(reading, writing)
        _copy_attributes(reading, writing)
        os.fchmod(writing, stat.S_IMODE(found.st_mode))
        os.utime(writing, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_attributes(source: int, target: int) -> None:
    """Copy what overlayfs notes in a layer (`user.overlay.*`) and the run's own attributes."""
    for attribute in os.listxattr(source):
        if attribute.startswith("user."):
            os.setxattr(target, attribute, os.getxattr(source, attribute))
