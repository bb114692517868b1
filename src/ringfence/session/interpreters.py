"""Which Pythons a link of a virtual environment may lead to: those that the run saw anyway, and could not change.

SECURITY: a link from inside is judged by where its text leads on the host, step by step. Each step lies at a place that
the view showed under its own name, read-only, by default or by a preset, so nothing from inside decides where the next
step goes. Whatever cannot be followed so is held (tests/attacks/test_w1_apply.py).
"""

import os
import re
import stat
from collections.abc import Callable, Sequence

from ringfence.model.plan import Mount, MountKind
from ringfence.planner.system import MERGED_DIRECTORIES
from ringfence.planner.view import LIVE, within

NAME = re.compile(r"(?:python|pypy)[0-9.]*t?")
LINKS = 40  # as many as the kernel follows, path_resolution(7)
_MADE = frozenset({MountKind.DIRECTORY, MountKind.SYMLINK, MountKind.READ_ONLY})  # no mounts of their own
Place = tuple[str, bool]


def places(view: Sequence[Mount]) -> list[Place]:
    """Places of a view, each with whether the host's own lies there under its name and can be read only.

    What the run can write to by another name is none of these.
    """
    written = [str(mount.source) for mount in view if mount.kind in LIVE]
    found: dict[str, bool] = {}
    for mount in view:
        if mount.kind not in _MADE:
            own = mount.kind is MountKind.RO_BIND and str(mount.source) == str(mount.target)
            own = own and mount.origin.scope in ("default", "preset")
            found[mount.target] = own and not any(within(mount.target, path) for path in written)
        elif mount.kind is MountKind.SYMLINK and mount.target in MERGED_DIRECTORIES:
            found[mount.target] = True
    found |= dict.fromkeys(written, False)
    shown = [target for target, own in found.items() if own]
    return [(path, own) for path, own in found.items() if own or any(within(path, top) for top in shown)]


def is_shown(path: str, known: Sequence[Place]) -> bool:
    """Whether the deepest mount at or above `path` shows the host's own."""
    return max(((len(top), own) for top, own in known if within(path, top)), default=(0, False))[1]


def proven(known: Sequence[Place]) -> Callable[[str], bool]:
    """Tell of a path whether it leads to an interpreter, and every step of the way is shown by one of `known`."""

    def look(path: str) -> bool:
        try:
            end = followed(path, known)
            found = os.lstat(end) if end and NAME.fullmatch(os.path.basename(end)) else None
        except (OSError, ValueError):
            return False
        if found is None or not stat.S_ISREG(found.st_mode):
            return False
        return bool(found.st_mode & 0o111) and not found.st_mode & (stat.S_ISUID | stat.S_ISGID)

    return look


def followed(path: str, known: Sequence[Place]) -> str:
    """Where the absolute `path` leads, link by link; empty where a step is not shown. Raises OSError, ValueError."""
    for _ in range(LINKS):
        if not path.startswith("/") or os.path.normpath(path) != path or not is_shown(path, known):
            return ""
        link, rest = first_link(path)
        if not link:
            return path
        if not is_shown(link, known):
            return ""
        target = os.readlink(link)
        climbing = target.split("/")
        while climbing and climbing[0] == "..":
            climbing.pop(0)
        if ".." in climbing:
            return ""  # after a name that may be a link itself it leads wherever that link's parent is
        path = os.path.normpath(os.path.join(os.path.dirname(link), target, rest))
    return ""


def first_link(path: str) -> tuple[str, str]:
    """The first link on the way along `path`, and what is left behind it; two empty texts where there is none."""
    names = path.split("/")
    for depth in range(2, len(names) + 1):
        prefix = "/".join(names[:depth])
        if stat.S_ISLNK(os.lstat(prefix).st_mode):
            return prefix, "/".join(names[depth:])
    return "", ""
