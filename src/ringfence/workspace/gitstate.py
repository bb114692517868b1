"""Whether git was used on the host since an apply: what it keeps beside its objects, as one digest.

Times alone cannot tell: what is done within one tick of the file system's clock has the same time.
"""

import hashlib
import os
from collections.abc import Iterator

from .host import Host

_LARGE = frozenset({"objects", "modules", "lfs"})


def objects(host: Host) -> str:
    """Give git's object directory in the tree of `host` if anything in it was applied; else an empty string."""
    place = "objects" if host.run.layer else ".git/objects"
    applied = (entry.change.path for entry in host.journal.entries)
    return place if any(path.startswith(place + "/") for path in applied) else ""


def fingerprint(host: Host) -> str:
    """Digest the names, inodes, sizes and ctimes of everything in git's directory but its objects.

    Empty where it cannot be read through, as while git is at work there.
    """
    state = hashlib.blake2b(digest_size=16)
    try:
        for line in sorted(_entries(host, os.path.dirname(objects(host)))):
            state.update(line.encode("utf-8", "surrogateescape"))
    except OSError:
        return ""
    return state.hexdigest()


def _entries(host: Host, top: str) -> Iterator[str]:
    pending = [top]
    while pending:
        directory = pending.pop()
        fd = host.tree.open_directory(directory)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}".lstrip("/")
                    if not entry.is_dir(follow_symlinks=False):
                        found = entry.stat(follow_symlinks=False)
                        yield f"{path}\0{found.st_ino} {found.st_size} {found.st_ctime_ns}\n"
                    elif entry.name not in _LARGE:
                        yield f"{path}\0\n"
                        pending.append(path)
        finally:
            os.close(fd)
