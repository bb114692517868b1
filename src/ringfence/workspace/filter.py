"""Decide, for each change a run made, whether it may reach the host by itself.

Rules, in the order in which the first that speaks decides:
1. what cannot be carried over safely at all: unreadable paths, devices, fifos, sockets, setuid, setgid and sticky
   bits, file capabilities;
2. `.git`: the workspace's own directory as data only (`gitdata`), repositories below the top and look-alikes not at
   all;
3. paths that policy protects, and auto-load surfaces (`surfaces`, plus what the caller found behind links);
4. symbolic links that leave the workspace, lead into `.git` or through another link, or take the place of a directory;
   but for the interpreter of a virtual environment, which leads nowhere that is new;
5. budgets for count and size;
6. whatever lies below something that was held, and directories whose deletion would take something held with them.

This module is pure. What the host already has is asked through `Rules.existing`. Nothing here is a promise about what a
file contains: an allowed `Makefile` is still the contained side's work, see docs/workspace.md.
"""

import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Sequence

import msgspec

from ringfence.model.names import canonical_path
from ringfence.model.surfaces import SURFACES, Matcher, Surface

from .change import Change, ChangeKind, FileType, Reviewed
from .gitdata import git_hold, linked_hold

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_SPECIAL_TYPES = frozenset({FileType.DEVICE, FileType.FIFO, FileType.SOCKET})
_BARE_MARKERS = ("HEAD", "objects", "refs", "commondir")
_BARE_ROOT = frozenset(
    "head objects refs commondir config config.worktree hooks info packed-refs index modules worktrees".split()
)
_FOLDED_MARKERS = {marker.lower(): marker for marker in _BARE_MARKERS}
_PYTHON = re.compile(r"((?:.*/)?)bin/(?:python|pypy)[0-9.]*t?")


