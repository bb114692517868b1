"""The host's side of one apply: single steps on the workspace, each of them atomic and announced before it is taken.

Theory of operation: new content is built under a temporary name in the directory where it belongs (so the last step is
one rename on one file system), then exchanged with what is there by renameat2(2) RENAME_EXCHANGE. Whatever was there
is thereby never overwritten: it lies under the temporary name, is compared with what the check saw, and either moves
to the run's undo directory or, if someone was faster, straight back. Where the file system cannot exchange, it is
first moved aside.

INVARIANT: a temporary name holds either something of ours or something that is recorded as `old` of the same entry, so
`recovery` can tell what to do with it (tests/integration/test_workspace_faults.py).
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Self

from ringfence.model.errors import HostError
from ringfence.model.paths import HostPath

from .beneath import Tree, lstat_at, open_beneath, split
from .change import Change, FileType
from .content import copy_content, has_digest, open_regular
from .gitdata import digest_of
from .journal import Entry, Identity, Journal
from .moves import ConflictError, exchange, move, place_new, remove, remove_directory
from .runs import Run

_PERMISSIONS = 0o777
# What open(2) with O_TMPFILE says where the file system, or an old kernel, knows nothing of it.
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS)
_CARRIED_XATTRS = ("user.", "system.posix_acl_access")
Step = Callable[[str], None]


def explained(error: OSError) -> str:
    """Say for the operator what the operating system refused."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):  # what openat2(2) says of a link, in the middle and at the end
        return "a directory above it is a link or a file on the host"
    if error.errno == errno.EXDEV:
        return "a directory above it is a mount point on the host"
    return error.strerror or "the operating system refused"


def no_step(_name: str) -> None:
    """Do nothing between two steps."""


