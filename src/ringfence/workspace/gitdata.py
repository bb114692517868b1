"""Which changes inside the workspace's own `.git` directory are data, and which make git run something.

Rules: the directory is treated as data and by allow-list. Objects, packs, references, reflogs and a few named files
may change, as regular files and directories only. Everything else is held: `config` and `hooks` run programs,
`commondir`, `gitdir`, `modules` and `worktrees` redirect git to another repository, `info` and alternates name further
files, the state of a rebase and the sequencer contain commands, lock and temporary files would block the host's git.
See gitrepository-layout(5). A large file of git-lfs is data only where its content has the digest that its name says,
since git-lfs looks at the size alone: `digest_of` says which, and it is compared when the file is staged.

SECURITY: an allow-list of exact names. A name git would accept in another letter case on another disk is not on it.
"""

import re

from .change import Change, ChangeKind, FileType

_HEX = r"[0-9a-f]"
_DATA = re.compile(
    r"|".join(
        (
            rf"objects/{_HEX}{{2}}/(?:{_HEX}{{38}}|{_HEX}{{62}})",
            rf"objects/pack/pack-{_HEX}{{40,64}}\.(?:pack|idx|rev|bitmap|mtimes|keep|promisor)",
            rf"objects/pack/multi-pack-index(?:-{_HEX}{{40,64}}\.(?:bitmap|rev))?",
            r"objects/info/(?:packs|commit-graph)",
            rf"objects/info/commit-graphs/(?:commit-graph-chain|graph-{_HEX}{{40,64}}\.graph)",
            rf"lfs/objects/({_HEX}{{2}})/({_HEX}{{2}})/\1\2{_HEX}{{60}}",
            r"refs/.+",
            r"logs/.+",
            r"HEAD|index|packed-refs|shallow|(?:ORIG|FETCH|MERGE|REBASE|CHERRY_PICK|REVERT|BISECT)_HEAD",
            r"MERGE_MSG|MERGE_MODE|SQUASH_MSG|COMMIT_EDITMSG|AUTO_MERGE|BISECT_[A-Z_]+",
        )
    ),
    re.DOTALL,
)
_DIRECTORIES = re.compile(
    rf"objects(?:/{_HEX}{{2}}|/pack|/info(?:/commit-graphs)?)?|refs(?:/.+)?|logs(?:/.+)?"
    rf"|lfs(?:/tmp|/objects(?:/{_HEX}{{2}}){{0,2}})?",
    re.DOTALL,
)
_NEEDED = frozenset({"HEAD", "objects", "refs"})  # without these git takes the directory for no repository at all
_REBASE = frozenset({"rebase-merge", "rebase-apply"})
_WHY = {
    "config": "git runs programs named in `.git/config`",
    "config.worktree": "git runs programs named in `.git/config.worktree`",
    "hooks": "git runs the files in `.git/hooks`",
    "info": "`.git/info` can turn on filters and hide files",
    "commondir": "`.git/commondir` redirects git to another repository",
    "gitdir": "`.git/gitdir` redirects git to another work tree",
    "modules": "a submodule's git directory carries its own configuration and hooks",
    "worktrees": "a linked worktree's git directory redirects git to another repository",
    "objects": "only objects, packs and their indexes are data; alternates name further files",
    "lfs": "only large files under the digest of their content are data",
    "rebase-merge": "the state of a rebase contains commands that `git rebase --continue` runs",
    "rebase-apply": "the state of a rebase contains commands that `git rebase --continue` runs",
    "sequencer": "the state of a sequence of picks contains options that git would follow",
}
_TRANSIENT = re.compile(r"\.lock$|(?:^|/)tmp_|\.tmp")


def git_hold(path: str, change: Change) -> str | None:
    """Say why `change` at `path`, relative to the top-level `.git`, is held, or None where it is data."""
    top = path.split("/", 1)[0]
    if change.kind is ChangeKind.DELETE:
        return _deletion_hold(path, top, change)
    if change.kind is ChangeKind.REPLACE:
        return "another type takes the place of a part of `.git`"
    if change.type is FileType.SYMLINK:
        return "git would follow a link inside `.git`"
    if change.type is FileType.DIRECTORY:
        return None if _DIRECTORIES.fullmatch(path) else _why(top)
    if change.type is not FileType.FILE:
        return "only regular files and directories are data inside `.git`"
    if _TRANSIENT.search(path):
        return "a lock or temporary file would block git on the host"
    return None if _DATA.fullmatch(path) else _why(top)


def linked_hold(change: Change) -> str | None:
    """Say why `change` in a git directory outside of the workspace is held, or None where it is data.

    The state of the linked worktrees that exist (`worktrees/NAME`) is judged like that of a repository; a new one is
    not data, because its `gitdir` and `commondir` decide which repository the host's git opens there.
    """
    top, _, rest = change.path.partition("/")
    _, _, below = rest.partition("/")
    if top == "worktrees" and below and not below.startswith(("objects", "lfs")):
        return git_hold(below, change)
    return git_hold(change.path, change)


def digest_of(path: str, *, layer: bool) -> str:
    """Give the SHA-256 that the content of `path` must have, empty where anything may stand; `layer`: see `Rules`."""
    return path[-64:] if path.startswith("lfs/objects/" if layer else ".git/lfs/objects/") else ""


def _deletion_hold(path: str, top: str, change: Change) -> str | None:
    if path in _NEEDED:
        return f"git needs `.git/{path}`"
    if top in _REBASE:
        return None
    pattern = _DIRECTORIES if change.type is FileType.DIRECTORY else _DATA
    if change.type in (FileType.FILE, FileType.DIRECTORY) and pattern.fullmatch(path):
        return None
    return _why(top)


def _why(top: str) -> str:
    return _WHY.get(top, "only objects, references, reflogs, the index and messages are data inside `.git`")
