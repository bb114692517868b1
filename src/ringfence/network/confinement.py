"""Take from the proxy's process everything that parsing hostile bytes does not need.

Theory of operation. Once the proxy is prepared (modules loaded, event loop made, system certificates read) it keeps the
descriptors it has and those it is sent. A Landlock domain without any rule leaves it no file and no TCP port of its own
to bind or connect; the system-call filter leaves it no call that makes a socket, a process or a signal; it cannot be
traced or dumped. As root it is an unprivileged user first. Both walls must stand: a kernel without Landlock is refused,
because the filter has to allow `openat` (sandbox/proxy_syscalls.py).

INVARIANT: whoever takes over the proxy can speak to hosts that the dialer connects it to, and to nothing else
(tests/posture/test_proxy.py).
"""

import os
import resource

from ringfence.inside import privilege
from ringfence.model.errors import HostError

CREATE_RULESET, RESTRICT_SELF, VERSION_FLAG = 444, 446, 1  # landlock(7); the same on every architecture
# LANDLOCK_ACCESS_FS_*: ABI 1 has bits 0 to 12; 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV. ABI 4 adds TCP bind and connect.
FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
TCP_RIGHTS = 3
DESCRIPTORS = 4096


def confine(program: bytes, *, identifier: int, file_bytes: int) -> None:
    """Give up everything but what is open; `program` is the system-call filter, `identifier` the user to be as root.

    `file_bytes` is how large an open file may become: the process's log, or what it was sent to write to.
    Raises HostError where the kernel lacks Landlock, OSError where a step is refused. There is no way back.
    """
    wanted = min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))  # EFBIG: Python ignores SIGXFSZ
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(identifier, identifier, identifier)
        os.setresuid(identifier, identifier, identifier)
    privilege.make_opaque()
    privilege.prctl(privilege.PR_SET_NO_NEW_PRIVS, 1)
    close_files()
    privilege.install_filter(program, listen=False)


def close_files() -> None:
    """Enter a Landlock domain in which no file can be opened and no TCP port bound or connected."""
    try:
        version = privilege.syscall(CREATE_RULESET, None, 0, VERSION_FLAG)
    except OSError as error:
        hint = 'use a kernel with Landlock (5.13, `lsm=landlock,...`), or `network.mode = "off"`'
        raise HostError("network rules need Landlock, which this kernel lacks", hint=hint) from error
    words = [FILE_RIGHTS[min(version, max(FILE_RIGHTS))], *([TCP_RIGHTS] if version >= 4 else [])]
    attributes = b"".join(value.to_bytes(8, "little") for value in words)
    ruleset = privilege.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    privilege.syscall(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