class Host:
    """The workspace of `run`, its upper layer, its undo directory and its journal, all open."""

    def __init__(self, run: Run, journal: Journal, step: Step) -> None:
        self.run = run
        self.journal = journal
        self.step = step
        os.makedirs(run.undo, mode=0o700, exist_ok=True)
        with contextlib.ExitStack() as stack:
            self.tree = stack.enter_context(Tree(run.workspace))
            self._undo = stack.enter_context(Tree(run.undo))
            self._stack = stack.pop_all()
        # New files without a name yet, by entry number: nobody sees one before it is complete (open(2), O_TMPFILE).
        self._nameless: dict[int, int] = {}
        owner = os.fstat(self.tree.root)
        self._owner = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for n in list(self._nameless):
            self.unstage(n)
        self._stack.close()

    def unstage(self, n: int) -> None:
        """Let go of the nameless file of entry `n`, if there is one."""
        if n in self._nameless:
            os.close(self._nameless.pop(n))

    # -- places

    def temporary(self, entry: Entry) -> str:
        """Name the temporary of `entry`."""
        return f".ringfence-{self.run.run}-{entry.n}"

    def aside(self, entry: Entry) -> str:
        """Name the place for the old thing where the file system cannot exchange."""
        return f".ringfence-{self.run.run}-{entry.n}-old"

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory that holds `path`, with access for its owner; give its descriptor and the last name."""
        directory, name = split(path)
        try:
            fd = self.tree.open_directory(directory)
        except PermissionError:
            self.open_up(directory)
            fd = self.tree.open_directory(directory)
        try:
            found = os.fstat(fd)
            if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                self.open_up(directory)
            yield fd, name
        finally:
            os.close(fd)

    def open_up(self, directory: str) -> None:
        """Give the owner access to `directory` and those above it; `close_up` takes it back."""
        names = directory.split("/") if directory else []
        for depth in range(1, len(names) + 1):
            path = "/".join(names[:depth])
            fd = open_beneath(self.tree.root, path, os.O_PATH | os.O_DIRECTORY)
            try:
                mode = stat.S_IMODE(os.fstat(fd).st_mode)
                if mode & stat.S_IRWXU != stat.S_IRWXU:
                    self.journal.open(path, mode)
                    self.step("open")
                    os.chmod(f"/proc/self/fd/{fd}", mode | stat.S_IRWXU)
            finally:
                os.close(fd)

    def set_mode(self, path: str, mode: int) -> None:
        """Set the permission bits of the file or directory `path`, never those of what a link leads to."""
        fd = open_beneath(self.tree.root, path, os.O_PATH)
        try:
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise ConflictError("a link took its place on the host")
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        """Set the modification time of the directory `path`."""
        fd = self.tree.open_directory(path)
        try:
            os.utime(fd, ns=(os.fstat(fd).st_atime_ns, mtime_ns))
        finally:
            os.close(fd)

    # -- new things

    def stage(self, entry: Entry, layer: Tree, directory: int, old: os.stat_result | None) -> None:
        """Build what `entry` brings under its temporary name in the open `directory`, complete but for its place."""
        change, temporary = entry.change, self.temporary(entry)
        if change.type is FileType.FILE:
            self._stage_file(entry, layer, directory, old)
        elif change.type is FileType.SYMLINK:
            os.symlink(change.link, temporary, dir_fd=directory)
            self._own(directory, temporary)
            times = (change.mtime_ns, change.mtime_ns)
            os.utime(temporary, ns=times, dir_fd=directory, follow_symlinks=False)
        elif change.type is FileType.DIRECTORY:
            os.mkdir(temporary, change.mode & _PERMISSIONS | stat.S_IRWXU, dir_fd=directory)
            self._own(directory, temporary)
        else:
            raise OSError(errno.EPERM, f"a {change.type.value} is not carried over")
        self.step("staged")
        nameless = self._nameless.get(entry.n)
        made = os.fstat(nameless) if nameless is not None else lstat_at(directory, temporary)
        entry.made = Identity.of(made)
        self.journal.swap(entry, made.st_ino if made is not None else 0)
        self.step("swap")

    def _stage_file(self, entry: Entry, layer: Tree, directory: int, old: os.stat_result | None) -> None:
        change = entry.change
        source_directory, name = layer.open_parent(change.path)
        try:
            source = open_regular(source_directory, name)
        finally:
            os.close(source_directory)
        try:
            found = os.fstat(source)
            if (found.st_size, found.st_mtime_ns) != (change.size, change.mtime_ns):
                raise ConflictError("the run's copy is not the one that was reviewed")
            target = self._new_file(entry, directory)
            try:
                self.step("created")
                copy_content(source, target)
                if os.fstat(source).st_ctime_ns != found.st_ctime_ns:
                    raise ConflictError("the run is still writing to it")
                # SECURITY: of the copy, which nobody can reach: what is compared is what the host gets.
                digest = digest_of(change.path, layer=self.run.layer > 0)
                if digest and not has_digest(target, digest):
                    raise ConflictError("its content does not have the digest that its name says")
                self._dress(target, directory, change, old)
            finally:
                if entry.n not in self._nameless:
                    os.close(target)
        finally:
            os.close(source)

    def _new_file(self, entry: Entry, directory: int) -> int:
        """Make an empty file in the open `directory`: without a name where the file system can, else a temporary."""
        try:
            fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(self.temporary(entry), flags, 0o600, dir_fd=directory)
        self._nameless[entry.n] = fd
        return fd

    def _dress(self, target: int, directory: int, change: Change, old: os.stat_result | None) -> None:
        """Give a new file its owner, mode and mtime, and the attributes of the file whose place it takes."""
        self._own(directory, target)
        if old is not None and stat.S_ISREG(old.st_mode):
            if old.st_gid != os.fstat(target).st_gid:
                with contextlib.suppress(PermissionError):
                    os.fchown(target, -1, old.st_gid)
            self._carry_xattrs(directory, split(change.path)[1], target)
        os.fchmod(target, change.mode & _PERMISSIONS)  # SECURITY: never setuid, setgid or sticky
        os.utime(target, ns=(change.mtime_ns, change.mtime_ns))

    def _own(self, directory: int, what: int | str) -> None:
        """As root, hand a new thing to the owner of the workspace; a setgid directory decides the group."""
        if self._owner is None:
            return
        uid, gid = self._owner
        if os.fstat(directory).st_mode & stat.S_ISGID:
            gid = -1
        if isinstance(what, int):
            os.fchown(what, uid, gid)
        else:
            os.chown(what, uid, gid, dir_fd=directory, follow_symlinks=False)

    def _carry_xattrs(self, directory: int, name: str, target: int) -> None:
        place = f"/proc/self/fd/{directory}/{name}"
        with contextlib.suppress(OSError):  # best effort: file systems differ in what they store
            for attribute in os.listxattr(place, follow_symlinks=False):
                if attribute.startswith(_CARRIED_XATTRS):
                    os.setxattr(target, attribute, os.getxattr(place, attribute, follow_symlinks=False))

    # -- places changing hands

    def install(self, entry: Entry, directory: int, name: str) -> None:
        """Put the staged thing in its place; the old one, if any, goes to the undo directory."""
        old, temporary = entry.old, self.temporary(entry)
        if old is not None and old.is_directory:
            remove_directory(directory, name)
            self.step("emptied")
        if old is None or old.is_directory:
            if entry.n in self._nameless:
                self._give_name(entry, directory, name)
            else:
                place_new(directory, temporary, name)
            self.step("installed")
            return
        if entry.n in self._nameless:
            self._give_name(entry, directory, temporary)
            self.step("named")
        left = exchange(directory, temporary, name, self.aside(entry))
        self.step("installed")
        if not old.same(Identity.of(lstat_at(directory, left))):
            self.put_back(entry, directory, name, left)
            raise ConflictError("it was changed on the host a moment ago")
        self.keep_or_put_back(entry, directory, name, left)

    def _give_name(self, entry: Entry, directory: int, name: str) -> None:
        """Link the nameless file of `entry` to the free `name`; raise `ConflictError` if it is not free."""
        try:
            os.link(f"/proc/self/fd/{self._nameless[entry.n]}", name, dst_dir_fd=directory)
        except FileExistsError:
            raise ConflictError("it was created on the host in the meantime") from None
        self.unstage(entry.n)

    def put_back(self, entry: Entry, directory: int, name: str, left: str) -> None:
        """Let the old thing under `left` and the new one under `name` change places again."""
        other = self.aside(entry) if left == self.temporary(entry) else self.temporary(entry)
        exchange(directory, left, name, other)

    def keep_or_put_back(self, entry: Entry, directory: int, name: str, left: str) -> None:
        """Keep the old thing, unless it is our own; where there is no room for it, undo the exchange and raise."""
        if entry.over is not None:
            remove(directory, left)
            return
        try:
            self.keep(entry, directory, left)
        except OSError:
            self.put_back(entry, directory, name, left)
            raise

    def take_away(self, entry: Entry, directory: int, name: str) -> None:
        """Move what the host has to the undo directory."""
        temporary = self.temporary(entry)
        place_new(directory, name, temporary)
        self.step("removed")
        if entry.old is None or not entry.old.same(Identity.of(lstat_at(directory, temporary))):
            place_new(directory, temporary, name)
            raise ConflictError("it was changed on the host a moment ago")
        if entry.over is not None:
            remove(directory, temporary)
            return
        try:
            self.keep(entry, directory, temporary)
        except OSError:
            place_new(directory, temporary, name)
            raise

    def keep(self, entry: Entry, directory: int, name: str) -> None:
        """Move the old thing under `name` to the undo directory, by copy where that is another file system."""
        move(directory, name, self._undo.root, str(entry.n))
        self.step("kept")

    def kept(self, entry: Entry) -> bool:
        """Tell whether the undo directory has the old thing of `entry`."""
        return lstat_at(self._undo.root, str(entry.n)) is not None

    def bring_back(self, entry: Entry, directory: int) -> None:
        """Move the old thing from the undo directory to the temporary name in the open `directory`."""
        temporary = self.temporary(entry)
        if self.kept(entry):
            remove(directory, temporary)
            move(self._undo.root, str(entry.n), directory, temporary)
        elif lstat_at(directory, temporary) is None:
            raise OSError(errno.ENOENT, "the saved content is gone")
        self.step("brought")

    def forget(self, entry: Entry) -> None:
        """Remove what the undo directory may still have of `entry`, which is back on the host."""
        remove(self._undo.root, str(entry.n))

    def make_directory(self, entry: Entry, directory: int, name: str) -> None:
        """Make the directory `entry.old` anew, open for its owner until `rollback` sets its mode."""
        if entry.old is None:
            raise HostError("the journal of this run is damaged", place=self.run.journal)
        os.mkdir(name, stat.S_IMODE(entry.old.mode) | stat.S_IRWXU, dir_fd=directory)
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (found.st_uid, found.st_gid) != (entry.old.uid, entry.old.gid):
            with contextlib.suppress(PermissionError):
                os.chown(name, entry.old.uid, entry.old.gid, dir_fd=directory, follow_symlinks=False)


@contextlib.contextmanager
def open_host(run: Run, step: Step) -> Iterator[Host]:
    """Open the journal and the trees of `run`; raise `HostError` where one is not to be had."""
    with Journal(HostPath(run.journal)) as journal:
        try:
            host = Host(run, journal, step)
        except OSError as error:
            raise HostError(f"the workspace cannot be opened: {error.strerror}", place=run.workspace) from error
        with host:
            yield host
