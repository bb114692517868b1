"""One path of the difference between a run's upper layer and the host's workspace."""

import stat
from enum import Enum

import msgspec


class ChangeKind(Enum):
    """What has to happen on the host for one path."""

    CREATE = "create"  # nothing was there
    MODIFY = "modify"  # same type, other content, target or mode
    REPLACE = "replace"  # another type is there
    MODE = "mode"  # same content, other permission bits
    DELETE = "delete"  # `type` tells what is there
    UNREADABLE = "unreadable"  # the layer cannot be read here; `detail` says why


class FileType(Enum):
    """What `lstat` found."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    DEVICE = "device"


_TYPES = {
    stat.S_IFREG: FileType.FILE,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFLNK: FileType.SYMLINK,
    stat.S_IFIFO: FileType.FIFO,
    stat.S_IFSOCK: FileType.SOCKET,
}


def file_type(mode: int) -> FileType:
    """Name the type in `st_mode`."""
    return _TYPES.get(stat.S_IFMT(mode), FileType.DEVICE)


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change.

    `path` is relative to the workspace; bytes that are not UTF-8 are surrogate escapes. `type`, `mode`, `size`,
    `allocated` (bytes on disk), `mtime_ns`, `link`, `nlink` and `xattrs` describe the new thing, or the old one for a
    deletion; `old_type` and `old_mode` what the host has. Overlayfs' own attributes are not in `xattrs`. `copied`: this
    creation was made from something that the host no longer has under this name.
    """

    path: str
    kind: ChangeKind
    type: FileType
    mode: int = 0
    size: int = 0
    allocated: int = 0
    mtime_ns: int = 0
    link: str = ""
    nlink: int = 1
    xattrs: tuple[str, ...] = ()
    old_type: FileType | None = None
    old_mode: int = 0
    copied: bool = False
    detail: str = ""


class Reviewed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change with its verdict: allowed where `code` is empty, else held for the reason in `code` and `sentence`.

    `releasable`: an operator on the host may let it through by name.
    """

    change: Change
    code: str = ""
    sentence: str = ""
    releasable: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the change may reach the host."""
        return not self.code


class Outcome(Enum):
    """What became of one change."""

    APPLIED = "applied"
    HELD = "held"  # the filter kept it back
    CONFLICT = "conflict"  # the host changed in the meantime; nothing was overwritten
    FAILED = "failed"  # the operating system refused


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome for one path, with the reason unless it was applied."""

    path: str
    outcome: Outcome
    reason: str = ""
