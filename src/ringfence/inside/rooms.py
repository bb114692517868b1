"""A room of its own for each command: fresh PID, mount and IPC namespaces made from those of the first process.

Theory of operation. The first process holds every namespace of the boundary and power over them, so a child cloned
with new ones sees the same view, in which only what is private to one command is then replaced: /proc, the message
queues, the terminals and the places that the order names `fresh` (/tmp, /run, /dev/shm). What is mounted below such a
place is mounted again on the new one, and what stood there before any command ran is made again.

SECURITY: everything to be repeated is looked up once, before the first command; nothing that a command leaves behind
can change what the next one gets (docs/threats.md, P6).
"""

import ctypes
import os
import re
import stat

from . import privilege

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, SIGCHLD = 0x20000, 0x08000000, 0x20000000, 17  # clone(2)
OPEN_TREE, MOVE_MOUNT = 428, 429  # the same on every architecture
CLONE, RECURSIVE, EMPTY_PATH, HERE = 1, 0x8000, 4, -100  # open_tree(2), move_mount(2), AT_FDCWD
QUEUES, TERMINALS, OWN = "/dev/mqueue", "/dev/pts", "newinstance,ptmxmode=0666,mode=620"  # as bubblewrap mounts them


def enter() -> int:
    """Fork into new namespaces: 0 in the child, which is pid 1 there, else its pid. Raises OSError as fork(2) does."""
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | SIGCHLD
    return privilege.syscall(privilege.NUMBERS["clone"], flags, 0, 0, 0, 0)


def mount(kind: str, place: str, flags: int, options: str = "") -> None:
    """Mount a new file system of `kind` at `place`."""
    words = (kind.encode(), os.fsencode(place), kind.encode(), ctypes.c_ulong(flags), options.encode())
    privilege.call("mount", *words)


class Place:
    """One mount that each command gets anew, with what has to be on it."""

    def __init__(self, path: str, mounted: list[str]) -> None:
        self.path = path
        below = sorted({one for one in mounted if one.startswith(path + "/")})
        # The topmost ones take along what is mounted on them.
        self.mounted = [one for one in below if not any(one.startswith(other + "/") for other in below)]
        self.made: list[tuple[str, int, bytes]] = []  # path, mode, text of a file or target of a link
        found = os.statvfs(path)
        self.options = f"size={found.f_blocks * found.f_frsize},mode={stat.S_IMODE(os.stat(path).st_mode):o}"

    def look(self, directory: str = "") -> None:
        """Remember what stands here, so that it can be made again."""
        for entry in sorted(os.scandir(directory or self.path), key=lambda entry: entry.name):
            mode, text = os.lstat(entry.path).st_mode, b""
            if entry.path not in self.mounted and stat.S_ISREG(mode):
                with open(entry.path, "rb") as file:
                    text = file.read()
            elif stat.S_ISLNK(mode):
                text = os.fsencode(os.readlink(entry.path))
            self.made.append((entry.path, mode, text))
            if stat.S_ISDIR(mode) and entry.path not in self.mounted:
                self.look(entry.path)

    def renew(self, kind: str = "tmpfs", flags: int = privilege.MS_NOSUID | privilege.MS_NODEV) -> None:
        """Mount it anew over the old one, with everything that belongs below."""
        names = [os.fsencode(path) + b"\0" for path in self.mounted]
        trees = [privilege.syscall(OPEN_TREE, HERE, name, CLONE | RECURSIVE) for name in names]
        mount(kind, self.path, flags, self.options if kind == "tmpfs" else "")
        for path, mode, text in self.made:
            make(path, mode, text)
        for tree, name in zip(trees, names, strict=True):
            privilege.syscall(MOVE_MOUNT, tree, b"\0", HERE, name, EMPTY_PATH)
            os.close(tree)


def make(path: str, mode: int, text: bytes) -> None:
    """Make a directory, a link or a file as it was."""
    if stat.S_ISDIR(mode):
        os.mkdir(path)
    elif stat.S_ISLNK(mode):
        os.symlink(text, os.fsencode(path))
        return
    else:
        with open(path, "wb") as file:
            file.write(text)
    os.chmod(path, stat.S_IMODE(mode))


class Room:
    """What a room is furnished with, looked up before the first command."""

    def __init__(self, fresh: list[str], *, sealed: bool) -> None:
        mounted = mount_points()
        self.has_queues, self.has_terminals = QUEUES in mounted, TERMINALS in mounted
        # /proc/sys is sealed anew in each /proc (privilege.seal_sysctls), which is another one than the old.
        self.processes = Place("/proc", [one for one in mounted if one != "/proc/sys" or not sealed])
        self.places = [Place(path, mounted) for path in fresh if path in mounted]
        for place in self.places:
            place.look()

    def furnish(self) -> None:
        """Replace, in the mount namespace of this process, whatever is private to one command."""
        self.processes.renew("proc", privilege.MS_NOSUID | privilege.MS_NODEV | privilege.MS_NOEXEC)
        if self.has_queues:
            mount("mqueue", QUEUES, privilege.MS_NOSUID | privilege.MS_NODEV | privilege.MS_NOEXEC)
        if self.has_terminals:  # SECURITY: what is typed at one command's terminal, another one could read
            mount("devpts", TERMINALS, privilege.MS_NOSUID | privilege.MS_NOEXEC, OWN)
        for place in self.places:
            place.renew()


def mount_points() -> list[str]:
    """Where something is mounted and can be reached (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", "rb") as file:
        fields = [line.split(b" ")[4] for line in file]
    found = (re.sub(rb"\\([0-7]{3})", lambda code: bytes((int(code[1], 8),)), field) for field in fields)
    return [path for path in map(os.fsdecode, found) if os.path.lexists(path)]
