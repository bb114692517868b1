"""Look at a checkout: find its surfaces and read them, each file once, strictly bounded.

SECURITY: a checkout is hostile input. No link is followed on the way, nothing but regular files is opened, sizes and
counts are limited, and where a limit is reached the answer is an error, never a part of the truth. What cannot be read
counts as a surface, because whoever may change its permissions could read it later.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator

import msgspec

from ringfence.model.errors import HostError
from ringfence.model.names import canonical, canonical_path

from . import surfaces
from .manifest import Found, Manifest, build

NAMES_LIMIT = 500_000
FILES_LIMIT = 10_000
BYTES_LIMIT = 1 << 30
TEXT_LIMIT_BYTES = 256 << 10
TEXTS_LIMIT_BYTES = 16 << 20
LOOKS_LIMIT = 200_000

# A configuration of git that can run nothing and takes nothing from elsewhere: sections, plain values, known keys only.
# A ref may be called `config` too; it holds a name or another ref.
_INERT_LINE = re.compile(
    r"""(?:[#;].*|\[(?:core|remote|branch|user|submodule|lfs|extensions|pull|push|fetch|init|gc|maintenance)
    (?:[ ]"[\w./@+-]*")?\]|(?:repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|precomposeunicode
    |symlinks|autocrlf|objectformat|refstorage|worktreeconfig|partialclone|partialclonefilter|promisor|url|pushurl|fetch
    |remote|merge|rebase|pushremote|name|email|active|prune|autosetuprebase|default|defaultbranch|auto|ff|tagopt
    |vscode-merge-base|github-pr-[\w-]+)[ \t]*=(?:(?!::)[\w \t./:@+~*#-])*|[0-9a-f]{40,64}|ref:[ ][\w./-]+)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def examine(root: str, repositories: Iterable[str] = ()) -> Manifest:
    """The manifest of the checkout in the real directory `root`, which works with git directories outside of it.

    Raises HostError where there is more than the limits allow, or where `root` cannot be read.
    """
    scan = _Scan(root)
    found = [*scan.walk(""), *(one for place in repositories for one in scan.git_directory(place))]
    return build(found, scan.never, scan.look)


class _Scan:
    """One look at one checkout; what was read so far counts towards the limits."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.never: list[str] = []
        self.read: dict[str, Found] = {}
        self.names = self.looks = self.bytes = self.texts = 0

    def walk(self, top: str) -> Iterator[Found]:
        """Every surface below `top`, at any depth."""
        pending = [top]
        while pending:
            directory = pending.pop()
            entries = self.listing(directory)
            if entries is None:
                yield Found(path=directory, kind="unreadable", top=directory, reason="it cannot be read", text=None)
                continue
            if _is_git({entry.name.casefold() for entry in entries}):
                yield from self.git_files(directory, entries)
            parts = tuple(canonical(name) for name in directory.split("/")) if directory else ()
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                here = (*parts, canonical(entry.name))
                surface = surfaces.surface_at(here, link=entry.is_symlink())
                if surfaces.never_shown(here, surface):
                    self.never.append(path)
                elif surface is not None:
                    yield from (_as(one, surface.loader, surface.reason) for one in self.tree(path))
                    continue
                if here[-1] == ".git":
                    yield from self.git(path, is_directory=entry.is_dir(follow_symlinks=False))
                if entry.name != ".git" and entry.is_dir(follow_symlinks=False):
                    pending.append(path)

    def git(self, path: str, *, is_directory: bool) -> Iterator[Found]:
        """A `.git`: a directory is searched, anything else is a pointer, whose text counts and which stays visible."""
        if is_directory:
            yield from self.git_directory(path)
        else:
            yield _as(self.entry(path, ""), "pointer", "git goes where it points")

    def git_directory(self, top: str) -> Iterator[Found]:
        """What can run code in a git directory and in those of submodules and worktrees that lie in it."""
        pending = [top]
        while pending:
            directory = pending.pop()
            entries = self.listing(directory)
            if entries is None:
                yield Found(path=directory, kind="unreadable", top=directory, reason="it cannot be read", text=None)
                continue
            if _is_git({entry.name.casefold() for entry in entries}):
                yield from self.git_files(directory, entries)
            pending += [f"{directory}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]

    def git_files(self, directory: str, entries: Iterable["os.DirEntry[str]"]) -> Iterator[Found]:
        """Configuration that is more than data, hooks, and pointers, of one git directory."""
        for entry in entries:
            path, name = f"{directory}/{entry.name}" if directory else entry.name, entry.name.casefold()
            if name in ("config", "config.worktree"):
                one = self.entry(path, path)
                if one.kind != "file" or one.text is None or not _is_inert(one.text):
                    yield _as(one, "version-control", "git runs hooks, filters and helpers named in it")
            elif name == "hooks":
                for one in self.tree(path):
                    if one.kind != "file" or not one.path.endswith(".sample"):
                        yield _as(one, "version-control", "git runs it as a hook")
            elif name == "commondir":
                yield _as(self.entry(path, ""), "pointer", "git goes where it points")

    def tree(self, top: str, *, hide: bool = True) -> Iterator[Found]:
        """The file at `top`, or every file below it."""
        pending = [top]
        while pending:
            place = pending.pop()
            if surfaces.never_shown(canonical_path(place), None):
                self.never.append(place)
                continue
            one = self.entry(place, top if hide else "")
            entries = self.listing(one.path) if one.kind == "directory" else []
            if entries is None:
                yield msgspec.structs.replace(one, kind="unreadable", text=None)
            elif one.kind != "directory":
                yield one
            pending += [f"{one.path}/{entry.name}" for entry in entries or ()]

    def look(self, path: str, everything: bool) -> list[Found]:
        """See `manifest.Look`; nothing where the path leads out of the checkout."""
        self.looks += 1
        if self.looks > LOOKS_LIMIT:
            raise _too_much(f"{LOOKS_LIMIT} words that may name files")
        real = os.path.realpath(os.path.join(self.root, path)) if "\0" not in path else ""
        if not real.startswith(f"{self.root}/") or not os.path.exists(real):
            return []
        one = self.entry(real[len(self.root) + 1 :], "")
        if one.kind == "directory" and everything:
            return list(self.tree(one.path, hide=False))
        return [one] if one.kind in ("file", "directory") else []

    def listing(self, path: str) -> "list[os.DirEntry[str]] | None":
        """What is in a directory; None where that cannot be read."""
        try:
            with os.scandir(os.path.join(self.root, path)) as entries:
                found = list(entries)
        except OSError as error:
            if not path:
                raise HostError(f"cannot read the checkout `{self.root}`: {error.strerror}") from error
            return None
        self.names += len(found)
        if self.names > NAMES_LIMIT:
            raise _too_much(f"{NAMES_LIMIT} names")
        return found

    def entry(self, path: str, top: str) -> Found:
        """What is at `path`, read if it is a file."""
        place = os.path.join(self.root, path)
        kind = stat.S_IFMT(os.lstat(place).st_mode)
        if kind == stat.S_IFLNK:
            return Found(path=path, kind="link", digest=os.readlink(place), top=top)
        if kind != stat.S_IFREG:
            return Found(path=path, kind="directory" if kind == stat.S_IFDIR else "other", top=top)
        known = self.read.get(path)
        if known is None:
            known = self.read[path] = self.file(path, place)
        return msgspec.structs.replace(known, top=top)

    def file(self, path: str, place: str) -> Found:
        """A regular file with its digest, and its text if it is small."""
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return Found(path=path, kind="unreadable", text=None)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            self.bytes += status.st_size
            if not stat.S_ISREG(status.st_mode) or self.bytes > BYTES_LIMIT or len(self.read) >= FILES_LIMIT:
                raise _too_much(f"{FILES_LIMIT} files or {BYTES_LIMIT >> 20} MiB")
            head = file.read(TEXT_LIMIT_BYTES)
            total = hashlib.sha256(head)
            rest = status.st_size - len(head)
            while rest > 0 and (more := file.read(min(rest, 1 << 20))):
                total.update(more)
                rest -= len(more)
        self.texts += len(head)
        searched = status.st_size <= TEXT_LIMIT_BYTES and self.texts <= TEXTS_LIMIT_BYTES and b"\0" not in head
        executable = bool(status.st_mode & 0o111)
        return Found(
            path=path,
            kind="file",
            digest=total.hexdigest(),
            executable=executable,
            text=head.decode("utf-8", "replace") if searched else None,
        )


def _as(one: Found, loader: str, reason: str) -> Found:
    return msgspec.structs.replace(one, loader=loader, reason=reason)


def _is_git(names: set[str]) -> bool:
    """Whether git could take a directory with these names for a repository, or for the common part of one."""
    return "head" in names or {"objects", "refs"} <= names


def _is_inert(text: str) -> bool:
    return all(_INERT_LINE.fullmatch(line.strip(" \t\r")) for line in text.split("\n"))


def _too_much(limit: str) -> HostError:
    hint = "work in a smaller directory, or set `trust.mode` to `off` for what you trust anyway"
    return HostError(f"the checkout has more than {limit} to look at before it can be trusted", hint=hint)
