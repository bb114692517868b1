"""Find what else has to be protected in one workspace: auto-load surfaces that lie elsewhere than their name says.

A repository may keep its hooks in `tools/hooks` (core.hooksPath), or have `.claude` or `.git/hooks` as a link into
a directory whose own name says nothing. Writes made through the link reach the layer under that other name. So links
among the protected names are followed here, once, and what git's configuration names inside of the workspace is added.

SECURITY: this reads the host's tree before a run's changes reach it, and follows links only to learn a name; what it
finds can only hold more back (threat: git as a loader).
"""

import os
import shlex
from collections.abc import Iterator

from ringfence.model.names import canonical_path
from ringfence.model.paths import HostPath
from ringfence.model.surfaces import SURFACES, Matcher, Surface

_LIMIT_BYTES = 1 << 20
_GIT_NAMES = ("hooks", "config", "config.worktree", "info", "modules", "worktrees", "commondir")
_DIRECTORY_KEYS = frozenset({"hookspath", "templatedir"})


def hidden_surfaces(workspace: HostPath, surfaces: tuple[Surface, ...] = SURFACES) -> tuple[Surface, ...]:
    """List surfaces of this workspace that no pattern names, each anchored at its top."""
    root = os.path.realpath(workspace)
    found = dict(_linked(root, surfaces))
    for directory in _git_directories(root):
        found.update(_linked_git(root, directory))
        for name in ("config", "config.worktree"):
            found.update(_named_by_config(root, f"{directory}/{name}"))
    return tuple(Surface(pattern=path, reason=reason, threat="git", anchored=True) for path, reason in found.items())


def _inside(root: str, path: str) -> str | None:
    """Give the workspace-relative real path of `path`, or None where it lies outside or is the workspace itself."""
    real = os.path.realpath(path)
    return real[len(root) + 1 :] if real.startswith(f"{root}/") else None


def _linked(root: str, surfaces: tuple[Surface, ...]) -> Iterator[tuple[str, str]]:
    matcher = Matcher(surfaces)
    pending = [""]
    while pending:
        directory = pending.pop()
        with os.scandir(f"{root}/{directory}") as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                surface = matcher.match(canonical_path(path), prefix=True)
                if surface is None:
                    continue
                if entry.is_symlink():
                    target = _inside(root, entry.path)
                    if target is not None:
                        yield target, f"`{path}` is a link to it: {surface.reason}"
                elif not directory and entry.is_dir(follow_symlinks=False):
                    pending.append(path)


def _git_directories(root: str) -> list[str]:
    """Give the git directory of the workspace and the common one it belongs to, if any (gitrepository-layout(5))."""
    place = f"{root}/.git"
    text = _read(place)
    if text.startswith("gitdir:"):
        place = os.path.join(root, text.removeprefix("gitdir:").strip())
    if not os.path.isdir(place):
        return []
    common = _read(f"{place}/commondir").strip()
    return [place, os.path.join(place, common)] if common else [place]


def _linked_git(root: str, directory: str) -> Iterator[tuple[str, str]]:
    for name in _GIT_NAMES:
        place = f"{directory}/{name}"
        if os.path.islink(place):
            target = _inside(root, place)
            if target is not None:
                yield target, f"git reads it as `.git/{name}`"


def _named_by_config(root: str, config: str) -> Iterator[tuple[str, str]]:
    for line in _read(config).splitlines():
        key, separator, value = line.partition("=")
        name = key.strip().lower()
        if not separator or not name:
            continue
        for word in _words(value):
            target = _inside(root, os.path.join(root, os.path.expanduser(word)))
            if target is None or target == ".git" or target.startswith(".git/"):
                continue
            if os.path.isfile(f"{root}/{target}") or (name in _DIRECTORY_KEYS and target):
                yield target, f"git's configuration names it as `{name}`"


def _words(value: str) -> list[str]:
    try:
        words = shlex.split(value.strip().lstrip("!"), comments=False)
    except ValueError:
        words = value.split()
    return [word for word in words if word and "\0" not in word]


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _LIMIT_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(fd)
