"""Read an overlayfs upper layer as a list of changes to the lower layer.

Rules of the format (Documentation/filesystems/overlayfs.rst, mounted with `userxattr`):
- a character device 0:0, or an empty file with the attribute `user.overlay.whiteout`, says that the name is gone;
- a directory with `user.overlay.opaque` = `y` hides the lower directory of that name and everything below it;
- a directory without it is merged with the lower one, and often exists only because something below it changed;
- a file or directory with `user.overlay.origin` was copied up from the lower layer, under whatever name;
- `redirect` and `metacopy` are not enabled by the mounts we make, so a layer that carries them is refused for that
  path.

Theory of operation: walk the upper layer, never the lower one except below what was hidden or deleted, so the cost
follows the number of changes and not the size of the workspace. Each directory is reopened from the root, so depth
costs no descriptors. SECURITY: everything read here was written by the contained side; no name, link or attribute is
trusted, and nothing is opened that `lstat` has not shown to be a regular file or a directory.

Preconditions: every process that could write to the upper layer is dead.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator

import msgspec

from ringfence.model.paths import HostPath

from .beneath import Tree, lstat_at
from .change import Change, ChangeKind, FileType, file_type
from .content import same_content

_NAMESPACES = ("user.overlay.", "trusted.overlay.")
_UNSUPPORTED = ("redirect", "metacopy")
_ORIGINS = frozenset(f"{namespace}origin" for namespace in _NAMESPACES)
_MODE_BITS = 0o7777


class _Pending(msgspec.Struct, frozen=True):
    """A directory of the upper layer still to be read. `lower`: the host has it too; `hidden`: it is opaque."""

    path: str
    lower: bool
    hidden: bool


class _Walk:
    """What is still to be read, and whether a file of the host lost its place to something else."""

    def __init__(self, pending: list[_Pending]) -> None:
        self.pending = pending
        self.displaced = False


def changes(upper: HostPath, lower: HostPath) -> list[Change]:
    """List what the layer `upper` changes in `lower`, sorted by path; raise `OSError` if either root cannot be read."""
    found: list[Change] = []
    with Tree(upper) as layer, Tree(lower) as host:
        walk = _Walk([_Pending("", True, _overlay_attribute(f"/proc/self/fd/{layer.root}", "opaque") == b"y")])
        while walk.pending:
            directory = walk.pending.pop()
            try:
                found += _directory_changes(layer, host, directory, walk)
            except OSError as error:
                if not directory.path:
                    raise
                found.append(_unreadable(directory.path, FileType.DIRECTORY, error))
    return sorted(_settled(found, displaced=walk.displaced), key=lambda change: change.path.split("/"))


def file_changes(layer: Tree, host: Tree, path: str) -> list[Change]:
    """What the host lacks to have the regular file `path` as the layer has it: directories above it, and the file.

    Empty where nothing is lacking or anything else than regular files and directories is involved. Unlike `changes` it
    may be called while the run is alive; raise `OSError` where something moves away meanwhile.
    """
    names = path.split("/")
    found: list[Change] = []
    for depth in range(1, len(names) + 1):
        change, fits = _step(layer, host, "/".join(names[:depth]), directory=depth < len(names))
        if not fits:
            return []
        found += [change] if change else []
    return found if found and found[-1].path == path else []


def _step(layer: Tree, host: Tree, path: str, *, directory: bool) -> tuple[Change | None, bool]:
    """What the host lacks at `path`, and whether both sides have nothing there but what `directory` says."""
    upper_fd, name = layer.open_parent(path)
    try:
        lower_fd = _open_lower(host, _Pending(path.rpartition("/")[0], True, False))
        try:
            new = os.stat(name, dir_fd=upper_fd, follow_symlinks=False)
            pair = _Pair(
                host, upper_fd, lower_fd, path, new, lstat_at(lower_fd, name) if lower_fd >= 0 else None, False
            )
            expected = stat.S_IFDIR if directory else stat.S_IFREG
            kinds = {stat.S_IFMT(found.st_mode) for found in (pair.new, pair.old) if found is not None}
            if kinds != {expected} or _is_whiteout(pair):
                return None, False
            kind = _kind(pair)
            if kind is None or kind is ChangeKind.MODE:
                return None, True
            change = _describe(pair, kind)
            return change, not change.copied
        finally:
            if lower_fd >= 0:
                os.close(lower_fd)
    finally:
        os.close(upper_fd)


def deletion(host: Tree, path: str) -> Change | None:
    """The removal of what `host` has at `path`; None where nothing is there."""
    found = host.lstat(path)
    return None if found is None else _deletion(path, found)


def existing(host: Tree) -> Callable[[str], FileType | None]:
    """Give the function that `filter.Rules.existing` asks: the type `host` has at a path, None where nothing is there.

    A path that leads through a link is not there: nothing is ever written through one.
    """

    def look(path: str) -> FileType | None:
        try:
            found = host.lstat(path)
        except OSError:
            return None
        return None if found is None else file_type(found.st_mode)

    return look


def _settled(found: list[Change], *, displaced: bool) -> list[Change]:
    """Say of which creations it is certain that the host removed what they were made from (`Change.copied`).

    A file copied up and renamed inside looks the same where its old name gives no hint, so as long as any file of the
    host may have moved, none is certain. A directory that only came along, with nothing in it, is no change.
    """
    if not any(change.copied for change in found):
        return found
    uncertain = displaced or any(c.kind is ChangeKind.DELETE and c.old_type is not FileType.DIRECTORY for c in found)
    filled = {parent for change in found if not change.copied for parent in _parents(change.path)}
    settled = []
    for change in found:
        if change.copied and change.type is FileType.DIRECTORY:
            if change.path in filled or uncertain:
                settled.append(msgspec.structs.replace(change, copied=False))
        elif change.copied and (uncertain or change.nlink > 1):
            settled.append(msgspec.structs.replace(change, copied=False))
        else:
            settled.append(change)
    return settled


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _directory_changes(layer: Tree, host: Tree, directory: _Pending, walk: _Walk) -> Iterator[Change]:
    upper_fd = layer.open_directory(directory.path)
    lower_fd = _open_lower(host, directory)
    try:
        seen = set()
        with os.scandir(upper_fd) as entries:
            for entry in entries:
                new = entry.stat(follow_symlinks=False)
                seen.add(entry.name)
                path = f"{directory.path}/{entry.name}" if directory.path else entry.name
                old = lstat_at(lower_fd, entry.name) if lower_fd >= 0 else None
                pair = _Pair(host, upper_fd, lower_fd, path, new, old, directory.hidden)
                try:
                    yield from _entry_changes(pair, walk)
                except OSError as error:
                    yield _unreadable(path, file_type(new.st_mode), error)
        if directory.hidden and lower_fd >= 0:
            for name in os.listdir(lower_fd):
                if name not in seen:
                    yield from _deletions(host, f"{directory.path}/{name}" if directory.path else name)
    finally:
        os.close(upper_fd)
        if lower_fd >= 0:
            os.close(lower_fd)


def _open_lower(host: Tree, directory: _Pending) -> int:
    if not directory.lower:
        return -1
    try:
        return host.open_directory(directory.path)
    except (FileNotFoundError, NotADirectoryError):
        return -1


class _Pair(msgspec.Struct, frozen=True):
    """One name in both layers, with the descriptors of the directories it was found in."""

    host: Tree
    upper_fd: int
    lower_fd: int
    path: str
    new: os.stat_result
    old: os.stat_result | None
    hidden: bool

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def place(self) -> str:
        """A name for calls that take no directory descriptor; the last component is not followed by any of them."""
        return f"/proc/self/fd/{self.upper_fd}/{self.name}"


def _entry_changes(pair: _Pair, walk: _Walk) -> Iterator[Change]:
    new, old = pair.new, pair.old
    if _is_whiteout(pair):
        if old is not None:
            yield from _deletions(pair.host, pair.path)
        return
    directory = stat.S_ISDIR(new.st_mode)
    if directory:
        if any(_overlay_attribute(pair.place, name) is not None for name in _UNSUPPORTED):
            error = OSError(errno.EOPNOTSUPP, "the layer uses an overlay feature that is not enabled")
            yield _unreadable(pair.path, FileType.DIRECTORY, error)
            return
        merged = old is not None and stat.S_ISDIR(old.st_mode)
        hidden = pair.hidden or _overlay_attribute(pair.place, "opaque") == b"y"
        walk.pending.append(_Pending(pair.path, merged, hidden))
    kind = _kind(pair)
    if old is not None and not stat.S_ISDIR(old.st_mode) and not (stat.S_ISREG(new.st_mode) and _was_copied(pair)):
        walk.displaced = True
    if kind is None:
        return
    yield _describe(pair, kind)
    if kind is ChangeKind.REPLACE and old is not None and stat.S_ISDIR(old.st_mode):
        yield from _content_deletions(pair.host, pair.path)


def _kind(pair: _Pair) -> ChangeKind | None:
    """Compare the two layers; None where the host has exactly this: copied up, touched, or on the way to a child."""
    new, old = pair.new, pair.old
    if old is None:
        return ChangeKind.CREATE
    if stat.S_IFMT(new.st_mode) != stat.S_IFMT(old.st_mode):
        return ChangeKind.REPLACE
    if stat.S_ISLNK(new.st_mode):
        same = os.readlink(pair.name, dir_fd=pair.upper_fd) == os.readlink(pair.name, dir_fd=pair.lower_fd)
        return None if same else ChangeKind.MODIFY
    if stat.S_ISREG(new.st_mode) and (
        new.st_size != old.st_size or not same_content(pair.upper_fd, pair.lower_fd, pair.name)
    ):
        return ChangeKind.MODIFY
    if not stat.S_ISREG(new.st_mode) and not stat.S_ISDIR(new.st_mode):
        return ChangeKind.MODIFY
    return None if (new.st_mode ^ old.st_mode) & _MODE_BITS == 0 else ChangeKind.MODE


def _describe(pair: _Pair, kind: ChangeKind) -> Change:
    new, old = pair.new, pair.old
    kind_of_file = file_type(new.st_mode)
    attributes = _attributes(pair.place)
    return Change(
        path=pair.path,
        kind=kind,
        type=kind_of_file,
        mode=new.st_mode & _MODE_BITS,
        size=new.st_size if kind_of_file is FileType.FILE else 0,
        allocated=new.st_blocks * 512 if kind_of_file is FileType.FILE else 0,
        mtime_ns=new.st_mtime_ns,
        link=os.readlink(pair.name, dir_fd=pair.upper_fd) if kind_of_file is FileType.SYMLINK else "",
        nlink=new.st_nlink,
        xattrs=tuple([name for name in attributes if not name.startswith(_NAMESPACES)]) if attributes else (),
        old_type=None if old is None else file_type(old.st_mode),
        old_mode=0 if old is None else old.st_mode & _MODE_BITS,
        copied=old is None and not _ORIGINS.isdisjoint(attributes),
    )


def _deletions(host: Tree, path: str) -> Iterator[Change]:
    """Yield the deletion of `path` and, for a directory, of everything below it."""
    pending = [path]
    while pending:
        current = pending.pop()
        try:
            old = host.lstat(current)
            if old is None:
                continue
            yield _deletion(current, old)
            if stat.S_ISDIR(old.st_mode):
                pending += [f"{current}/{name}" for name in _names(host, current)]
        except OSError as error:
            yield _unreadable(current, FileType.DIRECTORY, error)


def _content_deletions(host: Tree, path: str) -> Iterator[Change]:
    return (change for change in _deletions(host, path) if change.path != path or change.kind is ChangeKind.UNREADABLE)


def _deletion(path: str, old: os.stat_result) -> Change:
    kind_of_file = file_type(old.st_mode)
    return Change(
        path=path,
        kind=ChangeKind.DELETE,
        type=kind_of_file,
        mode=old.st_mode & _MODE_BITS,
        size=old.st_size if kind_of_file is FileType.FILE else 0,
        mtime_ns=old.st_mtime_ns,
        nlink=old.st_nlink,
        old_type=kind_of_file,
        old_mode=old.st_mode & _MODE_BITS,
    )


def _names(host: Tree, directory: str) -> list[str]:
    fd = host.open_directory(directory)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _is_whiteout(pair: _Pair) -> bool:
    mode = pair.new.st_mode
    if stat.S_ISCHR(mode):
        return pair.new.st_rdev == 0
    return stat.S_ISREG(mode) and pair.new.st_size == 0 and _overlay_attribute(pair.place, "whiteout") is not None


def _was_copied(pair: _Pair) -> bool:
    return not _ORIGINS.isdisjoint(_attributes(pair.place))


def _attributes(place: str) -> list[str]:
    try:
        return os.listxattr(place, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA):
            return []
        raise


def _overlay_attribute(place: str, name: str) -> bytes | None:
    for namespace in _NAMESPACES:
        try:
            # The root of the layer is addressed through its descriptor, which is a link in /proc.
            return os.getxattr(place, namespace + name, follow_symlinks=place.count("/") == 4)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
                raise
    return None


def _unreadable(path: str, kind_of_file: FileType, error: OSError) -> Change:
    return Change(
        path=path, kind=ChangeKind.UNREADABLE, type=kind_of_file, detail=os.strerror(error.errno or errno.EIO)
    )
