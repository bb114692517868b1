"""As root: present the user's own files to an unprivileged kernel uid, by id-mapped mounts. The twin of stage.c.

Theory of operation. In a private mount namespace each source is cloned (open_tree), its owner on disk is
mapped to the sandbox's uid (mount_setattr with MOUNT_ATTR_IDMAP, kernel 5.12), and the clone is attached
below a tmpfs over /tmp, where that uid can reach it whatever the permissions of the directories above the
original (/root is 0700). Nothing of this is visible outside the namespace, which ends with the run.

Where a C compiler was there at installation the native program does it; tests/contract/test_staging.py holds both to
the same.
"""

import ctypes
import os
import struct

from .launch import SANDBOX_UID_BASE, STAGE, give_pipes

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms on the hot path
if TYPE_CHECKING:
    from typing import NoReturn

# <linux/mount.h>, <linux/fcntl.h>, mount(2), open_tree(2), mount_setattr(2), move_mount(2)
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, 0o2000000
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
MOUNT_ATTR_IDMAP = 0x00100000
MOVE_MOUNT_F_EMPTY_PATH = 4
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x4000, 1 << 18, 2, 4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _syscall(number: int, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *wide))


def mapping_namespace(inside: tuple[int, int], outside: int) -> int:
    """A descriptor on a user namespace that maps owner `inside` (uid, gid) on disk to the id `outside`."""
    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done_write)  # else our own copy would keep the read below from ending
        if _libc.unshare(CLONE_NEWUSER) == 0:
            os.write(ready_write, b"1")
            os.read(done_read, 1)
        os._exit(0)
    os.close(ready_write)
    try:
        if os.read(ready_read, 1) != b"1":
            raise OSError(1, "cannot create a user namespace")
        for name, owner in (("uid_map", inside[0]), ("gid_map", inside[1])):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                file.write(f"{owner} {outside} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    finally:
        os.close(done_write)
        os.close(done_read)
        os.close(ready_read)
        os.waitpid(child, 0)


def clone_tree(path: str, namespace: int) -> int:
    """A detached mount of `path`, id-mapped through `namespace`."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    tree = _check(_syscall(OPEN_TREE, AT_FDCWD, os.fsencode(path), flags), f"open_tree `{path}`")
    attributes = struct.pack("QQQQ", MOUNT_ATTR_IDMAP, 0, 0, namespace)
    result = _syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, len(attributes))
    _check(result, f"id-mapped mount of `{path}`")
    return tree


def stage(paths: list[str], owner: tuple[int, int], identifier: int) -> None:
    """Enter a private mount namespace in which `identifier` reaches each of `paths` below STAGE, by its number.

    Raises OSError naming the path and the call that the kernel refused.
    """
    namespace = mapping_namespace(owner, identifier)
    _check(_libc.unshare(CLONE_NEWNS), "unshare mount namespace")
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "make mounts private")
    trees = [(clone_tree(path, namespace), os.path.isdir(path)) for path in paths]
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV)
    _check(_libc.mount(b"tmpfs", STAGE.encode(), b"tmpfs", flags, b"mode=0755,size=1m"), "stage")
    for number, (tree, directory) in enumerate(trees):
        place = f"{STAGE}/{number}"
        if directory:
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        result = _syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, place.encode(), MOVE_MOUNT_F_EMPTY_PATH)
        _check(result, f"attach `{paths[number]}`")
        os.close(tree)
    os.close(namespace)


def become(identifier: int) -> None:
    """Give up root for good: no groups, no capabilities, an id that owns nothing on this host."""
    os.setgroups([])
    os.setresgid(identifier, identifier, identifier)
    os.setresuid(identifier, identifier, identifier)


def join(tasks: list[str]) -> None:
    """Join control groups; what fails here fails again, and is reported, in `cgroup.Joining.finish`."""
    for path in tasks:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.write(descriptor, b"0")
        except OSError:
            pass
        finally:
            os.close(descriptor)


def carry_out(_: str, words: list[str], environment: dict[str, str]) -> "NoReturn":
    """Stage, give up root and execute: `stage UID GID TASKS... "" PATH... "" PROGRAM ARGV...`, as stage.c is called.

    It takes the place of os.execve.

    Only in a process with one thread, which joins its control groups by itself. Raises OSError for what was refused.
    """
    uid, gid, rest = int(words[1]), int(words[2]), words[3:]
    tasks, rest = rest[: rest.index("")], rest[rest.index("") + 1 :]
    paths, (program, *argv) = rest[: rest.index("")], rest[rest.index("") + 1 :]
    identifier = SANDBOX_UID_BASE + os.getpid()
    join(tasks)
    stage(paths, (uid, gid), identifier)
    give_pipes((0, 1, 2), identifier)
    become(identifier)
    os.execve(program, argv, environment)