def _nothing(_path: str) -> None:
    return None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What to hold back.

    `protected(path)`: policy denies writing there. `existing(path)`: the type the host has at a relative path, or None.
    `interpreter(path)`: an absolute path leads to a Python that runs can read but not change, without a step elsewhere.
    `release`: paths the operator lets through by name. `git_directory`: the tree is itself a git directory outside of
    the workspace, as a linked worktree or a submodule has one. `max_bytes` bounds the bytes on disk of everything
    applied, `max_file_bytes` the apparent size of one file and `max_apparent_bytes` of all of them, holes included.
    """

    surfaces: tuple[Surface, ...] = SURFACES
    protected: Callable[[str], bool | None] = _nothing
    existing: Callable[[str], FileType | None] = _nothing
    interpreter: Callable[[str], bool | None] = _nothing
    release: frozenset[str] = frozenset()
    git_directory: bool = False
    max_changes: int = 500_000
    max_bytes: int = 8 << 30
    max_file_bytes: int = 16 << 30
    max_apparent_bytes: int = 64 << 30


class _Hold(msgspec.Struct, frozen=True):
    code: str
    sentence: str
    releasable: bool = True


def review(changes: Sequence[Change], *, rules: Rules) -> list[Reviewed]:
    """Judge each change; give one `Reviewed` per change, in the same order."""
    reviewer = _Reviewer(changes, rules)
    holds = {change.path: hold for change in changes if (hold := reviewer.judge(change)) is not None}
    reviewer.spend(changes, holds)
    # A held removal keeps the directories above it, which may keep what replaces them, and so what lies below that.
    _hold_above(changes, holds)
    _hold_below(changes, holds)
    _hold_above(changes, holds)
    return [_reviewed(change, holds.get(change.path)) for change in changes]


def _reviewed(change: Change, hold: _Hold | None) -> Reviewed:
    if hold is None:
        return Reviewed(change=change)
    return Reviewed(change=change, code=hold.code, sentence=hold.sentence, releasable=hold.releasable)


class _Reviewer:
    """The rules, prepared for one list of changes."""

    def __init__(self, changes: Sequence[Change], rules: Rules) -> None:
        self._rules = rules
        self._matcher = Matcher(rules.surfaces)
        self._new = {change.path: change for change in changes if change.kind is not ChangeKind.DELETE}
        self._new_git = any(change.path == ".git" and change.kind is not ChangeKind.MODE for change in changes)
        self._bare = frozenset() if rules.git_directory else _bare_repositories(changes, rules.existing)

    def judge(self, change: Change) -> _Hold | None:
        hold = _impossible(change)
        if hold is not None:
            return hold
        parts = canonical_path(change.path)
        hold = self._git(change, parts) or self._protected(change, parts) or self._link(change, parts)
        if hold is not None and hold.releasable and change.path in self._rules.release:
            return None
        return hold

    def _git(self, change: Change, parts: tuple[str, ...]) -> _Hold | None:
        if self._rules.git_directory:
            sentence = linked_hold(change)
            return None if sentence is None else _Hold("git-protected", sentence)
        if ".git" in parts:
            return self._dot_git(change, parts)
        for repository in self._bare:
            if not repository and parts[0] in _BARE_ROOT:
                return _Hold("git-bare", "the workspace itself would be taken for a bare repository with these names")
            if repository and parts[: len(repository)] == repository:
                return _Hold("git-bare", "git takes this directory for a bare repository and runs what its config says")
        return None

    def _dot_git(self, change: Change, parts: tuple[str, ...]) -> _Hold | None:
        if parts.index(".git") > 0:
            return _Hold("git-nested", "a repository below the top carries its own configuration and hooks")
        if change.path != ".git" and not change.path.startswith(".git/"):
            return _Hold("git-lookalike", "other file systems take this name for `.git`")
        if self._new_git:
            return _Hold(
                "git-new", "a whole `.git` was made, replaced or removed; run `git init` on the host to keep it"
            )
        if change.path == ".git":
            return None
        sentence = git_hold(change.path.removeprefix(".git/"), change)
        return None if sentence is None else _Hold("git-protected", sentence)

    def _protected(self, change: Change, parts: tuple[str, ...]) -> _Hold | None:
        if self._rules.protected(change.path):
            return _Hold("path-protected", "policy denies writing here", releasable=False)
        # A link or file that takes a parent's place decides what the names below it mean.
        surface = self._matcher.match(parts, prefix=change.type is FileType.SYMLINK)
        return None if surface is None else _Hold("auto-load", surface.reason)

    def _link(self, change: Change, parts: tuple[str, ...]) -> _Hold | None:
        if change.type is not FileType.SYMLINK or change.kind is ChangeKind.DELETE:
            return None
        if change.old_type is FileType.DIRECTORY:
            return _Hold("link-replaces-directory", "a link takes the place of a directory")
        target = _link_target(change)
        if target == "." or self._interprets(change):
            return None
        if target is None:
            return _Hold("link-outside", "the link leads out of the workspace")
        names = target.split("/")
        for depth in range(1, len(names) + 1):
            if self._rules.existing("/".join(names[:depth])) is FileType.SYMLINK:
                return _Hold("link-indirect", "the link leads through another link of the host")
        folded = canonical_path(target)
        if ".git" in folded:
            return _Hold("link-into-git", "the link leads into a git directory")
        if self._matcher.match(folded) is not None:
            return _Hold("link-to-auto-load", "the link leads to a file that some program loads on its own")
        return None

    def _interprets(self, change: Change) -> bool:
        """Tell whether a link gives a virtual environment its interpreter: by itself, or by a new one beside it.

        SECURITY: runs see that file already, and no run can write to it, so following the link reads and changes
        nothing that was out of reach; what the name runs, a regular file in its place could run as well. The target is
        judged by its text, which alone reaches the host (docs/threats.md, W1).
        """
        found = _PYTHON.fullmatch(change.path)
        if found is None or not self._is_file(f"{found[1]}pyvenv.cfg"):
            return False
        beside = None if "/" in change.link else self._new.get(f"{found[1]}bin/{change.link}")
        return bool(self._rules.interpreter(beside.link if beside else change.link))

    def _is_file(self, path: str) -> bool:
        return (self._new[path].type if path in self._new else self._rules.existing(path)) is FileType.FILE

    def spend(self, changes: Sequence[Change], holds: dict[str, _Hold]) -> None:
        """Hold what exceeds the budgets, in the order of the list."""
        rules = self._rules
        count = disk = apparent = 0
        for change in changes:
            if change.path in holds:
                continue
            count += 1
            if count > rules.max_changes:
                holds[change.path] = _Hold("budget-count", f"more than {rules.max_changes} changes")
            elif change.kind is ChangeKind.DELETE:
                continue
            elif change.size > rules.max_file_bytes:
                holds[change.path] = _Hold("budget-size", f"the file claims {change.size} bytes")
            elif disk + change.allocated > rules.max_bytes or apparent + change.size > rules.max_apparent_bytes:
                holds[change.path] = _Hold("budget-size", "the changes together are larger than the budget")
            else:
                disk += change.allocated
                apparent += change.size


def _impossible(change: Change) -> _Hold | None:
    if change.kind is ChangeKind.UNREADABLE:
        return _Hold("unreadable", f"cannot be read: {change.detail}", releasable=False)
    if change.kind is ChangeKind.DELETE:
        return None
    if change.type in _SPECIAL_TYPES:
        return _Hold("special-file", f"a {change.type.value} is not carried over", releasable=False)
    if _special_bits(change):
        return _Hold("special-mode", "a setuid, setgid or sticky bit is set", releasable=False)
    if "security.capability" in change.xattrs:
        return _Hold("file-capability", "the file carries capabilities", releasable=False)
    return None


def _special_bits(change: Change) -> int:
    """Give the special bits that speak against `change`.

    New content never keeps them, whoever set them. A directory inherits setgid from its parent (inode(7)), which gives
    nobody anything; `apply` leaves that bit to the host's parent.
    """
    bits = change.mode & _SPECIAL_BITS
    if change.type is FileType.SYMLINK:
        return 0
    if change.type is FileType.DIRECTORY:
        return bits & ~stat.S_ISGID & ~change.old_mode
    return bits & ~change.old_mode if change.kind is ChangeKind.MODE else bits


def _link_target(change: Change) -> str | None:
    """Resolve a link by its text; None where it leaves the workspace or where the text alone cannot tell.

    `..` counts only at the front: after a name that may itself be a link, it leads wherever that link's parent is.
    """
    names = change.link.split("/")
    while names and names[0] in ("..", "."):
        names.pop(0)
    if change.link.startswith("/") or ".." in names:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(change.path), change.link))
    return None if target == ".." or target.startswith("../") else target


def _bare_repositories(
    changes: Sequence[Change], existing: Callable[[str], FileType | None]
) -> frozenset[tuple[str, ...]]:
    """Find directories that git would take for a bare repository once the changes are on the host.

    See git's setup.c, is_git_directory: `HEAD` with `objects` and `refs`, the latter two possibly through `commondir`.
    """
    markers: dict[str, set[str]] = {}
    for change in changes:
        names = change.path.split("/")
        if names[0] == ".git":
            continue
        for depth, name in enumerate(names):
            held = markers.setdefault("/".join(names[:depth]), set())
            marker = _FOLDED_MARKERS.get(name.lower())
            if marker is not None and (depth < len(names) - 1 or change.kind is not ChangeKind.DELETE):
                held.add(marker)
    return frozenset(
        canonical_path(directory) if directory else ()
        for directory, held in markers.items()
        if _looks_bare(directory, held, existing)
    )


def _looks_bare(directory: str, made: set[str], existing: Callable[[str], FileType | None]) -> bool:
    def has(marker: str) -> bool:
        return marker in made or existing(posixpath.join(directory, marker)) is not None

    return has("HEAD") and ((has("objects") and has("refs")) or has("commondir"))


def _hold_below(changes: Iterable[Change], holds: dict[str, _Hold]) -> None:
    """Hold what lies below a new, replaced or unreadable directory that is itself held."""
    blocked = {
        change.path
        for change in changes
        if change.path in holds and change.kind in (ChangeKind.CREATE, ChangeKind.REPLACE, ChangeKind.UNREADABLE)
    }
    for change in changes:
        if change.path not in holds and any(parent in blocked for parent in _parents(change.path)):
            holds[change.path] = _Hold("parent-held", "the directory above it is held", releasable=False)


def _hold_above(changes: Sequence[Change], holds: dict[str, _Hold]) -> None:
    """Hold the removal of directories that would take something held with them."""
    kept = {
        parent
        for change in changes
        if change.path in holds and change.old_type is not None
        for parent in _parents(change.path)
    }
    for change in changes:
        leaves = change.kind is ChangeKind.DELETE or (
            change.kind is ChangeKind.REPLACE and change.old_type is FileType.DIRECTORY
        )
        if leaves and change.path in kept and change.path not in holds:
            holds[change.path] = _Hold("content-held", "something in the directory is held", releasable=False)


def _parents(path: str) -> list[str]:
    names = path.split("/")[:-1]
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]
