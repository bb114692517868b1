"""Landlock: what the command may signal, and that it opens nothing from outside its own root.

Two things that namespaces leave open. Scopes (kernel 6.12, ABI 6): `kill(0)` and terminal-generated groups reach every
member of a process group whatever its pid namespace, and abstract sockets every peer in a network namespace. Files
(ABI 3): the command's standard streams may be files of the host, and /proc/self/fd/N opens such a file anew, with
rights that the descriptor itself does not have. So everything below the sandbox's root is allowed, each stream with
the rights it already has, and nothing else. Pipes, sockets and memfds are exempt by nature. See landlock(7).
"""

import errno
import os
import stat

from . import privilege

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
RULE_PATH_BENEATH = 1
SCOPES = {"abstract-sockets": 1, "signals": 2}  # LANDLOCK_SCOPE_*, <linux/landlock.h>
WRITE_FILE, READ_FILE, READ_DIR, REFER, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 13, 1 << 14  # LANDLOCK_ACCESS_FS_*
HANDLED = WRITE_FILE | READ_FILE | READ_DIR | REFER | TRUNCATE


def restrict(scopes: list[str], *, files: bool) -> None:
    """Enter a Landlock domain with the named scopes and, with `files`, the rule above; raise OSError if refused."""
    mask = 0
    for name in scopes:
        mask |= SCOPES[name]
    if not (mask or files):
        return
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net, scoped (absent before ABI 6)
    words = (HANDLED if files else 0, 0, mask) if mask else (HANDLED,)
    attributes = b"".join(value.to_bytes(8, "little") for value in words)
    ruleset = privilege.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        if files:
            allow(ruleset, "/", HANDLED)
            # POSIX message queues are opened on a mount that the kernel keeps for the IPC namespace, with this root.
            allow(ruleset, "/dev/mqueue", HANDLED)
            for descriptor in (0, 1, 2):
                allow_stream(ruleset, descriptor)
        privilege.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def allow(ruleset: int, path: str, rights: int) -> None:
    """Grant `rights` beneath `path`, or on it where it is no directory."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # struct landlock_path_beneath_attr, packed: allowed_access, parent_fd
        rule = rights.to_bytes(8, "little") + place.to_bytes(4, "little", signed=True)
        privilege.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def allow_stream(ruleset: int, descriptor: int) -> None:
    """Let a standard stream on a file or terminal be opened again by name, as `> /dev/stderr` does, and no further."""
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISCHR(kind)):
        return
    flags = privilege.descriptor_flags(descriptor)
    mode = flags & os.O_ACCMODE
    rights = 0 if mode == os.O_WRONLY else READ_FILE
    if mode != os.O_RDONLY:
        rights |= WRITE_FILE | (0 if flags & os.O_APPEND else TRUNCATE)
    try:
        allow(ruleset, f"/proc/self/fd/{descriptor}", rights)
    except OSError as error:
        if error.errno != errno.EBADFD:  # a memfd: exempt, and so not to be named in a rule
            raise
