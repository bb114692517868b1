"""Give up what takes long to be given up, in the kernel's own time.

Theory of operation. With the last reference to a mount namespace go its mounts, and with an overlay all that waits in
memory for the file system below its upper layer is brought to disk first, files of other programs as well
(`ovl_sync_fs` of fs/overlayfs). The kernel does that in the process that gave up the reference: a run's first process
as it ends, which the end of a run waits for. The last close of an inotify instance waits for a grace period. So we hold
such things by descriptors, and when all is over send these into a pair of sockets that nothing holds but one another.
That is garbage, which the kernel collects in a thread of its own when a unix socket is closed (net/unix/garbage.c).
Kernels before 6.9 collect it in the process that closes: then nothing is gained or lost.

Every process of the run is dead by then, so nobody sees or changes anything through such a mount.
"""

import _socket
import os

from . import launch


def hold_mounts(init: int) -> "list[int]":
    """A descriptor of the mounts that process `init` sees; none where it cannot be had, and they go with it."""
    try:
        return [os.open(f"/proc/{init}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)]
    except OSError:
        return []


def leave(held: "list[int]") -> None:
    """Close `held`, whose content the kernel gives up after the next unix socket is closed; it is empty afterwards.

    Of mounts: not before the first process has ended, or that one would be the last to have a reference.
    """
    if not held:
        return
    try:
        one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    except OSError:  # no descriptor to be had
        let_go(held)
        return
    try:
        launch.send_descriptors(one, b"garbage", [*held, one.fileno(), other.fileno()])
    except OSError:
        pass  # the user has too many on their way: given up here and now
    finally:
        let_go(held)  # before the sockets: what they hold may be collected from then on
        one.close()
        other.close()


def let_go(held: "list[int]") -> None:
    """Close `held`, here and now; it is empty afterwards."""
    while held:
        os.close(held.pop())
