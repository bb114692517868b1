"""What a tree and the mounts look like, to tell afterwards that nothing changed."""

import dataclasses
import os
import stat
from collections.abc import Sequence
from pathlib import Path

OWN = (".local/state/ringfence", ".cache/ringfence")
"""ringfence's own files below the home; everything else there must stay as it was."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """What must not change about a name: type and mode, owner, size, time, content or target."""

    mode: int
    owner: tuple[int, int]
    modified_ns: int
    content: bytes


def listing(top: Path, leave_out: Sequence[str] = ()) -> dict[str, Entry]:
    """Every name below `top` with all there is to it; directories' own times too."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in [".", *names, *files]:
            path = Path(directory) / name
            relative = path.relative_to(top).as_posix()
            if any(
                relative == own or relative.startswith(own + "/") or own.startswith(relative + "/") for own in leave_out
            ):
                continue
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            content = path.read_bytes() if kind == stat.S_IFREG else b""
            content = os.fsencode(os.readlink(path)) if kind == stat.S_IFLNK else content
            found[relative] = Entry(status.st_mode, (status.st_uid, status.st_gid), status.st_mtime_ns, content)
    return found


def mounts() -> list[str]:
    """What this test's own mount namespace shows; another test's mounts cannot appear in it."""
    return sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
